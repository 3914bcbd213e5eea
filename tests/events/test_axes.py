"""Axes of features: integers in bins of their own, and what stands for none in no bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inferno_cli.events.axes import integer_edges
from inferno_cli.events.features import Inputs


@pytest.mark.parametrize(
    ("values", "limits", "bins", "expected"),
    [
        ([0, 1, 1, 4], (0, 4), 20, [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]),
        ([0, 1, 1, 4], (0.5, 2.9), 20, [0.5, 1.5, 2.5]),
        ([-1, 1], (-1, 1), 20, [-1.5, -0.5, 0.5, 1.5]),
        ([3, 3], (3, 3), 20, [2.5, 3.5]),
        ([0, 9], (0, 9), 5, [-0.5, 1.5, 3.5, 5.5, 7.5, 9.5]),
        ([0, 10], (0, 10), 5, [-0.5, 2.5, 5.5, 8.5, 11.5]),  # each bin has as many integers
        ([0, 1.5], (0, 1.5), 20, None),
        ([0, 1000], (0, 1000), 20, None),
        ([], (0, 1), 20, None),
    ],
)
def test_integers_are_in_the_middle_of_their_bins(values: Any, limits: Any, bins: int, expected: Any) -> None:
    found = integer_edges(np.array(values, dtype=np.float32), limits, bins)
    assert (None if found is None else found.tolist()) == expected


def test_what_stands_for_none_is_told_from_the_same_number() -> None:
    inputs = Inputs.of({"mjj": "mjj", "log_mjj": "where(nJets >= 2, log(mjj), 7)", "pt": "pt"}, {"mjj": -9999.0})
    branches = {
        "mjj": np.array([-9999.0, 0.0, 5.0, -9999.0]),
        "nJets": np.array([1, 2, 2, 2]),
        "pt": np.array([0.0, 1.0, 2.0, 3.0]),
    }
    branches["mjj"][1] = 1.0
    table = inputs.table(branches, 4, "here")
    assert inputs.names == ("mjj", "log_mjj", "pt", "mjj_missing")
    assert inputs.has_value("mjj", table).tolist() == [False, True, True, False]
    # The expression has a value of its own where there are no jets; the last row has none.
    assert inputs.has_value("log_mjj", table).tolist() == [True, True, True, False]
    assert inputs.has_value("pt", table).all()
    assert inputs.has_value("mjj_missing", table).all()
