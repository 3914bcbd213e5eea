"""The measurement that a configuration describes: the one definition that training, workspace and fit share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferno_cli.config.schema import TrainConfig
from inferno_cli.config.section import POI
from inferno_cli.config.systematics import FreeNormalisation, NormalisationSystematic


@dataclass(frozen=True)
class Measurement:
    """What the configuration says about the likelihood, apart from the templates.

    Attributes:
        samples: Names, in the order of the templates.
        signal: Those that the POI scales.
        free: NormFactors and the samples that they scale.
        normalisation: Yield uncertainties: the samples, and the factors at +1 and -1.
        shapes: Systematics with varied templates: whether their change of the yield counts.
        unconstrained: Shapes without a constraint term.
        staterror: Whether the statistical errors of the templates are in the likelihood.
    """

    samples: tuple[str, ...]
    signal: tuple[str, ...]
    free: Mapping[str, tuple[str, ...]]
    normalisation: Mapping[str, tuple[tuple[str, ...], float, float]]
    shapes: Mapping[str, bool]
    unconstrained: tuple[str, ...]
    staterror: bool

    @classmethod
    def from_config(cls, config: TrainConfig, names: Sequence[str]) -> Measurement:
        """Return the measurement with the nuisance parameters ``names``."""
        free: dict[str, tuple[str, ...]] = {}
        normalisation: dict[str, tuple[tuple[str, ...], float, float]] = {}
        shapes: dict[str, bool] = {}
        for name in names:
            item = config.systematic(name)
            touched = tuple(sample for sample in item.samples if sample in config.sample_names)
            if isinstance(item, FreeNormalisation):
                free[name] = touched
            elif isinstance(item, NormalisationSystematic):
                normalisation[name] = (touched, *item.factors)
            else:
                shapes[name] = getattr(item, "normalisation", True)
        return cls(
            samples=config.sample_names,
            signal=config.signal_names,
            free=free,
            normalisation=normalisation,
            shapes=shapes,
            unconstrained=tuple(name for name in config.nuisance.unconstrained if name in names),
            staterror=config.likelihood.staterror,
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters but the staterror's, the POI first."""
        return (POI, *self.free, *self.normalisation, *self.shapes)
