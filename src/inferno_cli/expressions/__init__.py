"""Expressions of branches: a small arithmetic language that can compute, and nothing else.

A text is parsed into steps on a stack of numbers, so that nothing of Python is left to run: what is not a number, a
branch, one of the operators, one of ``FUNCTIONS`` or of ``REDUCTIONS`` is refused when the configuration is read.
Everything is float64: unsigned integers do not wrap, and 8-bit ones do not overflow. An int64 beyond 2^53 is no longer
exact.
"""

from inferno_cli.expressions.expression import Expression, branch
from inferno_cli.expressions.functions import FUNCTIONS
from inferno_cli.expressions.parser import MAX_DEPTH, MAX_LENGTH, MAX_STEPS, parse, shown
from inferno_cli.expressions.reductions import REDUCTIONS
from inferno_cli.expressions.values import EXACT_INTEGERS, Lists

__all__ = [
    "EXACT_INTEGERS",
    "FUNCTIONS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_STEPS",
    "REDUCTIONS",
    "Expression",
    "Lists",
    "branch",
    "parse",
    "shown",
]
