"""A signal at new parameters: what has to be known of its error."""

from __future__ import annotations

import numpy as np
import pytest

from inferno_cli.errors import ConfigError
from inferno_cli.interpolation.target import require_spread

AT = np.array([50.0, 50.0])


def test_an_extrapolation_without_an_error_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"at: \[50.0, 50.0\] is outside .* differ in none of 1 bins"):
        require_spread(AT, np.array([1e-14]), 100.0, is_inside=False)


def test_an_extrapolation_with_one_and_a_single_bin_between_signals_are_not() -> None:
    require_spread(AT, np.array([0.0, 3.0]), 100.0, is_inside=False)
    require_spread(AT, np.array([0.0]), 100.0, is_inside=True)
