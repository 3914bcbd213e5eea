"""What a fit gives. A number is declared once: it is computed, stored, logged, tabulated and drawn as it is here."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_serializer, model_validator
from pydantic.dataclasses import dataclass

from inferno_cli.choices import DISCRIMINATOR, sections
from inferno_cli.fit.verdict import Verdict
from inferno_cli.names import another
from inferno_cli.section import POI, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.problem import Problem

STRICT = ConfigDict(extra="forbid")
QUANTITIES = "inferno_cli.fit.quantities"
"""Package of the quantities, one file each."""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]
"""A number, or None where it is infinite: JSON has no infinity."""
Kind = Literal["poi", "normfactor", "nuisance", "staterror", "shapesys", "shapefactor", "lumi"]
"""What a parameter is: the type of its modifier; "nuisance" for normsys and histosys, which may be one parameter."""


def put(values: dict[str, float | None], name: str, value: float | None) -> None:
    """Add a number whose name has one of the user's in it: it does not replace another number of the same name."""
    values[name if name not in values else another(name, name, values)] = value


@dataclass(frozen=True, config=STRICT)
class Estimate:
    """A fitted value with its errors.

    Attributes:
        bestfit: Value at the minimum.
        hesse: Standard deviation from the inverse Hessian; 0 for a parameter held constant.
        minos: Interval from the profile likelihood, down < 0 < up, or None where it was not asked for, or ends at a
            physical limit (then the fit's notes say so).
        pull: Best fit minus nominal, in units of the constraint; None without a constraint.
        constraint: HESSE in units of the constraint; None without a constraint.
        at_limit: The physical limit (a rate cannot be negative) at which the best fit is; ``hesse`` means nothing
            there.
    """

    bestfit: float
    hesse: float
    minos: tuple[float, float] | None = None
    pull: float | None = None
    constraint: float | None = None
    at_limit: float | None = None

    @property
    def error(self) -> float | None:
        """``hesse``, or None where it means nothing."""
        return self.hesse if self.at_limit is None else None


@dataclass(frozen=True, config=STRICT)
class Entry:
    """Place of a parameter in a vector that has one for each bin; without ``channel`` it acts in several."""

    vector: str
    index: int
    channel: str | None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Parameter(Estimate):
    """One parameter of a fit: its estimate, and what it is."""

    kind: Kind
    is_constrained: bool
    entry: Entry | None = None


