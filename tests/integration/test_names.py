"""A whole run with names that were not thought of: right templates, no file elsewhere, everything logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import write
from mlflow import MlflowClient

from integration.conftest import QUICK, Outcome, inferno, succeed, table

# Sample: number of events, each of weight 0.2; so the yield is known.
BACKGROUNDS = {
    "W jets": 900,
    "W-jets": 1000,
    "DY_M10.5": 1100,
    "DY_M10.9": 1200,
    "Data": 1300,
    "../../x": 1400,
    "a:b": 1500,
}
RATES = ("pi+", "pi-", "a[0]", "x//y", "tau/", "..", "$b$")
SHAPES = {"muR_0.5": "DY_M10.5", "had_jes": "W jets", "{x}": "Data"}


def dataset(path: Path) -> dict[str, Any]:
    roles = {"sig*": "signal"} | dict.fromkeys(BACKGROUNDS, "background")
    weight = {"kind": "weight", "up": "weight*where(y>0,1.2,0.9)", "down": "weight*where(y>0,0.8,1.1)"}
    return {
        "kind": "ntuples",
        "name": "odd",
        "path": str(path),
        "file": "*.root",
        "tree": "{sample}",
        "variation": "",
        "features": ["x-1", "$y$"],
        "event_id": ["event"],
        "weight": "w",
        "luminosity_scale": 1.0,
        "downsample_factor": 1.0,
        "samples": {name: {"role": role, "tree": f"T{i}"} for i, (name, role) in enumerate(roles.items())},
        "splits": {"train": 0.4, "validation": 0.2, "template": 0.4},
        "systematics": {name: {"kind": "normalisation", "samples": ["a:b"], "size": 0.05} for name in RATES}
        | {name: weight | {"samples": [sample]} for name, sample in SHAPES.items()},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One finished run in the folder "here", with all plots."""
    folder = tmp_path_factory.mktemp("names")
    trees = {}
    for i, n in enumerate((600, *BACKGROUNDS.values())):
        columns = table(n, 1.0 if i == 0 else -0.5, first_id=i * 10000)
        trees[f"T{i}"] = columns | {"x-1": columns["x"], "$y$": columns["y"]}
    write(folder / "all.root", trees)
    (folder / "conf" / "dataset").mkdir(parents=True)
    (folder / "conf" / "nuisance").mkdir()
    text = yaml.safe_dump(dataset(folder / "all.root"), allow_unicode=True)
    (folder / "conf" / "dataset" / "odd.yaml").write_text(text)
    nuisance = {"fit": [*RATES, *SHAPES], "train": ["muR_0.5", "a[0]"], "unconstrained": ["{x}"]}
    (folder / "conf" / "nuisance" / "odd.yaml").write_text(yaml.safe_dump(nuisance))
    return succeed(
        *("train", "--config-dir", str(folder / "conf"), "dataset=odd", "nuisance=odd", *QUICK),
        *("report.plots=true", "tracking=mlflow", f"output_dir={folder / 'out'}", f"hydra.run.dir={folder / 'here'}"),
        *("model.bins=4", "binning.max_noise_information=10", "fit.scan=[mu,'pi+','pi-']", "fit.scan_points=3"),
        *("fit.minos=['a[0]',mu]", "fit.ranking=['x//y','..']", "fit.significance=false", "fit.breakdown=true"),
    )


def test_every_sample_and_systematic_has_its_own_templates(run):
    spec = json.loads((run.path.parent / "workspace.json").read_text())
    there = {sample["name"]: sample for sample in spec["channels"][0]["samples"]}
    assert set(there) == {"sig*", *BACKGROUNDS, "Data@{x}"}
    for name, n in BACKGROUNDS.items():
        assert sum(there[name]["data"]) == pytest.approx(0.2 * n, rel=1e-9)
        moved = {m["name"] for m in there[name]["modifiers"] if m["type"] == "histosys"}
        assert moved == {shape for shape, sample in SHAPES.items() if sample == name and shape != "{x}"}
    total = 0.2 * (600 + sum(BACKGROUNDS.values()))
    assert sum(spec["observations"][0]["data"]) == pytest.approx(total, rel=1e-9)
    # Of pure rates on one sample HESSE is that of the constraint, or a little less.
    estimates = run.results.parameters
    assert all(0.9 < estimates[name].hesse < 1.01 for name in RATES)
    assert estimates["a[0]"].minos is not None


def test_nothing_is_written_elsewhere(run):
    folder = run.path.parent
    assert {path.name for path in folder.parent.iterdir()} == {"all.root", "conf", "here", "out"}
    assert {path.name for path in (folder.parent / "out").iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    names = {path.name for path in (folder / "plots").iterdir()}
    assert {"scan.png", "pulls.png", "ranking.png", "templates.png"} < names
    assert len([name for name in names if name.startswith("scan_pi")]) == 2


def test_mlflow_has_a_metric_of_every_parameter(run):
    out = run.path.parent.parent / "out"
    client = MlflowClient(tracking_uri=f"sqlite:///{out}/mlflow.db")
    (found,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    said = json.loads(found.data.tags["names"])
    metrics = {said.get(key, key): value for key, value in found.data.metrics.items()}
    for name in (*RATES, *SHAPES):
        assert metrics[f"{name}/hesse"] == run.results.parameters[name].hesse


def test_the_other_steps_take_the_run(run, tmp_path):
    folder = run.path.parent
    plots = succeed("explain", f"run={folder}", f"output={tmp_path / 'e'}", "repeats=1", "pairs=1", "track=false")
    assert "x-1" in plots.out
    succeed("predict", f"run={folder}", f"output={tmp_path / 'p'}")
    arguments = (f"output_dir={tmp_path}", f"hydra.run.dir={tmp_path / 'f'}", "tracking=none", "fit.scan=['pi+']")
    again = succeed("fit", f"workspace={folder / 'workspace.json'}", "report.plots=false", *arguments)
    hesse = {name: entry.hesse for name, entry in run.results.parameters.items()}
    assert {name: entry.hesse for name, entry in again.results.parameters.items()} == pytest.approx(hesse, rel=1e-3)
    assert again.results.scalars == run.results.scalars
    np.testing.assert_array_equal(sorted(path.name for path in tmp_path.iterdir()), ["e", "f", "p"])


def test_a_name_that_cannot_be_is_refused_before_an_event_is_read(run, tmp_path):
    conf = run.path.parent.parent / "conf"
    settings = dataset(Path("/there/is/no/such/file.root"))
    settings["samples"]["x" * 400] = settings["samples"].pop("a:b")
    (conf / "dataset" / "long.yaml").write_text(yaml.safe_dump(settings | {"systematics": {}}))
    outcome = inferno("train", "--config-dir", str(conf), "dataset=long", "nuisance=none", f"output_dir={tmp_path}")
    assert (outcome.code, "has 400 letters, at most 100" in outcome.err) == (2, True)
    assert "Traceback" not in outcome.err
