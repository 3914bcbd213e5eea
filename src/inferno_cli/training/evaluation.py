"""What a network is worth on a split: the variance of the POI with soft and with hard bins."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferno_cli.config import Binning, Measurement, TrainConfig
from inferno_cli.errors import SingularInformationError
from inferno_cli.events import Events, Sample
from inferno_cli.likelihood import correlation, covariance, poi_variance
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.modules import Stratum, SummaryModule
from inferno_cli.training.recipe import linear_fit, make_templates, template_channel

CHUNK = 50_000


@torch.no_grad()
def outputs(module: SummaryModule, features: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Outputs of the network in chunks of bounded memory, for features of shape (..., n_features).

    In float32 the last digits depend on the size of the chunk. What must be the same again elsewhere takes float64.
    """
    network = module.network if dtype == torch.float32 else copy.deepcopy(module.network).to(dtype)
    flat = features.flatten(0, -2)
    parts = [network(chunk.to(module.device, dtype)) for chunk in torch.split(flat, CHUNK)]
    return torch.cat(parts).reshape(*features.shape[:-1], -1)


def assign(module: SummaryModule, samples: Sequence[Sample]) -> list[NDArray[np.intp]]:
    """Final bin of every event of every sample in every view, shape (n_views, n_events) each."""
    return [final_bins(module, sample.features) for sample in samples]


def final_bins(module: SummaryModule, features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Bin of every event as the templates have it, for features of shape (..., n_features)."""
    return np.asarray(module.hard(outputs(module, torch.from_numpy(features), torch.float64)).cpu().numpy())


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of one epoch on the validation split.

    Attributes:
        soft: poi_variance with soft bins; infinite when the information is singular.
        hard: The same with hard bins, sparse ones merged.
        honest: That with the noise of the variations in it (see ``histograms.binning``): what selects the epoch.
        n_bins: Hard bins that are left.
        deviations: Standard deviation of every parameter with hard bins, by name; empty when singular.
        correlations: Correlation of each pair of parameters, by "a-b".
    """

    soft: float
    hard: float
    honest: float
    n_bins: int
    deviations: dict[str, float]
    correlations: dict[str, float]


NOTHING = Evaluation(math.inf, math.inf, math.inf, 0, {}, {})
"""What a network is worth whose outputs mean nothing: it is warming up, or has diverged."""


@torch.no_grad()
def evaluate(
    module: SummaryModule, samples: Sequence[Sample], rule: Binning, fitted: Measurement | None = None
) -> Evaluation:
    """Evaluate a network once over a whole split.

    The statistical errors are scaled to the size of the split whose templates will be fitted, and so is the support
    that the merging asks for: the value predicts that fit. A singular information matrix counts as infinite variance.

    Args:
        module: The network.
        samples: The split, with all variations of the fit.
        rule: Which bins are merged.
        fitted: The measurement of the fit, whose parameters decide what is merged; as trained without. The variance
            is that of the trained one.
    """
    fitted = fitted or module.measurement
    logits = [outputs(module, torch.from_numpy(sample.features)) for sample in samples]
    trained = [sample.only(module.measurement.variations) for sample in samples]
    soft_logits = [
        known if kept is sample else outputs(module, torch.from_numpy(kept.features))
        for known, kept, sample in zip(logits, trained, samples, strict=True)
    ]
    if not all(bool(torch.isfinite(output).all()) for output in logits):
        return NOTHING
    batch = to_tensors(trained, module.device)
    try:
        soft = float(poi_variance(module.soft_channel(batch, [module.soft(output) for output in soft_logits])))
    except SingularInformationError:
        soft = math.inf
    bins = [module.hard(output).cpu().numpy() for output in logits]
    scale = [
        sample.effective_events / stratum.effective_events
        for sample, stratum in zip(samples, module.strata, strict=True)
    ]
    templates = make_templates(
        samples, bins, module.model.bins, fitted, error_scale=scale, rule=rule, ordered=module.ordered
    )
    channel = template_channel(module.measurement, templates)
    try:
        matrix = covariance(channel)
    except SingularInformationError:
        return Evaluation(soft, math.inf, math.inf, templates.n_bins, {}, {})
    names, deviation = channel.parameters, matrix.diagonal().sqrt()
    rho = correlation(matrix)
    return Evaluation(
        soft=soft,
        hard=float(matrix[0, 0]),
        honest=linear_fit(module.measurement, templates).honest_variance(),
        n_bins=templates.n_bins,
        deviations={name: float(value) for name, value in zip(names, deviation, strict=True)},
        correlations={f"{a}-{b}": float(rho[i, j]) for i, a in enumerate(names) for j, b in enumerate(names) if i < j},
    )


def judge(module: SummaryModule, config: TrainConfig, events: Events) -> Evaluation:
    """Evaluate a network on the validation split in the likelihood that is fitted, whatever it was trained with."""
    trained = module.measurement, module.strata
    module.measurement = Measurement.from_config(config, config.nuisance.fit)
    module.strata = tuple(
        Stratum.of(x, y.effective_events) for x, y in zip(events.validation, events.template, strict=True)
    )
    try:
        return evaluate(module, events.validation, config.binning)
    finally:
        module.measurement, module.strata = trained
