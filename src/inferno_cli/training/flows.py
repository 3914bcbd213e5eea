"""Masked autoregressive flows of zuko (arXiv:1705.07057) on weighted events, trained side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from inferno_cli.errors import ConfigError, FlowError
from inferno_cli.events.sample import generator
from inferno_cli.progress import Advance
from inferno_cli.training.densities import ACTIVATIONS

STACK = 32
"""Flows that are trained at a time."""
CHUNK = 20_000
"""Events that are evaluated at a time."""
State = dict[str, Tensor]
Rows = NDArray[np.intp]


class FlowSettings(Protocol):
    """What a section says of flows and of their training."""

    @property
    def transforms(self) -> int:
        """Autoregressive layers."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer in each of them."""

    @property
    def activation(self) -> str:
        """Activation function of these."""

    @property
    def iterations(self) -> int:
        """Steps of Adam."""

    @property
    def batch_size(self) -> int:
        """Events of a batch."""

    @property
    def learning_rate(self) -> float:
        """Learning rate of Adam."""

    @property
    def validate_every(self) -> int:
        """Iterations between two looks at the validation events."""


@dataclass(frozen=True)
class FlowEvents:
    """Standardised events on the device of the training, all of them float32.

    Attributes:
        features: Shape (n_events, n_features).
        weights: Of mean 1 or so, negative ones among them; shape (n_events,).
        context: What the density is conditional on, shape (n_events, n_contexts), perhaps no column.
    """

    features: Tensor
    weights: Tensor
    context: Tensor


@dataclass(frozen=True)
class Job:
    """One flow to be trained: the rows of the training and of the validation events that it may see, and its number."""

    train: Rows
    validation: Rows
    number: int


@dataclass(frozen=True)
class Trained:
    """A flow and its training.

    Attributes:
        network: With the best state on the validation events, on the CPU.
        losses: Negative log-likelihood of the validation events at every look, in standardised units.
        best: Iteration of the best.
    """

    network: nn.Module
    losses: tuple[float, ...]
    best: int


def require_zuko() -> Any:
    """Return the module zuko; ConfigError, with what to install, where it is missing."""
    try:
        import zuko
    except ImportError as error:
        raise ConfigError(
            "flows need the package zuko, and it is not installed. Install it: pip install 'inferno-cli[flows]'"
        ) from error
    return zuko


def new_flow(settings: FlowSettings, n_features: int, n_contexts: int, seed: int, number: int) -> nn.Module:
    """Return a flow with its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, f"flow {number}").integers(2**31)))
        flow: nn.Module = require_zuko().flows.MAF(
            n_features,
            n_contexts,
            transforms=settings.transforms,
            hidden_features=settings.hidden,
            activation=ACTIVATIONS[settings.activation],
        )
    return flow


def train_flows(
    train: FlowEvents,
    validation: FlowEvents,
    jobs: Sequence[Job],
    settings: FlowSettings,
    *,
    seed: int,
    advance: Advance,
) -> list[Trained]:
    """Train flows; the loss of an event is times its weight.

    Args:
        train: Events that the batches are drawn from.
        validation: Events that choose the best state.
        jobs: The flows.
        settings: Layers and training.
        seed: Seed of the first weights and of the batches.
        advance: Counts iterations of flows.

    Raises:
        FlowError: If the loss of one is not finite.
    """
    found: list[Trained] = []
    for start in range(0, len(jobs), STACK):
        stack = _Stack(train, validation, jobs[start : start + STACK], settings, seed)
        with torch.enable_grad():
            found += stack.run(advance)
    return found


class _LogProb(nn.Module):
    """The logarithm of the density of a flow, whose networks are evaluated only when it is asked for."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (n_events,)."""
        log_prob: Tensor = self.flow(context if context.shape[-1] else None).log_prob(features)
        return log_prob


