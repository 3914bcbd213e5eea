"""apply a finished run to ntuples: ids, split, channel, bin and network outputs in new ROOT files.

Chunk by chunk, so that the memory does not grow with the file.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

from inferno_cli.config.steps import PredictConfig
from inferno_cli.progress import progress

log = logging.getLogger(__name__)
SCHEMA = PredictConfig
SHORT = {"model": "run"}
"""A registered model is the run that it was made of."""


def run(config: PredictConfig, composed: Any) -> None:  # noqa: ARG001
    """Write the predictions of a run; the files say themselves which run they are of."""
    from inferno_cli.runs.mlflow.registry import PREFIXES, fetched

    if not config.run.startswith(PREFIXES):
        _predict(config, config.run)
        return
    with fetched(config.run, config.tracking) as (folder, found):
        log.info(f"model: {found}")
        output = config.output or str(Path(config.output_dir) / "predictions" / re.sub(r"\W+", "-", found))
        _predict(config.model_copy(update={"output": output}), str(folder), found)


def _predict(config: PredictConfig, place: str, origin: str | None = None) -> None:
    """Write the predictions of the run in a folder; ``origin`` is what the files name where that is a copy."""
    from inferno_cli.anomaly.run_folder import AnomalyFolder
    from inferno_cli.runs import predictions
    from inferno_cli.runs.run_folder import RunFolder

    opened = AnomalyFolder if AnomalyFolder.is_one(place) else RunFolder
    finished: predictions.Applied = opened.load(place)
    if finished.results.label:
        log.info(f"run: {finished.results.label}")
    files = predictions.plan(config, finished)
    split = predictions.find_assignment(config, finished, files)
    files = predictions.without_observed(config, finished, files, split)
    writer = predictions.Writer(finished.observables, split, finished.config, config.keep, config.chunk)
    text = predictions.about(finished, writer.observables, origin or str(finished.folder.absolute()))
    rows = sum(tree.rows for file in files for tree in file.trees)
    with predictions.output_folder(files[0].folder) as scratch, progress("auto", "predict", rows) as advance:
        for file in files:
            (scratch / file.name).parent.mkdir(parents=True, exist_ok=True)
            writer.write(file, scratch / file.name, text, advance)
    if split is not None and writer.unknown:
        log.info(
            f"split: -2 for {writer.unknown} of {rows} rows, in files that the run has not read: they have the ids of "
            "events that it used, and other features, or no ids"
        )
    for file in files:
        sys.stdout.write(f"predictions: {file.target.absolute()}\n")
