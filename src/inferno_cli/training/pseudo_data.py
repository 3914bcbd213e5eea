"""Pseudo-data of which the truth is known: events that pass the network, counted in the bins that a run fits.

Where the dataset can generate events with any true parameters, every experiment has events of its own, and no
simulation limits what is learnt. Else they are of a split that neither the network was trained on nor the templates are
made of, nominal, shifted and reweighted. An experiment that draws Poisson numbers of weighted events, each in
proportion to its weight, has Poisson counts with the sums of weights as their means; negative weights are subtracted in
these sums, where no event could be drawn with them. So the counts are drawn directly. The split's own noise is a bias
that all experiments share: ``common_bias`` says how large it is expected to be.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import TemplateError
from inferno_cli.events.channel import NO_BIN
from inferno_cli.events.sample import Events, FloatArray
from inferno_cli.histograms.binning import LinearFit
from inferno_cli.histograms.fitted import specification
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.expectation import Expectation, expectation, expected_yields
from inferno_cli.names import staterror_of
from inferno_cli.training.observables import Observables
from inferno_cli.training.recipe import linear_fit, merged


@dataclass(frozen=True)
class Experiment:
    """One pseudo-experiment: the true POI, nuisance parameters that are not nominal, and its own random numbers."""

    mu: float
    values: Mapping[str, float]
    rng: np.random.Generator


class PseudoData(ABC):
    """Where pseudo-data are from."""

    origin: str
    """Says so."""

    @abstractmethod
    def is_possible(self, mu: float, values: Mapping[str, float]) -> bool:
        """Whether there can be data of true parameters."""

    @abstractmethod
    def counts(self, experiments: Sequence[Experiment]) -> FloatArray:
        """Return the events in every fitted bin, shape (n_experiments, B)."""

    @abstractmethod
    def gammas(self) -> dict[str, float]:
        """Return true values of the parameters of the templates' statistical errors, where they are known."""

    @abstractmethod
    def common_bias(self, values: Mapping[str, float]) -> float:
        """Return the standard deviation of the bias of mu that the noise of the simulation makes."""


