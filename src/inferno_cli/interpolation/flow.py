"""An ensemble of conditional flows on a grid of signals: the density of the features given the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.interpolation.grid import Grid, Table
from inferno_cli.progress import Advance
from inferno_cli.training.flows import CHUNK, FlowEvents, FlowSettings, Job, Trained, require_zuko, train_flows


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

    def __init__(self, grid: Grid, settings: FlowSettings, seed: int, device: str) -> None:
        """Standardise the events of all points that are not held out."""
        require_zuko()
        self.grid, self.settings, self.seed, self.device = grid, settings, seed, torch.device(device)
        trained = grid.is_trained_on[grid.train.point]
        weights = grid.train.balanced()[trained]
        self.features = Scale.of(grid.train.features[trained], weights)
        self.context = Scale.of(grid.at[grid.train.point][trained], weights)
        self.train, self.validation = self._events(grid.train), self._events(grid.validation)

    def _events(self, table: Table) -> FlowEvents:
        """Return standardised events, with balanced weights and the parameters of their point, on the device."""
        weights = torch.from_numpy(table.balanced()).float()
        context = self.context.standard(self.grid.at)[torch.from_numpy(table.point)]
        features = self.features.standard(table.features)
        return FlowEvents(features.to(self.device), weights.to(self.device), context.to(self.device))

    def job(self, left_out: NDArray[np.intp], number: int) -> Job:
        """Return a flow that sees no event of the points ``left_out``, nor of those that are held out."""
        is_seen = self.grid.is_trained_on.copy()
        is_seen[left_out] = False
        train, validation = (np.flatnonzero(is_seen[table.point]) for table in (self.grid.train, self.grid.validation))
        return Job(train, validation, number)

    def run(self, jobs: Sequence[Job], advance: Advance) -> list[Trained]:
        """Train flows; ``advance`` counts iterations of flows.

        Raises:
            FlowError: If the loss of one is not finite.
        """
        return train_flows(self.train, self.validation, jobs, self.settings, seed=self.seed, advance=advance)

    def ensemble(self, flows: Sequence[Trained]) -> Ensemble:
        """Return flows as an ensemble."""
        return Ensemble(tuple(flow.network for flow in flows), self.features, self.context)
