"""Helpers of the tests: configurations, small ROOT files, toy templates and their likelihood."""

from __future__ import annotations

import copy
import json
import signal
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import hist
import numpy as np
import pytest
import sqlalchemy
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import settings
from omegaconf import DictConfig

from inferno_cli.config.load import careful, config_folder, resolve
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Events, Variation
from inferno_cli.histograms.binning import merge
from inferno_cli.histograms.fitted import fitted, specification
from inferno_cli.histograms.morph import scaled
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.spec import Spec
from inferno_cli.likelihood.writers import cabinetry, datacard, pyhf

if TYPE_CHECKING:
    from inferno_cli.events.sample import Events
    from inferno_cli.training.epochs import Training

settings.register_profile("inferno", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("inferno")


FOLDERS = {"integration": pytest.mark.slow, "browser": pytest.mark.browser}
"""Marker of everything in a folder; single files have their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the folders that ``make fast`` leaves out."""
    for item in items:
        marker = FOLDERS.get(item.path.parent.name)
        if marker is not None:
            item.add_marker(marker)


# -------------------------------------------------------------------------------------------------- databases
@pytest.fixture(scope="session", autouse=True)
def _no_waits_for_the_disk() -> Iterator[None]:
    """Let SQLite leave it to the system when it writes to the disk: what is lost with the power, no test looks at.

    MLflow makes a store in 70 transactions, and waits for the disk at the end of each.
    """

    def leave(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", leave)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", leave)


# ------------------------------------------------------------------------------------------- configurations
@cache
def _composed(*groups: str) -> DictConfig:
    with careful(), initialize_config_dir(str(config_folder()), version_base="1.3"):
        return hydra_compose("train", overrides=["~job", *groups])


@cache
def compose(*overrides: str) -> TrainConfig:
    """Compose conf/train.yaml as ``inferno train`` does, without the group of Hydra's own settings.

    Reading the files takes Hydra 0.1 s, so what the choice of groups gives is kept; values are put in as Hydra does.
    """
    folders = {path.name for path in config_folder().iterdir() if path.is_dir()}
    groups = [text for text in overrides if text.partition("=")[0].strip("+~").partition("/")[0] in folders]
    composed = copy.deepcopy(_composed(*groups))
    values = OverridesParser.create().parse_overrides([text for text in overrides if text not in groups])
    ConfigLoaderImpl._apply_overrides_to_config(values, composed)
    return resolve(TrainConfig, composed)


def synthetic(*overrides: str) -> TrainConfig:
    """Compose the synthetic dataset with few events."""
    small = [f"dataset.events.{split}={n}" for split, n in (("train", 400), ("validation", 300), ("template", 500))]
    return compose("dataset=synthetic", "dataset.downsample_factor=1.0", *small, *overrides)


def changed(config: TrainConfig, **sections: Any) -> TrainConfig:
    """Return a configuration with some sections replaced, validated again."""
    return TrainConfig.model_validate_json(json.dumps(config.model_dump(mode="json", by_alias=True) | sections))


def train(config: TrainConfig, events: Events, folder: Path) -> Training:
    """Train the model of a configuration."""
    from inferno_cli.training import trainer
    from inferno_cli.training.evaluation import Likelihoods

    model, likelihoods = config.model, Likelihoods.from_config(config)
    parts = model.network, model.summary, model.objective
    exact = config.dataset.exact_classifier()
    return trainer.train(*parts, likelihoods, events, config.trainer, seed=config.seed, folder=folder, log_ratio=exact)


def ntuples(path: Path, *, fit: Sequence[str] = (), seed: int = 1, **dataset: Any) -> TrainConfig:
    """Configure ntuples with a signal, a background and data; ``dataset`` changes keys of the dataset.

    The tree of each sample is named after it; events have features x and y and the weight w.
    """
    defaults = {
        "kind": "ntuples",
        "name": "small",
        "path": str(path),
        "file": "*.root",
        "tree": "{sample}{variation}",
        "variation": "_{systematic}_{direction}",
        "features": ["x", "y"],
        "event_id": ["run", "event"],
        "weight": "w",
        "luminosity_scale": 1.0,
        "downsample_factor": 1.0,
        "samples": {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}, "Data": {"role": "data"}},
        "splits": {"train": 0.4, "validation": 0.2, "template": 0.4},
        "systematics": {"jes": {"kind": "shape", "samples": ["ttbar"]}},
    }
    nuisance = {"train": list(fit), "fit": list(fit), "unconstrained": []}
    return changed(
        compose("dataset=top11004", "nuisance=none"), dataset=defaults | dataset, nuisance=nuisance, seed=seed
    )


