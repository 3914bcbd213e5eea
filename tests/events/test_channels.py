"""Events of ntuples in channels: each in one, migrating with the jet energy scale, and every mistake one error."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from channel_ntuples import (
    EDGES,
    SIMULATED,
    SYSTEMATICS,
    channels,
    configured,
    counted,
    inside,
    split_of,
    table,
    tree_of,
    trees,
    weights,
)
from conftest import changed, load, synthetic, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import ConfigError, DatasetError, TemplateError
from inferno_cli.events.channel import NO_BIN
from inferno_cli.events.observables.count import Count
from inferno_cli.events.observables.histogram import Histogram

FOLDS = {"folds": 3, "validation": 0.25}
VARIATIONS = ("nominal", "jes_up", "jes_down", "pdf_up", "pdf_down")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("channels")


@pytest.fixture(scope="module")
def files():
    return trees()


def in_channel(samples, channel):
    return {sample.name: sample for sample in samples if sample.channel == channel}


# ---------------------------------------------------------------------------------------------------- observables
def test_a_bin_has_its_lower_edge_and_what_is_beyond_is_in_none_or_in_the_outer_bins():
    values = np.array([-1.0, 0.0, 39.9, 40.0, 119.9, 120.0, 500.0])
    closed, opened = (Histogram(expression="m", edges=EDGES, overflow=overflow) for overflow in (False, True))
    assert closed.bins(values).tolist() == [NO_BIN, 0, 0, 1, 2, NO_BIN, NO_BIN]
    assert opened.bins(values).tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert (Count().n_bins, Count().bins(values).tolist()) == (1, [0] * 7)


# ------------------------------------------------------------------------------------------- what is in a channel
@pytest.mark.parametrize("overflow", [True, False])
def test_the_channels_with_bins_of_their_own_have_every_event(folder, files, overflow):
    events = load(configured(folder, of_channels=channels(overflow=overflow)))
    for channel in ("CR", "low"):
        for name, sample in in_channel(events.fixed, channel).items():
            labels = [str(variation) for variation in sample.variations]
            assert set(labels) == {item for item in VARIATIONS if name != "fakes" or "pdf" not in item}
            for row, label in enumerate(labels):
                expected = counted(files[tree_of(name, label)], channel, label, overflow=overflow)
                bins = sample.bins[sample.view[row]]
                found = np.bincount(bins, sample.weights[row], len(expected["values"]))
                np.testing.assert_allclose(found, expected["values"], rtol=1e-6, atol=1e-9)
            assert sample.features.shape[2] == 0
    assert {sample.name for sample in events.fixed if sample.channel == "low"} == {"signal", "fakes"}


def test_the_trained_channel_keeps_its_yield_in_every_split_and_variation(folder, files):
    events = load(configured(folder))
    for part in (events.train, events.validation, events.template):
        assert [sample.channel for sample in part] == ["SR"] * 3
        for sample in part:
            for row, label in enumerate(map(str, sample.variations)):
                rows = files[tree_of(sample.name, label)]
                own = inside(rows, "SR")
                assert sample.yields[row] == pytest.approx(weights(rows, label)[own].sum(), rel=1e-9)


def test_events_migrate_between_channels_and_are_in_one_of_them(folder):
    events = load(configured(folder))
    (signal,) = (sample for sample in events.fixed if (sample.channel, sample.name) == ("CR", "signal"))
    row = [str(variation) for variation in signal.variations].index("jes_up")
    moved_out = (signal.weights[0] != 0) & (signal.weights[row] == 0)
    moved_in = (signal.weights[0] == 0) & (signal.weights[row] != 0)
    assert moved_out.sum() > 5
    assert moved_in.sum() > 5


def test_observed_events_are_in_one_channel_each(folder, files):
    data = files["Data"]
    parts = {part.channel: part for part in load(configured(folder)).observed}
    assert sorted(parts["SR"].features[:, 0]) == sorted(data["x"][inside(data, "SR")])
    expected = np.histogram(data["m"][inside(data, "CR")].clip(1, 119), EDGES)[0]
    assert np.bincount(parts["CR"].bins, minlength=3).tolist() == expected.tolist()
    assert len(parts["low"].bins) == inside(data, "low").sum()


def test_downsampling_scales_every_channel(folder):
    whole, half = (load(configured(folder, downsample_factor=factor)) for factor in (1.0, 0.5))
    for before, after in zip((*whole.template, *whole.fixed), (*half.template, *half.fixed), strict=True):
        np.testing.assert_allclose(after.weights, before.weights / 2)
    n_whole, n_half = (sum(len(part.features) for part in x.observed) for x in (whole, half))
    assert n_half == round(n_whole / 2)


# --------------------------------------------------------------------------------------------------- mistakes
def test_overlapping_selections_are_one_error(folder):
    wrong = channels(CR={"selection": "pt >= 20 and pt < 41"})
    with pytest.raises(DatasetError, match=r"are in channel 'SR' and in channel 'CR', expected each in one") as error:
        load(configured(folder, of_channels=wrong))
    assert "channels.SR.selection or channels.CR.selection" in str(error.value)


def test_a_sample_without_events_in_a_channel_is_told(folder, caplog):
    with caplog.at_level(logging.INFO):
        load(configured(folder))
    assert "events: no event of top is in channel low" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        events = load(configured(folder, of_channels=channels(low={"samples": ["fakes", "signal"]})))
    assert "no event of" not in caplog.text
    assert set(in_channel(events.fixed, "low")) == {"signal", "fakes"}


def test_the_samples_of_a_channel(folder):
    events = load(
        configured(folder, of_channels=channels(CR={"samples": ["top"]}, SR={"samples": ["signal", "fakes"]}))
    )
    assert set(in_channel(events.fixed, "CR")) == {"top"}
    assert [sample.name for sample in events.template] == ["signal", "fakes"]
    with pytest.raises(ValueError, match=r"channels\.CR\.samples: unknown sample 'tops'"):
        configured(folder, of_channels=channels(CR={"samples": ["tops"]}))


@pytest.mark.parametrize("channel", ["SR", "CR", "low"])
def test_a_yield_that_is_not_positive_names_the_channel(tmp_path, channel):
    made = trees()
    for name in ("signal", "signal_jes_up", "signal_jes_down"):
        rows = made[name]
        made[name] = rows | {"w": np.where(inside(rows, channel), -np.abs(rows["w"]), np.abs(rows["w"]))}
    write(tmp_path / "all.root", made)
    with pytest.raises(TemplateError, match=rf"sample 'signal', channel '{channel}', nominal: the weights sum to -"):
        load(configured(tmp_path))


def test_a_split_without_a_yield_names_the_channel(tmp_path):
    """Two events of the signal are left in SR: some split has none."""
    made = trees()
    for name in ("signal", "signal_jes_up", "signal_jes_down"):
        rows = made[name]
        far = inside(rows, "SR") & ~np.isin(rows["event"], [table("signal")["event"][table("signal")["pt"] > 60][0]])
        made[name] = {key: values[~far] for key, values in rows.items()} | {"w": np.abs(rows["w"][~far])}
    write(tmp_path / "all.root", made)
    with pytest.raises(DatasetError, match=r"sample 'signal', channel 'SR': a split of 0 events"):
        load(configured(tmp_path))


def test_an_observable_that_is_no_number_is_one_error(folder):
    wrong = channels()
    wrong["CR"]["observable"]["expression"] = "m / (pt - pt)"
    with pytest.raises(DatasetError, match=r"is not a number in .* in channel 'CR'.*channels\.CR\.observable"):
        load(configured(folder, of_channels=wrong))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SR": {"observable": {"kind": "count"}}}, "the network makes the bins of none of SR, CR, low"),
        (
            {"SR": {"train": False}},
            r"channels\.SR\.train is false, and the network makes its bins, so .*; leave train out",
        ),
        ({"CR": {"observable": {"kind": "histogram", "expression": "m", "edges": [1, 1]}}}, "expected ascending"),
        ({"CR": {"selection": "pt >="}}, r"channels\.CR\.selection"),
        ({"CR": {"observable": {"kind": "profile"}}}, r"profile"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_configuration(folder, change, says):
    with pytest.raises(ValueError, match=says):
        configured(folder, of_channels=channels(**change))


# ------------------------------------------------------------------------------------------------------- folds
@pytest.fixture(scope="module")
def divided(folder):
    return load(configured(folder, splits=FOLDS))


def test_the_yields_of_the_folds_sum_to_that_of_the_channel(divided, files):
    for name in SIMULATED:
        parts = [sample for sample in divided.template if sample.name == name]
        assert [part.fold for part in parts] == [0, 1, 2]
        for row, label in enumerate(map(str, parts[0].variations)):
            rows = files[tree_of(name, label)]
            total = weights(rows, label)[inside(rows, "SR")].sum()
            assert [part.yields[row] for part in parts] == pytest.approx([total / 3] * 3, rel=1e-9)


def test_every_simulated_event_is_in_one_fold_the_same_in_all_variations(divided, files):
    for name in SIMULATED:
        parts = [sample for sample in divided.template if sample.name == name]
        groups = np.concatenate([part.group for part in parts])
        assert len(np.unique(groups)) == len(groups)
        for row, label in enumerate(map(str, parts[0].variations)):
            rows = files[tree_of(name, label)]
            own = inside(rows, "SR")
            fold = split_of(divided.assignment, name, rows)
            for part in parts:
                taken = part.weights[row] != 0
                x = part.features[part.view[row], taken, 0]
                assert sorted(x) == sorted(rows["x"][own & (fold == part.fold)])


def test_a_network_sees_nothing_of_its_fold_and_validates_on_what_it_was_not_trained_on(divided):
    for number in range(3):
        events = divided.fold(number)
        for name in SIMULATED:
            groups = []
            for part in (events.train, events.validation):
                (sample,) = (item for item in part if item.name == name)
                groups.append(sample.group)
                assert sample.yields == pytest.approx(sum(x.yields for x in divided.template if x.name == name))
            (own,) = (x.group for x in divided.template if (x.name, x.fold) == (name, number))
            groups.append(own)
            every = np.concatenate(groups)
            assert len(np.unique(every)) == len(every)
            seen = len(groups[0]) + len(groups[1])
            assert len(groups[1]) / seen == pytest.approx(0.25, abs=0.06)


def test_rows_of_one_source_stay_in_one_fold_also_across_trained_channels(folder, files):
    own = {
        name: {"role": role, "split_by": ["source"]}
        for name, role in {"signal": "signal", "fakes": "background", "top": "background"}.items()
    }
    two = {name: {"selection": text} for name, text in (("high", "pt >= 40"), ("rest", "pt < 40"))}
    events = load(configured(folder, splits=FOLDS, samples=own, of_channels=two))
    for name in SIMULATED:
        fold = split_of(events.assignment, name, files[name])
        for source in np.unique(files[name]["source"]):
            assert len(set(fold[files[name]["source"] == source])) == 1
    for number in range(3):
        of_fold = events.fold(number)
        for name in SIMULATED:
            seen, judged = (
                set(np.concatenate([x.group for x in part if x.name == name]))
                for part in (of_fold.train, of_fold.validation)
            )
            held = set(np.concatenate([x.group for x in events.template if (x.name, x.fold) == (name, number)]))
            assert len(seen | judged | held) == len(seen) + len(judged) + len(held)
            assert {x.channel for x in of_fold.train} == {"high", "rest"}


def test_observed_events_of_the_folds_are_all_of_them_once(divided, files):
    data = files["Data"]
    parts = [part for part in divided.observed if part.channel == "SR"]
    assert [part.fold for part in parts] == [0, 1, 2]
    assert sorted(np.concatenate([part.features[:, 0] for part in parts])) == sorted(data["x"][inside(data, "SR")])
    assert min(len(part.features) for part in parts) > 30


# -------------------------------------------------------------------------------------------------- generated events
def test_generated_events_are_selected_by_their_features():
    own = {
        "SR": {"selection": "x0 < 2"},
        "CR": {"selection": "x0 >= 2", "observable": {"kind": "histogram", "expression": "x1", "edges": [-3, 0, 3]}},
    }
    whole = load(synthetic("nuisance=r_lambda"))
    events = load(changed(synthetic("nuisance=r_lambda"), channels=own))
    for every, part in zip(whole.template, events.template, strict=True):
        (rest,) = (x for x in events.fixed if x.name == every.name)
        for row, (variation, view) in enumerate(zip(every.variations, every.view, strict=True)):
            x = every.features[view]
            low = x[:, 0] < 2
            assert part.variations[row] == variation
            assert part.yields[row] == pytest.approx(every.weights[row][low].sum())
            high = ~low & (np.abs(x[:, 1]) < 3)
            assert rest.yields[row] == pytest.approx(every.weights[row][high].sum())
    (observed,) = whole.observed
    counts = [len(part.features) for part in events.observed]
    assert counts[0] == (observed.features[:, 0] < 2).sum()
    with pytest.raises(ConfigError, match=r"channels\.CR\.selection: 'x9' is no feature of the events"):
        load(changed(synthetic(), channels=own | {"CR": own["CR"] | {"selection": "x9 >= 2"}}))


def test_parameters_by_channel_are_those_of_the_channels(folder):
    by_channel = {name: item | {"correlated": {"by": "channel"}} for name, item in SYSTEMATICS.items()}
    by_channel["fakes"].pop("modifier_name")
    config = configured(folder, systematics=by_channel, fit=("jes", "fakes"))
    for sample in (*load(config).template, *load(config).fixed):
        assert {str(x) for x in sample.variations} == {
            "nominal",
            f"jes_{sample.channel}_up",
            f"jes_{sample.channel}_down",
        }


def test_a_parameter_of_a_channel_is_not_that_of_all_events(folder):
    rate = {"kind": "normalisation", "samples": ["fakes"], "size": 0.1}
    systematics = {
        "rate": rate | {"correlated": {"by": "channel"}},
        "two": rate | {"modifier_name": "rate_SR", "samples": ["top"]},
    }
    with pytest.raises(
        ValueError, match=r"share the parameter 'rate_SR', which varies the events of SR and all events"
    ):
        configured(folder, systematics=systematics, fit=("rate", "two"))


# ------------------------------------------------------------------------------------------------------- the page
def test_the_yaml_of_the_page_is_a_configuration(folder):
    text = (Path(__file__).parents[2] / "docs/guide/channels.md").read_text(encoding="utf-8")
    own, systematics, splits = map(yaml.safe_load, re.findall(r"```yaml[^\n]*\n(.*?)```", text, re.DOTALL))
    names = ("ggH", "ZTT", "TT", "Fakes")
    samples = {name: {"role": "signal" if name == "ggH" else "background"} for name in names}
    fit = tuple(systematics["systematics"])
    config = configured(folder, of_channels=own, samples=samples, fit=fit, **systematics, **splits)
    assert config.fitted_channels == (*(f"SR_fold{fold}" for fold in range(5)), "top", "low")
    assert config.parameters(fit) == ("JES_SR", "JES_top", "JES_low", "TT_norm")
    assert Measurement.from_config(config, fit, of_training=True).channels == ("SR", "top")
    assert config.channels["top"].observable.axis == "visible mass [GeV]"
