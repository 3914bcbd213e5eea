"""Selection, features and shifted events: numbers worked out by hand, and plain loops on a real file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_cli.analyses.cut_flow import CutFlow
from inferno_cli.analyses.top11004.features import FEATURES, event_shapes, features
from inferno_cli.analyses.top11004.selection import select
from inferno_cli.analyses.top11004.settings import Curve, JetCuts, ObjectCuts, Selection, Variations
from inferno_cli.analyses.top11004.variations import vary

REAL = Path(__file__).parents[1] / "data" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"


def cuts(**changes: Any) -> Selection:
    values: dict[str, Any] = {
        "jets": JetCuts(pt_min=20, eta_max=2.4, count=4, lead_count=3, lead_pt_min=45, cleaning_radius=0.5),
        "taus": ObjectCuts(pt_min=45, eta_max=2.3),
        "electrons": ObjectCuts(pt_min=15, eta_max=2.5),
        "muons": ObjectCuts(pt_min=10, eta_max=2.4),
        "met_min": 20.0,
        "b_tags": (1, None),
    }
    return Selection(**values | changes)


def sizes(**changes: Any) -> Variations:
    values: dict[str, Any] = {
        "run": ("jes", "jer", "taue"),
        "jes": Curve(x=(20.0, 100.0), y=(0.05, 0.01)),
        "jes_eta_slope": 0.0,
        "jer": Curve(x=(0.0, 2.0), y=(0.1, 0.3)),
        "taue": 0.03,
    }
    return Variations(**values | changes)


def particle(pt: float, eta: float = 0.0, phi: float = 0.0, mass: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"pt": pt, "eta": eta, "phi": phi, "mass": mass, **more}


def jet(pt: float, eta: float = 0.0, phi: float = 0.0, *, tagged: bool = False, gen_pt: float = 0.0) -> dict[str, Any]:
    return particle(pt, eta, phi, 5.0, tagged=tagged, gen_pt=gen_pt)


def good() -> dict[str, Any]:
    """An event that just passes."""
    return {
        "jets": [jet(46, 0, 0.0, tagged=True), jet(47, 1, 1.5), jet(48, -1, 3.0), jet(21, 2.3, -1.5)],
        "taus": [particle(46, 2.2, -2.5, 0.8, charge=-1)],
        "electrons": [particle(14)],
        "muons": [particle(9)],
        "met": {"pt": 21.0, "phi": 0.3},
    }


def table(*events: dict[str, Any]) -> ak.Array:
    return ak.zip({key: ak.Array([event[key] for event in events]) for key in good()}, depth_limit=1)


def passes(event: dict[str, Any], selection: Selection | None = None) -> bool:
    return bool(len(select(table(event, good()), selection or cuts()).rows) == 2)


# ------------------------------------------------------------------------------------------------- selection
def test_the_good_event_passes() -> None:
    assert passes(good())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda e: e["met"].update(pt=19.9), "MET"),
        (lambda e: e["jets"][3].update(pt=19.9), "the fourth jet"),
        (lambda e: e["jets"][3].update(eta=-2.41), "the fourth jet's eta"),
        (lambda e: e["jets"][0].update(pt=44.9), "the third hard jet"),
        (lambda e: e["jets"][0].update(tagged=False), "the b tag"),
        (lambda e: e["taus"][0].update(pt=44.9), "the tau"),
        (lambda e: e["taus"][0].update(eta=2.31), "the tau's eta"),
        (lambda e: e["taus"].append(particle(60, 0, 0.7, 1, charge=1)), "a second tau"),
        (lambda e: e["electrons"][0].update(pt=15.1), "an electron"),
        (lambda e: e["muons"][0].update(pt=10.1), "a muon"),
        (lambda e: e["taus"][0].update(eta=1.0, phi=1.5), "a jet that is the tau"),
    ],
)
def test_every_cut_cuts(change: Any, what: str) -> None:
    event = good()
    change(event)
    assert not passes(event), what


def test_a_tau_below_threshold_cleans_no_jet() -> None:
    event = good()
    event["taus"].append(particle(44, 1.0, 1.5, 1, charge=1))
    assert passes(event)


def test_cleaning_knows_that_phi_is_a_circle() -> None:
    event = good()
    event["taus"][0].update(eta=-1.0, phi=-math.pi + 0.1)  # the jet at phi = 3.0 is 0.24 away
    assert not passes(event)


def test_control_region_wants_no_tag() -> None:
    untagged = good()
    untagged["jets"][0]["tagged"] = False
    selected = select(table(good(), untagged), cuts(b_tags=(0, 0)))
    assert selected.rows.tolist() == [1]
    assert selected.cut_flow.cuts[-1] == "0 b tags"


def test_selected_jets_fall_in_pt() -> None:
    assert select(table(good()), cuts()).jets["pt"].to_list() == [[48, 47, 46, 21]]


def test_cut_flow_counts_and_weighs() -> None:
    no_tau, soft = good(), good()
    no_tau["taus"][0].update(pt=10)
    soft["met"].update(pt=1)
    flow = select(table(good(), no_tau, soft), cuts(), np.array([1.0, 2.0, 4.0])).cut_flow
    assert flow.events == (3, 2, 2, 2, 2, 1, 1)
    assert flow.weights == (7, 5, 5, 5, 5, 1, 1)
    assert (flow + flow).events[-1] == 2
    assert list(flow.lines("ttbar"))[2].split() == ["one", "tau,", "pT", ">", "45", "2", "66.7%", "5"]


def test_cut_flows_of_different_selections_do_not_add() -> None:
    one = CutFlow(("all",), (1,), (1.0,))
    with pytest.raises(ValueError, match="different selections"):
        one + CutFlow(("none",), (1,), (1.0,))


def test_nothing_selected_is_an_empty_table() -> None:
    selected = select(table(good()), cuts(met_min=1000.0))
    values = features(selected.tau, selected.jets, selected.met)
    assert {name: array.shape for name, array in values.items()} == dict.fromkeys(FEATURES, (0,))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cuts(b_tags=(2, 1)), "b_tags: 1 at most"),
        (lambda: JetCuts(pt_min=20, eta_max=2, count=-1, lead_count=3, lead_pt_min=45, cleaning_radius=0.5), "count"),
        (lambda: Curve(x=(2.0, 1.0), y=(0.0, 0.0)), "x must increase"),
        (lambda: Curve(x=(1.0,), y=(0.0, 0.0)), "x has 1 values, y has 2"),
        (lambda: sizes(run=("jess",)), "unknown variation 'jess'"),
    ],
)
def test_impossible_settings(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# ------------------------------------------------------------------------------------------------- features
def shapes(*momenta: tuple[float, float, float]) -> tuple[float, float]:
    px, py, pz = (ak.Array([[p[i] for p in momenta]]) for i in range(3))
    aplanarity, sphericity = event_shapes(px, py, pz)
    return float(aplanarity[0]), float(sphericity[0])


@pytest.mark.parametrize(
    ("momenta", "aplanarity", "sphericity"),
    [
        ([(1, 0, 0), (-1, 0, 0)], 0.0, 0.0),  # a line
        ([(1, 0, 0), (0, 1, 0)], 0.0, 0.75),  # a plane: eigenvalues 1/2, 1/2, 0
        ([(1, 0, 0), (0, 1, 0), (0, 0, 1)], 0.5, 1.0),  # a ball: thirds
        ([(2, 0, 0), (0, 1, 0), (0, 0, 1)], 0.25, 0.5),  # 4/6, 1/6, 1/6
    ],
)
def test_shapes_by_hand(momenta: list[tuple[float, float, float]], aplanarity: float, sphericity: float) -> None:
    assert shapes(*momenta) == pytest.approx((aplanarity, sphericity), abs=1e-12)


def test_features_by_hand() -> None:
    tau = ak.Array([particle(50, -1.2, 0.0, 0.0, charge=-1)])
    jets = ak.Array([[particle(30, 0, math.pi, 40.0), particle(40, 0.0, math.pi / 2)]])
    met = ak.Array([{"pt": 20.0, "phi": -math.pi / 2}])
    values = features(tau, jets, met)
    assert {name: array.dtype for name, array in values.items()} == dict.fromkeys(FEATURES, np.float32)
    assert values["chargeEta"][0] == pytest.approx(-1.2)
    assert values["MET_met"][0] == 20
    assert values["deltaPhiTauMet"][0] == pytest.approx(math.pi / 2)
    assert values["mt"][0] == pytest.approx(math.sqrt(2 * 50 * 20))
    assert values["ht"][0] == pytest.approx(50 + 40)  # E_T = sqrt(30^2 + 40^2) at eta = 0
    energy, pz = 50 * math.cosh(1.2) + 50 + 40, -50 * math.sinh(1.2)
    assert values["mTauJet"][0] == pytest.approx(math.sqrt(energy**2 - pz**2 - 20**2 - 40**2))


def loops(tau: dict[str, float], jets: list[dict[str, float]], met: dict[str, float]) -> dict[str, float]:
    """The definitions again, one event at a time, without any of the package's code."""

    def vector(p: dict[str, float]) -> np.ndarray:
        px, py, pz = p["pt"] * math.cos(p["phi"]), p["pt"] * math.sin(p["phi"]), p["pt"] * math.sinh(p["eta"])
        return np.array([math.sqrt(px**2 + py**2 + pz**2 + p["mass"] ** 2), px, py, pz])

    vectors = [vector(tau)] + [vector(item) for item in jets]
    tensor = np.zeros((3, 3))
    for v in vectors:
        tensor += np.outer(v[1:], v[1:])
    smallest, middle, _ = sorted(np.linalg.eigvals(tensor / sum(float(v[1:] @ v[1:]) for v in vectors)).real)
    total = sum(vectors)
    angle = abs(math.atan2(math.sin(tau["phi"] - met["phi"]), math.cos(tau["phi"] - met["phi"])))
    ht = 0.0
    for v in vectors[1:]:
        momentum = math.sqrt(float(v[1:] @ v[1:]))
        ht += v[0] * math.hypot(v[1], v[2]) / momentum
    return {
        "aplanarity": 1.5 * smallest,
        "sphericity": 1.5 * (middle + smallest),
        "chargeEta": tau["charge"] * abs(tau["eta"]),
        "MET_met": met["pt"],
        "deltaPhiTauMet": angle,
        "mt": math.sqrt(2 * tau["pt"] * met["pt"] * (1 - math.cos(angle))),
        "mTauJet": math.sqrt(max(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2, 0)),
        "ht": ht,
    }


