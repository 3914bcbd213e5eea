"""Published numbers, which a comparison shows beside its runs."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from inferno_cli.errors import closest
from inferno_cli.section import Finite, Section
from inferno_cli.training.metrics import metrics

PUBLISHED = (
    *("mu", "minos_down", "minos_up", "width", "hesse", "stat_only", "sigma_mu_soft", "sigma_mu_hard"),
    *("significance", "p_value", "observed_significance", "observed_p_value", "goodness_of_fit", "sigma_mu_honest"),
    *("sigma_s", "relative_error_s", "bound_s"),
)
"""What a published row may give, beside metrics; a nuisance parameter's error is ``sigma_NAME``."""


class ReferenceRow(Section):
    """One published point."""

    model: str
    """bce, inferno, optimal, or what else it was."""
    at: dict[str, Any] = Field(default_factory=dict)
    """Its place in the sweep: dotted keys of the configuration, or ``experiment``."""
    values: dict[str, Finite | tuple[Finite, Finite] | tuple[Finite, Finite, Finite]]
    """Numbers by column, or [number, spread], or [number, down, up] with a spread of two sides, down < 0."""
    label: str = ""
    """What the row is called in tables."""
    source: str = ""
    """Where the number is from; empty: as the whole reference."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.values:
            known = (*PUBLISHED, *metrics())
            if name not in known and not name.startswith(("sigma_", "correlation_")):
                raise ValueError(f"values: no column is called {name!r}{closest(name, known)}")
        for name, (value, low, high) in self.ranges.items():
            if not low <= value <= high:
                raise ValueError(
                    f"values: {name} is {value:g}, between {low:g} and {high:g}; write [number, -down, up]"
                )
        return self

    @property
    def ranges(self) -> dict[str, tuple[float, float, float]]:
        """Every number with the ends of its spread, which are the number itself where none was published."""
        found = {}
        for name, entry in self.values.items():
            value, *spread = entry if isinstance(entry, tuple) else (entry, 0.0)
            down, up = spread if len(spread) > 1 else (-spread[0], spread[0])
            found[name] = (value, value + down, value + up)
        return found


class Reference(Section):
    """Published numbers."""

    name: str
    """What it is called."""
    source: str = ""
    """Where the numbers are from."""
    note: str = ""
    """What has to be said with them."""
    rows: tuple[ReferenceRow, ...] = ()
