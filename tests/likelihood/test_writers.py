"""The workspace in the files of other tools: read back by cabinetry, and by a reader of Combine's rules."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import cabinetry
import numpy as np
import pyhf
import pytest
from conftest import Written, build, channel_of, export, make_measurement, make_templates, prepared
from datacards import Card

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import WorkspaceError
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.information import poi_variance
from inferno_cli.likelihood.modifiers import NormSys

SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
BINS = 5
SAMPLES = ("signal", "extra-signal", "QCD", "2top")
SIGNAL = SAMPLES[:2]


def toy() -> Templates:
    """Two signals and two backgrounds; jes moves yields and shapes, bend only a shape, r the background's."""
    x = np.linspace(-1, 1, BINS)
    nominal = {
        "signal": 40 + 30 * x,
        "extra-signal": 9 + 2 * x,
        "QCD": 300 - 250 * x,
        "2top": 60 + 10 * x - 20 * x**2,
    }
    varied = {
        ("jes", "signal"): (nominal["signal"] * (1.06 + 0.05 * x), nominal["signal"] * (0.96 - 0.07 * x)),
        ("jes", "extra-signal"): (nominal["extra-signal"] * (1.04 + 0.02 * x), nominal["extra-signal"] * 0.97),
        ("jes", "2top"): (nominal["2top"] * (1.09 - 0.04 * x), nominal["2top"] * (0.95 + 0.1 * x**2)),
        ("bend", "QCD"): (nominal["QCD"] * (1.2 + 0.1 * x), nominal["QCD"] * (0.9 - 0.1 * x + 0.05 * x**2)),
        ("r", "QCD"): (nominal["QCD"] * (1 + 0.08 * x), nominal["QCD"] * (1 - 0.06 * x)),
        ("r", "2top"): (nominal["2top"] * (1.1 + 0.08 * x), nominal["2top"] * (0.9 - 0.03 * x)),
    }
    data = np.array([560.0, 480, 401, 250, 166])
    return make_templates(nominal, signal=SIGNAL, varied=varied, relative_error=0.04, observed=data)


def measure(**changes) -> Measurement:
    settings = {
        "signal": SIGNAL,
        "free": {"QCD_norm": ["QCD"], "top norm": ["2top"]},
        "normalisation": {"xsec": (["2top"], 1.2, 0.85), "lumi 2011": (["signal", "extra-signal", "2top"], 1.02, 0.98)},
        "shapes": {"jes": True, "bend": False, "r": True},
    }
    return make_measurement(SAMPLES, **(settings | changes))


VARIANTS = {
    "everything": {},
    "no staterror": {"staterror": False},
    "free shape": {"unconstrained": ["r"]},
    "free shapes, one of the signal": {"unconstrained": ["jes", "bend"]},
    "no parameter but mu": {"free": {}, "normalisation": {}, "shapes": {}},
}


def write(folder: Path, measurement: Measurement, templates: Templates | None = None, observed=False) -> Written:
    measurement = replace(measurement, bounds=dict.fromkeys(measurement.free, (0.5, 1.5)))
    measurement, templates = prepared(measurement, templates or toy())
    settings = {"poi_bounds": (-5.0, 10.0), "observed": observed, "folder": folder}
    return build(templates, measurement, **settings)


def with_modifiers(written: Written, name: str, change) -> Written:
    """Change the modifiers of one sample of the specification."""
    (channel,) = written.likelihood.channels
    samples = [
        replace(sample, modifiers=tuple(change(sample.modifiers))) if sample.name == name else sample
        for sample in channel.samples
    ]
    channels = (replace(channel, samples=tuple(samples)),)
    return replace(written, likelihood=replace(written.likelihood, channels=channels))


@pytest.fixture(params=VARIANTS)
def variant(request) -> Measurement:
    """Each kind of measurement."""
    return measure(**VARIANTS[request.param])


def safe(name: str) -> str:
    """Names of the toy in the datacard."""
    text = name.translate(dict.fromkeys(map(ord, " @-"), "_"))
    return {"r": "theta_r"}.get(text, f"proc_{text}" if text.startswith("2") else text)


