"""The comparison with gato-hep: its significance, its systematic, and that it says where the package is not there."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gato_comparison as comparison


def test_without_a_systematic_the_profiled_significance_is_the_formula() -> None:
    background = np.array([1000.0, 100.0, 5.0])
    yields = {"signal1": np.array([3.0, 5.0, 4.0]), "background": background}
    same = yields | {"background_up": background, "background_down": background}
    wide = yields | {"background_up": background * [0.9, 1.1, 1.3], "background_down": background * [1.1, 0.9, 0.7]}
    (plain,) = comparison.significances(same, ("signal1",), profiled=False)
    s, b = yields["signal1"], background

    assert plain == pytest.approx(math.sqrt(2 * ((s + b) * np.log(1 + s / b) - s).sum()))
    assert comparison.significances(same, ("signal1",), profiled=True) == pytest.approx([plain], rel=1e-4)
    assert comparison.significances(wide, ("signal1",), profiled=True)[0] < 0.99 * plain
    assert comparison.significances(wide, ("signal1",), profiled=False) == [plain]


def test_the_other_signal_is_a_background() -> None:
    yields = {"signal1": np.array([3.0]), "signal2": np.array([7.0]), "background": np.array([90.0])}
    yields |= {"background_up": yields["background"], "background_down": yields["background"]}

    assert comparison.significances(yields, ("signal1", "signal2"), profiled=False) == pytest.approx(
        [math.sqrt(2 * (100 * math.log(100 / 97) - 3)), math.sqrt(2 * (100 * math.log(100 / 93) - 7))]
    )


@pytest.mark.parametrize("n_scores", [1, 3])
def test_the_toy_is_that_of_the_package(n_scores: int) -> None:
    """Yields and the number of scores; the systematic moves the odds of the signals, and nothing over its ends."""
    scores, weights = comparison.toy(n_scores, 1, (200, 5000))
    first = scores["bkg1"]

    assert {name: round(weight.sum(), 6) for name, weight in weights.items()} == {
        name: comparison.YIELDS[name] for name in scores
    }
    assert first.shape[1] == len(comparison.SIGNALS[n_scores])
    assert scores["signal1"][:, 0].mean() > 5 * first[:, 0].mean()
    up = comparison.moved(first, 1)
    odds = [values.sum(axis=1) / (1 - values.sum(axis=1)) for values in (first, up)]
    np.testing.assert_allclose(odds[1], odds[0] * math.exp(comparison.SIZE), rtol=1e-6)
    np.testing.assert_allclose(comparison.moved(up, -1), first, rtol=1e-6)


def test_where_the_package_is_missing_there_is_no_version() -> None:
    assert comparison.importable("false") is None
