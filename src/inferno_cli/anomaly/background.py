"""The events that the network is trained on: those of the backgrounds, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferno_cli.anomaly.outputs import Output
from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import Events, Sample
from inferno_cli.section import Names


@dataclass(frozen=True)
class Background:
    """Events of all backgrounds in one split.

    Attributes:
        features: Shape (n_events, n_features).
        weights: How often each counts, with mean 1 and none negative, shape (n_events,).
        negative: Share of negative weights in the sum of their sizes.
    """

    features: NDArray[np.float32]
    weights: NDArray[np.float64]
    negative: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Background:
        """Take the nominal events of the backgrounds among samples; those of a signal are left out.

        An event that only a variation selects has no weight, and is none.

        A negative weight counts with its size. With its sign the loss has no lower bound: the network gains without
        end where it makes a few events with negative weights improbable. So the density is that of all simulated
        events where the share of negative weights depends on the features; the evaluation has the signs.
        """
        backgrounds = [sample for sample in samples if not sample.is_signal]
        if not backgrounds:
            raise DatasetError("there is no background with events, and the network is trained on nothing else")
        features = np.concatenate([sample.features[sample.view[0]] for sample in backgrounds])
        weights = np.concatenate([sample.weights[0] for sample in backgrounds])
        size, used = np.abs(weights), weights != 0
        negative = float(size[weights < 0].sum() / size.sum())
        return cls(features[used], size[used] / size[used].mean(), negative)


def require_supported(events: Events, features: Names, outputs: Sequence[Output]) -> None:
    """Check that every event has values that the densities of its features are made for.

    Raises:
        DatasetError: If one has not; the message names the feature and the sample.
    """
    for sample in (*events.train, *events.validation, *events.template):
        values = sample.features[sample.view[0]][sample.weights[0] != 0].astype(np.float64)
        for number, (name, output) in enumerate(zip(features, outputs, strict=True)):
            wrong = np.flatnonzero(~output.supports(values[:, number]))
            if len(wrong):
                raise DatasetError(
                    f"feature {name!r} is {values[wrong[0], number]:g} in {len(wrong)} of {len(values)} events of "
                    f"{sample.name!r}, and {output.kind} is for {output.support}. Choose another density: "
                    f"'vae.outputs={{{name}: gaussian}}'"
                )
