"""The language of expressions: what it computes, and that nothing else can be made to run."""

from __future__ import annotations

import builtins
import math
import time

import awkward as ak
import numpy as np
import pytest
from conftest import load, ntuples, small_trees, write
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from inferno_cli.config.load import resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError
from inferno_cli.expressions import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_STEPS, REDUCTIONS, Lists, parse

A, B = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 11.0])
COLUMNS = {
    "a": A,
    "b": B,
    "weight": np.array([0.5, 2.0, 4.0]),
    "isGood": np.array([True, False, True]),
    "passed": np.array([1, 0, 1], dtype=np.uint8),
    "flags": np.array([1, 4, 6], dtype=np.int32),
    "small": np.array([100, -100, 127], dtype=np.int8),
    "jet.pt": np.array([30.0, 40.0, 50.0], dtype=np.float32),
    "gen-weight": np.full(3, 9.0),
    "sqrt": np.full(3, 2.0),
    "nothing": np.array([0.0, np.nan, np.inf]),
}


# ------------------------------------------------------------------------------------------------ what it computes
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [1, 2, 3]),
        ("2", 2),
        ("0x10 + 1_000 + .5", 1016.5),
        ("True + True", 2),
        ("2 * a + b / 4 - -a", [4.25, 7.75, 11.75]),
        ("2 + 3 * 4 ** 2 / 8 - 1", 7),
        ("-a ** 2", [-1, -4, -9]),
        ("2 ** 3 ** 2", 512),
        ("2 ** -1", 0.5),
        ("-7 // 2 + -7 % 2", -3),
        ("b % a", [0, 1, 2]),
        ("(a + b) * (a - b)", [-24, -45, -112]),
        ("a > 1", [0, 1, 1]),
        ("1 < a < 3", [0, 1, 0]),
        ("1 < a < b < 10", [0, 1, 0]),
        ("a == 2", [0, 1, 0]),
        ("a != 2", [1, 0, 1]),
        ("(a >= 2) * (b <= 7)", [0, 1, 0]),
        ("a > 1 and b < 11 or a == 1", [1, 1, 0]),
        ("not a > 1", [1, 0, 0]),
        ("not flags - 4", [0, 1, 0]),
        ("(a > 1) & (b < 11)", [0, 1, 0]),
        ("(a > 2) | (b < 7)", [1, 0, 1]),
        ("(a > 1) ^ (b < 11)", [1, 0, 1]),
        ("a * ~(a > 1)", [1, 0, 0]),
        ("~isGood", [0, 1, 0]),
        ("1 - 2 * isGood", [-1, 1, -1]),
        ("-isGood", [-1, 0, -1]),
        ("isGood & passed", [1, 0, 1]),
        ("(a > 2) & passed", [0, 0, 1]),
        ("flags & 4", [0, 4, 4]),
        ("(flags & 4) != 0", [0, 1, 1]),
        ("flags ^ 5 | 8", [12, 9, 11]),
        ("a if a > 1 else b", [5, 2, 3]),
        ("0.9 if b < 6 else 1.1 if b < 8 else 1.3", [0.9, 1.1, 1.3]),
        ("where(flags & 1, a, 0)", [1, 0, 0]),
        ("where(a > 1, sqrt(b), 0)", [0, math.sqrt(7), math.sqrt(11)]),
        ("where(a > 1, log(a - 1), -1)", [-1, 0, math.log(2)]),
        ("small + small", [200, -200, 254]),
        ("jet.pt / 10", [3, 4, 5]),
        ("get('gen-weight') / get( \"a\" )", [9, 4.5, 3]),
        ("sqrt * sqrt(a + 3)", [4, 2 * math.sqrt(5), 2 * math.sqrt(6)]),
        ("(a\n + b)\n", [6, 9, 14]),
        ("a / 0", [np.inf, np.inf, np.inf]),
        ("(a - 2) / 0", [-np.inf, np.nan, np.inf]),
        ("log(a - 2)", [np.nan, -np.inf, 0]),
        ("exp(1000 * a)", [np.inf, np.inf, np.inf]),
        ("(-a) ** 0.5", [np.nan, np.nan, np.nan]),
        ("isfinite(nothing) + 2 * isnan(nothing) + 4 * isinf(nothing)", [1, 2, 4]),
        ("min(a, 2) + max(a, b, 10)", [11, 12, 13]),
        ("clip(b, 6, 10)", [6, 7, 10]),
        ("round(b / 2)", [2, 4, 6]),
        ("where(small > 0, sign(small), 0)", [1, 0, 1]),
    ],
)
def test_what_an_expression_is_worth(text, expected):
    found = parse(text).evaluate(COLUMNS)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_that_of_the_math_module(name):
    """Where Python has the function, as its own name or another, at one point; else a formula."""
    x, y = 0.3, -1.7
    others = {
        **{"abs": abs, "absolute": abs, "neg": lambda v: -v, "negative": lambda v: -v, "square": lambda v: v * v},
        **{"sign": lambda v: math.copysign(1, v), "signbit": lambda v: v < 0, "round": round, "rint": round},
        **{"arctan2": math.atan2, "power": math.pow, "pow": math.pow, "minimum": min, "maximum": max},
        **{"fmin": min, "fmax": max, "min": min, "max": max, "exp2": lambda v: 2**v, "cbrt": lambda v: v ** (1 / 3)},
        **{"clip": lambda v, low, high: max(low, min(v, high)), "where": lambda c, v, w: v if c else w},
        **{"logical_not": lambda v: not v, "logical_and": lambda v, w: bool(v) and bool(w)},
        **{"logical_or": lambda v, w: bool(v) or bool(w), "logical_xor": lambda v, w: bool(v) != bool(w)},
    }
    function = others.get(name) or getattr(math, name.replace("arc", "a"))
    values = [x + 1, y] if name in ("acosh", "arccosh", "pow", "power") else [x, y]
    values = [*values, 5.0][: max(FUNCTIONS[name].least, 1)]
    columns = {f"v{i}": np.array([value]) for i, value in enumerate(values)}
    found = parse(f"{name}({', '.join(columns)})").evaluate(columns)
    assert found.tolist() == pytest.approx([float(function(*values))], rel=1e-14)


