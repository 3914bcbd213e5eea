"""What earlier versions called otherwise."""

from __future__ import annotations

from inferno_cli.runs.earlier import completed


def test_the_shape_without_its_yield_was_called_normalisation_false():
    systematics = {"a": {"kind": "shape", "normalisation": False}, "b": {"kind": "shape", "normalisation": True}}
    found = completed({"dataset": {"name": "x", "systematics": systematics | {"c": {"kind": "free"}}}})
    expected = {"a": {"kind": "shape", "part": "shape"}, "b": {"kind": "shape"}, "c": {"kind": "free"}}
    assert found == {"dataset": {"name": "x", "systematics": expected}}
