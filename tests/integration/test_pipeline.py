"""From events to a fitted signal strength: what a run leaves, and that its numbers are one another's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cabinetry
import numpy as np
import pyhf
import pytest
import uproot
from conftest import compose, covariance_by_differences
from workspaces import model_of

from inferno_cli.config.measurement import Measurement
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.information import poi_variance
from inferno_cli.runs.record import Results
from inferno_cli.training.metrics import metrics
from inferno_cli.training.recipe import template_channels
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, LABEL, QUICK, Runs, comparable, own_analysis, succeed

EXPERIMENTS = ("synthetic", "top11004")
MODELS = ("bce", "inferno")
NUISANCES = {"synthetic": {"r", "lambda"}, "top11004": {"jes", "QCD_norm"}}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_record_has_every_field(experiment: str, model: str, runs: Runs) -> None:
    outcome = runs(experiment, model)
    record = json.loads(outcome.path.read_text())

    assert record["schema"] == "inferno_cli/results/2"
    assert (record["model"], record["dataset"], record["seed"]) == (model, experiment, 1)
    assert record["data"] == "asimov"
    assert {"mu"} | NUISANCES[experiment] <= set(record["parameters"])
    for parameter in record["parameters"].values():
        assert math.isfinite(parameter["bestfit"])
        assert parameter["hesse"] > 0
    mu = record["parameters"]["mu"]
    down, up = mu["minos"]
    assert down < 0 < up
    assert mu["bestfit"] == pytest.approx(1, abs=1e-3)
    assert (up - down) / 2 == pytest.approx(mu["hesse"], rel=0.1)
    assert 0 < record["stat_only"]["mu"]["hesse"] < mu["hesse"]
    assert record["significance"]["expected"] > 0
    assert record["significance"]["observed"] == pytest.approx(record["significance"]["expected"], rel=1e-3)
    assert set(record["poi_variance"]) == {
        "validation_soft",
        "validation_hard",
        "validation_honest",
        "templates",
        "honest",
    }
    assert all(value > 0 for value in record["poi_variance"].values())
    assert set(record["metrics"]) == set(metrics())
    assert all(math.isfinite(value) for value in record["metrics"].values())
    assert record["metrics"]["sigma_mu"] == pytest.approx(math.sqrt(record["poi_variance"]["templates"]), rel=1e-9)
    of_an_epoch = {f"validation/metrics/{kind}" for kind in metrics() if kind != "gaussianity"}
    assert of_an_epoch <= set(record["training"]["history"][-1])
    assert set(record["stability"]) == {"mu"} | NUISANCES[experiment]
    assert {"events", "training", "templates", "fit"} <= set(record["timing"])
    assert all(seconds >= 0 for seconds in record["timing"].values())
    assert len(record["dataset_checksum"]) == 64
    if experiment == "synthetic":
        assert record["sigma_s"] == pytest.approx(50 * mu["hesse"], rel=1e-12)
        # reference/synthetic.yaml, computed_cramer_rao_bound_on_s, thesis case
        assert record["cramer_rao_bound_s"] == pytest.approx(15.531, abs=0.01)
        assert record["cramer_rao_bound_s"] < record["sigma_s"]
    else:
        assert record["sigma_s"] is None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_last_line_names_the_record_which_reads_back(experiment: str, runs: Runs) -> None:
    outcome = runs(experiment, "inferno")

    assert outcome.path.is_absolute()
    assert outcome.path.is_file()
    results = Results.load(outcome.path)
    again = outcome.path.with_name("again.json")
    results.save(again)
    assert again.read_text() == outcome.path.read_text()
    again.unlink()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_stand_in_is_called_so_everywhere_and_the_synthetic_sample_is_not(experiment: str, runs: Runs) -> None:
    outcome = runs(experiment, "bce")
    log = (outcome.path.parent / "main.log").read_text()
    expected = {"synthetic": 0, "top11004": 1}[experiment]

    assert (LABEL in outcome.results.label) == bool(expected)
    assert outcome.out.count(f"*** {LABEL} ***") == expected  # the table
    assert log.count(LABEL) == expected
    assert "Asimov data" in outcome.out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_workspace_is_valid_and_holds_the_bins_of_the_record(experiment: str, model: str, runs: Runs) -> None:
    outcome = runs(experiment, model)
    spec = json.loads(Path(outcome.results.workspace).read_text())

    assert Path(outcome.results.workspace) == outcome.path.parent / "workspace.json"
    assert pyhf.Workspace(spec).model().config.poi_name == "mu"
    yields = {sample["name"]: np.array(sample["data"]) for sample in spec["channels"][0]["samples"]}
    signal = yields.pop("signal" if experiment == "synthetic" else "TTJets_signal")
    bins = outcome.results.bins
    assert bins is not None
    np.testing.assert_allclose(signal, [record.signal for record in bins], rtol=1e-12)
    np.testing.assert_allclose(sum(yields.values()), [record.background for record in bins], rtol=1e-12)
    observation = spec["observations"][0]["data"]
    np.testing.assert_allclose(observation, [record.signal + record.background for record in bins], rtol=1e-12)
    assert sorted(i for record in bins for i in record.merged_from) == list(range(10))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_templates_that_were_saved_give_the_variance_of_the_record(experiment: str, model: str, runs: Runs) -> None:
    outcome = runs(experiment, model)
    config = compose(f"+experiment={experiment}", f"model={model}")
    measurement = Measurement.from_config(config, config.nuisance.fit)

    loaded = Templates.load(outcome.path.parent / "templates.root")

    bins = outcome.results.bins
    assert bins is not None
    assert list(loaded.groups) == [record.merged_from for record in bins]
    assert set(loaded.samples) == set(config.sample_names)
    assert outcome.results.poi_variance is not None
    found = float(poi_variance(template_channels(measurement, [loaded])))
    assert found == pytest.approx(outcome.results.poi_variance.templates, rel=1e-10)


@pytest.fixture
def precise() -> Iterator[None]:
    """Let pyhf minimise to the end."""
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-10, maxiter=10_000))
    yield
    pyhf.set_backend("numpy")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_p_values_of_a_run_are_those_of_pyhf_on_its_workspace(
    experiment: str, model: str, runs: Runs, precise: None
) -> None:
    outcome = runs(experiment, model)
    spec = json.loads(Path(outcome.results.workspace).read_text())
    found = outcome.results.metric_values
    fitted, _ = model_of(spec)
    index = fitted.config.poi_index
    nominal = np.array(fitted.config.suggested_init(), dtype=float)
    bounds = fitted.config.suggested_bounds()
    bounds[index] = (0.0, 10.0)
    for kind, tested, truth, statistic in (("p0", 0.0, 1.0, "q0"), ("cls", 1.0, 0.0, "qtilde")):
        nominal[index] = truth
        data = fitted.expected_data(nominal)
        value = pyhf.infer.hypotest(
            tested, data, fitted, init_pars=nominal.tolist(), par_bounds=bounds, test_stat=statistic
        )
        assert found[kind] == pytest.approx(float(value), rel=1e-6)
    assert found["sigma_mu"] == pytest.approx(outcome.results.mu.hesse, rel=1e-5)
    significance = outcome.results["significance"].expected
    assert found["sigma_mu_asimov"] == pytest.approx(1 / significance, rel=1e-5)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_export_is_of_this_run(experiment: str, runs: Runs) -> None:
    """Its yields are the record's; what the files say is tested in unit/test_export.py."""
    outcome = runs(experiment, "inferno")
    folder = outcome.path.parent / "export"

    assert {path.name for path in folder.iterdir()} == {"shapes.root", "datacard.txt", "cabinetry.yaml"}
    head = (folder / "datacard.txt").read_text().partition("imax")[0]
    assert (LABEL in head) == (experiment == "top11004")
    assert "# data_obs: Asimov data\n" in head
    bins = outcome.results.bins
    assert bins is not None
    with uproot.open(folder / "shapes.root") as file:
        total = file["SR/data_obs"].values()
    np.testing.assert_allclose(total, [record.signal + record.background for record in bins], rtol=1e-12)


