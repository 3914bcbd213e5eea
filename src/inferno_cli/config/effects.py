"""What each systematic does to each sample, and which nuisance parameter moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferno_cli.config.systematics import AnySystematic, WeightSystematic
from inferno_cli.section import Names


@dataclass(frozen=True)
class Effect:
    """The effect of one nuisance parameter on one sample.

    Attributes:
        parameter: Name of the nuisance parameter.
        sample: Name of the sample.
        systematic: Key of the definition in the dataset.
        definition: Its definition.
        members: Of eigenvectors: the label of each pair of variations, and its number. Else one: the parameter.
    """

    parameter: str
    sample: str
    systematic: str
    definition: AnySystematic
    members: Mapping[str, int]


def effects(systematics: Mapping[str, AnySystematic], names: Sequence[str], samples: Names) -> tuple[Effect, ...]:
    """Return what the systematics ``names`` do to ``samples``, in their order."""
    found = []
    for name in names:
        item = systematics[name]
        for sample in samples:
            if sample not in item.samples:
                continue
            parameter = item.modifier_name or (name if item.correlated else f"{name}_{sample}")
            members = {parameter: 0}
            if isinstance(item, WeightSystematic) and item.members is not None:
                members = {f"{parameter}_{i}": i for i in range(item.members)}
                if not item.envelope:
                    found += [Effect(label, sample, name, item, {label: i}) for label, i in members.items()]
                    continue
            found.append(Effect(parameter, sample, name, item, members))
    return tuple(found)


def require_consistent(systematics: Mapping[str, AnySystematic], samples: Names) -> None:
    """Check that every nuisance parameter has one meaning.

    Raises:
        ValueError: If systematics of different kinds, or two on one sample, share a parameter.
    """
    first: dict[str, Effect] = {}
    touched: dict[tuple[str, str], str] = {}
    for effect in effects(systematics, tuple(systematics), samples):
        other = first.setdefault(effect.parameter, effect)
        if other.definition.kind != effect.definition.kind:
            raise ValueError(
                f"systematics.{other.systematic} and systematics.{effect.systematic} share the parameter "
                f"{effect.parameter!r} but are of kind {other.definition.kind!r} and {effect.definition.kind!r}; a "
                "correlated pair must be of one kind: change kind, modifier_name or a name"
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
