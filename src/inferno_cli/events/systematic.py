"""What every kind of systematic uncertainty answers for itself; each kind is a file of ``events/systematics``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from inferno_cli.events.modifiers import Modifier, Morph, MorphPart, Smoothing
from inferno_cli.events.sample import DIRECTIONS, Direction, Sample
from inferno_cli.section import Names, Positive, Section


@dataclass(frozen=True)
class ShiftedTrees:
    """Which trees hold the events of a systematic.

    Attributes:
        systematic: Key of the systematic in the dataset.
        source: What {systematic} is in the patterns.
        directions: Those that have a tree.
        variation, tree, file: Patterns in the place of the dataset's; None: the dataset's.
        paired: Whether their ids are those of the nominal events; else they are other events.
        by_era: Whether each era has a nuisance parameter.
    """

    systematic: str
    source: str
    directions: tuple[Direction, ...] = DIRECTIONS
    variation: str | None = None
    tree: str | None = None
    file: str | None = None
    paired: bool = True
    by_era: bool = False

    def apart(self, sample: str, direction: str, era: str = "") -> str | None:
        """Return what the events of a sample are called where they are others than the nominal ones."""
        if self.paired:
            return None
        return f"{sample}@{self.systematic}_{direction}" + (f"_{era}" if self.by_era else "")


class Correlation(Section):
    """How the effects of one systematic are correlated."""

    by: Literal["sample", "era", "channel"]
    """Each of these has a nuisance parameter of its own: NAME_SAMPLE, NAME_ERA, which varies the events of that era, or
    NAME_CHANNEL, which varies the templates of that channel."""


def _bool_or_object(value: Any) -> str:
    return "object" if isinstance(value, Mapping | Correlation) else "boolean"


AnyCorrelation = Annotated[
    Annotated[bool, Tag("boolean")] | Annotated[Correlation, Tag("object")], Discriminator(_bool_or_object)
]
"""One parameter for all, or one for each of something."""


class Origin(Section):
    """What a systematic may ask the dataset that it belongs to."""

    if TYPE_CHECKING:

        @property
        def features(self) -> Names:
            """Names of the features: a field or a property of each dataset."""
            return ()

    has_files: ClassVar[bool] = False
    """Whether the events are in files: the same for every configuration, and perhaps changed since a run."""

    def eras_of(self, sample: str) -> Names:
        """Eras that the files of a sample are of; empty: they are all of one."""
        return ()

    @property
    def id_branches(self) -> Names:
        """Branches that identify an event."""
        return ()

    @property
    def nominal_parameters(self) -> Mapping[str, float]:
        """Parameters of the exact densities that events can be transformed to."""
        return {}

    def transformed(self, features: NDArray[np.float32], parameter: str, shift: float) -> NDArray[np.float32]:
        """Return events as they would be with one of ``nominal_parameters`` moved."""
        raise NotImplementedError(f"{type(self).__name__} has nominal_parameters and does not say how events move")


class Systematic(Section):
    """What every systematic uncertainty has.

    A kind derives from this, adds ``kind: Literal[...]`` and its own keys, and says which ``modifier`` it becomes. One
    that varies events overrides ``shifted_trees``, ``varied_weight`` or ``vary``.
    """

    samples: Annotated[Names, Field(min_length=1)]
    """The samples that it touches."""
    modifier_name: str | None = None
    """Name of the nuisance parameter, if not that of the systematic: those that share one are fully correlated."""
    correlated: AnyCorrelation = True
    """true: one nuisance parameter; false: each sample has its own, NAME_SAMPLE; {by: era} or {by: channel}: each of
    these, NAME_ERA or NAME_CHANNEL."""
    group: str | None = None
    """Part of the error of mu that it is counted in; without it the fit groups by the type of the modifier."""

    kind: str
    """Name of the kind."""

    can_be_unconstrained: ClassVar[bool] = False
    """Whether its constraint term can be dropped."""
    can_be_by_era: ClassVar[bool] = False
    """Whether it can vary the events of one era alone: its variations are trees, or weights of events."""

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.modifier_name is not None and self.parameter_by == "sample":
            raise ValueError(
                f"modifier_name {self.modifier_name!r} shares one parameter, and correlated=false asks for one per "
                "sample; drop one of the two"
            )
        if self.parameter_by == "era" and not self.can_be_by_era:
            raise ValueError(f"correlated: by is 'era', and kind {self.kind!r} cannot vary the events of one era alone")
        return self

    @property
    def parameter_by(self) -> Literal["sample", "era", "channel"] | None:
        """What each has a nuisance parameter of its own; None: all share one."""
        if isinstance(self.correlated, Correlation):
            return self.correlated.by
        return None if self.correlated else "sample"

    def check(self, key: str, dataset: Origin) -> None:
        """Raise ValueError, with the key in front, if the dataset cannot have this systematic."""

    def parameters(self, name: str, sample: str, part: str = "") -> dict[str, dict[str, int]]:
        """Return the nuisance parameters of one sample, each with the labels of its variations and their numbers.

        The systematic is called ``name`` in the dataset. Those of a ``part``, an era or a channel, vary what is in it.
        """
        own = sample if self.parameter_by == "sample" else part
        parameter = (self.modifier_name or name) + (f"_{own}" if own else "")
        return {parameter: {parameter: 0}}

    @abstractmethod
    def modifier(self, members: Names) -> Modifier:
        """Return what a parameter is in the likelihood, given the labels of its variations."""

    def shifted_trees(self, name: str) -> ShiftedTrees | None:
        """Return which trees hold its shifted events; None: it has none."""
        return None

    @property
    def missing(self) -> Direction | None:
        """The direction without events of its own, for which the nominal ones are taken; None: it has both."""
        return None

    def varied_weight(self, direction: Direction, number: int) -> str | None:
        """Return the weight of the nominal events in one direction, of one member; None: it has none of its own."""
        return None

    def vary(self, sample: Sample, parameter: str, dataset: Origin) -> Sample:
        """Return the events of a sample with the variations that are computed from the nominal ones."""
        return sample

    def true_yield(self, value: float) -> float | None:
        """Return the yield where the true parameter is ``value``, relative to the nominal one.

        The parameter is in units of one standard deviation, that of a NormFactor is the factor. None: what the kind
        does is known at +1 and -1 alone, from simulated events.
        """
        return None

    def true_features(self, features: NDArray[np.float32], value: float, dataset: Origin) -> NDArray[np.float32]:
        """Return nominal events, shape (n_events, n_features), as they are where the true parameter is ``value``."""
        return features

    def is_possible(self, value: float, dataset: Origin) -> bool:
        """Whether there are events where the true parameter is ``value``: a rate is above 0."""
        return True

    def density_parameter(self) -> tuple[str, float] | None:
        """Return the parameter of the dataset's exact densities that it moves, and one standard deviation of it."""
        return None


