"""A channel that somebody else made, from the command line to the fit, which plain pyhf repeats from its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pyhf
import pytest
import uproot
import yaml

from integration.conftest import FIT_ONLY_MU, QUICK, Outcome, inferno, own_analysis, succeed

TTBAR, QCD, FAKES = np.array([20.0, 30.0, 40.0]), np.array([400.0, 300.0, 200.0]), np.array([60.0, 60.0, 30.0])
ERRORS = {"ttbar": np.array([0.5, 0.6, 0.7]), "QCD": np.array([9.0, 8.0, 7.0]), "fakes": np.array([6.0, 6.0, 5.0])}
JES = {"up": np.array([1.0, 1.05, 1.1]), "down": np.array([1.02, 0.96, 0.9])}
DATA = np.array([471, 397, 263])
SYSTEMATICS = {
    "jes": {"kind": "shape", "samples": ["ttbar"]},
    "fakes_norm": {"kind": "normalisation", "samples": ["fakes"], "size": 0.25},
    "QCD_norm": {"kind": "free", "samples": ["QCD"], "bounds": [0.1, 5.0]},
}


def made(values: Any, errors: Any) -> hist.Hist:
    found = hist.Hist(hist.axis.Regular(3, 0.0, 300.0, name="m"), storage=hist.storage.Weight())
    found[...] = np.stack([values, np.square(errors)], axis=-1)
    return found


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A training with a control region of histograms, of which one sample has no events."""
    folder = tmp_path_factory.mktemp("ready")
    config = own_analysis(folder)
    with uproot.recreate(folder / "theirs.root") as file:
        for name, values in (("ttbar", TTBAR), ("QCD", QCD), ("fakes", FAKES)):
            file[f"CR/{name}"] = made(values, ERRORS[name])
        for side, factors in JES.items():
            file[f"CR/ttbar_jes_{side}"] = made(factors * TTBAR, ERRORS["ttbar"])
        file["CR/data_obs"] = (DATA.astype(float), np.linspace(0, 300, 4))
    path = config / "dataset" / "mine.yaml"
    dataset = yaml.safe_load(path.read_text())
    dataset["samples"]["fakes"] = {"role": "background", "events": False}
    dataset["systematics"] = SYSTEMATICS
    path.write_text(yaml.safe_dump(dataset))
    observable = {"kind": "templates", "file": "../../theirs.root", "data": "{channel}/data_obs"}
    observable |= {"histogram": "{channel}/{sample}{variation}", "variation": "_{systematic}_{direction}"}
    (config / "channels").mkdir()
    channels = {"SR": {}, "CR": {"observable": observable}}
    (config / "channels" / "mine.yaml").write_text(yaml.safe_dump(channels))  # in the order of the alphabet
    fit = "nuisance.fit=[jes,fakes_norm,QCD_norm]"
    start = ("--config-dir", str(config), "+experiment=mine", "channels=mine", *QUICK, *FIT_ONLY_MU, fit)
    return (*start, "nuisance.train=${nuisance.fit}", "likelihood.symmetrise=null", f"output_dir={folder}")


