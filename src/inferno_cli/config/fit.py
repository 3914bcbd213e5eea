"""The configuration of the fit: keys of its own, and those of every quantity that it can be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from inferno_cli.choices import DISCRIMINATOR, one_of, sections
from inferno_cli.progress import Mode
from inferno_cli.section import Finite, Names, Positive, Section, Seed, require_name

QUANTITIES = "inferno_cli.fit.quantities"


def _ours() -> dict[str, type[Any]]:
    """Return the quantities of this package, whose keys are keys of ``fit``."""
    found = sections(QUANTITIES, Section)
    return {kind: section for kind, section in found.items() if section.__module__.startswith(f"{QUANTITIES}.")}


class Fit(Section):
    """The fit of the workspace with MINUIT.

    Lists of parameters take "mu" (the POI, whatever a workspace calls it), names, one entry of a vector
    ("staterror_SR[0]"), a vector ("staterror_SR"), patterns with "*", and "all".
    """

    TAKEN_FROM: ClassVar[Mapping[str, type[Section]]] = {}
    """The quantity of each key that is one of its keys."""

    data: Literal["asimov", "observed"]
    """The expectation (Asimov), or the observed events."""
    pois: Names | None = None
    """Parameters of interest beside mu; null: those of the run, in the fit of a workspace by itself none."""
    minos: Names
    """Parameters whose MINOS errors are wanted; with mu also those of the other POIs."""
    groups: dict[str, Names] | None
    """Parameters by group, in the order in which they are fixed; the rest is grouped by kind of modifier.

    null and not {}: Hydra merges a mapping on the command line into the one that is there, and refuses new keys.
    """
    bounds: dict[str, tuple[Finite, Finite]] | None
    """Range of parameters in the fit, in the place of that of the workspace."""
    quantities: dict[str, Any] | None = None
    """Quantities that other packages add, by name, each with its `kind`; null: none."""
    engine: Literal["exact", "pyhf"] = "exact"
    """What calculates the likelihood: exact derivatives, or pyhf with numerical ones, to compare."""
    max_calls: Annotated[int, Field(ge=1)]
    """Most calls of the likelihood in one minimisation."""
    tolerance: Positive
    """MINUIT's: the goal for EDM is 0.002 times this."""
    toys: Annotated[int, Field(ge=1)] | None = None
    """Pseudo-experiments of each kind: bias, coverage, and p-values beside the asymptotic ones; null: none."""
    toys_seed: Seed | None = None
    """Seed of the toys; null: that of the run, 1 in a fit alone. The same toys for any number of workers."""
    toys_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that fit toys, at a time."""
    progress: Mode
    """How far a long part of the fit is."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, (low, high) in (self.bounds or {}).items():
            if low >= high:
                raise ValueError(f"bounds.{name} is [{low:g}, {high:g}], expected to rise")
        for name, quantity in (self.quantities or {}).items():
            require_name(name, "quantities")
            if not isinstance(quantity, Section):
                raise ValueError(f"quantities.{name}: no installed package adds a quantity to the fit; remove it")
            if name in _ours():
                raise ValueError(f"quantities: {name!r} is the name of another quantity; rename it")
        for quantity in self.every().values():
            quantity.check()
        return self

    def every(self) -> dict[str, Any]:
        """Return the quantities (``fit.result.Quantity``) by name, in the order of tables, wanted or not."""
        found = dict(self.quantities or {})
        for kind, section in _ours().items():
            own = {key: getattr(self, key) for key in section.model_fields if key != DISCRIMINATOR}
            found[kind] = section.model_construct(kind=kind, **own)  # every value was validated here
        return dict(sorted(found.items(), key=lambda item: item[1].order))

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        """Yield every name in a list of parameters, with the key of the list."""
        yield from (("pois", name) for name in self.pois or ())
        yield from (("minos", name) for name in self.minos)
        yield from (("bounds", name) for name in self.bounds or ())
        for quantity in self.every().values():
            yield from quantity.named_parameters()


def _with_quantities() -> type[Fit]:
    """Return ``Fit`` with the keys of our quantities, and those that other packages add."""
    keys: dict[str, Any] = {}
    taken_from: dict[str, type[Section]] = {}
    ours = _ours()
    if added := [section for kind, section in sections(QUANTITIES, Section).items() if kind not in ours]:
        quantity: Any = one_of(added)
        keys["quantities"] = (dict[str, quantity] | None, Fit.model_fields["quantities"])
    for section in ours.values():
        for key, field in section.model_fields.items():
            if key != DISCRIMINATOR and key not in Fit.model_fields:
                keys[key] = (field.annotation, field)
                taken_from[key] = section
    made = create_model("Fit", __base__=Fit, __module__=__name__, __doc__=Fit.__doc__, **keys)
    made.TAKEN_FROM = taken_from
    return made


if not TYPE_CHECKING:
    Fit = _with_quantities()
