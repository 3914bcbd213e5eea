"""Workspaces of signals at new parameters: the model of the run, with a signal that the flows have drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inferno_cli.errors import ConfigError
from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import Events, FloatArray
from inferno_cli.histograms.fitted import fitted
from inferno_cli.interpolation.flow import Ensemble
from inferno_cli.interpolation.grid import Grid, is_inside
from inferno_cli.interpolation.record import TargetRecord
from inferno_cli.interpolation.settings import InterpolateConfig
from inferno_cli.interpolation.target import Interpolated, bin_errors, nearest, with_errors, with_signal
from inferno_cli.interpolation.yields import Yields
from inferno_cli.likelihood.spec import Spec
from inferno_cli.likelihood.writers import pyhf
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.observables import Observables
from inferno_cli.training.trainer import train


@dataclass(frozen=True)
class Template:
    """A signal at new parameters in the bins of a model.

    Attributes:
        likelihood: With the error of the interpolation.
        nominal, errors: Expected events of the signal and the standard deviation of the flows, shape (n_bins,) each.
        nearest: The signal whose uncertainties of the yield were taken.
    """

    likelihood: Spec
    nominal: FloatArray
    errors: FloatArray
    nearest: str


def write_workspaces(
    config: InterpolateConfig, events: Events, grid: Grid, ensemble: Ensemble, process: Yields, folder: Path
) -> list[TargetRecord]:
    """Write a workspace for each point of ``at`` to a folder of its own; return what is in them."""
    found = []
    for values in config.at:
        at = np.array(values, dtype=np.float64)
        (expected,), (error,) = process.predict(at[None])
        signal = Interpolated.draw(ensemble, at, (float(expected), float(error)), config.pulls.flow_events, config.seed)
        place = "_".join(["at", *(f"{value:g}" for value in values)])
        own = folder / place
        own.mkdir(parents=True, exist_ok=True)
        template = templates_at(config, events, grid, signal, own)
        pyhf.write(template.likelihood, own / pyhf.FILE)
        found.append(
            TargetRecord(
                at=dict(zip(grid.parameters, values, strict=True)),
                workspace=f"{place}/{pyhf.FILE}",
                is_inside=is_inside(at, grid.at[grid.is_trained_on]),
                expected=signal.expected,
                relative_error=signal.relative_error,
                nominal=tuple(template.nominal.tolist()),
                errors=tuple(template.errors.tolist()),
                nearest=template.nearest,
            )
        )
    return found


def templates_at(config: InterpolateConfig, events: Events, grid: Grid, signal: Interpolated, folder: Path) -> Template:
    """Fill the bins of the model of a configuration, which is trained on this signal where it is trained.

    Args:
        config: The model, the channel, the nuisance parameters.
        events: Backgrounds among them.
        grid: Of the flows.
        signal: At the new parameters.
        folder: Where a checkpoint is written.

    Raises:
        ConfigError: If there are several channels.
    """
    if len(config.fitted_channels) > 1:
        raise ConfigError(f"at: a template is of one channel, found {', '.join(config.fitted_channels)}; channels=one")
    (channel,) = config.fitted_channels
    name = nearest(grid, signal.at)
    backgrounds = tuple(item for item in config.sample_names if item not in config.signal_names)
    if not backgrounds:
        raise ConfigError("at: the dataset has no background, and a signal alone cannot be fitted")
    wanted = config.likelihood.model_copy(update={"samples": (name, *backgrounds)})
    config = config.model_copy(update={"likelihood": wanted})
    own = with_signal(events, backgrounds, signal, name)
    likelihoods = Likelihoods.from_config(config)
    model = config.model
    training = train(
        model.network,
        model.summary,
        model.objective,
        likelihoods,
        own,
        config.trainer,
        seed=config.seed,
        folder=folder / "checkpoints",
        log_ratio=None,
    )
    observables = Observables((training.networks,), Channels(config.channels))
    final = final_templates(
        observables,
        likelihoods,
        own,
        symmetrise=config.likelihood.symmetrise,
        prune=config.likelihood.prune,
        keep=config.named_in_fit,
        seed=config.data_seed,
    )
    groups = {item.channel: item.groups for item in final.channels}
    binned = Observables(observables.networks, observables.channels, groups)
    errors = bin_errors(binned, signal, name, channel)
    spec = fitted(final.channels, final.measurement, poi_bounds=config.likelihood.poi_bounds, observed=False)
    called = "_".join(["signal", *(f"{value:g}" for value in signal.at)])
    likelihood = with_errors(spec, name, called, errors, signal.relative_error)
    nominal = final.channels[0].values(name)
    return Template(likelihood, np.asarray(nominal), errors, name)
