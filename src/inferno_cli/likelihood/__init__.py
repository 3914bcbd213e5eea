"""The one likelihood: its specification, what it expects, and its information matrix; numpy's arrays or torch's."""

from inferno_cli.likelihood.build import build
from inferno_cli.likelihood.expectation import (
    Expectation,
    expectation,
    expected_yields,
    nll,
    sample_yields,
    yields_and_jacobian,
)
from inferno_cli.likelihood.information import bin_variance, correlation, covariance, information_matrix, poi_variance
from inferno_cli.likelihood.interpolation import code4, code4p
from inferno_cli.likelihood.spec import Spec

__all__ = [
    "Expectation",
    "Spec",
    "bin_variance",
    "build",
    "code4",
    "code4p",
    "correlation",
    "covariance",
    "expectation",
    "expected_yields",
    "information_matrix",
    "nll",
    "poi_variance",
    "sample_yields",
    "yields_and_jacobian",
]
