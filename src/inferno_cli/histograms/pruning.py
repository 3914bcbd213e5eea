"""Pruning: effects of a systematic on a sample that are too small to matter are left out of the fit, and told.

The change of the yield is pruned where it is below the threshold up and down, relative to the sample's yield. The
change of the shape is, where in no bin the varied template, brought to the nominal yield, differs by the threshold from
the sample's nominal one. What has neither is no longer an effect on that sample, and a parameter without effects is no
longer a parameter. So does TRExFitter. Without a constraint an effect has no size, and stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        part: What was left out of it; "both" is all of a shape.
        change: The largest relative change that is lost: of the yield, or of the yield of a bin.
        is_all: Whether nothing of the effect is left.
    """

    parameter: str
    sample: str
    part: MorphPart
    change: float
    is_all: bool


def pruned(
    templates: Templates, measurement: Measurement, threshold: float | None, keep: Collection[str] = ()
) -> tuple[Templates, Measurement, tuple[Pruned, ...]]:
    """Leave out what is smaller than the threshold; None: nothing.

    Args:
        templates: At one standard deviation, as they would be fitted.
        measurement: What they are to the likelihood.
        threshold: Relative change below which an effect is left out.
        keep: Parameters that stay whatever their size: somebody asked for them.

    Returns:
        The templates and the measurement of what is left, and what was left out.
    """
    if threshold is None:
        return templates, measurement, ()
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
    shapes: dict[str, Mapping[str, Morph]] = {}
    histograms, noise = dict(templates.histograms), dict(templates.noise)
    for parameter, by_sample in measurement.shapes.items():
        morphs = dict(by_sample)
        for sample, morph in by_sample.items():
            item = _small(templates, parameter, sample, morph, threshold)
            if item is None or parameter in (*measurement.unconstrained, *keep):
                continue
            told.append(item)
            if item.is_all:
                del morphs[sample]
                noise.pop((parameter, sample), None)
            else:
                morphs[sample] = replace(morph, part="shape" if item.part == "norm" else "norm")
            for direction in DIRECTIONS:
                key = sample, Variation(parameter, direction)
                histogram = histograms.pop(key)
                if not item.is_all:
                    rest = morphed(replace(morphs[sample], scale=1.0), templates.values(sample), histogram.values())
                    histograms[key] = from_arrays(rest, histogram.variances())
        if morphs:
            shapes[parameter] = morphs
    left_over = replace(measurement, normalisation=normalisation, shapes=shapes)
    return replace(templates, histograms=histograms, noise=noise), left_over, tuple(told)


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