NUMBERS = st.sampled_from(["a", "b", "0.5", "3", "(a - b)"])
TEXTS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join)
        | st.tuples(inner, st.sampled_from(["<", ">=", "=="]), inner).map(lambda x: f"({' '.join(x)})")
        | st.tuples(inner, st.sampled_from(["+", "*"]), inner).map(lambda x: f"-({' '.join(x)})")
        | st.tuples(inner, inner, inner).map(lambda x: f"({x[0]} if {x[1]} > 0 else {x[2]})")
    ),
    max_leaves=12,
)


@given(TEXTS, st.floats(-10, 10), st.floats(-10, 10))
def test_the_arithmetic_is_that_of_python_in_double_precision(text, a, b):
    found = parse(text).evaluate({"a": np.array([a]), "b": np.array([b])})
    assert float(found.reshape(-1)[0]) == float(eval(text, {"a": a, "b": b}))


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_a_sign_is_right_whatever_the_type_of_its_branch(dtype):
    """numpy's unsigned integers wrap: 1 - 2 * 1 would be 255, 65535 or 4294967295; ROOT has -1."""
    columns = {"w": np.array([0.5, 0.25], dtype=np.float32), "neg": np.array([0, 1]).astype(dtype)}
    assert parse("w*(1-2*neg)").evaluate(columns).tolist() == [0.5, -0.25]


def test_small_integers_and_floats_do_not_overflow():
    columns = {"n": np.array([200], dtype=np.uint8), "x": np.array([1e30], dtype=np.float32)}
    assert parse("n * n").evaluate(columns).tolist() == [40000]
    assert parse("x * x / 1e30").evaluate(columns).tolist() == pytest.approx([1e30], rel=1e-7)


def test_many_rows_are_evaluated_in_blocks():
    random = np.random.default_rng(1)
    a, b = random.normal(size=100_001), random.integers(0, 2, 100_001).astype(bool)
    expression = parse("where(b, a, 0) * f", given=["f"])
    assert (expression.branches, expression.given) == (("b", "a"), ("f",))
    np.testing.assert_array_equal(expression.evaluate({"a": a, "b": b}, {"f": 2 * a}), b * a * 2 * a)


