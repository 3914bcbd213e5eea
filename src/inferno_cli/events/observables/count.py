"""One bin: the events of the channel are counted."""

from __future__ import annotations

from typing import Literal

from inferno_cli.events.channel import ChannelObservable


class Count(ChannelObservable):
    """One bin."""

    kind: Literal["count"] = "count"
    """One bin."""

    @property
    def axis(self) -> str:
        """What is counted."""
        return "events"