def test_no_export_when_it_is_not_wanted(tmp_path: Path) -> None:
    point = ("+experiment=synthetic", "model=bce", f"output_dir={tmp_path}", *FEW_EVENTS, *FIT_ONLY_MU)
    outcome = succeed("train", *point, *QUICK, "export=false")

    assert not (outcome.path.parent / "export").exists()
    assert "export" not in outcome.results.timing


CLOSURE = [
    *[(experiment, model, ()) for experiment in EXPERIMENTS for model in MODELS],
    *[(experiment, model, ("likelihood.staterror=false",)) for experiment in EXPERIMENTS for model in MODELS],
    ("synthetic", "inferno", ("nuisance=r_free",)),
    ("synthetic", "inferno", ("nuisance=r_free", "likelihood.staterror=false")),
    ("synthetic", "inferno", ("nuisance=r_lambda_free",)),
    ("synthetic", "inferno", ("nuisance=r_lambda_b",)),
    ("synthetic", "inferno", ("nuisance=r_lambda_b", "likelihood.staterror=false")),
    ("synthetic", "inferno", ("nuisance=r_lambda_free", "likelihood.staterror=false")),
    ("synthetic", "bce", ("nuisance=none",)),
]


@pytest.mark.parametrize(("experiment", "model", "overrides"), CLOSURE)
def test_the_training_likelihood_is_the_fitted_likelihood(
    experiment: str, model: str, overrides: tuple[str, ...], runs: Runs
) -> None:
    """Square root of the loss on the final templates against HESSE, the Hessian of the fit at its minimum."""
    results = runs(experiment, model, *overrides, *(FIT_ONLY_MU if overrides else ())).results

    assert results.poi_variance is not None
    closed_form, mu = math.sqrt(results.poi_variance.templates), results.parameters["mu"]
    assert mu.hesse == pytest.approx(closed_form, rel=1e-4)
    assert mu.minos is not None
    assert mu.minos[0] < 0 < mu.minos[1]
    staterror = [name for name in results.parameters if name.startswith("staterror")]
    assert bool(staterror) == ("likelihood.staterror=false" not in overrides)


