"""What a user types, as Hydra's grammar has it: fewer signs to type, and none that would mean something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inferno_cli.config.load import ADDED_GROUPS, compose
from inferno_cli.config.reference import has_optional
from inferno_cli.errors import ConfigError
from inferno_cli.section import LISTED
from inferno_cli.shell import quoted

MODEL_GROUPS = ("network", "summary", "objective")
"""Groups of what a model is made of, ``model/objective``."""


def as_hydra_reads(step: Any, overrides: list[str], *, sweeps: bool = False) -> list[str]:
    """Return the overrides of a step as Hydra reads them.

    - the first value needs no key where the step has an argument: ``inferno init FOLDER``
    - a group that is added needs no sign: ``experiment=top11004`` is ``+experiment=top11004``
    - a group of the parts of a model needs no path: ``objective=p0`` is ``model/objective=p0``
    - a step has short names for keys of its own: ``reference=A`` is ``nplm.reference=A``
    - a value may hold "=", which is an error to Hydra without quotes: ``where=dataset=htt``
    - the texts of a list may have commas between, which are points of a sweep to Hydra where one is asked for

    Raises:
        ConfigError: If a choice is one that the step has no use for, or a key has values by two of its names.
    """
    lists = set() if sweeps else _lists(step)
    read = [_grouped(step, text) for text in _with_key(step, overrides)]
    _require_one_name(overrides, read)
    return [_quoted(text, lists) for text in read]


def with_optional(step: Any, name: str, overrides: list[str], own: Path | None) -> list[str]:
    """Return the overrides with the sign that Hydra wants for keys that the step has and no YAML file sets.

    Hydra knows the keys of the files alone; the sections know the others, and their types: ``coverage.experiments``
    where ``coverage`` is null, ``fit.bounds.mu``, ``dataset.systematics.jes.group``.

    Args:
        step: The step.
        name: Its name.
        overrides: As Hydra reads them.
        own: The user's folder of YAML files.

    Raises:
        ConfigError: If a key is of a group that is added, and none of it was chosen: ``study.scale``.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # A list: of a text that is there twice the last one counts.
    keys = [(text, _plain_key(text)) for text in overrides]
    if not any(key for _, key in keys):
        return overrides
    try:
        values = OmegaConf.to_container(compose(name, chosen(overrides), own))
    except (HydraException, OmegaConfBaseException, ConfigError):
        return overrides  # Hydra meets the same, and says it
    added = []
    for text, key in keys:
        group = key.partition(".")[0]
        if group in ADDED_GROUPS and not _is_set(values, [group]):
            raise ConfigError(f"{text}: no {group} is chosen; add {group}=NAME")
        parts = key.split(".")
        if _is_set(values, parts):
            # A mapping may have keys that no file sets, too: dataset.splits={folds: 5}. The section refuses others.
            is_new = (
                text[len(key) + 1 :].startswith("{") and not _is_sweep(text) and _adds(_parsed(text), values, parts)
            )
        else:
            is_new = bool(key) and has_optional(step.SCHEMA, values, parts)
        added.append(f"++{text}" if is_new else text)
    return added


def chosen(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that say which keys there are: choices, and not values.

    A sweep over choices is left out: the sections of the defaults stand for theirs.
    """
    return [text for text in overrides if not _plain_key(text) and not _is_sweep(text)]


def _plain_key(text: str) -> str:
    """Return the dotted key of an override that only sets a value; "" of any other."""
    found = re.match(r"((?!hydra\.)\w+(?:\.\w+)+)=", text)
    return "" if found is None else found[1]


def _is_sweep(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return bool(OverridesParser.create().parse_override(text).is_sweep_override())


def _adds(given: Any, values: Any, parts: list[str]) -> bool:
    """Whether a mapping has keys, at any depth, that are not in the one of a key that is set."""
    for part in parts:
        values = values[part]
    if not isinstance(given, dict) or not isinstance(values, dict):
        return False
    return any(key not in values or _adds(value, values, [key]) for key, value in given.items())


def _parsed(text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(text).value()


def _is_set(values: Any, parts: list[str]) -> bool:
    for part in parts:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _require_one_name(typed: Sequence[str], read: Sequence[str]) -> None:
    """Raise ConfigError for a key with values by two of its names; of two by the same name the last counts."""
    before: dict[str, str] = {}
    for text, found in zip(typed, read, strict=True):
        key = _key(found)
        first = before.setdefault(key, text)
        if _key(first) != _key(text):
            raise ConfigError(f"{first} and {text}: both are {key}, which has one value. Leave one out")


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+")


def _with_key(step: Any, overrides: list[str]) -> list[str]:
    key = getattr(step, "ARGUMENT", None)
    if key is None or not overrides or overrides[0].startswith(("+", "~")):
        return overrides
    if "=" in overrides[0] and not Path(overrides[0]).exists():
        return overrides
    return [f"{key}={quoted(overrides[0])}", *overrides[1:]]


def _grouped(step: Any, text: str) -> str:
    key = text.partition("=")[0]
    _require_use(step, text, key)
    if key in (short := getattr(step, "SHORT", {})):
        return f"{short[key]}{text[len(key) :]}"
    if key not in (*ADDED_GROUPS, *MODEL_GROUPS):
        return text
    from inferno_cli.config.steps import TrainConfig  # which most steps do without

    if not issubclass(step.SCHEMA, TrainConfig):
        raise ConfigError(f"{text}: {key} is a group of `inferno train` and `inferno data`; this step has none")
    return f"+{text}" if key in ADDED_GROUPS else f"model/{text}"


def _require_use(step: Any, text: str, key: str) -> None:
    """Raise ConfigError for a choice that would change nothing; keys of the training below it may be set."""
    group = "model" if key in MODEL_GROUPS else key.lstrip("+").partition("/")[0]
    if "." not in key and (instead := getattr(step, "NO_USE", {}).get(group)) is not None:
        raise ConfigError(f"{text}: this step has no use for it: {instead}. Leave it out")


def _lists(step: Any) -> set[str]:
    """Return the keys whose value may be texts with commas between."""
    return {name for name, field in step.SCHEMA.model_fields.items() if LISTED in field.metadata}


def _quoted(text: str, lists: set[str]) -> str:
    key, _, value = text.partition("=")
    signs = "=," if key in lists else "="
    is_plain = re.match(rf"[^\"'\[{{(\\$]*[{signs}]", value) is not None
    return f"{key}={quoted(value)}" if is_plain else text
