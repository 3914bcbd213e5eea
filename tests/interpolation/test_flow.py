"""Conditional flows: densities, reproducible draws, folds that see nothing of what they leave out."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

pytest.importorskip("zuko")

from interpolations import configured, small_grid

from inferno_cli.errors import ConfigError, FlowError
from inferno_cli.interpolation import study
from inferno_cli.interpolation.flow import Trainer, density
from inferno_cli.interpolation.pulls import compare, spreads
from inferno_cli.training.flows import require_zuko

NOTHING = np.array([], dtype=np.intp)


def quiet(steps: float = 1, said: str = "", *, is_line: bool | None = None) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def found():
    """Flows of nine means, of which the one in the middle is held out, and those of two folds."""
    config = configured("means", "held_out=[0, 0]", "folds=2")
    grid = small_grid("held_out=[0, 0]")
    return config, grid, study.train(grid, config, "cpu", quiet)


def test_the_density_of_a_flow_integrates_to_one(found):
    _, _, flows = found
    axis = np.linspace(-7, 7, 141)
    x, y = np.meshgrid(axis, axis)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    members = flows.ensemble.log_density(points, np.array([0.0, 0.0]))

    np.testing.assert_allclose(np.exp(members).sum(axis=1) * 0.1**2, 1.0, atol=2e-3)
    assert np.exp(density(members)).sum() * 0.1**2 == pytest.approx(1.0, abs=2e-3)


def test_the_events_of_a_flow_have_its_density(found):
    """The share of events on one side of a line, counted and integrated."""
    _, _, flows = found
    at = np.array([1.0, 0.0])
    drawn = flows.ensemble.sample(at, 40000, seed=1, name="test")
    axis = np.linspace(-7, 9, 161)
    x, y = np.meshgrid(axis, axis)
    weights = np.exp(flows.ensemble.log_density(np.stack([x.ravel(), y.ravel()], axis=1), at)) * 0.1**2

    counted = (drawn[..., 0] < 0.45).mean(axis=1)
    integrated = weights[:, x.ravel() < 0.45].sum(axis=1)
    np.testing.assert_allclose(counted, integrated, atol=0.01)


def test_a_point_that_was_held_out_is_found_between_the_others(found):
    config, grid, flows = found
    compared = study.compared(grid, flows, ("x", "y"), config.pulls, 1, config.dataset.log_density)
    groups = compared.groups()

    held_out = groups["held_out"]
    assert held_out.holds
    assert abs(held_out.pulls["larger"].mean) < 0.5
    assert held_out.pulls["larger"].width < 2
    assert held_out.divergence is not None
    assert 0 < held_out.divergence < 0.05
    numbers = {name: group.n_points for name, group in groups.items()}
    assert numbers == {"training": 8, "held_out": 1, "left_out_inside": 4, "left_out_edge": 4}


def test_the_same_seed_makes_the_same_flows_and_events_bit_for_bit(found):
    config, grid, flows = found
    few = config.flow.model_copy(update={"iterations": 5})
    trainers = [Trainer(grid, few, seed, "cpu") for seed in (1, 1, 2)]
    one, two, other = (trainer.run([trainer.job(NOTHING, 0), trainer.job(NOTHING, 1)], quiet) for trainer in trainers)
    first, second = (flows.ensemble.sample(grid.at[0], 100, 1, "a") for _ in range(2))

    assert [flow.losses for flow in one] == [flow.losses for flow in two]
    assert [flow.losses for flow in one] != [flow.losses for flow in other]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, flows.ensemble.sample(grid.at[0], 100, 1, "b"))


def test_members_differ(found):
    _, grid, flows = found
    first, second = flows.ensemble.log_density(np.zeros((3, 2)), grid.at[0])

    assert not np.allclose(first, second)


def test_a_fold_sees_nothing_of_the_points_that_it_leaves_out():
    """Events of a point that are moved far away change no flow that leaves it out."""
    config = configured("means", "flow.iterations=6", "flow.validate_every=3")
    grid = small_grid()
    trainer = Trainer(grid, config.flow, 1, "cpu")
    job = trainer.job(np.array([4]), 0)
    (before,) = trainer.run([job], quiet)
    for events, table in ((trainer.train, grid.train), (trainer.validation, grid.validation)):
        events.features[table.point == 4] += 100.0
    (after,) = trainer.run([job], quiet)
    (seen,) = trainer.run([trainer.job(NOTHING, 0)], quiet)

    assert before.losses == after.losses
    assert seen.losses != after.losses


def test_weights_count():
    """Events of two clusters, one of which has no weight: the flow finds the other."""
    config = configured("means", "flow.iterations=60")
    grid = small_grid()
    trainer = Trainer(grid, config.flow, 1, "cpu")
    for events in (trainer.train, trainer.validation):
        is_left = torch.arange(len(events.weights)) % 2 == 0
        events.features[is_left, 0] -= 20.0
        events.weights[is_left] = 0.0
    ensemble = trainer.ensemble(trainer.run([trainer.job(NOTHING, 0)], quiet))

    assert ensemble.sample(grid.at[4], 2000, 1, "x")[0, :, 0].min() > -10


def test_a_diverged_training_is_an_error():
    config = configured("means", "flow.learning_rate=1e12", "flow.iterations=30", "flow.validate_every=5")
    trainer = Trainer(small_grid(), config.flow, 1, "cpu")

    with pytest.raises(FlowError, match=r"lower its learning_rate"):
        trainer.run([trainer.job(NOTHING, 0)], quiet)


def test_without_zuko_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "zuko":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)

    with pytest.raises(ConfigError, match=r"pip install 'inferno-cli\[flows\]'"):
        require_zuko()


def test_pulls_of_a_wrong_density_fail(found):
    """Flows at another point than that of the simulation: the judgement can fail."""
    _, grid, flows = found

    events, weights = grid.template.of(4)
    drawn = flows.ensemble.sample(grid.at[0], 5000, 1, "wrong")
    pulls = compare(events, weights, drawn, bins=10, half_range=2.5).pulls(10)

    assert spreads([pulls])["larger"].width > 2
