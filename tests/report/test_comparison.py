"""The comparison of runs, from records written by hand: points, medians, what is missing, tables, and the page."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from handmade import LABEL, config, put, record
from omegaconf import OmegaConf
from pydantic import ValidationError

from inferno_cli.config.load import config_folder, flatten, resolve
from inferno_cli.config.published import Reference
from inferno_cli.drawing.presentation import Presentation
from inferno_cli.drawing.style import save_figures
from inferno_cli.errors import ComparisonError, ConfigError, RunError
from inferno_cli.report.comparison.comparison import Comparison, Spread
from inferno_cli.report.comparison.page import as_html, figures, write_comparison
from inferno_cli.report.comparison.points import short_names
from inferno_cli.report.comparison.tables import as_csv, as_json, as_markdown, remarks, show_comparison
from inferno_cli.report.comparison.tables import number as number_text
from inferno_cli.runs.find import collect
from inferno_cli.runs.folder import RESULTS_FILE, Status, finish
from inferno_cli.runs.found_run import settings_of
from inferno_cli.runs.points import MODEL
from inferno_cli.runs.record import Results
from inferno_cli.runs.run_folder import RunFolder
from inferno_cli.runs.sweeps import planned

NONE = Reference(name="none")


ALONE = {"train": [], "fit": []}
WIDTHS = {("bce", 5): (0.30, 0.40, 0.38), ("inferno", 5): (0.30, 0.20, 0.31), ("bce", 10): (0.36, 0.35, 0.34)}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two models, two numbers of bins, three seeds; inferno with 10 bins: one failed, two were not started."""
    folder = tmp_path / "sweep"
    number = 0
    for (model, bins), widths in WIDTHS.items():
        for seed, width in enumerate(widths, 1):
            own = (f"model={model}", f"model.bins={bins}", f"seed={seed}")
            values = record(width, seed=seed, model=model)
            put(folder / str(number), config(model, bins, seed, nuisance=ALONE), values, *own)
            number += 1
    put(folder / "9", config("inferno", 10, 1, nuisance=ALONE), None, "model=inferno", "model.bins=10", "seed=1")
    task = ["model=bce,inferno", "model.bins=5,10", "seed=1,2,3"]
    sweeper = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
    multirun = {"hydra": {"sweeper": sweeper, "overrides": {"task": task}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(multirun))
    return folder


def compared(*places: Path | str, reference: Reference = NONE) -> Comparison:
    return Comparison.of(collect([str(place) for place in places]).jobs, reference)


def published(name: str) -> Reference:
    return resolve(Reference, OmegaConf.load(config_folder() / "reference" / f"{name}.yaml"))  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------- points
def test_one_row_per_point_with_median_and_range_over_seeds(sweep: Path) -> None:
    comparison = compared(sweep)

    assert comparison.keys == ("model.name", "model.bins")  # not hidden, which follows from the model; not the seed
    rows = {(row.at["model.name"], row.at["model.bins"]): row for row in comparison.rows}
    assert set(rows) == {("bce", 5), ("inferno", 5), ("bce", 10), ("inferno", 10)}
    width = rows["inferno", 5].values["width"]
    assert (width.median, width.low, width.high, width.repeats) == pytest.approx((0.30, 0.20, 0.31, 3))
    first = rows["bce", 5].values
    assert first["width"].median == pytest.approx(0.38)
    assert first["minos_down"].median == pytest.approx(-0.45 * 0.38)
    assert first["minos_up"].median == pytest.approx(0.55 * 0.38)
    expected = {"hesse": 0.19, "stat_only": 0.09, "significance": 8, "sigma_mu_soft": 0.2, "sigma_mu_hard": 0.3}
    expected |= {"seconds": 5.0, "sigma_jes": 0.75, "correlation_mu_jes": -0.5}
    assert {name: first[name].median for name in expected} == pytest.approx(expected)


def test_points_that_are_missing_are_listed(sweep: Path) -> None:
    comparison = compared(sweep)
    (row,) = [row for row in comparison.rows if row.at == {"model.name": "inferno", "model.bins": 10}]

    assert (row.repeats, row.missing, row.values) == (0, 3, {})
    missing = {Path(job.where).name: job.error for job in comparison.missing}
    assert set(missing) == {"9", "10", "11"}
    assert "no results.json" in missing["9"]
    assert missing["11"] == "not started: model=inferno model.bins=10 seed=3"
    for text in (as_markdown(comparison), as_json(comparison)):
        assert all(job.where in text for job in comparison.missing)


def test_the_jobs_of_a_multirun_are_known_from_its_record(sweep: Path) -> None:
    jobs = planned(sweep)

    assert len(jobs) == 12
    assert jobs[0] == ("model=bce", "model.bins=5", "seed=1")
    assert jobs[11] == ("model=inferno", "model.bins=10", "seed=3")


def test_a_run_that_was_repeated_after_it_failed_is_not_missing(sweep: Path, tmp_path: Path) -> None:
    own = ("model=inferno", "model.bins=10")
    for seed in (1, 2, 3):
        again = record(0.25 + 0.01 * seed, seed=seed, model="inferno")
        put(tmp_path / "again" / str(seed), config("inferno", 10, seed, nuisance=ALONE), again, *own, f"seed={seed}")

    comparison = compared(sweep, tmp_path / "again")

    assert comparison.missing == ()
    (row,) = [row for row in comparison.rows if row.at == {"model.name": "inferno", "model.bins": 10}]
    assert row.missing == 0
    assert row.values["width"].median == pytest.approx(0.27)


def test_the_metrics_of_the_templates_have_a_table_of_their_own(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(sweep).metrics == ()  # of runs of before
    for seed, p0 in enumerate((1e-3, 4e-3, 2e-3), 1):
        values = {**record(0.3, seed=seed), "metrics": {"p0": p0, "gaussianity": None, "of_a_package": 1.0}}
        put(tmp_path / "new" / str(seed), config("bce", 5, seed), values)
    comparison = compared(tmp_path / "new")

    (row,) = comparison.rows
    assert [item.name for item in comparison.metrics] == ["p0"]
    assert row.values["p0"] == Spread(2e-3, 1e-3, 4e-3, 3)
    assert not {"p0"} & {item.name for item in (*comparison.main, *comparison.others)}
    table, heading = "2.00e-03 [1.00e-03, 4.00e-03]", "Metrics of the templates"
    assert table in as_markdown(comparison)
    page = as_html(comparison, {})
    assert table in page
    assert heading in page
    (head, *lines) = csv.reader(io.StringIO(as_csv(comparison)))
    assert lines[0][head.index("p0")] == "0.002"
    for metrics, is_shown in (((), False), (("p0", "cls"), True)):
        show_comparison(comparison, metrics)
        assert ("2.00e-03" in capsys.readouterr().out) == is_shown


def test_the_same_point_and_seed_counts_once(sweep: Path, tmp_path: Path) -> None:
    put(tmp_path / "z", config("bce", 5, 1, nuisance=ALONE), record(0.50), "model=bce")

    (row,) = [x for x in compared(sweep, tmp_path / "z").rows if x.at == {"model.name": "bce", "model.bins": 5}]

    assert row.repeats == 3
    assert row.values["width"].high == pytest.approx(0.50)


def test_one_run_alone_is_a_table_of_one_row(sweep: Path) -> None:
    comparison = compared(sweep / "0" / RESULTS_FILE)

    assert comparison.keys == ("model.name",)
    assert [row.repeats for row in comparison.rows] == [1]
    assert comparison.missing == ()


def test_globs_and_lists_give_the_same_as_the_folder(sweep: Path) -> None:
    whole = [row.values for row in compared(sweep).rows if row.values]

    assert [row.values for row in compared(f"{sweep}/[0-8]").rows] == whole
    assert [row.values for row in compared(*(sweep / str(i) for i in range(9))).rows] == whole


def test_an_experiment_stands_for_all_that_it_changes(tmp_path: Path) -> None:
    for i, width in ((0, 0.0), (3, 0.4)):
        settings = config("bce", 10, 1, dataset={"kind": "ntuples", "systematics": {"r": {"width": width}}})
        settings["nuisance"] = {"train": ["r"] * bool(i), "fit": ["r"] * bool(i)}
        put(tmp_path / str(i), settings, record(0.4), f"+experiment=benchmark{i}")

    assert compared(tmp_path).keys == ("model.name", "experiment")


def test_short_names_tell_keys_apart() -> None:
    keys = ["model.name", "model.bins", "dataset.systematics.r.width", "dataset.systematics.lambda.width"]
    assert list(short_names(keys).values()) == ["model", "bins", "r.width", "lambda.width"]
    clash = short_names(["a.b.r.width", "c.d.r.width"])
    assert list(clash.values()) == ["b.r.width", "d.r.width"]


# ------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_checksum": "deadbeef" * 8}, "different versions of the data .* c0ffeec0ffee in .* deadbeefdead in"),
        ({"dataset": "other"}, "different data .* 'top11004' in .* and 'other' in"),
        ({"label": ""}, f"different data .*label is '{LABEL}' in .* and '' in"),
        ({"schema": "inferno_cli/results/9"}, r"has schema 'inferno_cli/results/9'; .* 'inferno_cli/results/2'"),
        ({"surprise": 1}, "is not a record of this version"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    sweep: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    put(tmp_path / "other", config("bce", 20, 1), record(0.4) | changes)

    with pytest.raises(ComparisonError, match=message):
        compared(sweep, tmp_path / "other")


def test_generated_events_may_differ_by_seed_and_not_otherwise(tmp_path: Path) -> None:
    dataset = {"kind": "synthetic", "events": {"train": 10}, "yields": {"signal": 50}}
    for seed in (1, 2):
        values = record(0.4, seed=seed, dataset_checksum=f"{seed}" * 48)
        put(tmp_path / f"{seed}", config("bce", 5, seed, dataset=dataset), values)
    assert compared(tmp_path).rows[0].repeats == 2

    put(tmp_path / "3", config("bce", 10, 1, dataset=dataset), record(0.4, dataset_checksum="3" * 48))
    with pytest.raises(ComparisonError, match="different versions of the data"):
        compared(tmp_path)


def test_places_without_runs_and_sweeps_without_results_are_errors(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=r"'.*/nowhere' is not there"):
        collect([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ComparisonError, match="holds no run"):
        collect([str(tmp_path / "empty")])
    for path in sweep.rglob(RESULTS_FILE):
        path.unlink()
    with pytest.raises(ComparisonError, match="none of 12 runs finished"):
        compared(sweep)


@pytest.mark.parametrize("state", ["running", "stopped", "pruned", "failed"])
def test_results_of_a_run_before_are_not_those_of_the_last_one_in_its_folder(state: Any, tmp_path: Path) -> None:
    put(tmp_path / "0", config("bce", 5, 1), record(0.4))
    put(tmp_path / "1", config("bce", 8, 1), record(0.4))
    Status("finished").write(tmp_path / "1")
    Status(state, error="why").write(tmp_path / "0")

    comparison = compared(tmp_path)

    assert [Path(job.where).name for job in comparison.missing] == ["0"]
    assert comparison.missing[0].error == f"{state}: why"
    said = "it is running, or was killed" if state == "running" else state
    with pytest.raises(RunError, match=f"the last run in .*0 did not finish: {said}"):
        RunFolder.load(str(tmp_path / "0"))


def test_of_two_runs_of_one_configuration_and_seed_the_one_that_is_left_out_is_named(tmp_path: Path) -> None:
    put(tmp_path / "0", config("bce", 5, 1), record(0.4))
    put(tmp_path / "1", config("bce", 5, 1), record(0.3))
    put(tmp_path / "2", config("bce", 5, 2), record(0.5))
    put(tmp_path / "3", config("bce", 5, 2), None)
    Status("reused", of="../2").write(tmp_path / "3")

    comparison = compared(tmp_path)

    assert [len(point.results) for point in comparison.points] == [2]
    assert comparison.notes == (f"left out, as another run has the same configuration and seed: {tmp_path}/0",)


@pytest.mark.parametrize("failed", ["0", "1"])
def test_a_run_on_other_files_of_the_same_sweep_is_no_second_try(failed: str, tmp_path: Path) -> None:
    for name in ("0", "1"):
        settings = config("bce", 5, 1)
        settings["dataset"]["path"] = f"/data/{name}"
        put(tmp_path / name, settings, None if name == failed else record(0.4))
    again = config("bce", 5, 1)
    again["dataset"]["path"] = "/data/elsewhere"
    put(tmp_path / "before" / "0", again, None)

    comparison = compared(tmp_path)

    assert [Path(job.where) for job in comparison.missing] == [tmp_path / failed]


def test_a_job_that_failed_before_its_record_is_known_by_what_hydra_left(tmp_path: Path) -> None:
    finished = config("bce", 5, 1)
    put(tmp_path / "1", finished, record(0.4))
    folder = put(tmp_path / "0", {}, None)
    (folder / "config.yaml").unlink()
    given = {**finished, "nuisance": {"train": "${nuisance.fit}", "fit": ["jes"]}}
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(given))

    assert compared(tmp_path).missing == ()


def test_a_mistaken_interpolation_of_a_failed_job_is_kept(tmp_path: Path) -> None:
    folder = put(tmp_path, {}, None)
    (folder / "config.yaml").unlink()
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"seed": "${nothing.here}"}))

    assert settings_of(folder)[0] == {"seed": "${nothing.here}"}


