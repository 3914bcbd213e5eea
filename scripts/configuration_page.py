"""Write docs/configuration.md: every key of every step, from the schema that checks it.

    python scripts/configuration_page.py

The tests fail where the page is not what this writes.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import BaseModel

from inferno_cli.choices import choices
from inferno_cli.cli.main import STEPS, step_help
from inferno_cli.config.load import config_folder
from inferno_cli.config.reference import Key, groups, keys, kinds_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
HEAD = """# Configuration

Every key of every step, made from the schema that checks it by `scripts/configuration_page.py`, with the value that
it has in the default choice of groups. A key is set on the command line (`model.bins=5`), in a YAML file of your own
(`--config-dir`), or swept (`-m model.bins=5,10`). `inferno STEP --help` says the same of the choices that stand on the
command line, and this prints the configuration of a command as it would run:

```bash
python -m inferno_cli train --cfg job
```
"""


def page() -> str:
    """Return the text of the page."""
    described: dict[str, str] = {}
    about = step_help()
    lines = [HEAD]
    for step in sorted(about, key=lambda name: (name != "train", name)):
        lines += [f"## {step}", "", f"`inferno {step}`: {about[step]}.", ""]
        known = groups(step)
        if known:
            lines += ["| group | choices |", "|---|---|"]
            for name, files in known.items():
                lines.append(f"| `{name}` | {', '.join(f'`{file}`' for file in files)} |")
            lines.append("")
        schema = choices(STEPS)[step].load().SCHEMA
        lines += section(schema, composed(step), step, described)
    return "\n".join(lines).rstrip() + "\n"


def composed(step: str) -> dict[str, Any]:
    """Return the values of a step's default configuration."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        values = OmegaConf.to_container(compose(step, overrides=["~job"]))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def section(schema: type[BaseModel], values: Any, title: str, described: dict[str, str]) -> list[str]:
    """Return the table of one section's keys, and behind it the sections inside of it.

    Args:
        schema: Its class.
        values: Its values in the default configuration, where it is there.
        title: Step and key, as it is headed.
        described: Titles of the sections that have been described, by class and values.
    """
    lines, below = ["| key | type | default | |", "|---|---|---|---|"], []
    for key in keys(schema, values):
        links = []
        for part in key.sections:
            kinds = kinds_of(part) if len(key.sections) > 1 else ()
            inside = key.value if isinstance(key.value, dict) else {}
            if kinds and inside.get("kind") not in kinds:
                inside = {}
            own = f"{title} {key.name}" + "".join(f", kind {kind}" for kind in kinds)
            identity = f"{part.__module__}.{part.__qualname__} {json.dumps(inside, default=str)}"
            if identity not in described:
                described[identity] = own
                below += ["", f"### {own}", "", (inspect.getdoc(part) or "").replace("``", "`"), ""]
                below += section(part, inside, own, described)
            links.append(f"[{kinds[0] if kinds else 'section'}](#{anchor(described[identity])})")
        lines.append(row(key, links))
    return [*lines, *below, ""]


def row(key: Key, links: list[str]) -> str:
    """Return the line of one key."""
    kind = key.takes.replace("|", "\\|")
    if links:
        kind = re.sub(r"section(?: or section)*", " or ".join(links), kind)
    shown = "" if key.sections and key.value is not None else key.shown
    return f"| `{key.name}` | {kind} | {f'`{shown}`' if shown else ''} | {key.text.replace('|', chr(92) + '|')} |"


def anchor(title: str) -> str:
    """Return the anchor that a heading gets, on GitHub and in the site."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