class _Stack:
    """Flows that are trained side by side."""

    def __init__(
        self, train: FlowEvents, validation: FlowEvents, jobs: Sequence[Job], settings: FlowSettings, seed: int
    ) -> None:
        self.train, self.validation, self.jobs, self.settings = train, validation, jobs, settings
        self.device = train.features.device
        n_features, n_contexts = train.features.shape[1], train.context.shape[1]
        self.flows = []
        for job in jobs:
            self.flows.append(_LogProb(new_flow(settings, n_features, n_contexts, seed, job.number)).to(self.device))
        self.base = copy.deepcopy(self.flows[0])
        parameters, self.buffers = stack_module_state(self.flows)
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.rngs = [generator(seed, f"batches {job.number}") for job in jobs]
        self.each = vmap(self._log_prob, in_dims=(0, 0, 0, 0))
        self.shared = vmap(self._log_prob, in_dims=(0, 0, None, None))

    def _log_prob(self, parameters: State, buffers: State, features: Tensor, context: Tensor) -> Tensor:
        log_prob: Tensor = functional_call(self.base, (parameters, buffers), (features, context))
        return log_prob

    def run(self, advance: Advance) -> list[Trained]:
        """Train, and return every flow in its best state."""
        settings = self.settings
        optimiser = torch.optim.Adam(list(self.parameters.values()), lr=settings.learning_rate)
        weights = self._validation_weights()
        best = torch.full((len(self.jobs),), torch.inf, device=self.device)
        states = {name: value.detach().clone() for name, value in self.parameters.items()}
        at, history = np.zeros(len(self.jobs), dtype=int), []
        for iteration in range(1, settings.iterations + 1):
            optimiser.zero_grad()
            torch.autograd.backward(self._loss().sum())
            optimiser.step()
            advance(len(self.jobs))
            if iteration % settings.validate_every and iteration < settings.iterations:
                continue
            validated = self._validated(weights)
            if not bool(torch.isfinite(validated).all()):
                raise FlowError(
                    f"the loss of a flow is not finite after {iteration} iterations; lower its learning_rate from "
                    f"{settings.learning_rate:g}, or look for outliers in the features (inferno data)"
                )
            history.append(validated.cpu().numpy())
            better = validated < best
            best = torch.where(better, validated, best)
            at[better.cpu().numpy()] = iteration
            for name, value in self.parameters.items():
                states[name][better] = value.detach()[better]
        return self._trained(states, np.stack(history, axis=1), at)

    def _trained(self, states: State, history: NDArray[np.float32], at: NDArray[np.int64]) -> list[Trained]:
        found = []
        for number, flow in enumerate(self.flows):
            flow.load_state_dict({name: value[number] for name, value in states.items()}, strict=False)
            found.append(Trained(flow.flow.cpu().eval(), tuple(map(float, history[number])), int(at[number])))
        return found

    def _loss(self) -> Tensor:
        """Return the weighted negative log-likelihood of a batch of each flow, shape (n_flows,)."""
        drawn = []
        for job, rng in zip(self.jobs, self.rngs, strict=True):
            drawn.append(job.train[rng.integers(len(job.train), size=self.settings.batch_size)])
        rows, events = torch.from_numpy(np.stack(drawn)).to(self.device), self.train
        log_prob = self.each(self.parameters, self.buffers, events.features[rows], events.context[rows])
        return -(events.weights[rows] * log_prob).mean(dim=1)

    def _validation_weights(self) -> Tensor:
        """Return the weights of the validation events for each flow, 0 of what it may not see, rows of sum 1."""
        weights = self.validation.weights
        found = torch.zeros(len(self.jobs), len(weights), device=self.device)
        for number, job in enumerate(self.jobs):
            rows = torch.from_numpy(job.validation).to(self.device)
            found[number, rows] = weights[rows]
        return found / found.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def _validated(self, weights: Tensor) -> Tensor:
        """Return the loss of the validation events of each flow, shape (n_flows,)."""
        events = self.validation
        total = torch.zeros(len(self.jobs), device=self.device)
        for rows in torch.split(torch.arange(len(events.features), device=self.device), CHUNK):
            log_prob = self.shared(self.parameters, self.buffers, events.features[rows], events.context[rows])
            total -= (weights[:, rows] * log_prob).sum(dim=1)
        return total
