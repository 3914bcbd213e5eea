"""Events: kinds of dataset and of systematics, the tables that they make, and what there is to say about them."""

from inferno_cli.events.description import ALL, Description, Histogram, SystematicEntry, describe
from inferno_cli.events.sample import (
    DIRECTIONS,
    NOMINAL,
    Events,
    Sample,
    Variation,
    generator,
    split_rows,
    variations,
)

__all__ = [
    "ALL",
    "DIRECTIONS",
    "NOMINAL",
    "Description",
    "Events",
    "Histogram",
    "Sample",
    "SystematicEntry",
    "Variation",
    "describe",
    "generator",
    "split_rows",
    "variations",
]
