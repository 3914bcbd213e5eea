"""Histograms: filling templates, ordering and merging their bins."""

from inferno_cli.histograms.binning import effective_events, merge, noise_information, purity
from inferno_cli.histograms.templates import Templates, fill

__all__ = ["Templates", "effective_events", "fill", "merge", "noise_information", "purity"]