def load(config: TrainConfig) -> Events:
    """Generate or read the events of a run."""
    return config.dataset.load(config.request)


def observed(events: Events) -> Any:
    """Return the features of the observed events, all of which are in one channel, shape (n_events, n_features)."""
    (part,) = events.observed or ()
    return part.features


# -------------------------------------------------------------------------------------------------- signals
@pytest.fixture
def heard() -> Iterator[None]:
    """Let signals end this process and those that it starts, also where the tests run in the background of a shell."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# ----------------------------------------------------------------------------------------------- ROOT files
def rows(event: Any, shift: float = 0.0, **columns: Any) -> dict[str, np.ndarray]:
    """Events of one tree: x tells the event number and the shift, w is 1, 2 or 3."""
    event = np.asarray(event, dtype=np.int64)
    table = {
        "run": np.full(len(event), 7, dtype=np.int64),
        "event": event,
        "x": (event + shift).astype(np.float32),
        "y": np.sqrt(event).astype(np.float32),
        "w": 1.0 + event % 3,
    }
    return table | {name: np.asarray(values) for name, values in columns.items()}


def write(path: Path, trees: Mapping[str, Mapping[str, np.ndarray]], *, rntuple: bool = False) -> Path:
    """Write TTrees, or RNTuples, to a ROOT file."""
    import uproot

    with uproot.recreate(path) as file:
        for name, table in trees.items():
            make = file.mkrntuple if rntuple else file.mktree
            tree = make(name, {column: values.dtype for column, values in table.items()})
            if len(next(iter(table.values()))):
                tree.extend(dict(table))
    return path


def small_trees(**changes: Mapping[str, np.ndarray]) -> dict[str, Mapping[str, np.ndarray]]:
    """Trees of every sample and of the jet energy scale; ``changes`` replaces some."""
    n = np.arange(1, 241)
    return {
        "ttbar": rows(n),
        "ttbar_jes_up": rows(n, 0.25),
        "ttbar_jes_down": rows(n, -0.25),
        "QCD": rows(n + 1000),
        "Data": rows(n + 2000),
    } | dict(changes)


# ------------------------------------------------------------------------------------------------ templates
def histogram(values: Any, variances: Any) -> hist.Hist:
    """Wrap yields and variances."""
    values = np.asarray(values, dtype=float)
    made = hist.Hist(hist.axis.Integer(0, len(values), flow=False, name="bin"), storage=hist.storage.Weight())
    made[...] = np.stack([values, np.broadcast_to(variances, values.shape)], axis=-1)
    return made


def make_templates(
    nominal: Mapping[str, Any],
    *,
    signal: Sequence[str] = ("signal",),
    varied: Mapping[tuple[str, str], tuple[Any, Any]] | None = None,
    relative_error: float = 0.02,
    noise: Mapping[tuple[str, str], Any] | None = None,
    observed: Any = None,
) -> Templates:
    """Write down templates by hand: yields by sample, and up, down and the noise of S by (systematic, sample)."""
    histograms = {
        (sample, NOMINAL): histogram(values, (relative_error * np.asarray(values, dtype=float)) ** 2)
        for sample, values in nominal.items()
    }
    for (systematic, sample), pair in (varied or {}).items():
        for direction, values in zip(("up", "down"), pair, strict=True):
            variance = (relative_error * np.asarray(values, dtype=float)) ** 2
            histograms[sample, Variation(systematic, direction)] = histogram(values, variance)
    n_bins = len(next(iter(nominal.values())))
    odd = {key: np.zeros(n_bins) for key in varied or {}} | dict(noise or {})
    return Templates(
        samples=tuple(nominal),
        signal=tuple(signal),
        histograms=histograms,
        noise={key: np.array([values, np.full(n_bins, np.nan)]) for key, values in odd.items()},
        observed=None if observed is None else histogram(observed, observed),
        groups=tuple((i,) for i in range(n_bins)),
    )


def make_measurement(
    samples: Sequence[str],
    *,
    signal: Sequence[str] = ("signal",),
    free: Mapping[str, Sequence[str]] | None = None,
    normalisation: Mapping[str, tuple[Sequence[str], float, float]] | None = None,
    shapes: Mapping[str, bool] = MappingProxyType({}),
    unconstrained: Sequence[str] = (),
    staterror: bool = True,
) -> Measurement:
    """Write down a measurement by hand."""
    return Measurement(
        samples=tuple(samples),
        signal=tuple(signal),
        free={name: tuple(touched) for name, touched in (free or {}).items()},
        bounds=dict.fromkeys(free or {}, (0.0, 10.0)),
        normalisation={
            name: dict.fromkeys(touched, factors) for name, (touched, *factors) in (normalisation or {}).items()
        },
        shapes={
            name: dict.fromkeys(samples, Morph((name,), part="both" if kept else "shape"))
            for name, kept in shapes.items()
        },
        unconstrained=tuple(unconstrained),
        staterror=staterror,
    )


def prepared(measurement: Measurement, templates: Templates) -> tuple[Measurement, Templates]:
    """Let the shapes touch the samples that have varied templates, and apply what they say about the yields."""
    touched = {
        name: {sample: morph for sample, morph in by_sample.items() if (name, sample) in templates.varied}
        for name, by_sample in measurement.shapes.items()
    }
    measurement = replace(measurement, shapes=touched)
    return measurement, scaled(templates, measurement)


def merge_one(templates, rule, fit, *, ordered):
    """Merge the bins of one channel."""
    (found,) = merge([replace(templates, ordered=ordered)], rule, fit)
    return found


def channel_of(measurement: Measurement, templates: Templates) -> Any:
    """Build the likelihood of hard templates (training.recipe.template_channels without importing Lightning)."""
    import torch

    from inferno_cli.likelihood.expectation import expectation

    measurement, templates = prepared(measurement, templates)
    return expectation(specification([templates], measurement, torch.from_numpy))


@dataclass(frozen=True)
class Written:
    """A likelihood, the files that a run writes of it, and the names of its samples by those in cabinetry's."""

    likelihood: Spec
    spec: dict[str, Any]
    path: Path
    config: Path
    samples: dict[str, str]