class Pair:
    """A workspace with its datacard."""

    def __init__(self, folder: Path, measurement: Measurement, templates: Templates | None = None) -> None:
        self.workspace = write(folder, measurement, templates)
        self.spec = self.workspace.spec
        self.model = pyhf.Workspace(self.spec).model(modifier_settings=SETTINGS)
        self.paths = export(self.workspace, folder / "export")
        self.card = Card.read(folder / "export")
        self.names = [name for name in self.model.config.parameters if not name.startswith("staterror")]

    def agree(self, **point: float) -> None:
        """The yields of every sample, here and there."""
        values = np.array(self.model.config.suggested_init())
        for name, value in point.items():
            values[self.model.config.par_slice(name)] = value
        expected = self.model.main_model.expected_data(values, return_by_sample=True)
        there = {"r" if name == "mu" else safe(name): value for name, value in point.items()}
        for sample, ours in zip(self.model.config.samples, expected, strict=True):
            assert "@" in sample or (ours > 0).all()  # else Combine would cut it off at 0
            columns = [name for name in self.card.processes if name in self.columns(sample)]
            found = sum(self.card.yields(column, **there) for column in columns)
            np.testing.assert_allclose(found, ours, rtol=1e-10, atol=1e-9, err_msg=f"{sample} at {point}")
        np.testing.assert_allclose(self.card.total(**there), np.sum(expected, axis=0), rtol=1e-10)

    @staticmethod
    def columns(sample: str) -> set[str]:
        name = safe(sample)
        return {f"{name}_plus", f"{name}_minus"} if "@" in sample else {name}


def free(measurement: Measurement) -> tuple[str, ...]:
    return ("mu", *measurement.free)


# -------------------------------------------------------------------------------------------------- Combine
def test_the_nominal_yields_are_those_of_the_workspace(variant, tmp_path):
    Pair(tmp_path, variant).agree()


def test_so_are_those_at_plus_and_minus_one_of_each_parameter(variant, tmp_path):
    pair = Pair(tmp_path, variant)
    for name, direction in product(pair.names, (-1, 1)):
        pair.agree(**{name: 1 + 0.3 * direction if name in free(variant) else direction})


def test_and_of_all_parameters_together(variant, tmp_path):
    """Also beyond 1, where both tools go on alike: exponentially in the yield, linearly in the shape."""
    pair, random = Pair(tmp_path, variant), np.random.default_rng(3)
    for _ in range(10):
        size = random.choice([1.0, random.uniform(1.0, 1.6)])
        signs = random.choice([-1, 1], len(pair.names))
        point = {name: size * sign for name, sign in zip(pair.names, signs, strict=True)}
        point |= {name: random.uniform(0.5, 1.5) for name in free(variant)}
        pair.agree(**point)


def test_a_free_shape_is_the_same_everywhere(tmp_path):
    pair = Pair(tmp_path, measure(unconstrained=["r"], shapes={"r": True}))
    for value in (-1.7, -0.4, 0.2, 0.9, 3.0):
        pair.agree(r=value, QCD_norm=1.2, mu=0.3)


def test_a_shape_that_keeps_the_yield_is_the_same_everywhere(tmp_path):
    pair = Pair(tmp_path, measure(shapes={"bend": False}))
    for value in (-1.7, -0.4, 0.2, 0.9, 2.0):
        pair.agree(bend=value)


def test_between_minus_and_plus_one_a_log_normal_is_close(tmp_path):
    """The difference that the head of the datacard states."""
    pair = Pair(tmp_path, measure(shapes={}))
    at = pair.model.config.suggested_init()
    at[pair.model.config.par_slice("xsec").start] = 0.4
    ours, theirs = pair.model.expected_actualdata(np.array(at)), pair.card.total(xsec=0.4)
    np.testing.assert_allclose(theirs, ours, rtol=2e-3)
    assert np.abs(theirs / ours - 1).max() > 1e-6
    assert "between -1 and +1" in pair.card.text


def test_the_error_on_mu_is_that_of_the_workspace(variant, tmp_path):
    """From the information matrix of the card's yields; the log-normals' other slope at 0 is all that differs."""
    card = Pair(tmp_path, variant).card
    start = {"r": 1.0} | dict.fromkeys(card.constrained, 0.0) | {name: item[0] for name, item in card.free.items()}
    step = 1e-4
    jacobian = np.stack(
        [
            (card.total(**start | {n: x + step}) - card.total(**start | {n: x - step})) / (2 * step)
            for n, x in start.items()
        ],
        axis=1,
    )
    variance = card.total()
    if card.mc_stats[card.channel][0] >= 0:
        variance = variance + sum(card.histograms[card.channel, process][1] for process in card.processes)
    information = jacobian.T / variance @ jacobian + np.diag([float(name in card.constrained) for name in start])
    sigma = float(np.linalg.inv(information)[0, 0] ** 0.5)
    assert sigma == pytest.approx(float(poi_variance(channel_of(variant, toy()))) ** 0.5, rel=2e-3)