def test_staterror_and_nuisances_cost_precision(runs: Runs) -> None:
    """The same network (BCE's training knows neither) with a richer likelihood has a larger error."""

    def variance(*overrides: str) -> float:
        record = runs("synthetic", "bce", *overrides, *(FIT_ONLY_MU if overrides else ())).results.poi_variance
        assert record is not None
        return record.templates

    assert variance("nuisance=none") < variance()
    assert variance("likelihood.staterror=false") < variance()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_fit_of_the_workspace_by_itself_gives_the_same_numbers(experiment: str, runs: Runs, tmp_path: Path) -> None:
    trained = runs(experiment, "inferno")
    options = ("tracking=none", "report.plots=false", f"output_dir={tmp_path}")

    outcome = succeed("fit", f"workspace={trained.results.workspace}", *options)

    first, second = trained.results, outcome.results
    assert outcome.path.is_relative_to(tmp_path)
    assert set(second.parameters) == set(first.parameters)
    for name, parameter in first.parameters.items():
        assert second.parameters[name].bestfit == pytest.approx(parameter.bestfit, abs=1e-6)
        assert second.parameters[name].hesse == pytest.approx(parameter.hesse, rel=1e-6)
    assert second.parameters["mu"].minos == pytest.approx(first.parameters["mu"].minos, rel=1e-6)
    assert second["stat_only"] == first["stat_only"]
    assert second["significance"] == first["significance"]
    assert second.data == "asimov"
    assert second.label == first.label
    assert outcome.out.count(f"*** {LABEL} ***") == (experiment == "top11004")
    assert (second.model, second.seed, second.poi_variance) == (None, None, None)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_script_that_calls_cabinetry_gets_the_same_numbers(experiment: str, runs: Runs) -> None:
    results = runs(experiment, "inferno").results
    model, data = cabinetry.model_utils.model_and_data(cabinetry.workspace.load(results.workspace))

    found = cabinetry.fit.fit(model, data, minos="mu")

    assert set(found.labels) == set(results.parameters)
    # Errors are those of the likelihood itself: MINUIT's numerical second derivatives are off by up to a percent.
    covariance = covariance_by_differences(model, data, found.bestfit, 0.02 * found.uncertainty)
    for name, bestfit, error in zip(found.labels, found.bestfit, np.sqrt(np.diag(covariance)), strict=True):
        assert bestfit == pytest.approx(results.parameters[name].bestfit, abs=1e-4)
        assert error == pytest.approx(results.parameters[name].hesse, rel=1e-3)
    assert tuple(found.minos_uncertainty["mu"]) == pytest.approx(results.parameters["mu"].minos, rel=1e-3)


