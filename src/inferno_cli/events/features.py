"""What goes into the network: features, each an expression of branches, and the numbers that say "there is none"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from inferno_cli.errors import DatasetError
from inferno_cli.expressions import Expression, Lists, branch, parse, shown
from inferno_cli.section import ExpressionText, Finite, Names, Section, Shown, require_name, with_unit

MISSING = "missing"
"""Behind the name of a branch: the feature that says whether the branch has no value."""
REPAIR = "Remove these events or repair the branch"
GUARD = (
    "Say what it is there, where(CONDITION, EXPRESSION, 0); leave these events out with dataset.selection; or, if a "
    "branch has a number that stands for none, name it in dataset.missing"
)


class Feature(Section):
    """A feature, and how it is shown."""

    expression: ExpressionText
    """What it is, an expression of branches."""
    title: Shown | None = None
    """What plots call it; null: its name."""
    unit: Shown | None = None
    """Its unit in plots, such as GeV."""
    range: tuple[Finite, Finite] | None = None
    """Range of its axis in plots; null: nearly all of the simulated events."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range is {list(self.range)}, expected the smaller number first")
        return self


class Missing(Section):
    """The number that a branch holds where it has no value."""

    sentinel: float = Field(alias="is")
    """The number in the file, such as -9999."""
    becomes: Finite = 0.0
    """Value of a feature that cannot be computed without the branch."""
    indicator: bool = True
    """One more feature, NAME_missing: 1 where the branch has no value, else 0."""


def json_type(value: Any) -> str:
    """Return the name of a value's type in JSON, as the choices of a key are tagged."""
    value = getattr(value, "__dict__", value)
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list | tuple):
        return "array"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "string"


def _array_or_object(value: Any) -> str:
    found = json_type(value)
    return found if found == "object" else "array"


def _string_or_object(value: Any) -> str:
    found = json_type(value)
    return found if found == "object" else "string"


def _number_or_object(value: Any) -> str:
    found = json_type(value)
    return found if found == "object" else "number"


Listed = Annotated[Names, Field(min_length=1)]
OneFeature = Annotated[
    Annotated[ExpressionText, Tag("string")] | Annotated[Feature, Tag("object")], Discriminator(_string_or_object)
]
Mapped = Annotated[dict[str, OneFeature], Field(min_length=1)]
AnyFeatures = Annotated[
    Annotated[Listed, Tag("array")] | Annotated[Mapped, Tag("object")], Discriminator(_array_or_object)
]
"""Names of branches, or features by name: an expression each, or one with a title."""
AnyMissing = Annotated[
    Annotated[float, Tag("number")] | Annotated[Missing, Tag("object")], Discriminator(_number_or_object)
]
"""A number, or what becomes of it."""


