"""The trained summary: the network says in which bin an event is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from inferno_cli.events.channel import SHARED, ChannelObservable


class TrainedSummary(ChannelObservable):
    """The summary of the network's outputs, see ``model.summary``."""

    is_trained: ClassVar[bool] = True
    kind: Literal["summary"] = "summary"
    """The trained summary."""
    network: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")] | None = None
    """Name of its network, which channels of the same name share; null: the one that all without a name share."""

    @property
    def network_name(self) -> str:
        """The name, or that of the shared one."""
        return SHARED if self.network is None else self.network