def test_the_card_has_the_parameters_of_the_workspace(variant, tmp_path):
    card = Pair(tmp_path, variant).card
    shapes = {name for name in variant.shapes if name not in variant.unconstrained}
    kinds = {name: kind for name, (kind, _) in card.constrained.items()}
    assert kinds == {safe(name): "lnN" for name in variant.normalisation} | {safe(name): "shape" for name in shapes}
    assert card.free == {safe(name): (1.0, 0.5, 1.5) for name in variant.free} | {
        safe(name): (0.0, -10.0, 10.0) for name in variant.unconstrained
    }
    expected = {
        "normalisation": {safe(name) for name in variant.normalisation},
        "shape": {safe(name) for name in shapes},
        "free": {safe(name) for name in (*variant.free, *variant.unconstrained)},
    }
    assert {name: set(members) for name, members in card.groups.items()} == {
        name: members for name, members in expected.items() if members
    }


def test_the_signals_have_ids_up_to_zero(tmp_path):
    card = Pair(tmp_path, measure(unconstrained=["jes"])).card
    signal = {name for name, number in zip(card.processes, card.ids, strict=True) if number <= 0}
    assert 0 in card.ids
    assert signal >= {"signal", "extra_signal", "signal_jes_plus", "extra_signal_jes_plus"}
    assert not any(name.startswith(("QCD", "proc_2top")) for name in signal)


def test_the_head_says_how_to_run_it(tmp_path):
    text = Pair(tmp_path, measure()).card.text
    assert "text2workspace.py datacard.txt" in text
    assert "combine -M FitDiagnostics datacard.root --rMin -5 --rMax 10" in text


# ------------------------------------------------------------------------------------------ statistical errors
def test_errors_are_those_of_staterror(variant, tmp_path):
    pair = Pair(tmp_path, variant)
    expected = {
        item["name"]: modifier["data"]
        for item in pair.spec["channels"][0]["samples"]
        for modifier in item["modifiers"]
        if modifier["type"] == "staterror"
    }
    assert set(expected) == (set(SAMPLES) if variant.staterror else set())
    for sample, errors in expected.items():
        np.testing.assert_allclose(
            np.sqrt(pair.card.histograms[pair.card.channel, safe(sample)][1]), errors, rtol=1e-12
        )
    for process in pair.card.processes:
        if process.endswith(("_plus", "_minus")):
            assert (pair.card.histograms[pair.card.channel, process][1] == 0).all()


def test_without_staterror_the_histograms_keep_their_errors(tmp_path):
    card = Pair(tmp_path, measure(staterror=False)).card
    assert card.mc_stats == {card.channel: [-1, 1, 1]}
    values, variances = card.histograms[card.channel, "QCD"]
    np.testing.assert_allclose(np.sqrt(variances), 0.04 * values, rtol=1e-12)


def test_a_sample_outside_staterror_has_no_errors(tmp_path):
    """Not what a configuration can say today; autoMCStats would count them."""
    written = write(tmp_path, measure())
    export(with_modifiers(written, "QCD", lambda found: found[1:]), tmp_path / "export")
    card = Card.read(tmp_path / "export")
    assert card.mc_stats == {card.channel: [0, 1, 1]}
    assert (card.histograms[card.channel, "QCD"][1] == 0).all()
    assert (card.histograms[card.channel, "signal"][1] > 0).all()


@pytest.mark.parametrize("unconstrained", [[], ["r"]])
def test_a_barlow_beeston_parameter_is_a_staterror_parameter(tmp_path, unconstrained):
    """Threshold 0 and signal included: every bin has one Gaussian parameter for the error of the sum."""
    pair = Pair(tmp_path, measure(unconstrained=unconstrained))
    assert pair.card.mc_stats == {pair.card.channel: [0, 1, 1]}
    variance = sum(pair.card.histograms[pair.card.channel, process][1] for process in pair.card.processes)
    assert (np.round(pair.card.total() ** 2 / variance) > 0).all()
    x = np.array([0.5, -1.0, 2.0, 0.0, 1.0])
    theirs = pair.card.total() + x * np.sqrt(variance)
    values = np.array(pair.model.config.suggested_init())
    widths = np.array(pair.model.config.param_set("staterror_SR").sigmas)
    values[pair.model.config.par_slice("staterror_SR")] = 1 + x * widths
    np.testing.assert_allclose(pair.model.expected_actualdata(values), theirs, rtol=1e-10)


