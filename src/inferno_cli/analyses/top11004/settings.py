"""The keys of the preparation: where the objects are, which events are kept, how the shifted ones are made.

Thresholds in GeV, angles in rad.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from inferno_cli.section import Finite, Names, NonNegative, Positive, Section

Count = Annotated[int, Field(ge=0)]


class ObjectBranches(Section):
    """Branches of one kind of object, each with one entry for each object of an event."""

    pt: str
    """Transverse momentum, GeV."""
    eta: str
    """Pseudorapidity."""
    phi: str
    """Azimuth, rad."""
    mass: str | None = None
    """null: massless."""
    require: Annotated[dict[str, Finite], Field(default_factory=dict)]
    """Identification: the smallest value of a branch; true is 1."""


class JetBranches(ObjectBranches):
    """Branches of the jets."""

    tag: str
    """b-tag discriminant."""
    tag_min: Finite
    """A jet above this is tagged."""
    gen_index: str | None = None
    """Index of the matched generated jet, negative where there is none; null: no resolution variation."""
    gen_pt: str | None = None
    """pT of the generated jets."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.gen_index is None) != (self.gen_pt is None):
            raise ValueError("gen_index and gen_pt go together")
        return self


class TauBranches(ObjectBranches):
    """Branches of the hadronic taus."""

    charge: str
    """Electric charge."""


class MetBranches(Section):
    """Branches of the missing transverse momentum."""

    pt: str
    """Its size, GeV."""
    phi: str
    """Its azimuth, rad."""


class Branches(Section):
    """Where the objects are."""

    jets: JetBranches
    taus: TauBranches
    electrons: ObjectBranches
    muons: ObjectBranches
    met: MetBranches


class ObjectCuts(Section):
    """Acceptance of one kind of object."""

    pt_min: NonNegative
    """Smallest transverse momentum, GeV."""
    eta_max: Positive
    """Largest pseudorapidity."""


class JetCuts(ObjectCuts):
    """Jets: the acceptance, and how many of them an event has."""

    count: Count
    """Smallest number of jets above pt_min."""
    lead_count: Count
    """Jets above lead_pt_min."""
    lead_pt_min: NonNegative
    """So many of them are above this."""
    cleaning_radius: NonNegative
    """A jet nearer than this to the selected tau is the tau itself."""


class Selection(Section):
    """Which objects count, and which events are kept."""

    jets: JetCuts
    taus: ObjectCuts
    """Exactly one identified tau passes."""
    electrons: ObjectCuts
    muons: ObjectCuts
    """No identified electron and no identified muon passes."""
    met_min: NonNegative
    """Smallest missing transverse momentum, GeV."""
    b_tags: tuple[Count, Count | None]
    """Smallest and largest number of b-tagged jets; null: no upper bound."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low, high = self.b_tags
        if high is not None and high < low:
            raise ValueError(f"b_tags: {high} at most is less than {low} at least")
        if self.jets.lead_count and self.jets.lead_pt_min < self.jets.pt_min:
            raise ValueError(f"jets.lead_pt_min is {self.jets.lead_pt_min:g}, below pt_min {self.jets.pt_min:g}")
        return self


class Curve(Section):
    """A quantity against another one: straight lines between points, constant outside."""

    x: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """Where the points are, rising."""
    y: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """Their values."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} values, y has {len(self.y)}")
        if any(right <= left for left, right in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("x must increase")
        return self


class Variations(Section):
    """One standard deviation of each variation that selects the events again."""

    run: Names
    """Which of jes, jer and taue are made."""
    jes: Curve
    """Relative uncertainty of the jet energy scale against jet pT."""
    jes_eta_slope: NonNegative
    """The same grows with this slope in |eta|."""
    jer: Curve
    """Relative uncertainty of the jet energy resolution against |eta|."""
    taue: NonNegative
    """Relative uncertainty of the tau energy scale."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.run:
            if name not in ("jes", "jer", "taue"):
                raise ValueError(f"run: unknown variation {name!r}; known: jes, jer, taue")
        return self


class Preparation(Section):
    """What is read and selected; a preset in ``conf/prepare``."""

    tree: str
    """Name of the tree."""
    branches: Branches
    columns: dict[str, str | Finite]
    """Further branches of the ntuple: a branch with one number for each event, or a constant."""
    integers: Names
    """Those of ``columns`` that are whole numbers."""
    selection: Selection
    variations: Variations

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = sorted(set(self.integers) - set(self.columns))
        if unknown:
            raise ValueError(f"integers: {', '.join(unknown)} not in columns")
        if "jer" in self.variations.run and self.branches.jets.gen_index is None:
            raise ValueError("variations.run has jer, which needs branches.jets.gen_index and gen_pt")
        return self
