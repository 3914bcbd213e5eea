"""Write constraints.txt: one version of every package that inferno or an extra needs.

make lock                # or, with uv installed: python scripts/lock.py

What is installed beside this Python, and so was tested, keeps its version; uv chooses the rest: of extras that are not
installed, and the packages of torch for GPUs. No hashes: torch for processors and for GPUs are two files of a version.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints.txt"
HEAD = """# Versions that are tested together: pip install --constraint constraints.txt inferno-cli
# Written by `make lock`, for Python {python} and Linux, with the packages of torch for GPUs.
"""


def installed() -> dict[str, str]:
    """Return what is installed, by name; without the local part of a version, such as +cpu."""
    found = {}
    for item in distributions():
        name = re.sub(r"[-_.]+", "-", item.metadata["Name"]).lower()
        if name != "inferno-cli":
            found[name] = item.version.partition("+")[0]
    return found


def resolved(known: dict[str, str]) -> str:
    """Return the lines of the lock file, given the versions that stay."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(known.items())))
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras", "--quiet"]
        command += ["--python", sys.executable, "--no-header", "--no-annotate", "--constraint", str(constraints)]
        made = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(made.stderr)
    return made.stdout


def main() -> None:
    """Write the file."""
    lines = resolved(installed())
    LOCK.write_text(HEAD.format(python=f"{sys.version_info.major}.{sys.version_info.minor}") + lines)
    sys.stdout.write(f"{LOCK}: {lines.count('==')} packages\n")


if __name__ == "__main__":
    main()