class Record(BaseModel):
    """A part of ``results.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


@plain(frozen=True)
class Column:
    """A number of a quantity that is compared across runs: its name in files, and its title on the terminal."""

    name: str
    title: str
    read: Callable[[Any, FitResult], float | None]
    """Takes the value of the quantity, and the record of the fit."""
    form: str = "z.3f"
    """Format specification."""
    p_value_of: str | None = None
    """Column with the significance that this p-value belongs to."""


class Quantity(Section):
    """What a fit can be asked for beside the parameters: its settings, and all that becomes of its value.

    A subclass has a file of its own and the field ``kind: Literal[...]``. Those of this package have their keys in
    ``fit`` itself, and their value in results.json under their kind. Those of other packages are asked for with
    ``fit.quantities={NAME: {kind: ...}}``, and are stored under that name, in ``quantities``.
    """

    record: ClassVar[Any]
    """Type of the value, which pydantic writes to JSON and reads."""
    absent: ClassVar[Any] = None
    """What is stored where it was not asked for, or cannot be had."""
    title: ClassVar[str] = ""
    """What notes call it; empty: its name."""
    order: ClassVar[int] = 1000
    """Place in tables: rising."""
    columns: ClassVar[tuple[Column, ...]] = ()
    """Of the comparison of runs."""
    file: ClassVar[str] = ""
    """Name of the file that its tables are in; empty: it has none."""
    is_foremost: ClassVar[bool] = False
    """Whether its rows are also in the description of a run in a few lines."""
    needs_no_signal: ClassVar[bool] = False
    """Whether it fits with the POI at 0."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self.check()
        return self

    def check(self) -> None:
        """Check what one key alone does not say; raise ValueError."""

    @property
    def is_wanted(self) -> bool:
        """Whether the settings ask for it: those of a kind that has a key of its own name, with that key."""
        return bool(getattr(self, getattr(self, DISCRIMINATOR), True))

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        """Yield the key of every list of parameters, with each name in it."""
        yield from ()

    def resolved(self, problem: Problem) -> Self:
        """Return the settings with the names of parameters in ``problem``: all are looked up before the first fit."""
        return self

    @abstractmethod
    def compute(self, fitted: Fitted) -> Any:
        """Return the value; None where the data have none.

        Raises:
            FitFailedError: If it cannot be had: a note says why, and the rest of the fit stays.
        """

    @classmethod
    def stored(cls, value: Any) -> dict[str, Any]:
        """Return the keys of results.json that one of this package has, given the value as JSON."""
        return {str(cls.model_fields["kind"].annotation.__args__[0]): value}  # type: ignore[union-attr]

    @classmethod
    def blinded(cls, value: Any, fit: FitResult, offsets: Mapping[str, float]) -> Any:
        """Return what a blinded fit may show of the value; None, as long as a kind does not say more: nothing.

        Args:
            fit: The fit as it is, with nothing hidden.
            offsets: What is added to the value of each hidden parameter, by name; differences and errors stay.
        """
        return None

    @classmethod
    def metrics(cls, name: str, value: Any) -> dict[str, float | None]:
        """Return the numbers that are logged; their names begin with that of the quantity."""
        return {}

    @classmethod
    def estimates(cls, value: Any) -> dict[str, Estimate]:
        """Return estimates of the POI that stand below that of the fit, by what they are."""
        return {}

    @classmethod
    def rows(cls, name: str, value: Any, fit: FitResult) -> Iterator[tuple[str, str]]:
        """Yield heading and text of each line in the summary of a run."""
        yield from ()

    @classmethod
    def figures(cls, name: str, value: Any, fit: FitResult, canvas: Canvas) -> Iterator[tuple[str, Figure]]:
        """Yield name and figure of each picture."""
        yield from ()

    @classmethod
    def tables(cls, value: Any, fit: FitResult) -> list[str]:
        """Return the lines of its tables in Markdown, for ``file``."""
        return []


def moved(name: str, values: Sequence[float], fit: FitResult, offsets: Mapping[str, float]) -> tuple[float, ...] | None:
    """Return values of a parameter around its best fit where a blinded fit shows them.

    None where they are not: those of a parameter that is left out, and of a hidden one that a bound cuts on one side,
    as the bound is known, and with it the offset.
    """
    parameter = fit.parameters[name]
    if parameter.entry is not None:
        return None
    if name not in offsets:
        return tuple(values)
    below, above = parameter.bestfit - min(values), max(values) - parameter.bestfit
    if not math.isclose(below, above, rel_tol=1e-6):
        return None
    return tuple(value + offsets[name] for value in values)


@cache  # asked for every record of every run
def quantities() -> Mapping[str, type[Quantity]]:
    """Return every quantity by kind, in the order of tables."""
    found = sections(QUANTITIES, Quantity)  # type: ignore[type-abstract]
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def table_files() -> tuple[str, ...]:
    """Return the names of the files that a run can have of its quantities."""
    return tuple(quantity.file for quantity in quantities().values() if quantity.file)


def is_ours(quantity: type) -> bool:
    """Whether the keys of a quantity are in ``fit`` itself, and its value at the top of results.json."""
    return quantity.__module__.startswith(f"{QUANTITIES}.")


@cache
def _adapter(quantity: type[Quantity]) -> TypeAdapter[Any]:
    return TypeAdapter(quantity.record)


@dataclass(frozen=True)
class Outcome:
    """Value of a quantity, and of which kind it is."""

    kind: str
    value: Any


