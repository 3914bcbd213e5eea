"""An exact change of one parameter of the synthetic mixture."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import Sample
from inferno_cli.events.systematic import Origin, Systematic
from inferno_cli.section import Names, Positive


class TransformSystematic(Systematic):
    """An exact change of one parameter of the synthetic mixture."""

    kind: Literal["transform"]
    """Exact transformation."""
    parameter: Literal["r", "lambda"]
    """Parameter of the mixture."""
    width: Positive
    """One standard deviation of the constraint."""
    step: Positive | None = None
    """How far the templates are from the nominal; null: ``width``. Beyond a smaller step they are extrapolated."""

    can_be_unconstrained: ClassVar[bool] = True

    @property
    def moved(self) -> float:
        """Change of the parameter in the varied events."""
        return self.width if self.step is None else self.step

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse other datasets and samples, and a rate that would not be positive."""
        if self.parameter not in dataset.nominal_parameters:
            raise ValueError(f"{key}: kind 'transform' belongs to the synthetic dataset")
        if self.samples != ("background",):
            raise ValueError(f"{key}: r and lambda act on the background alone")
        nominal = dataset.nominal_parameters[self.parameter]
        if self.parameter == "lambda" and self.moved >= nominal:
            step = "width" if self.step is None else "step"
            raise ValueError(f"{key}.{step} is {self.moved:g}: lambda - {step} must be above 0 (nominal {nominal:g})")

    def modifier(self, members: Names) -> Morph:
        """Return a shape; one standard deviation in units of the change in the varied events is its scale."""
        return Morph(members, self.width / self.moved)

    def vary(self, sample: Sample, parameter: str, dataset: Origin) -> Sample:
        """Add the transformed events."""
        sides = []
        for sign in (1, -1):
            moved = dataset.transformed(sample.features[0], self.parameter, sign * self.moved)
            sides.append((moved, sample.weights[0]))
        return sample.with_variation(parameter, *sides)

    def true_yield(self, value: float) -> float:
        """Return 1: the density keeps its integral."""
        return 1.0

    def true_features(self, features: NDArray[np.float32], value: float, dataset: Origin) -> NDArray[np.float32]:
        """Return the events transformed exactly, whatever ``step`` the templates have."""
        return dataset.transformed(features, self.parameter, value * self.width)

    def is_possible(self, value: float, dataset: Origin) -> bool:
        """Whether a rate is above 0."""
        return self.parameter != "lambda" or dataset.nominal_parameters[self.parameter] + value * self.width > 0

    def density_parameter(self) -> tuple[str, float]:
        """Return the parameter and its width."""
        return self.parameter, self.width
