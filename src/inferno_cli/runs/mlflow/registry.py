"""Trained networks in MLflow's model registry: the ONNX file with all that `inferno predict` needs beside it."""

from __future__ import annotations

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from inferno_cli.errors import RunError, TrackingError, closest
from inferno_cli.runs.folder import CONFIG_FILE, OTHER_RECORDS, RESULTS_FILE, STATUS_FILE, Status
from inferno_cli.runs.mlflow.store import Store, absolute_uri, check, connect, require_there, shown

if TYPE_CHECKING:
    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.mlflow.run import Run

log = logging.getLogger(__name__)

MODEL = "model"
"""Folder of the model among the artifacts of its run."""
ONNX = ("model*.onnx", "score.onnx")
NEEDED = (RESULTS_FILE, CONFIG_FILE, *OTHER_RECORDS.values(), "membership.npz", "checkpoints/best*.ckpt", *ONNX)
"""What predictions are made from."""
SPARE = "checkpoints/best_*member*.ckpt"
"""What they are not: the mean, or the chosen one, is a network of its own."""


def register(logged: Run, folder: Path, name: str, description: str) -> None:
    """Register the network of a finished run, which is logged, as the next version of a model; once for each run."""
    client = logged.store.client
    with logged.store.calls(f"register the model {name!r}"):
        if any(version.name == name for version in client.search_model_versions(f"run_id = '{logged.run_id}'")):
            return
    with TemporaryDirectory() as text:
        made = Path(text) / MODEL
        _pack(folder, made)
        with logged.store.calls(f"copy the model {name!r}"):
            client.log_artifacts(logged.run_id, str(made), artifact_path=MODEL)
    with logged.store.calls(f"register the model {name!r}"):
        if not any(model.name == name for model in client.search_registered_models(f"name = '{name}'")):
            client.create_registered_model(name)
        source = f"{client.get_run(logged.run_id).info.artifact_uri}/{MODEL}"
        version = client.create_model_version(name, source, logged.run_id, description=description)
    log.info(f"tracking: registered as models:/{name}/{version.version}")


def _pack(folder: Path, made: Path) -> None:
    """Copy what predictions need, with a file in which MLflow recognises the ONNX model where there is one."""
    status = Status.read(folder)
    assert status is not None
    needed = _needed(status)
    if not any(name.endswith(".onnx") for name in needed):
        raise RunError(f"the run in {folder} has no network to register. Leave tracking.register_as out")
    networks = [folder / name for name in needed if name.endswith(".onnx")]
    if len(networks) == 1:  # of several channels or folds none is the model
        _describe(networks[0], made)
    for name in (STATUS_FILE, *needed):
        target = made / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target)


def _describe(network: Path, made: Path) -> None:
    """Write MLflow's own files, from which its other clients load and serve the network."""
    import numpy as np
    import onnx

    model = onnx.load(network)
    features = json.loads({item.key: item.value for item in model.metadata_props}["features"])
    with warnings.catch_warnings():  # MLflow's imports warn of the types of its own functions
        warnings.simplefilter("ignore")
        import mlflow.onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        # What it needs is stated, as MLflow would find it out in a process of its own.
        mlflow.onnx.save_model(
            model,
            made,
            signature=ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, len(features)), "features")])),
            metadata={"features": features},
            pip_requirements=[f"onnx=={onnx.__version__}", "onnxruntime"],
            save_as_external_data=False,
        )


def _needed(status: Status) -> tuple[str, ...]:
    found = []
    for name in status.checksums:
        if any(fnmatchcase(name, pattern) for pattern in NEEDED) and not fnmatchcase(name, SPARE):
            found.append(name)
    return tuple(found)


# -------------------------------------------------------------------------------------------------------- and back
_NAME = "(?P<name>[^/@:'\"]+)"
_PLACE = re.compile(rf"models:/{_NAME}(?:/(?P<version>\d+|latest)|@(?P<alias>[^/@]+))|runs:/(?P<run>\w+)(?:/model)?")


PREFIXES = ("models:/", "runs:/")
"""What the address of a registered model begins with."""


