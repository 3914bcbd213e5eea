"""What `inferno data` says about a dataset: numbers worked out by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from channel_ntuples import configured, inside, trees
from conftest import changed, load, ntuples, observed, rows, small_trees, synthetic, write
from scipy import stats

from inferno_cli.config.steps import DataConfig, TrainConfig
from inferno_cli.errors import DatasetError, TemplateError
from inferno_cli.events.description import Description, describe
from inferno_cli.events.root.validate import leaks
from inferno_cli.events.separation import separation
from inferno_cli.report.dataset.page import as_html
from inferno_cli.report.dataset.tables import as_json

N = np.arange(1, 241)
JES = {"kind": "shape", "samples": ["ttbar"]}


def data_config(config: TrainConfig, **changes: Any) -> DataConfig:
    """The configuration of `inferno data` with the sections of one of `inferno train`."""
    keys = {"systematics": None, "source_branches": ["source_event"], "bins": 4} | changes
    return DataConfig.model_validate_json(json.dumps(config.model_dump(mode="json", by_alias=True) | keys))


def described(config: TrainConfig, max_signal_share: float | None = None, **changes: Any) -> Description:
    settings = data_config(config, **changes)
    factor = settings.dataset.downsample_factor
    return describe(
        settings.dataset.validated(settings.request, settings.source_branches),
        settings.request.effects,
        bins=settings.bins,
        seed=settings.seed,
        downsample_factor=factor,
        max_signal_share=max_signal_share,
    )


def of(path: Path, *, dataset: Any = None, **trees: Any) -> Description:
    return described(ntuples(write(path / "small.root", small_trees(**trees)), **(dataset or {})))


# ---------------------------------------------------------------------------------------------- separation
def test_separation_of_four_values_by_hand() -> None:
    # signal 1 (w 1), 3 (w 3); background 2 (w 1), 3 (w 1): 3 > 2, ties at 3 count half.
    found = separation(np.array([1.0, 3.0]), np.array([1.0, 3.0]), np.array([2.0, 3.0]), np.ones(2))
    assert found.auc == pytest.approx(0.75 * (0.5 + 0.25))
    assert found.ks == pytest.approx(0.25)


@pytest.mark.parametrize("shift", [0.0, 0.4, -2.0])
def test_separation_without_weights_is_that_of_scipy(shift: float) -> None:
    random = np.random.default_rng(3)
    signal, background = random.normal(shift, 1.0, 300), random.normal(0.0, 1.0, 200)
    found = separation(signal, np.full(300, 0.1), background, np.full(200, 7.0))
    rank = stats.mannwhitneyu(signal, background).statistic
    assert found.auc == pytest.approx(rank / (300 * 200))
    assert found.ks == pytest.approx(stats.ks_2samp(signal, background).statistic)


def test_a_weight_of_two_is_two_events() -> None:
    random = np.random.default_rng(4)
    x, y, weights = random.normal(size=50), random.normal(0.5, 1.0, 40), random.integers(1, 4, 50).astype(float)
    weighted = separation(x, weights, y, np.ones(40))
    repeated = np.repeat(x, weights.astype(int))
    assert weighted == pytest.approx(separation(repeated, np.ones(len(repeated)), y, np.ones(40)))


# --------------------------------------------------------------------------------------------------- yields
def test_samples_by_hand(tmp_path: Path) -> None:
    found = of(tmp_path, dataset={"luminosity_scale": 2.0, "downsample_factor": 0.5})
    signal, background = found.samples
    weights = 1.0 + N % 3  # luminosity scale and downsample factor cancel
    assert (signal.name, signal.is_signal, background.name, background.is_signal) == ("ttbar", True, "QCD", False)
    assert (signal.rows, signal.sources, signal.splits) == (240, 240, (96, 48, 96))
    assert signal.expected == pytest.approx(weights.sum())
    assert signal.error == pytest.approx(np.sqrt((weights**2).sum()))
    assert signal.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert signal.negative == 0
    assert (found.observed_rows, found.observed_used) == (240, 120)
    assert found.findings == ()


def test_the_yields_are_those_that_training_reads(tmp_path: Path) -> None:
    config = ntuples(write(tmp_path / "small.root", small_trees()), fit=["jes"], downsample_factor=0.7)
    found, events = described(config), load(config)
    assert [item.expected for item in found.samples] == pytest.approx([item.yields[0] for item in events.template])
    assert found.checksum == events.checksum
    assert found.samples[0].splits == tuple(
        len(getattr(events, split)[0].group) for split in ("train", "validation", "template")
    )
    data = [item for item in found.features if item.sample == "observed"]
    assert data[0].mean == pytest.approx(observed(events)[:, 0].mean())


def test_systematics_by_hand(tmp_path: Path) -> None:
    up = rows(N[:200], 0.25)
    systematics = {
        "jes": JES,
        "half": {"kind": "shape", "source": "jes", "samples": ["ttbar"], "scale": 0.5},
        "flat": {"kind": "shape", "source": "jes", "samples": ["ttbar"], "part": "shape"},
        "btag": {"kind": "weight", "samples": ["QCD"], "up": "weight * 1.1", "down": "weight * 0.8"},
        "pdf": {
            "kind": "weight",
            "samples": ["QCD"],
            "members": 2,
            "up": "w * (1.03 + {member} * 0.01)",
            "down": "w + 0 * {member}",
        },
        "lumi": {"kind": "normalisation", "samples": ["ttbar", "QCD"], "size": [0.06, -0.04]},
        "QCD_norm": {"kind": "free", "samples": ["QCD"]},
        "toy": {"kind": "shift", "samples": ["ttbar"], "feature": "x", "size": 1.0, "yield_change": 0.06},
    }
    found = of(tmp_path, dataset={"systematics": systematics}, ttbar_jes_up=up)
    by_name = {(item.name, item.sample): item for item in found.systematics}
    jes = (1.0 + N[:200] % 3).sum() / (1.0 + N % 3).sum() - 1
    entry = by_name["jes", "ttbar"]
    assert (entry.up, entry.down) == pytest.approx((jes, 0.0))
    assert (entry.rows, entry.overlap, entry.kind) == ((200, 240), (1.0, 1.0), "shape")
    assert by_name["half", "ttbar"].up == pytest.approx(jes / 2)
    assert by_name["flat", "ttbar"].up == 0.0
    assert (by_name["btag", "QCD"].up, by_name["btag", "QCD"].down) == pytest.approx((0.1, -0.2))
    assert (by_name["pdf", "QCD"].up, by_name["pdf", "QCD"].down) == pytest.approx((0.05, 0.0))
    assert (by_name["lumi", "QCD"].up, by_name["lumi", "ttbar"].down) == pytest.approx((0.06, -0.04))
    assert by_name["QCD_norm", "QCD"].up is None
    assert by_name["toy", "ttbar"].up == pytest.approx(0.06)
    assert len(found.systematics) == 9


@pytest.mark.parametrize(
    ("up", "down", "says"),
    [
        ("weight", "weight", "up and down are the nominal; the systematic does nothing"),
        ("weight * 1.6", "weight * 0.9", "up and down change the yield by +60.0% and -10.0%; an expression without"),
        ("weight * 1.1", "weight * 1.2", "up and down change the yield by +10.0% and +20.0%, both to the same side"),
        ("weight * 1.1", "weight * 0.9", ""),
        ("weight * 1.1", "weight", ""),
    ],
)
def test_a_systematic_that_is_probably_a_mistake_is_said(up: str, down: str, says: str, tmp_path: Path) -> None:
    systematics = {"btag": {"kind": "weight", "samples": ["QCD"], "up": up, "down": down}}

    found = of(tmp_path, dataset={"systematics": systematics}).findings

    assert [text.startswith(f"sample 'QCD', btag: {says}") for text in found] == [True] * bool(says)


def test_shifted_trees_that_are_the_nominal_ones_are_said(tmp_path: Path) -> None:
    same = rows(N)
    found = of(tmp_path, dataset={"systematics": {"jes": JES}}, ttbar=same, ttbar_jes_up=same, ttbar_jes_down=same)

    assert found.findings[-1] == "sample 'ttbar', jes: up and down are the nominal; the systematic does nothing"


def test_overlap_is_the_share_of_the_smaller_selection(tmp_path: Path) -> None:
    found = of(tmp_path, ttbar_jes_up=rows(np.append(N[:180], np.arange(1000, 1020)), 0.25))
    assert found.systematics[0].overlap == pytest.approx((0.9, 1.0))


def test_some_systematics_may_be_left_out(tmp_path: Path) -> None:
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    config = ntuples(write(tmp_path / "small.root", trees))
    assert described(config, systematics=[]).systematics == ()


# ------------------------------------------------------------------------------------------------- features
def test_features_by_hand(tmp_path: Path) -> None:
    found = of(tmp_path)
    entry = next(item for item in found.features if (item.feature, item.sample) == ("x", "ttbar"))
    weights = 1.0 + N % 3
    mean = (weights * N).sum() / weights.sum()
    assert (entry.minimum, entry.maximum, entry.missing) == (1.0, 240.0, 0)
    assert entry.mean == pytest.approx(mean)
    assert entry.deviation == pytest.approx(np.sqrt((weights * (N - mean) ** 2).sum() / weights.sum()))
    # x is the event number, 1000 larger for QCD
    assert {(item.feature, item.background): item.auc for item in found.separation} == {
        (feature, background): 0.0 for feature in ("x", "y") for background in ("QCD", "all backgrounds")
    }
    assert all(item.ks == pytest.approx(1.0) for item in found.separation)


def test_histograms_hold_every_event(tmp_path: Path) -> None:
    found = of(tmp_path)
    for histogram in found.histograms:
        for sample in found.samples:
            assert histogram.samples[sample.name].sum() == pytest.approx(sample.expected)
        total = sum(sample.error**2 for sample in found.samples)
        assert (histogram.error**2).sum() == pytest.approx(total)
        assert histogram.observed is not None
        assert histogram.observed.sum() == 240
        assert len(histogram.edges) == 5


def test_a_constant_feature_is_described(tmp_path: Path) -> None:
    tables = {name: table | {"y": np.ones(240, dtype=np.float32)} for name, table in small_trees().items()}
    found = of(tmp_path, **tables)
    assert found.histograms[1].samples["ttbar"].sum() == pytest.approx(480)
    assert next(item.auc for item in found.separation if item.feature == "y") == pytest.approx(0.5)


def test_a_dataset_without_data(tmp_path: Path) -> None:
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    found = of(tmp_path, dataset={"samples": samples})
    assert found.observed_used is None
    assert found.histograms[0].observed is None
    assert {item.sample for item in found.features} == {"ttbar", "QCD"}


def test_the_synthetic_mixture_is_described() -> None:
    found = described(synthetic("+experiment=synthetic"))
    signal, background = found.samples
    assert (signal.expected, background.expected) == pytest.approx((50.0, 1000.0))
    assert signal.splits == (200, 150, 250)
    assert {item.name for item in found.systematics} == {"r", "lambda", "b"}
    assert found.observed_used is not None


# ----------------------------------------------------------------------------------------- what is refused
def refused(tmp_path: Path, error: type[Exception], *says: str, dataset: Any = None, **trees: Any) -> None:
    with pytest.raises(error) as caught:
        of(tmp_path, dataset=dataset, **trees)
    missing = [part for part in says if part not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"


@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_up", "QCD", "Data"])
def test_event_ids_that_repeat(tree: str, tmp_path: Path) -> None:
    numbers = np.where(N == 240, 1, N)
    sample, _, variation = tree.partition("_")
    # Nothing counts observed events: an error is written down, also where they are blinded.
    count = "some events repeat" if tree == "Data" else "1 of 240 events repeat"
    says = (f"sample '{sample}', {variation or 'nominal'}", count, "(run + event)", "remove the copies")
    refused(tmp_path, DatasetError, *says, **{tree: rows(numbers)})


def test_source_events_in_several_splits(tmp_path: Path) -> None:
    source = rows(N, source_event=N // 2)
    says = ("sample 'ttbar'", "of 121 source events (source_event)", "more than one", "split_by=[source_event]")
    refused(tmp_path, DatasetError, *says, ttbar=source)


def test_source_events_of_a_shifted_selection_alone_in_several_splits(tmp_path: Path) -> None:
    numbers = np.append(N, np.arange(1000, 1040))
    shifted = rows(numbers, source_event=np.where(numbers < 1000, numbers, 1000))
    says = ("sample 'ttbar'", "1 of 241 source events")
    refused(tmp_path, DatasetError, *says, ttbar=rows(N, source_event=N), ttbar_jes_up=shifted)


def test_split_by_keeps_source_events_together(tmp_path: Path) -> None:
    samples = {"ttbar": {"role": "signal", "split_by": ["source_event"]}, "QCD": {"role": "background"}}
    tables = {name: rows(N, shift, source_event=N // 2) for name, shift in (("ttbar", 0.0), ("ttbar_jes_up", 0.2))}
    tables["ttbar_jes_down"] = rows(N, -0.2, source_event=N // 2)
    found = of(tmp_path, dataset={"samples": samples}, **tables)
    assert (found.samples[0].rows, found.samples[0].sources) == (240, 121)


def test_one_event_with_two_source_events(tmp_path: Path) -> None:
    """Training refuses it as well: the shifted tree's value decided silently."""
    samples = {"ttbar": {"role": "signal", "split_by": ["source_event"]}, "QCD": {"role": "background"}}
    tables = {name: rows(N, source_event=N) for name in ("ttbar", "ttbar_jes_down")}
    tables["ttbar_jes_up"] = rows(N, 0.25, source_event=np.where(N < 4, N + 1, N))
    says = ("sample 'ttbar', jes_up", "3 events", "source_event", "leak")
    refused(tmp_path, DatasetError, *says, dataset={"samples": samples}, **tables)
    with pytest.raises(DatasetError, match="3 events have another value"):
        load(ntuples(tmp_path / "small.root", fit=["jes"], samples=samples))


