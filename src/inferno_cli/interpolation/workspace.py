"""Workspaces of signals at new parameters: the model of the run, with a signal that the flows have drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import Events, FloatArray, Sample
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.quantities.limit import Limit
from inferno_cli.histograms.fitted import fitted
from inferno_cli.interpolation import context
from inferno_cli.interpolation.flow import Ensemble
from inferno_cli.interpolation.grid import Grid, is_inside
from inferno_cli.interpolation.record import TargetRecord
from inferno_cli.interpolation.settings import InterpolateConfig
from inferno_cli.interpolation.target import Interpolated, bin_errors, nearest, require_spread, with_errors, with_signal
from inferno_cli.interpolation.yields import Yields
from inferno_cli.likelihood.spec import Spec
from inferno_cli.likelihood.writers import pyhf
from inferno_cli.section import Names
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.final_templates import FinalTemplates, final_templates
from inferno_cli.training.observable import ChannelNetworks
from inferno_cli.training.observables import Observables
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.trainer import train

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Template:
    """A signal in the bins of a model.

    Attributes:
        final: The templates.
        observables: The networks with their bins.
        likelihood: Of the templates.
    """

    final: FinalTemplates
    observables: Observables
    likelihood: Spec


@dataclass(frozen=True)
class Model:
    """The model of a run, which makes the bins of signals at any parameters.

    Attributes:
        config: The configuration.
        events: All events of the dataset.
        grid: The signals of the dataset.
        shared: A network for all parameters, which are its inputs; None: each signal has its own training.
    """

    config: InterpolateConfig
    events: Events
    grid: Grid
    shared: ChannelNetworks | None

    @classmethod
    def of(cls, config: InterpolateConfig, events: Events, grid: Grid, folder: Path) -> Model:
        """Train the network that is shared by all parameters, if there is one."""
        model = cls(config, events, grid, None)
        if not config.parametrised:
            return model
        name = grid.names[int(np.flatnonzero(grid.is_trained_on)[0])]
        own = context.of_all_signals(events, grid, model.backgrounds, name, config.data_seed)
        return replace(model, shared=model.trained(name, own, folder))

    @property
    def backgrounds(self) -> Names:
        """Samples of the likelihood that no POI scales."""
        return tuple(name for name in self.config.sample_names if name not in self.config.signal_names)

    def of_signal(self, name: str) -> InterpolateConfig:
        """Return the configuration with one signal."""
        wanted = self.config.likelihood.model_copy(update={"samples": (name, *self.backgrounds)})
        return self.config.model_copy(update={"likelihood": wanted})

    def trained(self, name: str, own: Events, folder: Path) -> ChannelNetworks:
        """Train the model, where it is trained, on one signal and the backgrounds."""
        config = self.of_signal(name)
        parts = config.model.network, config.model.summary, config.model.objective
        likelihoods, checkpoints = Likelihoods.from_config(config), folder / CHECKPOINTS
        return train(*parts, likelihoods, own, config.trainer, seed=config.seed, folder=checkpoints).networks

    def template(self, name: str, own: Events, networks: ChannelNetworks) -> Template:
        """Fill the template split of one signal, called ``name``, and of the backgrounds."""
        config = self.of_signal(name)
        observables = Observables((networks,), Channels(config.channels))
        final = final_templates(
            observables,
            Likelihoods.from_config(config),
            own,
            symmetrise=config.likelihood.symmetrise,
            prune=config.likelihood.prune,
            keep=config.named_in_fit,
            seed=config.data_seed,
        )
        groups = {item.channel: item.groups for item in final.channels}
        bounds = config.likelihood.poi_bounds
        spec = fitted(final.channels, final.measurement, poi_bounds=bounds, observed=False)
        return Template(final, replace(observables, groups=groups), spec)

    def networks_at(self, name: str, own: Events, folder: Path) -> ChannelNetworks:
        """Return the networks of a signal: trained on it, or the shared ones, with bins that are placed for it."""
        if self.shared is None:
            return self.trained(name, own, folder)
        kinds = {sample.name: sample.is_signal for sample in own.train}
        fresh = {}
        for key, observable in self.shared.by_name.items():
            fresh[key] = replace(observable, summary=self.config.model.summary.for_samples(kinds), groups=())
        return replace(self.shared, by_name=fresh).placed([NominalEvents.of(sample) for sample in own.train])

    def told(self, own: Events, at: FloatArray) -> Events:
        """Return events as the networks see them: with the parameters, where these are inputs."""
        return own if self.shared is None else context.at_values(own, self.grid, at)

    def seen(self, samples: Sequence[Sample], at: FloatArray) -> list[Sample]:
        """Return samples as the networks see them."""
        if self.shared is None:
            return list(samples)
        return [context.with_columns(sample, np.tile(at, (len(sample.group), 1))) for sample in samples]

    def limit(self, name: str, template: Template, content: dict[str, Any], where: str) -> tuple[float, ...] | None:
        """Return the five expected limits where they are asked for: without signal, -2 to +2 sigma."""
        config = self.of_signal(name)
        if not config.wants_limit:
            return None
        settings = config.fit_of(template.final.measurement.parameters)
        found: Limit | None = fit_workspace(content, settings, where=where)["limit"]
        return None if found is None else found.a_priori or found.expected


def write_workspaces(
    config: InterpolateConfig, events: Events, grid: Grid, ensemble: Ensemble, process: Yields, folder: Path
) -> list[TargetRecord]:
    """Write a workspace for each point of ``at`` to a folder of its own; return what is in them."""
    model = Model.of(config, events, grid, folder)
    found = []
    for values in config.at:
        at = np.array(values, dtype=np.float64)
        (expected,), (error,) = process.predict(at[None])
        yields = float(expected), float(error)
        signal = Interpolated.draw(ensemble, at, yields, config.pulls.flow_events, config.seed)
        place = "_".join(["at", *(f"{value:g}" for value in values)])
        (folder / place).mkdir(parents=True, exist_ok=True)
        found.append(_written(model, signal, folder, place))
    return found


def _written(model: Model, signal: Interpolated, folder: Path, place: str) -> TargetRecord:
    """Write the workspace of one signal."""
    grid, at = model.grid, signal.at
    name, path = nearest(grid, at), folder / place / pyhf.FILE
    own = model.told(with_signal(model.events, model.backgrounds, signal, name), at)
    networks = model.networks_at(name, own, folder / place)
    template = model.template(name, own, networks)
    (channel,) = template.final.channels
    members = model.seen(signal.by_member(name), at)
    errors = bin_errors(template.observables, members, channel.channel)
    inside = is_inside(at, grid.at[grid.is_trained_on])
    require_spread(at, errors, signal.expected, is_inside=inside)
    called = "_".join(["signal", *(f"{value:g}" for value in at)])
    likelihood = with_errors(template.likelihood, name, called, errors, signal.relative_error)
    content = pyhf.write(likelihood, path)
    return TargetRecord(
        at=dict(zip(grid.parameters, at.tolist(), strict=True)),
        workspace=f"{place}/{pyhf.FILE}",
        is_inside=inside,
        expected=signal.expected,
        relative_error=signal.relative_error,
        nominal=tuple(np.asarray(channel.values(name)).tolist()),
        errors=tuple(errors.tolist()),
        nearest=name,
        limit=model.limit(name, template, content, str(path)),
        simulated_limit=_simulated(model, name, at, networks),
    )


def _simulated(model: Model, name: str, at: FloatArray, networks: ChannelNetworks) -> float | None:
    """Return the median expected limit with the simulated signal, in the same bins, where a point has one."""
    number = model.grid.names.index(name)
    if not model.config.wants_limit or not np.array_equal(model.grid.at[number], at):
        return None
    wanted = (name, *model.backgrounds)
    splits: dict[str, Any] = {}
    for split in context.SPLITS:
        splits[split] = tuple(sample for sample in getattr(model.events, split) if sample.name in wanted)
    own = model.told(replace(model.events, observed=None, assignment=None, **splits), at)
    template = model.template(name, own, networks)
    limit = model.limit(name, template, pyhf.workspace(template.likelihood), f"the simulated signal {name}")
    return None if limit is None else limit[2]
