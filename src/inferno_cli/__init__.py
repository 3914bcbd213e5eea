"""Train the histogram for the fit: INFERNO against BCE, from ntuples to a HistFactory workspace."""

__version__ = "0.1.0"
