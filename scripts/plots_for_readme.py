"""Draw the pictures of the README again: the templates of the main job, and the bins of the synthetic mixture.

python scripts/plots_for_readme.py [templates] [explain]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {
    "templates": ("top11004", "plots/templates.png"),
    "explain": ("synthetic", "explain/bins_x0_x1.png"),
}


def main(names: list[str]) -> None:
    """Run the job of each picture and keep it."""
    for name in names or PICTURES:
        experiment, picture = PICTURES[name]
        with tempfile.TemporaryDirectory() as folder:
            inferno("train", f"+experiment={experiment}", "tracking=none", f"hydra.run.dir={folder}")
            if name == "explain":
                inferno("explain", f"run={folder}", "repeats=1")
            (ROOT / "docs").mkdir(exist_ok=True)
            shutil.copy(Path(folder) / picture, ROOT / "docs" / f"{name}.png")


def inferno(*arguments: str) -> None:
    """Call the program."""
    subprocess.run([sys.executable, "-m", "inferno_cli", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
