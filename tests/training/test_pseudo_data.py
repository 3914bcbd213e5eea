"""Pseudo-data in the fitted bins: what is generated agrees with the templates, and a split is its own truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import compose, load, ntuples, rows, small_trees, train, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sample import Events, Variation
from inferno_cli.histograms.templates import Templates
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.observable import Observable
from inferno_cli.training.observables import Observables
from inferno_cli.training.pseudo_data import Drawn, Experiment, Generated, PseudoData, pseudo_data


def source(config: TrainConfig, folder: Path) -> tuple[PseudoData, Observable, Events, Templates]:
    events = load(config)
    trained = train(config, events, folder)
    observables = Observables((trained.networks,))
    (templates,) = final_templates(
        observables, Likelihoods.from_config(config), events, symmetrise=None, seed=1
    ).channels
    observables = replace(observables, groups={"SR": templates.groups})
    measurement = Measurement.from_config(config, config.nuisance.fit)
    data = pseudo_data(config, measurement, observables, events, (templates,))
    return data, observables.of("SR"), events, templates


def experiments(n: int, mu: float, **values: float) -> list[Experiment]:
    seeds = np.random.SeedSequence(7).spawn(n)
    return [Experiment(mu, values, np.random.default_rng(seed)) for seed in seeds]


def test_generated_events_have_the_expectation_of_the_templates(tmp_path: Path) -> None:
    overrides = ("dataset.events={train: 400, validation: 400, template: 400000}", "nuisance=r_lambda")
    data, _, _, templates = source(compose("dataset=synthetic", "model=optimal", *overrides), tmp_path)
    assert isinstance(data, Generated)

    signal, background = templates.nominal
    for mu, values, expected in (
        (2.0, {}, 2 * signal + background),
        (1.0, {"r": 1.0}, signal + templates.values("background", Variation("r", "up"))),
        (1.0, {"lambda": -1.0}, signal + templates.values("background", Variation("lambda", "down"))),
    ):
        counts = data.counts(experiments(400, mu, **values))
        deviation = np.sqrt(expected / 400 + templates.variance.sum(axis=0))
        assert (np.abs(counts.mean(axis=0) - expected) < 4 * deviation).all()
        np.testing.assert_allclose(counts.var(axis=0), expected, rtol=0.35)
    assert data.gammas() == {}
    assert not data.is_possible(1.0, {"lambda": -6.5})
    assert 0 < data.common_bias({}) < 0.1
    assert data.common_bias({"r": 1.0}) > data.common_bias({})


def test_more_experiments_change_none_of_the_others(tmp_path: Path) -> None:
    overrides = ("dataset.events={train: 400, validation: 400, template: 4000}", "nuisance=none")
    data, *_ = source(compose("dataset=synthetic", "model=optimal", *overrides), tmp_path)

    few, many = data.counts(experiments(3, 1.0)), data.counts(experiments(30, 1.0))
    np.testing.assert_array_equal(few, many[:3])


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Drawn, Observable, Events, Templates]:
    write(tmp_path / "small.root", small_trees(QCD=rows(np.arange(1, 361, 2), w=np.ones(180))))
    config = ntuples(tmp_path, fit=["jes"])
    small = {"max_epochs": 8, "batch_size": 100, "progress": "none"}
    binning = {"min_effective_events": 1.0, "merge_noise": False}
    config = config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update=small),
            "binning": config.binning.model_copy(update=binning),
        }
    )
    data, *others = source(config, tmp_path)
    assert isinstance(data, Drawn)
    return data, *others


def test_events_of_files_are_those_of_the_validation_split(drawn: tuple[Drawn, Observable, Events, Templates]) -> None:
    data, observable, events, templates = drawn
    assert templates.n_bins > 1
    final = observable.final
    totals = {}
    for name in ("", "up", "down"):
        total = np.zeros(templates.n_bins)
        for sample in events.validation:
            wanted = Variation("jes", name) if name else sample.variations[0]
            row = sample.variations.index(wanted) if wanted in sample.variations else 0
            bins = final[observable.network_bins(sample.features[sample.view[row]])]
            total += np.bincount(bins, sample.weights[row], templates.n_bins)
        totals[name] = total

    for values, expected in (({}, totals[""]), ({"jes": 1.0}, totals["up"]), ({"jes": -1.0}, totals["down"])):
        counts = data.counts(experiments(2000, 1.0, **values))
        np.testing.assert_allclose(counts.mean(axis=0), expected, atol=float(4 * (expected.max() / 2000) ** 0.5))
        np.testing.assert_allclose(counts.var(axis=0), expected, rtol=0.2)
    ratio = [data.gammas()[f"staterror_SR[{i}]"] for i in range(templates.n_bins)]
    np.testing.assert_allclose(ratio * templates.nominal.sum(axis=0), totals[""])
    assert data.common_bias({}) == 0
    assert data.common_bias({"jes": 1.0}) > 0
