"""One run: its parameters, metrics and artifacts.

Everything goes through an explicit MlflowClient. MLflow's fluent functions keep an active run and a tracking
URI for the whole process, which would leak from one point of a sweep into the next.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.load import flatten
from inferno_cli.errors import Stopped, TrackingError
from inferno_cli.files import read_yaml, sha256
from inferno_cli.fit.result import table_files
from inferno_cli.names import distinct
from inferno_cli.runs.folder import CONFIG_FILE, HYDRA, OVERRIDES_FILE, Status, holds_finished
from inferno_cli.runs.mlflow.afterwards import DESCRIPTION, PARENT, remember
from inferno_cli.runs.mlflow.inputs import SPLITS, inputs
from inferno_cli.runs.mlflow.store import Store, absolute_uri, check, connect, experiment_id, shown
from inferno_cli.runs.mlflow.stored import names_tags
from inferno_cli.runs.mlflow.sweep import end_parent, parent_run
from inferno_cli.runs.pretrained import TRAINED_IN
from inferno_cli.shell import argument
from inferno_cli.signals import held

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.record import Results, TrainingRecord
    from inferno_cli.runs.recorded import Recorded

log = logging.getLogger(__name__)

FILES = ("results.json", "workspace.json", "cabinetry.yaml", "templates.root", TRAINED_IN)
"""Files of a run that its store has, beside its tables; further ones are below folders of the same name."""
# MLflow's limits.
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000
_NAME_LENGTH = 250
_HEAD_LENGTH = 200


@dataclass
class Run:
    """A run in the store."""

    store: Store
    run_id: str
    start_time: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    """What the metrics are called in the store, by name."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Names of the parameters and metrics that are called otherwise in the store."""

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of every epoch; the index is the step. Values that are not finite are left out."""
        from mlflow.entities import Metric

        new = dict.fromkeys(name for values in history for name in values if name not in self.keys)
        self.keys |= self._named(new, self.keys.values())
        # One time for all: numbers that are logged once more are the same entries, of which the store keeps one.
        entries = [
            Metric(self.keys[name], float(value), self.start_time, step)
            for step, values in enumerate(history)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        with self.store.calls("log metrics"):
            for start in range(0, len(entries), _METRICS_PER_CALL):
                self.store.client.log_batch(self.run_id, metrics=entries[start : start + _METRICS_PER_CALL])

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log single numbers. Values that are not finite are left out."""
        self.epochs([values])

    def tags(self, values: Mapping[str, str]) -> None:
        """Add tags to those that the run was started with."""
        from mlflow.entities import RunTag

        entries = [RunTag(name, value[:_TAG_LENGTH]) for name, value in values.items()]
        with self.store.calls("log tags"):
            self.store.client.log_batch(self.run_id, tags=entries)

    def inputs(self, datasets: Sequence[DatasetInput]) -> None:
        """Log the data that the run has read."""
        with self.store.calls("log the dataset"):
            self.store.client.log_inputs(self.run_id, datasets=datasets)

    def artifacts(self, files: Iterable[Path], folder: str | None = None) -> None:
        """Copy files to the store, below ``folder`` of the run."""
        for file in files:
            with self.store.calls(f"copy {file}"):
                self.store.client.log_artifact(self.run_id, str(file), artifact_path=folder)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log a nested configuration under dotted keys."""
        from mlflow.entities import Param

        pairs = dict(flatten(values))
        keys = self._named(pairs)
        entries = [Param(keys[name], _text(value)) for name, value in pairs.items()]
        with self.store.calls("log parameters"):
            for start in range(0, len(entries), _PARAMS_PER_CALL):
                self.store.client.log_batch(self.run_id, params=entries[start : start + _PARAMS_PER_CALL])

    def _named(self, names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
        """Return a key for each name; where that is another one, a tag of the run says of what."""
        # First what is in front of the last "/" or ".", so that all numbers of one parameter stay together.
        heads = {name: name[: max(name.rfind("/"), name.rfind("."), 0)] for name in names}
        safe_heads = distinct(heads.values(), _key, longest=_HEAD_LENGTH) | {"": ""}
        texts = {name: safe_heads[head] + name[len(head) :] for name, head in heads.items()}
        safe = distinct(texts.values(), _key, taken=taken, longest=_NAME_LENGTH)
        keys = {name: safe[text] for name, text in texts.items()}
        changed = {key: name for name, key in keys.items() if key != name}
        if changed:
            self.renamed |= changed
            self.tags(names_tags(self.renamed, _TAG_LENGTH))
        return keys

    def fail(self, error: BaseException, status: str) -> None:
        """End the run with what was raised."""
        said = f"{type(error).__name__}: {error}".removesuffix(": ")[:_TAG_LENGTH]
        try:
            with self.store.calls("end the run"):
                self.store.client.set_tag(self.run_id, "error", said)
                self.store.client.set_terminated(self.run_id, status)
        except TrackingError as lost:  # the error that ended the run is the one to see
            log.warning("%s", lost)


@contextmanager
def tracked(
    tracking: Tracking,
    *,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    sweep_folder: Path | None,
    folder: Path | None = None,
    resume: str | None = None,
) -> Iterator[Run | None]:
    """Log what happens within as one run; an exception ends it as FAILED, a signal as KILLED, and goes on.

    Args:
        tracking: Where to log; the run is called ``tracking.run_name`` when that is set.
        name: What to call the run otherwise.
        params: The whole configuration, nested; logged under dotted keys.
        tags: Tags of the run.
        sweep_folder: Folder of the multirun that this run is a point of, under whose parent run it is nested.
        folder: Folder of the run, in which it is written down where it is logged, at once: one that is killed is found.
        resume: Id of the run to go on with, in place of a new one.

    Yields:
        The run; None where nothing is logged.

    Raises:
        TrackingError: If the store cannot be reached or written.
    """
    check(tracking)
    if tracking.backend == "none":
        yield None
        return
    store = connect(absolute_uri(tracking))
    experiment = experiment_id(store, tracking.experiment or "")
    parent = None if sweep_folder is None else parent_run(store, experiment, sweep_folder)
    nesting = {} if parent is None else {PARENT: parent}
    logged: Run | None = None
    try:
        with held():
            with store.calls("start a run"):
                if resume is None:
                    begun = store.client.create_run(
                        experiment, run_name=(tracking.run_name or name)[:_NAME_LENGTH], tags={**tags, **nesting}
                    )
                else:
                    begun = store.client.get_run(resume)
                    store.client.update_run(resume, status="RUNNING")
            logged = Run(store, begun.info.run_id, begun.info.start_time)
            if folder is not None:
                remember(folder, store.uri, logged.run_id)
        log.info("tracking: run %s in %s", logged.run_id, shown(store.uri))
        logged.params(params)
        with _watched(logged, wanted=tracking.system_metrics):
            yield logged
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt | Stopped) else "FAILED"
        if logged is not None:
            logged.fail(error, status)
        if sweep_folder is not None:
            end_parent(sweep_folder, status)
        raise
    with store.calls("end the run"):
        if "error" in begun.data.tags:
            store.client.delete_tag(logged.run_id, "error")
        store.client.set_terminated(logged.run_id, "FINISHED")


@contextmanager
def _watched(logged: Run, *, wanted: bool) -> Iterator[None]:
    """Log the load of the machine while something is done; where the store fails, MLflow warns and logs no more."""
    if not wanted:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(logged.run_id, resume_logging=True, tracking_uri=logged.store.uri)
    monitor.start()
    try:
        yield
    finally:
        with held():
            monitor.finish()


def log_results(logged: Run, folder: Path, results: Results, description: str, *, checkpoint: bool) -> None:
    """Log what the run that has finished in a folder found, with a description in Markdown."""
    log_about(logged, folder, results, description, _uses(results))
    if results.blinded:
        logged.tags({"blinded": ", ".join(results.hidden)})
    if results.trained_in is not None:
        logged.tags({"trained_in": results.trained_in.folder, "checkpoint": results.trained_in.checkpoint})
    elif results.training is not None:
        for fold, training in enumerate(results.folds or (results.training,)):
            logged.epochs(list(_epochs(training, f"fold {fold}/" if results.folds else "")))
    logged.metrics(results.metrics())
    logged.artifacts(filter(Path.is_file, (folder / name for name in (*FILES, *table_files()))))
    logged.artifacts(sorted(folder.glob("model*.onnx")))
    if results.model is None:
        logged.artifacts(_workspace_of_fit(results))
    for name in ("plots", "export", *(("checkpoints",) if checkpoint else ())):
        logged.artifacts(filter(Path.is_file, sorted((folder / name).glob("*"))), name)


def log_about(logged: Run, folder: Path, record: Recorded, description: str, uses: Sequence[str]) -> None:
    """Log which data the run in a folder is about, what they were used for, and its description in Markdown."""
    settings = read_yaml(folder / CONFIG_FILE)
    logged.inputs(inputs(record.dataset, record.dataset_checksum, record.label, settings, uses))
    logged.tags({"dataset_checksum": record.dataset_checksum, "label": record.label or "none"})
    logged.tags({DESCRIPTION: description})


def _uses(results: Results) -> tuple[str, ...]:
    """Return what the data were used for; nothing is trained with the network of another run."""
    if results.model is None:
        return ("fit",)
    return SPLITS if results.trained_in is None else SPLITS[-1:]


def _epochs(training: TrainingRecord, prefix: str) -> Iterator[dict[str, float]]:
    """Yield the numbers of every epoch of a network, with something in front of their names."""
    for epoch in training.history:
        yield {f"{prefix}{name}": value for name, value in epoch.items() if value is not None}


def log_configuration(logged: Run, folder: Path) -> None:
    """Log what a run was asked for, as it may end early."""
    logged.artifacts(filter(Path.is_file, (folder / CONFIG_FILE, folder / HYDRA / OVERRIDES_FILE)))


def _workspace_of_fit(results: Results) -> list[Path]:
    """Return the workspace, which is somewhere else, if it is still the one that was fitted."""
    workspace = Path(results.workspace)
    if workspace.is_file() and sha256(workspace) == results.dataset_checksum:
        return [workspace]
    log.info(f"tracking: without the workspace {workspace}, which was moved or changed since the fit")
    return []


@contextmanager
def result_stays(tracking: Tracking, folder: Path) -> Iterator[None]:
    """Say of tracking that fails, or is stopped, when the run in a folder has finished, how to log it afterwards.

    A trial that a search has stopped early has no result: that it was is in its folder, and the search goes on.
    """
    try:
        yield
    except (TrackingError, Stopped) as error:
        said = Status.read(folder)
        if isinstance(error, TrackingError) and said is not None and said.state == "pruned":
            log.warning("%s", error)
            return
        if tracking.backend == "none" or not holds_finished(folder):
            raise
        note = f"the result in {folder} is whole; to log it: inferno log {argument('run', folder)}"
        if isinstance(error, Stopped):
            error.note = note
            raise
        raise TrackingError(f"{error} But {note}") from error


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    return text if len(text) <= _PARAM_LENGTH else text[: _PARAM_LENGTH - 3] + "..."


def _key(name: str) -> str:
    """Return a key that MLflow takes: no other signs, and no path that means another one."""
    parts = re.sub(r"[^\w.\-/: ]", "_", name).split("/")
    return "/".join({"": "_", ".": "_", "..": "__"}.get(part, part) for part in parts)
