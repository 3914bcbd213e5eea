"""The optimal classifier of known densities: what one that is trained would be with endless events and epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.errors import ConfigError
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.training.summaries import NominalEvents


class Exact(Network):
    """The logarithm of the ratio of the exact densities, signal to background; nothing is trained."""

    is_trained: ClassVar[bool] = False
    needs_densities: ClassVar[bool] = True
    only_outputs: ClassVar[int | None] = 1
    kind: Literal["exact"] = "exact"
    """The optimal classifier of known densities."""

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:  # noqa: ARG002
        """Return a polynomial whose coefficients are 0 until it is filled."""
        from torch import nn

        from inferno_cli.training.layers import Quadratic

        return nn.Sequential(Quadratic(len(mean)))

    def fill(self, network: nn.Sequential, samples: Sequence[NominalEvents], log_ratio: LogRatio | None) -> None:  # noqa: ARG002
        """Set the coefficients to those of the densities."""
        import torch

        if log_ratio is None:
            raise ConfigError("the network 'exact' needs the densities of the dataset, and they are not known")
        for name in ("square", "linear", "constant"):
            getattr(network[0], name).copy_(torch.as_tensor(getattr(log_ratio, name), dtype=torch.float64))
