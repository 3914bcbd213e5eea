"""Histograms: filling templates, ordering and merging their bins."""

from inferno_cli.histograms.binning import effective_events, merge, noise_information, purity
from inferno_cli.histograms.morph import envelope, enveloped, morphed, scaled
from inferno_cli.histograms.templates import Templates, fill

__all__ = [
    "Templates",
    "effective_events",
    "envelope",
    "enveloped",
    "fill",
    "merge",
    "morphed",
    "noise_information",
    "purity",
    "scaled",
]
