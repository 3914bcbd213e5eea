"""A score that exists already: a network of anybody in an ONNX file, or features that are one.

Nothing of it is trained, and its bins are chosen for the fit: at quantiles, or learnt with the objective, systematics
and all. On several scores, hidden layers of our own may make the bins, as GATO does with Gaussians (arXiv:2601.07756).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr

from inferno_cli.errors import ConfigError, closest
from inferno_cli.section import Names
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.training.imported import Imported
    from inferno_cli.training.layers import Columns
    from inferno_cli.training.summaries import NominalEvents


class External(Network):
    """A score that exists already."""

    kind: Literal["external"] = "external"
    """An existing score: an ONNX file, or some of the features."""
    file: str | None = None
    """ONNX file from dataset.features to scores; null: the scores are features."""
    output: str | None = None
    """Output of the file that is taken; null: the one that it has."""
    columns: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Columns of this output that are taken, from 0; null: all."""
    features: Annotated[int, Field(ge=1)] | Annotated[Names, Field(min_length=1)] = 1
    """Without a file: features that are scores, by name, or how many of the first."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Units of hidden layers that are trained on the scores, for bins in several of them; null: none."""
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"] = "relu"
    """Activation function of these."""

    _names: Names | None = PrivateAttr(default=None)

    @property
    def is_trained(self) -> bool:  # type: ignore[override]
        """Whether there are layers to train."""
        return self.hidden is not None

    @property
    def only_outputs(self) -> int | None:  # type: ignore[override]
        """The scores, where their number is known and nothing comes after them."""
        return None if self.hidden is not None else self._n_scores

    @property
    def _n_scores(self) -> int | None:
        if self.file is not None:
            return None if self.columns is None else len(self.columns)
        return self.features if isinstance(self.features, int) else len(self.features)

    def for_features(self, names: Names) -> Self:
        """Take the names of the features.

        Raises:
            ConfigError: If the scores are not among them.
        """
        known = self.model_copy()
        known._names = names
        known._taken(len(names))
        return known

    def require(self, names: Names) -> None:
        """Check the features, and that there is a file for them.

        Raises:
            ConfigError: If it is missing, is no ONNX file, or is for other features.
            ExportError: If it cannot be a part of the ONNX file of a run.
        """
        self.for_features(names)
        if self.file is None:
            return
        from inferno_cli.training.imported import Signature, at_least, read
        from inferno_cli.training.onnx import OPSET

        content = read(self.file)
        signature = Signature.of(content, self.file)
        at_least(content, OPSET)
        signature.columns(names, self.file)
        signature.output(self.output, self.file)

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:  # noqa: ARG002
        """Return the scores, and the layers on top of them where there are some; neither is filled."""
        import torch
        from torch import nn

        from inferno_cli.training.layers import ACTIVATIONS, Linear, Standardise

        n_scores = n_outputs if self.hidden is None else self._n_scores
        if n_scores is None:
            raise ConfigError("model.network.hidden needs the number of scores; say which with model.network.columns")
        layers: list[nn.Module] = [self._scores(len(mean), n_scores)]
        if self.hidden is None:
            return nn.Sequential(*layers)
        layers.append(Standardise(torch.zeros(n_scores), torch.ones(n_scores)))
        size = n_scores
        for width in self.hidden:
            layers += [Linear(size, width), ACTIVATIONS[self.activation]()]
            size = width
        return nn.Sequential(*layers, Linear(size, n_outputs))

    def fill(self, network: nn.Sequential, samples: Sequence[NominalEvents], log_ratio: LogRatio | None) -> None:  # noqa: ARG002
        """Read the file, and standardise the scores for the layers on top."""
        from inferno_cli.training.layers import moments

        if self.file is not None:
            from inferno_cli.training.imported import Imported, read

            assert isinstance(network[0], Imported)
            network[0].take(read(self.file))
            network[0].run(samples[0].features[:1].cpu().numpy(), self.file)  # one event tells what does not go
        if self.hidden is not None:
            scores = [network[0](sample.features[sample.weights != 0]).cpu() for sample in samples]
            network[1].mean, network[1].deviation = moments(scores)

    def about(self, network: nn.Sequential) -> dict[str, Any]:
        """Return the checksum of the file."""
        return {} if self.file is None else {"file_sha256": network[0].checksum}

    def _scores(self, n_features: int, n_scores: int) -> Imported | Columns:
        from inferno_cli.training.imported import Imported
        from inferno_cli.training.layers import Columns

        if self.file is None:
            return Columns(self._taken(n_features))
        names = self._names or tuple(f"feature_{number}" for number in range(n_features))
        return Imported(names, self.output, self.columns, n_scores)

    def _taken(self, n_features: int) -> tuple[int, ...]:
        """Return the numbers of the features that are scores."""
        if self.file is not None:
            return ()
        names = self._names or ()
        wanted = tuple(range(self.features)) if isinstance(self.features, int) else self.features
        if len(wanted) > n_features:
            raise ConfigError(
                f"model.network.features asks for {len(wanted)} scores, and dataset.features has {n_features}"
            )
        numbers = []
        for item in wanted:
            if isinstance(item, str) and item not in names:
                raise ConfigError(
                    f"model.network.features has {item!r}, and dataset.features has not got it{closest(item, names)}"
                )
            numbers.append(names.index(item) if isinstance(item, str) else item)
        return tuple(numbers)
