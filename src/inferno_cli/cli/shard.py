"""The flag of a part of a run: ``--shard 2/4`` is ``shard=2/4``."""

from __future__ import annotations

from inferno_cli.errors import ConfigError

SHARD = "--shard"


def with_shard(flags: list[str], overrides: list[str]) -> tuple[list[str], list[str]]:
    """Return flags and overrides in which ``--shard 2/4`` is an override; ConfigError if it has no value."""
    if SHARD not in flags:
        return flags, overrides
    at = flags.index(SHARD)
    if at + 1 == len(flags) or flags[at + 1].startswith("-"):
        raise ConfigError("--shard needs a part: --shard NUMBER/TOTAL, such as 2/4")
    return [*flags[:at], *flags[at + 2 :]], [*overrides, f"shard={flags[at + 1]}"]