def test_other_events_in_the_shifted_selection(tmp_path: Path) -> None:
    says = ("sample 'ttbar', jes_up", "0% of the event ids", "expected at least 50%", "fix dataset.event_id")
    refused(tmp_path, DatasetError, *says, ttbar_jes_up=rows(N + 5000, 0.25))


@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_up"])
def test_a_yield_that_is_negative(tree: str, tmp_path: Path) -> None:
    weights = np.where(N <= 130, -1.0, 1.0)
    variation = "jes_up" if "jes" in tree else "nominal"
    refused(tmp_path, TemplateError, f"sample 'ttbar', {variation}", "sum to -20", **{tree: rows(N, w=weights)})


def test_data_that_repeat_are_refused_by_training_as_well(tmp_path: Path) -> None:
    file = write(tmp_path / "small.root", small_trees(Data=rows(np.where(N == 240, 1, N))))
    with pytest.raises(DatasetError, match="sample 'Data', nominal: some events repeat an id"):
        load(ntuples(file))


def test_leaks_by_hand() -> None:
    assert leaks(np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2])) == 1
    assert leaks(np.array([0, 1, 2]), np.array([0, 1, 2])) == 0


# ------------------------------------------------------------------------------------------------- findings
def test_negative_weights_are_a_finding(tmp_path: Path) -> None:
    weights = np.where(N <= 24, -1.0, 1.0)
    found = of(tmp_path, QCD=rows(N + 1000, w=weights))
    assert found.samples[1].negative == pytest.approx(0.1)
    assert found.samples[1].expected == pytest.approx(192)
    (text,) = found.findings
    assert "sample 'QCD': 24 of 240 weights are negative (10.0%)" in text
    assert f"effective number of events {192**2 / 240:.0f}" in text


