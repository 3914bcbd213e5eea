"""Pruning: effects of a systematic on a sample that are too small to matter are left out of the fit, and told.

The change of the yield is pruned where it is below the threshold up and down, relative to the sample's yield. The
change of the shape is, where in no bin the varied template, brought to the nominal yield, differs by the threshold from
the sample's nominal one. What has neither is no longer an effect on that sample, and a parameter without effects is no
longer a parameter. So does TRExFitter. Without a constraint an effect has no size, and stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph, MorphPart
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Variation
from inferno_cli.histograms.morph import morphed
from inferno_cli.histograms.templates import FloatArray, Templates, from_arrays


@dataclass(frozen=True)
class Pruned:
    """An effect, or a part of it, that was left out.

    Attributes:
        parameter, sample: Of the effect.
        channel: Where it was left out; empty: everywhere.
        part: What was left out of it; "both" is all of a shape.
        change: The largest relative change that is lost: of the yield, or of the yield of a bin.
        is_all: Whether nothing of the effect is left.
    """

    parameter: str
    sample: str
    part: MorphPart
    change: float
    is_all: bool
    channel: str = ""


def pruned(
    channels: Sequence[Templates], measurement: Measurement, threshold: float | None, keep: Collection[str] = ()
) -> tuple[tuple[Templates, ...], Measurement, tuple[Pruned, ...]]:
    """Leave out what is smaller than the threshold; None: nothing.

    Args:
        channels: Templates at one standard deviation, as they would be fitted.
        measurement: What they are to the likelihood.
        threshold: Relative change below which an effect is left out.
        keep: Parameters that stay whatever their size: somebody asked for them.

    Returns:
        The templates and the measurement of what is left, and what was left out.
    """
    if threshold is None:
        return tuple(channels), measurement, ()
    told: list[Pruned] = []
    normalisation = {}
    for parameter, sizes in measurement.normalisation.items():
        left = dict(sizes)
        for sample, factors in sizes.items():
            change = max(abs(factor - 1) for factor in factors)
            if change < threshold and parameter not in keep:
                told.append(Pruned(parameter, sample, "norm", change, True))
                del left[sample]
        if left:
            normalisation[parameter] = left
    stays = (*measurement.unconstrained, *keep)
    found = []
    for templates in channels:
        pruned_there, items = _of_channel(templates, measurement.within(templates.channel), threshold, stays)
        found.append(pruned_there)
        told += [replace(item, channel="" if len(channels) == 1 else templates.channel) for item in items]
    shapes: dict[str, Mapping[str, Morph]] = {}
    for parameter, by_sample in measurement.shapes.items():
        morphs = {}
        for sample, morph in by_sample.items():
            if any((parameter, sample) in templates.varied for templates in found):
                morphs[sample] = _left(
                    morph, [x for x in told if (x.parameter, x.sample) == (parameter, sample)], found
                )
        if morphs:
            shapes[parameter] = morphs
    return tuple(found), replace(measurement, normalisation=normalisation, shapes=shapes), tuple(told)


def _left(morph: Morph, told: Sequence[Pruned], channels: Sequence[Templates]) -> Morph:
    """Return what is left of a shape, where the same part of it was left out in every channel that has it."""
    parts = {item.part for item in told if not item.is_all}
    n_left = sum(told[0].sample in templates.samples for templates in channels) if told else 0
    if len(parts) != 1 or len(told) != n_left:
        return morph
    return replace(morph, part="shape" if parts == {"norm"} else "norm")


def _of_channel(
    templates: Templates, measurement: Measurement, threshold: float, stays: Collection[str]
) -> tuple[Templates, list[Pruned]]:
    """Leave the small shapes out of the templates of one channel."""
    told: list[Pruned] = []
    histograms, noise = dict(templates.histograms), dict(templates.noise)
    for parameter, by_sample in measurement.shapes.items():
        for sample, morph in templates.present(by_sample).items():
            is_kept = parameter in stays or not templates.has(sample, parameter)
            item = None if is_kept else _small(templates, parameter, sample, morph, threshold)
            if item is None:
                continue
            told.append(item)
            if item.is_all:
                noise.pop((parameter, sample), None)
            rest = replace(morph, scale=1.0, part="shape" if item.part == "norm" else "norm")
            for direction in DIRECTIONS:
                key = sample, Variation(parameter, direction)
                histogram = histograms.pop(key)
                if not item.is_all:
                    values = morphed(rest, templates.values(sample), histogram.values())
                    histograms[key] = from_arrays(values, histogram.variances())
    return replace(templates, histograms=histograms, noise=noise), told


def _small(templates: Templates, parameter: str, sample: str, morph: Morph, threshold: float) -> Pruned | None:
    """Return what of a shape is smaller than the threshold; None: nothing."""
    nominal, pair = templates.values(sample, NOMINAL), templates.varied[parameter, sample]
    sizes: dict[MorphPart, float] = {}
    if morph.part != "shape":
        sizes["norm"] = max(abs(float(side.sum() / nominal.sum()) - 1) for side in pair)
    if morph.part != "norm":
        sizes["shape"] = max(_largest_change(side * (nominal.sum() / side.sum()), nominal) for side in pair)
    small: dict[MorphPart, float] = {part: size for part, size in sizes.items() if size < threshold}
    if not small:
        return None
    if len(small) == len(sizes):
        part: MorphPart = "both" if len(small) > 1 else next(iter(small))
        return Pruned(parameter, sample, part, max(small.values()), True)
    # An envelope of yields, or of shapes, is not that part of the envelope.
    if len(morph.members) > 1:
        return None
    ((part, size),) = small.items()
    return Pruned(parameter, sample, part, size, False)


def _largest_change(varied: FloatArray, nominal: FloatArray) -> float:
    """Return the largest relative change of a bin; infinite where the nominal has nothing and the variation has."""
    change = np.abs(varied - nominal)
    relative = np.divide(change, np.abs(nominal), out=np.where(change > 0, np.inf, 0.0), where=nominal != 0)
    return float(relative.max())
