"""The likelihood of several channels, written to a workspace and read back, against pyhf."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import cabinetry as tool
import numpy as np
import pyhf
import pytest
from conftest import compose, make_measurement, make_templates, prepared
from datacards import Card
from workspaces import published

from inferno_cli.errors import FitFailedError, UnknownModifierError, WorkspaceError
from inferno_cli.fit import problem
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.problem import numpy_backend, open_problem
from inferno_cli.histograms.fitted import specification
from inferno_cli.likelihood.expectation import Expectation, expectation, expected_yields, nll, yields_and_jacobian
from inferno_cli.likelihood.information import bin_variance, information_matrix, poi_variance
from inferno_cli.likelihood.modifiers import NormFactor, StatError
from inferno_cli.likelihood.readers import pyhf as reader
from inferno_cli.likelihood.spec import Spec
from inferno_cli.likelihood.writers import cabinetry, datacard
from inferno_cli.likelihood.writers import pyhf as writer

SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
NOMINAL = {"signal": [3.0, 8.0, 14.0, 25.0], "QCD": [250.0, 120.0, 60.0, 30.0]}
VARIED = {
    ("jes", "signal"): ([2.0, 8.5, 15.0, 28.0], [4.0, 7.0, 13.5, 21.0]),
    ("bend", "QCD"): ([260.0, 122.0, 55.0, 31.0], [244.0, 115.0, 66.0, 28.0]),
}


def one_channel(name: str = "SR", scale: float = 1.0, bins: slice = slice(None), **changes: Any) -> Spec:
    """A signal and a background with every kind of modifier that a run has."""
    settings = {
        "free": {"QCD_norm": ["QCD"]},
        "normalisation": {"lumi": (["signal", "QCD"], 1.02, 0.98)},
        "shapes": {"jes": True, "bend": True},
        "unconstrained": ["bend"],
    }
    measurement = make_measurement(NOMINAL, **(settings | changes))
    nominal = {sample: scale * np.array(values)[bins] for sample, values in NOMINAL.items()}
    varied = {key: tuple(scale * np.array(side)[bins] for side in pair) for key, pair in VARIED.items()}
    templates = make_templates(nominal, varied=varied, relative_error=0.03)
    measurement, templates = prepared(measurement, templates)
    observed = np.round(1.03 * templates.nominal.sum(axis=0))
    spec = specification([templates], measurement, observed=[observed])
    return renamed(spec, name)


def renamed(spec: Spec, name: str) -> Spec:
    """Give a channel, and its staterror, another name."""
    (channel,) = spec.channels
    own = f"staterror_{name}"
    samples = []
    for sample in channel.samples:
        changed = [replace(item, name=own) if isinstance(item, StatError) else item for item in sample.modifiers]
        samples.append(replace(sample, modifiers=tuple(changed)))
    parameters = [replace(item, name=own) if item.per_bin else item for item in spec.parameters]
    return replace(spec, channels=(replace(channel, name=name, samples=tuple(samples)),), parameters=tuple(parameters))


def combined(*specs: Spec) -> Spec:
    """One likelihood of several channels; parameters of one name are one."""
    parameters = {parameter.name: parameter for spec in specs for parameter in spec.parameters}
    channels = tuple(channel for spec in specs for channel in spec.channels)
    return replace(specs[0], channels=channels, parameters=tuple(parameters.values()))


def model_of(content: dict[str, Any]) -> tuple[Any, list[float]]:
    found = pyhf.Workspace(content)
    model = found.model(modifier_settings=SETTINGS)
    return model, found.data(model)


def read(content: dict[str, Any]) -> Spec:
    model, _ = model_of(content)
    return reader.specification(model, pyhf.Workspace(content).observations, "m")


def points(model: Any, n: int, size: float = 0.2) -> list[np.ndarray]:
    random, start = np.random.default_rng(1), np.array(model.config.suggested_init())
    return [start, *(start + random.normal(0, size, len(start)) for _ in range(n))]


def ours(likelihood: Expectation, model: Any, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parameters of a point of pyhf's, as we sort them."""
    index = {label: i for i, label in enumerate(model.config.par_names)}
    theta, gamma = ([index[label] for label in labels] for labels in (likelihood.parameters, likelihood.gamma.labels))
    return point[theta], point[gamma]


def require_equal(spec: Spec, content: dict[str, Any], size: float = 0.2) -> None:
    """The expectation and the likelihood are those of pyhf, at the start and at random points."""
    likelihood, (model, data) = expectation(spec), model_of(content)
    observed = np.concatenate([channel.observed for channel in spec.channels])
    for point in points(model, 5, size):
        theta, gamma = ours(likelihood, model, point)
        expected = expected_yields(likelihood, theta, gamma)
        np.testing.assert_allclose(expected, model.expected_actualdata(point), rtol=1e-10)
        reference = -float(model.logpdf(point, data)[0])
        assert float(nll(likelihood, theta, observed, gamma)) == pytest.approx(reference, rel=1e-10)


