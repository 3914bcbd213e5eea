"""What the records of runs have in common, whichever step has written them."""

from __future__ import annotations

from typing import Protocol


class Recorded(Protocol):
    """What the record of every finished run says."""

    @property
    def dataset(self) -> str:
        """Name of its dataset, or of its workspace."""

    @property
    def dataset_checksum(self) -> str:
        """SHA-256 of what it read."""

    @property
    def label(self) -> str:
        """What must be shown with every number."""
