"""Weights that are made expected events: cross section, luminosity, and the sum over all generated events."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load, ntuples, rows, write

from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError
from inferno_cli.events.sample import Variation

N = np.arange(1, 241)
GENERATED = np.where(N % 5, 2.0, -2.0)
"""Of every row."""
SAMPLES = {
    "ttbar": {"role": "signal", "constants": {"xsec": 3.0}},
    "QCD": {"role": "background", "norm": "1"},
    "Data": {"role": "data"},
}
KEYS = {
    "file": "{era}/{sample}.root",
    "tree": "events{variation}",
    "weight": "g",
    "norm": "xsec * lumi / sum(g)",
    "selection": "event > 40",
    "samples": SAMPLES,
    "eras": {"A": {"constants": {"lumi": 100.0}}, "B": {"luminosity_scale": 2.0}},
    "constants": {"lumi": 10.0, "xsec": 7.0},
}
TAKEN = N > 40


@pytest.fixture
def folder(tmp_path):
    """Two eras; ttbar of B is in two files; up of jes has some of the events alone."""
    for era in ("A", "B"):
        (tmp_path / era).mkdir()
        for sample in ("ttbar", "QCD", "Data"):
            trees = {"events": rows(N, g=GENERATED), "Runs": {"s": np.array([1000.0, 200.0])}}
            if sample == "ttbar":
                trees["events_jes_up"] = trees["events_jes_down"] = rows(N[:200], 0.25, g=GENERATED[:200])
            write(tmp_path / era / f"{sample}.root", trees)
    more = {"events": rows(N + 1000, g=GENERATED), "Runs": {"s": np.array([300.0])}}
    more["events_jes_up"] = more["events_jes_down"] = rows(N + 1000, 0.25, g=GENERATED)
    write(tmp_path / "B/ttbar2.root", more)
    return tmp_path


def dataset(folder, **keys):
    settings = KEYS | keys
    samples = {name: dict(item) for name, item in settings["samples"].items()}
    samples["ttbar"].setdefault("file", "{era}/ttbar*.root")
    return ntuples(folder, **(settings | {"samples": samples, "systematics": keys.get("systematics", {})}))


def yields(config):
    sample = config.dataset.validated(config.request, ()).samples
    return sample[0].events.yields[0], sample[1].events.yields[0]


def test_the_sum_is_over_all_rows_of_all_files_in_each_era(folder):
    signal, background = yields(dataset(folder))
    total, taken = GENERATED.sum(), GENERATED[TAKEN].sum()
    in_b = 2.0 * 3.0 * 10.0 * (taken + total) / (2 * total)  # all of the second file have event > 40
    assert signal == pytest.approx(3.0 * 100.0 * taken / total + in_b)
    assert background == pytest.approx(3 * taken)  # norm: 1, the scale of B alone


def test_without_a_selection_the_yield_is_cross_section_times_luminosity(folder):
    signal, _ = yields(dataset(folder, selection=None))
    assert signal == pytest.approx(3.0 * 100.0 + 2.0 * 3.0 * 10.0)


@pytest.mark.parametrize("name", ["Runs.s", "get('Runs.s')"])
def test_the_sum_of_a_tree_beside(folder, name):
    signal, _ = yields(dataset(folder, norm=f"xsec * lumi / sum({name})", selection=None))
    total = GENERATED.sum()
    assert signal == pytest.approx(3.0 * 100.0 * total / 1200.0 + 2.0 * 3.0 * 10.0 * 2 * total / 1500.0)


def test_trees_of_one_file_count_its_runs_once(tmp_path):
    trees = {name: rows(N, g=GENERATED) for name in ("ttbar", "QCD", "Data")} | {"Runs": {"s": np.array([50.0])}}
    path = write(tmp_path / "a.root", trees)
    signal, background = yields(ntuples(path, weight="g", norm="count(g) / sum(Runs.s)", systematics={}))
    assert signal == background == pytest.approx(240 / 50 * GENERATED.sum())


def test_shifted_trees_have_the_norm_of_the_nominal_and_other_events_their_own(folder):
    jes = {"kind": "shape", "samples": ["ttbar"], "correlated": {"by": "era"}}
    config = dataset(folder, selection=None, fit=["jes"], systematics={"jes": jes})
    sample = config.dataset.validated(config.request, ()).samples[0].events
    up = sample.yields[sample.variations.index(Variation("jes_A", "up"))]
    assert up == pytest.approx(3.0 * 100.0 * GENERATED[:200].sum() / GENERATED.sum() + 60.0)
    own = {"paired": False, "tree": "events_jes_up", "symmetrise": "mirror"}
    config = dataset(folder, selection=None, fit=["jes"], systematics={"jes": jes | own})
    sample = config.dataset.validated(config.request, ()).samples[0].events
    assert sample.yields[sample.variations.index(Variation("jes_A", "up"))] == pytest.approx(360.0)


def test_weights_of_systematics_are_multiplied_too(folder):
    btag = {"kind": "weight", "samples": ["ttbar"], "up": "1.5 * g", "down": "weight / 2"}
    sample = load(dataset(folder, fit=["btag"], systematics={"btag": btag})).template[0]
    up, down = (sample.variations.index(Variation("btag", side)) for side in ("up", "down"))
    assert sample.yields[[up, down]] == pytest.approx(sample.yields[0] * np.array([1.5, 0.5]))


def test_the_split_of_an_event_does_not_depend_on_the_norm(folder):
    config, other = dataset(folder), dataset(folder, norm="1")
    assert config.dataset.division(config.request) == other.dataset.division(other.request)
    events, same = load(config), load(other)
    np.testing.assert_array_equal(events.template[0].features, same.template[0].features)


@pytest.mark.parametrize(
    ("norm", "error", "says"),
    [
        ("xsce * lumi / sum(g)", BranchNotFoundError, r"'xsce' is neither a constant nor a branch .*'xsec'"),
        ("xsec * lumi / g", DatasetError, "it gives a list for each event"),
        ("xsec / sum(Runs.t)", BranchNotFoundError, r"'Runs\.t' is neither a constant nor a branch of tree 'Runs' in"),
        ("xsec / sum(Lumi.s)", BranchNotFoundError, r"'Lumi\.s' is neither"),
        ("xsec / (sum(g) - sum(g))", DatasetError, r"is inf, expected a positive number. Fix dataset\.norm"),
        ("-xsec / sum(g)", DatasetError, r"dataset\.norm \(sample 'ttbar', A\).*expected a positive number"),
        ("__import__('os')", ConfigError, "'__import__' is no function"),
    ],
)
def test_a_wrong_norm_is_one_error(folder, norm, error, says):
    with pytest.raises((error, ValueError), match=says):
        load(dataset(folder, norm=norm))
