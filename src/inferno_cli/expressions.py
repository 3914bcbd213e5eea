"""Expressions of branches: a small arithmetic language that can compute, and nothing else.

A text is parsed into steps on a stack of numbers, so that nothing of Python is left to run: what is not a number, a
branch, one of the operators or one of ``FUNCTIONS`` is refused when the configuration is read. Everything is float64:
unsigned integers do not wrap, and 8-bit ones do not overflow. An int64 beyond 2^53 is no longer exact.
"""

from __future__ import annotations

import ast
import functools
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError, DatasetError, closest

MAX_LENGTH, MAX_DEPTH, MAX_STEPS = 5000, 100, 2000
"""Characters, levels of brackets, and numbers and operations: more than anybody writes, and harmless to work on."""
EXACT_INTEGERS = 2.0**53
"""Below this a float64 counts every integer."""
BLOCK = 32_768
"""Rows that are worked on together: what lies between two steps stays in the cache of the processor."""
GETTER = "get"
"""``get('gen-weight')`` is the branch of this name, for names that Python would not read as one."""
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*["]""")
"""A text in quotes."""
WORD = re.compile(r"[^\s()\[\]{}.,:=<>!+*/%&|^~@;-]+")
"""What stands between blanks, operators and brackets."""

Value = Any
"""A scalar or an array, either of float64 or, as the result of a comparison, of booleans."""


# ------------------------------------------------------------------------------------------- what can be computed
def _number(value: Value) -> Value:
    """Take true and false as 1 and 0."""
    return value.astype(np.float64, copy=False)


def _truth(value: Value) -> Value:
    """Take every number but 0 as true."""
    return value if value.dtype == np.bool_ else value != 0


def _of_numbers(compute: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *values: compute(*map(_number, values))


def _reduced(compute: Callable[[Value, Value], Value], take: Callable[[Value], Value]) -> Callable[..., Value]:
    """Apply a function of two values to the first two of any number, to that and the third, and so on."""
    return lambda *values: functools.reduce(compute, map(take, values))


def _chained(comparisons: list[Callable[[Value, Value], Value]]) -> Callable[..., Value]:
    """Compare each value with the next, as ``0 < x < 1`` does."""

    def compute(*values: Value) -> Value:
        numbers = [_number(value) for value in values]
        found = comparisons[0](numbers[0], numbers[1])
        for compare, left, right in zip(comparisons[1:], numbers[1:], numbers[2:], strict=False):
            found = found & compare(left, right)
        return found

    return compute


def _bitwise(compute: Callable[[Value, Value], Value], symbol: str) -> Callable[..., Value]:
    """Combine comparisons, or the bits of whole numbers."""

    def bits(value: Value) -> Value:
        value = _number(value)
        if not np.all((np.abs(value) < EXACT_INTEGERS) & (value == np.trunc(value))):
            raise DatasetError(f"{symbol} takes comparisons, or whole numbers below 2^53")
        return value.astype(np.int64)

    def combine(left: Value, right: Value) -> Value:
        truths = [value for value in (left, right) if value.dtype == np.bool_]
        if len(truths) == 2:
            return compute(left, right)
        for value in (left, right) if truths else ():
            # True is 1: of a comparison and the number 2, `&` would find no common bit.
            if not np.all((value == 0) | (value == 1)):
                raise DatasetError(f"{symbol} takes two comparisons; beside one stand numbers other than 0 and 1")
        return _number(compute(bits(left), bits(right)))

    return combine


def _inverted(value: Value) -> Value:
    if value.dtype != np.bool_:  # of the integer 1 it would be -2, which is true
        raise DatasetError("~ takes comparisons and branches of booleans; for numbers write `not x` or `x == 0`")
    return ~value


def _special(name: str) -> Callable[[Value], Value]:
    def compute(value: Value) -> Value:
        from scipy import special

        return getattr(special, name)(value)

    return compute


def _where(condition: Value, then: Value, other: Value) -> Value:
    found: Value = np.where(_truth(condition), _number(then), _number(other))
    return found[()]  # a scalar where all three are


@dataclass(frozen=True)
class Function:
    """A named function of ``least`` to ``most`` arguments, computed element by element."""

    compute: Callable[..., Value]
    least: int = 1
    most: int = 1


_UFUNCS: tuple[np.ufunc, ...] = (
    *(np.absolute, np.fabs, np.negative, np.sign, np.sqrt, np.cbrt, np.square),
    *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p),
    *(np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.arctan2, np.hypot),
    *(np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh),
    *(np.floor, np.ceil, np.trunc, np.rint, np.isnan, np.isinf, np.isfinite, np.signbit),
    *(np.power, np.fmod, np.copysign, np.minimum, np.maximum, np.fmin, np.fmax),
)
_ALSO = {
    **{"abs": "absolute", "neg": "negative", "round": "rint", "pow": "power"},
    **{"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"},
    **{"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"},
}
_BY_NUMPY = {item.__name__: Function(_of_numbers(item), item.nin, item.nin) for item in _UFUNCS}
FUNCTIONS: dict[str, Function] = {
    **_BY_NUMPY,
    **{name: _BY_NUMPY[same] for name, same in _ALSO.items()},
    "erf": Function(_of_numbers(_special("erf"))),
    "erfc": Function(_of_numbers(_special("erfc"))),
    "min": Function(_reduced(np.minimum, _number), 2, MAX_STEPS),
    "max": Function(_reduced(np.maximum, _number), 2, MAX_STEPS),
    "clip": Function(_of_numbers(lambda value, low, high: np.minimum(np.maximum(value, low), high)), 3, 3),
    "where": Function(_where, 3, 3),
    "logical_not": Function(lambda value: ~_truth(value)),
    "logical_and": Function(_reduced(np.logical_and, _truth), 2, 2),
    "logical_or": Function(_reduced(np.logical_or, _truth), 2, 2),
    "logical_xor": Function(_reduced(np.logical_xor, _truth), 2, 2),
}

