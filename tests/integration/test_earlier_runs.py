"""Run folders of an earlier version stay readable: three real ones, as that version wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import uproot

from inferno_cli.runs.record import Results
from integration.conftest import FIT_ONLY_MU, inferno, succeed

RUNS = Path(__file__).resolve().parents[1] / "data" / "runs"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A copy of the folders, as the tests write beside them."""
    return Path(shutil.copytree(RUNS, tmp_path / "runs"))


def test_compare_reads_them(earlier: Path, tmp_path: Path) -> None:
    for name in ("synthetic-bce", "benchmark2-optimal"):
        succeed("compare", f"runs={earlier}/{name}", f"output={tmp_path}/{name}", "track=false")
        written = json.loads((tmp_path / name / "compare.json").read_text(encoding="utf-8"))
        width = Results.load(earlier / name / "results.json").parameters["mu"].minos
        assert width is not None
        assert f"{width[1] - width[0]:.3f}" in (tmp_path / name / "compare.md").read_text(encoding="utf-8")
        assert written["schema"] == "inferno_cli/comparison/1"


def test_predict_applies_the_network_and_knows_the_events(earlier: Path, tmp_path: Path) -> None:
    """The templates are those of the run, so the bins and the split of every event are."""
    run = earlier / "top11004-inferno"
    succeed("predict", f"run={run}", f"output={tmp_path}/predictions", "tree=QCD")
    (file,) = (tmp_path / "predictions").glob("*.root")
    with uproot.open(file) as predictions, uproot.open(run / "templates.root") as templates:
        found = predictions["QCD"].arrays(["split", "bin"], library="np")
        nominal = templates["QCD/nominal"].values()
    kept = found["split"] == 2
    assert set(np.unique(found["split"])) == {0, 1, 2}
    assert set(np.unique(found["bin"][kept])) <= set(range(len(nominal)))
    assert np.bincount(found["bin"][kept], minlength=len(nominal)).astype(bool).tolist() == (nominal > 0).tolist()


def test_explain_finds_the_templates_again(earlier: Path) -> None:
    succeed("explain", f"run={earlier / 'top11004-inferno'}", "repeats=1", "track=false")
    assert (earlier / "top11004-inferno" / "explain" / "explain.json").is_file()


@pytest.mark.parametrize("name", ["synthetic-bce", "top11004-inferno"])
def test_their_networks_are_used_again_with_equal_templates(name: str, earlier: Path, tmp_path: Path) -> None:
    overrides = (earlier / name / ".hydra" / "overrides.yaml").read_text(encoding="utf-8").splitlines()
    point = [line.removeprefix("- ").strip("'") for line in overrides if "output_dir" not in line]
    place = f"hydra.run.dir={tmp_path}/again"
    found = succeed("train", *point, *FIT_ONLY_MU, f"trained_in={earlier / name}", f"output_dir={tmp_path}", place)
    before = json.loads((earlier / name / "workspace.json").read_text(encoding="utf-8"))
    after = json.loads((found.path.parent / "workspace.json").read_text(encoding="utf-8"))
    assert after == before


def test_a_fit_of_their_workspaces_is_that_of_the_run(earlier: Path, tmp_path: Path) -> None:
    run = earlier / "synthetic-bce"
    found = succeed("fit", f"workspace={run}/workspace.json", f"output_dir={tmp_path}", "tracking=none")
    before = Results.load(run / "results.json").parameters["mu"]
    assert found.results.parameters["mu"].hesse == pytest.approx(before.hesse, rel=1e-9)


def test_a_changed_file_of_theirs_is_noticed(earlier: Path) -> None:
    checkpoint = earlier / "top11004-inferno" / "checkpoints" / "best.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    outcome = inferno("predict", f"run={earlier / 'top11004-inferno'}")
    assert outcome.code == 2
    assert "has changed since the run finished" in outcome.err
