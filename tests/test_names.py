"""Names of samples, systematics, features and channels: whatever they are called, nothing is mixed or lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cabinetry
import numpy as np
import pytest
import uproot
import yaml
from conftest import (
    build,
    changed,
    export,
    load,
    make_measurement,
    make_templates,
    ntuples,
    prepared,
    rows,
    small_trees,
    synthetic,
    write,
)
from handmade import record
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name
from omegaconf import OmegaConf

from inferno_cli.config.load import resolve
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.drawing.stack import BACKGROUND_COLOURS, Layers
from inferno_cli.drawing.style import Canvas, plain, save_figures
from inferno_cli.errors import ConfigError, DatasetError, WorkspaceError
from inferno_cli.events.effects import effects, require_consistent
from inferno_cli.events.root.trees import tree_names
from inferno_cli.events.sample import NOMINAL
from inferno_cli.events.systematics.weight import WeightSystematic
from inferno_cli.fit.quantities.yields import free_shapes, signal_of
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.readers.pyhf import require_valid
from inferno_cli.names import another, distinct, distinct_with_parts, folded, markdown, printable
from inferno_cli.runs.mlflow.run import _key
from inferno_cli.runs.record import Results

ODD = (
    *("W jets", "W-jets", "W_jets", "DY_M10.5", "DY_M10.9", "a:b", "a;1", "a/b", "b/c", "..", "../../x", "."),
    *("a*", "a?", "a[0]", "{x}", "$x$", "%s", "a,b", "a=b", "'", '"', "\\", "#", "<a>", "a&b", "a|b"),
    *("é", "e\u0301", "E", "e", "ß", "ss", "日本", "x" * 99 + "a", "x" * 99 + "b", "1", "yes", "null", "~", "-"),
    *("TT", "TT_had", "TT_had_jes", "TT_jesUp", "TT_jes_Up", "TT_modified", "TT_jes_Up_modified", "jes", "had_jes"),
    *("Data", "data", "Data_modified", "data_obs", "SR", "nominal", "observation", "_observed", "_groups", "_signal"),
    *("_names", "x_up", "x_down", "x_noise", "pi+", "pi-", "pi*", "pi_", "tau/", "x//y", "r", "w", "MH", "CON"),
    *("a_plus", "a_minus", "jes_plus", "prop_binSR_bin0", "jes_In", "jes_Pdf", "staterror", "mu2", "@", "a@x"),
)


def only_letters(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


# ------------------------------------------------------------------------------------------------ the names
def test_a_name_that_is_fine_stays():
    assert distinct(["jes", "W_jets"], only_letters) == {"jes": "jes", "W_jets": "W_jets"}
    assert distinct(["W jets"], only_letters) == {"W jets": "W_jets"}


def test_names_that_meet_are_told_apart_and_the_one_that_is_fine_stays():
    found = distinct(["pi+", "pi_", "pi-"], only_letters)
    assert found["pi_"] == "pi_"
    assert re.fullmatch(r"pi__[0-9a-f]{6}", found["pi+"])
    assert len(set(found.values())) == 3
    # What a name becomes depends on no other name, and on no order.
    assert distinct(["pi-", "pi+", "K"], only_letters)["pi+"] == found["pi+"]


@pytest.mark.parametrize("pair", [("Top", "top"), ("é", "e\u0301"), ("ß", "ss")])
def test_names_are_different_for_file_systems_that_keep_one_file_of_both(pair):
    found = distinct(pair, str)
    assert len({folded(text) for text in found.values()}) == 2


def test_a_name_that_is_taken_or_too_long_gets_a_digest():
    assert distinct(["Data"], str, taken=["data"])["Data"].startswith("Data_")
    long = distinct(["x" * 400, "é" * 60], str, longest=80)
    assert all(len(text.encode()) <= 80 for text in long.values())
    assert another("a", "a", ["a"]) != another("b", "a", ["a"])
    first = another("a", "a", ["a"])
    assert another("a", "a", ["a", first]) not in ("a", first)


def test_what_is_made_of_two_names_is_different_too():
    parts = {"TT": ["had_jes"], "TT_had": ["jes"]}
    found = distinct_with_parts(parts, str, lambda name, text: [text, *(f"{text}_{end}" for end in parts[name])])
    assert found["TT"] == "TT"
    assert re.fullmatch("TT_had_[0-9a-f]{6}", found["TT_had"])


@given(st.lists(st.text(max_size=12), max_size=8), st.integers(min_value=10, max_value=30))
def test_distinct_names_are_distinct_fit_and_come_again(names, longest):
    found = distinct(names, only_letters, longest=longest, taken=["r"])
    assert list(found) == list(dict.fromkeys(names))
    texts = list(found.values())
    assert len({folded(text) for text in texts} | {"r"}) == len(texts) + 1
    assert all(re.fullmatch(r"\w*", text, re.ASCII) and len(text) <= longest for text in texts)
    assert distinct(reversed(names), only_letters, longest=longest, taken=["r"]) == found


def test_a_text_on_one_line():
    assert printable("a\nb\x1b[31m é") == "a\\nb\\x1b[31m é"
    assert printable("\ud800") == "\\ud800"


# ------------------------------------------------------------------------------- templates where they belong
TOGETHER = (
    (("TT", "TT_had", "TT_had_jes", "TT_jes_Up"), ("jes", "had_jes", "jes_Up", "modified", "x")),
    (("TT", "TT_modified", "TT_jes_Up_modified", "Data"), ("jes", "jes_Up_modified", "Data", "SR", "TT")),
    (("W jets", "W-jets", "W_jets", "w jets"), ("a b", "a-b", "a_b", "A b", "a.b")),
    (("DY_M10.5", "DY_M10.9", "DY_M10", "DY_M10.5.1"), ("muR_0.5", "muR_0.9", "muR_0", "..", ".")),
    (("QCD", "QCD_jesUp", "QCD_jes_plus", "QCD_plus"), ("jes", "jes_plus", "jes_minus", "r", "theta_r")),
    (("é", "e\u0301", "E", "e"), ("ß", "ss", "é", "e\u0301", "SS")),
)
"""Samples and shapes that would be one file, key or process of the datacard."""


def case(number: int) -> tuple[Measurement, Templates]:
    """Four samples and seven systematics, every template with numbers of its own."""
    if number < len(TOGETHER):
        samples, shapes = TOGETHER[number]
        rates = [f"{shapes[0]}_{samples[1]}", "lumi"]
    else:
        names = list(dict.fromkeys(ODD[(11 * number + i * number) % len(ODD)] for i in range(len(ODD))))
        names = list(dict.fromkeys((*names, *ODD)))
        samples, shapes, rates = tuple(names[:4]), tuple(names[4:9]), names[9:11]
    random = np.random.default_rng(number)
    nominal = {sample: random.uniform(5, 100, 4) for sample in samples}
    varied = {
        (name, sample): (nominal[sample] * random.uniform(1, 1.3, 4), nominal[sample] * random.uniform(0.7, 1, 4))
        for name in shapes
        for sample in samples[:3]
    }
    templates = make_templates(
        nominal,
        signal=samples[:1],
        varied=varied,
        noise={key: random.uniform(0, 1, 4) for key in varied},
        observed=np.full(4, 500.0),
    )
    measurement = make_measurement(
        samples,
        signal=samples[:1],
        normalisation=dict.fromkeys(rates, (samples[1:3], 1.2, 0.9)),
        shapes=dict.fromkeys(shapes, True),
        unconstrained=shapes[:1],
    )
    return prepared(measurement, templates)


CASES = range(len(TOGETHER) + 10)


def require_right(spec: dict[str, Any], names: dict[str, str], measurement: Measurement, templates: Templates) -> None:
    """Compare every number of a workspace with the template that it must be."""
    (channel,) = spec["channels"]
    there = {names[sample["name"]]: sample for sample in channel["samples"]}
    free = {f"{sample}@{name}" for name, sample in templates.varied if name in measurement.unconstrained}
    assert set(there) == {*templates.samples, *free}
    assert spec["observations"][0]["data"] == pytest.approx([500.0] * 4, rel=1e-12)
    for sample in templates.samples:
        np.testing.assert_allclose(there[sample]["data"], templates.values(sample), rtol=1e-12)
        data: dict[tuple[str, str], Any] = {(m["name"], m["type"]): m["data"] for m in there[sample]["modifiers"]}
        for name, by_sample in measurement.normalisation.items():
            if sample in by_sample:
                assert data.pop((name, "normsys")) == {"hi": pytest.approx(1.2), "lo": pytest.approx(0.9)}
        for (name, touched), (up, down) in templates.varied.items():
            if touched == sample and name in measurement.unconstrained:
                np.testing.assert_allclose(there[f"{sample}@{name}"]["data"], (up - down) / 2, atol=1e-9)
            elif touched == sample:
                shape, rate = data.pop((name, "histosys")), data.pop((name, "normsys"))
                np.testing.assert_allclose(np.array(shape["hi_data"]) * rate["hi"], up, rtol=1e-9)
                np.testing.assert_allclose(np.array(shape["lo_data"]) * rate["lo"], down, rtol=1e-9)
        left = {("staterror_SR", "staterror")} | ({("mu", "normfactor")} if sample in measurement.signal else set())
        assert set(data) == left


@pytest.mark.parametrize("number", CASES)
def test_every_template_is_where_it_belongs(number, tmp_path, monkeypatch):
    """In workspace.json, in what cabinetry makes of the run's files, and in what it makes of the export."""
    measurement, templates = case(number)
    run = tmp_path / "run"
    run.mkdir()
    made = build(templates, measurement, poi_bounds=(-5.0, 10.0), observed=True, folder=run)
    require_right(json.loads(made.path.read_text()), {x: x for x in made.samples.values()}, measurement, templates)
    again = cabinetry.workspace.build(cabinetry.configuration.load(made.config))
    require_right(again, dict(made.samples), measurement, templates)
    for sample in again["channels"][0]["samples"]:
        sample["name"] = made.samples[sample["name"]]
    for key in ("channels", "observations"):  # what cabinetry calculates is what was written, to the last digit
        assert json.loads(json.dumps(again[key])) == made.spec[key]

    export(made, run / "export")
    monkeypatch.chdir(run / "export")
    config = cabinetry.configuration.load("cabinetry.yaml")
    cabinetry.templates.collect(config)
    cabinetry.templates.postprocess(config)
    require_right(cabinetry.workspace.build(config), dict(made.samples), measurement, templates)

    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in run.iterdir()} == {"cabinetry.yaml", "export", "histograms", "workspace.json"}
    files = [path.name for path in (run / "histograms").rglob("*")]
    assert len({folded(name) for name in files}) == len(files) == 1 + 4 + 3 + 2 * 3 * 4