def test_two_identical_channels_have_the_information_of_twice_the_luminosity():
    once = expectation(one_channel("A"))
    twice = expectation(combined(one_channel("A"), one_channel("B")))
    prior = np.diag(once.prior.width > 0)
    data = information_matrix(once) - prior
    np.testing.assert_allclose(information_matrix(twice) - prior, 2 * data, rtol=1e-12, atol=1e-9)
    # Without errors of the simulation, which are those of each channel, one of twice the luminosity is the same.
    both = combined(one_channel("A", staterror=False), one_channel("B", staterror=False))
    double = one_channel("A", scale=2.0, staterror=False)
    assert poi_variance(expectation(both)) == pytest.approx(poi_variance(expectation(double)), rel=1e-12)


def test_a_signal_and_a_control_region_are_the_combined_workspace_of_pyhf():
    """Each written alone and combined by pyhf, against both written together; then read back."""
    signal, control = one_channel("SR"), one_channel("CR", scale=3.0, bins=slice(0, 2), signal=())
    whole = combined(signal, control)
    content = writer.workspace(whole)
    contents = [writer.workspace(spec) for spec in (signal, control)]
    for piece in contents:
        piece["measurements"] = content["measurements"]
    joined = dict(pyhf.Workspace.combine(*map(pyhf.Workspace, contents), join="outer"))
    model, data = model_of(joined)
    written, same = model_of(content)
    assert data == same
    for point in points(model, 5):
        assert float(model.logpdf(point, data)[0]) == pytest.approx(float(written.logpdf(point, data)[0]), rel=1e-12)
    again = read(content)
    require_equal(again, joined)
    assert [channel.name for channel in again.channels] == ["CR", "SR"]
    assert writer.workspace(again)["channels"] == sorted(content["channels"], key=lambda channel: channel["name"])
    require_equal(read(writer.workspace(again)), joined)
    assert poi_variance(expectation(again)) == pytest.approx(poi_variance(expectation(whole)), rel=1e-10)


def settled() -> dict[str, Any]:
    """A published workspace whose measurement holds and moves parameters."""
    content = published()
    parameters = content["measurements"][0]["config"]["parameters"]
    known = {item["name"]: item for item in parameters}
    for name, values in {
        "btag": {"fixed": True, "inits": [0.5]},
        "JES": {"auxdata": [0.3], "inits": [0.2], "bounds": [[-4.0, 4.0]]},
        "staterror_CR": {"auxdata": [1.02, 0.97], "sigmas": [0.05, 0.07]},
        "fakes_SR2": {"auxdata": [20.0, 30.0, 26.0], "factors": [21.0, 28.0, 25.0]},
        "shape_VR": {"inits": [1.1, 0.9], "bounds": [[0.0, 5.0]] * 2},
    }.items():
        parameters += [] if name in known else [{"name": name}]
        next(item for item in parameters if item["name"] == name).update(values)
    return content


@pytest.mark.parametrize("content", [published(), settled()], ids=["published", "settled"])
def test_any_workspace_is_read_into_the_likelihood_that_it_is(content):
    kinds = {item["type"] for channel in content["channels"] for s in channel["samples"] for item in s["modifiers"]}
    assert kinds == {"normfactor", "normsys", "histosys", "staterror", "shapesys", "shapefactor", "lumi"}
    reader.require_valid(content, "here")
    spec = read(content)
    require_equal(spec, content, size=0.05)
    require_equal(read(writer.workspace(spec)), content, size=0.05)
    model, _ = model_of(content)
    labels = [label for parameter in spec.parameters for label in parameter.labels]
    assert labels == model.config.par_names
    assert [held for parameter in spec.parameters for held in parameter.fixed] == model.config.suggested_fixed()


def test_the_jacobian_of_several_channels_is_that_of_differences():
    likelihood = expectation(read(settled()))
    theta, step = likelihood.init + 0.1, 1e-5
    _, jacobian = yields_and_jacobian(likelihood, theta)
    for i, shift in enumerate(step * np.eye(len(theta))):
        change = expected_yields(likelihood, theta + shift) - expected_yields(likelihood, theta - shift)
        np.testing.assert_allclose(jacobian[:, i], change / (2 * step), rtol=1e-6, atol=1e-6)


def test_the_closed_form_is_of_staterrors_alone():
    likelihood = expectation(read(published()))
    with pytest.raises(ValueError, match="no shapesys or shapefactor"):
        bin_variance(likelihood, likelihood.nominal)


def test_a_likelihood_that_is_not_pyhfs_is_refused(monkeypatch):
    def wrong(*args: Any) -> Spec:
        spec = reader.specification(*args)
        first, *others = spec.channels
        sample = replace(first.samples[0], nominal=first.samples[0].nominal * (1 + 1e-5))
        return replace(spec, channels=(replace(first, samples=(sample, *first.samples[1:])), *others))

    monkeypatch.setattr(problem, "specification", wrong)
    with numpy_backend(), pytest.raises(FitFailedError, match=r"-ln L of here is .* for pyhf; .* Please report this"):
        open_problem(deepcopy(published()), asimov=False, measurement=None, where="here")


