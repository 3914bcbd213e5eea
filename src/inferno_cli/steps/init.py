"""write a dataset and an experiment of your own to start from."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from inferno_cli.config.steps import InitConfig
from inferno_cli.errors import ConfigError, OutputError
from inferno_cli.files import together, user_path

SCHEMA = InitConfig
ARGUMENT = "folder"
"""Key of the value that may be given without one: ``inferno init FOLDER``."""
START = Path(__file__).parents[1] / "data" / "start"
NAME = "mine"
"""What the files and the dataset are called there."""


def run(config: InitConfig, composed: Any) -> None:  # noqa: ARG001
    """Write the files, and say how to go on."""
    if not re.fullmatch(r"[A-Za-z_]\w*", config.name, re.ASCII):
        raise ConfigError(
            f"name is {config.name!r}, expected letters, digits and _, a letter first: it becomes dataset={config.name}"
        )
    folder = user_path(config.folder)
    texts: dict[Path, str] = {}
    for path in sorted(START.rglob("*.yaml")):
        target = folder / path.relative_to(START).with_stem(config.name)
        if target.exists():
            raise OutputError(f"{target} exists, and is not overwritten. Choose another folder, or name=...")
        text = re.sub(rf"\b{NAME}\b", config.name, path.read_text(encoding="utf-8"))
        texts[target] = text.replace("FOLDER", str(folder))
    try:
        with together(folder) as place:
            for target, text in texts.items():
                partial = place / target.relative_to(folder)
                partial.parent.mkdir(parents=True, exist_ok=True)
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}. Choose another folder") from error
    own = f"--config-dir {shlex.quote(str(config.folder))} +experiment={config.name}"
    sys.stdout.write(
        "\n".join(map(str, texts))
        + "\nThey run as they are, on the sample that ships with inferno_cli; put your own into them. Next:\n"
        + f"  inferno data {own}\n  inferno train {own}\n"
    )
