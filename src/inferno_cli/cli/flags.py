"""Flags of the command line that have a value."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_cli.errors import ConfigError


def taken(flags: Sequence[str], flag: str, what: str) -> tuple[list[str], str]:
    """Return the other flags, and the value of one; ConfigError says ``what`` it needs if it has none."""
    at = flags.index(flag)
    if at + 1 == len(flags) or flags[at + 1].startswith("-"):
        raise ConfigError(f"{flag} needs {what}")
    return [*flags[:at], *flags[at + 2 :]], flags[at + 1]
