"""Histograms: filling templates, ordering and merging their bins."""

from inferno_cli.histograms.binning import LinearFit, effective_events, merge, noise_information, purity
from inferno_cli.histograms.cells import BinMap, bin_map
from inferno_cli.histograms.fitted import fitted, specification
from inferno_cli.histograms.morph import envelope, enveloped, morphed, scaled
from inferno_cli.histograms.responses import TOTAL, Response, responses
from inferno_cli.histograms.symmetry import Parts, parts, symmetrised
from inferno_cli.histograms.templates import Templates, fill

__all__ = [
    "TOTAL",
    "BinMap",
    "LinearFit",
    "Parts",
    "Response",
    "Templates",
    "bin_map",
    "effective_events",
    "envelope",
    "enveloped",
    "fill",
    "fitted",
    "merge",
    "morphed",
    "noise_information",
    "parts",
    "purity",
    "responses",
    "scaled",
    "specification",
    "symmetrised",
]
