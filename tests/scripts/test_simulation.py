"""The simulation of the stand-in sample: weights, thinning, pseudo-data, and Pythia where it is installed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from conftest import compose

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from conftest import load  # noqa: E402
from top11004.assemble import Sample, build, checksum, event_weight, inclusion, pseudo_data, thin, write  # noqa: E402
from top11004.detector import BOTTOM, LIGHT, choose_one, tag_weight, trigger_weight  # noqa: E402
from top11004.parts import NOMINAL, part_path, part_seed  # noqa: E402
from top11004.settings import LABEL, PROCESSES, ROWS, YIELD_FACTOR, YIELDS, Detector, Settings  # noqa: E402

from inferno_cli.analyses.top11004.features import FEATURES  # noqa: E402

pytestmark = pytest.mark.slow

SETTINGS = Settings(seed=4, chunk=300)
SHIFTS = [f"{name}_{direction}" for name in ("jes", "jer", "taue") for direction in ("up", "down")]


# ---------------------------------------------------------------------------------------------- one tau of several
def test_probability_of_exactly_one_tau_and_which_one() -> None:
    """Two candidates with p = 0.5 and 0.2: exactly one is 0.5 * 0.8 + 0.5 * 0.2 = 0.5, the first 4 times of 5."""
    n = 20_000
    probability = np.tile([0.5, 0.2], n)
    chosen, exactly_one = choose_one(probability, np.repeat(np.arange(n), 2), n, np.random.default_rng(1))
    np.testing.assert_allclose(exactly_one, 0.5)
    assert (chosen // 2 == np.arange(n)).all()
    assert np.mean(chosen % 2 == 0) == pytest.approx(0.8, abs=0.01)


def test_an_event_without_a_candidate_has_no_tau() -> None:
    probability, event = np.array([0.0, 0.3, 0.0]), np.array([0, 2, 2])
    chosen, exactly_one = choose_one(probability, event, 3, np.random.default_rng(1))
    assert chosen.tolist() == [-1, -1, 1]
    np.testing.assert_allclose(exactly_one, [0, 0, 0.3])


def test_a_b_jet_is_tagged_more_often_and_more_jets_more_often() -> None:
    def weight(*kinds: int, direction: int = 0) -> float:
        jets = ak.zip({"kind": ak.Array([list(kinds)]), "pt": ak.Array([[60.0] * len(kinds)])})
        return float(tag_weight(jets, Detector(), direction)[0])

    one, two = weight(BOTTOM), weight(BOTTOM, BOTTOM)
    assert two == pytest.approx(1 - (1 - one) ** 2)
    assert weight(LIGHT) < 0.05 < 0.5 < one < two < 1
    assert weight(BOTTOM, direction=-1) < one < weight(BOTTOM, direction=1)


def test_the_trigger_turns_on() -> None:
    jets = ak.zip({"pt": ak.Array([[200.0, 200.0, 200.0, 20.0], [45.0, 45.0, 45.0, 20.0]])})
    weight, error = trigger_weight(np.array([200.0, 200.0]), jets, Detector())
    assert weight[0] == pytest.approx(Detector().trigger_plateau, rel=1e-3)
    assert weight[1] < 0.2
    assert error[1] > error[0] == pytest.approx(0.02, rel=1e-3)


# -------------------------------------------------------------------------------------------------------- thinning
def test_inclusion_is_proportional_up_to_one_and_sums_to_the_rows() -> None:
    """Weights 10, 1, 1, 1, 1 and three rows: the heavy one is kept, each other with 2 / 4."""
    np.testing.assert_allclose(inclusion(np.array([1.0, 10, 1, 1, 1]), 3), [0.5, 1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(inclusion(np.array([1.0, 3.0]), 5), [1, 1])
    weight = np.random.default_rng(1).pareto(1.5, 1000) + 0.01
    assert inclusion(weight, 200).sum() == pytest.approx(200)


def test_thinning_keeps_the_same_events_in_every_variation_and_the_sum_of_weights() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    weight = rng.pareto(3.0, n) + 0.1
    table = {"row": np.arange(n), "weight": weight, "importance": weight}
    shifted = {name: values[500:] for name, values in table.items()}
    thinned = thin(Sample({NOMINAL: table, "jes_up": shifted}), 1000, rng).tables
    assert len(thinned[NOMINAL]["row"]) == pytest.approx(1000, abs=100)
    assert thinned[NOMINAL]["weight"].sum() == pytest.approx(weight.sum(), rel=0.08)
    assert set(thinned["jes_up"]["row"]) == {row for row in thinned[NOMINAL]["row"] if row >= 500}
    light = thinned[NOMINAL]["weight"][thinned[NOMINAL]["importance"] < np.median(weight)]
    assert np.ptp(light) < 1e-9, "the light rows leave with one weight"


# ------------------------------------------------------------------------------------------------ a whole production
def fake_part(folder: Path, process: str, chunk: int) -> Path:
    """A part as ``make_part`` leaves it, of random rows."""
    rng = np.random.default_rng(part_seed(SETTINGS.seed, process, chunk))
    n = SETTINGS.chunk
    number = np.arange(1, n + 1)
    multijet = process.startswith("qcd")
    table = {name: rng.normal(1.0, 0.1, n).astype(np.float32) for name in FEATURES}
    table |= {
        "number": number,
        "smearing": np.zeros(n, dtype=np.int64),
        "weight": rng.exponential(1.0, n),
        "importance": rng.exponential(1.0, n),
        "nJets": np.full(n, 4, np.int16),
        "PV_npvs": np.full(n, 8, np.int16),
        "trigger_weight": np.full(n, 0.6),
        "trigger_error": np.full(n, 0.03),
        "btag_weight1": rng.uniform(0.1, 0.9, n),
    }
    names = ["btag_weight2"] if multijet else ["btag_weight1_up", "btag_weight1_down"]
    names += ["pdf"] if process.startswith("tt_") else []
    table |= {name: rng.uniform(0.1, 0.2, n) for name in names}
    arrays = {f"{NOMINAL}/{name}": values for name, values in table.items()}
    for shift in () if multijet else SHIFTS:
        kept = rng.random(n) < 0.95
        arrays |= {f"{shift}/{name}": values[kept] for name, values in table.items()}
    flow = {"cuts": ["all events"], "events": [n], "weights": [1.0]}
    record = {"cross_section_pb": 2.0, "tried_weight": 10.0 * n, "accepted": n, "seed": 1, "cut_flow": flow}
    path = part_path(folder, process, chunk, SETTINGS)
    np.savez(path, record=np.array(json.dumps(record)), **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("parts")
    return {name: [fake_part(folder, name, chunk) for chunk in range(12 if "qcd" in name else 6)] for name in PROCESSES}


@pytest.fixture(scope="module")
def trees(parts: dict[str, list[Path]]) -> dict[str, dict[str, np.ndarray]]:
    return build(parts, SETTINGS, dict.fromkeys(ROWS, 1000))[0]


def test_yields_are_the_published_ones(trees: dict[str, dict[str, np.ndarray]]) -> None:
    for name, expected in YIELDS.items():
        tree = trees[name]
        weight = (
            4 * tree["norm"] * tree["btag_weight2"]
            if name == "QCD"
            else tree["norm"] * tree["trigger_weight"] * tree["btag_weight1"]
        )
        assert weight.sum() == pytest.approx(expected / YIELD_FACTOR, rel=1e-4)


def test_shifted_trees_hold_the_same_events(trees: dict[str, dict[str, np.ndarray]]) -> None:
    nominal = trees["TTJets_signal"]
    assert len(set(nominal["event"])) == len(nominal["event"])
    by_id = dict(zip(nominal["event"], nominal["ht"], strict=True))
    shifted = trees["TTJets_signal_jes_up"]
    common = [(by_id[event], ht) for event, ht in zip(shifted["event"], shifted["ht"], strict=True) if event in by_id]
    assert len(common) > 800
    assert all(first == second for first, second in common), "the fake shift leaves ht as it is"


def test_pseudo_data_is_unique_and_in_no_simulated_sample(trees: dict[str, dict[str, np.ndarray]]) -> None:
    data = trees["Data"]
    assert len(data["ht"]) == pytest.approx(sum(YIELDS.values()) / YIELD_FACTOR, abs=250)
    assert len(np.unique(data["ht"])) > 0.999 * len(data["ht"])
    for name in YIELDS:
        both = set(zip(trees[name]["ht"], trees[name]["mt"], strict=True)) & set(
            zip(data["ht"], data["mt"], strict=True)
        )
        assert not both, name


def test_pseudo_data_follows_the_weights_and_says_when_it_cannot() -> None:
    n = 20_000
    rng = np.random.default_rng(2)
    ht = rng.uniform(0, 1, n)
    pool = {name: ht.astype(np.float32) for name in FEATURES} | {
        "weight": 0.5 + ht,
        "trigger_weight": np.ones(n),
        "btag_weight1": np.ones(n),
        "source": np.arange(n),
        "nJets": np.full(n, 4, np.int16),
        "PV_npvs": np.full(n, 8, np.int16),
    }
    drawn, record = pseudo_data({"QCD": pool}, rng)
    # <x> of the density 0.5 + x is 1/4 + 1/3
    assert drawn["ht"].mean() == pytest.approx(7 / 12, abs=0.02)
    assert record["QCD"]["drawn"] == record["QCD"]["wanted"]
    assert record["QCD"]["weight_moved"] < 1e-6
    few = {name: values[:100] for name, values in pool.items()}
    short = pseudo_data({"QCD": few}, rng)[1]["QCD"]
    assert short["drawn"] == 100 < short["wanted"]
    assert short["weight_moved"] > 0.05


def test_the_same_parts_give_the_same_file(
    parts: dict[str, list[Path]], trees: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    write(tmp_path / "first.root", trees, SETTINGS.record())
    time.sleep(1.1)  # the dates of ROOT's objects are in seconds
    again = build(parts, SETTINGS, dict.fromkeys(ROWS, 1000))[0]
    write(tmp_path / "second.root", again, SETTINGS.record())
    assert (tmp_path / "first.root").read_bytes() == (tmp_path / "second.root").read_bytes()


def test_the_file_has_the_branches_of_the_embedded_one_and_train_reads_it(
    trees: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    import uproot

    import inferno_cli

    path = tmp_path / "sample.root"
    write(path, trees, SETTINGS.record())
    embedded = Path(inferno_cli.__file__).parent / "data" / "top11004_sim.root"
    with uproot.open(path) as mine, uproot.open(embedded) as theirs:
        record = json.loads(str(mine["simulation"]))
        assert record["seed"] == 4
        assert record["checksums"]["Data"] == checksum(trees["Data"])
        for name in ("TTJets_signal", "TTJets_bkg_jer_down", "QCD", "Data"):
            assert mine[name].typenames() == theirs[name].typenames(), name
    config = compose("dataset=top11004", "nuisance=all", f"dataset.path={path}")
    assert load(config).name == "top11004"


# ---------------------------------------------------------------------------------------------------------- Pythia
def test_a_part_depends_on_its_seed_alone(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    from top11004.parts import load_part, make_part

    settings = Settings(seed=9, chunk=40)
    first, second = (
        load_part(make_part(tmp_path / folder, "tt_signal_plus", 0, settings)) for folder in ("one", "two")
    )
    other = load_part(make_part(tmp_path / "one", "tt_signal_plus", 1, settings))
    assert first[1] == second[1]
    for variation, table in first[0].items():
        for name, values in table.items():
            assert values.tobytes() == second[0][variation][name].tobytes(), (variation, name)
    assert len(first[0][NOMINAL]["ht"]) > 0
    assert set(first[0]) == {NOMINAL, *SHIFTS}
    assert other[0][NOMINAL]["ht"].tobytes() != first[0][NOMINAL]["ht"].tobytes()
    cut_flow = first[1]["cut_flow"]
    assert isinstance(cut_flow, dict)
    assert cut_flow["events"] == sorted(cut_flow["events"], reverse=True)


def test_generated_signal_is_the_signal() -> None:
    pytest.importorskip("pythia8mc")
    from top11004.generate import generate

    events, record = generate("tt_signal_plus", Settings(seed=9, chunk=60), 11)
    assert ak.all(events["n_tau_had"] == 1)
    # A W keeps its place in the record through recoils: each copy that decays counts.
    assert ak.all(events["n_quark_w"] >= 1)
    taus = events["jets"][events["jets"]["kind"] == 15]
    assert ak.all(taus["charge"] == 1), "W+ decays to tau+"
    assert record["accepted"] == 60
    # 7 TeV at leading order, 0.1086 * 0.676 of it, and the hadronic tau decays: 2.838 pb after all cuts at first sight
    assert 2 < record["cross_section_pb"] < 8


def test_the_embedded_sample_is_this_simulation_and_complete() -> None:
    import uproot

    import inferno_cli

    with uproot.open(Path(inferno_cli.__file__).parent / "data" / "top11004_sim.root") as file:
        record = json.loads(str(file["simulation"]))
        assert str(file["label"]) == LABEL
        arrays = {name: file[name].arrays(library="np") for name in record["checksums"]}
    assert {name: checksum(table) for name, table in arrays.items()} == record["checksums"]
    # All choices but the share of the events are those of this version.
    now = json.loads(json.dumps(Settings(seed=record["seed"], chunk=record["chunk"]).record()))
    assert {key: record[key] for key in now} == now
    assert len(np.unique(arrays["QCD"]["source_event"])) >= 8000
    rows = np.stack([arrays["Data"][name] for name in ("MET_met", "ht", "mt", "mTauJet", "sphericity")])
    assert len(np.unique(rows, axis=1).T) == len(arrays["Data"]["ht"])
    signal = ("TTJets_signal_jes_up", "TTJets_signal_jes_down")
    yields = {
        name: event_weight(name, arrays[name] | {"weight": arrays[name]["norm"]}).sum() for name in (*YIELDS, *signal)
    }
    assert {name: YIELD_FACTOR * yields[name] for name in YIELDS} == pytest.approx(YIELDS, rel=0.01)
    assert 0.08 < yields["TTJets_signal_jes_up"] / yields["TTJets_signal"] - 1 < 0.12
    assert 0.08 < 1 - yields["TTJets_signal_jes_down"] / yields["TTJets_signal"] < 0.12


def test_every_process_has_parts_and_the_quick_sample_has_few() -> None:
    from simulate_top11004 import plan

    parts = plan(list(PROCESSES), 3000, Settings(seed=1, chunk=500))
    assert {name for name, _ in parts} == set(PROCESSES)
    assert len(set(parts)) == len(parts)
    assert sum(name == "tt_signal_plus" for name, _ in parts) == 15
    assert sum(name == "qcd" for name, _ in parts) == 18


def test_finished_parts_are_not_made_again(tmp_path: Path) -> None:
    from top11004.parts import make_part

    path = part_path(tmp_path, "qcd", 3, SETTINGS)
    path.write_bytes(b"there")
    assert make_part(tmp_path, "qcd", 3, SETTINGS) == path
    assert path.read_bytes() == b"there"
    assert part_path(tmp_path, "qcd", 3, Settings(seed=5, chunk=300)) != path, "another seed is another part"
