"""The network of a finished run in the place of a trained one: under another configuration, nothing is trained."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

from inferno_cli.config import Measurement, TrainConfig
from inferno_cli.errors import OutputError, RunError, SingularInformationError
from inferno_cli.events import Events
from inferno_cli.training.epochs import CHECKPOINT, Epoch, Training
from inferno_cli.training.evaluation import judge
from inferno_cli.training.statistic import Statistic


def take(config: TrainConfig, events: Events, statistic: Statistic, run: Path, folder: Path) -> Training:
    """Return the network of a finished run, evaluated on the validation split of this one.

    Both variances are those of the likelihood that is fitted here, whatever the network was trained with. The
    checkpoint is copied as it is.

    Args:
        config: The configuration of this run.
        events: Its events.
        statistic: The network, with its standardisation; checked with ``require_fits``.
        run: Folder of the finished run.
        folder: Where the checkpoint goes.

    Raises:
        SingularInformationError: If the bins of the validation split cannot constrain the parameters.
    """
    start = time.perf_counter()
    module = statistic.module
    module.model = config.model
    evaluation = judge(module, config, events)
    if not math.isfinite(evaluation.hard):
        parameters = Measurement.from_config(config, config.nuisance.fit).parameters
        raise SingularInformationError(
            f"the bins of the network of {run} cannot constrain {', '.join(parameters)} on the validation "
            "split. Use more events, fewer nuisance parameters, or lower binning.min_effective_events"
        )
    path = folder / CHECKPOINT.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / CHECKPOINT, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    return Training(module, (), Epoch(0, math.nan, evaluation), evaluation, path, time.perf_counter() - start)


def require_fits(config: TrainConfig, statistic: Statistic, run: Path) -> None:
    """Raise RunError if a network is for other features, or if another model is configured."""
    if config.dataset.features != statistic.features:
        raise RunError(
            f"the network of {run} is for the features {', '.join(statistic.features)}; dataset.features is "
            f"{', '.join(config.dataset.features)}. They must be the same, in the same order: fix trained_in or dataset"
        )
    keys = ["kind", "hidden", "activation"]
    keys += ["bins", "temperature"] if statistic.module.model.kind == "inferno" else []
    for key in keys:
        there, here = getattr(statistic.module.model, key), getattr(config.model, key)
        if there != here:
            there, here = (list(x) if isinstance(x, tuple) else x for x in (there, here))
            name = "model" if key == "kind" else f"model.{key}"
            raise RunError(
                f"model.{key} is {here}, and the network of {run} has {there}. Set {name}={there}, or fix trained_in"
            )
