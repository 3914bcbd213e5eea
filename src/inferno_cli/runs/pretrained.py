"""Find the finished run whose network a configuration takes, and check that its use is fair."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import RunError
from inferno_cli.events.assignment import SplitAssignment
from inferno_cli.events.channels import Channels
from inferno_cli.events.earlier import Earlier
from inferno_cli.files import file_checksum, user_path
from inferno_cli.runs.folder import CONFIG_FILE, RESULTS_FILE, STATUS_FILE, Status
from inferno_cli.runs.found_run import settings_of
from inferno_cli.runs.points import EXPERIMENT, MODEL, SEED, identity
from inferno_cli.runs.record import TrainedInRecord
from inferno_cli.runs.run_folder import RunFolder
from inferno_cli.runs.steps import step_of

TRAINED_IN = "trained_in.yaml"
"""In the folder of a run that takes a network: the configuration that it was trained with."""
REMEDY = (
    "Run what trains the network first (for a study: inferno train -m +study=benchmarks), or fix trained_in=FOLDER: "
    "a finished run, or a folder with several of them"
)


def find(config: TrainConfig) -> RunFolder:
    """Return the run of ``trained_in``: itself, or among several that of the same model, seed and ``trained_for``.

    Of several with the same configuration it is the last one; RunError if there is none, or they differ in more.
    """
    place = str(config.trained_in)
    folder = user_path(place)
    if folder.name == RESULTS_FILE or (folder / RESULTS_FILE).is_file() or step_of(folder):  # one run, of some step
        if config.trained_for is not None:
            raise RunError(f"trained_for={config.trained_for} chooses among several runs; trained_in={place} is one")
        return RunFolder.load(place, "trained_in")
    if not folder.is_dir():
        raise RunError(f"trained_in={place} is not a folder. {REMEDY}")
    wanted: dict[str, Any] = {MODEL: config.model.name, SEED: config.seed}
    if config.trained_for is not None:
        wanted[EXPERIMENT] = config.trained_for
    found = []
    for run, settings in _runs(folder):
        if wanted.items() <= {key: settings.get(key) for key in wanted}.items():
            found.append((run, settings))
    said = ", ".join(f"{'model' if key == MODEL else key} {value}" for key, value in wanted.items())
    if not found:
        raise RunError(f"trained_in={place}: no finished run of {said} is there that trained its network. {REMEDY}")
    if len({identity(settings) for _, settings in found}) > 1:
        places = ", ".join(str(run) for run, _ in found[:5])
        raise RunError(
            f"trained_in={place}: {len(found)} runs of {said} are there, with different configurations ({places}). "
            "Name the folder of one of them, or choose with trained_for=EXPERIMENT"
        )
    return RunFolder.load(str(found[-1][0]), "trained_in")


def _runs(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the finished runs in a folder that trained their network themselves, with their flat configuration."""
    found: dict[Path, None] = {}
    for path in sorted(folder.rglob(STATUS_FILE)):
        status = Status.read(path.parent)
        if status is not None and status.state == "finished":
            found[path.parent.resolve()] = None
        elif status is not None and status.state == "reused":
            found[(path.parent / status.of).resolve()] = None
    for run in found:
        if (run / RESULTS_FILE).is_file() and (run / CONFIG_FILE).is_file():
            settings, _ = settings_of(run)
            if settings.get("trained_in") is None:
                yield run, settings


def checksum(run: RunFolder) -> str:
    """SHA-256 of the checkpoint of a run, or over those of its checkpoints; RunError if one is missing."""
    from inferno_cli.training.observable import CHECKPOINTS, checkpoint_name

    n_folds = max(1, len(run.results.folds))
    checksums = []
    for fold in range(n_folds):
        path = run.folder / CHECKPOINTS / checkpoint_name(fold, n_folds)
        try:
            checksums.append(file_checksum(path))
        except OSError as error:
            raise RunError(
                f"the checkpoint {path} cannot be read: {error}. Copy the whole folder of the run"
            ) from error
    return checksums[0] if n_folds == 1 else hashlib.sha256("".join(checksums).encode()).hexdigest()


def provenance(run: RunFolder, config: TrainConfig) -> TrainedInRecord:
    """Return what the record says of the run whose network was taken."""
    return TrainedInRecord(
        folder=str(run.folder.absolute()),
        experiment=config.trained_for,
        dataset=run.results.dataset,
        dataset_checksum=run.results.dataset_checksum,
        seed=run.results.seed,
        code_version=run.results.code_version,
        checkpoint=checksum(run),
    )


def earlier(config: TrainConfig, run: RunFolder) -> Earlier | None:
    """Return what the training of a network used events for, where it is applied to those of other files.

    None: the files are the same, or nothing says what it used; ``require_same_division`` has the last word then.

    Raises:
        RunError: If a key by which events are recognised is another one, or the run took its network itself for events
            that are not those of the training.
    """
    if not (config.dataset.has_files and run.config.dataset.has_files):
        return None
    stored = SplitAssignment.load(run.folder, run.results.dataset_checksum)
    if stored is None or set(config.dataset.files(config.request).values()) == set(stored.files):
        return None
    origin = run.results.trained_in
    if origin is not None and origin.dataset_checksum != run.results.dataset_checksum:
        raise RunError(
            f"the network of {run.folder} was trained on other events, in {origin.folder}: that run knows which. Use "
            f"trained_in={origin.folder}"
        )
    return config.dataset.earlier(run.config.dataset, stored)


def require_same_division(config: TrainConfig, run: RunFolder, dataset_checksum: str) -> None:
    """Raise RunError if events that the network was trained on could be in the templates.

    The generated samples of the splits are independent. Other events are divided by a seeded draw, which depends on
    what is read.
    """
    here = config.dataset.division(config.request)
    if here is None:
        return
    there = run.config.dataset.division(run.config.request) or {}
    here["data"], there["data"] = dataset_checksum[:12], run.results.dataset_checksum[:12]
    for key, value in here.items():
        if there.get(key) != value:
            raise RunError(
                f"the events would be divided otherwise than in {run.folder}, and events that its network was trained "
                f"on would be in the templates: {key} is {value}, there {there.get(key)}. Use the same"
            )


def require_same_channels(config: TrainConfig, run: RunFolder) -> None:
    """Raise RunError if a network would be used in other channels than it was trained in."""
    here, there = Channels(config.channels), Channels(run.config.channels)
    if here.trained != there.trained:
        raise RunError(
            f"the network of {run.folder} makes the bins of the channels {', '.join(there.trained)}, and here of "
            f"{', '.join(here.trained)}. Use the same, with the observable of kind 'summary'"
        )
    if here.networks != there.networks:
        raise RunError(
            f"the networks of {run.folder} are {_listed(there)}, and here {_listed(here)}. Use the same names of "
            "networks in channels"
        )
    for name in here.trained:
        ours, theirs = here.by_name[name].selection, there.by_name[name].selection
        if ours != theirs:
            raise RunError(
                f"channels.{name}.selection is {ours}, and {theirs} where the network of {run.folder} was trained. "
                "Use the same, or train a network"
            )


def _listed(channels: Channels) -> str:
    """Say which channels each network has."""
    return " and ".join(f"{name or 'one'} of {', '.join(members)}" for name, members in channels.networks.items())
