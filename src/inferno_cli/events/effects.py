"""What each systematic does to each sample, and which nuisance parameter moves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from inferno_cli.choices import any_of
from inferno_cli.events.modifiers import Modifier
from inferno_cli.events.systematic import ShiftedTrees, Systematic
from inferno_cli.section import Names

if TYPE_CHECKING:
    AnySystematic = Systematic
else:
    AnySystematic = any_of("inferno_cli.events.systematics", Systematic)


@dataclass(frozen=True)
class Effect:
    """The effect of one nuisance parameter on one sample.

    Attributes:
        systematic: Key of the definition in the dataset.
        members: Of eigenvectors: the label of each pair of variations, and its number. Else one: the parameter.
        era: The era whose events it varies; empty: those of all.
        channel: The channel whose templates it varies; empty: those of all.
    """

    parameter: str
    sample: str
    systematic: str
    definition: Systematic
    members: Mapping[str, int]
    era: str = ""
    channel: str = ""

    @property
    def modifier(self) -> Modifier:
        """What the parameter is in the likelihood."""
        return self.definition.modifier(tuple(self.members))

    @property
    def shifted_trees(self) -> ShiftedTrees | None:
        """Which trees hold its shifted events; None: it has none."""
        return self.definition.shifted_trees(self.systematic)


def effects(
    systematics: Mapping[str, Systematic],
    names: Sequence[str],
    samples: Names,
    eras_of: Callable[[str], Names],
    channels: Names = ("",),
) -> tuple[Effect, ...]:
    """Return what the systematics ``names`` do to ``samples``, which are of some eras, in their order.

    Without ``channels`` one is said for all of them, under the name of the systematic alone.

    Raises:
        ValueError: If one has a parameter for each era, and there are none.
    """
    made = []
    for name in names:
        item = systematics[name]
        is_by_era, is_by_channel = item.parameter_by == "era", item.parameter_by == "channel"
        if is_by_era and not any(eras_of(sample) for sample in samples):
            raise ValueError(
                f"systematics.{name}.correlated: by is 'era', and the dataset has no eras; see dataset.eras"
            )
        for sample in samples:
            if sample not in item.samples:
                continue
            eras = eras_of(sample) if is_by_era else ("",)
            for era, channel in product(eras, channels if is_by_channel else ("",)):
                for parameter, members in item.parameters(name, sample, era or channel).items():
                    made.append(Effect(parameter, sample, name, item, members, era, channel))
    return tuple(made)


def require_consistent(every: Sequence[Effect]) -> None:
    """Raise ValueError if systematics of different kinds, or two on one sample, share a parameter."""
    first: dict[str, Effect] = {}
    touched: dict[tuple[str, str], str] = {}
    for effect in every:
        other = first.setdefault(effect.parameter, effect)
        if other.definition.kind != effect.definition.kind:
            raise ValueError(
                f"systematics.{other.systematic} and systematics.{effect.systematic} share the parameter "
                f"{effect.parameter!r} but are of kind {other.definition.kind!r} and {effect.definition.kind!r}; a "
                "correlated pair must be of one kind: change kind, modifier_name or a name"
            )
        if (other.era, other.channel) != (effect.era, effect.channel):
            raise ValueError(
                f"systematics.{other.systematic} and systematics.{effect.systematic} share the parameter "
                f"{effect.parameter!r}, which varies {_events_of(other)} and {_events_of(effect)}; rename one"
            )
        if effect.definition.modifier_name is None and other.systematic != effect.systematic:
            raise ValueError(
                f"systematics.{other.systematic} and systematics.{effect.systematic} both make a parameter "
                f"{effect.parameter!r}; rename one, or correlate them with modifier_name"
            )
        # The members of an envelope have labels of their own, and the envelope becomes the parameter.
        for label in dict.fromkeys((effect.parameter, *effect.members)):
            double = touched.setdefault((label, effect.sample), effect.systematic)
            if double != effect.systematic:
                raise ValueError(
                    f"systematics.{double} and systematics.{effect.systematic} vary sample {effect.sample!r} with the "
                    f"same parameter {effect.parameter!r}; a sample can be in one of them"
                )


def _events_of(effect: Effect) -> str:
    return f"the events of {effect.era or effect.channel}" if effect.era or effect.channel else "all events"
