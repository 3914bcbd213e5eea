"""What a statistic learnt: importance by shuffling, responses with their errors, bins over features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load, make_measurement, make_templates, synthetic

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.drawing.style import save_figures
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Sample, Variation, generator
from inferno_cli.events.sources.synthetic import BACKGROUND_VARIANCE, SIGNAL_RATE, log_density
from inferno_cli.histograms.feature_map import axis_edges, feature_map, weighted_quantiles
from inferno_cli.histograms.morph import enveloped, scaled
from inferno_cli.histograms.templates import fill
from inferno_cli.histograms.yield_changes import TOTAL, YieldChange, yield_changes
from inferno_cli.report.network.figures import figures
from inferno_cli.report.network.tables import show_explanation
from inferno_cli.runs.explanation import (
    Explanation,
    ImportanceRecord,
    by_importance,
    compositions,
)
from inferno_cli.runs.record import PartsRecord
from inferno_cli.training.explanation import Explainer, shuffled
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.observables import Observables

JES = (NOMINAL, Variation("jes", "up"), Variation("jes", "down"))


# ------------------------------------------------------------------------------------------------- shuffling
def shifted_samples() -> list[Sample]:
    """A signal at 10 and a background at 20, which is expected three times as often; jes moves both by 0.5.

    Some events are lost or gained by a variation: there they have weight 0, and 0 as features.
    """
    rng = np.random.default_rng(3)
    made = []
    for name, n, mean, weight in (("signal", 400, 10, 1.0), ("background", 200, 20, 6.0)):
        nominal = rng.normal(mean, 1, (n, 2)).astype(np.float32)
        features = np.stack([nominal, nominal + np.float32(0.5), nominal - np.float32(0.5)])
        weights = np.full((3, n), weight)
        for view, gone in enumerate((slice(0, 20), slice(20, 50), slice(40, 60))):
            features[view, gone], weights[view, gone] = 0, 0
        made.append(Sample(name, name == "signal", np.arange(n), JES, features, (0, 1, 2), weights))
    return made


def test_a_shuffled_feature_has_the_distribution_of_the_expected_data_in_every_sample() -> None:
    samples = shifted_samples()
    for before, after in zip(samples, shuffled(samples, 0, generator(1, "a")), strict=True):
        values = after.features[0, :, 0]
        assert np.mean(values > 15) == pytest.approx(1080 / (1080 + 380), abs=2 / len(values))
        assert values.min() > 5  # nothing from events that the nominal does not select
        np.testing.assert_array_equal(after.features[..., 1], before.features[..., 1])
        np.testing.assert_array_equal(after.weights, before.weights)


def test_a_shuffled_feature_is_the_same_in_the_nominal_and_the_shifted_event() -> None:
    """So nothing of a response is noise of the shuffle, and none of it is due to this feature."""
    for sample in shuffled(shifted_samples(), 0, generator(1, "a")):
        nominal, up, down = sample.features[..., 0]
        np.testing.assert_array_equal(nominal, up)
        np.testing.assert_array_equal(nominal, down)
        assert abs(np.corrcoef(nominal, np.arange(len(nominal)))[0, 1]) < 0.15  # in random order


def test_a_shuffle_is_that_of_its_seed() -> None:
    samples = shifted_samples()
    first, again, other = (shuffled(samples, 0, generator(seed, "a"))[0].features for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# ------------------------------------------------------------------------------------------------ importance
def explainer(weights: Sequence[Sequence[float]], *overrides: str) -> Explainer:
    """A classifier with one linear layer, in the fitted bins that its own events give."""
    events = (
        "dataset.events={train: 400, validation: 400, template: 4000}",
        "model.bins=4",
        "model.summary.edges=uniform",
    )
    lenient = ("binning.min_effective_events=1", "binning.merge_noise=false")
    config = synthetic("model=bce", "nuisance=r_lambda", *events, *lenient, *overrides)
    made = load(config)
    measurement = Measurement.from_config(config, config.nuisance.fit)
    layer = torch.nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.fill_(0.3)
    observable = Observable(torch.nn.Sequential(layer), config.model.summary, config.dataset.features)
    observables = Observables((ChannelNetworks.shared(observable),), groups={"SR": ((0,), (1,), (2,), (3,))})
    return Explainer(observables, made.template, measurement, config.binning)


def test_a_feature_that_the_network_does_not_see_is_worth_exactly_nothing() -> None:
    made = explainer([[0.3, 0.0, -1.0]])
    nominal = made.deviations(made.templates(made.samples))["mu"]
    found = {name: made.importance(name, 3, seed=1) for name in ("x0", "x1", "x2")}

    assert found["x1"][0] == [nominal] * 3
    assert found["x2"][0] != [nominal] * 3
    assert ImportanceRecord.of("x1", *found["x1"], nominal).change == 0.0


def test_the_one_feature_that_the_network_uses_is_on_top() -> None:
    """Without it signal and background fall alike: what is left is the number of events, sqrt(1050) of 50."""
    made = explainer([[0.0, 0.0, -1.5]], "nuisance=none", "likelihood.staterror=false")
    nominal = made.deviations(made.templates(made.samples))["mu"]
    names = ("x0", "x1", "x2")
    records = [ImportanceRecord.of(x, *made.importance(x, 2, 1), nominal) for x in names]

    assert by_importance(records)[0].feature == "x2"
    assert [item.change for item in records[:2]] == [0.0, 0.0]
    assert records[2].sigma_mu == pytest.approx([math.sqrt(1050) / 50] * 2, rel=1e-4)
    assert nominal < 0.999 * math.sqrt(1050) / 50


def test_bins_that_lose_their_support_are_merged_and_not_fake_information() -> None:
    """With x0 = x1 the score is in the middle; shuffled it is at the ends, and the bins in the middle lose events."""
    made = explainer([[6.0, -4.5, 0.0]])
    aligned = []
    for sample in made.samples:
        features = sample.features.copy()
        features[..., 0] = features[0, :, 1]
        aligned.append(replace(sample, features=features))
    rule = Binning(min_yield=1.0, min_effective_events=120.0, max_noise_information=10.0)
    made = replace(made, rule=rule, samples=tuple(aligned))

    assert made.templates(made.samples)[0].n_bins == 4
    sigmas, n_bins = made.importance("x0", 2, seed=1)
    assert max(n_bins) < 4
    assert all(math.isfinite(sigma) or n < 3 for sigma, n in zip(sigmas, n_bins, strict=True))


def test_a_shuffle_after_which_nothing_can_be_fitted_is_the_worst_of_all() -> None:
    good = ImportanceRecord.of("good", (1.2, 1.3, 1.1), (4, 4, 4), 1.0)
    worst = ImportanceRecord.of("worst", (math.inf, 1.1, math.inf), (1, 4, 1), 1.0)

    assert (good.change, good.low, good.high) == pytest.approx((0.2, 0.1, 0.3))
    assert (worst.change, worst.high) == (None, None)
    assert worst.low == pytest.approx(0.1)
    assert worst.sigma_mu == (None, 1.1, None)
    assert [item.feature for item in by_importance([good, worst])] == ["worst", "good"]


def test_what_is_singular_is_said_on_the_terminal_and_in_the_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shuffles = {"a": (math.inf,), "b": (1.1, 1.2, math.inf), "c": (1.1,)}
    templates = make_templates({"signal": [1.0, 5.0], "[QCD]": [30.0, 5.0]})
    found = Explanation(
        **dict.fromkeys(("run", "dataset_checksum", "code_version"), "x"),
        **{"model": "bce", "dataset": "mine", "label": "not data", "seed": 1, "repeats": 3, "sigma_mu": 1.0},
        importance=by_importance([ImportanceRecord.of(name, sigma, (2,), 1.0) for name, sigma in shuffles.items()]),
        bins=compositions([templates]),
        responses=(),
    )
    show_explanation(found)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert [["***", "not", "data", "***"], ["a", *["singular"] * 4]] == [lines[1], lines[3]]
    assert ["b", "1.200", "+20.0%", "+10.0%", "singular"] in lines
    drawn = dict(figures(found, (), (), ["signal"]))
    assert set(drawn) == {"importance", "composition"}
    texts = [text.get_text().strip() for text in drawn["importance"].axes[0].texts]
    assert texts == ["singular: no fit without it", "some singular"]
    assert all("not data" in [text.get_text() for text in figure.texts] for figure in drawn.values())
    written = save_figures(drawn.items(), tmp_path, ["svg"]).files
    assert {path.name for path in written} == {"importance.svg", "composition.svg"}


def test_a_shape_that_the_bins_hide_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    parts = {
        "jes": PartsRecord(odd=0.1, even=2.5, odd_bins=(0.1, 0.0), even_bins=(0.0, -2.5)),
        "btag": PartsRecord(odd=2.0, even=0.2, odd_bins=(2.0, 0.0), even_bins=(0.2, 0.0)),
    }
    templates = make_templates({"signal": [1.0, 5.0], "QCD": [30.0, 5.0]})
    found = Explanation(
        **dict.fromkeys(("run", "dataset_checksum", "code_version"), "x"),
        **{"model": "bce", "dataset": "mine", "label": "", "seed": 1, "repeats": 3, "sigma_mu": 1.0},
        importance=(),
        bins=compositions([templates]),
        responses=(),
        parts=parts,
    )
    show_explanation(found)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["jes", "2.50", "0.10", "1:", "-2.50", "0.00"] in lines
    assert not [line for line in lines if line[:1] == ["btag"]]
    assert Explanation.model_validate_json(found.model_dump_json(by_alias=True)).parts == parts


# ------------------------------------------------------------------------------------------------- responses
def by_name(found: Sequence[YieldChange]) -> dict[tuple[str, str], YieldChange]:
    return {(item.parameter, item.sample): item for item in found}


def moved(seed: int = 0, n: int = 4000, *, scale: float = 1.0, normalisation: bool = True) -> dict[str, YieldChange]:
    """A signal in two bins: jes moves a tenth of its events up, a background stays."""
    rng = np.random.default_rng(seed)
    bins = np.tile(rng.integers(0, 2, n), (3, 1))
    bins[1, (bins[0] == 0) & (rng.random(n) < 0.1)] = 1
    bins[2, (bins[0] == 1) & (rng.random(n) < 0.1)] = 0
    signal = Sample("signal", True, np.arange(n), JES, np.zeros((3, n, 1), np.float32), (0, 1, 2), np.ones((3, n)))
    other = Sample("QCD", False, np.arange(n), (NOMINAL,), np.zeros((1, n, 1), np.float32), (0,), np.ones((1, n)))
    samples, numbers = [signal, other], [bins, rng.integers(0, 2, (1, n))]
    morph = Morph(("jes",), scale, "both" if normalisation else "shape")
    measurement = replace(make_measurement(["signal", "QCD"]), shapes={"jes": {"signal": morph}})
    templates = enveloped(scaled(fill(samples, numbers, 2), measurement), measurement)
    return {item.sample: item for item in yield_changes(samples, numbers, templates, measurement, {})}


def test_the_response_of_a_shape_is_that_of_its_templates() -> None:
    found = moved()

    assert set(found) == {TOTAL, "signal"}
    assert found["signal"].up[0] == pytest.approx(-0.1, abs=0.02)
    assert found["signal"].up[1] == pytest.approx(0.1, abs=0.02)
    # The background of the same size halves it.
    np.testing.assert_allclose(found[TOTAL].up, found["signal"].up / 2, rtol=0.1)


@pytest.mark.parametrize(("scale", "normalisation"), [(1.0, True), (2.0, False)])
def test_the_error_of_a_response_is_its_spread_over_simulations(scale: float, normalisation: bool) -> None:
    """Events that stay in their bin have no part in it: as independent samples it would be three times as large."""
    many = [moved(seed, 500, scale=scale, normalisation=normalisation) for seed in range(200)]

    for name in (TOTAL, "signal"):
        spread = np.std([item[name].up for item in many], axis=0)
        stated = np.mean([item[name].up_error for item in many], axis=0)
        np.testing.assert_allclose(stated, spread, rtol=0.15)


def test_the_error_of_an_envelope_is_at_least_that_of_its_largest_member() -> None:
    """Of two members the second does nothing: the envelope is the first, in both directions alike."""
    rng = np.random.default_rng(0)
    n, bins = 2000, rng.integers(0, 2, (1, 2000))
    names = (NOMINAL, *(Variation(label, side) for label in ("pdf_0", "pdf_1") for side in ("up", "down")))
    weights = np.ones((5, n))
    weights[1], weights[2] = rng.normal(1.1, 0.3, n), rng.normal(0.9, 0.3, n)
    sample = Sample("signal", True, np.arange(n), names, np.zeros((1, n, 1), np.float32), (0,) * 5, weights)
    found = []
    for members in (("pdf_0",), ("pdf_0", "pdf_1")):
        kept = sample.only(members)
        parameter = "pdf_0" if len(members) == 1 else "pdf"
        measurement = replace(make_measurement(["signal"]), shapes={parameter: {"signal": Morph(members)}})
        templates = enveloped(scaled(fill([kept], [bins], 2), measurement), measurement)
        found.append(yield_changes([kept], [bins], templates, measurement, {})[1])

    np.testing.assert_allclose(found[1].up, found[0].up, rtol=1e-6)
    assert (found[1].up_error >= found[0].up_error).all()
    np.testing.assert_allclose(found[1].up_error, found[0].up_error, rtol=0.2)


def test_the_response_of_rates_is_their_size() -> None:
    templates = make_templates({"signal": [10.0, 0.0], "QCD": [30.0, 50.0]})
    measurement = make_measurement(
        ["signal", "QCD"], free={"QCD_norm": ["QCD"]}, normalisation={"lumi": (["signal"], 1.1, 0.8)}
    )
    found = by_name(yield_changes([], [], templates, measurement, {"QCD_norm": 0.04}))

    assert set(found) == {("QCD_norm", TOTAL), ("QCD_norm", "QCD"), ("lumi", TOTAL), ("lumi", "signal")}
    assert found["QCD_norm", TOTAL].step == 0.04
    np.testing.assert_allclose(found["QCD_norm", TOTAL].up, [0.03, 0.04])
    np.testing.assert_allclose(found["QCD_norm", "QCD"].down, -0.04)
    np.testing.assert_allclose(found["lumi", TOTAL].down, [-0.05, 0])
    assert found["lumi", "signal"].up[0] == pytest.approx(0.1)
    assert np.isnan(found["lumi", "signal"].up[1])  # nothing in this bin
    np.testing.assert_allclose(found["lumi", "signal"].up_error[0], 0, atol=1e-12)


# ---------------------------------------------------------------------------------------- bins over features
def test_cells_have_the_most_common_and_the_mean_bin_of_the_expected_events() -> None:
    x = np.array([0, 0, 0, 1, 1, 9], dtype=np.float32)
    features = np.stack([x, np.zeros_like(x), np.arange(6, dtype=np.float32)], axis=1)[None]
    weights = np.array([[1.0, 1.0, 3.0, 1.0, 1.0, 0.0]])  # the last is not selected
    sample = Sample("a", True, np.arange(6), (NOMINAL,), features, (0,), weights)

    found = feature_map([sample], [np.array([[0, 0, 2, 1, 1, 2]])], 3, ("x", "y", "z"), ("x", "y"), 5)

    assert found.x_edges.tolist() == [-0.5, 0.5, 1.5]
    assert found.y_edges.tolist() == [-0.5, 0.5]
    assert found.common.tolist() == [[2], [1]]
    np.testing.assert_allclose(found.mean, [[6 / 5], [1]])

    bins, pair = [np.array([[0, 0, 2, 1, 1, 2]])], ("x", "y")
    given = feature_map([sample], bins, 3, ("x", "y", "z"), pair, 5, {"x": (0.5, 3)})
    assert given.x_edges.tolist() == [0.5, 1.5, 2.5, 3.5]  # integers stay in the middle of their cells
    halves = replace(sample, features=features / 2)
    given = feature_map([halves], bins, 3, ("x", "y", "z"), pair, 5, {"x": (0.5, 3)})
    assert given.x_edges.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert given.common[0].tolist() == [1]
    assert np.isnan(given.common[1]).all()


def test_cells_without_events_are_empty_and_tails_are_left_out() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e6]])
    edges = axis_edges(values, np.ones(1001), 10)
    assert len(edges) == 11
    assert (edges[0], edges[-1]) == pytest.approx((0.005, 0.995), abs=0.002)
    assert weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0]), (0.5, 0.85, 1.0)).tolist() == [
        1.0,
        2.0,
        3.0,
    ]


def test_the_share_of_signal_is_that_of_the_densities() -> None:
    config = synthetic()
    x = np.random.default_rng(1).normal(1, 1, (50, 3))
    signal = 50 * np.exp(log_density(x, (0, 0), (1, 1), SIGNAL_RATE))
    background = 1000 * np.exp(log_density(x, (2, 0), BACKGROUND_VARIANCE, 3.0))

    np.testing.assert_allclose(
        config.dataset.exact_classifier().signal_share(x), signal / (signal + background), rtol=1e-12
    )