def test_fits_and_preparations_beside_runs_are_no_points(tmp_path: Path) -> None:
    put(tmp_path / "0", config("bce", 5, 1), record(0.4))
    put(tmp_path / "1", {"workspace": "w.json", "fit": {"data": "observed"}}, record(0.4, dataset="workspace"))
    put(tmp_path / "2", {"files": "*.root", "output_dir": "outputs"}, None)

    comparison = compared(tmp_path)

    assert len(comparison.points) == 1
    assert comparison.missing == ()


def test_what_differs_with_the_model_and_is_not_the_models_is_said(tmp_path: Path) -> None:
    for i, (model, staterror) in enumerate((("bce", True), ("inferno", False))):
        settings = config(model, 5, 1, likelihood={"staterror": staterror})
        put(tmp_path / str(i), settings, record(0.4, model=model))

    comparison = compared(tmp_path)

    assert comparison.keys == ("model.name",)
    said = "note: the models differ in more than the model: likelihood.staterror (BCE True, INFERNO False)"
    assert said in remarks(comparison)
    assert said.removeprefix("note: ") in json.loads(as_json(comparison))["notes"]


def test_models_with_the_same_settings_need_no_note(sweep: Path) -> None:
    assert not [line for line in remarks(compared(sweep)) if "in more than the model" in line]


