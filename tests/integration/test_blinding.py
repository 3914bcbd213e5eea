"""Blinding: a run on observed data without ``unblind`` leaves nothing of them, wherever one looks for it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uproot

from inferno_cli import open_run
from inferno_cli.histograms.templates import Templates
from integration.conftest import FIT_ONLY_MU, Outcome, inferno, own_analysis, succeed, table

N = 7717
"""Observed events: no other number of these runs, and far from what is expected."""
QUICK = (
    "model=bce",
    "model.bins=5",
    "trainer.max_epochs=6",
    "model.learning_rate=0.01",
    "model.batch_size=500",
    "binning.merge_noise=false",
)
SHOWN = ("report.formats=[svg]",)
EVERYTHING = (
    *(
        "fit=data",
        "fit.limit=true",
        "fit.toys=20",
        "fit.ranking=[jes,QCD_norm,'staterror_SR[0]']",
        "fit.scan=[mu,QCD_norm,jes]",
    ),
    *("fit.scan_2d=[[mu,jes]]", "fit.scan_points=3", "fit.scan_2d_points=3"),
)
"""Of the fit of observed data."""
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
TEXTS = {".json", ".yaml", ".md", ".txt", ".html", ".svg", ".log", ".csv"}


@dataclass(frozen=True)
class Truth:
    """What was observed: events in each bin, and the signal strength that the fit finds."""

    counts: tuple[float, ...]
    mu: float

    def told_by(self, numbers: Iterator[float]) -> set[float]:
        """Return what of it is among some numbers: sums of events are exact, mu may be rounded to four decimals."""
        found = set()
        secrets = (*self.counts, float(sum(self.counts)))
        for number in numbers:
            if number in secrets or abs(number - self.mu) < 5e-5:
                found.add(number)
        return found


def in_text(text: str) -> Iterator[float]:
    # The pictures in a page are no numbers, and in those of SVG the text alone has some.
    text = re.sub(r"base64,[\w+/=\s]+", "", text)
    # pytest numbers its folders, and that number may be one that is looked for.
    text = re.sub(r"pytest-\d+", "", text)
    return map(float, NUMBER.findall(text))


def in_file(path: Path) -> Iterator[float]:
    """Yield every number in a file."""
    if path.suffix == ".root":
        with uproot.open(path) as file:
            yield from (tree.num_entries for _, tree in file.iteritems(filter_classname="TTree"))
            for _, content in file.iteritems(filter_classname="TH1*"):
                yield from (*content.values(), float(content.values().sum()))
            for key in file.keys(filter_classname="TObjString"):
                yield from in_text(str(file[key]))
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            for array in arrays.values():
                yield from in_text(str(array)) if array.dtype.kind == "U" else (*array.flat, array.sum(), len(array))
    elif path.suffix == ".db":
        with closing(sqlite3.connect(path)) as store:
            for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
                for row in store.execute(f'SELECT * FROM "{name}"'):
                    yield from in_text(" ".join(map(str, row)))
    elif path.suffix == ".svg":
        yield from in_text(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", path.read_text(encoding="utf-8"), re.S)))
    elif path.suffix in TEXTS:
        yield from in_text(path.read_text(encoding="utf-8"))


def leaks(folder: Path, truth: Truth) -> dict[str, set[float]]:
    """Return what each file below a folder tells."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (told := truth.told_by(in_file(path))):
            found[str(path.relative_to(folder))] = told
    return found


@dataclass(frozen=True)
class Blinded:
    """One unblinded run, what it found, and a folder with blinded ones and their store."""

    analysis: tuple[str, ...]
    truth: Truth
    open: Outcome
    folder: Path
    runs: dict[str, Outcome]


