"""A finished run, read back from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError, RunError
from inferno_cli.files import read_yaml, user_path
from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
from inferno_cli.runs.earlier import completed
from inferno_cli.runs.folder import CONFIG_FILE, RESULTS_FILE, Status, origin, verify
from inferno_cli.runs.record import Results, groups_of
from inferno_cli.runs.steps import record_of, said_of, step_of

if TYPE_CHECKING:
    from inferno_cli.training.observable import Observable
    from inferno_cli.training.observables import Observables


def finished_run(place: str, key: str, steps: Sequence[str]) -> tuple[Path, str]:
    """Find a finished run of one of some steps, whose files are those that it wrote.

    Args:
        place: Its folder, or the record in it.
        key: The key of the configuration that names it, for the messages.
        steps: The steps; a run of the first of them is meant where nothing else is known.

    Returns:
        Its folder, and the name of its record.

    Raises:
        RunError: If that is no finished run of these, or a file of it has changed since.
    """
    folder, records = user_path(place), dict.fromkeys(record_of(step) for step in steps)
    if folder.name in records:
        folder = folder.parent
    expected = " or ".join(f"`inferno {step}`" for step in steps)
    if not folder.is_dir():
        raise RunError(f"{key}={place} is not a folder. Fix {key}=FOLDER: a run is where its {' or '.join(records)} is")
    folder = origin(folder)
    status = Status.read(folder)
    found = [name for name in records if (folder / name).is_file()]
    if not found and (other := step_of(folder)) and other not in steps:
        raise RunError(f"{said_of(folder)}. Fix {key}=FOLDER: a run of {expected}")
    if status is not None and status.state != "finished":  # the files may be of a run before
        state = "it is running, or was killed" if status.state == "running" else status.state
        why = f" ({status.error})" if status.error else ""
        raise RunError(f"the last run in {folder} did not finish: {state}{why}. Fix {key}=FOLDER, or run it again")
    for name in (*(found or [next(iter(records))])[:1], CONFIG_FILE):
        if not (folder / name).is_file():
            raise RunError(
                f"{folder} has no {name}: it is not the folder of a run of {expected}, or the run did not finish. "
                f"Fix {key}=FOLDER, or run it again"
            )
    verify(folder)
    return folder, found[0]


def _open(place: str, key: str) -> tuple[Path, Results]:
    """Find a finished run of ``inferno train``, and read what it found; see ``finished_run``."""
    folder, _ = finished_run(place, key, ("train",))
    try:
        return folder, Results.load(folder / RESULTS_FILE)
    except ValueError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> RunError:
    return RunError(
        f"the record of the run in {folder} cannot be read ({str(error).strip().splitlines()[0]}). "
        "It may be of another version of inferno_cli: train again"
    )


@dataclass(frozen=True)
class RunFolder:
    """A finished run of ``inferno train``: its folder, its whole configuration and its record."""

    folder: Path
    config: TrainConfig
    results: Results

    @classmethod
    def load(cls, place: str, key: str = "run") -> Self:
        """Read a run; for the arguments and errors see ``finished_run``."""
        from omegaconf import OmegaConf

        folder, results = _open(place, key)
        if results.training is None or results.bins is None:
            raise RunError(f"{folder} is a fit without a network. Fix {key}=FOLDER: that of a run of `inferno train`")
        try:
            own = completed(read_yaml(folder / CONFIG_FILE))
            # An earlier version may not have had every key of the fit, and nobody fits with this configuration.
            today = OmegaConf.create({"fit": OmegaConf.load(config_folder() / "fit" / "asimov.yaml")})
            composed = OmegaConf.merge(today, own)
            config = resolve(TrainConfig, composed)  # type: ignore[arg-type]
        except (ConfigError, ValueError) as error:
            raise _unreadable(folder, error) from error
        return cls(folder, config, results)

    @cached_property
    def observables(self) -> Observables:
        """Its networks, modules of torch, with the channels and their bins in the fit.

        Raises:
            RunError: If a checkpoint is missing, damaged, or not of this run.
        """
        require_memory(LEAST_FOR_TORCH)
        from inferno_cli.events.channels import Channels
        from inferno_cli.training.observable import CHECKPOINTS, ChannelNetworks, Observable, checkpoint_name
        from inferno_cli.training.observables import Observables

        bins, training = self.results.bins, self.results.training
        assert bins is not None
        assert training is not None
        model, features, channels = self.config.model, self.config.dataset.features, Channels(self.config.channels)
        trainings = self.results.folds or (training,)
        networks = []
        for fold, item in enumerate(trainings):
            path = self.folder / CHECKPOINTS / checkpoint_name(fold, len(trainings))
            by_name = {}
            for name in channels.networks:
                by_name[name] = Observable.load(path, model.network, model.summary, features, (), item.best_epoch, name)
            networks.append(ChannelNetworks.by_channels(by_name, channels.networks))
        return Observables(tuple(networks), channels, groups_of(bins))

    @property
    def observable(self) -> Observable:
        """Its network, a module of torch, with the bins of the fit, where there is one for one channel.

        Raises:
            RunError: If it has several; and as for ``observables``.
        """
        found = self.observables
        trained, n_networks = found.channels.trained, len(found.networks) * len(found.channels.networks)
        if len(trained) > 1 or n_networks > 1:
            raise RunError(
                f"the run in {self.folder} has {n_networks} networks for the channels {', '.join(trained)}, "
                "expected one for one channel. Choose with observables.of(CHANNEL, FOLD)"
            )
        return found.of(trained[0])