_OPERATORS: dict[type[ast.AST], Callable[..., Value]] = {
    **{ast.UAdd: _number, ast.USub: _of_numbers(np.negative)},
    **{ast.Not: lambda value: ~_truth(value), ast.Invert: _inverted},
    **{ast.Add: _of_numbers(np.add), ast.Sub: _of_numbers(np.subtract)},
    **{ast.Mult: _of_numbers(np.multiply), ast.Div: _of_numbers(np.divide)},
    **{ast.FloorDiv: _of_numbers(np.floor_divide), ast.Mod: _of_numbers(np.mod), ast.Pow: _of_numbers(np.power)},
    **{ast.BitAnd: _bitwise(np.bitwise_and, "&"), ast.BitOr: _bitwise(np.bitwise_or, "|")},
    **{ast.BitXor: _bitwise(np.bitwise_xor, "^")},
    **{ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal},
    **{ast.Eq: np.equal, ast.NotEq: np.not_equal},
    **{ast.And: _reduced(np.logical_and, _truth), ast.Or: _reduced(np.logical_or, _truth)},
}


# --------------------------------------------------------------------------------------------------- expressions
@dataclass(frozen=True)
class Constant:
    """Push a number."""

    value: Value


@dataclass(frozen=True)
class Column:
    """Push the values of a branch, or of a name that stands for given values."""

    name: str
    is_given: bool = False


@dataclass(frozen=True)
class Apply:
    """Replace the last ``n`` values by what is computed of them."""

    compute: Callable[..., Value]
    n: int


Step = Constant | Column | Apply


@dataclass(frozen=True)
class Expression:
    """An expression of branches, ready to be evaluated: its text, and what to do, in order.

    Example:
        >>> expression = parse("w * (1 - 2 * negative)")
        >>> expression.branches
        ('w', 'negative')
        >>> columns = {"w": np.array([0.5, 0.5]), "negative": np.array([0, 1], dtype=np.uint8)}
        >>> expression.evaluate(columns).tolist()
        [0.5, -0.5]
    """

    text: str
    steps: tuple[Step, ...]

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches that it needs."""
        return tuple(column.name for column in self._columns if not column.is_given)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the other values that it needs."""
        return tuple(column.name for column in self._columns if column.is_given)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(step for step in self.steps if isinstance(step, Column)))

    def evaluate(
        self, columns: Mapping[str, NDArray[Any]], given: Mapping[str, NDArray[np.float64]] | None = None
    ) -> NDArray[np.float64]:
        """Return the value for every row: shape (n_rows,), or () where no branch is in it.

        What is divided by 0 or too large is infinite, and the logarithm of a negative number is not a number.

        Raises:
            DatasetError: If ``&``, ``|``, ``^`` or ``~`` meets numbers that it has no meaning for.
        """
        values: dict[Column, NDArray[Any]] = {}
        for column in self._columns:
            values[column] = (given or {})[column.name] if column.is_given else columns[column.name]
        with np.errstate(all="ignore"):
            if not values:
                return np.asarray(self._value({}))
            n_rows = len(next(iter(values.values())))
            found = np.empty(n_rows)
            for first in range(0, n_rows, BLOCK):
                rows = slice(first, first + BLOCK)
                found[rows] = self._value({column: array[rows] for column, array in values.items()})
        return found

    def _value(self, values: Mapping[Column, NDArray[Any]]) -> Value:
        stack: list[Value] = []
        for step in self.steps:
            if isinstance(step, Constant):
                stack.append(step.value)
            elif isinstance(step, Apply):
                arguments = stack[-step.n :]
                del stack[-step.n :]
                stack.append(step.compute(*arguments))
            else:
                column = values[step]
                stack.append(column if column.dtype == np.bool_ else _number(column))
        return _number(stack.pop())