def build(
    templates: Templates, measurement: Measurement, *, poi_bounds: tuple[float, float], observed: bool, folder: Path
) -> Written:
    """Write the workspace and the cabinetry configuration of a run."""
    likelihood = fitted([templates], measurement, poi_bounds=poi_bounds, observed=observed)
    config, path = cabinetry.write(likelihood, folder), folder / pyhf.FILE
    samples = {text: name for name, text in cabinetry.names(likelihood).samples.items()}
    return Written(likelihood, pyhf.write(likelihood, path), path, config, samples)


def export(written: Written, folder: Path, label: str = "", data: str = "Asimov data") -> tuple[Path, ...]:
    """Write the files for Combine."""
    return datacard.write(written.likelihood, folder, data=data, label=label)


# ------------------------------------------------------------------------------------------------------- fits
def hessian_by_differences(model: Any, data: Sequence[float], values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Hessian of pyhf's own -ln L, from its differences; zero rows where the step is 0.

    Args:
        model: pyhf's.
        data: With the auxiliary data.
        values: Where, shape (n_parameters,).
        steps: Of each parameter, 5% of its error or so; 0 where it is constant, shape (n_parameters,).
    """
    free = np.flatnonzero(steps)

    def nll(point: np.ndarray) -> float:
        return float(-np.squeeze(model.logpdf(point, data)))

    hessian = np.zeros((len(steps), len(steps)))
    shifts = np.diag(steps)
    for i in free:
        for j in free[free <= i]:
            first, second = shifts[i], shifts[j]
            ends = [nll(values + a * first + b * second) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            hessian[i, j] = hessian[j, i] = (ends[0] - ends[1] - ends[2] + ends[3]) / (4 * steps[i] * steps[j])
    return hessian


def covariance_by_differences(
    model: Any, data: Sequence[float], values: np.ndarray, steps: np.ndarray, *, fine: bool = False
) -> np.ndarray:
    """Inverse of that Hessian, shape (n_parameters, n_parameters); zero rows where the step is 0.

    ``fine``: from steps of two sizes, whose errors of second order cancel.
    """
    hessian = hessian_by_differences(model, data, values, steps)
    if fine:
        hessian = (4 * hessian_by_differences(model, data, values, steps / 2) - hessian) / 3
    free = np.flatnonzero(steps)
    kept = np.ix_(free, free)
    scale = np.outer(steps[free], steps[free])
    covariance = np.zeros_like(hessian)
    covariance[kept] = np.linalg.inv(hessian[kept] * scale) * scale
    return covariance