def test_missing_values_are_a_finding_and_left_out(tmp_path: Path) -> None:
    table = rows(N, x=np.where(N <= 2, np.nan, np.where(N == 3, np.inf, N)).astype(np.float32))
    shifted = rows(N, 0.25, y=np.where(N == 5, np.nan, N).astype(np.float32))
    found = of(tmp_path, ttbar=table, ttbar_jes_up=shifted)
    entry = next(item for item in found.features if (item.feature, item.sample) == ("x", "ttbar"))
    assert (entry.missing, entry.minimum, entry.maximum) == (3, 4.0, 240.0)
    assert [text.partition(" are")[0] for text in found.findings] == [
        "sample 'ttbar': 3 of 240 values of 'x'",
        "sample 'ttbar', jes_up: 1 of 240 values of 'y'",
    ]
    assert "NaN" not in as_json(found)
    with pytest.raises(DatasetError, match="not finite"):
        load(ntuples(tmp_path / "small.root"))


def test_features_are_described_where_a_network_sees_them(tmp_path: Path) -> None:
    # No event of the other channels has a logarithm; training needs none of them.
    found = described(configured(tmp_path, features={"x": "x", "log_pt": "log(pt - 40)"}), source_branches=[])
    assert found.networks == ("SR",)
    assert not [text for text in found.findings if "not finite" in text]
    tables = trees()
    for sample in found.samples:
        table = tables[sample.name]
        own = inside(table, "SR")
        assert (sample.rows, sample.expected) == (len(own), pytest.approx(table["w"].sum()))
        entry = next(item for item in found.features if (item.feature, item.sample) == ("x", sample.name))
        assert (entry.minimum, entry.maximum) == (table["x"][own].min(), table["x"][own].max())
        assert entry.mean == pytest.approx(np.average(table["x"][own], weights=table["w"][own]))
        histogram = found.histograms[0].samples[sample.name]
        assert histogram.sum() == pytest.approx(table["w"][own].sum())
    of_x = next(item for item in found.separation if (item.feature, item.background) == ("x", "fakes"))
    seen = []
    for name in ("signal", "fakes"):
        own = inside(tables[name], "SR")
        seen += [tables[name]["x"][own], tables[name]["w"][own]]
    assert (of_x.auc, of_x.ks) == pytest.approx(separation(*seen))
    assert found.histograms[0].observed is not None
    assert found.histograms[0].observed.sum() == inside(tables["Data"], "SR").sum()
    assert found.observed_used == found.observed_rows == len(tables["Data"]["x"])
    assert "<h2>Separation, in SR</h2>" in as_html(found, {})


