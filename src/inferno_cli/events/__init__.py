"""Events: the synthetic mixture, ntuples through uproot, and their splits."""

from __future__ import annotations

from inferno_cli.config import NtupleDataset, SyntheticDataset, TrainConfig
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


def feature_names(dataset: SyntheticDataset | NtupleDataset) -> tuple[str, ...]:
    """Return the names of the features, in the order of the network's inputs."""
    if isinstance(dataset, SyntheticDataset):
        from inferno_cli.events.synthetic import FEATURES

        return FEATURES
    return dataset.features


def load(config: TrainConfig) -> Events:
    """Generate or read the events that a run needs."""
    if isinstance(config.dataset, SyntheticDataset):
        from inferno_cli.events.synthetic import generate

        return generate(config.dataset, config.nuisance, config.seed)
    from inferno_cli.events.ntuples import read

    return read(config.dataset, config.sample_names, config.nuisance, config.seed)


__all__ = [
    "DIRECTIONS",
    "NOMINAL",
    "Events",
    "Sample",
    "Variation",
    "feature_names",
    "generator",
    "load",
    "split_rows",
    "variations",
]