@contextmanager
def fetched(place: str, tracking: Tracking) -> Iterator[tuple[Path, str]]:
    """Give a copy of what was registered, in a folder that is removed afterwards, and the version that it is.

    Args:
        place: ``models:/NAME/VERSION``, ``models:/NAME/latest``, ``models:/NAME@ALIAS`` or ``runs:/ID``.
        tracking: The store.

    Raises:
        TrackingError: If the store does not answer, or has no such model, version, alias or run.
        RunError: If files are missing, or are not those that the run has written.
    """
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise TrackingError(
            f"model={place} names no model: expected models:/NAME/VERSION, models:/NAME/latest, models:/NAME@ALIAS or "
            "runs:/ID"
        )
    if tracking.backend == "none":
        raise TrackingError(f"model={place} is in an MLflow store, and tracking is 'none'. Set tracking.uri=...")
    uri = absolute_uri(tracking)
    require_there(uri, "Name the store of the model: tracking.uri=...")
    check(tracking)
    store = connect(uri)
    if parts["run"]:
        found, run = f"runs:/{parts['run']}", parts["run"]
        address = f"{found}/{MODEL}"
        _require_run(store, run)
    else:
        version = _version(store, parts["name"], parts["version"], parts["alias"])
        found = f"models:/{parts['name']}/{version}"
        with store.calls(f"look for {found}"):
            address = store.client.get_model_version_download_uri(parts["name"], version)
    with TemporaryDirectory() as text:
        folder = _downloaded(store, found, address, Path(text))
        try:
            _require_whole(folder, found, store)
            yield folder, found
        except RunError as error:  # of what there is a copy of, not of the copy
            raise RunError(str(error).replace(str(folder), found)) from error


def _version(store: Store, name: str, version: str | None, alias: str | None) -> str:
    """Return the number of a version; TrackingError says which there are."""
    with store.calls(f"look for the model {name!r}"):
        if not store.client.search_registered_models(f"name = '{name}'"):
            known = [model.name for model in store.client.search_registered_models()]
            raise TrackingError(
                f"MLflow store {shown(store.uri)} has no registered model {name!r}{closest(name, known)}. Fix "
                f"model=..., or register one: inferno log run=FOLDER tracking.register_as={name}"
            )
    with store.calls(f"look for the versions of {name!r}"):
        numbers = sorted(int(item.version) for item in store.client.search_model_versions(f"name = '{name}'"))
        aliases = dict(store.client.get_registered_model(name).aliases)
    there = {str(number): str(number) for number in numbers} | ({"latest": str(numbers[-1])} if numbers else {})
    found = aliases.get(alias) if alias is not None else there.get(version or "")
    if found is None:
        wanted = f"the alias {alias!r}" if alias is not None else f"version {version}"
        said = f"versions {', '.join(map(str, numbers)) or 'none'}; aliases {', '.join(aliases) or 'none'}"
        raise TrackingError(
            f"model {name!r} of MLflow store {shown(store.uri)} has not {wanted}; it has {said}. Fix model=..."
        )
    return str(found)


def _require_run(store: Store, run: str) -> None:
    from mlflow.exceptions import MlflowException

    with store.calls(f"look for run {run}"):
        try:
            there = {item.path for item in store.client.list_artifacts(run)}
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(f"MLflow store {shown(store.uri)} has no run {run}. Fix model=runs:/ID") from error
    if MODEL not in there:
        raise TrackingError(
            f"run {run} of MLflow store {shown(store.uri)} has registered no model. Register it: "
            "inferno log run=FOLDER tracking.register_as=NAME"
        )


def _downloaded(store: Store, place: str, address: str, target: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    with store.calls(f"copy {place}"):
        return Path(download_artifacts(address, dst_path=str(target), tracking_uri=store.uri))


def _require_whole(folder: Path, place: str, store: Store) -> None:
    """Raise RunError unless every file is there that predictions are made from; their content is checked as a run's."""
    status = Status.read(folder)
    where = f"{place} in MLflow store {shown(store.uri)}"
    if status is None or status.state != "finished":
        raise RunError(f"{where} was not registered by inferno: it has no {STATUS_FILE} of a finished run")
    missing = [name for name in _needed(status) if not (folder / name).is_file()]
    if missing:
        raise RunError(f"{where} is not whole: {', '.join(missing)} missing. Delete it, and register the run again")