@pytest.mark.parametrize("number", CASES)
def test_templates_survive_a_file(number, tmp_path):
    _, templates = case(number)
    templates.save(tmp_path / "templates.root")
    loaded = Templates.load(tmp_path / "templates.root")
    assert (loaded.samples, loaded.signal, loaded.groups) == (templates.samples, templates.signal, templates.groups)
    assert dict(loaded.histograms) == dict(templates.histograms)
    assert loaded.noise.keys() == templates.noise.keys()
    for key, noise in templates.noise.items():
        np.testing.assert_array_equal(loaded.noise[key], noise)
    assert loaded.observed is not None


def test_keys_of_templates_are_the_names_that_root_can_hold(tmp_path):
    names = ("DY_M10.5", "W jets", "Top", "top", "W:jets")
    varied = {("muR_0.5", "W jets"): ([1.1, 2], [0.9, 2]), ("a/b", "Top"): ([1.1, 2], [0.9, 2])}
    make_templates(dict.fromkeys(names, (1.0, 2.0)), varied=varied).save(tmp_path / "t.root")
    with uproot.open(tmp_path / "t.root") as file:
        assert file["W jets/muR_0.5_up"].values().tolist() == [1.1, 2]
        keys = file.keys(cycle=False, filter_classname="TH1*")
    assert {"DY_M10.5/nominal", "Top/nominal", "top/nominal", "W_jets/nominal", "Top/a_b_up"} <= set(keys)


