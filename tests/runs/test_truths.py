"""Which truths are asked for, and truths that no data can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import compose

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Coverage
from inferno_cli.errors import TemplateError
from inferno_cli.runs.coverage import Truth, _from_priors, truths
from inferno_cli.training.pseudo_data import Experiment, PseudoData

CONFIG = compose("+experiment=benchmark4")
MEASUREMENT = Measurement.from_config(CONFIG, CONFIG.nuisance.fit)


@dataclass(frozen=True)
class Above(PseudoData):
    """Data that need lambda above some value."""

    lowest: float
    origin = "the test"

    def is_possible(self, mu: float, values: Mapping[str, float]) -> bool:
        return values.get("lambda", 0.0) > self.lowest

    def counts(self, experiments: Sequence[Experiment]) -> np.ndarray:
        raise NotImplementedError

    def gammas(self) -> dict[str, float]:
        return {}

    def common_bias(self, values: Mapping[str, float]) -> float:
        raise NotImplementedError


def test_truths_are_those_that_are_asked_for() -> None:
    asked = Coverage(mu=(0.5, 2.0), nuisance=("nominal", "each", "together", "priors"))
    found = list(truths(asked, ("r", "b")))

    assert [(item.mu, item.nuisance) for item in found] == [
        (0.5, "nominal"),
        (2.0, "nominal"),
        (1.0, "r +1"),
        (1.0, "b +1"),
        (1.0, "all +1"),
        (1.0, "r -1"),
        (1.0, "b -1"),
        (1.0, "all -1"),
        (0.5, "priors"),
        (2.0, "priors"),
    ]
    assert found[5].values == {"r": -1.0}
    assert found[7].values == {"r": -1.0, "b": -1.0}
    assert [item.from_priors for item in found] == [False] * 8 + [True] * 2
    # All of one parameter together are that one.
    assert [item.nuisance for item in truths(Coverage(nuisance=("each", "together")), ("r",))] == ["r +1", "r -1"]
    assert list(truths(Coverage(nuisance=("each",)), ())) == []


def test_what_no_data_can_have_is_drawn_again() -> None:
    rng = np.random.default_rng(1)
    drawn = [_from_priors(Above(-0.5), Truth(1.0, "priors", from_priors=True), MEASUREMENT, rng) for _ in range(300)]

    values = np.array([list(item.values()) for item in drawn])
    assert [list(item) for item in drawn[:1]] == [["b", "r", "lambda"]]
    assert values[:, 2].min() > -0.5
    assert abs(values[:, :2].mean()) < 4 / 600**0.5
    # The normal distribution above -0.5 has the mean phi(0.5) / Phi(0.5) = 0.352065 / 0.691462.
    assert values[:, 2].mean() == pytest.approx(0.509, abs=4 * 0.7 / 300**0.5)


def test_priors_that_no_data_can_have_are_an_error() -> None:
    with pytest.raises(TemplateError, match=r"1000 times in a row: a rate would be negative. Take priors out"):
        _from_priors(Above(40.0), Truth(1.0, "priors", from_priors=True), MEASUREMENT, np.random.default_rng(1))