def test_features_of_generated_events_are_described_where_a_network_sees_them() -> None:
    sides = {"SR": {"selection": "x0 > 0"}, "CR": {"selection": "x0 <= 0", "observable": {"kind": "count"}}}
    found = described(changed(synthetic(), channels=sides))
    assert found.networks == ("SR",)
    assert [item.minimum > 0 for item in found.features if item.feature == "x0"] == [True] * 3  # observed, too
    assert found.histograms[0].samples["signal"].sum() < found.samples[0].expected


def test_a_missing_value_that_a_network_would_see_is_found(tmp_path: Path) -> None:
    config = configured(tmp_path, features={"x": "x", "log_pt": "log(pt - 45)"})
    pt = {name: table["pt"] for name, table in trees().items()}
    texts = [text.partition(" are")[0] for text in described(config, source_branches=[]).findings]
    for tree, what in (("signal", "'signal'"), ("signal_jes_up", "'signal', jes_up"), ("Data", "'Data'")):
        seen = pt[tree][pt[tree] >= 40]
        assert f"sample {what}: {(seen <= 45).sum()} of {len(seen)} values of 'log_pt'" in texts
    with pytest.raises(DatasetError, match="not finite"):
        load(config)


def test_pseudo_data_that_repeat_are_a_finding(tmp_path: Path) -> None:
    copies = rows(N + 2000)
    for name in ("x", "y"):
        copies[name][:7] = copies[name][7]
    (text,) = of(tmp_path, Data=copies).findings
    assert text.startswith("sample 'Data': 7 of 240 rows are equal to another one in every feature")


