"""Runs of `train` and `fit`: they have the same record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.steps._logged import Called, RunStep

if TYPE_CHECKING:
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.runs.record import Results


class MeasuredRun(RunStep["Results"]):
    """A run that measures a signal strength."""

    file = "results.json"
    shown = file

    def load(self, folder: Path) -> Results:
        """Read ``results.json``."""
        from inferno_cli.runs.record import Results

        return Results.load(folder / self.file)

    def called(self, record: Results) -> Called:
        """Return the dataset and the model, or the workspace."""
        if record.model is None:
            return Called(f"fit {record.dataset}", {"code_version": record.code_version})
        return of_training(record.dataset, record.model, record.seed, record.code_version)

    def headline(self, record: Results) -> str:
        """Return mu with its error."""
        from inferno_cli.report.run.summary import headline

        return headline(record).partition("\n")[0]

    def show(self, record: Results) -> None:
        """Print the parameters and what else was asked for."""
        from inferno_cli.report.run.summary import show

        show(record)

    def log(self, logged: Run, folder: Path, record: Results, *, checkpoint: bool) -> str:
        """Log the numbers of the record, tables, templates, networks and plots."""
        from inferno_cli.report.run.summary import headline
        from inferno_cli.runs.mlflow.run import log_results

        description = headline(record)
        log_results(logged, folder, record, description, checkpoint=checkpoint)
        return description


def of_training(dataset: str, model: str, seed: int | None, version: str) -> Called:
    """Return what a run of `train` is called."""
    return Called(f"{dataset} {model}", {"seed": str(seed), "code_version": version, "model": model})
