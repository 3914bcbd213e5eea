"""From events to the record: train on the backgrounds, evaluate all samples of the template split, judge the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.anomaly.background import Background, require_supported
from inferno_cli.anomaly.evaluation import FloatArray, Judged, Labelled, judge
from inferno_cli.anomaly.record import QUANTILES, SCORE, AnomalyRecord, JudgedRecord, SampleRecord
from inferno_cli.anomaly.score import Evaluated, Score
from inferno_cli.anomaly.training import Trained, Watch, train
from inferno_cli.events.sample import Events, Sample, generator
from inferno_cli.histograms.feature_map import weighted_quantiles

if TYPE_CHECKING:
    from inferno_cli.anomaly.reference import Reference
    from inferno_cli.anomaly.settings import AnomalyConfig

CHECKPOINT = Path("checkpoints") / "best.ckpt"
BINS = 50
"""Of the score, in the record and its figure."""
EXACT = "exact"
"""Name of the ratio of the densities, where a dataset knows them."""


@dataclass(frozen=True)
class Split:
    """The backgrounds of the training and of the validation split."""

    train: Background
    validation: Background

    @classmethod
    def of(cls, events: Events) -> Split:
        """Take them from all events."""
        return cls(Background.of(events.train), Background.of(events.validation))


def trained(
    config: AnomalyConfig, events: Events, split: Split, folder: Path, watch: Watch | None
) -> tuple[Trained, Score]:
    """Train the autoencoder, and put the loss of the backgrounds on the scale of the score."""
    outputs = [config.vae.of(name) for name in events.features]
    require_supported(events, events.features, outputs)
    network = train(
        config.vae,
        outputs,
        (split.train, split.validation),
        config.trainer,
        seed=config.seed,
        merit=config.merit,
        path=folder / CHECKPOINT,
        watch=watch,
    )
    score = Score(network.network, config.vae.beta)
    loss, weights = score.of(split.validation.features).loss, split.validation.weights
    low, median, high = weighted_quantiles(loss, weights, (0.16, 0.5, 0.84))
    score.median, score.width = float(median), float(high - low) / 2 or 1.0
    return network, score


def judged(
    config: AnomalyConfig, events: Events, evaluated: Sequence[Evaluated], reference: Reference | None
) -> dict[str, tuple[str, Judged]]:
    """Judge the score, and the others that there are, on the template split; return each with its title, by name."""
    samples = events.template
    scores: dict[str, FloatArray] = {SCORE: np.concatenate([item.loss for item in evaluated])}
    titles = {SCORE: "VAE, backgrounds alone"}
    if reference is not None:
        name = reference.name if reference.name not in (SCORE, EXACT) else f"{reference.name} of the run"
        scores[name], titles[name] = reference.scores(config, events, samples), reference.title
    ratio = config.dataset.exact_classifier()
    if ratio is not None:
        features = np.concatenate([sample.features[sample.view[0]] for sample in samples]).astype(np.float64)
        scores[EXACT], titles[EXACT] = ratio.signal_share(features), "ratio of the exact densities"
    rng = generator(config.seed, "anomaly replicas")
    found = judge(scores, Labelled.of(samples), config.background_rates, rng, config.replicas)
    return {item.name: (titles[item.name], item) for item in found}


def of_sample(sample: Sample, evaluated: Evaluated, edges: FloatArray) -> SampleRecord:
    """Return what the losses of one sample are."""
    weights = sample.weights[0]
    contents, _ = np.histogram(evaluated.score, edges, weights=weights)
    return SampleRecord(
        name=sample.name,
        is_signal=sample.is_signal,
        expected=float(weights.sum()),
        simulated=int((weights != 0).sum()),
        loss=tuple(weighted_quantiles(evaluated.loss, weights, QUANTILES).tolist()),
        reconstruction=float(np.average(evaluated.reconstruction, weights=weights)),
        divergence=float(np.average(evaluated.divergence, weights=weights)),
        histogram=tuple(contents.tolist()),
    )


def record(
    config: AnomalyConfig,
    events: Events,
    split: Split,
    network: Trained,
    score: Score,
    reference: Reference | None,
    version: str,
) -> AnomalyRecord:
    """Evaluate all samples of the template split, and return what is stored; ``timing`` is still empty."""
    evaluated = [score.of(sample.features[sample.view[0]]) for sample in events.template]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    pairs = zip(events.template, evaluated, strict=True)
    samples = tuple(of_sample(sample, item, edges) for sample, item in pairs)
    scores = judged(config, events, evaluated, reference)
    best, prior = network.epochs[network.best], score.network.prior
    return AnomalyRecord(
        dataset=events.name,
        label=events.label,
        selection=config.dataset.common_selection,
        dataset_checksum=events.checksum,
        code_version=version,
        seed=config.seed,
        data_seed=config.data_seed,
        outputs={name: config.vae.of(name).kind for name in events.features},
        latent=config.vae.latent,
        hidden=config.vae.hidden,
        beta=config.vae.beta,
        prior=config.vae.prior,
        prior_mean=tuple(prior.mean.tolist()),
        prior_width=tuple(prior.log_width.exp().tolist()),
        trained_on=(len(split.train.weights), len(split.validation.weights)),
        negative_weights=(split.train.negative, split.validation.negative),
        epochs=tuple(epoch.as_metrics() for epoch in network.epochs),
        best_epoch=network.best,
        merit=config.merit,
        loss=best.validation,
        reconstruction=best.reconstruction,
        divergence=best.divergence,
        negative_elbo=best.negative_elbo,
        score_median=score.median,
        score_width=score.width,
        edges=tuple(edges.tolist()),
        samples=samples,
        scores=tuple(JudgedRecord.of(item, title) for title, item in scores.values()),
        compared_with=None if reference is None else str(reference.folder.absolute()),
        timing={},
    )