def test_a_name_that_is_given_is_no_branch():
    expression = parse("weight * get('weight') * weight.up", given=["weight"])
    assert (expression.branches, expression.given) == (("weight", "weight.up"), ("weight",))
    columns = {"weight": np.array([2.0]), "weight.up": np.array([3.0])}
    assert expression.evaluate(columns, {"weight": np.array([5.0])}).tolist() == [30]
    assert parse("weight").branches == ("weight",)


def test_a_long_ordinary_expression_is_none_too_long():
    """The root mean square of a hundred PDF members, and a scale factor in sixty bins."""
    members = {f"pdf_{i}": np.array([float(i)]) for i in range(100)}
    text = "sqrt((" + " + ".join(f"({name} - 1) ** 2" for name in members) + ") / 100)"
    expected = math.sqrt(sum((i - 1) ** 2 for i in range(100)) / 100)
    assert parse(text).evaluate(members).tolist() == pytest.approx([expected])
    text = "".join(f"where(x < {i}, {i}, " for i in range(60)) + "0" + ")" * 60
    assert parse(text).evaluate({"x": np.array([33.5, 99])}).tolist() == [34, 0]


# ------------------------------------------------------------------------------------------- lists of each event
PT, ETA = [[50.0, 35.0, 20.0], [], [31.0]], [[-1.0, 2.0, 0.5], [], [-3.0]]


def lists(values, dtype=np.float32):
    return Lists.of(ak.values_astype(ak.Array(values), dtype))


JETS = {
    **COLUMNS,
    "pt": lists(PT),
    "eta": lists(ETA),
    "tag": lists([[1, 0, 1], [], [0]], np.bool_),
    "charge": lists([[1, -1, 1], [], [-1]], np.int8),
    "short": lists([[1.0], [], [2.0]]),
    "holes": lists([[1.0, np.nan], [2.0], [3.0]]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(pt)", [105, 0, 31]),
        ("sum(pt[pt > 30])", [85, 0, 31]),
        ("sum(pt > 30)", [2, 0, 1]),
        ("sum(charge)", [1, 0, -1]),
        ("count(pt)", [3, 0, 1]),
        ("count(pt[(pt > 30) & (abs(eta) < 1.5)])", [1, 0, 0]),
        ("count(pt[pt > 30 and not tag])", [1, 0, 1]),
        ("count(pt[tag])", [2, 0, 0]),
        ("count(pt[pt > 30][eta[pt > 30] < 0])", [1, 0, 1]),
        ("count(pt[a > 1])", [0, 0, 1]),
        ("sum(pt / a) + b", [110, 7, 11 + 31 / 3]),
        ("sum(a * (pt > 0))", [3, 0, 3]),
        ("first(pt, -1)", [50, -1, 31]),
        ("first(pt, default=a)", [50, 2, 31]),
        ("first(pt[eta > 0], 0)", [35, 0, 0]),
        ("first(charge, 0) + 0.5", [1.5, 0.5, -0.5]),
        ("max(abs(eta), default=-1)", [2, -1, 3]),
        ("min(pt, default=0)", [20, 0, 31]),
        ("max(sum(pt), b)", [105, 7, 31]),
        ("sum(max(pt, 33, a))", [50 + 35 + 33, 0, 33]),
        ("any(pt > 40)", [1, 0, 0]),
        ("all(pt > 30)", [0, 1, 1]),
        ("any(tag) and not all(tag)", [1, 0, 0]),
        ("sum(pt * eta) ** 2", [(-50 + 70 + 10) ** 2, 0, 93**2]),
        ("sum(where(eta > 0, pt, -pt))", [5, 0, -31]),
        ("sum(pt if eta > 0 else 0)", [55, 0, 0]),
        ("sum(holes)", [np.nan, 2, 3]),
        ("max(holes)", [np.nan, 2, 3]),
        ("sum(holes[not isnan(holes)])", [1, 2, 3]),
        ("get('pt')[get('pt') > 1] if 0 else sum(pt)", None),
    ],
)
def test_what_is_made_of_the_list_of_an_event(text, expected):
    if expected is None:
        with pytest.raises(DatasetError, match="it gives a list for each event"):
            parse(text).evaluate(JETS)
        return
    found = parse(text).evaluate(JETS)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pt", "it gives a list for each event, expected one number"),
        ("pt[pt > 30] * 2", "it gives a list for each event, expected one number"),
        ("max(pt, 0)", "it gives a list for each event, expected one number"),
        ("first(pt)", r"first has no value .* is empty, as it is in 1 of 3 .* first\(\.\.\., default=0\)"),
        ("max(pt[pt > 40])", "max has no value .* in 2 of 3"),
        ("where(count(pt) > 0, min(pt), 0)", "min has no value"),
        ("sum(pt * short)", "two lists of one event have different lengths, in 1 of 3 events"),
        ("sum(pt[pt > 30] * eta)", "different lengths"),
        ("count(pt[short > 0])", "different lengths"),
        ("count(pt > 30)", r"write sum\(Jet_pt > 30\)"),
        ("sum(a)", "sum of one argument takes a list"),
        ("max(a)", "max of one argument takes a list"),
        ("sum(pt) > sum(b)", "sum of one argument takes a list"),
        ("a[a > 1]", "takes numbers from the list of an event"),
        ("a[pt > 1]", "takes numbers from the list of an event"),
        ("sum(pt[eta])", "takes a comparison, such as"),
        ("first(pt, default=eta)", "the default of first is a list"),
        ("sum(pt & 1.5)", "& takes comparisons"),
    ],
)
def test_lists_that_do_not_go_together_are_one_error(text, why):
    with pytest.raises(DatasetError, match=why):
        parse(text).evaluate(JETS)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_every_reduction_is_that_of_python_in_every_block(name):
    random = np.random.default_rng(2)
    counts = random.integers(1, 4, 70_001)
    array = ak.unflatten(random.normal(size=counts.sum()), counts)
    python = {"first": lambda x: x[0], "count": len}.get(name) or getattr(builtins, name, None)
    expected = [python(item) for item in array.to_list()]
    np.testing.assert_allclose(parse(f"{name}(x)").evaluate({"x": Lists.of(array)}), expected, rtol=1e-12, atol=1e-12)


