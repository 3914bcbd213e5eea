"""What a user types, as Hydra's grammar has it: fewer signs to type, and none that would mean something else."""

from __future__ import annotations

import re
from typing import Any

from inferno_cli.config.load import ADDED_GROUPS
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.section import LISTED
from inferno_cli.shell import quoted


def as_hydra_reads(step: Any, overrides: list[str], *, sweeps: bool) -> list[str]:
    """Return the overrides of a step as Hydra reads them.

    - the first value needs no key where the step has an argument: ``inferno init FOLDER``
    - a group that is added needs no sign: ``experiment=top11004`` is ``+experiment=top11004``
    - a value may hold "=", which is an error to Hydra without quotes: ``where=dataset=htt``
    - the texts of a list may have commas between, which are points of a sweep to Hydra where one is asked for
    """
    lists = set() if sweeps else _lists(step)
    return [_quoted(_added(step, text), lists) for text in _with_key(step, overrides)]


def _with_key(step: Any, overrides: list[str]) -> list[str]:
    key = getattr(step, "ARGUMENT", None)
    if key is None or not overrides or "=" in overrides[0] or overrides[0].startswith(("+", "~")):
        return overrides
    return [f"{key}={quoted(overrides[0])}", *overrides[1:]]


def _added(step: Any, text: str) -> str:
    key = text.partition("=")[0]
    if key not in ADDED_GROUPS:
        return text
    if not issubclass(step.SCHEMA, TrainConfig):
        raise ConfigError(f"{text}: {key} is a group of `inferno train` and `inferno data`; this step has none")
    return f"+{text}"


def _lists(step: Any) -> set[str]:
    """Return the keys whose value may be texts with commas between."""
    return {name for name, field in step.SCHEMA.model_fields.items() if LISTED in field.metadata}


def _quoted(text: str, lists: set[str]) -> str:
    key, _, value = text.partition("=")
    signs = "=," if key in lists else "="
    is_plain = re.match(rf"[^\"'\[{{(\\$]*[{signs}]", value) is not None
    return f"{key}={quoted(value)}" if is_plain else text