class FitResult(Record):
    """A valid fit; its parameter of interest is called "mu", whatever the workspace calls it."""

    data: Literal["asimov", "observed"]
    """The expectation (Asimov), or the observed events."""
    hidden: tuple[str, ...] = ()
    """Parameters whose best fit has a hidden offset, as the fit is blinded (see ``fit.blinding``)."""
    poi: str
    """Name of the parameter of interest in the workspace."""
    pois: tuple[str, ...] = ()
    """Parameters of interest beside it (``fit.pois``): significance, limit and impacts are of "mu" alone."""
    parameters: dict[str, Parameter]
    """By name (entries of vectors have names such as "staterror_SR[0]")."""
    correlation: dict[str, dict[str, float]]
    """From HESSE, by two names; zero rows for constant parameters."""
    twice_nll: float | None = None
    """-2 ln L at the minimum; None in records of before."""
    closed_form: float | None = None
    """Error of mu from the expected information at the best fit, all else profiled; None at a limit, and of before."""
    minuit: Verdict | None = None
    """What MINUIT says of the minimum; None in records of before."""
    quantities: dict[str, Outcome] = Field(default_factory=dict)
    """What else was asked for and could be had, by name."""
    notes: tuple[str, ...] = ()
    """What was asked for and cannot be given, or has no meaning, and why."""

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, values: Any) -> Any:
        """Take the values of the quantities from their keys. One whose package is gone stays as it is in the file."""
        if not isinstance(values, Mapping):
            return values
        left, found, notes = dict(values), {}, list(values.get("notes", ()))
        known = quantities()
        for kind, quantity in known.items():
            if is_ours(quantity):
                value = left.get(kind)
                for key in quantity.stored(quantity.absent):
                    left.pop(key, None)
                if value:
                    found[kind] = Outcome(kind, _adapter(quantity).validate_python(value))
        for name, outcome in left.get("quantities", {}).items():
            item = outcome if isinstance(outcome, Outcome) else Outcome(**outcome)
            if item.kind in known:
                item = Outcome(item.kind, _adapter(known[item.kind]).validate_python(item.value))
            else:
                notes.append(f"{name} is a quantity of kind {item.kind!r}, whose package is not installed")
            found[name] = item
        return {**left, "quantities": found, "notes": tuple(dict.fromkeys(notes))}

    @model_serializer(mode="wrap")
    def _spread(self, handler: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        values = handler(self)
        added = values.pop("quantities")
        for kind, quantity in quantities().items():
            if is_ours(quantity):
                values |= quantity.stored(added.pop(kind)["value"] if kind in added else quantity.absent)
        return {**values, "quantities": added}

    def __getitem__(self, name: str) -> Any:
        """Return the value of a quantity; what is stored without one where it was not asked for, or cannot be had."""
        if name in self.quantities:
            return self.quantities[name].value
        return quantities()[name].absent

    def outcomes(self) -> Iterator[tuple[str, type[Quantity], Any]]:
        """Yield name, class and value of the quantities, in the order of tables; those of missing packages not."""
        for kind, quantity in quantities().items():
            for name, outcome in self.quantities.items():
                if outcome.kind == kind:
                    yield name, quantity, outcome.value

    @property
    def mu(self) -> Parameter:
        """The parameter of interest."""
        return self.parameters[POI]

    @property
    def blinded(self) -> bool:
        """Whether the data are observed ones, and hidden."""
        return bool(self.hidden)

    def shown(self, name: str, text: str) -> str:
        """Return what the values of a parameter are called, given what it is called."""
        return f"{text} + hidden offset" if name in self.hidden else text

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the parameters that are no entries of vectors."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.entry is None)

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged for comparison across runs, by name."""
        values: dict[str, float | None] = {}
        for quantity, kind, value in self.outcomes():
            for name, number in kind.metrics(quantity, value).items():
                put(values, name, number)
        for name in self.scalars:
            parameter = self.parameters[name]
            numbers = {"bestfit": parameter.bestfit, "hesse": parameter.error}
            numbers |= {"pull": parameter.pull, "constraint": parameter.constraint}
            if parameter.minos is not None:
                down, up = parameter.minos
                numbers |= {"minos_down": down, "minos_up": up, "minos_width": up - down}
            for key, number in numbers.items():
                put(values, f"{name}/{key}", number)
        for one, other in itertools.combinations((POI, *self.pois), 2):
            put(values, f"correlation/{one}/{other}", self.correlation[one][other])
        return {name: value for name, value in values.items() if value is not None}
