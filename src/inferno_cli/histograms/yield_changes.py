"""How each bin answers to each nuisance parameter, with the statistical error of the simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, Sample, Variation
from inferno_cli.histograms.templates import BinnedVariance, Bins, FloatArray, Templates, minus

TOTAL = "total"


@dataclass(frozen=True)
class YieldChange:
    """Relative change of the yield of every bin when one parameter is moved up and down.

    Attributes:
        parameter: Its name.
        step: By how much: 1, its standard deviation; of a free normalisation what the fit makes of it.
        sample: The sample, or ``TOTAL``, all of them together.
        up, down: (varied - nominal) / nominal, shape (B,); NaN where the nominal is empty.
        up_error, down_error: Statistical error of the simulation, events shared by both templates counted as such.
    """

    parameter: str
    step: float
    sample: str
    up: FloatArray
    down: FloatArray
    up_error: FloatArray
    down_error: FloatArray


class _Change(NamedTuple):
    """Sums over the events of a bin, of the change d of an event's weight and its nominal weight n, shape (B,) each.

    Rows of one generated event (``split_by``) count as one.
    """

    d: FloatArray
    d2: FloatArray
    dn: FloatArray


def yield_changes(
    samples: Sequence[Sample],
    bins: Sequence[Bins],
    templates: Templates,
    measurement: Measurement,
    steps: Mapping[str, float],
) -> tuple[YieldChange, ...]:
    """Return the response to every nuisance parameter in one channel: of all samples together, then of each.

    Args:
        bins: For each sample the fitted bin of every event in every view, shape (n_views, n_events).
        templates: As fitted.
        steps: By how much each NormFactor of ``measurement.free`` is moved.
    """
    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    squares = dict(zip(templates.samples, templates.variance, strict=True))
    events = {sample.name: (sample, numbers) for sample, numbers in zip(samples, bins, strict=True)}

    def factor(name: str, value: float) -> _Change:
        change = value - 1
        return _Change(change * nominal[name], change**2 * squares[name], change * squares[name])

    def of_sample(parameter: str, name: str, step: float) -> tuple[_Change, _Change]:
        if parameter in measurement.free:
            return factor(name, 1 + step), factor(name, 1 - step)
        if parameter in measurement.normalisation:
            up_factor, down_factor = measurement.normalisation[parameter][name]
            return factor(name, up_factor), factor(name, down_factor)
        moments = _moments(*events[name], measurement.shapes[parameter][name], templates.n_bins)
        up, down = (values - nominal[name] for values in templates.varied[parameter, name])
        return _Change(up, *moments[0]), _Change(down, *moments[1])

    found = []
    for parameter, touched in {**measurement.free, **measurement.normalisation, **measurement.shapes}.items():
        step, pairs = steps.get(parameter, 1.0), {}
        for name in touched:
            is_pruned = parameter in measurement.shapes and (parameter, name) not in templates.varied
            if name in templates.samples and not is_pruned:
                pairs[name] = of_sample(parameter, name, step)
        if not pairs:
            continue
        total = _sum([up for up, _ in pairs.values()]), _sum([down for _, down in pairs.values()])
        rows = {TOTAL: (total, templates.nominal.sum(axis=0), templates.variance.sum(axis=0))}
        rows |= {name: (pair, nominal[name], squares[name]) for name, pair in pairs.items()}
        for name, (pair, yields, variance) in rows.items():
            (up, up_error), (down, down_error) = (_ratio(side, yields, variance) for side in pair)
            found.append(YieldChange(parameter, step, name, up, down, up_error, down_error))
    return tuple(found)


def _sum(changes: Sequence[_Change]) -> _Change:
    """Add the changes of several samples, whose events are others."""
    return _Change(*(np.sum(parts, axis=0) for parts in zip(*changes, strict=True)))


def _ratio(change: _Change, yields: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return r = sum d / sum n of each bin, and its standard deviation: sqrt(sum (d - r n)^2) / sum n."""
    empty = np.full(len(yields), np.nan)
    ratio = np.divide(change.d, yields, out=empty.copy(), where=yields > 0)
    square = (change.d2 - 2 * ratio * change.dn + ratio**2 * variance).clip(min=0)
    return ratio, np.divide(np.sqrt(square), yields, out=empty, where=yields > 0)


def _moments(sample: Sample, bins: Bins, morph: Morph, n_bins: int) -> list[tuple[FloatArray, FloatArray]]:
    """Sums of d^2 and of d n over the events of each bin, up and down, shape (B,) each; NaN where they are not known.

    Of an envelope the largest d^2 of its members: their weights in the quadratic sum are normed, so that is an upper
    bound.
    """
    if sample.histogram is not None:  # of a histogram that somebody else made the events are not known
        return [(np.full(n_bins, np.nan), np.full(n_bins, np.nan))] * len(DIRECTIONS)
    of_sides = []
    for direction in DIRECTIONS:
        # A mirror image is minus the change of the events of the other direction.
        is_image = morph.mirror and direction == morph.missing
        source = DIRECTIONS[1 - DIRECTIONS.index(direction)] if is_image else direction
        scale = -morph.scale if is_image else morph.scale
        members = []
        for label in morph.members:
            row = sample.variations.index(Variation(label, source))
            if morph.part == "norm":
                members.append(_norm_moments(sample, bins, row, scale, n_bins))
            else:
                members.append(_event_moments(sample, bins, row, scale, morph.part == "shape", n_bins))
        largest = np.max([d2 for d2, _ in members], axis=0)
        of_sides.append(members[0] if len(members) == 1 else (largest, np.zeros_like(largest)))
    return of_sides


def _event_moments(
    sample: Sample, bins: Bins, row: int, c: float, is_shape: bool, n_bins: int
) -> tuple[FloatArray, FloatArray]:
    """Sums of d^2 and d n where one standard deviation is c (k u - n) of the weights u of a variation and n.

    k keeps the yield of a shape; see ``histograms.morph``.
    """
    variance = BinnedVariance(sample.group, n_bins)
    nominal = bins[sample.view[0]], sample.weights[0]
    k = float(sample.weights[0].sum() / sample.weights[row].sum()) if is_shape else 1.0
    varied = bins[sample.view[row]], k * sample.weights[row]
    d2 = variance(varied, minus(nominal))
    # u = d + n, so that 2 sum d n = sum u^2 - sum d^2 - sum n^2.
    return c**2 * d2, c * (variance(varied) - d2 - variance(nominal)) / 2


def _norm_moments(sample: Sample, bins: Bins, row: int, c: float, n_bins: int) -> tuple[FloatArray, FloatArray]:
    """Sums of d^2 and d n of a change of the yield alone: the ratio of every bin has the error of that of all."""
    d2, dn = _event_moments(sample, np.zeros_like(bins), row, c, False, 1)
    total, everything = sample.weights[0].sum(), BinnedVariance(sample.group, 1)
    ratio = c * (sample.weights[row].sum() / total - 1)
    nominal = np.zeros_like(bins[0]), sample.weights[0]
    square = (d2 - 2 * ratio * dn + ratio**2 * everything(nominal)) / total**2
    of_bin = BinnedVariance(sample.group, n_bins)((bins[sample.view[0]], sample.weights[0]))
    yields = np.bincount(bins[sample.view[0]], sample.weights[0], n_bins)
    return ratio**2 * of_bin + yields**2 * square, ratio * of_bin