@dataclass(frozen=True)
class Inputs:
    """What goes into the network, and how it is computed.

    Attributes:
        expressions: Of each feature that is not an indicator, in order.
        missing: What says that a branch has no value, by branch.
        labels: What plots call a feature, where that is not its name.
        ranges: Of its axis in plots, where it is given.
    """

    expressions: Mapping[str, Expression]
    missing: Mapping[str, Missing] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of_branches(cls, names: Names, missing: Mapping[str, Missing] | None = None) -> Inputs:
        """Take branches as they are."""
        return cls({name: branch(name) for name in names}, missing or {})

    @classmethod
    def of(cls, features: Names | Mapping[str, str | Feature], missing: Mapping[str, float | Missing]) -> Inputs:
        """Take what a configuration says."""
        declared = {}
        for name, item in missing.items():
            declared[name] = item if isinstance(item, Missing) else Missing.model_validate({"is": item})
        if not isinstance(features, Mapping):
            return cls.of_branches(features, declared)
        expressions, labels, ranges = {}, {}, {}
        for name, definition in features.items():
            feature = Feature(expression=definition) if isinstance(definition, str) else definition
            expressions[name] = parse(feature.expression)
            if feature.title is not None or feature.unit is not None:
                labels[name] = with_unit(feature.title or name, feature.unit)
            if feature.range is not None:
                ranges[name] = feature.range
        return cls(expressions, declared, labels, ranges)

    def check(self) -> None:
        """Raise ValueError, with the key in front, if a name is there twice or a branch is declared in vain."""
        for name in self.expressions:
            require_name(name, "features")
        for name in self.missing:
            if name not in self.branches:
                raise ValueError(f"missing: no feature is made of the branch {name!r}; remove it")
        for name in self._indicators:
            if name in self.expressions:
                raise ValueError(
                    f"features: {name!r} is the name of the feature that says that a branch has no value; rename "
                    "yours, or set indicator: false in missing"
                )

    @cached_property
    def names(self) -> Names:
        """Names of the features, in the order of the network's inputs."""
        return (*self.expressions, *self._indicators)

    @cached_property
    def branches(self) -> Names:
        """Names of the branches that they need."""
        found: dict[str, None] = {}
        for expression in self.expressions.values():
            found |= dict.fromkeys(expression.branches)
        return tuple(found)

    @cached_property
    def of_lists(self) -> frozenset[str]:
        """Branches that may hold a list for each event: all that need them make one number of it."""
        found = set(self.branches)
        for expression in self.expressions.values():
            if not expression.takes_lists:
                found -= set(expression.branches)
        return frozenset(found)

    @property
    def _indicators(self) -> dict[str, str]:
        """Branches whose absence is a feature, by the name of that."""
        return {f"{name}_{MISSING}": name for name, item in self.missing.items() if item.indicator}

    @property
    def definitions(self) -> dict[str, str]:
        """Expressions of the features that are not simply a branch of their name."""
        found = {}
        for name, expression in self.expressions.items():
            if expression.branches != (expression.text,) or expression.text != name:
                found[name] = expression.text
        return found

    def has_value(self, name: str, table: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for which rows of a table of features one has a value of its own, shape (n_rows,).

        The others have what ``missing`` says where a branch has none. Only the indicator of the branch tells them.
        """
        found = np.ones(len(table), dtype=bool)
        needed = self.expressions[name].branches if name in self.expressions else ()
        for indicator, branch_name in self._indicators.items():
            if branch_name in needed:
                stands_for_none = np.float32(self.missing[branch_name].becomes)
                is_gone = table[:, self.names.index(indicator)] == 1
                found &= ~(is_gone & (table[:, self.names.index(name)] == stands_for_none))
        return found

    def as_json(self) -> dict[str, Any]:
        """Return how they are computed, for a file that goes elsewhere."""
        missing = {name: item.model_dump(by_alias=True) for name, item in self.missing.items()}
        return {"expressions": {name: item.text for name, item in self.expressions.items()}, "missing": missing}

    def table(
        self,
        branches: Mapping[str, NDArray[Any] | Lists],
        n: int,
        where: str,
        *,
        rows: NDArray[np.intp] | None = None,
        first_row: int = 0,
        missing: bool = False,
    ) -> NDArray[np.float32]:
        """Return the features as a table, shape (n_rows, n_features).

        Args:
            branches: Those of ``self.branches``, as they are in the file, shape (n_rows,) each, or lists.
            n: Number of rows.
            where: What holds them, for messages.
            rows: Number of each row there; None: they are counted from ``first_row``.
            first_row: See ``rows``.
            missing: Take values that are not finite, to describe them.

        Raises:
            DatasetError: If an expression cannot be evaluated, or a value is not finite.
        """
        table = np.empty((n, len(self.names)), dtype=np.float32)
        known = without_sentinels(branches, self.missing)
        for i, (name, expression) in enumerate(self.expressions.items()):
            is_branch = expression.branches == (expression.text,)
            what, fix = (
                (f"branch {name!r} of {where}", REPAIR) if is_branch else (f"feature {name!r} of {where}", GUARD)
            )
            if is_branch and expression.text not in self.missing:
                values = np.asarray(branches[expression.text])
            else:
                values = self._values(name, branches, known, where)
            with np.errstate(over="ignore"):
                table[:, i] = values
            if not missing:
                require_finite(table[:, i], np.broadcast_to(values, n), what, fix, rows=rows, first_row=first_row)
        for i, branch_name in enumerate(self._indicators.values(), start=len(self.expressions)):
            table[:, i] = is_sentinel(branch_name, branches[branch_name], self.missing[branch_name])
        return table

    def _values(
        self,
        name: str,
        branches: Mapping[str, NDArray[Any] | Lists],
        known: Mapping[str, NDArray[Any] | Lists],
        where: str,
    ) -> NDArray[np.float64]:
        """Return a feature; where it needs a branch that has no value, what ``missing`` says."""
        expression = self.expressions[name]
        values = evaluated(expression, known, {}, f"feature {name!r}", where)
        for needed in expression.branches:
            if needed in self.missing:
                gone = np.isnan(values) & is_sentinel(needed, branches[needed], self.missing[needed])
                values = np.where(gone, self.missing[needed].becomes, values)
        return values


def evaluated(
    expression: Expression,
    columns: Mapping[str, NDArray[Any] | Lists],
    given: Mapping[str, NDArray[np.float64]],
    what: str,
    where: str,
) -> NDArray[np.float64]:
    """Evaluate an expression; the error says of ``what``, and ``where``."""
    try:
        return expression.evaluate(columns, given)
    except DatasetError as error:
        raise DatasetError(
            f"{what}: the expression {shown(expression.text)} cannot be evaluated on {where}: {error}"
        ) from error


def is_sentinel(name: str, values: NDArray[Any] | Lists, missing: Missing) -> NDArray[np.bool_]:
    """Return where a branch has no value, shape (n_rows,).

    Raises:
        DatasetError: If it holds lists.
    """
    if isinstance(values, Lists):
        raise DatasetError(
            f"dataset.missing has {name!r}, a branch of lists, expected one number per row. Remove it there, and "
            f"choose numbers of the lists with a mask: {name}[{name} > 0]"
        )
    if np.isnan(missing.sentinel):
        return np.asarray(np.isnan(values))
    # -9999.1 in a file of float32 is the float32 next to it; an integer is compared as it is.
    sentinel = values.dtype.type(missing.sentinel) if values.dtype.kind == "f" else missing.sentinel
    return np.asarray(values == sentinel)


def without_sentinels(
    columns: Mapping[str, NDArray[Any] | Lists], missing: Mapping[str, Missing]
) -> dict[str, NDArray[Any] | Lists]:
    """Return branches with what is no number where they have no value."""
    found = dict(columns)
    for name in missing.keys() & columns.keys():
        values = columns[name]
        found[name] = np.where(is_sentinel(name, values, missing[name]), np.nan, values)  # type: ignore[arg-type]
    return found


def require_finite(
    values: NDArray[Any],
    stored: NDArray[Any],
    what: str,
    fix: str = REPAIR,
    *,
    rows: NDArray[np.intp] | None = None,
    first_row: int = 0,
) -> None:
    """Raise DatasetError if a value that is used is not finite; name the one that is stored in the file."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        first = stored[bad[0]]
        row = first_row + bad[0] if rows is None else rows[bad[0]]
        why = "too large for a network (float32)" if np.isfinite(first) else "not finite"
        raise DatasetError(f"{what}: {len(bad)} of {len(values)} values are {why} (first in row {row}: {first}). {fix}")
