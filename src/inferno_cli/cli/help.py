"""``inferno STEP --help``: the groups of a step and every key, with what it is and what it is set to."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from inferno_cli.config.load import compose
from inferno_cli.config.reference import flat_keys, groups

KEY_WIDTH = 34


def keys_of(step: str, schema: type[BaseModel], about: str, overrides: Sequence[str], own: Path | None) -> str:
    """Return the help of a step, with the keys of the choices that the overrides make; ``own`` is the user's folder."""
    from omegaconf import OmegaConf

    width = min(shutil.get_terminal_size((120, 40)).columns, 140)
    lines = [f"inferno {step}: {about}", "", f"usage: inferno {step} [key=value ...]", ""]
    known = groups(step, own)
    if known:
        lines.append("groups (group=choice):")
        for name, files in known.items():
            lines += _entry(name, ", ".join(files), width)
        lines.append("")
    lines.append("keys (key=value), with the value that each has here:")
    for key in flat_keys(schema, OmegaConf.to_container(compose(step, overrides, own))):
        value = f"[{key.shown}] " if key.shown else ""
        lines += _entry(key.name, f"{value}{key.text}", width)
    lines += [
        "",
        "-m sweeps lists of values; --cfg job prints the whole configuration; --config-dir DIR adds your files",
    ]
    return "\n".join(lines) + "\n"


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    indent = " " * (KEY_WIDTH + 2)
    wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent) or [indent]
    if len(name) > KEY_WIDTH - 2:
        yield f"  {name}"
    else:
        wrapped[0] = f"  {name}".ljust(len(indent)) + wrapped[0][len(indent) :]
    yield from (line.rstrip() for line in wrapped)
