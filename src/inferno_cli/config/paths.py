"""Relative paths of a configuration: those of a YAML file are relative to it, others to the working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import DatasetFileError
from inferno_cli.files import read_yaml, user_path
from inferno_cli.remote import is_remote
from inferno_cli.section import EMBEDDED

if TYPE_CHECKING:
    from omegaconf import DictConfig

Keys = tuple[str, ...]
"""Keys of a value, from the outermost."""
PLACEHOLDER = re.compile(r"\{\w+\}")


def make_absolute(composed: DictConfig, hydra: Any) -> None:
    """Make the paths of events, histograms and networks absolute, so that a run can be read from another folder.

    ``hydra`` says who named them.

    A relative path is looked for beside the YAML file that names it, and then in the working directory; one from the
    command line in the working directory alone.

    Raises:
        DatasetFileError: If a path of a YAML file is in neither.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    raw: Any = OmegaConf.to_container(composed, resolve=False)
    if not isinstance(raw, Mapping):
        return
    for keys in _paths(raw):
        node: Any = composed
        try:
            # One key after another: a name may hold a dot.
            for key in keys:
                holder, node = node, node[key]
        except OmegaConfBaseException:
            continue  # of another key, which is told where everything is resolved
        is_list = OmegaConf.is_list(node)
        texts = list(node) if is_list else [node]
        if not all(isinstance(text, str) for text in texts):
            continue  # the section refuses it
        named = _named_by(keys, _at(raw, keys), hydra)
        absolute = [_absolute(text, ".".join(keys), named) for text in texts]
        holder[keys[-1]] = absolute if is_list else absolute[0]


def _at(values: Any, keys: Keys) -> Any:
    """Return the value of nested mappings; None: they have none."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _paths(raw: Mapping[str, Any]) -> Iterator[Keys]:
    """Yield the keys of the paths that a configuration has."""
    candidates: list[Keys] = [("dataset", "path"), ("model", "file"), ("model", "network", "file")]
    channels = raw.get("channels")
    for name in channels if isinstance(channels, Mapping) else ():
        candidates.append(("channels", name, "observable", "file"))
        histograms = _at(raw, ("channels", name, "histograms"))
        for sample in histograms if isinstance(histograms, Mapping) else ():
            candidates.append(("channels", name, "histograms", sample, "file"))
    for keys in candidates:
        if _at(raw, keys) is not None:
            yield keys


def _absolute(text: str, key: str, named: Path | None) -> str:
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
        f"{key} is {text!r} in {named}, and there is neither {beside} nor, in the working directory, {here}. "
        "Fix it: a relative path is looked for beside the YAML file that names it"
    )


def _is_there(text: str) -> bool:
    pattern = PLACEHOLDER.sub("*", text)
    if Path(text).exists() or not has_magic(pattern):
        return Path(text).exists()
    return any(True for _ in Path("/").glob(pattern.lstrip("/")))


def _named_by(keys: Keys, value: Any, hydra: Any) -> Path | None:
    """Return the YAML file that names a path, as it is written there; None: the command line, or nobody knows."""
    overrides = [text.lstrip("+~").partition("=")[0] for text in hydra.overrides.task]
    if ".".join(keys) in overrides:
        return None
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    # What is chosen later, as an experiment, replaces what is in the dataset.
    for group, choice in reversed(hydra.runtime.choices.items()):
        for file, values in _files(folders, group, choice):
            own = _at(values, keys[1:]) if group == keys[0] else None
            if value in (own, _at(values, keys)):
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