def test_observed_data_are_fitted_and_called_so(runs: Runs, tmp_path: Path) -> None:
    asimov, observed = runs("top11004", "inferno"), runs("top11004", "inferno", "fit=data", "unblind=true")

    assert observed.results.data == "observed"
    assert "INFERNO on top11004, observed data" in observed.out
    assert "Asimov" not in observed.out.partition("fit: observed data")[2]
    assert asimov.results.data == "asimov"
    mu = observed.results.parameters["mu"]
    assert mu.bestfit != pytest.approx(1, abs=1e-3)
    # The stand-in's pseudo-data has mu = 1 up to its own fluctuation.
    assert abs(mu.bestfit - 1) < 4 * mu.hesse
    # Same training, same templates; only what is fitted differs.
    assert observed.results.poi_variance == asimov.results.poi_variance
    spec = json.loads(Path(observed.results.workspace).read_text())
    counts = spec["observations"][0]["data"]
    assert counts == [float(round(count)) for count in counts]
    assert sum(counts) == Templates.load(observed.path.parent / "templates.root").observed.values().sum()
    significance = observed.results["significance"]
    assert significance is not None
    assert significance.observed != pytest.approx(significance.expected, rel=1e-3)

    again = succeed(
        "fit",
        f"workspace={observed.results.workspace}",
        "fit=data",
        "tracking=none",
        "report.plots=false",
        f"output_dir={tmp_path}",
    )
    assert again.results.data == "observed"
    assert again.results.parameters["mu"].bestfit == pytest.approx(mu.bestfit, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_numbers_and_another_seed_others(model: str, runs: Runs, tmp_path: Path) -> None:
    first = runs("synthetic", model, *FIT_ONLY_MU)
    point = ("+experiment=synthetic", f"model={model}", f"output_dir={tmp_path}", *FIT_ONLY_MU)

    second = succeed("train", *point, *QUICK, *FEW_EVENTS)
    other = succeed("train", *point, *QUICK, *FEW_EVENTS, "seed=2")

    assert comparable(second.results) == comparable(first.results)
    assert other.results.seed == 2
    assert other.results.dataset_checksum != first.results.dataset_checksum
    assert other.results.poi_variance != first.results.poi_variance
    assert other.results.parameters["mu"].hesse != first.results.parameters["mu"].hesse


def test_zero_is_a_seed_of_its_own_and_the_files_stay_the_same(tmp_path: Path) -> None:
    config = own_analysis(tmp_path / "analysis")

    def train(*overrides: str) -> Results:
        point = ("--config-dir", str(config), "+experiment=mine", f"output_dir={tmp_path}", *QUICK, *FIT_ONLY_MU)
        return succeed("train", *point, *overrides).results

    first, second, other = train("seed=0"), train("seed=0"), train("seed=1")

    assert comparable(first) == comparable(second)
    assert first.dataset_checksum == other.dataset_checksum
    assert first.poi_variance != other.poi_variance


def test_downsampling_scales_the_luminosity(runs: Runs) -> None:
    """A third of the luminosity: every yield is a third, and the error grows."""
    full = runs("synthetic", "bce", *FIT_ONLY_MU).results
    less = runs("synthetic", "bce", "dataset.downsample_factor=0.33", *FIT_ONLY_MU).results

    def total(results: Results) -> float:
        assert results.bins is not None
        return sum(record.signal + record.background for record in results.bins)

    assert total(full) == pytest.approx(1050, rel=1e-9)
    assert total(less) == pytest.approx(0.33 * 1050, rel=1e-9)
    assert less.parameters["mu"].hesse > full.parameters["mu"].hesse


def test_plots_carry_the_label_and_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure of a run on the stand-in says what it is."""
    from inferno_cli.report.run import figures as plots

    texts: dict[str, str] = {}
    original = plots.save_figures

    def save_figures(figures: Iterable[tuple[str, Any]], *args: Any) -> Any:
        def read() -> Iterator[tuple[str, Any]]:
            for name, figure in figures:
                found = [artist.get_text() for artist in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
                texts[f"{name}.png"] = "\n".join(found)
                yield name, figure

        return original(read(), *args)

    monkeypatch.setattr(plots, "save_figures", save_figures)
    point = ("+experiment=top11004", "model=bce", "fit.significance=false", f"output_dir={tmp_path}")
    outcome = succeed("train", *point, *QUICK, "report.plots=true")

    folder = outcome.path.parent / "plots"
    stems = ("training", "templates", "prefit", "postfit", "correlation", "scan", "pulls", "global_impacts")
    expected = {f"{stem}.png" for stem in stems}
    assert set(texts) == {path.name for path in folder.iterdir()} == expected
    assert {name for name, text in texts.items() if LABEL in text} == expected


def test_bins_that_are_merged_for_noise_are_said(tmp_path: Path) -> None:
    quick = ("train", "+experiment=synthetic", "model=bce", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU)
    free = succeed(*quick, "binning.merge_noise=false", f"output_dir={tmp_path}/free")
    merged = succeed(*quick, "binning.max_noise_information=1e-6", f"output_dir={tmp_path}/merged")

    assert "binning.merge_noise" not in free.out
    (said,) = [line for line in merged.out.splitlines() if "(binning.merge_noise=true)" in line]
    assert said.startswith(
        f"templates: {len(merged.results.bins)} of these {len(free.results.bins)} bins give the smallest"
    )
    assert len(merged.results.bins) < len(free.results.bins)
    honest = [outcome.results.poi_variance.honest for outcome in (free, merged)]
    assert honest[1] < honest[0]
    assert any("is noise of its variations, more than binning.max_noise_inf" in note for note in merged.results.notes)


def test_a_training_that_diverges_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    """An early epoch is kept; the loss of the last ones is no number."""
    steps = ("model.learning_rate=0.1", "model.weight_decay=200", "trainer.max_epochs=15", "report.plots=true")
    quick = [text for text in QUICK if not text.startswith(("trainer.max", "model.learning", "report"))]
    outcome = succeed(
        "train", "+experiment=synthetic", "model=bce", *quick, *steps, *FEW_EVENTS, f"output_dir={tmp_path}"
    )

    assert outcome.results.training is not None
    assert outcome.results.training.loss[-1] is None
    assert (outcome.path.parent / "plots" / "training.png").is_file()
    succeed("compare", f"runs={outcome.path.parent}")
