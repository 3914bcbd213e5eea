"""From merged templates to those that are fitted: symmetrised, smoothed and pruned, which the training does not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        templates: Their histograms.
        measurement: What they are to the likelihood, without what was pruned.
        parts: Odd and even part of each shape.
        pruned: Effects that were left out.
        unsmoothed: (parameter, sample) of what was to be smoothed, and has too few bins.
    """

    templates: Templates
    measurement: Measurement
    parts: Mapping[str, Parts]
    pruned: tuple[Pruned, ...]
    unsmoothed: tuple[tuple[str, str], ...]


def finished(
    merged: Templates,
    measurement: Measurement,
    *,
    symmetrise: float | None,
    prune: float | None = None,
    keep: Collection[str] = (),
) -> Finished:
    """Finish templates whose bins are merged.

    Args:
        merged: At one standard deviation.
        measurement: What they are to the likelihood.
        symmetrise: Smallest p-value at which the even part of a shape counts as noise; None: it never does.
        prune: Relative change below which an effect is left out; None: none is.
        keep: Parameters that are not pruned.
    """
    symmetric = symmetrised(merged, measurement, symmetrise)
    smooth, unsmoothed = smoothed(symmetric, measurement)
    templates, left, small = pruned(smooth, measurement, prune, keep)
    without_noise = parts(merged, symmetric, measurement)
    told = {}
    for name, item in parts(templates, templates, left).items():
        told[name] = replace(item, symmetrised=without_noise[name].symmetrised)
    return Finished(templates, left, told, small, unsmoothed)
