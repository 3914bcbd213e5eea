"""Which step worked in a folder, and what takes a run of it."""

from __future__ import annotations

import re
from pathlib import Path

from inferno_cli.choices import STEPS, choices
from inferno_cli.errors import FileError
from inferno_cli.files import read_text
from inferno_cli.runs.folder import HYDRA, OTHER_RECORDS, RESULTS_FILE

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
    known = choices(STEPS).get(step)  # none where the package that added it is gone
    taken = "" if known is None else getattr(known.load(), "TAKEN_BY", "")
    return f"{folder} is the folder of `inferno {step}`" + (f": {taken}" if taken else "")
