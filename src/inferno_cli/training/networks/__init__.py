"""Networks: from features to outputs. Each is one file, its section of the configuration and how it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio


class Network(Section, ABC):
    """What every network answers.

    Attributes:
        is_trained: Whether it has parameters that an objective trains.
        needs_densities: Whether it is made of the exact densities of the dataset.
        only_outputs: Number of outputs that it can have; None: any.
    """

    is_trained: ClassVar[bool] = True
    needs_densities: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = None
    kind: str

    def for_features(self, names: Names) -> Self:  # noqa: ARG002
        """Return the network for features of these names, in their order, before it is built.

        Raises:
            ConfigError: If it cannot be.
        """
        return self

    @abstractmethod
    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:
        """Return a network that standardises its features itself, with its first weights.

        The last layer of one that is trained is an ``nn.Linear``. A layer that is not of torch has a method
        ``to_onnx(graph, x)``, see ``training.onnx``. Mean and standard deviation are those of each feature on the
        training split, shape (n_features,).
        """

    def fill(self, network: nn.Sequential, log_ratio: LogRatio | None) -> None:
        """Set what is not trained, from the exact densities of the dataset where they are known."""
