"""What a channel counts its events by; each kind is a file of ``events/observables``."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.ready import HistogramFile
from inferno_cli.section import Section

NO_BIN = -1
"""Of an event that no bin has."""
SHARED = ""
"""Name of the network of all channels that name none of their own."""


class ChannelObservable(Section, ABC):
    """What every observable of a channel has; one with bins of its own overrides all of it.

    Attributes:
        is_trained: Whether the network says in which bin an event is.
        has_events: Whether its templates are filled with events; else they are in a file.
    """

    is_trained: ClassVar[bool] = False
    has_events: ClassVar[bool] = True
    kind: str

    @property
    def network_name(self) -> str:
        """Name of the network that makes its bins, where one does."""
        return SHARED

    @property
    def variable(self) -> str | None:
        """What it is a histogram of, an expression of branches; None: no branch is needed."""
        return None

    @property
    def n_bins(self) -> int:
        """Number of its own bins; 1 where the network makes them."""
        return 1

    @property
    def edges_of_bins(self) -> tuple[float, ...]:
        """Edges of a histogram, shape (n_bins + 1,); empty: there are none."""
        return ()

    @property
    def axis(self) -> str:
        """What stands below its axis in plots."""
        return ""

    @property
    def source(self) -> HistogramFile | None:
        """The file that its templates are in; None: they are filled with events."""
        return None

    @property
    def observed(self) -> str | None:
        """Name of the histogram of its observed events in that file; None: there is none."""
        return None

    def bins(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the bin of each event, of which ``variable`` has values (n_events,); ``NO_BIN``: none."""
        return np.zeros(len(values), dtype=np.int32)