def test_features_agree_with_plain_loops_on_the_real_file() -> None:
    """Objects read by uproot alone; every pair of a tau candidate's event and its jets, without any selection."""
    with uproot.open(REAL) as file:
        names = [f"Tau_{key}" for key in ("pt", "eta", "phi", "mass", "charge")]
        names += [f"Jet_{key}" for key in ("pt", "eta", "phi", "mass")]
        arrays = file["Events"].arrays([*names, "MET_pt", "MET_phi"])
    arrays = arrays[(ak.num(arrays["Tau_pt"]) > 0) & (ak.num(arrays["Jet_pt"]) > 0)]
    tau = ak.zip({key: arrays[f"Tau_{key}"] for key in ("pt", "eta", "phi", "mass", "charge")})[:, 0]
    jets = ak.zip({key: arrays[f"Jet_{key}"] for key in ("pt", "eta", "phi", "mass")})
    met = ak.zip({key: arrays[f"MET_{key}"] for key in ("pt", "phi")})
    found = features(tau, jets, met)
    expected = [loops(*event) for event in zip(tau.to_list(), jets.to_list(), met.to_list(), strict=True)]
    assert len(expected) > 50
    for name in FEATURES:
        np.testing.assert_allclose(found[name], [event[name] for event in expected], rtol=1e-5, atol=1e-5, err_msg=name)


