"""Which step worked in a folder, and what takes a run of it."""

from __future__ import annotations

import re
from pathlib import Path

from inferno_cli.errors import FileError
from inferno_cli.files import read_text
from inferno_cli.runs.folder import HYDRA, OTHER_RECORDS, RESULTS_FILE

TAKEN_BY = {
    "train": "`inferno predict`, `explain`, `compare`, `log` and trained_in take it",
    "fit": "`inferno compare` and `inferno log` take it",
    "anomaly": "`inferno predict`, `compare` and `log` take it",
    "nplm": "nplm.calibration, `inferno compare` and `inferno log` take it",
    "interpolate": "`inferno fit workspace=RUN/at_.../workspace.json` takes its workspaces, `compare` and `log` it",
}
"""What takes the run of a step, in words."""
JOB = re.compile(r"^    config_name: (\S+)$", re.MULTILINE)
"""The name of a step as Hydra writes it down."""


def record_of(step: str) -> str:
    """Return the name of the record of a step."""
    return OTHER_RECORDS.get(step, RESULTS_FILE)


def step_of(folder: Path) -> str:
    """Return the step that worked in a folder; "" where it was none of ours."""
    for step, record in OTHER_RECORDS.items():
        if (folder / record).is_file():
            return step
    try:
        text = read_text(folder / HYDRA / "hydra.yaml")
    except FileError:
        return ""
    found = JOB.search(text)
    is_ours = "_target_: inferno_cli." in text
    return found[1] if found is not None and is_ours else ""


def said_of(folder: Path) -> str:
    """Say what a folder is that a step worked in, and what takes it; "" where it was none of ours."""
    step = step_of(folder)
    if not step:
        return ""
    taken = TAKEN_BY.get(step)
    return f"{folder} is the folder of `inferno {step}`" + ("" if taken is None else f": {taken}")
