"""``inferno data``: what is printed and written, and that a broken file leaves nothing that looks whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from integration.conftest import FEW_EVENTS, LABEL, Outcome, inferno, own_analysis, succeed, table


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return succeed("data", "+experiment=top11004", "unblind=true", f"output_dir={tmp_path_factory.mktemp('data')}")


def test_the_embedded_sample_is_described_on_the_terminal(embedded: Outcome) -> None:
    lines = embedded.out.splitlines()
    assert f"*** {LABEL} ***" in lines
    words = [line.split() for line in lines]
    (signal,) = [line for line in words if line[:2] == ["TTJets_signal", "signal"]]
    assert signal[2] == "14004"
    assert float(signal[-4]) == pytest.approx(313.61, rel=1e-3)  # the published yields
    (qcd,) = [line for line in words if line[:2] == ["QCD", "background"]]
    assert float(qcd[-4]) == pytest.approx(2421.65, rel=1e-3)
    (jes,) = [line for line in words if line[:2] == ["jes", "shape"]]
    assert 8 < float(jes[2]) < 12
    assert -12 < float(jes[3]) < -8
    assert any(line[:1] == ["MET_met"] for line in words)
    assert not any(line.startswith("finding:") for line in lines)


def test_the_page_has_everything_in_it(embedded: Outcome) -> None:
    page = embedded.path
    assert page.name == "data.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<table>") == text.count(f"<caption>{LABEL}</caption>") == 5
    assert text.count("<img ") == text.count('src="data:image/png;base64,') == 8
    assert f'<p class="label">{LABEL}</p>' in text
    assert re.findall(r"https?://|<script|<link(?! rel=\"icon\" href=\"data:)", text) == []
    assert {path.name for path in (page.parent / "plots").iterdir()} >= {"control_MET_met.png", "control_mt.png"}


def test_the_record_is_versioned(embedded: Outcome) -> None:
    record = json.loads((embedded.path.parent / "data.json").read_text(encoding="utf-8"))
    assert record["schema"] == "inferno_cli/data/1"
    assert record["label"] == LABEL
    assert record["downsample_factor"] == 0.9
    assert record["samples"][0]["name"] == "TTJets_signal"
    assert len({item["name"] for item in record["systematics"]}) == 18
    assert {item["overlap"] is None for item in record["systematics"] if item["kind"] == "shape"} == {False}
    assert sum(record["histograms"][0]["observed"]) == record["observed_used"]


def test_it_is_not_taken_for_a_run(embedded: Outcome) -> None:
    top = embedded.path.parents[3]
    assert [path.name for path in top.iterdir()] == ["data"]


def test_the_synthetic_mixture_without_plots(tmp_path: Path) -> None:
    chosen = ("report.plots=false", "systematics=[r]", "bins=10", f"output_dir={tmp_path}")
    outcome = succeed("data", "+experiment=synthetic", *FEW_EVENTS, *chosen)
    record = json.loads((outcome.path.parent / "data.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in record["systematics"]] == ["r"]
    assert len(record["histograms"][2]["edges"]) == 11
    assert "<img" not in outcome.path.read_text(encoding="utf-8")
    assert not (outcome.path.parent / "plots").exists()
    assert LABEL not in outcome.out


def test_a_dataset_without_data_is_drawn_too(tmp_path: Path) -> None:
    config = own_analysis(tmp_path / "analysis")
    arguments = ("--config-dir", str(config), "+experiment=mine", "~dataset.samples.Data", f"output_dir={tmp_path}")
    outcome = succeed("data", *arguments, "report.formats=[svg]")
    assert {path.name for path in (outcome.path.parent / "plots").iterdir()} == {"control_x.svg", "control_y.svg"}
    assert outcome.path.read_text(encoding="utf-8").count("<img ") == 2


# ------------------------------------------------------------------------------------------------- broken files
N = 1500
SIGNAL, DATA = table(N, 1.0), table(900, -0.3, first_id=9000)
BROKEN: dict[str, tuple[Mapping[str, Mapping[str, np.ndarray]], str, tuple[str, ...]]] = {
    "repeated ids": (
        {"ttbar": SIGNAL | {"event": np.where(np.arange(N) == 9, 8, np.arange(N))}},
        "DatasetError",
        ("'ttbar', nominal", "1 of 1500 events repeat an id (run + event)", "Fix dataset.event_id"),
    ),
    "repeated ids in data": (
        {"Data": DATA | {"event": np.arange(900) // 2}},
        "DatasetError",
        ("'Data', nominal", "some events repeat an id"),
    ),
    "leakage": (
        {"ttbar": SIGNAL | {"source_event": np.arange(N) // 3}},
        "DatasetError",
        ("'ttbar'", "of 500 source events (source_event)", "expected none", "dataset.samples.ttbar.split_by"),
    ),
    "negative yield": (
        {"QCD": table(3000, -1.0, first_id=5000, w=np.where(np.arange(3000) < 1600, -1.0, 1.0))},
        "TemplateError",
        ("'QCD', nominal", "sum to -200", "expected a positive yield", "check the weight expression"),
    ),
    "other events in the shifted tree": (
        {"ttbar_jes_up": table(N, 1.2, first_id=100_000)},
        "DatasetError",
        ("'ttbar', jes_up", "0% of the event ids", "expected at least 50%", "fix dataset.event_id"),
    ),
    "a weight that is not finite": (
        {"QCD": table(3000, -1.0, first_id=5000, w=np.where(np.arange(3000) == 3, np.nan, 1.0))},
        "DatasetError",
        ("'QCD'", "1 of 3000", "row 3", "repair"),
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_broken_file_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    changes, error, says = BROKEN[case]
    config = own_analysis(tmp_path / "analysis", **changes)
    output = tmp_path / "out"
    outcome = inferno("data", "--config-dir", str(config), "+experiment=mine", f"output_dir={output}")
    assert outcome.code == 2, outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"{error}: "), line
    assert [part for part in says if part not in line] == [], line
    written = {path.name for path in output.rglob("*") if path.is_file()}
    assert not {name for name in written if name.startswith("data") or name.endswith(".png")}
    assert "results: " not in outcome.out
    (status,) = output.rglob("status.json")
    assert json.loads(status.read_text())["state"] == "failed"


FINDINGS = {
    "negative weights": (
        {"QCD": table(3000, -1.0, first_id=5000, w=np.where(np.arange(3000) < 300, -1.0, 1.0))},
        "sample 'QCD': 300 of 3000 weights are negative (10.0%)",
    ),
    "missing values": (
        {"ttbar": SIGNAL | {"y": np.where(np.arange(N) < 4, np.nan, SIGNAL["y"]).astype(np.float32)}},
        "sample 'ttbar': 4 of 1500 values of 'y' are not finite",
    ),
    "repeated pseudo-data": (
        {"Data": DATA | {name: DATA[name][:450].repeat(2) for name in ("x", "y")}},
        "sample 'Data': 450 of 900 rows are equal to another one in every feature",
    ),
}


@pytest.mark.parametrize("case", list(FINDINGS))
def test_what_is_odd_is_told(case: str, tmp_path: Path) -> None:
    changes, says = FINDINGS[case]
    config = own_analysis(tmp_path / "analysis", **changes)
    settings = ("--config-dir", str(config), "+experiment=mine", "report.plots=false", f"output_dir={tmp_path}/out")
    outcome = succeed("data", *settings, "unblind=true")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("finding: ")]
    assert line.startswith(f"finding: {says}")
    page = outcome.path.read_text(encoding="utf-8").replace("&#x27;", "'")
    assert f"<li>{says}" in page


def test_an_unknown_systematic_names_the_closest(tmp_path: Path) -> None:
    outcome = inferno("data", "+experiment=top11004", "systematics=[jez]", f"output_dir={tmp_path}")
    assert outcome.code == 2
    assert "systematics: dataset 'top11004' has no 'jez'; closest: 'je" in outcome.err