def test_pseudo_data_that_are_simulated_events_are_a_finding(tmp_path: Path) -> None:
    (text,) = of(tmp_path, Data=rows(np.append(N[:5], N + 2000))).findings
    assert "5 of 245 rows to some of 'ttbar'; if" in text


def test_findings_about_blinded_data_count_nothing(tmp_path: Path) -> None:
    data = rows(np.append(N[:5], N + 2000))
    data["x"][7] = data["x"][9] = np.nan
    for name in ("x", "y"):
        data[name][20:27] = data[name][27]
    file = write(tmp_path / "small.root", small_trees(Data=data))
    texts = described(ntuples(file), max_signal_share=-1.0).findings
    assert [text.partition(";")[0] for text in texts] == [
        "sample 'Data': some values of 'x' are not finite",
        "sample 'Data': some rows are equal to another one in every feature",
        "sample 'Data': equal to simulated rows in every feature are some rows to some of 'ttbar'",
    ]
    assert not re.search("245|240", " ".join(texts))
    assert "5 of 245" in " ".join(described(ntuples(file)).findings)


# -------------------------------------------------------------------------------------------------- blinding
def test_of_blinded_data_nothing_is_left(tmp_path: Path) -> None:
    file = write(tmp_path / "small.root", small_trees(Data=rows(np.arange(2001, 2184))))
    found = described(ntuples(file), max_signal_share=-1.0)
    assert found.blinded == "observed data blinded"
    assert (found.observed_rows, found.observed_used) == (None, None)
    assert {item.sample for item in found.features} == {"ttbar", "QCD"}
    assert all(histogram.observed is None for histogram in found.histograms)
    assert not re.search(r"(?<![\d.])183(?![\d.])", as_json(found))
    assert "dataset small, observed data blinded" in as_html(found, {})


