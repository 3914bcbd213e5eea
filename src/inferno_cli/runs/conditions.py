"""Conditions on the configuration of runs, which choose some of them: ``dataset=htt``, ``model.bins!=10``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from inferno_cli.errors import ComparisonError, ConfigError, closest
from inferno_cli.runs.points import as_text

SHORT = ("name", "kind")
"""``dataset=htt`` is about ``dataset.name``, ``model.network=mlp`` about ``model.network.kind``."""
MOST_SHOWN = 8
"""Values that an error lists."""


@dataclass(frozen=True)
class Condition:
    """One key of the configuration, and the value that it has, or has not."""

    key: str
    value: str
    is_negated: bool = False

    @classmethod
    def parse(cls, text: str, what: str = "where") -> Condition:
        """Read "key=value" or "key!=value"; ConfigError if it is neither, which names the key ``what``."""
        found = re.fullmatch(r"\s*\+*([A-Za-z_][\w./-]*)\s*(!?)={1,2}\s*(.*?)\s*", text)
        if found is None:
            raise ConfigError(f"{what}: {text!r} is no condition; write key=value or key!=value: {what}='dataset=htt'")
        return cls(found[1].replace("/", "."), found[3], bool(found[2]))

    def __str__(self) -> str:
        return f"{self.key}{'!' if self.is_negated else ''}={self.value}"

    def read(self, settings: Mapping[str, Any]) -> Any:
        """Return what a flat configuration says of the key; KeyError where it says nothing."""
        for key in (self.key, *(f"{self.key}.{part}" for part in SHORT)):
            if key in settings:
                return settings[key]
        raise KeyError(self.key)

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether a flat configuration is as the condition says; one without the key has another value."""
        try:
            return same(self.read(settings), self.value) != self.is_negated
        except KeyError:
            return self.is_negated


def same(value: Any, text: str) -> bool:
    """Whether a value of a configuration is the one that a text stands for: 1 and 1.0 are the same, and 1e-3."""
    if str(value) == text:
        return True
    try:
        wanted = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    if isinstance(wanted, str) and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return math.isclose(float(wanted), value, rel_tol=1e-12)  # YAML takes 1e-3 for a text
        except ValueError:
            return False
    return as_text(wanted) == as_text(value)


def chosen(conditions: Iterable[str], settings: Sequence[Mapping[str, Any]], what: str = "where") -> list[bool]:
    """Return for each flat configuration whether all conditions hold, which are those of the key ``what``.

    Raises:
        ConfigError: If one is no condition, or is on a key that no run has.
        ComparisonError: If they hold for no run.
    """
    wanted = [Condition.parse(text, what) for text in conditions]
    for condition in wanted:
        _require_known(condition, settings, what)
    found = [all(condition.holds(values) for condition in wanted) for values in settings]
    if wanted and not any(found):
        said = "; ".join(f"{condition.key} is {_values(condition, settings)}" for condition in wanted)
        raise ComparisonError(f"{what}={','.join(map(str, wanted))}: none of {len(settings)} runs is so: {said}")
    return found


def _require_known(condition: Condition, settings: Sequence[Mapping[str, Any]], what: str) -> None:
    keys: dict[str, None] = {}
    for values in settings:
        for key in values:
            head, _, last = key.rpartition(".")
            keys |= dict.fromkeys((key, head) if last in SHORT and head else (key,))
    if settings and condition.key not in keys:
        shown = [key for key in keys if "." not in key]
        raise ConfigError(f"{what}: no run has a key {condition.key!r}{closest(condition.key, keys, listed=shown)}")


def _values(condition: Condition, settings: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, None] = {}
    for values in settings:
        try:
            found[str(condition.read(values))] = None
        except KeyError:
            found["not set"] = None
    shown = list(found)
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return ", ".join(shown[:MOST_SHOWN]) + more
