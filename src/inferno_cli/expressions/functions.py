"""Operators and functions of expressions: of flat numbers, element by element."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inferno_cli.errors import DatasetError
from inferno_cli.expressions.values import EXACT_INTEGERS, Value, number, truth

MANY = 2000
"""Arguments that a function of any number can have: more than an expression has."""


@dataclass(frozen=True)
class _OfNumbers:
    """A function of numbers, of which comparisons are 1 and 0."""

    ufunc: Callable[..., Value]

    def __call__(self, *values: Value) -> Value:
        return self.ufunc(*map(number, values))


def _reduced(compute: Callable[[Value, Value], Value], take: Callable[[Value], Value]) -> Callable[..., Value]:
    """Apply a function of two values to the first two of any number, to that and the third, and so on."""
    return lambda *values: functools.reduce(compute, map(take, values))


def chained(comparisons: list[Callable[[Value, Value], Value]]) -> Callable[..., Value]:
    """Compare each value with the next, as ``0 < x < 1`` does."""

    def compute(*values: Value) -> Value:
        numbers = [number(value) for value in values]
        found = comparisons[0](numbers[0], numbers[1])
        for compare, left, right in zip(comparisons[1:], numbers[1:], numbers[2:], strict=False):
            found = found & compare(left, right)
        return found

    return compute


def _bitwise(compute: Callable[[Value, Value], Value], symbol: str) -> Callable[..., Value]:
    """Combine comparisons, or the bits of whole numbers."""

    def bits(value: Value) -> Value:
        value = number(value)
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
        return number(compute(bits(left), bits(right)))

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


def where(condition: Value, then: Value, other: Value) -> Value:
    """Return one value where a condition is true, and the other one elsewhere."""
    found: Value = np.where(truth(condition), number(then), number(other))
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
_BY_NUMPY = {item.__name__: Function(_OfNumbers(item), item.nin, item.nin) for item in _UFUNCS}
FUNCTIONS: dict[str, Function] = {
    **_BY_NUMPY,
    **{name: _BY_NUMPY[same] for name, same in _ALSO.items()},
    "erf": Function(_OfNumbers(_special("erf"))),
    "erfc": Function(_OfNumbers(_special("erfc"))),
    "min": Function(_reduced(np.minimum, number), 2, MANY),
    "max": Function(_reduced(np.maximum, number), 2, MANY),
    "clip": Function(_OfNumbers(lambda value, low, high: np.minimum(np.maximum(value, low), high)), 3, 3),
    "where": Function(where, 3, 3),
    "logical_not": Function(lambda value: ~truth(value)),
    "logical_and": Function(_reduced(np.logical_and, truth), 2, 2),
    "logical_or": Function(_reduced(np.logical_or, truth), 2, 2),
    "logical_xor": Function(_reduced(np.logical_xor, truth), 2, 2),
}

OPERATORS: dict[type[ast.AST], Callable[..., Value]] = {
    **{ast.UAdd: number, ast.USub: _OfNumbers(np.negative)},
    **{ast.Not: lambda value: ~truth(value), ast.Invert: _inverted},
    **{ast.Add: _OfNumbers(np.add), ast.Sub: _OfNumbers(np.subtract)},
    **{ast.Mult: _OfNumbers(np.multiply), ast.Div: _OfNumbers(np.divide)},
    **{ast.FloorDiv: _OfNumbers(np.floor_divide), ast.Mod: _OfNumbers(np.mod), ast.Pow: _OfNumbers(np.power)},
    **{ast.BitAnd: _bitwise(np.bitwise_and, "&"), ast.BitOr: _bitwise(np.bitwise_or, "|")},
    **{ast.BitXor: _bitwise(np.bitwise_xor, "^")},
    **{ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal},
    **{ast.Eq: np.equal, ast.NotEq: np.not_equal},
    **{ast.And: _reduced(np.logical_and, truth), ast.Or: _reduced(np.logical_or, truth)},
}
