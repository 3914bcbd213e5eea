"""The flag of a part of a run: ``--shard 2/4`` is ``shard=2/4``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferno_cli.cli.flags import taken
from inferno_cli.errors import ConfigError

if TYPE_CHECKING:
    from inferno_cli.section import Section

SHARD = "--shard"
SHARD_KEY = "shard"
"""Key of a step that works in a folder of its own (``config.steps.FolderStep``)."""


def with_shard(
    flags: list[str], overrides: list[str], multirun: frozenset[str], schema: type[Section]
) -> tuple[list[str], list[str]]:
    """Return flags and overrides in which ``--shard 2/4`` is an override; ``schema`` is that of the step.

    Raises:
        ConfigError: If it has no value, if the step is none that makes a run of parts, or if it is of a single run
            (none of the flags ``multirun``) without a folder: each shard would have one of its own, named after the
            time, and nobody would collect them.
    """
    if SHARD not in flags:
        return flags, overrides
    left, shard = taken(flags, SHARD, "a part: --shard NUMBER/TOTAL, such as 2/4")
    if SHARD_KEY not in schema.model_fields:
        from inferno_cli.config.steps import INDIVISIBLE

        raise ConfigError(INDIVISIBLE)
    if not multirun & set(flags) and not any(text.lstrip("+").startswith("hydra.run.dir=") for text in overrides):
        raise ConfigError("--shard needs the folder that all shards of a run have in common: hydra.run.dir=FOLDER")
    return left, [*overrides, f"shard={shard}"]
