"""Flags of the command line, Hydra's and ours: none is taken that is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from inferno_cli.errors import ConfigError, closest

OF_POINTS = ("--workflow", "--point", "--shard")
"""Our own that have a value."""
DEBUG = "--debug"


def divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags, each with its value behind it, and the overrides: Hydra's parser takes flags only before these.

    Raises:
        ConfigError: If there is no such flag, or its value is missing or none of its choices.
    """
    actions = _of_hydra()
    with_value = {*OF_POINTS, *(flag for flag, action in actions.items() if action.nargs != 0)}
    flags: list[str] = []
    overrides: list[str] = []
    waiting = None
    for argument in _apart(arguments, with_value):
        if waiting is not None:
            _require_value(waiting, argument, actions)
            flags.append(argument)
            waiting = None
        elif argument.startswith("-"):
            require_known(argument)
            flags.append(argument)
            waiting = argument if argument in with_value else None
        else:
            overrides.append(argument)
    if waiting is not None:
        _require_value(waiting, None, actions)
    return flags, overrides


def require_known(flag: str) -> None:
    """Raise ConfigError, with the nearest one, if there is no such flag."""
    known = (*_of_hydra(), *OF_POINTS, DEBUG)
    if flag not in known:
        name, listed = flag.partition("=")[0], [text for text in known if text.startswith("--")]
        raise ConfigError(f"unknown flag {name}{closest(name, known, listed)}")


def taken(flags: Sequence[str], flag: str, what: str) -> tuple[list[str], str]:
    """Return the other flags, and the value of one; ConfigError says ``what`` it needs if it has none, or several."""
    if flags.count(flag) > 1:
        raise ConfigError(f"{flag} is given {flags.count(flag)} times. Leave all but one out")
    at = flags.index(flag)
    value = flags[at + 1] if at + 1 < len(flags) else ""
    if not value or value.startswith("-"):
        raise ConfigError(f"{flag} needs {what}")
    return [*flags[:at], *flags[at + 2 :]], value


def _of_hydra() -> dict[str, Any]:
    """Return what Hydra's own parser does with each flag that it knows."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()._option_string_actions


def _apart(arguments: Sequence[str], with_value: set[str]) -> Iterator[str]:
    """Yield ``--flag=value`` as two words."""
    for argument in arguments:
        flag, sign, value = argument.partition("=")
        yield from (flag, value) if sign and flag in with_value else (argument,)


def _require_value(flag: str, value: str | None, actions: dict[str, Any]) -> None:
    """Raise ConfigError if the value of a flag of Hydra's is missing, or none of its choices; None: it is the last."""
    action = actions.get(flag)
    if action is None:  # ours, and ``taken`` knows what it needs
        return
    if not value or value.startswith("-"):
        if action.nargs == "?":
            return
        raise ConfigError(f"{flag} needs a value")
    if action.choices is not None and value not in action.choices:
        raise ConfigError(f"{flag} is {value!r}{closest(value, action.choices)}")