def test_a_file_of_templates_from_before_can_be_read(tmp_path):
    templates = make_templates(
        {"signal": [1.0, 2], "other_x": [3.0, 4]},
        varied={("jes_b", "other_x"): ([3.0, 5], [3.0, 3])},
        observed=[4.0, 6],
    )
    with uproot.recreate(tmp_path / "old.root") as file:
        for (sample, variation), histogram in templates.histograms.items():
            file[f"{sample}/{variation}"] = histogram
        file["other_x/jes_b_noise"] = templates.histograms["signal", NOMINAL]
        file["_observed/nominal"] = templates.observed
        file["_groups"], file["_signal"] = "0;1", "signal"
    loaded = Templates.load(tmp_path / "old.root")
    assert dict(loaded.histograms) == dict(templates.histograms)
    np.testing.assert_array_equal(loaded.noise["jes_b", "other_x"], [[1.0, 2.0], [np.nan, np.nan]])
    assert (loaded.samples, loaded.signal, loaded.groups) == (("signal", "other_x"), ("signal",), ((0,), (1,)))
    assert loaded.observed is not None
    assert loaded.observed.values().tolist() == [4.0, 6.0]


def test_the_configuration_of_cabinetry_says_which_sample_is_which(tmp_path):
    names = ("signal", "Data", "bkg_v1.2")
    templates = make_templates({name: [5.0, 7.0] for name in names})
    made = build(templates, make_measurement(names), poi_bounds=(0.0, 5.0), observed=False, folder=tmp_path)
    text = made.config.read_text()
    renamed = next(text for text, name in made.samples.items() if name == "Data")
    assert f"# sample {renamed} is 'Data' in workspace.json" in text
    assert "# sample bkg_v1_2 is 'bkg_v1.2' in workspace.json" in text
    assert yaml.safe_load(text)["Samples"][0] == {"Name": "Data", "Data": True}


