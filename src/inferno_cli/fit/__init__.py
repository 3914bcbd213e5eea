"""The fit: MINUIT on a pyhf workspace, to a typed result."""

from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.result import FitResult
from inferno_cli.likelihood.readers.pyhf import read_workspace

__all__ = ["FitResult", "fit_workspace", "read_workspace"]