@pytest.mark.slow
def test_a_modifier_without_a_word_in_the_specification_is_fitted_with_pyhf_and_said(monkeypatch):
    def unknown(*_: Any) -> Spec:
        raise UnknownModifierError("modifier 'bend' is of type 'spline', which is not of HistFactory")

    settings = compose("fit.progress=none", "fit.scan_points=null").fit
    exact = fit_workspace(published(), settings, where="here")
    monkeypatch.setattr(problem, "specification", unknown)
    fitted = fit_workspace(published(), settings, where="here")
    assert any(note.startswith("fitted with numerical derivatives, as with fit.engine=pyhf") for note in fitted.notes)
    assert fitted.mu.hesse == pytest.approx(exact.mu.hesse, rel=1e-4)
    assert fitted.twice_nll == pytest.approx(exact.twice_nll, abs=1e-6)


# ------------------------------------------------------------------------------------- files for other tools
@pytest.fixture
def regions() -> Spec:
    """A signal region, and a control region of three bins without signal, with another size of a yield and no jes."""
    control = one_channel("CR", 6.0, slice(3), normalisation={"lumi": (["QCD"], 1.05, 0.9)})
    (channel,) = control.channels
    (kept,) = (sample for sample in channel.samples if sample.name == "QCD")
    morphs = tuple(sample for sample in channel.samples if sample.parent == "QCD")
    channel = replace(channel, samples=(kept, *morphs))
    return combined(one_channel("SR"), replace(control, channels=(channel,)))


def test_the_card_of_two_channels_has_the_yields_of_the_workspace(regions, tmp_path):
    datacard.write(regions, tmp_path, data="Asimov data")
    card, (model, _) = Card.read(tmp_path), model_of(writer.workspace(regions))
    assert card.channels == ["SR", "CR"]
    assert card.mc_stats == {"SR": [0, 1, 1], "CR": [0, 1, 1]}
    assert ("CR", "signal") not in card.columns
    order = [model.config.channel_slices[name] for name in card.channels]
    for point in ({}, {"mu": 1.7}, {"QCD_norm": 1.2}, {"lumi": -1.0}, {"jes": 1.0, "lumi": 1.0}, {"bend": -1.6}):
        values = np.array(model.config.suggested_init())
        for name, value in point.items():
            values[model.config.par_slice(name)] = value
        expected = model.expected_actualdata(values)
        there = {"r" if name == "mu" else name: value for name, value in point.items()}
        found = card.total(**there)
        np.testing.assert_allclose(found, np.concatenate([expected[place] for place in order]), rtol=1e-10)


def with_factor_on(spec: Spec, number: int, *names: str) -> Spec:
    """One of two channels with the factor QCD_norm on these of its samples alone."""
    channels = list(spec.channels)
    samples = []
    for sample in channels[number].samples:
        own = tuple(item for item in sample.modifiers if item.name != "QCD_norm")
        is_scaled = sample.name in names or sample.parent in names
        samples.append(replace(sample, modifiers=(*own, NormFactor("QCD_norm")) if is_scaled else own))
    channels[number] = replace(channels[number], samples=tuple(samples))
    return replace(spec, channels=tuple(channels))


@pytest.mark.parametrize("is_everywhere", [True, False])
def test_cabinetry_rebuilds_two_channels(is_everywhere, regions, tmp_path, monkeypatch):
    regions = regions if is_everywhere else with_factor_on(regions, 1)
    monkeypatch.chdir(tmp_path)
    content = writer.workspace(regions)
    model, data = model_of(content)
    for folder, file in ((tmp_path / "run", cabinetry.write(regions, tmp_path / "run")), (tmp_path / "export", None)):
        if file is None:
            datacard.write(regions, folder, data="Asimov data")
            monkeypatch.chdir(folder)
            file = folder / cabinetry.FILE
        config = tool.configuration.load(file)
        if folder.name == "export":
            tool.templates.collect(config)
            tool.templates.postprocess(config)
        rebuilt, observed = model_of(tool.workspace.build(config))
        assert rebuilt.config.par_order == model.config.par_order
        np.testing.assert_allclose(observed, data, rtol=1e-10)
        for point in points(model, 3):
            np.testing.assert_allclose(rebuilt.expected_data(point), model.expected_data(point), rtol=1e-10)
            np.testing.assert_allclose(rebuilt.logpdf(point, data), model.logpdf(point, data), rtol=1e-10)


def test_a_factor_on_other_samples_in_other_channels_is_no_word_of_cabinetrys(regions, tmp_path):
    odd = with_factor_on(regions, 0, "signal")
    with pytest.raises(WorkspaceError, match=r"the factor 'QCD_norm' is on .* and not in .*; set export=false"):
        cabinetry.write(odd, tmp_path)
    with pytest.raises(WorkspaceError, match="set export=false"):
        datacard.write(odd, tmp_path, data="Asimov data")
    assert not list(tmp_path.iterdir())