def test_what_differs_of_the_models_themselves_is_said_everywhere(sweep: Path) -> None:
    comparison = compared(sweep)
    said = "the models differ in their settings: model.hidden (BCE 20+20, INFERNO 100+100)"
    (first, *_) = csv.DictReader(io.StringIO(as_csv(comparison)))

    assert f"note: {said}" in remarks(comparison)
    assert said in as_markdown(comparison)
    assert said in as_html(comparison, {})
    assert json.loads(first["differs"]) == {"model.hidden": [20, 20]}


# --------------------------------------------------------------------------------------------------- ratio
def test_errors_are_divided_by_that_of_the_classifier_at_the_same_point(sweep: Path) -> None:
    comparison = compared(sweep)
    rows = {(row.at["model.name"], row.at["model.bins"]): row.values for row in comparison.rows}
    ratio = rows["inferno", 5]["ratio"]

    # The medians of both, and the range of the own repeats: widths 0.20, 0.30, 0.31 to 0.38.
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((0.30 / 0.38, 0.20 / 0.38, 0.31 / 0.38))
    assert [rows["bce", bins]["ratio"].median for bins in (5, 10)] == [1.0, 1.0]
    said = (
        "note: ratio: the HESSE error divided by the median of the runs with model=bce at the same point, or the first"
    )
    assert f"{said} of them" in remarks(comparison)
    assert "| ratio |" in as_markdown(comparison)
    assert "ratio_low" in as_csv(comparison)


def test_errors_are_divided_by_those_of_other_runs_where_that_is_asked_for(sweep: Path) -> None:
    asked = ("model=inferno", "model.bins=5")
    comparison = Comparison.of(collect([str(sweep)]).jobs, NONE, baseline=asked)
    rows = {(row.at["model.name"], row.at["model.bins"]): row.values for row in comparison.rows}

    assert rows["bce", 5]["ratio"].median == pytest.approx(0.38 / 0.30)
    assert rows["bce", 10]["ratio"].median == pytest.approx(rows["bce", 10]["width"].median / 0.30)
    assert "note: ratio: the HESSE error divided by the median of the runs with model=inferno,model.bins=5" in remarks(
        comparison
    )
    with pytest.raises(ComparisonError, match="baseline=model=optimal: none of 9 runs is so: model is bce, inferno"):
        Comparison.of(collect([str(sweep)]).jobs, NONE, baseline=("model=optimal",))
    with pytest.raises(ConfigError, match="baseline: 'bce' is no condition"):
        Comparison.of(collect([str(sweep)]).jobs, NONE, baseline=("bce",))


def test_one_point_alone_is_not_divided_by_itself(tmp_path: Path) -> None:
    put(tmp_path / "a", config("bce", 5, 1), record(0.4))

    assert "ratio" not in compared(tmp_path).rows[0].values


def test_bins_that_are_left_stand_beside_those_of_the_network(tmp_path: Path) -> None:
    merged = [{**item, "merged_from": [3 * i, 3 * i + 1, 3 * i + 2]} for i, item in enumerate(record(0.4)["bins"])]
    put(tmp_path / "a", config("bce", 6, 1), record(0.4, bins=merged))
    values = compared(tmp_path).rows[0].values

    assert (values["bins_left"].median, values["bins"].median) == (2, 6)


# -------------------------------------------------------------------------------------- published numbers
def test_published_rows_stand_below_the_point_of_the_same_place(sweep: Path) -> None:
    rows = compared(sweep, reference=published("bins")).rows

    labels = [(row.at["model.bins"], row.at["model.name"], bool(row.source)) for row in rows]
    assert labels[:4] == [(5, "bce", False), (5, "inferno", False), (5, "bce", True), (5, "inferno", True)]
    (row,) = [row for row in rows if row.source and row.at == {"model.name": "bce", "model.bins": 5}]
    assert {name: x.median for name, x in row.values.items()} == {
        "minos_down": -0.113,
        "minos_up": 0.116,
        "width": 0.229,
    }
    assert len([row for row in rows if row.source]) == 12


def test_a_published_row_of_something_else_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "0", config("bce", 8, 1, nuisance=ALONE), record(0.4))

    rows = compared(tmp_path, reference=published("bins")).rows

    assert [row.values["width"].median for row in rows] == pytest.approx([0.4, 0.208, 0.195])


def test_published_numbers_without_nuisances_are_not_beside_runs_with_them(tmp_path: Path) -> None:
    for bins in (5, 8):
        put(tmp_path / str(bins), config("bce", bins, 1), record(0.4))

    comparison = compared(tmp_path, reference=published("bins"))

    assert not any(row.source for row in comparison.rows)
    assert "published: none of bins, whose nuisance.fit is not that of these runs" in remarks(comparison)


def test_published_rows_do_not_depend_on_which_point_failed(tmp_path: Path) -> None:
    for bins in (5, 8):
        results = None if bins == 5 else record(0.4)
        put(tmp_path / str(bins), config("bce", bins, 1, nuisance=ALONE), results)

    assert sum(bool(row.source) for row in compared(tmp_path, reference=published("bins")).rows) == 12


def test_columns_of_parameters_whose_names_meet_are_not_mixed(tmp_path: Path) -> None:
    """The error of a parameter "s" is not sigma(s), and a_b with c not a with b_c."""
    errors = {"s": 0.11, "mu_hard": 0.22, "a_b": 0.33, "c": 0.44, "a": 0.55, "b_c": 0.66, "t[0]": 0.77}
    parameters = {name: {"bestfit": 0.0, "hesse": error, "minos": None} for name, error in errors.items()}
    names = ("mu", *errors)
    correlation = {a: {b: 1.0 if a == b else 0.1 for b in names} for a in names}
    correlation["a_b"]["c"], correlation["a"]["b_c"] = 0.2, 0.3
    values = record(0.4, sigma_s=16.0, vectors=["staterror_SR"])
    values |= {"parameters": values["parameters"] | parameters, "correlation": correlation}
    comparison = compared(put(tmp_path / "run", config("bce", 5, 1), values).parent)
    (row,) = comparison.rows
    assert row.values["sigma_s"].median == 16.0
    assert row.values["sigma_mu_hard"].median == pytest.approx(0.3)
    by_title = {item.title: row.values[item.name].median for item in comparison.others}
    assert {name: by_title[f"sigma({name})"] for name in errors} == errors
    assert (by_title["cor(a_b, c)"], by_title["cor(a, b_c)"]) == (0.2, 0.3)
    (head, *_) = csv.reader(as_csv(comparison).splitlines())
    assert len(set(head)) == len(head)


def test_a_published_correlation_may_name_its_parameters_in_the_other_order(tmp_path: Path) -> None:
    put(tmp_path, config("bce", 8, 1), record(0.4))
    values = {"correlation_jes_mu": -0.3, "correlation_jes_taue": 0.1}
    row = {"model": "bce", "at": {"model.bins": 8}, "values": values}
    reference = Reference.model_validate_json(json.dumps({"name": "own", "rows": [row]}))

    comparison = compared(tmp_path, reference=reference)

    (shown,) = [row for row in comparison.rows if row.source]
    assert shown.values["correlation_mu_jes"].median == -0.3
    assert "published, without a column here: correlation_jes_taue" in remarks(comparison)


