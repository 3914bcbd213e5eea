"""What the tests of the parts of a model share: each choice as it is configured, and a small problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.choices import sections
from inferno_cli.config.load import careful, compose
from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Sample, Variation
from inferno_cli.section import Section
from inferno_cli.training.networks import Network
from inferno_cli.training.objectives import Objective
from inferno_cli.training.summaries import Summary

if TYPE_CHECKING:
    from torch import Tensor

PARTS: dict[str, tuple[str, type[Section]]] = {
    "network": ("inferno_cli.training.networks", Network),
    "summary": ("inferno_cli.training.summaries", Summary),
    "objective": ("inferno_cli.training.objectives", Objective),
}
"""The parts of a model: the package of each, and what its sections are derived from."""
MEASUREMENT = Measurement(
    samples=("signal", "background"),
    signal=("signal",),
    free={"rate": ("background",)},
    bounds={"rate": (0.0, 5.0)},
    normalisation={"lumi": {"signal": (1.02, 0.98), "background": (1.02, 0.98)}},
    shapes={"shape": {"background": Morph(("shape",))}},
    unconstrained=(),
    staterror=True,
)
"""A measurement with a parameter of each kind."""


def each(part: str) -> list[Any]:
    """Return every choice of a part of a model, with the values of its file ``conf/model/PART/KIND.yaml``."""
    from omegaconf import OmegaConf

    found = []
    with careful():
        for kind, section in sections(*PARTS[part]).items():
            values = compose("train", ["~job", f"model/{part}={kind}"]).model[part]
            text = OmegaConf.to_yaml(values, resolve=True)
            found.append(section.model_validate(OmegaConf.to_container(OmegaConf.create(text)), strict=False))
    return found


def samples() -> tuple[Sample, ...]:
    """Return a signal and a background of three features, of which a shape moves the background."""
    rng = np.random.default_rng(1)
    signal = rng.normal(0.7, 1, (1, 300, 3))
    background = rng.normal(0, 1, (1, 600, 3)) + np.array([0.0, 0.3, -0.3])[:, None, None]
    shape = (NOMINAL, Variation("shape", "up"), Variation("shape", "down"))
    weights = [rng.uniform(0.1, 0.3, (1, 300)), np.tile(rng.uniform(0.5, 1.5, 600), (3, 1))]
    made = (("signal", True, (NOMINAL,), signal), ("background", False, shape, background))
    return tuple(
        Sample(name, is_signal, np.arange(len(weight[0])), variations, values.astype(np.float32), view, weight)
        for (name, is_signal, variations, values), view, weight in zip(made, ((0,), (0, 1, 2)), weights, strict=True)
    )


def completed(summary: Summary) -> Summary:
    """Return a summary as a training leaves it, its bins placed on outputs that are normal numbers."""
    from inferno_cli.training.summaries import NominalEvents

    summary = summary.for_samples({sample.name: sample.is_signal for sample in samples()})
    events = [NominalEvents.of(sample) for sample in samples()]
    return summary.placed(events, lambda features: normal(len(features), summary.n_outputs))


def normal(*shape: int) -> Tensor:
    """Return normal numbers, the same in every call."""
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))
