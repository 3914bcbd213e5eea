"""An ensemble of conditional flows: the density of the features given the parameters, trained on weighted events.

Masked autoregressive flows of zuko. All flows of a run are trained side by side, as one stack of networks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from inferno_cli.errors import ConfigError, FlowError
from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.interpolation.grid import Grid, Table
from inferno_cli.interpolation.settings import Flow
from inferno_cli.progress import Advance

if TYPE_CHECKING:
    State = dict[str, Tensor]

STACK = 32
"""Flows that are trained at a time."""
CHUNK = 20_000
"""Events that are evaluated at a time."""
ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def require_zuko() -> Any:
    """Return the module zuko; ConfigError, with what to install, where it is missing."""
    try:
        import zuko
    except ImportError as error:
        raise ConfigError(
            "flows need the package zuko, and it is not installed. Install it: pip install 'inferno-cli[flows]'"
        ) from error
    return zuko


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation by which columns are standardised, shape (n_columns,) each."""

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray) -> Scale:
        """Return those of weighted rows, shape (n_rows, n_columns); a constant column keeps its unit."""
        mean = np.average(values, axis=0, weights=weights)
        deviation = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights).clip(min=0))
        return cls(mean, np.where(deviation > 0, deviation, 1.0))

    def standard(self, values: FloatArray) -> Tensor:
        """Return standardised values, float32."""
        return torch.from_numpy(np.asarray((values - self.mean) / self.deviation, dtype=np.float32))

    def original(self, values: Tensor) -> FloatArray:
        """Return standardised values as they were."""
        return np.asarray(values.double().cpu().numpy() * self.deviation + self.mean)


@dataclass(frozen=True)
class Job:
    """One flow to be trained: the points whose events it must not see, shape (n_excluded,), and its number."""

    excluded: NDArray[np.intp]
    number: int


@dataclass(frozen=True)
class Trained:
    """A flow and its training.

    Attributes:
        network: With the best state on the validation events.
        losses: Negative log-likelihood of the validation events at every look, in standardised units.
        best: Iteration of the best.
    """

    network: nn.Module
    losses: tuple[float, ...]
    best: int


@dataclass(frozen=True)
class Ensemble:
    """Flows with the same training points.

    Attributes:
        networks: The flow of each member, on the CPU.
        features, context: How both are standardised.
    """

    networks: tuple[nn.Module, ...]
    features: Scale
    context: Scale

    @torch.no_grad()
    def log_density(self, features: FloatArray, at: FloatArray) -> FloatArray:
        """Return log q of every member, shape (n_members, n_events).

        Args:
            features: Shape (n_events, n_features).
            at: The parameters, shape (n_parameters,), of all of them.
        """
        inputs, context = self.features.standard(features), self.context.standard(at)
        volume = float(np.log(self.features.deviation).sum())
        found = []
        for network in self.networks:
            parts = [network(context).log_prob(part) for part in torch.split(inputs, CHUNK)]
            found.append(torch.cat(parts).double().numpy() - volume)
        return np.stack(found)

    @torch.no_grad()
    def sample(self, at: FloatArray, n: int, seed: int, name: str) -> FloatArray:
        """Draw events of every member, shape (n_members, n, n_features); ``seed`` and ``name`` decide which."""
        context, found = self.context.standard(at), []
        for number, network in enumerate(self.networks):
            rng = generator(seed, f"flow events {name} {number}")
            normal = rng.standard_normal((n, len(self.features.mean)), dtype=np.float32)
            parts = [network(context).transform.inv(part) for part in torch.split(torch.from_numpy(normal), CHUNK)]
            found.append(self.features.original(torch.cat(parts)))
        return np.stack(found)


def density(log_densities: FloatArray) -> FloatArray:
    """Return the logarithm of the mean density of the members, (n_members, n_events), shape (n_events,)."""
    return np.asarray(np.logaddexp.reduce(log_densities, axis=0) - np.log(len(log_densities)))


class Trainer:
    """Trains flows on the events of a grid."""

    def __init__(self, grid: Grid, settings: Flow, seed: int, device: str) -> None:
        """Standardise the events of all points that are not held out."""
        require_zuko()
        self.grid, self.settings, self.seed, self.device = grid, settings, seed, torch.device(device)
        trained = grid.is_trained_on[grid.train.point]
        weights = grid.train.balanced()[trained]
        self.features = Scale.of(grid.train.features[trained], weights)
        self.context = Scale.of(grid.at[grid.train.point][trained], weights)
        self.contexts = self.context.standard(grid.at).to(self.device)
        self.train, self.validation = self._tensors(grid.train), self._tensors(grid.validation)

    def _tensors(self, table: Table) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised features, balanced weights and points, on the device."""
        weights = torch.from_numpy(table.balanced()).float()
        tensors = self.features.standard(table.features), weights, torch.from_numpy(table.point)
        return tuple(tensor.to(self.device) for tensor in tensors)  # type: ignore[return-value]

    def new(self, number: int) -> nn.Module:
        """Return a flow with its first weights."""
        settings = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator(self.seed, f"flow {number}").integers(2**31)))
            flow: nn.Module = require_zuko().flows.MAF(
                len(self.features.mean),
                len(self.context.mean),
                transforms=settings.transforms,
                hidden_features=settings.hidden,
                activation=ACTIVATIONS[settings.activation],
            )
        return flow

    def run(self, jobs: Sequence[Job], advance: Advance) -> list[Trained]:
        """Train flows; ``advance`` counts iterations of flows.

        Raises:
            FlowError: If the loss of one is not finite.
        """
        found: list[Trained] = []
        for start in range(0, len(jobs), STACK):
            found += _Stack(self, jobs[start : start + STACK]).run(advance)
        return found

    def ensemble(self, flows: Sequence[Trained]) -> Ensemble:
        """Return flows as an ensemble."""
        return Ensemble(tuple(flow.network for flow in flows), self.features, self.context)


class _LogProb(nn.Module):
    """The logarithm of the density of a flow, whose networks are evaluated only when it is asked for."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (n_events,)."""
        log_prob: Tensor = self.flow(context).log_prob(features)
        return log_prob


