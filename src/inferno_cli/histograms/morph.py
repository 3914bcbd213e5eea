"""From the templates of the variations to those of the likelihood: size, part, missing direction, envelopes.

``morphed``, ``sides``, ``floored`` and ``envelope`` work on numpy's arrays (the fitted templates) and on torch's (the
soft ones) alike: the training has the variations that the fit has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, Variation
from inferno_cli.histograms.templates import FloatArray, Templates, from_arrays

TINY = 1e-12
"""Keeps the gradient of the square root finite where no member of an envelope changes a bin."""


def morphed(morph: Morph, nominal: Any, varied: Any) -> Any:
    """Template of one standard deviation, shape (..., B): a linear function of the variation's."""
    if morph.part == "shape":
        varied = varied * (nominal.sum(-1) / varied.sum(-1))[..., None]
    elif morph.part == "norm":
        varied = nominal * (varied.sum(-1) / nominal.sum(-1))[..., None]
    if morph.scale == 1:
        return varied
    return nominal + morph.scale * (varied - nominal)


def sides(morph: Morph, nominal: Any, up: Any, down: Any) -> tuple[Any, Any]:
    """Templates up and down of one standard deviation, shape (..., B) each; one may be the other's mirror image.

    Linear in the variations, so that it does not matter whether bins are merged before or after.
    """
    return _with_image(morph, nominal, (morphed(morph, nominal, up), morphed(morph, nominal, down)))


def _with_image(morph: Morph, nominal: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the templates up and down, one of them the mirror image of the other where the morph says so."""
    if not morph.mirror:
        return pair
    up, down = pair
    return (2 * nominal - down, down) if morph.missing == "up" else (up, 2 * nominal - up)


def mirrored(morph: Morph, nominal: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the templates up and down, with the final mirror image of the one that is known."""
    return floored(morph, nominal, _with_image(morph, nominal, pair))


def floored(morph: Morph, nominal: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the templates up and down with the bins of a mirror image that would be negative at 0.

    Where the other direction more than doubles a bin its image has less than nothing there. A bin whose nominal is
    negative already (of weights) stays at that. Not linear, so after bins are merged.
    """
    if not morph.mirror:
        return pair
    up, down = pair
    lowest = nominal.clip(max=0)
    return (up.clip(min=lowest), down) if morph.missing == "up" else (up, down.clip(min=lowest))


def envelope(nominal: Any, pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Templates up and down of an envelope, shape (..., B): in every bin the members' changes summed in quadrature.

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
        for sample, morph in templates.present(by_sample).items():
            if morph.scale == 1 and morph.part == "both" and not morph.mirror:
                continue
            if not templates.has(sample, morph.members[0]):
                continue
            nominal = templates.values(sample)
            for label in morph.members:
                pair = sides(morph, nominal, *_pair(templates, sample, label))
                for direction, values in zip(DIRECTIONS, pair, strict=True):
                    key = sample, Variation(label, direction)
                    histograms[key] = from_arrays(values, templates.histograms[key].variances())
                if (label, sample) in noise:
                    noise[label, sample] = _noise(morph, nominal, noise[label, sample])
    return replace(templates, histograms=histograms, noise=noise)


def _noise(morph: Morph, nominal: FloatArray, noise: FloatArray) -> FloatArray:
    """Return the variance of the odd and of the even part at one standard deviation, shape (2, B).

    What was filled is that of the variation. A change of the yield alone has that of all bins, as events that move
    between bins were counted in each an upper bound, in the shares of the nominal. The other side of a mirror image is
    the nominal until here: the odd part doubles, and there is no even one.
    """
    noise = morph.scale**2 * noise
    if morph.part == "norm":
        noise = (nominal / nominal.sum()) ** 2 * noise.sum(axis=1, keepdims=True)
    if morph.mirror:
        noise = np.stack([4 * noise[0], np.zeros_like(noise[1])])
    return noise


def enveloped(templates: Templates, measurement: Measurement) -> Templates:
    """Return the templates with mirror images that are not negative, and envelopes in the place of their members.

    Neither is linear, so it is after bins are merged.
    """
    histograms = dict(templates.histograms)
    noise = dict(templates.noise)
    for parameter, by_sample in measurement.shapes.items():
        for sample, morph in templates.present(by_sample).items():
            if not templates.has(sample, morph.members[0]):
                continue
            nominal = templates.values(sample)
            pairs = {label: floored(morph, nominal, _pair(templates, sample, label)) for label in morph.members}
            if len(pairs) == 1 and not morph.mirror:
                continue
            if len(pairs) == 1:
                for direction, values in zip(DIRECTIONS, pairs[parameter], strict=True):
                    key = sample, Variation(parameter, direction)
                    histograms[key] = from_arrays(values, histograms[key].variances())
                continue
            noises = [noise.pop((label, sample)) for label in pairs if (label, sample) in noise]
            if noises:
                noise[parameter, sample] = np.sum(noises, axis=0)
            for label in pairs:
                for direction in DIRECTIONS:
                    del histograms[sample, Variation(label, direction)]
            for direction, values in zip(DIRECTIONS, envelope(nominal, list(pairs.values())), strict=True):
                histograms[sample, Variation(parameter, direction)] = from_arrays(values, np.zeros_like(values))
    return replace(templates, histograms=histograms, noise=noise)


def _pair(templates: Templates, sample: str, label: str) -> tuple[FloatArray, FloatArray]:
    """Return the templates up and down of one variation, shape (B,) each."""
    up, down = (templates.values(sample, Variation(label, direction)) for direction in DIRECTIONS)
    return up, down
