"""Channels in the training's likelihood and in the templates: by plain numpy, by pyhf, and by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyhf
import pytest
import torch
from channel_ntuples import (
    EDGES,
    SIMULATED,
    SYSTEMATICS,
    channels,
    configured,
    counted,
    inside,
    merged,
    split_of,
    tree_of,
    trees,
    weights,
)
from conftest import changed, covariance_by_differences, load, make_measurement, make_templates, synthetic
from workspaces import SETTINGS

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import DatasetError, TemplateError
from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import Events
from inferno_cli.histograms.binning import merge
from inferno_cli.histograms.fitted import fitted
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.information import covariance, poi_variance
from inferno_cli.likelihood.writers import pyhf as writer
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.evaluation import Likelihoods, evaluate
from inferno_cli.training.final_templates import FinalTemplates, final_templates
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.observables import Observables
from inferno_cli.training.pseudo_data import Drawn, Experiment, Generated, pseudo_data
from inferno_cli.training.recipe import linear_fit, template_channels

UNMERGED = {"min_yield": 1e-6, "min_effective_events": 1.0, "merge_noise": False, "max_noise_information": 0.25}
FOLDS = {"folds": 2, "validation": 0.25}
BY_CHANNEL = {name: item | {"correlated": {"by": "channel"}} for name, item in SYSTEMATICS.items()}
BY_CHANNEL["fakes"] = {name: value for name, value in BY_CHANNEL["fakes"].items() if name != "modifier_name"}
BY_CHANNEL["top_norm"] = BY_CHANNEL["top_norm"] | {"samples": ["fakes"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("channels")


@pytest.fixture(scope="module")
def files():
    return trees()


def unmerged(folder, **keys: Any) -> TrainConfig:
    """A configuration in which no bins are merged."""
    return configured(folder, sections={"binning": UNMERGED}, **keys)


def untrained(config: TrainConfig, number: int) -> Observable:
    """A network as it begins, of six outputs: its bins are as good as any to count events in."""
    torch.manual_seed(number)
    summary = config.model.summary.model_copy(update={"bins": 4})
    network = config.model.network.build(torch.zeros(2), torch.ones(2), summary.n_outputs)
    observable = Observable(network, summary, tuple(config.dataset.features))
    points = np.random.default_rng(number).normal(size=(500, 2)).astype(np.float32)
    summary.spread(network, torch.from_numpy(points))
    return observable


def filled(config: TrainConfig, events: Events, **options: Any) -> tuple[Observables, FinalTemplates]:
    networks = tuple(ChannelNetworks.shared(untrained(config, number)) for number in range(events.n_folds))
    observables = Observables(networks, Channels(config.channels))
    options = {"symmetrise": None, "seed": 1} | options
    return observables, final_templates(observables, Likelihoods.from_config(config), events, **options)


def by_name(final: FinalTemplates) -> dict[str, Templates]:
    return {item.channel: item for item in final.channels}


# ------------------------------------------------------------------------------------------ templates by numpy
@pytest.mark.parametrize("overflow", [True, False])
@pytest.mark.parametrize("n_folds", [1, 2])
def test_the_templates_of_every_channel_are_histograms_of_its_events(folder, files, overflow, n_folds):
    splits = {"splits": FOLDS} if n_folds > 1 else {}
    config = unmerged(folder, of_channels=channels(overflow=overflow), **splits)
    events = load(config)
    observables, final = filled(config, events)
    names = ["SR"] if n_folds == 1 else ["SR_fold0", "SR_fold1"]
    assert [item.channel for item in final.channels] == [*names, "CR", "low"]
    for templates in final.channels:
        assert templates.samples == (SIMULATED if templates.channel != "low" else ("signal", "fakes"))
        for (name, variation), histogram in templates.histograms.items():
            label = str(variation)
            rows = files[tree_of(name, label)]
            if not templates.is_trained:
                expected = counted(rows, templates.channel, label, overflow=overflow)
                np.testing.assert_allclose(histogram.values(), merged(expected["values"], templates), rtol=1e-6)
                np.testing.assert_allclose(histogram.variances(), merged(expected["variances"], templates), rtol=1e-6)
                continue
            channel, fold = observables.names[templates.channel]
            network = observables.networks[fold].only
            bins = network.network_bins(np.stack([rows["x"], rows["y"]], axis=1))
            own = inside(rows, channel)
            used = own & (split_of(events.assignment, name, rows) == (2 if n_folds == 1 else fold))
            w = weights(rows, label)
            scale = w[own].sum() / w[used].sum() / n_folds
            made = network.summary.n_bins
            expected = np.bincount(bins[used], w[used], made) * scale
            np.testing.assert_allclose(histogram.values(), merged(expected, templates), rtol=1e-6)
            squares = np.bincount(bins[used], w[used] ** 2, made) * scale**2
            np.testing.assert_allclose(histogram.variances(), merged(squares, templates), rtol=1e-6)


@pytest.mark.parametrize("n_folds", [1, 2])
def test_observed_events_are_counted_where_they_are(folder, files, n_folds):
    splits = {"splits": FOLDS} if n_folds > 1 else {}
    config = unmerged(folder, **splits)
    observables, final = filled(config, load(config))
    data, templates = files["Data"], by_name(final)
    expected = np.histogram(data["m"][inside(data, "CR")].clip(1, 119), EDGES)[0]
    assert merged(expected, templates["CR"]).tolist() == templates["CR"].observed.values().tolist()
    assert templates["low"].observed.values().tolist() == [inside(data, "low").sum()]
    found = {}
    for name, (channel, fold) in observables.names.items():
        if channel == "SR":
            features = np.stack([data["x"], data["y"]], axis=1)[inside(data, "SR")]
            found[name] = merged(
                np.bincount(observables.networks[fold].only.network_bins(features), minlength=6), templates[name]
            )
    counts = {name: templates[name].observed.values() for name in found}
    assert sum(values.sum() for values in counts.values()) == inside(data, "SR").sum()
    for name, values in counts.items():
        assert (values <= found[name]).all()


# ------------------------------------------------------------------------------------------ training = fit = pyhf
def pyhf_covariance(config: TrainConfig, final: FinalTemplates) -> tuple[list[str], np.ndarray]:
    """Covariance of the Asimov fit of the written workspace, by differences of pyhf's likelihood."""
    spec = fitted(final.channels, final.measurement, poi_bounds=(-5.0, 10.0), observed=False)
    model = pyhf.Workspace(writer.workspace(spec)).model(modifier_settings=SETTINGS)
    start = np.array(model.config.suggested_init())
    data = [*model.expected_actualdata(start), *model.config.auxdata]
    fixed = np.array(model.config.suggested_fixed())
    steps = np.where(fixed, 0.0, 0.01)
    return list(model.config.par_names), covariance_by_differences(model, data, start, steps, fine=True)


