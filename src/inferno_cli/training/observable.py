"""A network and the summary of its outputs: the observable that is histogrammed, to be applied to any events."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inferno_cli.errors import RunError
from inferno_cli.events.arrays import Growing
from inferno_cli.events.channel import SHARED
from inferno_cli.events.sample import Sample
from inferno_cli.section import Names
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from inferno_cli.training.networks import Network

CHECKPOINTS = "checkpoints"
"""Where the weights of the selected epoch of each network are in the folder of a run."""
NETWORK = "network"
"""In it, in front of the names of the network's weights; the rest serves the training alone."""
SUMMARY = "summary"
"""Key in it of what the summary learnt; missing in those of earlier versions."""
AVERAGE = "average"
"""Key in it of an average of several trainings: their number, and the scores of each bin; missing in that of one."""
CHUNK = 2_000
"""Events that pass the network together on a processor: what is between its layers stays in the cache."""
DEVICE_CHUNK = 50_000
"""The same on another device, whose time is that of the calls."""
TOGETHER = 100 * CHUNK
"""Events whose outputs are in memory together where bins are wanted; as many more are taken together."""
Bins = NDArray[np.intp]


def key_of(part: str, name: str) -> str:
    """Return what a part of the network of a ``name`` is called in a checkpoint."""
    return part if name == SHARED else f"{part}_{name}"


def checkpoint_name(fold: int, n_folds: int, member: int | None = None) -> str:
    """Return the name of the file with the weights of the network of one fold, or of the one that there is.

    Of several members of a fold each has its own, and the chosen one that of the fold as well: None.
    """
    of_fold = "best" if n_folds == 1 else f"best_fold{fold}"
    return f"{of_fold}.ckpt" if member is None else f"{of_fold}_member{member}.ckpt"


@dataclass(frozen=True)
class Prediction:
    """What an observable says of some events.

    Attributes:
        response: What the summary tells of each event, float64, shape (n_events, n_responses).
        network_bin: Bin of the network, shape (n_events,).
        bin: Bin of the fitted histogram, shape (n_events,).
    """

    response: NDArray[np.float64]
    network_bin: Bins
    bin: Bins


