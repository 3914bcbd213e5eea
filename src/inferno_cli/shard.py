"""A shard: the part of the trainings or toys of one run that a command of its own does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from inferno_cli.errors import ConfigError

Task = TypeVar("Task")


@dataclass(frozen=True)
class Shard:
    """One of several parts.

    Attributes:
        number: Counted from 1.
        total: Parts in all.
    """

    number: int
    total: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Return the shard that a text such as 2/4 names.

        Raises:
            ConfigError: If it names none.

        Example:
            >>> Shard.of("2/4").take(range(10))
            [1, 5, 9]
        """
        number, slash, total = text.partition("/")
        if not (slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
            raise ConfigError(f"shard={text}: expected NUMBER/TOTAL, from 1/TOTAL to TOTAL/TOTAL, such as 2/4")
        return cls(int(number), int(total))

    def take(self, tasks: Sequence[Task]) -> list[Task]:
        """Return its tasks; all shards together have each of them once."""
        return list(tasks[self.number - 1 :: self.total])

    def __str__(self) -> str:
        """Return it as it is given."""
        return f"{self.number}/{self.total}"