@pytest.mark.parametrize("path", sorted((config_folder() / "reference").glob("*.yaml")), ids=lambda path: path.stem)
def test_references_are_valid_and_name_their_source(path: Path) -> None:
    reference = published(path.stem)

    assert reference.name == path.stem
    assert reference.source or not reference.rows
    for row in reference.rows:
        values = {name: value for name, (value, _, _) in row.ranges.items()}
        if {"minos_down", "minos_up", "width"} <= set(values):
            # Rounded before they were subtracted.
            assert values["minos_up"] - values["minos_down"] == pytest.approx(values["width"], abs=0.0021)


def test_published_numbers_are_those_of_the_papers() -> None:
    rows = [row for row in published("benchmarks").rows if (row.model, row.label) != ("optimal", "computed")]
    benchmarks = {(row.model, row.at["experiment"]): row.ranges["sigma_s"] for row in rows}
    assert benchmarks["optimal", "benchmark2"] == (24.93, 24.93, 24.93)
    assert benchmarks["inferno", "benchmark4"] == pytest.approx((18.68, 18.68 - 0.07, 18.68 + 0.58))
    assert benchmarks["Cramer-Rao bound", "benchmark1"][0] == 15.506
    crossed = {(row.at["trained_for"], row.at["experiment"]): row.ranges for row in published("cross_training").rows}
    assert crossed["benchmark0", "benchmark2"]["sigma_s"] == pytest.approx((23.24, 23.24 - 1.22, 23.24 + 6.54))
    (row,) = [
        row
        for row in published("downsampling").rows
        if (row.model, row.at["dataset.downsample_factor"]) == ("inferno", 0.9)
    ]
    assert row.values["significance"] == 12.25
    assert row.values["sigma_jes"] == 0.72
    (row,) = published("top11004").rows
    assert row.ranges["mu"] == pytest.approx((0.99, 0.80, 1.24))
    assert "152 +- 12 (stat) +- 32 (syst) +- 3 (lumi) pb" in published("top11004").note


def test_the_two_tables_of_the_thesis_are_told_apart_by_their_learning_rate() -> None:
    """Its figure 2.5 prints var(s), and var(r) and var(lambda) in units of the constraints; here are their roots.

    The deviations over its five samples are those of the variances; d sqrt(v) = dv / (2 sqrt(v)).
    """
    variances = {
        (0.2, 0.5): [(354.37, 0.40, 0.59, 4.96), (273.94, 0.28, 0.17, 3.12)],
        (0.5, 0.5): [(402.72, 0.11, 0.71, 5.01), (295.00, 0.05, 0.22, 22.55)],
        (1.0, 0.5): [(412.20, 0.03, 0.71, 6.28), (276.97, 0.01, 0.15, 6.64)],
        (0.2, 0.8): [(395.04, 0.44, 0.48, 2.53), (280.64, 0.35, 0.08, 15.41)],
        (0.2, 1.4): [(434.88, 0.44, 0.26, 8.67), (275.85, 0.26, 0.02, 4.00)],
    }
    rows = [row for row in published("constraint_widths").rows if row.label.startswith("fig.")]
    assert len(rows) == 20
    assert published("constraint_widths").source.startswith("B. Dal Sasso, thesis, 2022")
    for row in rows:
        rate = {"fig. 2.3": "1e-5", "fig. 2.5": "1e-4"}[row.label]
        assert f"figure {row.label[-3:]} (learning rate {rate})" in row.source
        if row.label == "fig. 2.5":
            widths = tuple(row.at[f"dataset.systematics.{name}.width"] for name in ("r", "lambda"))
            s, r, rate_x2, deviation = variances[widths][row.model == "inferno"]
            found = [row.ranges[name][0] for name in ("sigma_s", "sigma_r", "sigma_lambda")]
            assert found == [round(s**0.5, 2), round(r**0.5, 3), round(rate_x2**0.5, 3)]
            assert row.ranges["sigma_s"][2] - found[0] == pytest.approx(deviation / 2 / s**0.5, abs=0.0051)


def test_a_published_spread_may_have_two_sides() -> None:
    """As in table 1 of the INFERNO paper, 23.24 +6.54 -1.22; one that does not hold the number is an error."""
    row = {"model": "inferno", "values": {"sigma_s": [23.24, -1.22, 6.54], "width": [0.2, 0.1], "mu": 1.0}}

    found = Reference.model_validate_json(json.dumps({"name": "own", "rows": [row]})).rows[0].ranges

    assert found["sigma_s"] == pytest.approx((23.24, 22.02, 29.78))
    assert found["width"] == pytest.approx((0.2, 0.1, 0.3))
    assert found["mu"] == (1.0, 1.0, 1.0)
    row["values"] = {"sigma_s": [23.24, 6.54, -1.22]}
    with pytest.raises(ValidationError, match=r"write \[number, -down, up\]"):
        Reference.model_validate_json(json.dumps({"name": "own", "rows": [row]}))


@pytest.mark.parametrize("study", ["downsampling", "bins", "temperature"])
def test_what_the_thesis_does_otherwise_is_said_with_its_numbers(study: str) -> None:
    reference = published(study)

    assert reference.source.startswith("B. Dal Sasso, thesis, 2022, section 4.4.")
    assert "four features" in reference.note
    assert "whether the statistical error of the templates is in them is not stated" in reference.note


# --------------------------------------------------------------------------------------- tables and the page
def test_of_a_yield_the_relative_error_is_shown(tmp_path: Path) -> None:
    """sigma(s) / s of the fitted yield: 0.5 on s = 1.25 * 50."""
    for number, (s, width) in enumerate([(50, 0.5), (100, 0.3)]):
        values = record(2 * width, label="", dataset_checksum=f"{number}" * 48, sigma_s=width * s)
        values["parameters"]["mu"]["bestfit"] = 1.25
        dataset = {"kind": "synthetic", "yields": {"signal": s}}
        put(tmp_path / str(number), config("bce", 10, 1, dataset=dataset), values)

    comparison = compared(tmp_path)

    assert [row.values["relative_error_s"].median for row in comparison.rows] == pytest.approx([0.4, 0.24])
    assert "| sigma(s) | sigma(s)/s |" in as_markdown(comparison)
    assert {"sigma_s_yields.signal", "relative_error_s_yields.signal"} <= set(dict(figures(comparison)))


def test_there_is_no_relative_error_of_a_strength_or_of_nothing(sweep: Path, tmp_path: Path) -> None:
    assert all("relative_error_s" not in row.values for row in compared(sweep).rows)
    values = record(0.5, sigma_s=20.0)
    values["parameters"]["mu"]["bestfit"] = 0.0
    put(tmp_path / "0", config("bce", 10, 1), values)
    assert "relative_error_s" not in compared(tmp_path / "0").rows[0].values


def test_csv_has_every_number_and_the_label_in_every_row_of_runs(sweep: Path) -> None:
    rows = list(csv.DictReader(as_csv(compared(sweep, reference=published("bins"))).splitlines()))

    first = rows[0]
    assert (first["model.name"], first["model.bins"], first["repeats"]) == ("bce", "5", "3")
    assert float(first["width"]) == pytest.approx(0.38)
    assert [float(first[f"width_{end}"]) for end in ("low", "high")] == pytest.approx([0.30, 0.40])
    assert {row["label"] for row in rows if row["source"] == "runs"} == {LABEL}
    assert {row["label"] for row in rows if row["source"] != "runs"} == {"CMS Open Data"}


