"""The fit: MINUIT on a pyhf workspace, to a typed result."""

from inferno_cli.fit.minuit import fit_workspace, read_workspace
from inferno_cli.fit.result import Estimate, FitResult, Scan, Significance

__all__ = ["Estimate", "FitResult", "Scan", "Significance", "fit_workspace", "read_workspace"]
