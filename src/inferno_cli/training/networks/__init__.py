"""Networks: from features to outputs. Each is one file, its section of the configuration and how it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.events.sample import Sample
    from inferno_cli.training.summaries import NominalEvents


class Network(Section, ABC):
    """What every network answers.

    Attributes:
        is_trained: Whether it has parameters that an objective trains.
        needs_densities: Whether it is made of the exact densities of the dataset.
        only_outputs: Number of outputs that it can have; None: any.
        is_told: Whether it is told by how much the events of a view are varied (``told``).
    """

    is_trained: ClassVar[bool] = True
    needs_densities: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = None
    is_told: ClassVar[bool] = False
    kind: str

    def for_features(self, names: Names) -> Self:  # noqa: ARG002
        """Return the network for features of these names, in their order, before it is built.

        Raises:
            ConfigError: If it cannot be.
        """
        return self

    def require(self, names: Names) -> None:
        """Check before the events are read that there can be a network for features of these names.

        Raises:
            ConfigError: If there cannot.
        """
        self.for_features(names)

    def prepared(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the training split as the network is to see it, with all variations of the training.

        Raises:
            ConfigError: If it cannot be trained on them.
        """
        return samples

    def told(self, samples: Sequence[Sample]) -> list[Tensor] | None:
        """Return what is told of every view of each sample in the training, in columns behind its features.

        Shape (n_views, n_columns) each; None: nothing. What is built takes features alone as well.
        """

    @abstractmethod
    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:
        """Return a network that standardises its features itself, with its first weights.

        The last layer of one that is trained is an ``nn.Linear``; ``training.layers.Linear`` is one, faster on some
        processors. A layer that is not of torch has a method ``to_onnx(graph, x)``, see ``training.onnx``. Mean and
        standard deviation are those of each feature on the training split, shape (n_features,).
        """

    def fill(self, network: nn.Sequential, samples: Sequence[NominalEvents], log_ratio: LogRatio | None) -> None:
        """Set what no objective trains, once, before a training; a checkpoint has it afterwards.

        Args:
            network: As ``build`` returns it.
            samples: The nominal events of each sample in the training split.
            log_ratio: The exact densities of the dataset where they are known.

        Raises:
            ConfigError: If it cannot be set.
        """

    def about(self, network: nn.Sequential) -> dict[str, Any]:  # noqa: ARG002
        """Return what the record of a run says of what ``fill`` has set, by key."""
        return {}