def test_the_p_value_is_that_of_the_significance_beside_it(tmp_path: Path) -> None:
    for seed, z in ((1, 5.0), (2, 7.0)):
        both = {f"{kind}{end}": x for kind in ("expected", "observed") for end, x in (("", z), ("_p_value", 0.5))}
        put(tmp_path / str(seed), config("bce", 5, seed), record(0.4, seed=seed, significance=both))

    (row,) = compared(tmp_path).rows

    found = row.values["p_value"]
    # Standard normal tails of 6, 7 and 5.
    assert (found.median, found.low, found.high) == pytest.approx((9.866e-10, 1.280e-12, 2.867e-7), rel=1e-3)
    assert "observed_significance" not in row.values  # of Asimov data it is the expected one


def test_of_observed_data_the_observed_significance_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"expected": 8.0, "observed": 9.9, "expected_p_value": 6e-16, "observed_p_value": 2e-23}
    values = record(0.4, data="observed", significance=both)
    values["parameters"]["mu"]["bestfit"] = 1.2746
    values["goodness_of_fit"] = {"degrees_of_freedom": 9, "p_value": 0.44}
    put(tmp_path, config("bce", 5, 1), values)

    comparison = compared(tmp_path)
    show_comparison(comparison)
    shown = capsys.readouterr().out

    header = shown.splitlines()[2]
    assert [name for name in ("mu", "exp. signif.", "obs. signif.", "fit p") if name not in header] == []
    assert [text for text in ("1.275", "8.00", "9.90", "0.440") if text not in shown] == []
    assert comparison.rows[0].values["observed_p_value"].median == pytest.approx(2.07e-23, rel=0.01)


def blinded(seed: int, **changes: Any) -> dict[str, Any]:
    """A fit of observed data with a hidden offset."""
    return record(0.4, seed=seed, data="observed", hidden=["mu"], sigma_s=12.0, **changes)


def test_blinded_fits_compare_and_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        put(tmp_path / str(seed), config("bce", 5, seed, unblind=False), blinded(seed))

    comparison = compared(tmp_path)
    show_comparison(comparison)

    assert "note: the fits are blinded: mu has a hidden offset" in capsys.readouterr().out
    # The error relative to a mu that is moved means nothing.
    assert "relative_error_s" not in comparison.rows[0].values
    assert comparison.rows[0].values["hesse"].repeats == 2


def test_a_blinded_fit_beside_one_that_is_not_would_tell_the_offset(tmp_path: Path) -> None:
    put(tmp_path / "1", config("bce", 5, 1, unblind=False), blinded(1))
    put(tmp_path / "2", config("bce", 5, 2, unblind=True), record(0.4, seed=2, data="observed"))

    with pytest.raises(ComparisonError, match=r"the fit in \S+/1 is blinded, .* and that in \S+/2 is not"):
        compared(tmp_path)


def test_unblinded_asimov_fits_are_repeats_of_others(tmp_path: Path) -> None:
    put(tmp_path / "1", config("bce", 5, 1), record(0.4, seed=1))  # of an earlier version
    put(tmp_path / "2", config("bce", 5, 2, unblind=False), record(0.4, seed=2))
    put(tmp_path / "3", config("bce", 5, 3, unblind=True), record(0.4, seed=3))

    (row,) = compared(tmp_path).rows

    assert row.repeats == 3


def test_a_range_that_rounds_away_is_not_shown() -> None:
    assert number_text(Spread(1.0, 1.0 - 1e-8, 1.0 + 1e-8, 3), ".3f", spread=True) == "1.000"
    assert number_text(Spread(1.0, 0.9, 1.1, 3), ".3f", spread=True) == "1.000 [0.900, 1.100]"


def test_columns_with_published_numbers_are_the_first(sweep: Path) -> None:
    names = [item.name for item in compared(sweep, reference=published("bins")).main]

    assert names[:3] == ["minos_down", "minos_up", "width"]
    assert "mu" in names


def test_json_and_markdown_say_the_same(sweep: Path) -> None:
    comparison = compared(sweep, reference=published("bins"))
    written = json.loads(as_json(comparison))

    assert (written["schema"], written["label"]) == ("inferno_cli/comparison/1", LABEL)
    assert written["points"][0]["values"]["width"] == {
        "median": pytest.approx(0.38),
        "low": pytest.approx(0.30),
        "high": pytest.approx(0.40),
        "repeats": 3,
    }
    assert len(written["runs"]) == 9
    text = as_markdown(comparison)
    assert text.count(f"**{LABEL}**") == 2  # above each of the two tables
    assert "| BCE | 5 | 3 |" in text
    assert "0.380 [0.300, 0.400]" in text
    assert "arXiv:2301.10358" in text