def of_training(config: TrainConfig, events: Events, observables: Observables, final: FinalTemplates) -> Any:
    """The likelihood of the training, with the hard and merged bins of the split whose templates are fitted."""
    likelihoods = Likelihoods.from_config(config)
    likelihood = likelihoods.soft(likelihoods.fitted, events.template, events)
    fitted_bins = replace(observables, groups={item.channel: item.groups for item in final.channels}).of("SR").final
    memberships = []
    for sample in events.template:
        bins = torch.from_numpy(fitted_bins[observables.networks[0].only.network_bins(sample.features)])
        memberships.append(torch.nn.functional.one_hot(bins, int(fitted_bins.max()) + 1).double())
    return likelihood.expectation(to_tensors(events.template, "cpu"), memberships)


KINDS = {
    "all kinds": {},
    "free shapes": {
        "sections": {"nuisance": {"train": ["jes", "pdf"], "fit": ["jes", "pdf"], "unconstrained": ["jes"]}}
    },
    "by channel": {"systematics": BY_CHANNEL},
    "a channel of one sample": {"of_channels": channels(CR={"samples": ["top"]})},
    "without staterror": {"staterror": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_of_the_training_is_that_of_the_workspace_by_pyhf(folder, kind):
    keys = dict(KINDS[kind])
    staterror, sections = keys.pop("staterror", True), keys.pop("sections", {})
    config = configured(folder, sections={"binning": UNMERGED, **sections}, **keys)
    config = changed(config, likelihood=config.likelihood.model_dump(mode="json") | {"staterror": staterror})
    events = load(config)
    observables, final = filled(config, events)
    closed = template_channels(final.measurement, final.channels)
    names, reference = pyhf_covariance(config, final)
    rows = [names.index(name) for name in closed.parameters]
    matrix = covariance(closed).numpy()
    scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    np.testing.assert_allclose(matrix / scale, reference[np.ix_(rows, rows)] / scale, atol=2e-4)

    soft = of_training(config, events, observables, final)
    assert soft.parameters == closed.parameters
    np.testing.assert_allclose(covariance(soft).numpy() / scale, matrix / scale, atol=1e-6)


def test_parameters_by_channel_act_in_theirs_alone(folder):
    config = unmerged(folder, systematics=BY_CHANNEL, splits=FOLDS)
    _, final = filled(config, load(config))
    spec = fitted(final.channels, final.measurement, poi_bounds=(-5.0, 10.0), observed=False)
    acting: dict[str, set[str]] = {}
    for channel in spec.channels:
        for sample in channel.samples:
            for modifier in sample.modifiers:
                acting.setdefault(modifier.name, set()).add(channel.name)
    for systematic in ("jes", "pdf", "fakes", "top_norm"):
        assert acting[f"{systematic}_SR"] == {"SR_fold0", "SR_fold1"}
        assert acting[f"{systematic}_CR"] == {"CR"}
        assert acting[f"{systematic}_low"] == {"low"}


def test_a_parameter_of_a_channel_without_its_sample_is_none(folder):
    """No event of top is in low: what would move it there moves nothing."""
    systematics = {"top_norm": BY_CHANNEL["top_norm"] | {"samples": ["top"]}}
    systematics["rate"] = {"kind": "normalisation", "samples": ["top"], "size": 0.2, "correlated": {"by": "channel"}}
    of_channels = channels(low={"samples": ["signal", "fakes"]})
    config = unmerged(folder, systematics=systematics, fit=tuple(systematics), of_channels=of_channels)
    _, final = filled(config, load(config))
    assert final.measurement.parameters == ("mu", "top_norm_SR", "top_norm_CR", "rate_SR", "rate_CR")
    for name in systematics:
        config = unmerged(folder, systematics=systematics, fit=(name,))
        with pytest.raises(
            DatasetError, match=rf"systematics\.{name}: no event of top is in channel 'low'.*{name}_low"
        ):
            load(config)


def test_a_channel_of_the_fit_alone_is_not_in_the_training(folder):
    config = unmerged(folder, of_channels=channels(CR={"train": False}), systematics=BY_CHANNEL)
    likelihoods = Likelihoods.from_config(config)
    assert likelihoods.trained.channels == ("SR", "low")
    assert likelihoods.fitted.channels == ("SR", "CR", "low")
    events = load(config)
    likelihood = likelihoods.soft(likelihoods.trained, events.train, events)
    assert [item.name for item in likelihood.fixed] == ["low"]
    assert not [name for name in likelihoods.trained.parameters if name.endswith("_CR")]
    assert [name for name in likelihoods.fitted.parameters if name.endswith("_CR")]
    observables, final = filled(config, events)
    fixed = likelihoods.fixed(events, likelihoods.fitted)
    found = evaluate(observables.networks[0], likelihood, events.template, config.binning, likelihoods.fitted, fixed)
    assert found.honest >= found.hard > final.poi_variance


def test_the_channels_with_bins_of_their_own_constrain_the_training(folder):
    alone, both = (
        unmerged(folder, of_channels=channels(CR={"train": train}, low={"train": train})) for train in (False, True)
    )
    events = load(alone)
    found = []
    for config in (alone, both):
        likelihoods = Likelihoods.from_config(config)
        likelihood = likelihoods.soft(likelihoods.trained, events.train, events)
        network = untrained(config, 0)
        memberships = [network.summary.soft(network.outputs(torch.from_numpy(x.features))) for x in events.train]
        found.append(float(poi_variance(likelihood.expectation(to_tensors(events.train, "cpu"), memberships))))
    assert found[1] < 0.9 * found[0]


# ------------------------------------------------------------------------------------------------------ merging
def honest(jacobian: np.ndarray, variance: np.ndarray, noise: np.ndarray, prior: np.ndarray) -> float:
    """C_mumu + sum_jb n_jb (2 C_muj^2 / V_b + w_b^2), written down anew."""
    c = np.linalg.inv(sum(np.outer(j, j) / v for j, v in zip(jacobian, variance, strict=True)) + np.diag(prior))
    total = c[0, 0]
    for b in range(len(variance)):
        w = c[0] @ jacobian[b] / variance[b]
        for j in range(len(prior)):
            total += noise[b, j] * (2 * c[0, j] ** 2 / variance[b] + w**2)
    return float(total)


def brute_force(fit: Any, sizes: Sequence[int]) -> list[list[list[int]]]:
    """Merge the pair of neighbours of one channel that lowers the honest variance of all most, until none does."""
    starts = np.cumsum([0, *sizes])[:-1]
    groups = [[[i] for i in range(n)] for n in sizes]

    def of(found: list[list[list[int]]]) -> float:
        every = [np.array(group) + start for start, own in zip(starts, found, strict=True) for group in own]
        parts = [
            np.stack([array[group].sum(axis=0) for group in every]) for array in (fit.jacobian, fit.variance, fit.noise)
        ]
        return honest(*parts, fit.prior)

    while True:
        tried = {}
        for number, own in enumerate(groups):
            for i in range(len(own) - 1 if len(own) > 2 else 0):
                joined = [*own[:i], [*own[i], *own[i + 1]], *own[i + 2 :]]
                tried[number, i] = [*groups[:number], joined, *groups[number + 1 :]]
        best = min(tried, key=lambda key: of(tried[key]), default=None)
        if best is None or of(tried[best]) >= of(groups):
            return groups
        groups = tried[best]


def two_channels(seed: int) -> tuple[Any, list[Templates]]:
    """A channel of six bins of a network, and one of five of its own, with noise of one shape in both."""
    random, found = np.random.default_rng(seed), []
    for name, n, is_trained in (("SR", 6, True), ("CR", 5, False)):
        signal = np.sort(random.uniform(0.5, 12, n)) if is_trained else random.uniform(0.1, 1, n)
        background = np.sort(random.uniform(5, 200, n))[::-1]
        shifted = background * (1 + random.normal(0, 0.1, n))
        templates = make_templates(
            {"signal": signal, "QCD": background},
            varied={("jes", "QCD"): (shifted, background**2 / shifted)},
            noise={("jes", "QCD"): random.uniform(0, 0.3, n) * background},
        )
        found.append(replace(templates, channel=name, is_trained=is_trained))
    measurement = make_measurement(
        ("signal", "QCD"), free={"norm": ["QCD"]}, shapes={"jes": True}, normalisation={"lumi": (["signal"], 1.1, 0.9)}
    )
    return measurement, found


@pytest.mark.parametrize("seed", range(6))
def test_bins_are_merged_within_a_channel_by_the_variance_of_the_whole_likelihood(seed):
    measurement, templates = two_channels(seed)
    fit = linear_fit(measurement, templates)
    assert fit.honest_variance() == pytest.approx(honest(fit.jacobian, fit.variance, fit.noise, fit.prior), rel=1e-9)
    rule = synthetic().binning.model_copy(update=UNMERGED | {"merge_noise": True})
    expected = brute_force(fit, [item.n_bins for item in templates])
    found = [[list(group) for group in item.groups] for item in merge(templates, rule, fit)]
    assert found == expected
    assert sum(map(len, found)) < 11 or seed


def test_a_bin_without_events_is_merged_in_its_channel_alone():
    _, templates = two_channels(0)
    yields = {"signal": templates[1].values("signal"), "QCD": np.array([50.0, 0.01, 40.0, 30.0, 20.0])}
    poor = replace(make_templates(yields), channel="CR", is_trained=False)
    rule = synthetic().binning.model_copy(update=UNMERGED | {"min_yield": 1.2})
    first, second = merge([templates[0], poor], rule, None)
    assert first.groups == templates[0].groups
    assert [len(group) for group in second.groups if 1 in group] == [2]
    assert second.values("QCD").sum() == pytest.approx(140.01)


# ------------------------------------------------------------------- what is done to one of the channels alone
def test_smoothing_symmetry_and_pruning_of_one_channel(folder):
    """By channel: the shape of CR alone is smoothed, made symmetric and pruned; that of SR stays."""
    systematics = {"jes": BY_CHANNEL["jes"], "pdf": SYSTEMATICS["pdf"], "top_norm": SYSTEMATICS["top_norm"]}
    config = unmerged(folder, systematics=systematics, fit=tuple(systematics))
    events = load(config)
    _, plain = filled(config, events)
    _, symmetric = filled(config, events, symmetrise=1e-9)
    for before, after in zip(plain.channels, symmetric.channels, strict=True):
        (label,) = {name for name, _ in before.varied if name.startswith("jes")}
        assert label == f"jes_{before.channel}"
        for key, (up, down) in after.varied.items():
            up_before, down_before = before.varied[key]
            np.testing.assert_allclose(up - down, up_before - down_before, atol=1e-9)
            if key[0] == label and key[1] in symmetric.parts[key[0]].symmetrised:
                np.testing.assert_allclose(up + down, 2 * before.values(key[1]), rtol=1e-9)
    assert any(part.symmetrised for part in symmetric.parts.values())

    smooth = {"jes": BY_CHANNEL["jes"] | {"smooth": "353QH_twice"}}
    config = unmerged(folder, systematics=systematics | smooth, fit=tuple(systematics))
    _, smoothed = filled(config, events)
    for before, after in zip(plain.channels, smoothed.channels, strict=True):
        for (label, sample), pair in after.varied.items():
            for side, side_before in zip(pair, before.varied[label, sample], strict=True):
                # Of the bins of one channel alone: what an event migrates by stays a change of its yield.
                assert side.sum() == pytest.approx(side_before.sum(), rel=1e-9)
                is_same = np.allclose(side, side_before, rtol=1e-12)
                assert is_same or (label.startswith("jes") and after.n_bins > 2)

    sizes = {}
    for item in plain.channels:
        for key, pair in item.varied.items():
            if key[0].startswith("jes"):
                sizes[key] = max(np.abs(side / item.values(key[1]) - 1).max() for side in pair)
    threshold = sorted(sizes.values())[3] * (1 + 1e-9)
    _, left = filled(config, events, prune=threshold)
    kept = {key for item in left.channels for key in item.varied if key[0].startswith("jes")}
    gone = {(item.parameter, item.sample) for item in left.pruned if item.is_all}
    assert kept | gone >= set(sizes)
    assert not kept & gone
    assert gone
    assert all(item.channel for item in left.pruned)
    spec = fitted(left.channels, left.measurement, poi_bounds=(-5.0, 10.0), observed=False)
    acting = {
        (x.name, sample.name) for channel in spec.channels for sample in channel.samples for x in sample.modifiers
    }
    assert not acting & gone


# ----------------------------------------------------------------------------------------------- pseudo-experiments
def experiments(n: int, mu: float, **values: float) -> list[Experiment]:
    seeds = np.random.SeedSequence(7).spawn(n)
    return [Experiment(mu, values, np.random.default_rng(seed)) for seed in seeds]


def test_pseudo_experiments_of_generated_events_have_the_expectation_of_every_channel():
    own = {
        "SR": {"selection": "x0 < 3"},
        "CR": {"selection": "x0 >= 3", "observable": {"kind": "histogram", "expression": "x1", "edges": [-4, 0, 4]}},
    }
    many = (
        "dataset.events={train: 400, validation: 400, template: 200000}",
        "nuisance=r_lambda",
        "model=optimal",
        "model.edges=uniform",
    )
    config = changed(synthetic(*many, "model.edges=uniform"), channels=own)
    events = load(config)
    observables = Observables((ChannelNetworks.shared(_exact(config, events)),), Channels(config.channels))
    final = final_templates(observables, Likelihoods.from_config(config), events, symmetrise=None, seed=1)
    observables = replace(observables, groups={item.channel: item.groups for item in final.channels})
    data = pseudo_data(config, final.measurement, observables, events, final.channels)
    assert isinstance(data, Generated)
    for mu, values, label in ((2.0, {}, None), (1.0, {"r": 1.0}, "r")):
        expected = []
        for item in final.channels:
            signal, background = item.nominal
            if label is not None:
                background = item.varied[label, "background"][0]
            expected.append(mu * signal + background)
        wanted = np.concatenate(expected)
        counts = data.counts(experiments(300, mu, **values))
        error = np.sqrt(wanted / 300 + np.concatenate([x.variance.sum(axis=0) for x in final.channels]))
        assert (np.abs(counts.mean(axis=0) - wanted) < 4.5 * error).all()


def _exact(config: TrainConfig, events: Events) -> Observable:
    model = config.model
    features = torch.from_numpy(np.concatenate([x.features[0] for x in events.train]))
    network = model.network.build(features.mean(dim=0), features.std(dim=0), model.summary.n_outputs)
    return Observable(network, model.summary, events.features)


def test_pseudo_experiments_of_files_have_every_channel_and_none_with_folds(folder):
    config = unmerged(folder)
    events = load(config)
    observables, final = filled(config, events)
    observables = replace(observables, groups={item.channel: item.groups for item in final.channels})
    data = pseudo_data(config, final.measurement, observables, events, final.channels)
    assert isinstance(data, Drawn)
    counts = data.counts(experiments(400, 1.0)).mean(axis=0)
    first = 0
    for item in final.channels:
        own = counts[first : first + item.n_bins]
        assert own.sum() == pytest.approx(item.nominal.sum(), rel=0.05)
        first += item.n_bins
    assert set(data.gammas()) == {f"staterror_{x.channel}[{i}]" for x in final.channels for i in range(x.n_bins)}

    config = unmerged(folder, splits=FOLDS)
    events = load(config)
    observables, final = filled(config, events)
    with pytest.raises(TemplateError, match=r"with dataset\.splits\.folds every event is in the templates"):
        pseudo_data(config, final.measurement, observables, events, final.channels)
