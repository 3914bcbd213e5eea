"""``inferno interpolate``: record, page, MLflow, and a workspace at new parameters that ``inferno fit`` takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("zuko")
pytest.importorskip("sklearn")

from inferno_cli.config.load import config_folder
from inferno_cli.files import read_json
from inferno_cli.interpolation.record import InterpolationRecord
from inferno_cli.runs.record import Results
from integration.conftest import Outcome, inferno, succeed

SMALL = (
    "+experiment=means",
    "dataset.grid={mean_x: [-1, 0, 1], mean_y: [-1, 0, 1]}",
    "sizes.quick={train: 800, validation: 300, template: 2000, iterations: 120, members: 2, flow_events: 4000}",
    "flow={transforms: 2, hidden: [8], batch_size: 500, learning_rate: 0.02}",
    "held_out=[0, 0]",
    "at=[[0.5, 0.5], [2, 0]]",
    "model.bins=6",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return succeed("interpolate", *SMALL, f"output_dir={tmp_path_factory.mktemp('interpolate')}")


def test_the_record_the_page_and_the_table_say_the_same(small: Outcome) -> None:
    record = InterpolationRecord.load(small.path)
    held_out = record.groups["held_out"]

    assert held_out.holds
    assert re.search(r"held out +1 .* holds", small.out)
    page = small.path.with_name("interpolation.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 5
    assert "signal_0_0" in page
    assert record.yields is not None
    assert {point.sample for point in record.yields.points} == {
        f"signal_{x}_{y}" for x in (-1, 0, 1) for y in (-1, 0, 1)
    }


def test_inside_and_outside_of_the_grid_are_told_apart(small: Outcome) -> None:
    inside, outside = InterpolationRecord.load(small.path).targets

    assert (inside.is_inside, outside.is_inside) == (True, False)
    assert "extrapolation" in small.out
    assert sum(inside.nominal) == pytest.approx(inside.expected, rel=1e-6)
    assert inside.expected == pytest.approx(100, rel=0.05)


def test_inferno_fit_takes_the_workspace(small: Outcome, tmp_path: Path) -> None:
    target = InterpolationRecord.load(small.path).targets[0]
    workspace = small.path.parent / target.workspace
    (channel,) = read_json(workspace)["channels"]
    signal = channel["samples"][0]
    kinds = {modifier["name"]: modifier for modifier in signal["modifiers"]}

    assert signal["name"] == "signal_0.5_0.5"
    assert kinds["interpolation"]["type"] == "shapesys"
    assert kinds["interpolation"]["data"] == pytest.approx(target.errors, rel=1e-9)
    assert kinds["interpolation_yield"]["type"] == "normsys"

    succeed("fit", f"workspace={workspace}", "tracking=none", "report.plots=false", f"output_dir={tmp_path}")
    fitted = Results.load(next(tmp_path.rglob("results.json")))
    assert fitted.parameters["mu"].bestfit == pytest.approx(1, abs=1e-3)
    assert 0 < fitted.parameters["mu"].hesse < 5
    assert fitted.parameters["interpolation_yield"].hesse == pytest.approx(1, rel=0.05)


def test_every_number_in_mlflow_is_documented(small: Outcome) -> None:
    text = (config_folder().parent / "docs" / "mlflow.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `([^`]+)` \|", text.partition("| number of an interpolation |")[2], re.MULTILINE)
    patterns = [re.sub(r"GROUP|PART", r"[^/]+", re.escape(name)) for name in names]
    metrics = InterpolationRecord.load(small.path).metrics()

    assert [name for name in metrics if not any(re.fullmatch(x, name) for x in patterns)] == []
    seen = {*metrics, "limit/m_X 300 m_S 170"}  # of a run with fit.limit
    assert [x for x in patterns if not any(re.fullmatch(x, name) for name in seen)] == []


def test_a_killed_step_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.interpolation import study

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "compared", killed)
    outcome = inferno("interpolate", *SMALL, "tracking=none", "flow.iterations=2", f"output_dir={tmp_path}")

    assert outcome.code != 0
    assert not list(tmp_path.rglob("interpolation.json"))
    (status,) = (json.loads(path.read_text()) for path in tmp_path.rglob("status.json"))
    assert status["state"] == "stopped"


def test_a_run_that_is_overwritten_leaves_no_workspace_of_before(tmp_path: Path) -> None:
    few = ("flow.iterations=20", "tracking=none", "report.plots=false", f"hydra.run.dir={tmp_path}")
    succeed("interpolate", *SMALL, *few, "at=[0.5, 0.5]")
    refused = inferno("interpolate", *SMALL, *few, "at=[0.25, 0.5]")
    succeed("interpolate", *SMALL, *few, "at=[0.25, 0.5]", "overwrite=true")

    assert refused.code == 2
    assert [path.parent.name for path in tmp_path.rglob("workspace.json")] == ["at_0.25_0.5"]


def test_a_dataset_without_a_grid_is_refused_with_the_key(tmp_path: Path) -> None:
    outcome = inferno("interpolate", "tracking=none", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert "dataset.samples.NAME.parameters" in outcome.err


def test_one_network_has_the_parameters_as_inputs_and_makes_a_limit_at_every_point(tmp_path: Path) -> None:
    """The limit with the simulated signal, which trained no flow, in the same bins, is that of the flows within 15%."""
    outcome = succeed(
        "interpolate",
        *SMALL,
        "model=bce",
        "parametrised=true",
        "at=[[0, 0], [0.5, 0.5]]",
        "fit.limit=true",
        "dataset.yields={signal: 300, background: 2000}",
        "trainer.max_epochs=4",
        "model.hidden=[20]",
        "model.bins=6",
        "tracking=none",
        "report.plots=false",
        f"output_dir={tmp_path}",
    )
    known, new = InterpolationRecord.load(outcome.path).targets

    assert [path.parent.name for path in outcome.path.parent.rglob("*.ckpt")] == ["checkpoints"]
    for target in (known, new):
        assert target.limit is not None
        assert list(target.limit) == sorted(target.limit)
    assert known.simulated_limit == pytest.approx(known.limit[2], rel=0.15)  # type: ignore[index]
    assert new.simulated_limit is None
    assert "expected limit on mu" in outcome.out


def test_parameters_are_inputs_of_nothing_where_nothing_is_trained(tmp_path: Path) -> None:
    few = ("flow.iterations=2", "parametrised=true", "tracking=none", f"output_dir={tmp_path}")
    outcome = inferno("interpolate", *SMALL, *few)

    assert outcome.code == 2
    assert "take model=bce" in outcome.err


@pytest.mark.parametrize("key", ["trainer.members=2", "trainer.snapshots=2"])
def test_a_mean_of_trainings_is_refused_and_not_left_out(key: str, tmp_path: Path) -> None:
    outcome = inferno("interpolate", *SMALL, "model=bce", key, "tracking=none", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert outcome.err.startswith(f"ConfigError: {key.partition('=')[0]}: ")
