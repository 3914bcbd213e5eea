"""remove folders of failed and stopped runs, or of others that are named; without yes=true only list them."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

from pydantic import Field

from inferno_cli.errors import OutputError
from inferno_cli.runs.listed import EndedState
from inferno_cli.section import LISTED, NonNegative, Paths, Section, Texts

log = logging.getLogger(__name__)


class CleanConfig(Section):
    """``inferno clean``: remove folders of runs."""

    runs: Paths
    """Folders or globs below which runs are looked for; a list, or commas between."""
    output_dir: str
    """Another folder whose runs may refer to those that are removed."""
    states: Annotated[tuple[EndedState, ...], LISTED, Field(min_length=1)]
    """States of the runs that are removed; abandoned are those that were killed; a list, or commas between."""
    older_than: NonNegative | None
    """Only runs that ended at least that many days ago; null: all."""
    where: Texts
    """Conditions on the configuration of the runs, `key=value` or `key!=value`; a list, or commas between."""
    referred: bool
    """Remove also runs that another one refers to, by trained_in or reuse."""
    yes: bool
    """Remove them; without it they are only listed."""


SCHEMA = CleanConfig
ARGUMENT = "runs"
"""Key of the value that may be given without one: ``inferno clean FOLDER``."""


def run(config: CleanConfig, composed: Any) -> None:  # noqa: ARG001
    """Say what would go, and with ``yes`` remove it."""
    from inferno_cli.report.listing import number_text, place, show_runs, size_text
    from inferno_cli.runs.cleaning import plan, remove
    from inferno_cli.runs.find import tops_of
    from inferno_cli.runs.listed import fulfilling, listed, of_states

    runs = listed(config.runs)
    every = {run.folder: run for run in runs}
    if tops_of(config.output_dir):
        every |= {run.folder: run for run in listed([config.output_dir])}
    asked = fulfilling(of_states(runs, config.states, config.older_than), config.where)
    planned = plan(asked, list(every.values()), even_referred=config.referred)
    size = size_text(sum(run.size for run in planned.removed))
    show_runs(planned.removed, f"{number_text(len(planned.removed))} to be removed, {size}")
    for kept, why in planned.kept:
        log.info(f"kept: {place(kept.folder)}: {why}")
    for removed, why in planned.said:
        log.info(f"referred: {place(removed.folder)}: {why}")
    if not config.yes:
        if planned.removed:
            sys.stdout.write("nothing was removed; yes=true removes them\n")
        return
    tops = [top.resolve() for given in config.runs for top in tops_of(given)]
    failed = []
    for item in planned.removed:
        if problem := remove(item, tops):
            failed.append(f"{place(item.folder)}: {problem}")
    sys.stdout.write(f"removed: {number_text(len(planned.removed) - len(failed))}\n")
    if failed:
        raise OutputError(f"not removed: {number_text(len(failed))}: {'; '.join(failed)}")