# ------------------------------------------------------------------------------------------------- refusals
REFUSED = {
    "": "'' is no name",
    " ": "' ' is no name",
    " a": "' a' begins or ends with a blank",
    "a\u2003": "begins or ends with a blank",
    "a\nb": r"'a\nb' has signs that cannot be shown ('\n')",
    "a\x07": r"('\x07')",
    "a\u200bb": r"('\u200b')",
    "\u202eab": r"('\u202e')",
    "x" * 400: "has 400 letters, at most 100",
}


def configured(
    sample: str = "QCD", systematic: str = "rate", features: tuple[str, ...] = ("x",), **effect: Any
) -> TrainConfig:
    """Configure a dataset with these names."""
    return ntuples(
        Path("x"),
        fit=[systematic],
        features=list(features),
        samples={"ttbar": {"role": "signal"}, sample: {"role": "background"}},
        systematics={systematic: {"kind": "normalisation", "samples": [sample], "size": 0.1} | effect},
    )


@pytest.mark.parametrize(
    ("place", "key"),
    [
        (lambda name: {"sample": name}, "samples"),
        (lambda name: {"systematic": name}, "systematics"),
        (lambda name: {"modifier_name": name}, "systematics.rate.modifier_name"),
        (lambda name: {"group": name}, "systematics.rate.group"),
        (lambda name: {"features": ("x", name)}, "features"),
    ],
    ids=["sample", "systematic", "modifier", "group", "feature"],
)
def test_a_name_that_nothing_can_hold_is_refused_with_the_configuration(place, key):
    for name, message in REFUSED.items():
        with pytest.raises(ValueError, match=re.escape(f"{key}: ")) as caught:
            configured(**place(name))
        assert message in str(caught.value)


