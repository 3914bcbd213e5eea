"""The auxiliary measurements of a model of pyhf's, and what is measured when they are repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from inferno_cli.likelihood.data import Terms
from inferno_cli.likelihood.interpolation import FloatArray

MOST_COUNTED = 1e15
"""Mean of a Poisson distribution that is drawn as such: NumPy has none above 9e18, and a normal one is the same."""


@dataclass(frozen=True)
class Auxiliary:
    """The auxiliary measurements in pyhf's order of the data, n of them; arrays have shape (n,).

    Attributes:
        labels: Parameter of each.
        parameter: Index of that parameter.
        is_normal: Which have a Gaussian constraint term; the others have a Poisson one.
        nominal: What was measured.
        width: Standard deviation of a Gaussian one, 0 of a Poisson one.
        factor: Events of a Poisson one per unit of the parameter, 0 of a Gaussian one.
    """

    labels: tuple[str, ...]
    parameter: NDArray[np.intp]
    is_normal: NDArray[np.bool_]
    nominal: FloatArray
    width: FloatArray
    factor: FloatArray

    @classmethod
    def of(cls, config: Any) -> Self:
        """Return those of a model with this ``config``."""
        indices: list[int] = []
        kinds: list[bool] = []
        widths: list[float] = []
        factors: list[float] = []
        for name in config.auxdata_order:
            parameter, place = config.param_set(name), config.par_slice(name)
            is_normal, nothing = parameter.pdf_type == "normal", [0.0] * parameter.n_parameters
            indices += range(place.start, place.stop)
            kinds += [is_normal] * parameter.n_parameters
            widths += list(parameter.width()) if is_normal else nothing
            factors += nothing if is_normal else list(parameter.factors)
        labels = tuple(config.par_names[index] for index in indices)
        nominal = np.array(config.auxdata, dtype=float)
        places, normal = np.array(indices, dtype=np.intp), np.array(kinds, dtype=bool)
        return cls(labels, places, normal, nominal, np.array(widths), np.array(factors))

    def measured(self, truth: Mapping[str, float], rng: np.random.Generator) -> FloatArray:
        """Measure once more: those of ``truth`` fluctuate around it, the others stay as they are; shape (n,)."""
        measured = self.nominal.copy()
        for index, label in enumerate(self.labels):
            if label not in truth:
                continue
            if self.is_normal[index]:
                measured[index] = truth[label] + self.width[index] * rng.standard_normal()
            else:
                measured[index] = counted(np.asarray(self.factor[index] * truth[label]), rng)
        return measured


def constraint_terms(config: Any) -> tuple[Terms, Terms]:
    """Return the Gaussian and the Poisson terms of a model of pyhf's, the auxiliary data in its order."""
    auxiliary = Auxiliary.of(config)
    terms = []
    for chosen, scale in ((auxiliary.is_normal, auxiliary.width), (~auxiliary.is_normal, auxiliary.factor)):
        measured = auxiliary.nominal[chosen]
        terms.append(Terms(auxiliary.parameter[chosen], np.flatnonzero(chosen), scale[chosen], measured))
    return terms[0], terms[1]


def counted(means: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Draw from Poisson distributions of given means; an auxiliary measurement of 1e-10 is of 1e20 events."""
    means = np.maximum(means, 0.0)  # less is the rounding of a sum: the fits that the means are of refuse it
    if (means <= MOST_COUNTED).all():
        return np.asarray(generator.poisson(means), dtype=float)
    few = generator.poisson(np.minimum(means, MOST_COUNTED))
    return np.where(means <= MOST_COUNTED, few, generator.normal(means, np.sqrt(means)))