@pytest.fixture(scope="module")
def blinded(tmp_path_factory: pytest.TempPathFactory) -> Blinded:
    top = tmp_path_factory.mktemp("blinded")
    data = table(N, -0.6, first_id=9000)
    # A value that is missing and rows that are equal: findings of `data` about observed events.
    odd = table(N, -0.6, first_id=9000)
    odd["x"][3], odd["x"][10:14], odd["y"][10:14] = np.nan, 0.5, 0.25
    names = ("run", "event", "x", "y")
    analyses = {}
    for name, columns in (("good", data), ("odd", odd)):
        made = own_analysis(top / name, Data={key: columns[key] for key in names})
        analyses[name] = ("--config-dir", str(made), "+experiment=mine", "dataset.luminosity_scale=8.0")
    shown = succeed(
        "train",
        *analyses["good"],
        *QUICK,
        *EVERYTHING,
        "report.plots=false",
        "tracking=none",
        "unblind=true",
        at(top / "open"),
    )
    counts = Templates.load(shown.path.parent / "templates.root").observed
    assert counts is not None
    truth = Truth(tuple(counts.values().tolist()), shown.results.mu.bestfit)
    folder = top / "hidden"
    runs = {
        "observed": succeed("train", *analyses["good"], *QUICK, *EVERYTHING, *SHOWN, at(folder)),
        "asimov": succeed("train", *analyses["good"], *QUICK, "report.plots=false", at(folder)),
        "data": succeed("data", *analyses["odd"], *SHOWN, at(folder)),
    }
    of = f"run={runs['observed'].path.parent}"
    runs |= {
        "explain": succeed("explain", of, "repeats=1", "report.plots=false"),
        "predict": succeed("predict", of),
        "compare": succeed("compare", f"runs={folder}/runs/*/*", at(folder)),
    }
    return Blinded(analyses["good"], truth, shown, folder, runs)


def at(folder: Path) -> str:
    return f"output_dir={folder}"


def test_the_search_finds_what_an_unblinded_run_tells(blinded: Blinded) -> None:
    found = leaks(blinded.open.path.parent, blinded.truth)
    assert sum(blinded.truth.counts) == N
    assert min(blinded.truth.counts) > 100
    for name in ("results.json", "workspace.json", "templates.root", "yields.md", "export/shapes.root"):
        assert found[name] >= {*blinded.truth.counts} - {0.0} or name == "yields.md", name
    assert N in found["yields.md"]
    assert any(abs(number - blinded.truth.mu) < 1e-9 for number in found["results.json"])
    digits = blinded.truth.told_by(in_text(blinded.open.out))
    assert digits


def test_no_file_log_or_store_of_a_blinded_run_tells_anything(blinded: Blinded) -> None:
    files = [path.suffix for path in blinded.folder.rglob("*") if path.is_file()]
    assert {".json", ".yaml", ".root", ".npz", ".db", ".svg", ".html", ".log", ".txt"} <= set(files)
    assert leaks(blinded.folder, blinded.truth) == {}
    for outcome in blinded.runs.values():
        assert blinded.truth.told_by(in_text(outcome.out + outcome.err)) == set()


def test_the_fit_of_observed_data_has_a_hidden_offset_and_the_right_errors(blinded: Blinded) -> None:
    hidden, shown = blinded.runs["observed"].results, blinded.open.results
    assert (hidden.blinded, hidden.data, shown.blinded) == (True, "observed", False)
    assert hidden.mu.hesse == shown.mu.hesse
    assert hidden.mu.minos == shown.mu.minos
    offset = hidden.mu.bestfit - shown.mu.bestfit
    assert abs(offset) > 1e-3
    assert hidden["stat_only"]["mu"].bestfit - shown["stat_only"]["mu"].bestfit == pytest.approx(offset)
    scans = hidden["scans"], shown["scans"]
    np.testing.assert_allclose(np.subtract(*(scan["mu"].values for scan in scans)), offset)
    assert scans[0]["jes"] == scans[1]["jes"]
    # The free normalisation is measured, too: an offset of its own.
    free = hidden.parameters["QCD_norm"].bestfit - shown.parameters["QCD_norm"].bestfit
    assert abs(free) > 1e-3
    assert free != pytest.approx(offset)
    assert hidden.parameters["jes"] == shown.parameters["jes"]
    assert [name for name in hidden.parameters if "staterror" in name] == []
    assert hidden.correlation.keys() == hidden.parameters.keys() == hidden.correlation["mu"].keys()
    for same in ("breakdown", "global_impacts", "goodness_of_fit"):
        assert hidden[same] == shown[same] is not None
    assert {item.parameter for item in hidden["ranking"]} == {"jes", "QCD_norm"}
    assert set(hidden["ranking"]) < set(shown["ranking"])
    assert (hidden.twice_nll, hidden["yields"], hidden["limit"]) == (None, (), None)
    assert hidden["toys"].mean - shown["toys"].mean == pytest.approx(offset)
    assert (hidden["toys"].spread, hidden["toys"].coverage) == (shown["toys"].spread, shown["toys"].coverage)
    assert hidden["significance"].a_priori == shown["significance"].a_priori
    assert hidden["significance"].observed is None
    assert any("yields" in note and "left out" in note for note in hidden.notes)
    out = blinded.runs["observed"].out
    assert "observed data, blinded" in out
    assert {"mu + hidden offset", "QCD_norm + hidden offset", "mu, stat. only + hidden offset"} <= {
        line.partition("   ")[0].rstrip() for line in out.splitlines()
    }


