"""Draw the picture of the README again: the templates of the main job.

python scripts/plots_for_readme.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the main job and keep its picture."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "+experiment=top11004", "tracking=none", f"hydra.run.dir={folder}"]
        subprocess.run([sys.executable, "-m", "inferno_cli", *arguments], check=True)
        (ROOT / "docs").mkdir(exist_ok=True)
        shutil.copy(Path(folder) / "plots" / "templates.png", ROOT / "docs" / "templates.png")


if __name__ == "__main__":
    main()
