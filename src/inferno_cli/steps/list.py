"""list the runs below a folder, the newest first: their sigma(mu), dataset, model, state, age and size."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from inferno_cli.runs.listed import ListedState
from inferno_cli.section import LISTED, Paths, Section, Texts


class ListConfig(Section):
    """``inferno list``: the runs, the newest first."""

    runs: Paths
    """Folders or globs below which runs are looked for; a list, or commas between."""
    states: Annotated[tuple[ListedState, ...], LISTED]
    """Those that are listed, a list, or commas between; empty: all."""
    where: Texts
    """Conditions on the configuration of the runs, `key=value` or `key!=value`; a list, or commas between."""
    format: Literal["table", "json"]
    """How they are written."""


SCHEMA = ListConfig
ARGUMENT = "runs"
"""Key of the value that may be given without one: ``inferno list FOLDER``."""


def run(config: ListConfig, composed: Any) -> None:  # noqa: ARG001
    """Read what the runs left, and print it."""
    from inferno_cli.report.listing import as_json, number_text, show_runs, size_text
    from inferno_cli.runs.listed import fulfilling, listed, of_states

    runs = fulfilling(of_states(listed(config.runs), config.states), config.where)
    if config.format == "json":
        sys.stdout.write(as_json(runs))
        return
    show_runs(
        runs, f"{number_text(len(runs))} below {', '.join(config.runs)}, {size_text(sum(run.size for run in runs))}"
    )