ANGLES = st.floats(-math.pi, math.pi)
OBJECTS = st.tuples(st.floats(20, 500), st.floats(-2.4, 2.4), ANGLES, st.floats(0, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(OBJECTS, min_size=2, max_size=8), st.sampled_from([-1, 1]), ANGLES, ANGLES)
def test_features_do_not_know_the_azimuth_and_stay_in_their_ranges(
    objects: list[tuple[float, ...]], charge: int, met_phi: float, turn: float
) -> None:
    def event(angle: float) -> dict[str, np.ndarray]:
        (pt, eta, phi, mass), *jets = objects
        tau = ak.Array([particle(pt, eta, phi + angle, mass, charge=charge)])
        turned = ak.Array([[particle(p, e, f + angle, m) for p, e, f, m in jets]])
        return features(tau, turned, ak.Array([{"pt": 30.0, "phi": met_phi + angle}]))

    first, second = event(0.0), event(turn)
    assert 0 <= first["aplanarity"][0] <= 0.5
    assert first["aplanarity"][0] <= first["sphericity"][0] <= 1 + 1e-6
    assert 0 <= first["deltaPhiTauMet"][0] <= math.pi + 1e-6
    for name in FEATURES:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=2e-3, err_msg=name)


# ------------------------------------------------------------------------------------------------- variations
def test_jes_scales_the_jets_and_moves_the_missing_momentum() -> None:
    event = good()
    event["jets"] = [jet(60, 0.0, 0.0, tagged=True)]
    event["met"] = {"pt": 40.0, "phi": 0.0}
    moved = vary(table(event), "jes", "up", sizes(), 0.5)
    # at pT 60 half way between 5% and 1%: 3% of 60 is 1.8
    assert moved["jets"]["pt"][0, 0] == pytest.approx(61.8)
    assert moved["jets"]["mass"][0, 0] == pytest.approx(5 * 1.03)
    assert moved["met"]["pt"][0] == pytest.approx(40 - 1.8)
    assert moved["taus"]["pt"].to_list() == table(event)["taus"]["pt"].to_list()


