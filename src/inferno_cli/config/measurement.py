"""The measurement that a configuration describes: the one definition that training, workspace and fit share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferno_cli.config.steps import TrainConfig
from inferno_cli.config.systematics import FreeNormalisation, MorphSystematic, NormalisationSystematic
from inferno_cli.section import POI, Names


@dataclass(frozen=True)
class Morph:
    """How the templates of a variation are used in the likelihood.

    Attributes:
        scale: One standard deviation is this many times the variation.
        normalisation: Whether the change of the yield counts.
        members: Labels of the variations: one, or several of an envelope, which are summed in quadrature.
    """

    members: Names
    scale: float = 1.0
    normalisation: bool = True


@dataclass(frozen=True)
class Measurement:
    """What the configuration says about the likelihood, apart from the templates.

    Attributes:
        samples: Names, in the order of the templates.
        signal: Those that the POI scales.
        free: NormFactors: the samples that they scale.
        bounds: Range of each NormFactor of ``free``.
        normalisation: Yield uncertainties: for each sample the factors at +1 and -1.
        shapes: Parameters with varied templates: for each sample how these are used.
        unconstrained: Shapes without a constraint term.
        staterror: Whether the statistical errors of the templates are in the likelihood.
    """

    samples: Names
    signal: Names
    free: Mapping[str, Names]
    bounds: Mapping[str, tuple[float, float]]
    normalisation: Mapping[str, Mapping[str, tuple[float, float]]]
    shapes: Mapping[str, Mapping[str, Morph]]
    unconstrained: Names
    staterror: bool

    @classmethod
    def from_config(cls, config: TrainConfig, names: Names) -> Measurement:
        """Return the measurement with the nuisance parameters of the systematics ``names``."""
        free: dict[str, Names] = {}
        bounds: dict[str, tuple[float, float]] = {}
        normalisation: dict[str, dict[str, tuple[float, float]]] = {}
        shapes: dict[str, dict[str, Morph]] = {}
        for effect in config.effects(names):
            item, parameter, sample = effect.definition, effect.parameter, effect.sample
            if isinstance(item, FreeNormalisation):
                free[parameter] = (*free.get(parameter, ()), sample)
                bounds[parameter] = item.bounds
            elif isinstance(item, NormalisationSystematic):
                normalisation.setdefault(parameter, {})[sample] = item.factors
            elif isinstance(item, MorphSystematic):
                morph = Morph(tuple(effect.members), item.scale, item.normalisation)
                shapes.setdefault(parameter, {})[sample] = morph
            else:
                shapes.setdefault(parameter, {})[sample] = Morph((parameter,), item.scale)
        freed = config.parameters(tuple(name for name in config.nuisance.unconstrained if name in names))
        return cls(
            samples=config.sample_names,
            signal=config.signal_names,
            free=free,
            bounds=bounds,
            normalisation=normalisation,
            shapes=shapes,
            unconstrained=freed,
            staterror=config.likelihood.staterror,
        )

    @property
    def parameters(self) -> Names:
        """Names of all parameters but the staterror's, the POI first."""
        return (POI, *self.free, *self.normalisation, *self.shapes)

    @property
    def variations(self) -> Names:
        """Labels of the variations of the events that the shapes are made of."""
        morphs = [morph for by_sample in self.shapes.values() for morph in by_sample.values()]
        return tuple(dict.fromkeys(label for morph in morphs for label in morph.members))
