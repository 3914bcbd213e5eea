"""From the templates of the variations to those of the likelihood: size, change of the yield, envelopes.

``morphed`` and ``envelope`` work on numpy's arrays (the fitted templates) and on torch's (the soft ones) alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, Variation
from inferno_cli.histograms.templates import Templates, from_arrays

TINY = 1e-12
"""Keeps the gradient of the square root finite where no member of an envelope changes a bin."""


def morphed(morph: Morph, nominal: Any, varied: Any) -> Any:
    """Template of one standard deviation, shape (B,): a linear function of the variation's."""
    if not morph.normalisation:
        varied = varied * (nominal.sum() / varied.sum())
    return nominal + morph.scale * (varied - nominal)


def envelope(nominal: Any, pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Templates up and down of an envelope: in every bin the members' changes summed in quadrature.

    A member counts with the larger of its two changes towards the side in question, as asymmetric errors of Hessian
    PDF sets are combined (arXiv:1510.03865).
    """

    def side(sign: float) -> Any:
        total: Any = 0.0
        for up, down in pairs:
            first, second = (sign * (up - nominal)).clip(min=0), (sign * (down - nominal)).clip(min=0)
            total = total + (first + (second - first).clip(min=0)) ** 2
        return nominal + sign * ((total + TINY**2) ** 0.5 - TINY)

    return side(1.0), side(-1.0)


def scaled(templates: Templates, measurement: Measurement) -> Templates:
    """Return the templates with every variation at one standard deviation; linear, so before bins are merged."""
    histograms = dict(templates.histograms)
    noise = dict(templates.noise)
    for by_sample in measurement.shapes.values():
        for sample, morph in by_sample.items():
            if morph.scale == 1 and morph.normalisation:
                continue
            nominal = templates.values(sample)
            for label in morph.members:
                for direction in DIRECTIONS:
                    key = sample, Variation(label, direction)
                    values = morphed(morph, nominal, templates.values(*key))
                    histograms[key] = from_arrays(values, templates.histograms[key].variances())
                if (label, sample) in noise:
                    noise[label, sample] = morph.scale**2 * noise[label, sample]
    return replace(templates, histograms=histograms, noise=noise)


def enveloped(templates: Templates, measurement: Measurement) -> Templates:
    """Return the templates with the members of each envelope replaced by it; not linear, so after bins are merged."""
    histograms = dict(templates.histograms)
    noise = dict(templates.noise)
    for parameter, by_sample in measurement.shapes.items():
        for sample, morph in by_sample.items():
            if len(morph.members) == 1:
                continue
            nominal = templates.values(sample)
            pairs, noises = [], []
            for label in morph.members:
                up, down = (histograms.pop((sample, Variation(label, direction))) for direction in DIRECTIONS)
                pairs.append((up.values(), down.values()))
                if (label, sample) in noise:
                    noises.append(noise.pop((label, sample)))
            if noises:
                noise[parameter, sample] = np.sum(noises, axis=0)
            for direction, values in zip(DIRECTIONS, envelope(nominal, pairs), strict=True):
                histograms[sample, Variation(parameter, direction)] = from_arrays(values, np.zeros_like(values))
    return replace(templates, histograms=histograms, noise=noise)