def test_the_files_of_a_blinded_fit_hold_asimov_data(blinded: Blinded) -> None:
    folder = blinded.runs["observed"].path.parent
    expected = Templates.load(folder / "templates.root").nominal.sum(axis=0)
    workspace = json.loads((folder / "workspace.json").read_text())
    np.testing.assert_allclose(workspace["observations"][0]["data"], expected)
    assert "Asimov data" in (folder / "export" / "datacard.txt").read_text()


def test_another_run_of_the_same_data_has_the_same_offset(blinded: Blinded, tmp_path: Path) -> None:
    """Another network, another seed and fewer systematics: the results can be compared."""
    other = (*blinded.analysis, *QUICK, "seed=2", "nuisance=qcd_norm", "fit=data", "tracking=none")
    plain = ("report.plots=false", "export=false", "fit.scan_points=null")
    hidden = succeed("train", *other, *plain, at(tmp_path / "hidden"))
    again = (f"trained_in={hidden.path.parent}", "unblind=true")
    shown = succeed("train", *other, *plain, *again, at(tmp_path / "shown"))
    first = blinded.runs["observed"].results.mu.bestfit - blinded.truth.mu
    assert hidden.results.mu.bestfit - shown.results.mu.bestfit == pytest.approx(first, rel=1e-9)
    # That is how a run is unblinded: nothing is trained.
    assert "training: none" in shown.out
    assert shown.results.mu.bestfit != pytest.approx(blinded.truth.mu, abs=1e-6)


def test_sidebands_show_the_bins_with_little_signal(blinded: Blinded, tmp_path: Path) -> None:
    outcome = succeed("data", *blinded.analysis, "unblind=sidebands", "max_signal_share=0.1", *SHOWN, at(tmp_path))
    record = json.loads((outcome.path.parent / "data.json").read_text())
    assert record["observed_used"] is record["observed_rows"] is None
    x, _ = record["histograms"]
    signal, background = np.array(x["samples"]["ttbar"]), np.array(x["samples"]["QCD"])
    is_shown = signal <= 0.1 * (signal + background)
    assert 0 < is_shown.sum() < len(is_shown)
    assert [value is None for value in x["observed"]] == (~is_shown).tolist() == x["is_masked"]
    with uproot.open(blinded.folder.parent / "good" / "mine.root") as file:
        values = file["Data"]["x"].array(library="np")
    edges = np.array(x["edges"])
    counts = np.histogram(values.clip(edges[0], np.nextafter(edges[-1], 0)), edges)[0]
    assert [value for value in x["observed"] if value is not None] == counts[is_shown].tolist()
    assert "observed data blinded but in bins with s/(s+b) of at most 0.1" in outcome.path.read_text()
    assert "grey: observed events masked" in (outcome.path.parent / "plots" / "control_x.svg").read_text()


