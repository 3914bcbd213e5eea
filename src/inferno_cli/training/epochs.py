"""What a training leaves: its curves, the epoch that was selected, and the network of that epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from inferno_cli.training.evaluation import NOTHING, Evaluation
from inferno_cli.training.observable import ChannelNetworks, Observable


@dataclass(frozen=True)
class Epoch:
    """One line of the training curves."""

    number: int
    loss: float
    evaluation: Evaluation

    def said(self) -> str:
        """Return what a line of progress says of the validation."""
        if self.evaluation is NOTHING:
            return "no bins yet"
        soft, hard = math.sqrt(self.evaluation.soft), math.sqrt(self.evaluation.hard)
        text = f"sigma(mu) soft {soft:.4f} hard {hard:.4f}  bins {self.evaluation.n_bins}"
        if self.evaluation.merit != self.evaluation.honest:
            text += f"  figure of merit {math.sqrt(self.evaluation.merit):.4f}"
        return text

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers to log, by name; None where the information was singular."""
        values = {
            "loss": self.loss,
            "validation/sigma_mu_soft": math.sqrt(self.evaluation.soft),
            "validation/sigma_mu_hard": math.sqrt(self.evaluation.hard),
            "validation/sigma_mu_honest": math.sqrt(self.evaluation.honest),
            "validation/figure_of_merit": math.sqrt(self.evaluation.merit),
            "validation/bins": float(self.evaluation.n_bins),
            **{f"validation/sigma/{name}": value for name, value in self.evaluation.deviations.items()},
            **{f"validation/correlation/{pair}": value for pair, value in self.evaluation.correlations.items()},
            **{f"validation/metrics/{kind}": value for kind, value in self.evaluation.metrics.items()},
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class Training:
    """A trained network, or several that were trained together.

    Attributes:
        networks: Those of the best epoch, and their bins before any are merged.
        epochs: Training curves.
        best: The selected epoch.
        validation: The network on the validation split, in the likelihood that is fitted.
        checkpoint: File of its weights.
        seconds: Wall time.
        snapshots: The networks of some late epochs, for a mean.
    """

    networks: ChannelNetworks
    epochs: tuple[Epoch, ...]
    best: Epoch
    validation: Evaluation
    checkpoint: Path
    seconds: float
    snapshots: tuple[ChannelNetworks, ...] = ()

    @property
    def observable(self) -> Observable:
        """The network, where there is one for all channels."""
        return self.networks.only
