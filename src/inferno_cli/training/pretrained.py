"""The network of a finished run in the place of a trained one: under another configuration, nothing is trained."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from inferno_cli.config.schema import Model
from inferno_cli.errors import OutputError, RunError, SingularInformationError
from inferno_cli.events.features import Inputs
from inferno_cli.events.sample import Events, Sample
from inferno_cli.training.epochs import Epoch, Training
from inferno_cli.training.evaluation import NOTHING, Likelihoods, judge
from inferno_cli.training.observable import CHECKPOINTS, SUMMARY, ChannelNetworks, key_of
from inferno_cli.training.summaries import NominalEvents, Summary


def take_pretrained(
    networks: ChannelNetworks, likelihoods: Likelihoods, events: Events, run: Path, folder: Path, name: str
) -> Training:
    """Return the networks of a finished run, evaluated on the validation split of this one.

    Both variances are those of the likelihood that is fitted here, whatever they were trained with. The
    checkpoint, a file of a ``name``, is copied from the folder of the ``run`` into that of this one, see ``_store``.

    Raises:
        SingularInformationError: If the bins of the validation split cannot constrain the parameters.
    """
    start = time.perf_counter()
    # Of other events than those of the training there is no validation split: all that it has not seen are templates.
    evaluation = judge(networks, likelihoods, events) if events.validation else NOTHING
    if events.validation and not math.isfinite(evaluation.hard):
        raise SingularInformationError(
            f"the bins of the network of {run} cannot constrain {', '.join(likelihoods.fitted.parameters)} on the "
            "validation split. Use more events, fewer nuisance parameters, or lower binning.min_effective_events"
        )
    path = folder / CHECKPOINTS / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _store(networks, run / CHECKPOINTS / name, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    return Training(networks, (), Epoch(0, math.nan, evaluation), evaluation, path, time.perf_counter() - start)


def retaken(networks: ChannelNetworks, summary: Summary, samples: Sequence[Sample]) -> ChannelNetworks:
    """Return the networks of a finished run with the summary that is configured here.

    Its bins are those that the training placed; where others are asked for (another number of them, other edges) they
    are placed anew, on the training split ``samples``.
    """
    trained = networks.first.summary
    own, before = (item.model_dump(exclude={item.smoothing, *item.learnt}) for item in (summary, trained))
    if own != before and not samples:
        raise RunError(
            "the bins are other ones than those of the network, and they are placed on the events that it was trained "
            "on, which are not here. Keep model.bins and what else makes them, or use the files of the training"
        )
    taken = {}
    for name, observable in networks.by_name.items():
        bins = summary.restored(observable.summary.state) if own == before else summary
        taken[name] = replace(observable, summary=bins, groups=())
    with_bins = replace(networks, by_name=taken)
    return with_bins if own == before else with_bins.placed([NominalEvents.of(sample) for sample in samples])


def _store(networks: ChannelNetworks, there: Path, path: Path) -> None:
    """Copy the checkpoint of a run as it is, but for bins that were placed anew."""
    stored = torch.load(there, map_location="cpu", weights_only=True)
    states, before = {}, {}
    for name, observable in networks.by_name.items():
        key = key_of(SUMMARY, name)
        states[key], before[key] = observable.summary.state, stored.get(key, {})
    if states == before:
        shutil.copyfile(there, path)
    else:
        torch.save({**stored, **states}, path)


def require_same(inputs: Inputs, model: Model, trained_inputs: Inputs, trained: Model, run: Path) -> None:
    """Raise RunError if the network of a ``run`` is for other features, or if another one is configured here."""
    if inputs.names != trained_inputs.names:
        raise RunError(
            f"the network of {run} is for the features {', '.join(trained_inputs.names)}; dataset.features is "
            f"{', '.join(inputs.names)}. They must be the same, in the same order: fix trained_in or dataset"
        )
    for name, expression in inputs.expressions.items():
        other = trained_inputs.expressions[name]
        if expression.text != other.text:
            raise RunError(
                f"feature {name!r} is {expression.text}, and of the network of {run} it is {other.text}. They must be "
                f"the same: fix trained_in or dataset.features.{name}"
            )
    if str(inputs.missing) != str(trained_inputs.missing):
        raise RunError(
            f"dataset.missing is not that of the network of {run}, to which a branch without a value is another "
            "number. They must be the same: fix trained_in or dataset.missing"
        )
    here, there = model.of_the_network(), trained.of_the_network()
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            raise RunError(
                f"{key} is {here.get(key)}, and the network of {run} has {there.get(key)}. "
                f"Set {key}={there.get(key)}, or fix trained_in"
            )