@dataclass(frozen=True)
class Generated(PseudoData):
    """Events that are generated with the true parameters.

    The templates are one draw of the simulation, and their statistical errors have no true values here: what they are
    off by is a bias.
    """

    config: TrainConfig
    observables: Observables
    measurement: Measurement
    channels: Sequence[Templates]

    origin = "generated with the true parameters"

    def is_possible(self, mu: float, values: Mapping[str, float]) -> bool:  # noqa: ARG002
        """Ask every systematic."""
        dataset = self.config.dataset
        for effect in self.config.request.effects:
            if effect.parameter in values and not effect.definition.is_possible(values[effect.parameter], dataset):
                return False
        return True

    def counts(self, experiments: Sequence[Experiment]) -> FloatArray:
        """Generate the events of each experiment, and let those of all pass the network."""
        dataset, request = self.config.dataset, self.config.request
        events = []
        for item in experiments:
            drawn = dataset.pseudo_data(request, item.mu, item.values, item.rng)
            assert drawn is not None  # ``pseudo_data`` tried
            events.append(drawn)
        number = np.repeat(np.arange(len(events)), [len(drawn) for drawn in events])
        found = self._bins(np.concatenate(events))
        n_bins = sum(item.n_bins for item in self.channels)
        inside = found != NO_BIN
        counts = np.bincount(number[inside] * n_bins + found[inside], minlength=len(events) * n_bins)
        return counts.reshape(len(events), n_bins).astype(np.float64)

    def _bins(self, features: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the fitted bin of events among those of all channels; ``NO_BIN``: none."""
        cells = self.config.dataset.cells(self.observables.channels, features)
        found, first = np.full(len(features), NO_BIN), 0
        for name, (channel, fold) in self.observables.names.items():
            observable = self.observables.channels.by_name[channel].observable
            start, n_made = self.observables.channels.starts[channel], observable.n_bins
            inside = (cells >= start) & (cells < start + n_made)
            numbers: NDArray[np.signedinteger] = cells[inside] - start
            if observable.is_trained:
                network = self.observables.of(channel, fold)
                numbers, n_made = network.network_bins(features[inside]), network.summary.n_bins
            found[inside] = first + self.observables.final(name, n_made)[numbers]
            first += len(self.observables.groups[name])
        return found

    def gammas(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def common_bias(self, values: Mapping[str, float]) -> float:
        """Propagate the noise of the templates and of their variations."""
        fit = linear_fit(self.measurement, self.channels)
        return _noise_in_mu(fit, _variance(self.channels), _moved(fit.noise, self.measurement, values))


@dataclass(frozen=True)
class Drawn(PseudoData):
    """Events of the validation split, which only chose the epoch.

    The truth is this split. The auxiliary measurements of the templates' statistical errors fluctuate around its ratio
    to the templates: as if the templates were simulated anew for every experiment, with the errors that they claim.
    """

    measurement: Measurement
    channels: Sequence[Templates]
    pool: Sequence[Templates]
    expected: Expectation

    origin = "validation split"

    @classmethod
    def of(
        cls, measurement: Measurement, observables: Observables, events: Events, channels: Sequence[Templates]
    ) -> Drawn:
        """Fill the fitted bins with the split; a channel that has bins of its own is made of every event."""
        if not events.validation:
            raise TemplateError(
                "events of a trained_in on other files are all templates, and none is left to draw from"
            )
        samples = (*events.validation, *events.fixed)
        fillings = observables.fillings(samples, observables.assign(samples))
        filled = [item.templates(measurement) for item in fillings]
        pool = merged(filled, measurement, groups={item.channel: item.groups for item in channels})
        # A shape without a constraint is linear in the fit; its events at +1 and -1 are what they are.
        true = expectation(specification(pool, replace(measurement, unconstrained=())))
        return cls(measurement, channels, pool, true)

    def _means(self, mu: float, values: Mapping[str, float]) -> FloatArray:
        theta = np.array(self.expected.init)
        theta[self.expected.poi] = mu
        for name, value in values.items():
            theta[self.expected.parameters.index(name)] = value
        return np.asarray(expected_yields(self.expected, theta))

    def is_possible(self, mu: float, values: Mapping[str, float]) -> bool:
        """Whether no bin expects a negative number of events."""
        return bool((self._means(mu, values) >= 0).all())

    def counts(self, experiments: Sequence[Experiment]) -> FloatArray:
        """Draw the counts of each experiment."""
        return np.stack([item.rng.poisson(self._means(item.mu, item.values)) for item in experiments]).astype(float)

    def gammas(self) -> dict[str, float]:
        """Return the ratio of the split to the templates in every bin."""
        if not self.measurement.staterror:
            return {}
        found: dict[str, float] = {}
        for pool, templates in zip(self.pool, self.channels, strict=True):
            ratio = pool.nominal.sum(axis=0) / templates.nominal.sum(axis=0)
            found |= {f"{staterror_of(pool.channel)}[{i}]": float(value) for i, value in enumerate(ratio)}
        return found

    def common_bias(self, values: Mapping[str, float]) -> float:
        """Propagate the noise of both sets of variations, and that of the nominal ones where no gamma takes it up."""
        fit, other = (linear_fit(self.measurement, channels) for channels in (self.channels, self.pool))
        nominal = np.zeros(len(fit.variance))
        if not self.measurement.staterror:
            nominal = _variance(self.channels) + _variance(self.pool)
        return _noise_in_mu(fit, nominal, _moved(fit.noise + other.noise, self.measurement, values))


def _variance(channels: Sequence[Templates]) -> FloatArray:
    """Return the statistical variance of the expected events of every bin of all channels, shape (N,)."""
    return np.concatenate([templates.variance.sum(axis=0) for templates in channels])


def _moved(noise: FloatArray, measurement: Measurement, values: Mapping[str, float]) -> FloatArray:
    """Return the variance that noise of the variations makes in every bin at true parameters, shape (B,)."""
    theta = np.array([values.get(name, 0.0) for name in measurement.parameters])
    return np.asarray(noise @ theta**2)


def _noise_in_mu(fit: LinearFit, nominal: FloatArray, varied: FloatArray) -> float:
    """Propagate variances of the expected events, shape (B,) each, to mu with the weights of the bins in the fit."""
    covariance = fit.covariance()
    assert covariance is not None  # the run has a fit
    weights = fit.jacobian @ covariance[0] / fit.variance
    return math.sqrt(float(weights**2 @ (nominal + varied)))


def pseudo_data(
    config: TrainConfig,
    measurement: Measurement,
    observables: Observables,
    events: Events,
    channels: Sequence[Templates],
) -> PseudoData:
    """Return where the pseudo-data of a run are from.

    Args:
        observables: With the bins that are fitted.
        channels: Templates that are fitted.

    Raises:
        TemplateError: If the split for them has nothing in a bin, or there is none.
    """
    values = dict.fromkeys(measurement.movable, 0.0)
    if config.dataset.pseudo_data(config.request, 0.0, values, np.random.default_rng(0)) is not None:
        return Generated(config, observables, measurement, channels)
    if events.n_folds > 1:
        raise TemplateError(
            "with dataset.splits.folds every event is in the templates: none is left that pseudo-experiments with a "
            "known truth could be drawn from. Take three splits: dataset.splits.folds=null"
        )
    drawn = Drawn.of(measurement, observables, events, channels)
    if not drawn.is_possible(1.0, {}):
        raise TemplateError(
            f"the {drawn.origin} has negative yields in a bin that is fitted, and no data can be drawn from it. Raise "
            "dataset.splits.validation, or binning.min_effective_events"
        )
    return drawn
