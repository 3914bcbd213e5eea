"""What makes two runs the same."""

from __future__ import annotations

from typing import Any

from inferno_cli.runs.points import identity, point_of_training


def settings(unblind: Any) -> dict[str, Any]:
    return {"model": {"name": "bce"}, "seed": 1, "dataset": {"path": "here"}, "unblind": unblind}


def test_a_blinded_run_does_not_stand_for_one_that_is_not() -> None:
    points = {point_of_training(settings(unblind), None) for unblind in (False, "sidebands", True)}
    assert len(points) == 3


def test_what_is_shown_is_no_other_measurement() -> None:
    """The network of a blinded run is that of ``trained_in`` beside an unblinded one with the same configuration."""
    flat = {"model.name": "bce", "seed": 1}
    assert identity(flat | {"unblind": False}) == identity(flat | {"unblind": True}) == identity(flat)