def test_predictions_leave_the_observed_events_out(blinded: Blinded, tmp_path: Path) -> None:
    run = f"run={blinded.runs['asimov'].path.parent}"
    outcome = succeed("predict", run, f"output={tmp_path / 'one'}")
    with uproot.open(tmp_path / "one" / "mine.root") as file:
        assert "Data" not in {name.partition(";")[0] for name in file}
        assert "QCD" in file
    assert "left out: tree 'Data'" in outcome.out
    # A copy of the file is known by its content.
    copy = tmp_path / "copy.root"
    copy.write_bytes((blinded.folder.parent / "good" / "mine.root").read_bytes())
    refused = inferno("predict", run, f"input={copy}", "tree=Data", f"output={tmp_path / 'two'}")
    assert refused.code == 2
    assert "unblind=true" in refused.err
    succeed("predict", run, f"input={copy}", "tree=Data", "unblind=true", f"output={tmp_path / 'two'}")
    with uproot.open(tmp_path / "two" / "copy.root") as file:
        assert file["Data"].num_entries == N


# ---------------------------------------------------------------------------------------------- channels and folds
CHANNELS = """\
SR: {selection: y > -0.5}
CR: {selection: y > -1 and y <= -0.5, observable: {kind: histogram, expression: x, edges: [-1, 0], overflow: true}}
low: {selection: y <= -1, observable: {kind: count}}
"""


@pytest.fixture(scope="module")
def in_channels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path, dict[str, Outcome]]:
    """An unblinded run with channels and folds, and a folder with blinded steps of the same, by name."""
    top = tmp_path_factory.mktemp("channels")
    data = table(N, -0.6, first_id=9000)
    made = own_analysis(top / "good", Data={key: data[key] for key in ("run", "event", "x", "y")})
    (made / "channels").mkdir()
    (made / "channels" / "mine.yaml").write_text(CHANNELS)
    luminosity = ("dataset.luminosity_scale=8.0", "dataset.splits={folds: 2, validation: 0.3}", "channels=mine")
    analysis = ("--config-dir", str(made), "+experiment=mine", *luminosity)
    point = (*analysis, *QUICK, "model.bins=3", "fit=data", "trainer.max_epochs=3")
    plain = (*FIT_ONLY_MU, "export=false", "report.plots=false", "tracking=none")
    shown = succeed("train", *point, *plain, "unblind=true", at(top / "open"))
    folder = top / "hidden"
    runs = {"train": succeed("train", *point, *SHOWN, at(folder))}
    of = f"run={runs['train'].path.parent}"
    runs["data"] = succeed("data", *analysis, *SHOWN, at(folder))
    runs["explain"] = succeed("explain", of, "repeats=1", "report.plots=false")
    runs["predict"] = succeed("predict", of)
    runs["compare"] = succeed("compare", f"runs={folder}/runs/*/*", at(folder))
    return shown, folder, runs


def test_nothing_tells_what_was_observed_in_a_channel_or_a_fold(
    in_channels: tuple[Outcome, Path, dict[str, Outcome]],
) -> None:
    shown, folder, runs = in_channels
    counts: list[float] = []
    for templates in open_run(shown.path.parent).channels.values():
        assert templates.observed is not None
        own = templates.observed.values().tolist()
        counts += [*own, sum(own)]
    truth = Truth(tuple(counts), shown.results.mu.bestfit)
    assert len(open_run(shown.path.parent).channels) == 4
    assert leaks(shown.path.parent, truth)["workspace.json"] >= {*counts[:2]}
    assert leaks(folder, truth) == {}
    for outcome in runs.values():
        assert truth.told_by(in_text(outcome.out + outcome.err)) == set()
    hidden = runs["train"].results
    assert hidden.blinded
    assert hidden.mu.hesse == shown.results.mu.hesse
    workspace = json.loads((runs["train"].path.parent / "workspace.json").read_text())
    nominal = {name: item.nominal.sum(axis=0) for name, item in open_run(runs["train"].path.parent).channels.items()}
    assert {item["name"] for item in workspace["observations"]} == set(nominal)
    for item in workspace["observations"]:
        np.testing.assert_allclose(item["data"], nominal[item["name"]])