def test_some_events_of_lists():
    found = lists(PT)
    assert found[np.array([2, 0])].array.to_list() == [PT[2], PT[0]]
    assert (found[1:].array.to_list(), found[1:5].ends.tolist(), len(found[3:])) == (PT[1:], [0, 0, 1], 0)


# --------------------------------------------------------------------------------------------- what is not clear
@pytest.mark.parametrize("text", ["a > 1 & b < 11", "flags & 4 != 0", "where(a > 1 | b < 11, 1, 2)", "(a < 1 ^ 2)"])
def test_bits_beside_a_comparison_need_brackets(text):
    """Python takes & before <, and C++ after it."""
    with pytest.raises(ConfigError, match="put brackets around comparisons"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a & 0.5", "& takes comparisons, or whole numbers"),
        ("nothing | 1", r"\| takes comparisons, or whole numbers"),
        ("(a > 1) & flags", "numbers other than 0 and 1"),
        ("~passed", "`not x`"),
    ],
)
def test_bits_of_what_has_none_are_an_error(text, why):
    with pytest.raises(DatasetError, match=why):
        parse(text).evaluate(COLUMNS)


@pytest.mark.parametrize("text", ["w#c", "w # the weight", "(w#c)", "(a # one\n + b)", "get('a')#c", "'a#", "#"])
def test_a_comment_is_no_part_of_an_expression(text):
    """Python would read the branch w where `w#c` is meant."""
    with pytest.raises(ConfigError, match=r"holds '#', and Python would not read what follows\. .*get\('NAME'\)"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "word", "read"),
    [
        ("\u00b5*1", "\u00b5", "\u03bc"),
        ("1 + \ufb01", "\ufb01", "fi"),
        ("jet.\u00b5", "\u00b5", "\u03bc"),
        ("2*e\u0301", "e\u0301", "\u00e9"),
        ("w\u00b2", "w\u00b2", "w2"),
    ],
)
def test_a_name_that_python_would_change_is_refused(text, word, read):
    with pytest.raises(ConfigError, match=f"would read '{word}' as '{read}', another name; write get\\('{word}'\\)"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "branches"),
    [
        ("get('w#c') + get(\"#\")", ("w#c", "#")),
        ("2 * get('\u00b5') + \u03bc", ("\u00b5", "\u03bc")),
        ("get('it\\'s #1') + \u00e9", ("it's #1", "\u00e9")),
    ],
)
def test_in_quotes_every_name_is_as_it_is_written(text, branches):
    assert parse(text).branches == branches


