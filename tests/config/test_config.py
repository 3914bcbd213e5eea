"""The schema and its messages, and every file under conf/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import compose
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from pydantic import ValidationError

from inferno_cli.config import load
from inferno_cli.config.load import careful, config_folder, resolve
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import DataConfig, FitConfig, PredictConfig, TrainConfig, UiConfig
from inferno_cli.errors import ConfigError, closest
from inferno_cli.events.modifiers import Morph
from inferno_cli.runs.search import space
from inferno_cli.steps.prepare import PrepareConfig

TOP = ("dataset=top11004", "nuisance=jes_qcd_norm")


def message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    return str(caught.value)


def names(group: str) -> list[str]:
    found = sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))
    assert found, f"conf/{group} is empty"
    return found


# --------------------------------------------------------------------------------------------- left out
def test_a_dataset_that_says_nothing_of_the_luminosity_takes_its_weights_as_they_are() -> None:
    dataset = compose(*TOP, "~dataset.luminosity_scale", "~dataset.downsample_factor").dataset
    assert (getattr(dataset, "luminosity_scale", None), dataset.downsample_factor) == (1.0, 1.0)


# --------------------------------------------------------------------------------------------- unknown keys
@pytest.mark.parametrize(
    ("overrides", "key", "near"),
    [
        (["+dataset.weigth=1", *TOP], "dataset.weigth", "weight"),
        (["++dataset.weigth=1", *TOP], "dataset.weigth", "weight"),
        (["+model.bin=10"], "model.bin", "bins"),
        (["+modle.bins=10"], "modle", "model"),
        (["+experimnt=top11004"], "experimnt", "experiment"),
        (["+dataset.systematics.jes.sampels=[QCD]", *TOP], "dataset.systematics.jes.sampels", "samples"),
        (["+dataset.systematics.QCD_norm.bound=[0,2]", *TOP], "dataset.systematics.QCD_norm.bound", "bounds"),
        (["+dataset.systematics.r.widht=1"], "dataset.systematics.r.widht", "width"),
        (["+dataset.samples.QCD.wieght=w", *TOP], "dataset.samples.QCD.wieght", "weight"),
        (["+dataset.splits.test=0.1", *TOP], "dataset.splits.test", None),
        (["+fit.mino=[mu]"], "fit.mino", "minos"),
        (["+binning.min_yeild=1"], "binning.min_yeild", "min_yield"),
        (["coverage={experimets: 9}"], "coverage.experimets", "experiments"),
    ],
)
def test_an_unknown_key_is_named_and_the_closest_offered(overrides, key, near):
    text = message(*overrides)
    assert text.startswith(f"unknown key {key};")
    assert near is None or f"closest: '{near}'" in text


def test_a_key_of_a_section_that_may_be_null_is_named():
    assert message("coverage={experiments: 1}").startswith("coverage.experiments is 1; ")
    assert message("fit.bounds={mu: [1, a]}").startswith("fit.bounds.mu.1 is ")


def test_an_unknown_key_with_no_neighbour_lists_those_that_there_are():
    text = message("+model.zzzzz=1")
    assert "unknown key model.zzzzz; known: " in text
    assert "bins" in text
    assert "temperature" in text


def test_an_unknown_split_of_the_synthetic_events_is_named():
    assert "dataset.events.trian" in message("+dataset.events.trian=1000")


def test_several_unknown_keys_are_all_named():
    lines = message("+model.one=1", "+trainer.two=2").splitlines()
    assert [line.split(";")[0] for line in lines] == ["unknown key model.one", "unknown key trainer.two"]


# ------------------------------------------------------------------------------------ types, ranges, missing
@pytest.mark.parametrize(
    ("override", "found", "expected"),
    [
        ("model.bins=ten", 'model.bins is "ten"', "valid integer"),
        ("model.bins=2.5", "model.bins is 2.5", "valid integer"),
        ("model.bins=true", "model.bins is true", "valid integer"),
        ("model.bins='\"10\"'", 'model.bins is "\\"10\\""', "valid integer"),
        ("model.hidden=100", "model.hidden is 100", "a list: 'model.hidden=[...]'"),
        ("model.activation=rleu", 'model.activation is "rleu"', "'relu'"),
        ("model.summary.kind=softmin", "model.summary.kind is 'softmin'", "'softmax'"),
        ("unblind=maybe", 'unblind is "maybe"', "input should be true, false or sidebands"),
        ("likelihood.staterror=1", "likelihood.staterror is 1", "valid boolean"),
        ("seed=null", "seed is null", "valid integer"),
        ("fit.data=observd", 'fit.data is "observd"', "'observed'"),
        ("dataset.systematics.r.width=wide", 'dataset.systematics.r.width is "wide"', "valid number"),
        ("output_dir=null", "output_dir is null", "valid string"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_found_and_expected(override, found, expected):
    text = message(override)
    assert text.startswith(f"{found};")
    assert expected in text


@pytest.mark.parametrize(
    ("override", "limit"),
    [
        ("seed=-1", "greater than or equal to 0"),
        ("seed=4294967296", "less than 4294967296"),
        ("model.bins=1", "greater than or equal to 2"),
        ("model.temperature=0", "greater than 0"),
        ("model.temperature=inf", "finite"),
        ("model.learning_rate=nan", "finite"),
        ("model.hidden=[100,0]", "greater than or equal to 1"),
        ("trainer.devices=2", "less than or equal to 1"),
        ("trainer.early_stopping=0", "greater than or equal to 1"),
        ("dataset.downsample_factor=1.5", "less than or equal to 1"),
        ("dataset.downsample_factor=0", "greater than 0"),
        ("dataset.events.train=10", "greater than or equal to 100"),
        ("dataset.yields.signal=-1", "greater than 0"),
        ("dataset.systematics.b.size=0", "greater than 0"),
        ("fit.scan_points=2", "greater than or equal to 3"),
        ("fit.tolerance=0", "greater than 0"),
        ("binning.min_yield=0", "greater than 0"),
        ("binning.min_effective_events=0.5", "greater than or equal to 1"),
        ("report.formats=[]", "at least 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_limit(override, limit):
    key, value = override.split("=")
    text = message(override)
    assert text.startswith(f"{key}")
    assert limit in text
    assert value.strip("[]").split(",")[-1].replace("inf", "Infinity").replace("nan", "NaN") in text


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_smallest_and_the_largest_seed_are_allowed(seed):
    assert compose(f"seed={seed}").seed == seed


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("dataset.nominal.r=nan", "dataset.nominal.r"),
        ("dataset.signal_mean=[nan,0.0]", "dataset.signal_mean"),
        ("likelihood.poi_bounds=[-inf,inf]", "likelihood.poi_bounds"),
    ],
)
def test_numbers_must_be_finite(override, key):
    assert key in message(override)


def test_a_rate_must_be_positive_without_systematics_too():
    assert "dataset.nominal" in message("~dataset.systematics.lambda", "dataset.nominal.lambda=-3", "nuisance=none")


@pytest.mark.parametrize(("override", "key"), [("~model.name", "model.name"), ("model.bins=???", "model.bins")])
def test_a_missing_value_is_named(override, key):
    text = message(override)
    assert key in text
    assert "missing" in text


def test_a_missing_split_of_the_synthetic_events_is_named():
    text = message("~dataset.events.train")
    assert "events" in text
    assert "train" in text


def test_an_interpolation_to_nowhere_names_the_key_that_holds_it():
    text = message("model.bins=${nowhere}")
    assert text.startswith("model.bins: ")
    assert text.endswith("A ${...} names the value of another key; \\${ is the sign itself")


def test_what_is_no_mapping_is_answered_with_the_keys_of_one():
    text = message("dataset=top11004", "dataset.samples.QCD=null", "nuisance=none")
    assert "dataset.samples.QCD is null; expected `key: value` below it, with the keys role, weight" in text


def test_what_has_files_of_its_own_is_answered_with_its_group():
    group = "or a file of its group: model/summary=NAME"
    assert f'model.summary is "softmax"; expected `key: value` below it, {group}' in message("model.summary=softmax")
    assert message("fit.bounds=3") == "fit.bounds is 3; expected `key: value` below it"


def test_a_missing_kind_is_answered_with_the_kinds():
    kinds = "'blobs', 'exponential', 'firework', 'means', 'ntuples'"
    assert f"dataset.kind is missing; set it in the YAML file to one of {kinds}" in message("~dataset.kind")


def test_a_number_that_was_a_name_is_not_written_for_it():
    assert message("dataset=top11004", "dataset.features=[1e3]").startswith(
        "dataset.features.0 is 1000.0, which is no text; quote a name that looks like it as you write it, such as '1e3'"
    )


@pytest.mark.parametrize(
    ("overrides", "key"),
    [(["dataset.kind=synthtic"], "dataset.kind"), (["dataset.systematics.r.kind=shap"], "dataset.systematics.r.kind")],
)
def test_an_unknown_kind_is_named_briefly(overrides, key):
    text = message(*overrides)
    assert key in text
    assert len(text) < 300


def test_a_size_may_differ_between_up_and_down():
    assert compose("dataset.systematics.b.size=[0.1,-0.2]").dataset.systematics["b"].factors == (1.1, 0.8)
    assert compose("dataset.systematics.b.size=0.1").dataset.systematics["b"].factors == (1.1, 0.9)


@pytest.mark.parametrize("size", ["[0.1,-0.2,0.3]", "[0.1]", "[1.5,-0.1]", "[0.1,-1.0]"])
def test_a_size_is_one_or_two_numbers_below_one(size):
    assert "dataset.systematics.b.size" in message(f"dataset.systematics.b.size={size}")


# -------------------------------------------------------------------------------------------- contradictions
@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["nuisance=jes"], ["nuisance.fit", "'synthetic'", "'jes'", "known: b, lambda, r"]),
        (["nuisance.fit=[r,lamda]"], ["nuisance.fit", "'lamda'", "closest: 'lambda'"]),
        (["nuisance.fit=[r]", "nuisance.train=[r,lambda]"], ["nuisance", "train has lambda, which fit lacks"]),
        (["nuisance.unconstrained=[b]"], ["nuisance", "unconstrained has b, which fit lacks"]),
        (["nuisance=r_lambda_b", "nuisance.unconstrained=[b]"], ["nuisance.unconstrained", "'b'", "normalisation"]),
        ([*TOP, "nuisance.unconstrained=[QCD_norm]"], ["nuisance.unconstrained", "'QCD_norm'", "kind 'free'"]),
        (["nuisance.fit=[r,r]"], ["nuisance", "twice", "r"]),
        ([*TOP, "dataset.splits={train:0.5,validation:0.2,template:0.45}"], ["dataset.splits", "1.15", "expected 1"]),
        (["fit.minos=[mu,jes]"], ["fit.minos", "'jes'", "known: lambda, mu, r"]),
        (["fit.minos=[lamda]"], ["fit.minos", "'lamda'", "closest: 'lambda'"]),
        ([*TOP, "likelihood.samples=[TTJets_signal,QDC]"], ["likelihood.samples", "'QDC'", "closest: 'QCD'"]),
        ([*TOP, "likelihood.samples=[TTJets_signal,QCD,Data]"], ["likelihood.samples", "'Data'"]),
        ([*TOP, "likelihood.samples=[TTJets_bkg,QCD]"], ["likelihood.samples", "no signal"]),
        (
            ["dataset=top11004", "nuisance=none", "likelihood.samples=[TTJets_signal]"],
            ["likelihood.samples", "no background"],
        ),
        ([*TOP, "likelihood.samples=[TTJets_signal,STJets]"], ["nuisance.fit", "'QCD_norm'", "likelihood.samples"]),
        (["likelihood.poi_bounds=[2.0,10.0]"], ["likelihood.poi_bounds", "nominal value 1"]),
        (["likelihood.poi_bounds=[10.0,-5.0]"], ["likelihood.poi_bounds", "nominal value 1"]),
        ([*TOP, "dataset.systematics.QCD_norm.bounds=[2.0,3.0]"], ["dataset.systematics.QCD_norm", "bounds"]),
        ([*TOP, "dataset.systematics.jes.samples=[STJet]"], ["dataset.systematics.jes.samples", "closest: 'STJets'"]),
        ([*TOP, "dataset.samples.QCD.role=data"], ["dataset", "more than one", "'data'"]),
        ([*TOP, "dataset.samples.TTJets_signal.role=background"], ["dataset", "none has the role 'signal'"]),
        ([*TOP, "~dataset.samples.Data", "fit.data=observed"], ["fit.data", "'observed'", "'data'"]),
        ([*TOP, "dataset.event_id=[]"], ["dataset", "systematics.jes", "dataset.event_id"]),
        (
            [*TOP, "+dataset.systematics.mu={kind:free,samples:[QCD]}"],
            ["dataset.systematics.mu", "parameter of interest"],
        ),
        (
            [*TOP, "+dataset.systematics.r={kind:transform,samples:[QCD],parameter:r,width:1.0}"],
            ["systematics.r", "transform", "synthetic"],
        ),
        (["+dataset.systematics.s={kind:shape,samples:[background]}"], ["systematics.s", "no trees"]),
        (["dataset.systematics.lambda.width=3.0"], ["systematics.lambda.width", "nominal 3"]),
        (["dataset.systematics.r.samples=[signal]"], ["systematics.r", "background alone"]),
        (["tracking=mlflow", "tracking.uri=null"], ["tracking", "uri"]),
    ],
)
def test_a_contradiction_is_an_error_that_names_the_keys(overrides, parts):
    text = message(*overrides)
    assert [part for part in parts if part not in text] == []


def test_the_trained_nuisance_parameters_may_be_fewer_than_the_fitted_ones():
    config = compose("nuisance.fit=[r,lambda]", "nuisance.train=[r]")
    assert (config.nuisance.train, config.nuisance.fit) == (("r",), ("r", "lambda"))


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    config = compose()
    with pytest.raises(ValidationError, match="frozen"):
        config.model.bins = 5
    assert config.model.bins == 10


# ----------------------------------------------------------------------------------- names and measurement
def test_samples_have_the_signal_first_and_no_data():
    config = compose(*TOP)
    assert config.sample_names == ("TTJets_signal", "TTJets_bkg", "WZJets", "STJets", "QCD")
    assert config.signal_names == ("TTJets_signal",)
    assert compose().sample_names == ("signal", "background")


def test_samples_of_the_likelihood_keep_the_order_of_the_dataset():
    config = compose(*TOP, "likelihood.samples=[QCD,STJets,TTJets_signal]")
    assert config.sample_names == ("TTJets_signal", "STJets", "QCD")


def test_the_measurement_says_what_each_nuisance_parameter_does():
    config = compose(
        *TOP,
        "dataset.systematics.lumi={kind:normalisation,size:0.02,samples:[TTJets_signal,STJets,WZJets]}",
        "dataset.systematics.jes.kind=shape",
        "+dataset.systematics.jes.part=shape",
        "nuisance.fit=[jes,QCD_norm,lumi]",
        "likelihood.samples=[TTJets_signal,STJets,QCD]",
    )
    measurement = Measurement.from_config(config, config.nuisance.fit)
    assert measurement.samples == ("TTJets_signal", "STJets", "QCD")
    assert measurement.signal == ("TTJets_signal",)
    assert measurement.free == {"QCD_norm": ("QCD",)}
    assert measurement.normalisation == {"lumi": {"TTJets_signal": (1.02, 0.98), "STJets": (1.02, 0.98)}}
    jes = Morph(("jes",), part="shape")
    assert measurement.shapes == {"jes": {"TTJets_signal": jes, "STJets": jes}}
    assert measurement.unconstrained == ()
    assert measurement.parameters == ("mu", "QCD_norm", "lumi", "jes")
    assert measurement.staterror


def test_the_measurement_of_fewer_parameters_leaves_the_others_out():
    config = compose("nuisance=r_lambda_free", "likelihood.staterror=false")
    measurement = Measurement.from_config(config, ["lambda"])
    assert measurement.parameters == ("mu", "lambda")
    assert measurement.unconstrained == ("lambda",)
    assert not measurement.staterror


def test_closest_offers_a_neighbour_or_the_list():
    assert closest("weigth", ["weight", "width", "bins"]) == "; closest: 'weight'"
    assert closest("BINS", ["weight", "bins"]) == "; closest: 'bins'"
    assert closest("zzz", ["b", "a"]) == "; known: a, b"
    assert closest("zzz", []) == ""


# ------------------------------------------------------------------------------------------ files under conf
OF_TOP = ("jes", "qcd_norm", "jes_qcd_norm", "shape", "weights", "shift", "all")
OF_OTHERS = {"norm": "exponential"}


def test_the_config_folder_is_that_of_the_checkout():
    assert config_folder() == Path(__file__).parents[2] / "conf"


OF_INTERPOLATION = ("firework", "means", "resonance")
"""Experiments of ``inferno interpolate``."""


@pytest.mark.parametrize("name", sorted(set(names("experiment")) - set(OF_INTERPOLATION)))
def test_every_experiment_composes(name):
    config = compose(f"+experiment={name}")
    assert config.dataset.has_files == (name in ("top11004", "shift"))


@pytest.mark.parametrize("name", names("nuisance"))
def test_every_choice_of_nuisance_parameters_composes_with_its_dataset(name):
    dataset = "top11004" if name in OF_TOP else OF_OTHERS.get(name, "synthetic")
    config = compose(f"dataset={dataset}", f"nuisance={name}")
    assert set(config.nuisance.fit) <= set(config.dataset.systematics)
    assert config.nuisance.train == config.nuisance.fit
    assert (config.nuisance.fit == ()) == (name == "none")
    assert bool(config.nuisance.unconstrained) == name.endswith("_free")


@pytest.mark.parametrize("name", names("model"))
def test_every_model_composes(name):
    assert compose(f"model={name}").model.name == name


@pytest.mark.parametrize("name", names("trainer"))
def test_every_trainer_composes(name):
    assert compose(f"trainer={name}").trainer.accelerator == name


@pytest.mark.parametrize(
    ("name", "data"),
    [(name, {"data": "observed", "observed": "observed"}.get(name, "asimov")) for name in names("fit")],
)
def test_every_fit_composes(name, data):
    assert compose(*TOP, f"fit={name}").fit.data == data


@pytest.mark.parametrize("name", names("tracking"))
def test_every_tracking_composes(name):
    assert compose(f"tracking={name}").tracking.backend == name


@pytest.mark.parametrize("name", names("dataset"))
def test_every_dataset_composes(name):
    assert compose(f"dataset={name}", "nuisance=none").dataset.name == name


@pytest.mark.parametrize("name", sorted({*names("sweep")} - {"optuna", "anomaly"}))
def test_every_sweep_composes_and_all_of_its_points_are_valid(name):
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = hydra_compose("train", overrides=[f"+sweep={name}"], return_hydra_config=True)
    ((key, values),) = composed.hydra.sweeper.params.items()
    experiment = ["+experiment=shift"] if name == "shift" else []
    points = [compose(*experiment, f"{key}={value}") for value in values.split(",")]
    assert len({point.model_dump_json() for point in points}) == len(points) > 1


def test_the_ends_of_what_a_search_looks_at_are_valid():
    pytest.importorskip("optuna")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = hydra_compose("train", overrides=["+sweep=optuna"], return_hydra_config=True)
    searched, fixed = space([f"{key}={text}" for key, text in composed.hydra.sweeper.params.items()])

    assert fixed == []
    for key, values in searched.items():
        ends = getattr(values, "choices", None) or (values.low, values.high)
        assert len({compose(f"{key}={end}").model_dump_json() for end in ends}) == len(ends) > 1
    assert (searched["model.bins"].low, searched["model.bins"].high) == (5, 20)
    assert searched["model.learning_rate"].log


def test_the_benchmarks_have_the_published_constraints():
    """arXiv:1806.04743, section 4.1."""
    found = {}
    for number in range(5):
        config = compose(f"+experiment=benchmark{number}")
        found[number] = {
            name: "free"
            if name in config.nuisance.unconstrained
            else getattr(config.dataset.systematics[name], "width", None) or config.dataset.systematics[name].size
            for name in config.nuisance.fit
        }
    assert found == {
        0: {},
        1: {"r": "free"},
        2: {"r": "free", "lambda": "free"},
        3: {"r": 0.4, "lambda": 1.0},
        4: {"r": 0.4, "lambda": 1.0, "b": 0.1},
    }


@pytest.mark.parametrize(
    ("step", "schema", "overrides"),
    [
        ("fit", FitConfig, ["workspace=w.json"]),
        ("predict", PredictConfig, ["run=r"]),
        ("ui", UiConfig, []),
        ("data", DataConfig, []),
        ("data", DataConfig, ["+experiment=top11004", "systematics=[jes]"]),
        ("prepare", PrepareConfig, ["files=[a.root]", "sample=top"]),
        ("prepare", PrepareConfig, ["files=[a.root]", "sample=top", "prepare=open_data_2015"]),
    ],
)
def test_the_other_steps_compose(step, schema, overrides):
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = resolve(schema, hydra_compose(step, overrides=["~job", *overrides]))
    assert isinstance(config, schema)


def test_a_fit_without_a_workspace_says_which_key_is_missing():
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = hydra_compose("fit", overrides=["~job"])
    with pytest.raises(ConfigError, match="workspace"):
        resolve(FitConfig, composed)


def test_the_defaults_are_a_valid_configuration():
    assert isinstance(compose(), TrainConfig)


# ------------------------------------------------------------------------------------------- results of the fit
@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["fit.scan=[mu,r,lamda]"], "fit.scan: 'lamda' is not a parameter; closest: 'lambda'"),
        (["fit.scan_2d=[[mu,q]]"], "fit.scan_2d: 'q' is not a parameter"),
        (["fit.scan_2d=[[r,r]]"], "scan_2d has a pair of 'r' with itself"),
        (["fit.ranking=[q]"], "fit.ranking: 'q' is not a parameter"),
        (["fit.groups={shape: [q]}"], "fit.groups.shape: 'q' is not a parameter"),
        (["fit.limit_bracket=[2.0,1.0]"], "limit_bracket must rise"),
        (["likelihood.staterror=false", "fit.minos=['staterror_SR[0]']"], "fit.minos: 'staterror_SR[0]' is not"),
        (["fit.limit=true", "fit.significance=false", "likelihood.poi_bounds=[0.5,3.0]"], "set fit.limit=false"),
        (["fit.confidence_level=1.0"], "less than 1"),
    ],
)
def test_what_the_fit_is_asked_for_is_checked_before_training(overrides, text):
    assert text in message(*overrides)


def test_parameters_of_the_fit_can_be_named_in_every_way():
    names = ["mu", "all", "lam*", "staterror_SR[0]", "staterror_SR"]
    assert compose("fit.minos=[mu,all,'lam*','staterror_SR[0]',staterror_SR]").fit.minos == tuple(names)
    assert compose("fit=full").fit.limit


def test_hydra_is_as_before():
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()
    sources = [SourcesRegistry.instance().resolve(scheme) for scheme in ("file", "pkg")]
    before = [source.load_config for source in sources]
    with careful():
        assert all(source.load_config is not load for source, load in zip(sources, before, strict=True))
    assert [source.load_config for source in sources] == before


def test_a_file_that_has_changed_is_read_again_and_what_is_written_into_a_configuration_stays_there(tmp_path):
    file = tmp_path / "dataset" / "mine.yaml"
    file.parent.mkdir()
    found = []
    for text in ("kind: a\nmore: {b: 1}", "kind: a\nmore: {b: 1}", "kind: a\nmore: {b: 2}"):
        file.write_text(text)
        os.utime(file, ns=(0, len(found) // 2))  # the first two are one state of it
        with careful():
            composed = load.compose("train", ["~job", "dataset=mine", "nuisance=none"], tmp_path)
        found.append(composed.dataset.more.b)
        composed.dataset.more.b = 3
    assert found == [1, 1, 2]
