"""Weight expressions, on TTrees and on RNTuples."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load, ntuples, small_trees, write

from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError
from inferno_cli.events.root.rows import Formula, Rows
from inferno_cli.events.root.trees import opened

A, B, WEIGHT, GEN = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 11.0]), np.array([0.5, 2.0, 4.0]), np.full(3, 9.0)
BRANCHES = {"a": A, "b": B, "weight": WEIGHT, "weight_up": 3 * B, "my_weight": 5 * B, "gen-weight": GEN}


@pytest.fixture(params=[False, True], ids=["TTree", "RNTuple"])
def values(request, tmp_path):
    """Evaluate an expression on the branches above; a nominal makes it one of a systematic."""
    path = write(tmp_path / "events.root", {"t": BRANCHES}, rntuple=request.param)

    def evaluate(expression: str, nominal: str | None = None) -> np.ndarray:
        of = None if nominal is None else Formula(nominal, "dataset.weight")
        with opened(path, "t") as tree:
            return Rows(tree, "tree 't'").values(Formula(expression, "dataset.weight", of))

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


@pytest.mark.parametrize("rntuple", [False, True], ids=["TTree", "RNTuple"])
def test_the_arithmetic_is_in_double_precision_whatever_the_branches(tmp_path, rntuple):
    table = {
        "a": np.float32([0.1, 0.2, 0.3]),
        "b": np.float32([0.3, 0.7, 0.9]),
        "u": np.array([0, 1, 1], dtype=np.uint8),
        "t": np.array([True, False, True]),
        "n": np.array([100, -100, 127], dtype=np.int8),
    }
    with opened(write(tmp_path / "events.root", {"t": table}, rntuple=rntuple), "t") as tree:
        for expression, expected in (
            ("a * b", [np.float64(x) * np.float64(y) for x, y in zip(table["a"], table["b"], strict=True)]),
            ("1 - 2 * u", [1, -1, -1]),
            ("1 - 2 * t", [-1, 1, -1]),
            ("n + n", [200, -200, 254]),
        ):
            assert Rows(tree, "tree 't'").values(Formula(expression, "dataset.weight")).tolist() == expected


@pytest.mark.parametrize(
    ("expression", "nominal", "expected"),
    [
        ("weight * b", "weight * a", WEIGHT * A * B),
        ("weight", "weight * a", WEIGHT * A),
        ("b*weight", "a + 1", B * (A + 1)),
        ("weight * weight_up / my_weight", "a", A * 3 / 5),
        ("(weight * 2)", "a", 2 * A),
        ("-weight ** 2 - weight", "a - 3", -((A - 3) ** 2) - (A - 3)),
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


def test_a_name_with_a_dot_is_that_of_a_branch(tmp_path):
    with opened(write(tmp_path / "events.root", {"t": {"jet.pt": A, "jet": B}}), "t") as tree:
        assert Rows(tree, "tree 't'").values(Formula("2 * jet.pt", "dataset.weight")).tolist() == [2, 4, 6]
        with pytest.raises(BranchNotFoundError, match=r"branch 'jet.real' .* known: jet, jet.pt"):
            Rows(tree, "tree 't'").values(Formula("2 * jet.real", "dataset.weight"))


def test_a_branch_below_another_is_found_by_its_own_name(tmp_path):
    import awkward as ak
    import uproot

    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("t", {"gen": ak.type(ak.Array([{"weight": 1.0}])).content}).extend(
            {"gen": ak.Array([{"weight": 3.0}, {"weight": 4.0}])}
        )
    with opened(tmp_path / "events.root", "t") as tree:
        (name,) = (key for key in tree.keys() if key.endswith("weight"))  # noqa: SIM118
        assert Rows(tree, "tree 't'").values(Formula(f"2 * get({name!r})", "dataset.weight")).tolist() == [6, 8]


@pytest.mark.parametrize("expression", ["c * a", "get('c')", "c", "c.real * a", "a.real", "sqrt * a"])
def test_a_missing_branch_is_named(values, expression):
    name = {"c.real * a": "c.real", "a.real": "a.real", "sqrt * a": "sqrt"}.get(expression, "c")
    with pytest.raises(BranchNotFoundError) as caught:
        values(expression)
    assert f"branch '{name}' in the expression {expression!r} is missing from tree 't'" in str(caught.value)
    assert str(caught.value).endswith("Fix dataset.weight")


def test_a_missing_branch_of_the_nominal_is_to_be_fixed_there(values):
    with pytest.raises(BranchNotFoundError, match=r"branch 'c' in the expression 'c / a' .* Fix dataset\.weight"):
        values("weight * b", "c / a")


@pytest.mark.parametrize("expression", ["a *", "a; b", "(a, b)", "'text'", "weight(a)", "a[:2]", "exq(a)"])
def test_what_gives_no_number_per_row_is_an_error(values, expression):
    with pytest.raises(ConfigError, match=r"^dataset\.weight: the expression .* cannot be used: ") as caught:
        values(expression)
    assert repr(expression) in str(caught.value)


def test_what_has_no_meaning_for_the_values_is_an_error(values):
    with pytest.raises(DatasetError, match=r"'a & weight' cannot be evaluated on tree 't': & .*Fix dataset\.weight"):
        values("a & weight")


def test_a_value_that_is_not_finite_is_named_with_its_expression(tmp_path):
    config = ntuples(write(tmp_path / "small.root", small_trees()), weight="w / (event - 17)")
    with pytest.raises(
        DatasetError, match=r"weight 'w / \(event - 17\)' of tree 'ttbar' .*: 1 of 240 .* in row 16: inf"
    ):
        load(config)
