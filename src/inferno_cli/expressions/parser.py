"""From a text to the steps of an expression: every kind of syntax that is not named here is refused."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection

import numpy as np

from inferno_cli.errors import ConfigError, DatasetError, closest
from inferno_cli.expressions.expression import Apply, Column, Constant, Expression, Step
from inferno_cli.expressions.functions import FUNCTIONS, MANY, OPERATORS, chained, where
from inferno_cli.expressions.reductions import REDUCTIONS, masked, reduction
from inferno_cli.expressions.values import Value

MAX_LENGTH, MAX_DEPTH, MAX_STEPS = 5000, 100, MANY
"""Characters, levels of brackets, and numbers and operations: more than anybody writes, and harmless to work on."""
GETTER = "get"
"""``get('gen-weight')`` is the branch of this name, for names that Python would not read as one."""
DEFAULT = "default"
"""The one argument that has a name: what ``first``, ``max`` and ``min`` are of an empty list."""
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*["]""")
"""A text in quotes."""
SINGLE_EQUAL = re.compile(rf"(?<![=<>!])(?<!{DEFAULT})(?<!{DEFAULT} )=(?!=)")
"""What compares nothing, and gives no default."""
WORD = re.compile(r"[^\s()\[\]{}.,:=<>!+*/%&|^~@;-]+")
"""What stands between blanks, operators and brackets."""


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
        is_compared = SINGLE_EQUAL.search(QUOTED.sub(" ", text)) is not None
        raise _refused(text, "= compares nothing, == does" if is_compared else error.msg) from error
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
                self._apply(node, where, 3)
            case ast.Call():
                self._call(node, depth)
            case ast.Subscript():
                self._mask(node, depth)
            case _:
                raise self._unknown(node)

    def _operation(self, node: ast.expr, operator: ast.AST, operands: list[ast.expr], depth: int) -> None:
        self._arguments(operands, depth)
        self._apply(node, self._operator(node, operator), len(operands))

    def _operator(self, node: ast.expr, operator: ast.AST) -> Callable[..., Value]:
        if type(operator) not in OPERATORS:
            raise self._unknown(node)
        return OPERATORS[type(operator)]

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
        self._apply(node, chained(comparisons), len(operands))

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
        if name in REDUCTIONS and (name not in FUNCTIONS or len(node.args) == 1):
            self._reduction(node, name, depth)
            return
        function = FUNCTIONS.get(name)
        if function is None:
            known = [*FUNCTIONS, *REDUCTIONS, GETTER]
            raise _refused(self.text, f"{name!r} is no function{closest(name, known, listed=())}")
        if node.keywords or any(isinstance(item, ast.Starred) for item in node.args):
            raise _refused(self.text, f"{name} takes arguments by position alone")
        if not function.least <= len(node.args) <= function.most:
            expected = f"{function.least}" if function.least == function.most else f"at least {function.least}"
            raise _refused(self.text, f"{name} has {len(node.args)} arguments, expected {expected}")
        self._arguments(node.args, depth)
        self._apply(node, function.compute, len(node.args))

    def _reduction(self, node: ast.Call, name: str, depth: int) -> None:
        """Read ``sum(x)``, ``first(x, 0)`` or ``max(x, default=0)``."""
        arguments = [*node.args, *(item.value for item in node.keywords)]
        most = 2 if REDUCTIONS[name].has_default else 1
        is_named = all(item.arg == DEFAULT for item in node.keywords) and len(node.args) >= 1
        if not is_named or len(arguments) > most or any(isinstance(item, ast.Starred) for item in arguments):
            expected = f"{name}(x)" + (f" or {name}(x, {DEFAULT}=0)" if most > 1 else "")
            raise _refused(self.text, f"{self._shown(node)} is none of the ways to write {name}: {expected}")
        self._arguments(arguments, depth)
        self._apply(node, reduction(name), len(arguments), of_lists=True)

    def _mask(self, node: ast.Subscript, depth: int) -> None:
        """Read ``x[x > 30]``; no element by its number, and no slice."""
        self.read(node.value, depth + 1)
        if isinstance(node.slice, ast.Constant | ast.Slice | ast.Tuple):
            raise self._unknown(node)
        self.read(node.slice, depth + 1)
        if any(isinstance(step, Constant) for step in self.steps[-1:]):
            raise self._unknown(node)
        self._apply(node, masked, 2, of_lists=True)

    def _apply(self, node: ast.expr, compute: Callable[..., Value], n: int, *, of_lists: bool = False) -> None:
        """Add an operation; one of constants is done at once."""
        last = [step.value for step in self.steps[-n:] if isinstance(step, Constant)]
        if len(last) < n:
            self._add(Apply(compute, n, of_lists))
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
