"""Events that are generated with true parameters: their numbers, and what each parameter does to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import compose, ntuples

from inferno_cli.config.steps import TrainConfig

BENCHMARK = compose("+experiment=benchmark4")
N = 300


def experiments(config: TrainConfig, mu: float, **values: float) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    found = [config.dataset.pseudo_data(config.request, mu, values, rng) for _ in range(N)]
    return [events for events in found if events is not None]


def test_numbers_are_those_of_the_true_signal_and_background() -> None:
    """50 mu events of the signal, 1000 of the background, whose yield one standard deviation changes by 10%."""
    for mu, b, expected in ((1.0, 0.0, 1050), (2.0, 0.0, 1100), (0.0, 1.0, 1100), (1.0, -1.0, 950)):
        counts = [len(events) for events in experiments(BENCHMARK, mu, b=b)]
        assert np.mean(counts) == pytest.approx(expected, abs=4 * (expected / N) ** 0.5)
        assert np.var(counts) == pytest.approx(expected, rel=0.35)


def test_the_background_has_the_true_mean_and_rate() -> None:
    """r is 0.4 at +1, lambda 3 - 1 at -1: whatever the steps of the templates, half of that."""
    background = np.concatenate(experiments(BENCHMARK, 0.0, r=1.0, **{"lambda": -1.0})).astype(float)
    assert background[:, 0].mean() == pytest.approx(2.4, abs=0.02)
    assert background[:, 2].mean() == pytest.approx(1 / 2, abs=0.005)
    assert background[:, 2].std() == pytest.approx(1 / 2, abs=0.01)


def test_a_rate_is_above_zero() -> None:
    """lambda is 3 with a standard deviation of 1."""
    (effect,) = [effect for effect in BENCHMARK.request.effects if effect.parameter == "lambda"]
    possible = [effect.definition.is_possible(value, BENCHMARK.dataset) for value in (-3.1, -3.0, -2.9, 3.0)]
    assert possible == [False, False, True, True]


def test_a_shift_changes_every_event_and_the_yield() -> None:
    config = compose(
        "dataset=synthetic",
        "+dataset.systematics.move={kind: shift, feature: x1, size: 2.0, scale: 0.5, yield_change: 0.2, "
        "samples: [background]}",
        "nuisance.fit=[move]",
    )
    events = experiments(config, 0.0, move=2.0)
    assert np.mean([len(part) for part in events]) == pytest.approx(1000 * 1.2, abs=8)
    assert np.concatenate(events)[:, 1].mean(dtype=float) == pytest.approx(2.0, abs=0.02)


def test_of_files_there_are_only_simulated_events(tmp_path: Path) -> None:
    config = ntuples(tmp_path, fit=["jes"])
    assert config.dataset.pseudo_data(config.request, 1.0, {}, np.random.default_rng(1)) is None