class _Stack:
    """Flows that are trained side by side."""

    def __init__(self, trainer: Trainer, jobs: Sequence[Job]) -> None:
        self.trainer, self.jobs = trainer, jobs
        self.flows = [_LogProb(trainer.new(job.number)).to(trainer.device) for job in jobs]
        self.base = copy.deepcopy(self.flows[0])
        parameters, self.buffers = stack_module_state(self.flows)
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.rngs = [generator(trainer.seed, f"batches {job.number}") for job in jobs]
        self.rows = [self._rows(trainer.grid.train, job) for job in jobs]
        self.each = vmap(self._log_prob, in_dims=(0, 0, 0, 0))
        self.shared = vmap(self._log_prob, in_dims=(0, 0, None, None))

    def _rows(self, table: Table, job: Job) -> NDArray[np.intp]:
        """Return the rows of a split that a flow may see."""
        is_seen = self.trainer.grid.is_trained_on.copy()
        is_seen[job.excluded] = False
        return np.flatnonzero(is_seen[table.point])

    def _log_prob(self, parameters: State, buffers: State, features: Tensor, context: Tensor) -> Tensor:
        log_prob: Tensor = functional_call(self.base, (parameters, buffers), (features, context))
        return log_prob

    def run(self, advance: Advance) -> list[Trained]:
        """Train, and return every flow in its best state."""
        settings = self.trainer.settings
        optimiser = torch.optim.Adam(list(self.parameters.values()), lr=settings.learning_rate)
        weights = self._validation_weights()
        best = torch.full((len(self.jobs),), torch.inf, device=self.trainer.device)
        states = {name: value.detach().clone() for name, value in self.parameters.items()}
        at, history = np.zeros(len(self.jobs), dtype=int), []
        for iteration in range(1, settings.iterations + 1):
            optimiser.zero_grad()
            loss = self._loss()
            torch.autograd.backward(loss.sum())
            optimiser.step()
            advance(len(self.jobs))
            if iteration % settings.validate_every and iteration < settings.iterations:
                continue
            validated = self._validated(weights)
            if not bool(torch.isfinite(validated).all()):
                raise FlowError(
                    f"the loss of a flow is not finite after {iteration} iterations; lower flow.learning_rate from "
                    f"{settings.learning_rate:g}, or look for outliers in the features (inferno data)"
                )
            history.append(validated.cpu().numpy())
            better = validated < best
            best = torch.where(better, validated, best)
            at[better.cpu().numpy()] = iteration
            for name, value in self.parameters.items():
                states[name][better] = value.detach()[better]
        return self._trained(states, np.stack(history, axis=1), at)

    def _trained(self, states: State, history: FloatArray, at: NDArray[np.int64]) -> list[Trained]:
        found = []
        for number, flow in enumerate(self.flows):
            flow.load_state_dict({name: value[number] for name, value in states.items()}, strict=False)
            found.append(Trained(flow.flow.cpu().eval(), tuple(map(float, history[number])), int(at[number])))
        return found

    def _loss(self) -> Tensor:
        """Return the weighted negative log-likelihood of a batch of each flow, shape (n_flows,)."""
        features, weights, points = self.trainer.train
        size = self.trainer.settings.batch_size
        drawn = [rows[rng.integers(len(rows), size=size)] for rows, rng in zip(self.rows, self.rngs, strict=True)]
        rows = torch.from_numpy(np.stack(drawn)).to(self.trainer.device)
        log_prob = self.each(self.parameters, self.buffers, features[rows], self.trainer.contexts[points[rows]])
        return -(weights[rows] * log_prob).mean(dim=1)

    def _validation_weights(self) -> Tensor:
        """Return the weights of the validation events for each flow, 0 of what it may not see, rows of sum 1."""
        _, weights, _ = self.trainer.validation
        found = torch.zeros(len(self.jobs), len(weights), device=self.trainer.device)
        for number, job in enumerate(self.jobs):
            rows = torch.from_numpy(self._rows(self.trainer.grid.validation, job)).to(self.trainer.device)
            found[number, rows] = weights[rows]
        return found / found.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def _validated(self, weights: Tensor) -> Tensor:
        """Return the loss of the validation events of each flow, shape (n_flows,)."""
        features, _, points = self.trainer.validation
        total = torch.zeros(len(self.jobs), device=self.trainer.device)
        for rows in torch.split(torch.arange(len(features), device=self.trainer.device), CHUNK):
            context = self.trainer.contexts[points[rows]]
            log_prob = self.shared(self.parameters, self.buffers, features[rows], context)
            total -= (weights[:, rows] * log_prob).sum(dim=1)
        return total
