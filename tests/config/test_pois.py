"""Several signals, each with a parameter of interest of its own: names, roles and the measurement."""

from __future__ import annotations

import pytest
from conftest import changed, compose, ntuples
from pydantic import ValidationError

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.section import POI

SAMPLES = {
    "VBF": {"role": "signal", "poi": "mu_VBF"},
    "ggH": {"role": "signal"},
    "WH": {"role": "signal", "poi": "mu_VH"},
    "ZH": {"role": "signal", "poi": "mu_VH"},
    "ZTT": {"role": "background"},
    "Data": {"role": "data"},
}
SYSTEMATICS = {"lumi": {"kind": "normalisation", "samples": ["ggH", "VBF", "ZTT"], "size": 0.02}}


def signals(**samples: dict[str, str]) -> TrainConfig:
    return ntuples("files", samples=SAMPLES | samples, systematics=SYSTEMATICS)


def test_every_signal_is_scaled_by_its_own_poi():
    config = signals()
    measurement = Measurement.from_config(config, ("lumi",))
    assert config.dataset.pois == {POI: ("ggH",), "mu_VBF": ("VBF",), "mu_VH": ("WH", "ZH")}
    assert config.signal_names == ("VBF", "ggH", "WH", "ZH")
    assert measurement.pois == (POI, "mu_VBF", "mu_VH")
    assert measurement.signal == ("ggH",)
    assert measurement.free == {"mu_VBF": ("VBF",), "mu_VH": ("WH", "ZH")}
    assert measurement.bounds == dict.fromkeys(("mu_VBF", "mu_VH"), config.likelihood.poi_bounds)
    assert measurement.parameters == (POI, "mu_VBF", "mu_VH", "lumi")
    assert measurement.movable == ("lumi",)


def test_one_signal_has_the_poi_of_the_measurement_alone():
    config = compose()
    assert config.dataset.pois == config.pois == {POI: ("signal",)}
    assert Measurement.from_config(config, ()).pois == (POI,)


def test_the_word_mu_is_the_poi_of_the_measurement():
    assert signals(VBF={"role": "signal", "poi": "mu"}).pois[POI] == ("VBF", "ggH")


def test_a_poi_whose_samples_are_left_out_is_no_parameter():
    config = signals()
    likelihood = config.likelihood.model_dump(mode="json")
    assert tuple(changed(config, likelihood=likelihood | {"samples": ["ggH", "VBF", "ZTT"]}).pois) == (POI, "mu_VBF")
    with pytest.raises(ValidationError, match=r"leaves signals of mu_VBF and none of mu.*add one of ggH"):
        changed(config, likelihood=likelihood | {"samples": ["VBF", "ZTT"]})


@pytest.mark.parametrize(
    ("sample", "changes", "text"),
    [
        ("ggH", {"role": "signal", "poi": "mu_ggH"}, r"the POIs mu_VBF, mu_ggH, mu_VH, and none has mu, .*leave out"),
        ("ZTT", {"role": "background", "poi": "r"}, r"samples\.ZTT\.poi: only a signal has one.*'background'"),
        ("VBF", {"role": "signal", "poi": "lumi"}, r"systematics\.lumi: 'lumi' is a parameter of interest"),
        ("VBF", {"role": "signal", "poi": "ZTT"}, r"'ZTT' has the name of a sample"),
        ("VBF", {"role": "signal", "poi": "all"}, r"the poi 'all' stands for every parameter"),
        ("VBF", {"role": "signal", "poi": "staterror_SR[0]"}, r"the poi 'staterror_SR\[0\]' is the statistical error"),
        ("VBF", {"role": "signal", "poi": " "}, r"samples\.VBF\.poi: ' ' is no name"),
    ],
)
def test_a_poi_that_means_something_else_is_an_error(sample, changes, text):
    with pytest.raises(ValidationError, match=text):
        signals(**{sample: changes})
