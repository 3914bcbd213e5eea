"""The odd and the even part of a shape, and shapes whose even part is noise made symmetric.

A shape has an odd part S = (up - down) / 2, which the information matrix and HESSE see, and an even part
A = (up + down) / 2 - nominal, which bends the likelihood away from its minimum: only MINOS sees it. With few simulated
events A is noise, and the interpolation makes a curvature of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import Variation
from inferno_cli.histograms.templates import FloatArray, Templates, from_arrays

EVEN = 0.3
"""Even part in units of the bin errors above which it matters."""
LARGER = 1 + 1e-9
"""One part is larger than the other beyond rounding: they are equal where a missing direction is the nominal."""


@dataclass(frozen=True)
class Parts:
    """Parts of the change of all samples for one parameter, in units of the bin errors, bins added in quadrature.

    Attributes:
        odd: Of (up - down) / 2.
        even: Of (up + down) / 2 - nominal.
        symmetrised: Samples whose even part was noise, and was left out.
        odd_bins, even_bins: The same of each bin of all channels, with their signs.
    """

    odd: float
    even: float
    symmetrised: tuple[str, ...] = ()
    odd_bins: tuple[float, ...] = ()
    even_bins: tuple[float, ...] = ()


def hidden_bins(parts: Any) -> tuple[int, ...]:
    """Return the bins in which up and down of ``Parts`` (or their record) move to one side rather than apart.

    There the even part is larger than the odd one, and than EVEN of the bin's error.
    """
    pairs = enumerate(zip(parts.odd_bins, parts.even_bins, strict=True))
    return tuple(number for number, (odd, even) in pairs if abs(even) > max(LARGER * abs(odd), EVEN))


def is_hidden(parts: Any) -> bool:
    """Whether that is so of all bins together, added in quadrature, or of any of them."""
    return parts.even > max(LARGER * parts.odd, EVEN) or bool(hidden_bins(parts))


def symmetrised(templates: Templates, measurement: Measurement, smallest: float | None) -> Templates:
    """Return the templates with the even part left out of the shapes in which it is compatible with noise.

    The even part of every constrained shape of every sample is compared with 0: chi squared over the bins, with the
    variance of paired events. An envelope is not even by noise, and stays, as does a shape of one direction, whose even
    part is what the configuration says that the other one is. From a p-value of ``smallest`` on it is
    noise; None: never.
    """
    if smallest is None:
        return templates
    histograms = dict(templates.histograms)
    for parameter, by_sample in measurement.shapes.items():
        for sample, morph in templates.present(by_sample).items():
            _, noise = templates.noise.get((parameter, sample), (None, np.array(np.nan)))
            # Without noise that is known, as of a histogram that somebody else made, nothing is judged.
            is_meant = len(morph.members) > 1 or morph.missing is not None
            if np.isnan(noise).any() or parameter in measurement.unconstrained or is_meant:
                continue
            nominal, (up, down) = templates.values(sample), templates.varied[parameter, sample]
            if _p_value((up + down) / 2 - nominal, noise) < smallest:
                continue
            for direction, sign in (("up", 1), ("down", -1)):
                key = sample, Variation(parameter, direction)
                values = nominal + sign * (up - down) / 2
                histograms[key] = from_arrays(values, templates.histograms[key].variances())
    return replace(templates, histograms=histograms)


def _p_value(even: FloatArray, noise: FloatArray) -> float:
    from scipy.stats import chi2

    certain = noise <= 0
    if (np.abs(even[certain]) > 1e-9 * np.abs(even).max(initial=0.0)).any():
        return 0.0
    if certain.all():
        return 1.0
    return float(chi2.sf((even[~certain] ** 2 / noise[~certain]).sum(), int((~certain).sum())))


def parts(before: Sequence[Templates], after: Sequence[Templates], measurement: Measurement) -> Mapping[str, Parts]:
    """Return the parts of every constrained shape in all channels, of the templates as merged and as they are fitted.

    A sample whose even part was noise in one channel is told, though it may not have been in another.
    """
    found = {}
    for parameter in measurement.shapes:
        if parameter in measurement.unconstrained:
            continue
        noise: dict[str, None] = {}
        bins = []
        for old, new in zip(before, after, strict=True):
            odd, even = np.zeros(new.n_bins), np.zeros(new.n_bins)
            for sample in new.present(measurement.shapes[parameter]):
                if (parameter, sample) not in new.varied:  # pruned in this channel
                    continue
                up, down = new.varied[parameter, sample]
                odd += (up - down) / 2
                even += (up + down) / 2 - new.values(sample)
                if not all(map(np.array_equal, (up, down), old.varied[parameter, sample])):
                    noise[sample] = None
            error = np.sqrt(new.nominal.sum(axis=0) + new.variance.sum(axis=0))
            bins.append((odd / error, even / error))
        odd, even = (np.concatenate(part) for part in zip(*bins, strict=True))
        sizes = [float(np.sqrt((part**2).sum())) for part in (odd, even)]
        found[parameter] = Parts(sizes[0], sizes[1], tuple(noise), tuple(odd.tolist()), tuple(even.tolist()))
    return found