def test_sidebands_by_hand(tmp_path: Path) -> None:
    """Expected: signal 480 below 240.5, background 480 above 1000.5; the bins between have no events."""
    file = write(tmp_path / "small.root", small_trees(Data=rows(np.append(np.arange(1, 4), np.arange(1200, 1300)))))
    x, _ = described(ntuples(file), max_signal_share=0.05).histograms
    signal, total = x.samples["ttbar"], x.samples["ttbar"] + x.samples["QCD"]
    assert [signal[0], signal[-1]] == [total[0], 0] != [0, 0]
    assert x.observed is not None
    assert np.isnan(x.observed).tolist() == [True, True, True, False]
    assert (x.is_masked is not None and x.is_masked.tolist()) == [True, True, True, False]
    assert x.observed[-1] == 100
    # Where every bin has more signal there is nothing to draw: here as much as of the background, in all.
    file = write(tmp_path / "alike.root", small_trees(QCD=rows(N), ttbar=rows(N)))
    assert [item.observed for item in described(ntuples(file), max_signal_share=0.4).histograms] == [None, None]


def test_blinding_is_not_said_of_a_dataset_without_data(tmp_path: Path) -> None:
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    config = ntuples(write(tmp_path / "small.root", small_trees()), samples=samples)
    assert described(config, max_signal_share=-1.0).blinded == ""


def test_no_event_ids_are_a_finding(tmp_path: Path) -> None:
    (text,) = of(tmp_path, dataset={"event_id": [], "systematics": {}}).findings
    assert text.startswith("dataset.event_id is empty")


# --------------------------------------------------------------------------------------------- the page
def test_the_label_is_on_every_table_of_the_page_and_names_are_escaped(tmp_path: Path) -> None:
    found = replace(of(tmp_path), label="not <real> data", findings=("x < y",))
    page = as_html(found, {})
    assert page.count("<table>") == page.count("<caption>not &lt;real&gt; data</caption>") == 5
    assert '<p class="label">not &lt;real&gt; data</p>' in page
    assert "<li>x &lt; y</li>" in page
    assert "http" not in page
    assert json.loads(as_json(found))["label"] == "not <real> data"