# --------------------------------------------------------------------------------------------------- nothing runs
HOSTILE = [
    # attributes, and the ways from an object to the interpreter
    "w.__class__",
    "w.tofile('CANARY')",
    "get('w').tofile('CANARY')",
    "(w).real",
    "().__class__.__base__.__subclasses__()",
    "(1).__class__",
    "sqrt.__class__",
    "where.__globals__",
    "w.__array_interface__",
    "abs.__self__.open('CANARY', 'w')",
    "get.__globals__['os'].system('touch CANARY')",
    "__builtins__",
    "__import__('os').system('touch CANARY')",
    "get('__import__')('os').system('touch CANARY')",
    "open('CANARY', 'w')",
    'exec(\'open("CANARY", "w")\')',
    "eval('1')",
    "getattr(w, 'tofile')('CANARY')",
    "globals()",
    "vars()",
    "print(w)",
    "compile('1', '', 'eval')",
    "function['sqrt'](w)",
    # lambdas, comprehensions and what else makes a scope
    "(lambda: 0)()",
    "(lambda: 0).__globals__['__builtins__']['open']('CANARY', 'w')",
    "(lambda w: w)(w)",
    "[x for x in w]",
    "sum(x for x in w)",
    "{x for x in w}",
    "{x: x for x in w}",
    "(y := w)",
    "(yield w)",
    "await w",
    # subscripts and containers
    "w[0]",
    "w[:2]",
    "w[w > 0, 1]",
    "w[0 + 0]",
    "w[True]",
    "w[w > 0].tofile('CANARY')",
    "w[w > 0]()",
    "sum(w, 1)",
    "sum()",
    "sum(*w)",
    "first(w, w, w)",
    "first(w, other=1)",
    "first(default=1)",
    "max(w, **w)",
    "max(w, key=abs)",
    "any(x for x in w)",
    "w[" * 150 + "w" + "]" * 150,
    "sum(w[(lambda: w)()])",
    "w['x']",
    "[w]",
    "[w][0]",
    "(w, w)",
    "{w}",
    "{'a': w}",
    "*w",
    # texts
    "'text'",
    "f'{w}'",
    'f\'{open("CANARY", "w")}\'',
    "b'w'",
    "get(f'{w}')",
    "get('w', 'w')",
    "get(w)",
    "get(name='w')",
    "get('no' if w else 'w')",
    "'a' * 10**9",
    # calls
    "w(1)",
    "sqrt(w)(1)",
    "abs(*w)",
    "where(w > 0, x=1, y=2)",
    "sqrt()",
    "log(w, where=w)",
    # statements, other operators and kinds of numbers
    "import os",
    "w; w",
    "w = 1",
    "del w",
    "w @ w",
    "w << 9999999999",
    "w is w",
    "w in w",
    "1j",
    "None",
    "...",
    "`w`",
    "w\x00",
    "$(touch CANARY)",
    "",
    # powers and sizes
    "9**9**9",
    "2**2**2**2**2**2**2",
    "10**400",
    "1e999",
    "1" + "0" * 4999,
    "9" * MAX_LENGTH,
    "(" * 10_000 + "w" + ")" * 10_000,
    "-" * 10_000 + "w",
    "~" * (MAX_LENGTH - 1) + "w",
    "not " * 1000 + "w",
    "abs(" * 150 + "w" + ")" * 150,
    "[" * 10_000,
    "w+" * (MAX_STEPS // 2) + "w",
    "**".join("w" * 1000),
    "w if w else " * 300 + "w",
    "w" + ".a" * 2000,
    "w<" * 2000 + "w",
    "lambda:" * 600 + "w",
    "min(w," + "w," * 2400 + ")",
    "w" * (MAX_LENGTH + 1),
    "(" * (MAX_DEPTH + 1) + "w" + ")" * (MAX_DEPTH + 1),
]


@pytest.fixture(scope="module")
def load_with(tmp_path_factory):
    """Validate a configuration as that of a command and of a run's folder is, and read the events."""
    path = write(tmp_path_factory.mktemp("small") / "small.root", small_trees())
    config = ntuples(path).model_dump(mode="json", by_alias=True)

    def load_with(dataset):
        names = list(dataset.get("systematics", {}))
        nuisance = config["nuisance"] | {"train": names, "fit": names}
        changed = config | {"dataset": config["dataset"] | dataset, "nuisance": nuisance}
        return load(resolve(TrainConfig, OmegaConf.create(changed)))

    return load_with


def places(text):
    """The keys of a dataset that take an expression, each with this one."""
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    systematic = {"kind": "weight", "samples": ["ttbar"], "up": "2 * w", "down": "w"}
    yield "dataset.weight", {"weight": text}
    yield "dataset.selection", {"selection": text}
    yield "dataset.samples.QCD.selection", {"samples": samples | {"QCD": {"role": "background", "selection": text}}}
    yield "dataset.features", {"features": {"x": "x", "derived": text}}
    yield "dataset.samples.QCD.weight", {"samples": samples | {"QCD": {"role": "background", "weight": text}}}
    for key in ("up", "down"):
        yield f"dataset.systematics.sf.{key}", {"systematics": {"sf": systematic | {key: text}}, "samples": samples}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:40]))
