"""The likelihood of a measurement: from templates, hard or soft, to its specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from array_api_compat import array_namespace

from inferno_cli.config.measurement import Measurement
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array, Modifier
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Sample, Spec
from inferno_cli.names import morph_name, staterror_of
from inferno_cli.section import POI, Names

MEASUREMENT = "inferno"
BOUNDS = (-10.0, 10.0)
"""Of the parameters of shapes and yields, in standard deviations. pyhf's own, 5, make errors of barely constrained
parameters 0.6% too small."""
STATERROR_BOUNDS = (1e-10, 10.0)


@dataclass(frozen=True)
class ChannelTemplates:
    """The templates of one channel, arrays of numpy or of torch.

    Attributes:
        name: Name of the channel.
        samples: Its samples, in the order of the rows.
        nominal: Expected events, shape (S, B).
        variance: Their statistical variances, shape (S, B).
        varied: Templates at one standard deviation up and down, shape (B,), by (parameter, sample).
        varied_variance: Their statistical variances, for the files.
        observed: Events observed, shape (B,).
    """

    name: str
    samples: Names
    nominal: Array
    variance: Array
    varied: Mapping[tuple[str, str], tuple[Array, Array]]
    varied_variance: Mapping[tuple[str, str], tuple[Array, Array]] | None = None
    observed: Array = None


def build(
    measurement: Measurement, channels: Sequence[ChannelTemplates], poi_bounds: tuple[float, float] = BOUNDS
) -> Spec:
    """Assemble the likelihood from templates, through which it can be differentiated.

    An unconstrained shape is not in HistFactory's vocabulary, where every histosys has a constraint: it becomes a
    NormFactor, nominal 0, on a sample of its own that holds (up - down) / 2. That is exact, and any HistFactory tool
    can fit it.

    Args:
        poi_bounds: Range of the parameter of interest in the fit.
    """
    parameters = [_parameter(measurement, name, poi_bounds) for name in measurement.parameters]
    if measurement.staterror:
        for channel in channels:
            n = channel.nominal.shape[1]
            bounds, constraint = (STATERROR_BOUNDS,) * n, Gaussian((1.0,) * n, None)
            name = staterror_of(channel.name)
            parameters.append(Parameter(name, (1.0,) * n, bounds, (False,) * n, constraint, per_bin=True))
    built = []
    for item in channels:
        samples = _samples(measurement.within(item.name), item)
        built.append(Channel(item.name, tuple(samples), item.observed))
    return Spec(tuple(built), tuple(parameters), POI, MEASUREMENT)


def _samples(measurement: Measurement, channel: ChannelTemplates) -> list[Sample]:
    """Return the samples of one channel, with their modifiers."""
    xp = array_namespace(channel.nominal)
    staterror = staterror_of(channel.name)
    rows = zip(channel.samples, xp.unstack(channel.nominal), xp.unstack(channel.variance), strict=True)
    samples: list[Sample] = []
    for name, template, error in rows:
        factors, rates = _of_yield(measurement, name)
        shapes: list[mod.NormPlusShape] = []
        free: list[Sample] = []
        for systematic in measurement.shapes:
            key = systematic, name
            if key not in channel.varied or name not in measurement.shapes[systematic]:
                continue
            up, down = channel.varied[key]
            if systematic in measurement.unconstrained:
                modifiers = (*factors, mod.NormFactor(systematic), *rates)
                free.append(Sample(morph_name(name, systematic), (up - down) / 2, modifiers, parent=name))
            else:
                shapes.append(mod.NormPlusShape(systematic, up, down, (channel.varied_variance or {}).get(key)))
        of_bins = [mod.StatError(staterror, error)] if measurement.staterror else []
        samples += [Sample(name, template, (*of_bins, *factors, *rates, *shapes), error), *free]
    return samples


def _of_yield(measurement: Measurement, sample: str) -> tuple[list[Modifier], list[Modifier]]:
    """Return the NormFactors and the normsys of a sample, in the order of the measurement."""
    scaled = {POI: measurement.signal, **measurement.free}
    factors: list[Modifier] = [mod.NormFactor(name) for name, touched in scaled.items() if sample in touched]
    changed = measurement.normalisation.items()
    return factors, [mod.NormSys(name, *sizes[sample]) for name, sizes in changed if sample in sizes]


def _parameter(measurement: Measurement, name: str, poi_bounds: tuple[float, float]) -> Parameter:
    """Return a parameter that acts on whole samples."""
    if name == POI:
        return Parameter(name, (1.0,), (poi_bounds,))
    if name in measurement.free:
        return Parameter(name, (1.0,), (measurement.bounds[name],))
    if name in measurement.unconstrained:
        return Parameter(name, (0.0,), (BOUNDS,))
    return Parameter(name, (0.0,), (BOUNDS,), constraint=Gaussian((0.0,), (1.0,)))