def test_jes_grows_with_eta() -> None:
    event = good()
    event["jets"] = [jet(100, -2.0)]
    moved = vary(table(event), "jes", "down", sizes(jes_eta_slope=0.01), 0.5)
    assert moved["jets"]["pt"][0, 0] == pytest.approx(100 * (1 - 0.01 - 0.02))


def test_the_jet_that_is_a_tau_leaves_the_missing_momentum_alone() -> None:
    event = good()
    event["jets"] = [jet(60, 2.2, -2.4)]
    assert vary(table(event), "jes", "up", sizes(), 0.5)["met"]["pt"][0] == pytest.approx(21)


@pytest.mark.parametrize(("direction", "sign"), [("up", 1), ("down", -1)])
def test_jer_stretches_the_distance_to_the_generated_jet(direction: str, sign: int) -> None:
    event = good()
    event["jets"] = [jet(50, 0.0, gen_pt=40.0), jet(50, 2.0, gen_pt=60.0), jet(50, 1.0, gen_pt=0.0)]
    moved = vary(table(event), "jer", direction, sizes(), 0.5)
    assert moved["jets"]["pt"].to_list()[0] == pytest.approx([50 + sign * 1.0, 50 - sign * 3.0, 50])


def test_taue_scales_the_tau_alone() -> None:
    event = good()
    event["met"] = {"pt": 30.0, "phi": -2.5}  # along the tau
    moved = vary(table(event), "taue", "down", sizes(), 0.5)
    assert moved["taus"]["pt"][0, 0] == pytest.approx(46 * 0.97)
    assert moved["met"]["pt"][0] == pytest.approx(30 + 46 * 0.03)
    assert moved["jets"]["pt"].to_list() == table(event)["jets"]["pt"].to_list()


def test_a_shift_moves_events_over_the_thresholds() -> None:
    """The same events, selected again: a jet at 44.5 GeV is above 45 with the energy scale up."""
    event = good()
    event["jets"][0].update(pt=44.5)
    events = table(good(), event)
    assert select(events, cuts()).rows.tolist() == [0]
    assert select(vary(events, "jes", "up", sizes(), 0.5), cuts()).rows.tolist() == [0, 1]


def test_unknown_variation() -> None:
    with pytest.raises(ValueError, match="unknown variation 'jex'"):
        vary(table(good()), "jex", "up", sizes(), 0.5)