@pytest.mark.parametrize("name", ODD)
def test_any_other_name_is_taken(name):
    config = configured(sample=name, systematic=name, features=(name,), group=name)
    assert config.sample_names == ("ttbar", name)
    assert config.parameters((name,)) == (name,)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"systematic": "mu"}, "'mu' is the parameter of interest"),
        ({"modifier_name": "all"}, "'all' stands for every parameter"),
        ({"systematic": "staterror_SR"}, "is the statistical error of the templates"),
        ({"systematic": "staterror_SR[0]"}, "is the statistical error of the templates"),
        ({"systematic": "staterror", "sample": "SR", "correlated": False}, "'staterror_SR' is the statistical error"),
        ({"group": "statistical"}, "is what is left of the error"),
        ({"sample": "total"}, "'total' means something else"),
        ({"sample": "all backgrounds"}, "'all backgrounds' means something else"),
    ],
)
def test_a_name_that_means_something_else_is_refused(names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configured(**names)


def test_a_sample_with_the_name_of_a_free_shape_is_refused():
    systematics = {"jes": {"kind": "weight", "samples": ["QCD"], "up": "weight", "down": "weight"}}
    samples = {name: {"role": "background"} for name in ("QCD", "QCD@jes")}
    with pytest.raises(ValueError, match="samples: 'QCD@jes' is what the effect of 'jes' on 'QCD' is called"):
        ntuples(Path("x"), samples={"ttbar": {"role": "signal"}} | samples, systematics=systematics)


def test_an_envelope_and_another_systematic_of_its_parameter_do_not_share_a_sample():
    """The later of the two would replace the templates of the first."""
    values = {"kind": "weight", "samples": ("QCD",), "down": "weight"}
    pdf = WeightSystematic(**values | {"up": "w{member}", "down": "w{member}"}, members=2)
    other = WeightSystematic(**values, up="weight", modifier_name="pdf")
    with pytest.raises(ValueError, match="vary sample 'QCD' with the same parameter 'pdf'"):
        require_consistent(effects({"pdf": pdf, "other": other}, ("pdf", "other"), ("QCD",), lambda sample: ()))


@pytest.mark.parametrize(("name", "message"), [(" a", "begins or ends with a blank"), ("statistical", "rename the")])
def test_a_group_of_the_fit_has_a_name(name, message):
    fit = synthetic().fit.model_dump(mode="json") | {"groups": {name: ["b"]}}
    with pytest.raises(ValueError, match=f"groups: .*{message}"):
        changed(synthetic(), fit=fit)


def test_a_number_and_its_text_are_one_name():
    composed = OmegaConf.create({"dataset": {"samples": {1: {}, "1": {}}}})
    with pytest.raises(ConfigError, match=r"dataset\.samples has the keys 1 and '1', which are one name"):
        resolve(TrainConfig, composed)


def test_half_a_sign_is_refused():
    with pytest.raises(ConfigError, match=r"no Unicode: .*ud800"):
        resolve(TrainConfig, OmegaConf.create({"dataset": {"samples": {"a\ud800": {}}}}))
    with pytest.raises(WorkspaceError, match=r"workspace w\.json has a text that is no Unicode.*ud800"):
        require_valid({"channels": [{"name": "a\ud800"}]}, "w.json")
    with pytest.raises(WorkspaceError, match="is not valid"):  # of another fault
        require_valid({"channels": [{"name": "é 😀"}]}, "w.json")


# ---------------------------------------------------------------------------------------------------- events
def test_a_sign_of_patterns_in_a_sample_names_its_file_alone(tmp_path):
    n = np.arange(1, 241)
    for name, first in (("W*", 1000), ("W+jets", 2000), ("W[1]", 3000), ("W1", 4000), ("ttbar", 0)):
        write(tmp_path / f"{name}.root", {"events": rows(n + first)})
    samples = {"ttbar": {"role": "signal"}, "W*": {"role": "background"}, "W[1]": {"role": "background"}}
    config = ntuples(tmp_path, file="{sample}.root", tree="events", samples=samples, systematics={})
    for sample, first in zip(load(config).train, (0, 1000, 3000), strict=True):
        assert ((sample.features[0, :, 0] > first) & (sample.features[0, :, 0] <= first + 240)).all()


def test_a_tree_of_two_samples_is_refused(tmp_path):
    """ "ttbar" with "had_jes" asks for the tree of "ttbar_had" with "jes"; ids that repeat would hide it."""
    n = np.arange(1, 241)
    trees = small_trees(ttbar_had=rows(n), ttbar_had_jes_up=rows(n, 0.5), ttbar_had_jes_down=rows(n, -0.5))
    samples = {"ttbar": {"role": "signal"}, "ttbar_had": {"role": "background"}}
    shapes = {"had_jes": {"kind": "shape", "samples": ["ttbar"]}, "jes": {"kind": "shape", "samples": ["ttbar_had"]}}
    config = ntuples(write(tmp_path / "all.root", trees), fit=["had_jes", "jes"], samples=samples, systematics=shapes)
    message = "tree 'ttbar_had_jes_up' in .* is that of sample 'ttbar', had_jes_up, and of sample 'ttbar_had', jes_up"
    with pytest.raises(DatasetError, match=message):
        load(config)


def test_samples_of_one_tree_may_share_its_shifted_trees(tmp_path):
    samples = {
        "ttbar": {"role": "signal", "tree": "ttbar{variation}"},
        "copy": {"role": "background", "tree": "ttbar{variation}", "weight": "2 * w"},
    }
    shapes = {"jes": {"kind": "shape", "samples": ["ttbar", "copy"]}}
    path = write(tmp_path / "all.root", small_trees())
    events = load(ntuples(path, fit=["jes"], samples=samples, systematics=shapes))
    np.testing.assert_allclose(2 * events.train[0].yields, events.train[1].yields)


def test_a_tree_is_known_by_its_name_also_with_a_sign_of_patterns(tmp_path):
    path = write(tmp_path / "all.root", {"a[0]": rows([1, 2]), "a0": rows([1, 2])})
    assert tree_names(path, "a[0]") == ["a[0]", "a0"]


# ---------------------------------------------------------------------------------------------------- MLflow
@pytest.mark.parametrize("name", [*ODD, "/x", "x/", "./x", "x/./y", "x/../y"])
def test_mlflow_takes_every_key(name):
    for key in (f"{name}/bestfit", f"dataset.systematics.{name}.kind", f"error/{name}"):
        _validate_metric_name(_key(key))
        _validate_param_name(_key(key))
        assert _key(_key(key)) == _key(key)


# --------------------------------------------------------------------------------------------------- records
def results(**changes: Any) -> Results:
    return Results.model_validate(record(0.4, **changes))


def parameter(hesse: float) -> dict[str, Any]:
    return {"bestfit": 0.0, "hesse": hesse, "minos": None}


def test_a_parameter_with_brackets_is_no_entry_of_a_vector():
    names = ("mu", "a[0]", "staterror_SR[0]", "[0]")
    values = {name: parameter(0.1) for name in names}
    assert results(parameters=values, vectors=("staterror_SR",)).scalars == ("mu", "a[0]", "[0]")
    assert "a[0]/hesse" in results(parameters=values, vectors=("staterror_SR",)).metrics()
    assert "staterror_SR[0]/hesse" not in results(parameters=values, vectors=("staterror_SR",)).metrics()
    # A record from before says nothing of vectors.
    assert results(parameters=values).scalars == ("mu",)


def test_no_metric_replaces_another():
    """ "stat_only/mu" is the fit with everything else fixed, "error" may be a parameter and "hesse" a group."""
    group = {"parameters": [], "impact": 0.3, "cumulative": 0.2, "cumulative_minos": None}
    split = {
        "total": 1.0,
        "statistical": 0.7,
        "statistical_minos": None,
        "groups": [group | {"name": name} for name in ("hesse", "statistical")],
        "closure": 0.0,
        "cumulative_closure": 0.0,
        "hesse_difference": 0.0,
    }
    names = {"mu": 0.1, "stat_only/mu": 0.2, "error": 0.4, "seconds": 0.5}
    metrics = results(parameters={name: parameter(x) for name, x in names.items()}, breakdown=split).metrics()
    assert metrics["stat_only/mu/hesse"] == 0.09
    assert metrics["error/statistical"] == 0.7
    assert metrics["error/hesse"] == 0.3
    assert sorted(x for name, x in metrics.items() if name.startswith("error/hesse")) == [0.3, 0.4]
    assert [x for name, x in metrics.items() if name.startswith("stat_only/mu/hesse_")] == [0.2]
    assert [x for name, x in metrics.items() if name.startswith("error/statistical_")] == [0.3]


# ---------------------------------------------------------------------------------------------------- report
def test_plots_of_names_that_meet_are_files_of_their_own(tmp_path):
    from matplotlib.figure import Figure

    names = ("scan_a b", "scan_a-b", "scan_a/b", "scan_../../x", "scan_..", "scan_A_b", "x" * 400, "x" * 399 + "y")
    figures = [(name, Figure((0.2, 0.2))) for name in (*names, "scan_a b")]
    pictures = save_figures(figures, tmp_path / "plots")
    assert [path.name for path in tmp_path.iterdir()] == ["plots"]
    there = [path.name for path in (tmp_path / "plots").iterdir()]
    assert len({folded(name) for name in there}) == len(there) == len(pictures.files) == len(pictures.png) == 9
    assert pictures.files[0].name == "scan_a_b.png"


def test_a_figure_is_laid_out_once_for_all_formats(tmp_path, monkeypatch):
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    laid_out = []
    original = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda self, figure: (laid_out.append(figure), original(self, figure))
    )
    figure = Canvas("simulated", "a title").figure(width=2, height=2)
    axes = figure.subplots()
    axes.set_ylabel("events")
    pictures = save_figures([("x", figure)], tmp_path, ("png", "svg"))
    assert [path.suffix for path in pictures.files] == [".png", ".svg"]
    assert laid_out == [figure]
    assert axes.get_position().x0 > 0.2  # its own, beside the label and the numbers


