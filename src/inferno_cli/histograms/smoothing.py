"""Variations smoothed over neighbouring bins: fluctuations of a shifted sample that are no systematic.

The algorithm is "353QH, twice" (J. Friedman, in the Proceedings of the 1974 CERN School of Computing, page 292), as
cabinetry has it and ROOT's TH1::Smooth. It is applied to the ratio of varied to nominal yields, in the order of the
fitted bins, and the sum of the bins is kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import DIRECTIONS, Variation
from inferno_cli.histograms.morph import mirrored
from inferno_cli.histograms.templates import FloatArray, Templates, from_arrays

FEWEST_BINS = 3
"""Below this the running medians have no neighbours."""


def smoothed(templates: Templates, measurement: Measurement) -> tuple[Templates, tuple[tuple[str, str], ...]]:
    """Smooth the variations of which the measurement says so.

    Returns:
        The templates, and (parameter, sample) of what has too few bins with a positive yield to be smoothed.
    """
    histograms = dict(templates.histograms)
    too_few = []
    for parameter, by_sample in measurement.shapes.items():
        for sample, morph in templates.present(by_sample).items():
            if morph.smooth is None or not templates.has(sample, parameter):
                continue
            nominal = templates.values(sample)
            if (nominal > 0).sum() < FEWEST_BINS:
                too_few.append((parameter, sample))
                continue
            up, down = (smooth(side, nominal) for side in templates.varied[parameter, sample])
            for direction, values in zip(DIRECTIONS, mirrored(morph, nominal, (up, down)), strict=True):
                key = sample, Variation(parameter, direction)
                histograms[key] = from_arrays(values, templates.histograms[key].variances())
    return replace(templates, histograms=histograms), tuple(too_few)


def smooth(varied: FloatArray, nominal: FloatArray) -> FloatArray:
    """Return a varied template, smoothed relative to the nominal one, shape (B,) each.

    Bins without a positive nominal yield have no ratio: they stay as they are, and their neighbours are neighbours.
    """
    from cabinetry.smooth import smooth_353qh_twice

    has_ratio = nominal > 0
    before, reference = varied[has_ratio], nominal[has_ratio]
    after = np.asarray(smooth_353qh_twice(before / reference)) * reference
    found = varied.copy()
    found[has_ratio] = after * (before.sum() / after.sum())
    return found
