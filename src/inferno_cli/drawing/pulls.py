"""Pulls and constraints, one row for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inferno_cli.drawing.style import MUTED, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_pulls(axes: Axes, parameters: Mapping[str, Any]) -> None:
    """Draw ``pull`` and ``constraint`` of each parameter, the first row on top; where they are None is no point."""
    for reach, shade in ((2, "#eeeeee"), (1, "#d8e6f3")):
        axes.axvspan(-reach, reach, color=shade, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    limit = 2.5
    names = list(parameters)[::-1]
    for row, name in enumerate(names):
        pull, constraint = parameters[name].pull, parameters[name].constraint
        if pull is not None and constraint is not None:
            axes.errorbar(pull, row, xerr=constraint, fmt="o", color="black", markersize=4.5, capsize=2)
            limit = max(limit, 1.15 * (abs(pull) + constraint))
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("pull, in units of the constraint")
