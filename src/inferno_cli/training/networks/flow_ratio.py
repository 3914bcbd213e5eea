"""s_flow: a score from the densities of signal and background, each learnt by an ensemble of flows.

    s = q_s / (q_s + q_b),    sigma_s = sqrt((q_s sigma_b)^2 + (q_b sigma_s)^2) / (q_s + q_b)^2

N. Simpson's thesis (2023), section 9.7. The output is log(q_s / q_b), whose sigmoid is s. The best classifier is the
ratio of the true densities, so this one is as good as the densities are, and no objective trains it.

Before the flows every feature is made nearly normal by one function for signal and background alike: a ratio of two
densities is the same after any such function, and edges and tails that affine flows cannot make are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from inferno_cli.errors import ConfigError
from inferno_cli.section import Positive
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.training.densities import Autoregressive, Ratio
    from inferno_cli.training.flows import FlowEvents, Job
    from inferno_cli.training.summaries import NominalEvents

KNOTS = 64
"""Knots of the function that makes a feature nearly normal."""
VALIDATION = 0.2
"""Share of the events that chooses the best state of a flow."""
LEAST_BATCHES = 4
"""Batches of an epoch: of few events a batch is smaller."""
LOOKS = 40
"""Looks at the validation events."""


@dataclass(frozen=True)
class _Training:
    """What the flows are trained with."""

    transforms: int
    hidden: tuple[int, ...]
    activation: str
    iterations: int
    batch_size: int
    learning_rate: float
    validate_every: int


class FlowRatio(Network):
    """The ratio of the densities of signal and background."""

    is_trained: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = 1
    kind: Literal["flow_ratio"] = "flow_ratio"
    """The ratio of two densities that flows learn."""
    members: Annotated[int, Field(ge=1)]
    """Flows of signal and of background, with other first weights and batches; the mean of the densities is taken."""
    transforms: Annotated[int, Field(ge=1)]
    """Autoregressive layers of a flow."""
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """Units of each hidden layer in each of them."""
    activation: Literal["relu", "elu", "silu", "tanh"]
    """Activation function of the hidden layers."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the events of the larger of the two classes."""
    batch_size: Annotated[int, Field(ge=2)]
    """Events of a batch."""
    learning_rate: Positive
    """Learning rate of Adam."""

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:  # noqa: ARG002
        """Return densities without weights, and the seed of their training."""
        import torch
        from torch import nn

        from inferno_cli.training.densities import Gaussianise, Ratio

        n = len(mean)
        ratio = Ratio(Gaussianise(n, KNOTS), self._densities(n), self._densities(n))
        ratio.seed.copy_(torch.randint(2**31, (1,)))
        return nn.Sequential(ratio)

    def _densities(self, n_features: int) -> list[Autoregressive]:
        from inferno_cli.training.densities import Autoregressive

        found = []
        for _ in range(self.members):
            found.append(Autoregressive(n_features, self.hidden, self.transforms, self.activation))
        return found

    def fill(self, network: nn.Sequential, samples: Sequence[NominalEvents], log_ratio: LogRatio | None) -> None:  # noqa: ARG002
        """Train the flows on the nominal events of signal and background, with their weights.

        Raises:
            ConfigError: If zuko is missing, or one of both has no events.
            FlowError: If a training diverges.
        """
        from inferno_cli.progress import progress
        from inferno_cli.training.densities import Ratio
        from inferno_cli.training.flows import train_flows

        ratio = network[0]
        assert isinstance(ratio, Ratio)
        events, jobs = self._events(ratio, samples)
        largest = max(len(job.train) for job in jobs)
        batch_size = max(2, min(self.batch_size, largest // LEAST_BATCHES))
        iterations = ceil(self.epochs * largest / batch_size)
        settings = _Training(
            self.transforms,
            self.hidden,
            self.activation,
            iterations,
            batch_size,
            self.learning_rate,
            max(1, iterations // LOOKS),
        )
        with progress("auto", "flows of signal and background", iterations * len(jobs)) as advance:
            trained = train_flows(events, events, jobs, settings, seed=int(ratio.seed), advance=advance)
        parts: list[Any] = [*ratio.signal, *ratio.background]
        for part, flow in zip(parts, trained, strict=True):
            part.take(flow.network.to(ratio.error.device))
        ratio.error.copy_(_mean_error(ratio, samples))

    def _events(self, ratio: Ratio, samples: Sequence[NominalEvents]) -> tuple[FlowEvents, list[Job]]:
        """Return the events of both classes, and the jobs of the flows of the signal and then of the background."""
        import numpy as np
        import torch

        from inferno_cli.events.sample import generator
        from inferno_cli.training.flows import FlowEvents, Job

        features, weights, rows, start = [], [], [], 0
        for is_signal in (True, False):
            chosen = [sample for sample in samples if sample.is_signal == is_signal]
            own = torch.cat([torch.zeros(0).double(), *(sample.weights[sample.weights != 0] for sample in chosen)])
            if not len(own):
                name = "signal" if is_signal else "background"
                raise ConfigError(f"the network 'flow_ratio' needs events of the {name}, and there are none")
            features += [sample.features[sample.weights != 0] for sample in chosen]
            weights.append(own / own.mean())
            rows.append(start + generator(int(ratio.seed), f"division {is_signal}").permutation(len(own)))
            start += len(own)
        device = ratio.error.device
        every, every_weight = torch.cat(features).to(device), torch.cat(weights).to(device)
        # Both classes count alike, so that neither has its knots where it has no events.
        shares = [torch.full((len(own),), 1 / len(own), device=device) for own in weights]
        ratio.first.place(every, every_weight * torch.cat(shares))
        jobs: list[Job] = []
        for numbers in rows:
            train, validation = np.split(numbers, [round((1 - VALIDATION) * len(numbers))])
            for _ in range(self.members):
                jobs.append(Job(np.sort(train), np.sort(validation), len(jobs)))
        context = torch.zeros(len(every), 0, device=device)
        return FlowEvents(ratio.first(every).float(), every_weight.float(), context), jobs

    def about(self, network: nn.Sequential) -> dict[str, Any]:
        """Return the mean error of the score, from the spread of the members."""
        from inferno_cli.training.densities import Ratio

        ratio = network[0]
        assert isinstance(ratio, Ratio)
        return {"mean_error_of_score": float(ratio.error)}


def _mean_error(ratio: Ratio, samples: Sequence[NominalEvents]) -> Tensor:
    """Return the mean of sigma_s over the events of the training, as the thesis propagates it; 0 of one member."""
    import torch

    total = norm = torch.zeros(1, dtype=torch.float64, device=ratio.error.device)
    for sample in samples:
        for rows in torch.split(torch.arange(len(sample.weights)), 20_000):
            signal, background = ratio.log_densities(sample.features[rows].to(ratio.error.device))
            weights = sample.weights[rows].to(signal)
            # In units of the larger density of an event, as both may be smaller than any number.
            top = torch.cat([signal, background], dim=-1).amax(dim=-1, keepdim=True)
            q_s, q_b = (signal - top).exp(), (background - top).exp()
            if q_s.shape[-1] == 1:
                continue
            mean_s, mean_b = q_s.mean(dim=-1), q_b.mean(dim=-1)
            error = torch.hypot(mean_s * q_b.std(dim=-1), mean_b * q_s.std(dim=-1)) / (mean_s + mean_b) ** 2
            total, norm = total + weights @ error, norm + weights.sum()
    return total / norm if float(norm) else total
