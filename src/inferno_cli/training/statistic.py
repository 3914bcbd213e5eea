"""A trained network with its final bins: what a run learned, to be applied to other events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inferno_cli.config import TrainConfig
from inferno_cli.errors import RunError
from inferno_cli.training.epochs import CHECKPOINT
from inferno_cli.training.evaluation import outputs
from inferno_cli.training.modules import SummaryModule, restore


@dataclass(frozen=True)
class Prediction:
    """What the statistic says of some events.

    Attributes:
        response: INFERNO: membership of each bin of the network. BCE: the score. Float64, shape (n_events, n).
        network_bin: Bin of the network, shape (n_events,).
        bin: Bin of the fitted histogram, shape (n_events,).
    """

    response: NDArray[np.float64]
    network_bin: NDArray[np.intp]
    bin: NDArray[np.intp]


@dataclass(frozen=True)
class Statistic:
    """The statistic of a run.

    Attributes:
        module: The trained network and its rule.
        features: Names of its inputs, in order.
        groups: For each bin of the fitted histogram, the bins of the network that it is made of.
    """

    module: SummaryModule
    features: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def load(cls, folder: Path, config: TrainConfig, groups: tuple[tuple[int, ...], ...], epoch: int) -> Statistic:
        """Load the statistic of a finished run.

        Args:
            folder: Folder of the run.
            config: Its configuration.
            groups: Its final bins.
            epoch: The epoch that it selected.

        Raises:
            RunError: If there is no checkpoint, or it is not of this run.
        """
        path = folder / CHECKPOINT
        if not path.is_file():
            raise RunError(f"the checkpoint {path} is missing. Copy the whole folder of the run, or train again")
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            module = restore(config, stored["state_dict"])
        except Exception as error:  # torch raises many kinds for a damaged file
            raise RunError(
                f"the checkpoint {path} cannot be read, or is not of this run "
                f"({type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}). "
                "Copy the whole folder of the run again, or train again"
            ) from error
        if stored["epoch"] != epoch:
            raise RunError(
                f"the checkpoint {path} is of epoch {stored['epoch']}, the run selected {epoch}: a later run "
                "wrote into the same folder and did not finish. Train again"
            )
        return cls(module, config.dataset.features, groups)

    @property
    def final(self) -> NDArray[np.intp]:
        """Bin of the fitted histogram of each bin of the network."""
        final = np.empty(sum(map(len, self.groups)), dtype=np.intp)
        for number, group in enumerate(self.groups):
            final[list(group)] = number
        return final

    def logits(self, features: NDArray[np.float32]) -> torch.Tensor:
        """Outputs of the network before its last function, float64, shape (n_events, n)."""
        return outputs(self.module, torch.from_numpy(features), torch.float64)

    @torch.no_grad()
    def apply(self, features: NDArray[np.float32]) -> Prediction:
        """Apply to features, shape (n_events, n_features)."""
        logits = self.logits(features)
        network_bin = self.module.hard(logits).cpu().numpy()
        return Prediction(self.module.response(logits).cpu().numpy(), network_bin, self.final[network_bin])
