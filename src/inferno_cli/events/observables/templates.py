"""Templates that somebody else made, read from a file: a channel without events."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.channel import NO_BIN, ChannelObservable
from inferno_cli.events.ready import HistogramFile
from inferno_cli.section import Shown, with_unit


class ReadyTemplates(HistogramFile, ChannelObservable):
    """Templates that somebody else made; the file has the bins, and no event is in the channel."""

    has_events: ClassVar[bool] = False
    kind: Literal["templates"] = "templates"
    """Histograms of a file."""
    data: str | None = None
    """Name of the histogram of the observed events in the file; may hold {channel}. null: there is none, and the
    channel has Asimov data alone."""
    title: Shown | None = None
    """What plots call its axis; null: nothing."""
    unit: Shown | None = None
    """Its unit in plots, such as GeV."""

    @property
    def source(self) -> HistogramFile:
        """Its own file."""
        return self

    @property
    def observed(self) -> str | None:
        """The histogram of the observed events."""
        return self.data

    @property
    def n_bins(self) -> int:
        """0: those of the file, in which no event is."""
        return 0

    @property
    def axis(self) -> str:
        """The title and the unit."""
        return with_unit(self.title or "", self.unit)

    def bins(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return ``NO_BIN`` for every event."""
        return np.full(len(values), NO_BIN, dtype=np.int32)
