"""Nuisance parameters as inputs (arXiv:2105.08742): a classifier that knows by how much an event is varied.

In the training a view of an event comes with the values of the parameters in it: 0, or 1 of what is varied up and -1
of what is varied down. A histogram has the same bins for all events, so the network is applied at fixed values: the
nominal ones, or those that a fit has found. (What the publication does beyond, the score of the data at the values that
are tested, is no histogram that a HistFactory likelihood could hold.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from inferno_cli.errors import ConfigError, closest
from inferno_cli.section import Finite, Names
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.sample import Sample


VALUES: Mapping[str, float] = {"up": 1.0, "down": -1.0}
"""What is told of a direction."""


class Parametrised(Network):
    """A multilayer perceptron of the features and of the values of nuisance parameters."""

    is_told: ClassVar[bool] = True
    kind: Literal["parametrised"] = "parametrised"
    """Nuisance parameters as inputs."""
    parameters: Annotated[Names, Field(min_length=1)]
    """Nuisance parameters that are inputs: those in the training that vary the features of events."""
    at: dict[str, Finite] = Field(default={})
    """Values at which the network is applied, 1 being the variation up; 0 of those that are not named."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    """Units of each hidden layer."""
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"]
    """Activation function of the hidden layers."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.at:
            if name not in self.parameters:
                raise ValueError(f"at: {name!r} is none of parameters{closest(name, self.parameters)}")
        return self

    def prepared(self, samples: Sequence[Sample]) -> list[Sample]:
        """Give every sample a view of its own for each parameter, up and down, also where nothing is varied.

        A value that background alone had would tell the network that an event is background.

        Raises:
            ConfigError: If a parameter varies the features of no sample.
        """
        seen: dict[str, None] = {}
        for sample in samples:
            pairs = zip(sample.variations, sample.view, strict=True)
            seen |= dict.fromkeys(variation.systematic for variation, view in pairs if view > 0)
        for parameter in self.parameters:
            if parameter not in seen:
                raise ConfigError(
                    f"model.network.parameters has {parameter!r}, and nothing in the training varies the features of "
                    f"events with it{closest(parameter, seen)}: a change of weights or yields alone cannot be told to "
                    f"a network. Known are {', '.join(seen) or 'none'}; choose among them, or add it to nuisance.train"
                )
        return [self._with_views(sample) for sample in samples]

    def told(self, samples: Sequence[Sample]) -> list[Tensor]:
        """Return the values of the parameters in every view of each sample."""
        import torch

        found = []
        for sample in samples:
            values = torch.zeros(len(sample.features), len(self.parameters))
            for variation, view in zip(sample.variations, sample.view, strict=True):
                if variation.systematic in self.parameters:
                    values[view, self.parameters.index(variation.systematic)] = VALUES[variation.direction]
            found.append(values)
        return found

    def _with_views(self, sample: Sample) -> Sample:
        from inferno_cli.events.sample import Variation

        for parameter in self.parameters:
            if Variation(parameter, "up") not in sample.variations:
                nominal = sample.features[0], sample.weights[0]
                sample = sample.with_variation(parameter, nominal, nominal)
            if not _is_seen(sample, parameter):  # its weights alone change, with the features of the nominal view
                view, features = list(sample.view), [sample.features]
                for row, variation in enumerate(sample.variations):
                    if variation.systematic == parameter:
                        view[row] = sum(len(block) for block in features)
                        features.append(sample.features[:1])
                sample = replace(sample, features=np.concatenate(features), view=tuple(view))
        return sample

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:
        """Return a perceptron that takes features, or features and parameters; without these it has its own values."""
        import torch
        from torch import nn

        from inferno_cli.training.layers import Appended
        from inferno_cli.training.networks.mlp import Mlp

        values = torch.tensor([self.at.get(name, 0.0) for name in self.parameters], dtype=mean.dtype)
        perceptron = Mlp(hidden=self.hidden, activation=self.activation)
        inputs = torch.cat([mean, torch.zeros_like(values)]), torch.cat([deviation, torch.ones_like(values)])
        return nn.Sequential(Appended(len(mean), values), *perceptron.build(*inputs, n_outputs))


def _is_seen(sample: Sample, parameter: str) -> bool:
    """Whether a parameter has views of its own, up and down."""
    pairs = zip(sample.variations, sample.view, strict=True)
    return any(view > 0 for variation, view in pairs if variation.systematic == parameter)
