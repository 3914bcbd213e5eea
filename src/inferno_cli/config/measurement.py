"""The measurement that a configuration describes: the one definition that training, workspace and fit share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.modifiers import Morph, NormFactor, NormSys
from inferno_cli.section import POI, REGION, Names
from inferno_cli.training.metrics import metrics
from inferno_cli.training.objectives import FigureOfMerit

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """What the configuration says about the likelihood, apart from the templates.

    Attributes:
        samples: Names, in the order of the templates.
        signal: Those that ``mu``, the POI of the measurement, scales.
        free: NormFactors: the samples that they scale; first those of the other POIs.
        bounds: Range of each NormFactor of ``free``.
        normalisation: Yield uncertainties: for each sample the factors at +1 and -1.
        shapes: Parameters with varied templates: for each sample how these are used.
        unconstrained: Shapes without a constraint term.
        staterror: Whether the statistical errors of the templates are in the likelihood.
        pois: The POIs, ``mu`` first. HistFactory has one; the others are NormFactors, which scale signals of their own.
        merit: The number that the epoch and the bins are chosen by.
        channels: Names of its channels.
        only_in: Parameters of one channel: its name, and the names in the likelihood of its folds.
    """

    samples: Names
    signal: Names
    free: Mapping[str, Names]
    bounds: Mapping[str, tuple[float, float]]
    normalisation: Mapping[str, Mapping[str, tuple[float, float]]]
    shapes: Mapping[str, Mapping[str, Morph]]
    unconstrained: Names
    staterror: bool
    pois: Names = (POI,)
    merit: FigureOfMerit = field(default_factory=FigureOfMerit)
    channels: Names = (REGION,)
    only_in: Mapping[str, Names] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: TrainConfig, names: Names, *, of_training: bool = False) -> Measurement:
        """Return the measurement with the nuisance parameters of the systematics ``names``.

        ``of_training`` leaves out the channels that are in the fit alone.
        """
        free = {poi: samples for poi, samples in config.pois.items() if poi != POI}
        bounds = dict.fromkeys(free, config.likelihood.poi_bounds)
        normalisation: dict[str, dict[str, tuple[float, float]]] = {}
        shapes: dict[str, dict[str, Morph]] = {}
        only_in: dict[str, Names] = {}
        channels = tuple(name for name, channel in config.channels.items() if channel.train or not of_training)
        for effect in config.effects(names):
            parameter, sample = effect.parameter, effect.sample
            if effect.channel and effect.channel not in channels:
                continue  # nothing would depend on it
            if effect.channel:
                only_in[parameter] = (effect.channel, *config.folds_of(effect.channel))
            match effect.modifier:
                case NormFactor() as factor:
                    free[parameter] = (*free.get(parameter, ()), sample)
                    bounds[parameter] = factor.bounds
                case NormSys() as yields:
                    normalisation.setdefault(parameter, {})[sample] = yields.factors
                case Morph() as morph:
                    shapes.setdefault(parameter, {})[sample] = morph
        merit = config.model.objective.merit(tuple(config.pois))
        if config.trainer.select is not None:
            merit = metrics()[config.trainer.select].choosing(merit)
        freed = config.parameters(tuple(name for name in config.nuisance.unconstrained if name in names))
        return cls(
            samples=config.sample_names,
            signal=config.pois[POI],
            free=free,
            bounds=bounds,
            normalisation=normalisation,
            shapes=shapes,
            unconstrained=freed,
            staterror=config.likelihood.staterror,
            pois=tuple(config.pois),
            merit=merit,
            channels=channels,
            only_in=only_in,
        )

    def within(self, channel: str) -> Measurement:
        """Return what of the measurement acts in one channel of the likelihood."""
        elsewhere = {name for name, channels in self.only_in.items() if channel not in channels}
        if not elsewhere:
            return self

        def acting(effects: Mapping[str, T]) -> dict[str, T]:
            return {name: value for name, value in effects.items() if name not in elsewhere}

        kinds = acting(self.free), acting(self.normalisation), acting(self.shapes)
        return replace(self, free=kinds[0], normalisation=kinds[1], shapes=kinds[2])

    @property
    def parameters(self) -> Names:
        """Names of all parameters but the staterror's, the POI first."""
        return (POI, *self.free, *self.normalisation, *self.shapes)

    @property
    def movable(self) -> Names:
        """Names of the parameters of which one standard deviation has a size: all but the POIs and the free yields."""
        return (*self.normalisation, *self.shapes)

    @property
    def variations(self) -> Names:
        """Labels of the variations of the events that the shapes are made of."""
        morphs = [morph for by_sample in self.shapes.values() for morph in by_sample.values()]
        return tuple(dict.fromkeys(label for morph in morphs for label in morph.members))