def test_what_is_not_an_expression_runs_nothing_and_is_refused_at_once(text, load_with, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key, dataset in places(text):
        start = time.process_time()
        with pytest.raises((ConfigError, BranchNotFoundError)) as caught:
            load_with(dataset)
        assert time.process_time() - start < 1
        message = str(caught.value)
        assert key in message
        assert len(message) < 600 + len(text)
        if isinstance(caught.value, ConfigError):
            assert message.count("cannot be used: ") == 1
            assert len(message) < 600
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_expression_is_not_refused_in_these_places(load_with):
    """The test above would pass with a language that takes nothing."""
    for key, dataset in places("abs(w) * (1 + (w > 1))"):
        if "selection" not in key:
            assert load_with(dataset).train
    for _, dataset in places("abs(w) > 0 and x > 0"):
        assert load_with(dataset).train


def test_the_message_says_what_is_wrong_and_what_to_do():
    with pytest.raises(ConfigError, match=r"'sqr' is no function; closest: 'sqrt'\. Write numbers, branches"):
        parse("2 * sqr(w)")
    with pytest.raises(ConfigError, match=r"^the expression 'w\[0\] \* 2' cannot be used: 'w\[0\]' is not of the"):
        parse("w[0] * 2")
    with pytest.raises(ConfigError, match=r"atan2 has 1 arguments, expected 2"):
        parse("atan2(w)")
    with pytest.raises(ConfigError, match=r"'9\*\*9\*\*9' is inf, expected a finite number"):
        parse("w + 9**9**9")
    with pytest.raises(ConfigError, match="get takes the name of a branch in quotes"):
        parse("get(w)")
    with pytest.raises(ConfigError, match=r"it holds the character '\\ud800'"):
        parse("w\ud800")


@pytest.mark.parametrize("text", ["a = 1", "a > 1 and b = 0"])
def test_one_sign_of_equality_is_told(text):
    with pytest.raises(ConfigError, match="cannot be used: = compares nothing, == does"):
        parse(text)


def test_a_default_is_none():
    with pytest.raises(ConfigError, match=r"cannot be used: .*(invalid syntax|never closed)"):
        parse("first(a, default=0")
