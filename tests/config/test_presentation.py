"""How plots look, from the YAML: what is refused, and what the plots take."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from inferno_cli.config.load import compose, resolve
from inferno_cli.config.schema import Report
from inferno_cli.config.steps import FitConfig, TrainConfig
from inferno_cli.config.titles import model_title
from inferno_cli.errors import ConfigError
from inferno_cli.report.presentation import presentation
from inferno_cli.runs.earlier import completed_record
from inferno_cli.runs.points import matters
from inferno_cli.steps.fit import require_known


def report(**values: Any) -> Report:
    return Report.model_validate_json(json.dumps({"plots": True, "formats": ["png"], **values}))


def train(*overrides: str) -> TrainConfig:
    return resolve(TrainConfig, compose("train", ["~job", "+experiment=top11004", *overrides]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+report.samples={QCDD: {title: x}}", "report.samples: there is no sample 'QCDD'; closest: 'QCD'"),
        (
            "+report.groups={Other: [WZJets, STJetz]}",
            "report.groups.Other: there is no sample 'STJetz'; closest: 'STJets'",
        ),
        ("+report.groups={A: [QCD], B: [QCD]}", "report.groups: 'QCD' is in 'A' and in 'B'; take it out of one"),
        ("+report.groups={top: [TTJets_signal, STJets]}", "report.groups.top holds signal and background"),
        ("+report.groups={QCD: [STJets, WZJets]}", "report.groups: 'QCD' is also a sample"),
        ("+report.samples={QCD: {colour: reddish}}", "report.samples.QCD.colour: 'reddish' is no colour"),
        (
            "+report.samples={QCD: {title: '$\\\\tau_h'}}",
            "report.samples.QCD.title: matplotlib cannot read the formula",
        ),
        (
            "+report.samples={QCD: {title: '$\\\\tauu$'}}",
            "report.samples.QCD.title: matplotlib cannot read the formula",
        ),
        ("report.energy=-13", "report.energy"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        train(override)


@pytest.mark.parametrize(
    ("values", "factor", "expected"),
    [
        ({}, 1.0, ""),
        ({"luminosity": 59.8, "energy": 13}, 1.0, r"59.8 fb$^{-1}$ (13 TeV)"),
        ({"luminosity": 59.8, "energy": 13.6}, 0.1, r"5.98 fb$^{-1}$ (13.6 TeV)"),
        ({"luminosity": r"5 pb$^{-1}$"}, 1.0, r"5 pb$^{-1}$"),
        ({"luminosity": r"5 pb$^{-1}$", "energy": "pPb, 8.16 TeV"}, 0.5, r"0.5 $\times$ 5 pb$^{-1}$ (pPb, 8.16 TeV)"),
        ({"energy": 7}, 1.0, "7 TeV"),
    ],
)
def test_the_luminosity_is_that_of_the_events_that_are_taken(values: Any, factor: float, expected: str) -> None:
    assert presentation(report(**values), factor).luminosity == expected


def test_titles_colours_and_groups() -> None:
    samples = {"TT": {"title": r"$t\bar{t}$"}, "Other": {"colour": "#123456"}}
    shown = presentation(
        report(experiment="CMS", status="Preliminary", samples=samples, groups={"Other": ["WW", "ZZ"]})
    )
    assert (shown.experiment, shown.status) == ("CMS", "Preliminary")
    assert shown.titles == {"TT": r"$t\bar{t}$"}
    assert shown.colours == {"Other": "#123456"}
    assert shown.group_of == {"WW": "Other", "ZZ": "Other"}


def test_what_another_step_says_stands_over_what_the_run_said() -> None:
    run = report(experiment="CMS", status="Private work", luminosity=59.8)
    found = report(status="Preliminary").over(run)
    assert (found.experiment, found.status, found.luminosity) == ("CMS", "Preliminary", 59.8)


def test_how_a_run_is_shown_makes_it_no_other_run() -> None:
    for key in ("report.experiment", "report.samples.TT.title", "report.groups.Other", "model.title"):
        assert not matters(key)
    assert matters("model.name")


def test_a_model_says_its_own_title() -> None:
    assert train("model=bce").model.title == model_title("bce") == "BCE"
    assert model_title("inferno") == "INFERNO"
    assert model_title("../inferno") == "../inferno"
    assert model_title("of somebody else") == "of somebody else"


def test_records_of_before_have_the_titles_of_their_models() -> None:
    assert completed_record({"schema": "inferno_cli/results/2", "model": "bce"})["model_title"] == "BCE"
    written = {"schema": "inferno_cli/results/2", "model": "bce", "model_title": ""}
    assert completed_record(written)["model_title"] == ""
    assert "model_title" not in completed_record({"schema": "inferno_cli/results/2", "model": None})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+report.groups={Other: [WW, WZ]}", None),
        ("+report.groups={Other: [WW, ggH]}", "report.groups.Other holds signal and background"),
        ("+report.groups={Other: [WW, qqH]}", "report.groups.Other holds signal and background"),
        ("+report.samples={WWW: {title: x}}", "report.samples: there is no sample 'WWW'; closest: 'WW'"),
    ],
)
def test_a_workspace_has_the_samples_that_are_named(override: str, message: str | None) -> None:
    def sample(name: str, *factors: str) -> dict[str, Any]:
        return {"name": name, "data": [1.0], "modifiers": [{"name": x, "type": "normfactor"} for x in factors]}

    samples = [sample("ggH", "mu"), sample("qqH", "mu_VBF"), sample("WW"), sample("WZ")]
    measurements = [{"name": "m", "config": {"poi": "mu", "parameters": []}}]
    spec = {"channels": [{"name": "SR", "samples": samples}], "measurements": measurements}
    config = resolve(FitConfig, compose("fit", ["~job", "workspace=x", "fit.pois=[mu_VBF]", override]))
    if message is None:
        require_known(config, spec)
        return
    with pytest.raises(ConfigError, match=re.escape(message)):
        require_known(config, spec)