# --------------------------------------------------------------------------------------------------- the data
@pytest.mark.parametrize(("observed", "said"), [(True, "observed events"), (False, "Asimov data")])
def test_data_are_what_the_run_fits(tmp_path, observed, said):
    workspace = write(tmp_path, measure(), observed=observed)
    export(workspace, tmp_path / "export", "a label", said)
    card = Card.read(tmp_path / "export")
    observation = workspace.spec["observations"][0]["data"]
    np.testing.assert_allclose(card.histograms[card.channel, "data_obs"][0], observation, rtol=1e-12)
    assert f"# data_obs: {said}\n" in card.text
    assert "a label" in card.text.splitlines()[0]


# ------------------------------------------------------------------------------------------------------ names
def test_a_parameter_called_r_is_not_the_signal_strength(tmp_path):
    card = Pair(tmp_path, measure(free={}, normalisation={}, shapes={"r": True})).card
    assert set(card.constrained) == {"theta_r"}
    assert (card.yields("QCD", r=2.0) == card.yields("QCD")).all()
    assert (card.yields("QCD", theta_r=1.0) != card.yields("QCD")).any()


def name_in(text: str, what: str, name: str) -> str:
    """What a process or parameter of the workspace is called in a datacard, as its head says."""
    found = re.findall(rf"^# {what} (\S+) is {re.escape(repr(name))} in workspace\.json$", text, re.MULTILINE)
    assert len(found) <= 1
    return found[0] if found else name


MEETING = {
    "parameters": ("a-b", "a b"),
    "a part of a free shape": ("r_plus", "r_minus"),
    "case": ("Lumi", "lumi"),
    "parts of constraints": ("x", "x_Pdf"),
    "a sample": ("QCD", "extra-signal"),
    "what Combine makes": ("prop_binSR_bin0", "w"),
}


@pytest.mark.parametrize("pair", MEETING.values(), ids=MEETING)
def test_parameters_that_meet_have_names_of_their_own(tmp_path, pair):
    first, second = pair
    rates = {first: (["QCD"], 1.1, 0.9), second: (["2top"], 1.4, 0.6)}
    card = Pair(tmp_path, measure(normalisation=rates, unconstrained=["r"])).card
    for name, process, factor in ((first, "QCD", 1.1), (second, "2top", 1.4)):
        parameter, column = name_in(card.text, "parameter", name), name_in(card.text, "process", process)
        moved = card.yields(column, **{parameter: 1.0})
        np.testing.assert_allclose(moved, factor * card.yields(column), rtol=1e-12)
        others = [other for other in card.processes if other != column]
        assert all((card.yields(other, **{parameter: 1.0}) == card.yields(other)).all() for other in others)


SAMPLES_MEETING = {
    "signs": (("signal", "W+jets", "W jets"), "jes"),
    "a variation": (("signal", "QCD", "QCD_jesUp"), "jes"),
    "two names made of two": (("signal", "TT", "TT_had"), "had_jes"),
    "the data": (("signal", "data_obs", "Data"), "jes"),
}


@pytest.mark.parametrize(("names", "shape"), SAMPLES_MEETING.values(), ids=SAMPLES_MEETING)
def test_samples_that_meet_have_histograms_of_their_own(tmp_path, names, shape):
    nominal = {name: np.array([5.0, 7.0]) * (i + 1) for i, name in enumerate(names)}
    varied = {(shape, names[1]): ([10.5, 14], [9.0, 14]), ("jes", names[2]): ([15.0, 22], [15.0, 19])}
    measurement = make_measurement(names, shapes={shape: True, "jes": True})
    card = Pair(tmp_path, measurement, make_templates(nominal, varied=varied)).card
    assert len(card.processes) == 3
    for name, values in nominal.items():
        column = name_in(card.text, "process", name)
        np.testing.assert_allclose(card.histograms[card.channel, column][0], values)
        for (parameter, sample), (up, down) in varied.items():
            if sample == name:
                stem = f"{column}_{name_in(card.text, 'parameter', parameter)}"
                np.testing.assert_allclose(card.histograms[card.channel, f"{stem}Up"][0], up)
                np.testing.assert_allclose(card.histograms[card.channel, f"{stem}Down"][0], down)