def parse(text: str, given: Collection[str] = ()) -> Expression:
    """Read an expression; the values of the names that are ``given``, no branches, are handed to ``evaluate``.

    Raises:
        ConfigError: If it is not of the language, or too long or too deep.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(text, f"it has {len(text)} characters, expected at most {MAX_LENGTH}")
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            raise _refused(text, f"it has more than {MAX_DEPTH} levels of brackets")
        if not character.isprintable() and character not in "\n\t":
            raise _refused(text, f"it holds the character {character!r}")
    _require_no_other_reading(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as "1if x else 2", which later versions of Python refuse
            tree = ast.parse(text.strip(), mode="eval")
        reader = _Reader(text, frozenset(given))
        reader.read(tree.body, 0)
    except SyntaxError as error:
        raise _refused(text, error.msg) from error
    except (MemoryError, RecursionError) as error:
        raise _refused(text, "it has too many levels") from error
    return Expression(text, tuple(reader.steps))


def _require_no_other_reading(text: str) -> None:
    """Refuse what Python reads as something else without a word: the rest after "#", and another name than is there."""
    plain = QUOTED.sub(" ", text)
    if "#" in plain:
        raise _refused(text, "it holds '#', and Python would not read what follows")
    for word in WORD.findall(plain):
        read = unicodedata.normalize("NFKC", word)
        if read != word:
            name = shown(word, 40)
            raise _refused(text, f"Python would read {name} as {shown(read, 40)}, another name; write get({name})")


def branch(name: str) -> Expression:
    """Return the expression that is one branch, whatever its name."""
    return Expression(name, (Column(name),))


class _Reader:
    """Turns a syntax tree into steps: every kind of node that is not named here is refused."""

    def __init__(self, text: str, given: frozenset[str]) -> None:
        self.text, self.given = text, given
        self.lines = text.strip().encode().split(b"\n")
        self.steps: list[Step] = []

    def read(self, node: ast.expr, depth: int) -> None:
        """Add the steps of a node, at a depth below the whole expression."""
        if depth > MAX_DEPTH:
            raise _refused(self.text, f"it has more than {MAX_DEPTH} levels")
        match node:
            case ast.Constant():
                self._constant(node)
            case ast.Name() | ast.Attribute():
                self._name(node)
            case ast.UnaryOp():
                self._operation(node, node.op, [node.operand], depth)
            case ast.BinOp():
                self._binary(node, depth)
            case ast.BoolOp():
                self._operation(node, node.op, node.values, depth)
            case ast.Compare():
                self._comparison(node, depth)
            case ast.IfExp():
                self._arguments([node.test, node.body, node.orelse], depth)
                self._apply(node, _where, 3)
            case ast.Call():
                self._call(node, depth)
            case _:
                raise self._unknown(node)

    def _operation(self, node: ast.expr, operator: ast.AST, operands: list[ast.expr], depth: int) -> None:
        self._arguments(operands, depth)
        self._apply(node, self._operator(node, operator), len(operands))

    def _operator(self, node: ast.expr, operator: ast.AST) -> Callable[..., Value]:
        if type(operator) not in _OPERATORS:
            raise self._unknown(node)
        return _OPERATORS[type(operator)]

    def _arguments(self, nodes: list[ast.expr], depth: int) -> None:
        for node in nodes:
            self.read(node, depth + 1)

    def _constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float):
            raise self._unknown(node)
        try:
            value = np.float64(node.value)
        except OverflowError:
            value = np.float64(np.inf)
        self._add(Constant(self._finite(node, value)))

    def _name(self, node: ast.Name | ast.Attribute) -> None:
        """Read a name; ``jet.pt`` is the branch that is called so, never the attribute of anything."""
        parts = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            parts.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            raise self._unknown(node)
        parts.append(base.id)
        if any(part.startswith("__") and part.endswith("__") for part in parts):
            raise self._unknown(node)  # such as __class__: no branch that anybody has
        name = ".".join(reversed(parts))
        self._add(Column(name, name in self.given))

    def _binary(self, node: ast.BinOp, depth: int) -> None:
        # A sum of a hundred terms is a tree a hundred levels deep, to the left.
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        self.read(chain[-1].left, depth + 1)
        for item in reversed(chain):
            compute = self._operator(item, item.op)
            self.read(item.right, depth + 1)
            self._apply(item, compute, 2)

    def _comparison(self, node: ast.Compare, depth: int) -> None:
        operands = [node.left, *node.comparators]
        comparisons = [self._operator(node, operator) for operator in node.ops]
        for operand in operands:
            bits = isinstance(operand, ast.BinOp) and isinstance(operand.op, ast.BitAnd | ast.BitOr | ast.BitXor)
            if bits and not self._bracketed(operand):
                # Python reads a > 1 & b < 2 as a > (1 & b) < 2, and C++ as (a > 1) & (b < 2).
                raise _refused(
                    self.text,
                    f"it is not clear what {self._shown(operand)} belongs to; put brackets around comparisons",
                )
        self._arguments(operands, depth)
        self._apply(node, _chained(comparisons), len(operands))

    def _call(self, node: ast.Call, depth: int) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name == GETTER:
            only = node.args[0] if len(node.args) == 1 and not node.keywords else None
            if not isinstance(only, ast.Constant) or not isinstance(only.value, str):
                raise _refused(self.text, f"{GETTER} takes the name of a branch in quotes, and nothing else")
            self._add(Column(only.value))
            return
        if name is None:
            raise self._unknown(node)
        function = FUNCTIONS.get(name)
        if function is None:
            raise _refused(self.text, f"{name!r} is no function{closest(name, [*FUNCTIONS, GETTER], listed=())}")
        if node.keywords or any(isinstance(item, ast.Starred) for item in node.args):
            raise _refused(self.text, f"{name} takes arguments by position alone")
        if not function.least <= len(node.args) <= function.most:
            expected = f"{function.least}" if function.least == function.most else f"at least {function.least}"
            raise _refused(self.text, f"{name} has {len(node.args)} arguments, expected {expected}")
        self._arguments(node.args, depth)
        self._apply(node, function.compute, len(node.args))

    def _apply(self, node: ast.expr, compute: Callable[..., Value], n: int) -> None:
        """Add an operation; one of constants is done at once."""
        last = [step.value for step in self.steps[-n:] if isinstance(step, Constant)]
        if len(last) < n:
            self._add(Apply(compute, n))
            return
        del self.steps[-n:]
        try:
            with np.errstate(all="ignore"):
                self._add(Constant(self._finite(node, compute(*last))))
        except DatasetError as error:
            raise _refused(self.text, str(error)) from error

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if len(self.steps) > MAX_STEPS:
            raise _refused(self.text, f"it has more than {MAX_STEPS} numbers, branches and operations")

    def _finite(self, node: ast.expr, value: Value) -> Value:
        if not np.isfinite(value):
            raise _refused(self.text, f"{self._shown(node)} is {value}, expected a finite number")
        return value

    def _bracketed(self, node: ast.expr) -> bool:
        assert node.end_lineno is not None
        before = b"".join([*self.lines[: node.lineno - 1], self.lines[node.lineno - 1][: node.col_offset]])
        after = b"".join([self.lines[node.end_lineno - 1][node.end_col_offset :], *self.lines[node.end_lineno :]])
        return before.rstrip().endswith(b"(") and after.lstrip().startswith(b")")

    def _shown(self, node: ast.expr) -> str:
        return shown(ast.get_source_segment(self.text.strip(), node) or type(node).__name__)

    def _unknown(self, node: ast.expr) -> ConfigError:
        return _refused(self.text, f"{self._shown(node)} is not of the language of expressions")


def shown(text: str, limit: int = 80) -> str:
    """Return a text as a message quotes it."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"the expression {shown(text)} cannot be used: {why}. Write numbers, branches (get('NAME') for a name that "
        "Python would not read as one), operators and functions; docs/expressions.md lists them"
    )
