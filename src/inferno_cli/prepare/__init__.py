"""From reconstructed objects to ntuples: selection, features, shifted selections. Columnar, on awkward arrays."""

from inferno_cli.prepare.features import FEATURES, features
from inferno_cli.prepare.run import Prepared, expand, prepare
from inferno_cli.prepare.selection import CutFlow, Selected, select
from inferno_cli.prepare.variations import DIRECTIONS, vary

__all__ = [
    "DIRECTIONS",
    "FEATURES",
    "CutFlow",
    "Prepared",
    "Selected",
    "expand",
    "features",
    "prepare",
    "select",
    "vary",
]