@dataclass(frozen=True)
class Observable:
    """A network, trained or in training, and its bins.

    Attributes:
        network: Features to outputs.
        summary: Outputs to bins.
        features: Names of the features, in order.
        groups: For each bin of the fitted histogram, the bins of the network that it is made of; empty: not merged.
    """

    network: nn.Sequential
    summary: Summary
    features: Names
    groups: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def load(
        cls,
        path: Path,
        network: Network,
        summary: Summary,
        features: Names,
        groups: tuple[tuple[int, ...], ...],
        epoch: int,
        name: str = SHARED,
    ) -> Observable:
        """Load the observable of a finished run from its checkpoint; its record says the rest, ``name`` which one.

        Raises:
            RunError: If there is no checkpoint, or it is not of this run.
        """
        if not path.is_file():
            raise RunError(f"the checkpoint {path} is missing. Copy the whole folder of the run, or train again")
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            summary = summary.restored(stored.get(key_of(SUMMARY, name), {}))
            network = network.for_features(features)
            standard = torch.zeros(len(features)), torch.ones(len(features))
            n_members, n_scores = stored.get(AVERAGE, (1, 0))
            members = [network.build(*standard, summary.n_outputs) for _ in range(n_members)]
            built = summary.average(members, n_scores) if AVERAGE in stored else members[0]
            built.load_state_dict(weights_of(stored["state_dict"], name))
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
        return cls(built, summary, features, groups)

    def placed(self, samples: Sequence[NominalEvents]) -> Observable:
        """Return the observable with the bins that its summary places on events of the training split."""
        return replace(self, summary=self.summary.placed(samples, self.outputs))

    @property
    def final(self) -> Bins:
        """Bin of the fitted histogram of each bin of the network."""
        final = np.arange(self.summary.n_bins)
        for number, group in enumerate(self.groups):
            final[list(group)] = number
        return final

    @torch.no_grad()
    def outputs(self, features: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Outputs of the network in chunks of bounded memory, for features of shape (..., n_features).

        In float32 the last digits depend on the size of the chunk. What must be the same again elsewhere takes float64.
        """
        network = self.network if dtype == torch.float32 else copy.deepcopy(self.network).to(dtype)
        device = next(chain(network.parameters(), network.buffers())).device
        flat = features.flatten(0, -2)
        size = CHUNK if device.type == "cpu" else DEVICE_CHUNK
        parts = [network(chunk.to(device, dtype)) for chunk in torch.split(flat, size)]
        return torch.cat(parts).reshape(*features.shape[:-1], -1)

    def logits(self, features: NDArray[np.float32]) -> Tensor:
        """Outputs of the network, float64, for features of shape (..., n_features)."""
        return self.outputs(torch.from_numpy(features), torch.float64)

    def network_bins(self, features: NDArray[np.float32]) -> Bins:
        """Bin of every event before any are merged, in float64 as in the templates, for features (..., n_features)."""
        blocks = features if features.ndim == 3 else features[None]
        n_rows, found = blocks.shape[0] * blocks.shape[1], Growing(np.intp)
        for start in range(0, n_rows, TOGETHER):
            block, row = np.divmod(np.arange(start, min(start + TOGETHER, n_rows)), blocks.shape[1])
            found.append(self.summary.hard(self.logits(blocks[block, row])).cpu().numpy())
        return found.array().reshape(features.shape[:-1])

    def assign(self, samples: Sequence[Sample]) -> list[Bins]:
        """``network_bins`` of every event of every sample in every view, shape (n_views, n_events) each."""
        return [self.network_bins(sample.features) for sample in samples]

    @torch.no_grad()
    def apply(self, features: NDArray[np.float32]) -> Prediction:
        """Apply to features, shape (n_events, n_features)."""
        logits = self.logits(features)
        network_bin = self.summary.hard(logits).cpu().numpy()
        return Prediction(self.summary.response(logits).cpu().numpy(), network_bin, self.final[network_bin])


@dataclass(frozen=True)
class ChannelNetworks:
    """The networks that are trained together, with one loss.

    Attributes:
        by_name: Each with its bins, by name.
        name_of: The network of each channel; of others it is the one that all without a name share.
    """

    by_name: Mapping[str, Observable]
    name_of: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def shared(cls, observable: Observable) -> ChannelNetworks:
        """Return the one network of all channels."""
        return cls({SHARED: observable})

    @classmethod
    def by_channels(cls, by_name: Mapping[str, Observable], channels: Mapping[str, Names]) -> ChannelNetworks:
        """Return networks, given the channels of each."""
        name_of: dict[str, str] = {}
        for name, members in channels.items():
            name_of |= dict.fromkeys(members, name)
        return cls(by_name, name_of)

    def of(self, channel: str) -> Observable:
        """Return the network of a channel."""
        return self.by_name[self.name_of.get(channel, SHARED)]

    @property
    def first(self) -> Observable:
        """One of them: features, number of bins and what is told of an event are those of all."""
        return next(iter(self.by_name.values()))

    @property
    def only(self) -> Observable:
        """The one that there is; a ValueError if there are several."""
        (observable,) = self.by_name.values()
        return observable

    def outputs(self, sample: Sample) -> Tensor:
        """Outputs for all views of a sample, shape (n_views, n_events, n_outputs)."""
        return self.of(sample.channel).outputs(torch.from_numpy(sample.features))

    def placed(self, samples: Sequence[NominalEvents]) -> ChannelNetworks:
        """Return them with the bins that each places on the events of its channels."""
        placed = {}
        for name, observable in self.by_name.items():
            own = [sample for sample in samples if self.name_of.get(sample.channel, SHARED) == name]
            placed[name] = observable.placed(own)
        return replace(self, by_name=placed)


def weights_of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of the network of a ``name`` among those of a training."""
    prefix, own = f"{key_of(NETWORK, name)}.", {}
    for key, values in state.items():
        if key.startswith(prefix):
            own[key.removeprefix(prefix)] = values
    return own
