"""Weight expressions, on TTrees and on RNTuples."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write

from inferno_cli.errors import BranchNotFoundError, DatasetError
from inferno_cli.events.files import opened
from inferno_cli.events.weights import Weight

A, B, WEIGHT, GEN = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 11.0]), np.array([0.5, 2.0, 4.0]), np.full(3, 9.0)
BRANCHES = {"a": A, "b": B, "weight": WEIGHT, "weight_up": 3 * B, "my_weight": 5 * B, "gen-weight": GEN}


@pytest.fixture(params=[False, True], ids=["TTree", "RNTuple"])
def values(request, tmp_path):
    """Evaluate an expression on the branches above; a nominal makes it one of a systematic."""
    path = write(tmp_path / "events.root", {"t": BRANCHES}, rntuple=request.param)

    def evaluate(expression: str, nominal: str | None = None) -> np.ndarray:
        with opened(path, "t") as tree:
            return Weight(expression, "dataset.weight", nominal).values(tree, "tree 't'")

    return evaluate


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", A),
        ("2", [2, 2, 2]),
        ("a * b + weight", A * B + WEIGHT),
        ("where(a > 1, sqrt(b), 0)", [0, 7**0.5, 11**0.5]),
        ("get('gen-weight') / a", GEN / A),
        ("gen-weight", GEN),
        ("(a > 1) & (b < 11)", [0, 1, 0]),
    ],
)
def test_an_expression_of_branches(values, expression, expected):
    found = values(expression)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_the_arithmetic_is_that_of_the_branches(tmp_path):
    a, b = np.float32([0.1, 0.2]), np.float32([0.3, 0.7])
    with opened(write(tmp_path / "events.root", {"t": {"a": a, "b": b}}), "t") as tree:
        found = Weight("a * b", "dataset.weight").values(tree, "tree 't'")
    np.testing.assert_array_equal(found, (a * b).astype(np.float64))
    assert found[0] != np.float64(a[0]) * np.float64(b[0])


@pytest.mark.parametrize(
    ("expression", "nominal", "expected"),
    [
        ("weight * b", "weight * a", WEIGHT * A * B),
        ("weight", "weight * a", WEIGHT * A),
        ("b*weight", "a + 1", B * (A + 1)),
        ("weight * weight_up / my_weight", "a", A * 3 / 5),
        ("(weight * 2).real", "a", 2 * A),
        ("weight * b", "gen-weight", GEN * B),
        ("gen-weight", "a", GEN),
        ("get('weight') * b", "a", WEIGHT * B),
        ('weight * get("weight")', "a", WEIGHT * A),
        ("a * b", "weight", A * B),
        ("weight * a", "2", 2 * A),
    ],
)
def test_weight_is_the_nominal_expression_also_where_a_branch_has_that_name(values, expression, nominal, expected):
    np.testing.assert_allclose(values(expression, nominal), expected, rtol=1e-15)


def test_a_branch_below_another_is_found_by_its_own_name(tmp_path):
    import awkward as ak
    import uproot

    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("t", {"gen": ak.type(ak.Array([{"weight": 1.0}])).content}).extend(
            {"gen": ak.Array([{"weight": 3.0}, {"weight": 4.0}])}
        )
    with opened(tmp_path / "events.root", "t") as tree:
        (name,) = (key for key in tree.keys() if key.endswith("weight"))  # noqa: SIM118
        assert Weight(f"2 * get({name!r})", "dataset.weight").values(tree, "tree 't'").tolist() == [6, 8]


@pytest.mark.parametrize("expression", ["c * a", "get('c')", "c", "exq(a)"])
def test_a_missing_branch_is_named(values, expression):
    name = "exq" if "exq" in expression else "c"
    with pytest.raises(BranchNotFoundError) as caught:
        values(expression)
    assert f"branch '{name}' in the expression {expression!r} is missing from tree 't'" in str(caught.value)
    assert str(caught.value).endswith("Fix dataset.weight")


@pytest.mark.parametrize("expression", ["a *", "a; b", "(a, b)", "'text'", "weight(a)", "a[:2]"])
def test_what_gives_no_number_per_row_is_an_error(values, expression):
    with pytest.raises(DatasetError, match=r"cannot be evaluated on tree 't': .*Fix dataset\.weight") as caught:
        values(expression)
    assert repr(expression) in str(caught.value)
