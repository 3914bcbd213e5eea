"""Events: the synthetic mixture, ntuples through uproot, and their splits."""

from __future__ import annotations

from inferno_cli.config import SyntheticDataset, TrainConfig
from inferno_cli.events.description import ALL, Description, Histogram, SystematicEntry, describe
from inferno_cli.events.membership import FILE as MEMBERSHIP_FILE
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
from inferno_cli.events.whole import Whole, load_whole


def load(config: TrainConfig) -> Events:
    """Generate or read the events that a run needs."""
    effects = config.effects(config.nuisance.fit)
    if isinstance(config.dataset, SyntheticDataset):
        from inferno_cli.events.synthetic import generate

        return generate(config.dataset, effects, config.data_seed)
    from inferno_cli.events.ntuples import read

    return read(config.dataset, config.sample_names, effects, config.data_seed)


__all__ = [
    "ALL",
    "DIRECTIONS",
    "MEMBERSHIP_FILE",
    "NOMINAL",
    "Description",
    "Events",
    "Histogram",
    "Sample",
    "SystematicEntry",
    "Variation",
    "Whole",
    "describe",
    "generator",
    "load",
    "load_whole",
    "split_rows",
    "variations",
]
