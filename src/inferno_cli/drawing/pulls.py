"""Pulls and constraints, one row for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inferno_cli.drawing.style import MUTED, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_pulls(axes: Axes, rows: Sequence[tuple[str, float | None, float | None]]) -> None:
    """Draw pulls and constraints, the first row on top; a parameter without a constraint has no point.

    Args:
        axes: To draw on.
        rows: Name, pull and constraint of each parameter, in units of its constraint.
    """
    for reach, shade in ((2, "#eeeeee"), (1, "#d8e6f3")):
        axes.axvspan(-reach, reach, color=shade, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    limit = 2.5
    for row, (_, pull, constraint) in enumerate(reversed(rows)):
        if pull is not None and constraint is not None:
            axes.errorbar(pull, row, xerr=constraint, fmt="o", color="black", markersize=4.5, capsize=2)
            limit = max(limit, 1.15 * (abs(pull) + constraint))
    axes.set_yticks(range(len(rows)), [short(name) for name, _, _ in reversed(rows)])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("pull, in units of the constraint")