class MorphSystematic(Systematic):
    """A systematic that moves events between bins, so that its templates can be scaled."""

    scale: Positive = 1.0
    """Size of one standard deviation in units of what the up and down variations are."""
    part: MorphPart = "both"
    """What counts: ``norm``, the change of the yield alone, ``shape``, that of the shape alone, or both."""
    smooth: Smoothing | None = None
    """Smooth the final templates relative to the nominal one, over neighbouring bins; null: never."""

    can_be_unconstrained: ClassVar[bool] = True

    def modifier(self, members: Names) -> Morph:
        """Return a shape, scaled."""
        return Morph(members, self.scale, self.part, smooth=self.smooth)


class OneSided(MorphSystematic):
    """One of which the up or the down variation alone may be known."""

    symmetrise: Literal["mirror", "none"] | None = None
    """What a direction without events is: the mirror image of the other one, 2 nominal - varied, or the nominal."""

    @property
    @abstractmethod
    def sides(self) -> tuple[Direction, ...]:
        """Directions that have events."""

    @property
    def missing(self) -> Direction | None:
        """The direction that has none."""
        absent = [direction for direction in DIRECTIONS if direction not in self.sides]
        return absent[0] if absent else None

    @model_validator(mode="after")
    def _rule_for_missing(self) -> Self:
        if self.missing is not None and self.symmetrise is None:
            raise ValueError(
                f"there is no {self.missing} variation; say what it is: symmetrise: mirror (2 nominal - "
                f"{self.sides[0]}) or symmetrise: none (the nominal)"
            )
        if self.missing is None and self.symmetrise is not None:
            raise ValueError(
                f"symmetrise is {self.symmetrise!r}, and both variations are there; drop symmetrise, or one of the two"
            )
        return self

    def modifier(self, members: Names) -> Morph:
        """Return a shape, scaled, and what its missing direction is."""
        return replace(super().modifier(members), missing=self.missing, mirror=self.symmetrise == "mirror")