def test_terminal_shows_the_label_the_rows_and_what_is_missing(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(compared(sweep))
    out = capsys.readouterr().out

    assert f"*** {LABEL} ***" in out
    assert re.search(r"INFERNO +5 +3 +-0\.135 +0\.165 +0\.300", out)
    assert re.search(r"INFERNO +10 +0 of 3", out)
    assert f"missing: {sweep}/10: not started" in out


class _Page(HTMLParser):
    """What a page asks for, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures = 0
        self.text = ""
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.pictures += tag == "img"
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_holds_its_figures_and_asks_for_nothing(sweep: Path, tmp_path: Path) -> None:
    files = write_comparison(compared(sweep, reference=published("bins")), tmp_path / "out")

    names = {path.name for path in files}
    assert {"compare.csv", "compare.md", "compare.json", "compare.html"} <= names
    assert {"width_bins.png", "scans.png", "training.png", "templates.png"} <= names
    page = _Page(files[-1].read_text())
    assert page.pictures == 4
    assert all(link.startswith("data:") for link in page.links)
    assert "script" not in page.tags
    assert "url(" not in files[-1].read_text()
    assert page.text.count(LABEL) >= 3  # the banner, and above each table
    assert "not started" in page.text


def test_figures_of_an_earlier_comparison_do_not_stay(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_comparison(compared(sweep), folder)
    (folder / "mine.png").touch()
    assert (folder / "width_bins.png").is_file()

    files = write_comparison(compared(sweep / "0"), folder)

    assert {path.name for path in folder.iterdir()} == {path.name for path in files} | {"mine.png"}
    assert not (folder / "width_bins.png").exists()


def test_the_label_is_on_every_figure_beside_what_the_configuration_says(sweep: Path) -> None:
    shown = Presentation(experiment="CMS", status="Private work", luminosity="13 TeV")
    drawn = dict(figures(replace(compared(sweep), shown=shown)))

    assert set(drawn) == {"width_bins", "scans", "training", "templates"}
    for figure in drawn.values():
        assert {LABEL, "CMS", "Private work", "13 TeV"} <= {text.get_text() for text in figure.texts}


def test_figures_are_drawn_in_the_formats_that_are_asked_for_or_not_at_all(sweep: Path, tmp_path: Path) -> None:
    files = write_comparison(compared(sweep / "0"), tmp_path / "out", formats=["pdf"])
    assert {path.suffix for path in files} == {".csv", ".md", ".json", ".html", ".pdf"}
    files = write_comparison(compared(sweep / "0"), tmp_path / "out", plots=False)
    assert {path.name for path in files} == {path.name for path in (tmp_path / "out").iterdir()}
    assert {path.suffix for path in files} == {".csv", ".md", ".json", ".html"}


def test_models_with_one_title_are_called_by_their_names(tmp_path: Path) -> None:
    for number, model in enumerate(("bce", "inferno", "inferno")):
        values = record(0.3, model=model, dataset_checksum="a" * 64, model_title="both" if number < 2 else "")
        put(tmp_path / str(number), config(model, 10 + number, 1), values)
    assert compared(tmp_path / "0").model_titles == {"bce": "both"}
    assert compared(tmp_path / "0", tmp_path / "1").model_titles == {"bce": "bce", "inferno": "inferno"}
    reference = published("bins")
    assert compared(tmp_path / "2", reference=reference).model_titles == {"bce": "BCE", "inferno": "inferno"}


def test_the_curve_of_widths_goes_through_the_medians_and_the_published_points(sweep: Path) -> None:
    drawn = dict(figures(compared(sweep, reference=published("bins"))))
    (axes,) = drawn["width_bins"].axes
    lines = {line.get_label(): line for line in axes.get_lines()}

    assert list(lines["BCE"].get_xdata()) == [5, 10]
    assert list(lines["BCE"].get_ydata()) == pytest.approx([0.38, 0.35])
    labels = axes.get_legend_handles_labels()[1]
    assert "BCE, CMS Open Data" in labels
    assert axes.get_xlabel() == "model.bins"


def test_records_of_the_test_are_records(sweep: Path) -> None:
    assert Results.load(sweep / "0" / RESULTS_FILE).label == LABEL


# ------------------------------------------------------------------------------------------- figures by what is swept
def crossed(folder: Path, places: list[tuple[dict[str, Any], str]]) -> Comparison:
    """One run at each place: changes of the configuration, and the experiment."""
    for number, (changes, experiment) in enumerate(places):
        values = record(0.3 + 0.01 * number, model="inferno", dataset_checksum="a" * 64)
        values |= {"sigma_s": 15.0 + number, "cramer_rao_bound_s": 14.0 + 0.1 * number}
        own = () if not experiment else (f"+experiment={experiment}",)
        put(folder / str(number), config("inferno", 10, 1, **changes), values, *own)
    return compared(folder)


def made_of(changes: list[dict[str, Any]], folder: Path) -> Comparison:
    """One run for each change of the configuration, made from the record of one."""
    one = crossed(folder, [(changes[0], "")]).jobs[0]
    jobs = [replace(one, settings={**one.settings, **dict(flatten(change))}) for change in changes]
    return Comparison.of(jobs, NONE)


def axes_of(comparison: Comparison) -> dict[str, Any]:
    return {name: figure.axes[0] for name, figure in figures(comparison) if name.startswith(("sigma_s", "width"))}


def test_scans_through_one_point_are_drawn_against_each_number_with_the_bound_there(tmp_path: Path) -> None:
    points = [(-0.3, 3.0), (0.0, 3.0), (0.3, 3.0), (0.0, 2.5), (0.0, 3.5)]
    changes = [{"at": {"r": r, "lambda": rate}} for r, rate in points]
    axes = axes_of(crossed(tmp_path, [(change, "") for change in changes]))

    assert set(axes) == {f"{quantity}_{name}" for quantity in ("sigma_s", "width") for name in ("r", "lambda")}
    model, bound = axes["sigma_s_r"].get_lines()
    assert list(model.get_xdata()) == list(bound.get_xdata()) == [-0.3, 0.0, 0.3]
    assert list(model.get_ydata()) == [15.0, 16.0, 17.0]
    assert list(bound.get_ydata()) == pytest.approx([14.0, 14.1, 14.2])
    assert list(axes["sigma_s_lambda"].get_lines()[0].get_xdata()) == [2.5, 3.0, 3.5]


def test_two_names_are_a_matrix_with_the_published_numbers_below(tmp_path: Path) -> None:
    names = ("benchmark0", "benchmark2")
    places = [({"trained_for": there}, here) for there in names for here in names]
    at = {"trained_for": "benchmark2", "experiment": "benchmark0"}
    row = {"model": "inferno", "at": at, "values": {"sigma_s": 15.71}}
    crossed(tmp_path, places)
    reference = Reference.model_validate({"name": "paper", "source": "paper", "rows": (row,)})
    axes = axes_of(compared(tmp_path, reference=reference))

    assert set(axes) == {"sigma_s_inferno", "width_inferno"}
    drawn = {text.get_position(): text.get_text() for text in axes["sigma_s_inferno"].texts}
    assert drawn == {(0, 0): "15.00", (1, 0): "16.00", (0, 1): "17.00\n15.71", (1, 1): "18.00"}
    assert (axes["sigma_s_inferno"].get_xlabel(), axes["sigma_s_inferno"].get_ylabel()) == ("experiment", "trained_for")


def test_many_points_of_two_numbers_are_a_matrix_in_their_order(tmp_path: Path) -> None:
    grid = list(itertools.product((0.3, -0.3, 0.0, 0.1), (3.0, 12.0, 2.5, 4.0)))
    axes = axes_of(crossed(tmp_path, [({"at": {"r": r, "lambda": rate}}, "") for r, rate in grid]))["sigma_s_inferno"]

    rows, columns = [label.get_text() for label in axes.get_yticklabels()], axes.get_xticklabels()
    assert (axes.get_ylabel(), rows) == ("r", ["-0.3", "0", "0.1", "0.3"])
    assert (axes.get_xlabel(), [label.get_text() for label in columns]) == ("lambda", ["2.5", "3", "4", "12"])
    drawn = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(drawn) == 16
    assert drawn[3, 0] == "20.00"  # lambda 12, r -0.3: the sixth run
    assert axes.images[0].get_array()[0, 3] == 20.0


@pytest.mark.parametrize(("n_r", "n_lambda"), [(13, 50), (2, 75), (60, 3)])
def test_a_matrix_of_many_cells_has_colours_alone(n_r: int, n_lambda: int, tmp_path: Path) -> None:
    grid = list(itertools.product(range(n_r), range(n_lambda)))
    figure = dict(figures(made_of([{"at": {"r": r, "lambda": rate}} for r, rate in grid], tmp_path)))["width_inferno"]
    axes = figure.axes[0]

    assert axes.images[0].get_array().shape == (n_r, n_lambda)
    assert not axes.texts
    assert max(len(axes.get_xticks()), len(axes.get_yticks())) <= 40
    assert max(figure.get_size_inches()) < 20
    assert {"width_inferno"} == set(save_figures([("width_inferno", figure)], tmp_path).png)


def test_points_of_two_numbers_that_are_no_grid_are_drawn_by_name(tmp_path: Path) -> None:
    drawn = dict(figures(made_of([{"at": {"r": i / 7, "lambda": i**2}} for i in range(20)], tmp_path)))
    assert "width" in drawn
    assert len(drawn["width"].axes[0].get_yticks()) == 20


def test_a_matrix_keeps_what_reads_alike_apart_and_a_published_number_without_a_run(tmp_path: Path) -> None:
    grid = [
        (r, rate)
        for r, rate in itertools.product((0.1, 0.2, 0.3, 0.4), (3.0, 3.0000001, 4.0, 5.0))
        if (r, rate) != (0.2, 4)
    ]
    crossed(tmp_path, [({"at": {"r": r, "lambda": rate}}, "") for r, rate in grid])
    row = {"model": "inferno", "at": {"at.r": 0.2, "at.lambda": 4.0}, "values": {"sigma_s": 7.0}}
    reference = Reference.model_validate({"name": "paper", "source": "paper", "rows": (row,)})
    axes = axes_of(compared(tmp_path, reference=reference))["sigma_s_inferno"]

    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "3", "4", "5"]
    drawn = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(drawn) == 16
    assert drawn[2, 1] == "7.00"
    assert all("\n" not in text for text in drawn.values())


@pytest.mark.parametrize("title", [r"$\frac$", "_hidden", "$", r"$\tau_h$"])
def test_a_title_of_anybodys_record_is_drawn(title: str, tmp_path: Path) -> None:
    for number, model in enumerate(("bce", "inferno")):
        values = record(0.3, model=model, dataset_checksum="a" * 64, model_title=title + model)
        put(tmp_path / str(number), config(model, 10, 1), values)
    drawn = dict(figures(compared(tmp_path)))
    assert drawn.keys() == save_figures(drawn.items(), tmp_path / "out").png.keys()
    assert any("bce" in label for label in drawn["training"].axes[0].get_legend_handles_labels()[1])


def test_of_very_many_points_by_name_the_first_are_drawn_and_it_is_said(tmp_path: Path) -> None:
    grid = list(itertools.product((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), range(5)))
    changes = [{"at": {"r": r, "lambda": rate, "x": x}} for r, rate, x in grid]
    figure = dict(figures(made_of(changes, tmp_path)))["width"]

    assert len(figure.axes[0].get_yticks()) == 40
    assert any("the first 40 points" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("key", ["model.bins", "nuisance.fit"])
def test_of_very_many_models_the_first_are_drawn_and_it_is_said(key: str, tmp_path: Path) -> None:
    values = (5, 10, 20) if key == "model.bins" else ("jes", "qcd", "none")
    one = made_of([{}], tmp_path).jobs[0]
    jobs = []
    for name, value in itertools.product([f"m{i}" for i in range(30)], values):
        assert one.results is not None
        own = one.results.model_copy(update={"model": name, "model_title": name})
        jobs.append(replace(one, settings={**one.settings, MODEL: name, key: value}, results=own))
    drawn = dict(figures(Comparison.of(jobs, NONE)))
    pictures = save_figures(drawn.items(), tmp_path)  # a warning that texts do not fit is an error

    assert len(pictures.png) == len(drawn) == 5
    assert len(drawn["templates"].axes) == 24
    for name, figure in drawn.items():
        assert any(re.search(r"the first \d+ points", text.get_text()) for text in figure.texts), name
        assert max(figure.get_size_inches()) < 30
    if key == "model.bins":  # each line is another one
        lines = drawn["width_bins"].axes[0].get_lines()
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 12


# --------------------------------------------------------------------------------------------------- fits alone
def fits(folder: Path, key: str, *values: Any, **changes: Any) -> Path:
    """A sweep of `inferno fit`, over one key."""
    for number, value in enumerate(values):
        fit = record(0.3 + 0.1 * number, model=None, seed=None, label="", dataset="w", bins=None, training=None)
        fit |= {"poi_variance": None, **{name: x[number] for name, x in changes.items()}}
        settings = {"workspace": "w.json", "output_dir": f"/x/{number}", key: value}
        put(folder / str(number), settings, fit, f"{key}={value}")
    return folder


def test_a_sweep_of_fits_is_a_table_of_fits(tmp_path: Path) -> None:
    found = compared(fits(tmp_path, "measurement", "a", "b"))
    assert [dict(point.at) for point in found.points] == [{"measurement": "a"}, {"measurement": "b"}]
    assert [row.values["width"].median for row in found.rows] == pytest.approx([0.3, 0.4])
    page = write_comparison(found, tmp_path / "out")[-1]
    assert page.name == "compare.html"
    assert {path.suffix for path in page.parent.iterdir()} == {".csv", ".md", ".json", ".html", ".png"}


@pytest.mark.parametrize("values", [(0.1, 0.01), (5, 6, 7), ([], ["mu"]), (True, False), (None, "a"), (1,)])
def test_fits_may_differ_in_anything(values: tuple[Any, ...], tmp_path: Path) -> None:
    found = compared(fits(tmp_path, "measurement", *values))
    assert len(found.points) == len(values)
    show_comparison(found)
    write_comparison(found, tmp_path / "out")


def test_fits_of_several_workspaces_are_compared(tmp_path: Path) -> None:
    names, sums = ("one", "two"), ("aa" * 32, "bb" * 32)
    found = compared(fits(tmp_path, "workspace", "one.json", "two.json", dataset=names, dataset_checksum=sums))
    assert found.title.startswith("one, two: 2 points")
    assert [dict(point.at) for point in found.points] == [{"workspace": "one.json"}, {"workspace": "two.json"}]
    with pytest.raises(ComparisonError, match="different versions of the data"):
        compared(fits(tmp_path / "changed", "measurement", "a", "b", dataset_checksum=sums))


def test_fits_beside_runs_are_left_out(sweep: Path) -> None:
    fits(sweep / "fits", "measurement", "a")
    assert all(MODEL in point.at for point in compared(sweep).points)


def test_fits_that_are_named_beside_runs_are_not_left_out(sweep: Path, tmp_path: Path) -> None:
    own = fits(tmp_path / "fits", "measurement", "a")
    for places in ((sweep, own), (own, sweep)):
        with pytest.raises(ComparisonError, match="a training and a fit of a workspace"):
            compared(*places)


def test_equal_configurations_in_two_folders_may_be_of_other_data(sweep: Path, tmp_path: Path) -> None:
    """A path that is relative is the same text in both."""
    put(tmp_path / "run", config("bce", 5, 1, nuisance=ALONE), record(0.5, dataset_checksum="dead" * 16))
    with pytest.raises(ComparisonError, match="different versions of the data"):
        compared(sweep, tmp_path / "run")

    for number, checksum in enumerate(("aa" * 32, "bb" * 32)):
        fits(tmp_path / f"fit{number}", "measurement", "a", dataset_checksum=[checksum])
    with pytest.raises(ComparisonError, match="different versions of the data"):
        compared(tmp_path / "fit0", tmp_path / "fit1")


def test_an_error_at_a_limit_is_no_number_of_the_table(tmp_path: Path) -> None:
    values = record(0.4)
    for estimate in (*values["parameters"].values(), values["stat_only"]["mu"]):
        estimate["at_limit"] = 0.0
    put(tmp_path / "0", config("bce", 5, 1), values)

    (row,) = compared(tmp_path).rows

    assert "mu" in row.values
    assert {"hesse", "stat_only", "sigma_jes"} & row.values.keys() == set()
    logged = Results.model_validate(values).metrics()
    assert [name for name in logged if name.endswith("hesse")] == []


def test_no_file_of_a_run_is_read_twice(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison of thousand runs takes seconds."""
    opened: list[Path] = []
    original = Path.open

    def counted(path: Path, *arguments: Any, **settings: Any) -> Any:
        opened.append(path)
        return original(path, *arguments, **settings)

    monkeypatch.setattr(Path, "open", counted)
    assert len(compared(sweep).rows) == 4
    of_runs = [path for path in opened if path.parent != sweep]
    assert {path.name for path in of_runs} >= {RESULTS_FILE, "config.yaml"}
    assert len(of_runs) == len(set(of_runs))


# ------------------------------------------------------------------------------------------- damaged records
def test_a_record_without_the_parameter_of_interest_is_none(sweep: Path) -> None:
    values = json.loads((sweep / "0" / RESULTS_FILE).read_text())
    del values["parameters"]["mu"]
    (sweep / "0" / RESULTS_FILE).write_text(json.dumps(values))
    with pytest.raises(ComparisonError, match=r"is not a record of this version .*parameters has no 'mu'"):
        compared(sweep)


@pytest.mark.parametrize("text", ["[1e999]", "{", "[" * 100_000])
def test_a_record_that_is_no_record_is_one_message(text: str, sweep: Path) -> None:
    (sweep / "0" / RESULTS_FILE).write_text(text)
    with pytest.raises(ComparisonError, match=rf"{sweep}/0/results\.json .*leave it out"):
        compared(sweep)


def test_a_record_with_nan_is_not_compared(sweep: Path) -> None:
    path = sweep / "0" / RESULTS_FILE
    text = path.read_text()
    assert '"bestfit": 1.0' in text
    path.write_text(text.replace('"bestfit": 1.0', '"bestfit": NaN', 1))
    with pytest.raises(ComparisonError, match="it holds NaN, which is no finite number"):
        compared(sweep)


@pytest.mark.parametrize("name", [RESULTS_FILE, "config.yaml", ".hydra/overrides.yaml"])
def test_a_record_that_has_changed_is_not_compared(name: str, sweep: Path) -> None:
    folder = sweep / "0"
    Status("running", "a").write(folder)
    finish(folder, "a")
    assert len(compared(sweep).points) == 4
    with (folder / name).open("a") as file:
        file.write("\n")
    with pytest.raises(ComparisonError, match=rf"{folder / name} has changed since the run finished"):
        compared(sweep)


@pytest.mark.parametrize("text", ["", "model: 3\n", "seed: 1\n"])
def test_a_configuration_of_something_else_is_not_compared(text: str, sweep: Path) -> None:
    (sweep / "0" / "config.yaml").write_text(text)
    with pytest.raises(ComparisonError, match=rf"{sweep}/0(/config\.yaml is not that of the run| has no config\.yaml)"):
        compared(sweep)


def test_a_comparison_that_is_stopped_leaves_the_one_before(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.report.comparison import page as comparison_page

    before = {path: path.read_bytes() for path in write_comparison(compared(sweep), sweep / "out")}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison_page, "as_html", stop)
    with pytest.raises(KeyboardInterrupt):
        write_comparison(compared(sweep / "0"), sweep / "out")
    assert {path: path.read_bytes() for path in (sweep / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("sweep_over", "expected"),
    [
        ("model=glob([b*,i*,m*,o*])", ["bce", "bce_augmented", "inferno", "multiclass", "optimal"]),
        ("model=glob([b*,o*])", ["bce", "bce_augmented", "optimal"]),
    ],
)
def test_the_jobs_of_a_glob_are_known(sweep_over: str, expected: list[str], tmp_path: Path) -> None:
    sweeper = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
    sources = [{"path": str(config_folder()), "schema": "file", "provider": "main"}]
    multirun = {"sweeper": sweeper, "overrides": {"task": [sweep_over]}, "runtime": {"config_sources": sources}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"hydra": multirun}))
    assert planned(tmp_path) == [(f"model={name}",) for name in expected]