@pytest.mark.parametrize("text", ["$", "a$b", "$a_{b$", "a\\$b", r"$\frac{$", "_hidden", "a\nb", "日本"])
def test_matplotlib_draws_any_name(text, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure((2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], label=plain(text))
    assert len(axes.get_legend_handles_labels()[1]) == 1
    axes.set_title(plain(text))
    axes.legend()
    assert save_figures([("x", figure)], tmp_path, ("svg",)).files[0].is_file()
    drawn = axes.title._preprocess_math(plain(text))
    assert drawn == (plain(text).replace(r"\$", "$"), False)


def test_markdown_shows_a_name_as_it_is():
    assert markdown("a|b <c> & `d` *e* \\") == r"a\|b &lt;c&gt; &amp; \`d\` \*e\* " + "\\\\"
    assert markdown("muR_0.5 [0.3, 0.4]") == "muR_0.5 [0.3, 0.4]"


def sample(name: str, *factors: str) -> dict[str, Any]:
    return {
        "name": name,
        "data": [1.0],
        "modifiers": [{"name": x, "type": "normfactor", "data": None} for x in factors],
    }


def test_a_sample_with_an_at_sign_is_no_free_shape():
    samples = [sample("S", "mu"), sample("TT"), sample("TT@NLO", "k"), sample("TT@jes", "jes")]
    assert free_shapes(samples) == {"TT@jes": "TT"}
    assert signal_of(samples, ("mu",)) == ("S",)


def test_a_sample_called_other_is_not_the_rest():
    large = len(BACKGROUND_COLOURS) - 1
    yields = {f"s{i}": 100.0 - i for i in range(large)} | {"other": 50.0, "small": 1.0}
    layers = Layers.choose(yields, set())
    stack = layers.stack({name: np.array([total]) for name, total in yields.items()})
    assert stack["other"] == [50.0]
    assert stack["(other)"] == [1.0]


def test_the_example_of_the_module_is_right():
    import doctest

    import inferno_cli.names

    assert doctest.testmod(inferno_cli.names) == (0, 1)
