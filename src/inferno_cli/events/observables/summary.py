"""The trained summary: the network says in which bin an event is."""

from __future__ import annotations

from typing import ClassVar, Literal

from inferno_cli.events.channel import ChannelObservable


class TrainedSummary(ChannelObservable):
    """The summary of the network's outputs, see ``model.summary``."""

    is_trained: ClassVar[bool] = True
    kind: Literal["summary"] = "summary"
    """The trained summary."""