# --------------------------------------------------------------------------------------------------- coverage
def truth(mu: float | None, nuisance: str, minos: float, hesse: float = 0.3) -> dict[str, Any]:
    """What 400 pseudo-experiments of one truth gave, written by hand."""
    return {
        "mu": mu,
        "nuisance": nuisance,
        "experiments": 400,
        "failed": 1,
        "hesse": hesse,
        "bias": [0.03, 0.015],
        "common_bias": 0.01,
        "spread": [0.31, 0.011],
        "pull_mean": [0.1, 0.05],
        "pull_spread": [1.02, 0.036],
        "coverage_hesse": [0.67, 0.0235],
        "coverage_minos": [minos, 0.024],
        "score": 0.5,
    }


@pytest.fixture
def covered(tmp_path: Path) -> Path:
    """Two models with two seeds each, and their coverage at two true mu and with the priors."""
    for model, seed, minos in (("bce", 1, 0.66), ("bce", 2, 0.70), ("inferno", 1, 0.71), ("inferno", 2, 0.69)):
        truths = [truth(mu, name, minos) for name in ("nominal", "priors") for mu in (0.5, 1.0, None)]
        truths.append(truth(1.0, "jes +1", 0.65))
        values = record(0.6, seed=seed, model=model, coverage={"origin": "validation split", "truths": truths})
        put(tmp_path / f"{model}{seed}", config(model, 5, seed), values)
    return tmp_path


