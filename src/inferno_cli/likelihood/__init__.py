"""The differentiable HistFactory likelihood and its information matrix."""

from inferno_cli.likelihood.channel import (
    Channel,
    build_channel,
    expected_yields,
    nll,
    sample_yields,
    yields_and_jacobian,
)
from inferno_cli.likelihood.information import (
    bin_variance,
    correlation,
    covariance,
    information_matrix,
    poi_variance,
)
from inferno_cli.likelihood.interpolation import code4, code4p

__all__ = [
    "Channel",
    "bin_variance",
    "build_channel",
    "code4",
    "code4p",
    "correlation",
    "covariance",
    "expected_yields",
    "information_matrix",
    "nll",
    "poi_variance",
    "sample_yields",
    "yields_and_jacobian",
]
