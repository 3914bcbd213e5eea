"""Relative paths of a configuration: those of a YAML file are relative to it, others to the working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import DatasetFileError
from inferno_cli.events.root.layout import EMBEDDED
from inferno_cli.files import read_yaml, user_path
from inferno_cli.remote import is_remote

if TYPE_CHECKING:
    from omegaconf import DictConfig

GROUP, KEY = "dataset", "path"
PLACEHOLDER = re.compile(r"\{\w+\}")


def make_absolute(composed: DictConfig, hydra: Any) -> None:
    """Make ``dataset.path`` absolute, so that a run can be read from another folder; ``hydra`` says who named it.

    A relative path is looked for beside the YAML file that names it, and then in the working directory; one from the
    command line in the working directory alone.

    Raises:
        DatasetFileError: If a path of a YAML file is in neither.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    raw = OmegaConf.to_container(composed, resolve=False)
    section = raw.get(GROUP) if isinstance(raw, Mapping) else None
    if not isinstance(section, Mapping) or KEY not in section:
        return
    try:
        selected = OmegaConf.select(composed, f"{GROUP}.{KEY}")
    except OmegaConfBaseException:
        return  # of another key, which is told where everything is resolved
    is_list = OmegaConf.is_list(selected)
    texts = list(selected) if is_list else [selected]
    if not all(isinstance(text, str) for text in texts):
        return  # the section refuses it
    named = _named_by(section[KEY], hydra)
    absolute = [_absolute(text, named) for text in texts]
    OmegaConf.update(composed, f"{GROUP}.{KEY}", absolute if is_list else absolute[0])


def _absolute(text: str, named: Path | None) -> str:
    if text == EMBEDDED or not text.strip() or is_remote(text) or user_path(text).is_absolute():
        return text
    here = os.path.abspath(text)  # noqa: PTH100 (a link stays what it is called)
    if named is None:
        return here
    beside = os.path.abspath(named.absolute().parent / text)  # noqa: PTH100
    for candidate in (beside, here):
        if _is_there(candidate):
            return candidate
    raise DatasetFileError(
        f"dataset.path is {text!r} in {named}, and there is neither {beside} nor, in the working directory, {here}. "
        "Fix it: a relative path is looked for beside the YAML file that names it"
    )


def _is_there(text: str) -> bool:
    pattern = PLACEHOLDER.sub("*", text)
    if Path(text).exists() or not has_magic(pattern):
        return Path(text).exists()
    return any(True for _ in Path("/").glob(pattern.lstrip("/")))


def _named_by(value: Any, hydra: Any) -> Path | None:
    """Return the YAML file that names a path, as it is written there; None: the command line, or nobody knows."""
    overrides = [text.lstrip("+~").partition("=")[0] for text in hydra.overrides.task]
    if f"{GROUP}.{KEY}" in overrides:
        return None
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    # What is chosen later, as an experiment, replaces what is in the dataset.
    for group, choice in reversed(hydra.runtime.choices.items()):
        for file, values in _files(folders, group, choice):
            own = values.get(KEY) if group == GROUP else None
            below = values.get(GROUP)
            if value in (own, below.get(KEY) if isinstance(below, Mapping) else None):
                return file
    return None


def _files(folders: list[Path], group: str, choice: str | None) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the file of a choice, and those of the same group that it is built on."""
    waiting = [choice]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not isinstance(name, str) or name in seen or group.startswith("hydra/"):
            continue
        seen.add(name)
        file = next((path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()), None)
        if file is None:
            continue
        values = read_yaml(file)
        yield file, values
        waiting += [item for item in values.get("defaults") or () if isinstance(item, str)]
