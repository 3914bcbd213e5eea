"""From merged templates to those that are fitted: symmetrised, smoothed and pruned, which the training does not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from inferno_cli.config.measurement import Measurement
from inferno_cli.histograms.pruning import Pruned, pruned
from inferno_cli.histograms.smoothing import smoothed
from inferno_cli.histograms.symmetry import Parts, parts, symmetrised
from inferno_cli.histograms.templates import Templates


@dataclass(frozen=True)
class Finished:
    """Templates that are fitted.

    Attributes:
        channels: Their histograms.
        measurement: What they are to the likelihood, without what was pruned.
        parts: Odd and even part of each shape.
        pruned: Effects that were left out.
        unsmoothed: (parameter, sample) of what was to be smoothed, and has too few bins in a channel.
    """

    channels: tuple[Templates, ...]
    measurement: Measurement
    parts: Mapping[str, Parts]
    pruned: tuple[Pruned, ...]
    unsmoothed: tuple[tuple[str, str], ...]


def finished(
    merged: Sequence[Templates],
    measurement: Measurement,
    *,
    symmetrise: float | None,
    prune: float | None = None,
    keep: Collection[str] = (),
) -> Finished:
    """Finish templates whose bins are merged.

    Args:
        merged: Of every channel, at one standard deviation.
        measurement: What they are to the likelihood.
        symmetrise: Smallest p-value at which the even part of a shape counts as noise; None: it never does.
        prune: Relative change below which an effect is left out; None: none is.
        keep: Parameters that are not pruned.
    """
    symmetric = [symmetrised(item, measurement.within(item.channel), symmetrise) for item in merged]
    smooth, unsmoothed = [], dict[tuple[str, str], None]()
    for item in symmetric:
        left, too_few = smoothed(item, measurement.within(item.channel))
        smooth.append(left)
        unsmoothed |= dict.fromkeys(too_few)
    channels, left_over, small = pruned(smooth, measurement, prune, keep)
    without_noise = parts(merged, symmetric, measurement)
    told = {}
    for name, part in parts(channels, channels, left_over).items():
        told[name] = replace(part, symmetrised=without_noise[name].symmetrised)
    return Finished(channels, left_over, told, small, tuple(unsmoothed))