# -------------------------------------------------------------------------------------------- special templates
def test_bins_below_zero_are_said_aloud(tmp_path, caplog):
    templates = toy().grouped([(i,) for i in range(BINS)])
    thin = make_templates(
        {name: templates.values(name) - (name == "2top") * np.array([0, 0, 0, 0, 51]) for name in SAMPLES},
        signal=SIGNAL,
    )
    with caplog.at_level(logging.WARNING, logger="inferno_cli"):
        export(write(tmp_path, measure(shapes={}), thin), tmp_path / "export")
    said = "Combine sets bins below 0 to 0, here in SR/proc_2top"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("inferno")] == [
        f"export: {said}"
    ]
    assert said in Card.read(tmp_path / "export").text


def test_parts_of_a_free_shape_that_are_empty_are_left_out(tmp_path, caplog):
    nominal = {"signal": np.array([5.0, 7.0]), "QCD": np.array([50.0, 40.0])}
    templates = make_templates(nominal, varied={("jes", "QCD"): (nominal["QCD"] - 4, nominal["QCD"] + 3)})
    measurement = make_measurement(("signal", "QCD"), shapes={"jes": True}, unconstrained=["jes"])
    pair = Pair(tmp_path, measurement, templates)
    assert pair.card.processes == ["signal", "QCD", "QCD_jes_minus"]
    np.testing.assert_allclose(pair.card.histograms[pair.card.channel, "QCD_jes"][0], -3.5)
    for value in (-1.0, 0.3, 2.0):
        pair.agree(jes=value)
    assert not [record for record in caplog.records if record.name.startswith("inferno")]


def test_a_parameter_may_change_a_shape_here_and_a_yield_there(tmp_path):
    """Not what a configuration can say today; the specification of a likelihood can."""
    written = write(tmp_path, measure())

    def moved(modifiers):
        return (*modifiers, NormSys("jes", 1.1, 0.8))

    export(with_modifiers(written, "QCD", moved), tmp_path / "export")
    card = Card.read(tmp_path / "export")
    assert card.constrained["jes"][0] == "shape"
    for direction, factor in ((1, 1.1), (-1, 0.8)):
        np.testing.assert_allclose(card.yields("QCD", jes=direction), factor * card.yields("QCD"), rtol=1e-12)

    with pytest.raises(WorkspaceError, match="'jes' acts twice on 'signal'"):
        export(with_modifiers(written, "signal", moved), tmp_path / "again")


# ------------------------------------------------------------------------------------------------- cabinetry
def rebuilt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the exported configuration makes of the exported histograms, with nothing else there."""
    moved = folder / "elsewhere"
    shutil.move(folder / "export", moved)
    shutil.rmtree(folder / "histograms")
    monkeypatch.chdir(moved)
    config = cabinetry.configuration.load("cabinetry.yaml")
    cabinetry.templates.collect(config)
    cabinetry.templates.postprocess(config)
    return cabinetry.workspace.build(config)


def test_cabinetry_rebuilds_the_model_from_the_root_file(variant, tmp_path, monkeypatch):
    pair, random = Pair(tmp_path, variant), np.random.default_rng(8)
    spec = rebuilt(tmp_path, monkeypatch)
    model = pyhf.Workspace(spec).model(modifier_settings=SETTINGS)
    assert model.config.par_order == pair.model.config.par_order
    assert model.config.suggested_init() == pair.model.config.suggested_init()
    np.testing.assert_allclose(spec["observations"][0]["data"], pair.spec["observations"][0]["data"], rtol=1e-12)
    data = pyhf.Workspace(spec).data(model)
    for _ in range(5):
        values = random.normal(model.config.suggested_init(), 0.2)
        np.testing.assert_allclose(model.expected_data(values), pair.model.expected_data(values), rtol=1e-10)
        # The log-likelihood holds the widths of the constraints, staterror's included.
        np.testing.assert_allclose(model.logpdf(values, data), pair.model.logpdf(values, data), rtol=1e-10)
    bounds = model.config.suggested_bounds()
    for name in (*free(variant), *variant.unconstrained):
        i = model.config.par_slice(name).start
        assert bounds[i] == pair.model.config.suggested_bounds()[i]


def test_no_path_in_the_export_leaves_its_folder(tmp_path):
    paths = Pair(tmp_path, measure()).paths
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "export").iterdir()}
    for path in paths[1:]:
        assert str(tmp_path) not in path.read_text()
        assert ".." not in path.read_text()


def test_exporting_twice_gives_the_same_text(tmp_path):
    one, two = (Pair(tmp_path / name, measure(unconstrained=["r"])) for name in ("one", "two"))
    for first, second in zip(one.paths[1:], two.paths[1:], strict=True):
        assert first.read_bytes() == second.read_bytes()
