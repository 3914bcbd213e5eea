"""Histograms: filling templates, ordering and merging their bins."""

from inferno_cli.histograms.binning import LinearFit, effective_events, merge, noise_information, purity
from inferno_cli.histograms.feature_map import FeatureMap, feature_map
from inferno_cli.histograms.fitted import fitted, specification
from inferno_cli.histograms.morph import envelope, enveloped, morphed, scaled
from inferno_cli.histograms.symmetry import Parts, parts, symmetrised
from inferno_cli.histograms.templates import Templates, fill
from inferno_cli.histograms.yield_changes import TOTAL, YieldChange, yield_changes

__all__ = [
    "TOTAL",
    "FeatureMap",
    "LinearFit",
    "Parts",
    "Templates",
    "YieldChange",
    "effective_events",
    "envelope",
    "enveloped",
    "feature_map",
    "fill",
    "fitted",
    "merge",
    "morphed",
    "noise_information",
    "parts",
    "purity",
    "scaled",
    "specification",
    "symmetrised",
    "yield_changes",
]