@pytest.fixture(scope="module")
def fitted(point: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("fitted")
    coverage = "coverage={experiments: 4, mu: [1.0], nuisance: [nominal]}"
    return succeed("train", *point, "fit=observed", "unblind=true", coverage, f"hydra.run.dir={folder}/run")


def control_region() -> dict[str, Any]:
    """The channel as a physicist would write it for pyhf."""

    def sample(name: str, values: np.ndarray, *modifiers: dict[str, Any]) -> dict[str, Any]:
        staterror = {"name": "staterror_CR", "type": "staterror", "data": ERRORS[name].tolist()}
        return {"name": name, "data": values.tolist(), "modifiers": [staterror, *modifiers]}

    jes = {"hi_data": (JES["up"] * TTBAR).tolist(), "lo_data": (JES["down"] * TTBAR).tolist()}
    mu, free = ({"name": name, "type": "normfactor", "data": None} for name in ("mu", "QCD_norm"))
    rate = {"name": "fakes_norm", "type": "normsys", "data": {"hi": 1.25, "lo": 0.75}}
    # HistFactory has a histosys as a change of the shape and one of the yield.
    norms = {side: float((JES[side] * TTBAR).sum() / TTBAR.sum()) for side in JES}
    shape = {key: (np.array(jes[key]) / norms[side]).tolist() for key, side in (("hi_data", "up"), ("lo_data", "down"))}
    morphs = [
        {"name": "jes", "type": "normsys", "data": {"hi": norms["up"], "lo": norms["down"]}},
        {"name": "jes", "type": "histosys", "data": shape},
    ]
    samples = [sample("ttbar", TTBAR, mu, *morphs), sample("QCD", QCD, free), sample("fakes", FAKES, rate)]
    return {"name": "CR", "samples": samples}


def test_plain_pyhf_finds_the_same_with_the_numbers_of_the_histograms(fitted: Outcome) -> None:
    spec = json.loads(Path(fitted.results.workspace).read_text())
    (ours,) = (item for item in spec["observations"] if item["name"] == "CR")
    assert ours["data"] == DATA.tolist()
    spec["channels"] = [item if item["name"] == "SR" else control_region() for item in spec["channels"]]
    workspace = pyhf.Workspace(spec)
    model = workspace.model(
        modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    )
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4))
    try:
        best, errors = pyhf.infer.mle.fit(workspace.data(model), model, return_uncertainties=True).T
    finally:
        pyhf.set_backend("numpy")
    found = fitted.results.parameters
    for name in ("mu", "jes", "fakes_norm", "QCD_norm"):
        index = model.config.par_map[name]["slice"].start
        assert found[name].bestfit == pytest.approx(best[index], abs=0.01 * errors[index])
        assert found[name].hesse == pytest.approx(errors[index], rel=0.02)


def test_halves_have_the_histograms_whole_and_experiments_are_drawn_from_them(fitted: Outcome) -> None:
    results = fitted.results
    # The rate of a sample that no event is of is known from its histogram alone.
    first, second = results.stability["fakes_norm"]
    assert first == pytest.approx(second, rel=0.05)
    assert results.coverage is not None


def test_explain_and_predict_go_on_without_events_of_the_channel(fitted: Outcome, tmp_path: Path) -> None:
    folder = fitted.path.parent
    succeed("explain", f"run={folder}", f"output={tmp_path}/why", "repeats=1", "report.plots=true")
    explained = json.loads((tmp_path / "why" / "explain.json").read_text())
    responses = {(item["parameter"], item["sample"], item["channel"]): item for item in explained["responses"]}
    response = responses["jes", "ttbar", "CR"]
    assert response["up"] == pytest.approx(100 * (JES["up"] - 1), abs=1e-9)
    succeed("predict", f"run={folder}", f"output={tmp_path}/out")
    with uproot.open(next((tmp_path / "out").glob("*.root"))) as file:
        channels = json.loads(file["inferno_cli"])["channels"]
        assert set(np.unique(file["QCD"]["channel"].array())) == {list(channels).index("SR")}


def shown(folder: Path) -> set[int]:
    """Numbers of the observed events that the texts of a run have."""
    texts = [path.read_text(errors="ignore") for path in folder.rglob("*") if path.suffix in (".json", ".md", ".txt")]
    return {
        number for number in DATA.tolist() for text in texts if re.search(rf"(?<![\w.]){number}(\.0+)?(?![\w.])", text)
    }


def test_blinded_data_of_a_histogram_are_in_no_file(point: tuple[str, ...], fitted: Outcome, tmp_path: Path) -> None:
    outcome = succeed("train", *point, "fit=observed", f"hydra.run.dir={tmp_path}/run")
    assert shown(fitted.path.parent) == set(DATA.tolist())
    assert shown(outcome.path.parent) == set()
    with uproot.open(tmp_path / "run" / "templates.root") as file:
        assert not [key for key in file.keys(cycle=False) if "_observed" in key]
    spec = json.loads(Path(outcome.results.workspace).read_text())
    (asimov,) = (item["data"] for item in spec["observations"] if item["name"] == "CR")
    assert asimov == pytest.approx((TTBAR + QCD + FAKES).tolist())


def test_a_wrong_file_is_one_error_with_exit_code_2(point: tuple[str, ...], tmp_path: Path) -> None:
    outcome = inferno("train", *point, "channels.CR.observable.file=nowhere.root", f"hydra.run.dir={tmp_path}/run")
    assert outcome.code == 2
    assert "channels.CR.observable.file" in outcome.err
    assert "Traceback" not in outcome.err
