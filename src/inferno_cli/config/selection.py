"""Selection of events, and how the shifted ones are made: thresholds in GeV, angles in rad."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from inferno_cli.section import Names, NonNegative, Positive, Section

Count = Annotated[int, Field(ge=0)]


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