def test_coverage_is_averaged_over_the_repeats_with_the_models_beside_each_other(covered: Path) -> None:
    comparison = compared(covered)
    files = {path.name: path for path in write_comparison(comparison, covered / "compare")}

    rows = list(csv.DictReader(files["coverage.csv"].read_text().splitlines()))
    assert [(row["model"], row["true nuisance"], row["true mu"]) for row in rows[:4]] == [
        ("BCE", "nominal", "0.5"),
        ("INFERNO", "nominal", "0.5"),
        ("BCE", "nominal", "1"),
        ("INFERNO", "nominal", "1"),
    ]
    first = rows[0]
    assert (first["repeats"], first["experiments"], first["failed"]) == ("2", "800", "2")
    assert float(first["coverage_minos"]) == pytest.approx(0.68)
    assert float(first["coverage_minos_error"]) == pytest.approx(0.024 / 2**0.5)
    # The error of 800 experiments that are right is sqrt(0.6827 * 0.3173 / 800) = 0.016455.
    assert float(first["off"]) == pytest.approx((0.68 - 0.6827) / 0.016455, rel=1e-3)
    text = files["compare.md"].read_text()
    assert "## Coverage: pseudo-data validation split" in text
    assert text.count(LABEL) == 3
    assert "| BCE | nominal | 0.5 | 2 | 800 (2 failed) | 0.300 | 0.310 ± 0.008 |" in text
    assert "0.680 ± 0.017 [0.660, 0.700]" in text
    assert "Coverage: pseudo-data" in files["compare.html"].read_text()
    assert {"coverage.png", "coverage_nuisance.png"} <= set(files)
    # Of all true mu with nuisance parameters from the priors.
    assert [row.values["coverage"].median for row in comparison.rows] == pytest.approx([0.68, 0.70])


def test_without_coverage_there_are_no_tables_of_it(sweep: Path) -> None:
    files = write_comparison(compared(sweep), sweep / "compare")
    assert not [path for path in files if "coverage" in path.name]
    assert "Coverage" not in (sweep / "compare" / "compare.md").read_text()


def test_coverage_is_in_the_metrics_and_in_the_summary(covered: Path) -> None:
    results = Results.load(covered / "bce1" / RESULTS_FILE)
    metrics = results.metrics()
    assert metrics["coverage/priors/all/minos"] == 0.66
    assert metrics["coverage/jes plus 1/mu 1/bias"] == 0.03
    assert Results.model_validate_json(results.model_dump_json(by_alias=True)) == results
