"""Tab completion: take the step's word out of the line before Hydra sees it."""

from __future__ import annotations

import os
import sys


def prepare(steps: list[str]) -> None:
    """Change ``sys.argv`` and COMP_LINE so that Hydra's completion serves the step that is being typed.

    ``eval "$(inferno -sc install=bash)"`` installs Hydra's completion for the console script. The shell then calls
    the program with the line in COMP_LINE and without a step in its arguments.
    """
    if sys.argv[1:2] and sys.argv[1] in steps:
        return
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    step, gap, tail = rest.lstrip().partition(" ")
    if line and not (gap and step in steps):
        # The step itself is being typed.
        sys.stdout.write(" ".join(name for name in steps if name.startswith(step)))
        sys.exit(0)
    if line:
        os.environ["COMP_LINE"] = f"{program} {tail}"
        removed = len(line) - len(os.environ["COMP_LINE"])
        os.environ["COMP_POINT"] = str(max(0, int(os.environ.get("COMP_POINT", len(line))) - removed))
    sys.argv.insert(1, step if step in steps else "train")
