"""What a person who shows the plots wants on them: the experiment, the luminosity, and how samples are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class ChannelAxis(NamedTuple):
    """Axis of a channel whose bins are those of a histogram: the edges, shape (B + 1,), and what stands below."""

    edges: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Presentation:
    """The words and colours of a configuration (``report``); matplotlib's formulas between "$" are possible in texts.

    Attributes:
        experiment: Name of the experiment, upper left and bold.
        status: What the plot is, behind the name: "Preliminary", "Simulation".
        luminosity: Luminosity and energy, upper right.
        titles: What samples and groups are called, where that is not their name.
        colours: Colours of samples and groups, where they are given.
        groups: Samples that are drawn as one, by the name of the group.
        axes: Of the channels that are histograms; bins of the others are drawn against their number.
    """

    experiment: str = ""
    status: str = ""
    luminosity: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    axes: Mapping[str, ChannelAxis] = field(default_factory=dict)

    @property
    def group_of(self) -> dict[str, str]:
        """The group of each sample that is in one."""
        found: dict[str, str] = {}
        for name, samples in self.groups.items():
            found |= dict.fromkeys(samples, name)
        return found


PLAIN = Presentation()
"""Of a record whose configuration says nothing about its plots."""
