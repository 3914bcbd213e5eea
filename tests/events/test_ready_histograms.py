"""Channels and backgrounds that come as histograms: what is read is what was written, and errors say what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import uproot
from conftest import changed, load, ntuples, small_trees, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, TemplateError
from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import NOMINAL, Events, Sample
from inferno_cli.histograms.templates import Templates
from inferno_cli.training.recipe import fixed_fillings, merged

EDGES = np.array([0.0, 50.0, 100.0, 200.0, 400.0])
TTBAR, QCD = np.array([1.0, 4.0, 9.0, 16.0]), np.array([40.0, 30.0, 20.0, 10.0])
DATA = np.array([45, 31, 33, 20])
JES = {"jes": {"kind": "shape", "samples": ["ttbar", "QCD"]}}
PATTERN = "{channel}/{sample}{variation}"
BESIDE = {"selection": "x > 1000", "observable": {"kind": "count"}}


def by_hist(values: Any, variances: Any, flow: tuple[float, float] = (0.0, 0.0), edges: Any = EDGES) -> hist.Hist:
    """A histogram as ``hist`` makes it, with weights."""
    made = hist.Hist(hist.axis.Variable(edges), storage=hist.storage.Weight())
    with_flow = np.stack([[flow[0], *values, flow[1]], [flow[0], *np.broadcast_to(variances, len(values)), flow[1]]])
    made.view(flow=True)[...] = (
        np.moveaxis(with_flow, 0, -1).copy().view([("value", float), ("variance", float)])[..., 0]
    )
    return made


def contents() -> dict[str, Any]:
    """Histograms that somebody else made, as hist and as numpy."""
    found: dict[str, Any] = {}
    for name, values in (("ttbar", TTBAR), ("QCD", QCD)):
        found[f"CR/{name}"] = by_hist(values, 0.25 * values)
        found[f"CR/{name}_jesUp"] = by_hist(1.1 * values, 0.3 * values)
        found[f"CR/{name}_jesDown"] = by_hist([0.9, 0.9, 0.8, 0.8] * values, 0.2 * values)
    return found | {"CR/data_obs": (DATA.astype(float), EDGES)}


def written(folder: Path, made: Mapping[str, Any], name: str = "ready.root") -> Path:
    with uproot.recreate(folder / name) as file:
        for key, value in made.items():
            file[key] = value
    return folder / name


def config(folder: Path, observable: Mapping[str, Any] | None = None, **dataset: Any) -> TrainConfig:
    """A run on small trees, and a channel of histograms."""
    channels = {"SR": {}, "CR": {"observable": {"kind": "templates", "file": str(folder / "ready.root")}}}
    channels["CR"]["observable"] |= {"histogram": PATTERN, "data": "{channel}/data_obs"} | dict(observable or {})
    return with_channels(folder, channels, **dataset)


def with_channels(
    folder: Path, channels: Mapping[str, Any], fit: Sequence[str] = ("jes",), **dataset: Any
) -> TrainConfig:
    path = folder / "small.root"
    if not path.exists():  # the data are the same file, whatever is said of them
        trees = small_trees()
        write(path, trees | {f"QCD_jes_{side}": trees["QCD"] for side in ("up", "down")})
    base = ntuples(path)
    keys = base.dataset.model_dump(mode="json", by_alias=True) | {"systematics": JES} | dataset
    nuisance = {"train": list(fit), "fit": list(fit), "unconstrained": []}
    return changed(base, dataset=keys, nuisance=nuisance, channels=channels)


def of(events: Events, name: str, channel: str = "CR") -> Sample:
    (sample,) = (item for item in events.fixed if (item.name, item.channel) == (name, channel))
    return sample


def templates(run: TrainConfig, events: Events, channel: str = "CR") -> Templates:
    """The templates of a channel, one standard deviation each, no bins merged."""
    measurement = Measurement.from_config(run, run.nuisance.fit)
    fillings = fixed_fillings(Channels(run.channels), events.fixed, events.observed)
    (found,) = merged([item.templates(measurement) for item in fillings if item.channel == channel], measurement)
    return found


# ----------------------------------------------------------------------------------------------- what is read
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_the_templates_are_what_the_file_has_times_the_luminosity(tmp_path, factor):
    written(tmp_path, contents())
    run = config(tmp_path, luminosity_scale=3.0, downsample_factor=factor)
    events = load(run)
    found, scale = templates(run, events), 3.0 * factor
    assert found.samples == ("ttbar", "QCD")
    assert found.signal == ("ttbar",)
    assert found.edges == tuple(EDGES)
    for name, values in (("ttbar", TTBAR), ("QCD", QCD)):
        np.testing.assert_allclose(found.values(name), scale * values)
        np.testing.assert_allclose(found.histograms[name, NOMINAL].variances(), scale**2 * 0.25 * values)
        up, down = found.varied["jes", name]
        np.testing.assert_allclose(up, scale * 1.1 * values)
        np.testing.assert_allclose(down, scale * np.array([0.9, 0.9, 0.8, 0.8]) * values)
    assert found.noise == {}  # what the variations share with the nominal events nobody knows
    assert found.observed is not None
    assert found.observed.values().sum() == round(factor * DATA.sum())
    assert (found.observed.values() <= DATA).all()
    np.testing.assert_array_equal(templates(run, load(run)).observed.values(), found.observed.values())


def test_the_network_has_the_events_of_its_own_channel_alone(tmp_path):
    written(tmp_path, contents())
    events = load(config(tmp_path))
    plain = load(changed(config(tmp_path), channels={"SR": {}}))
    for split in ("train", "validation", "template"):
        for ours, theirs in zip(getattr(events, split), getattr(plain, split), strict=True):
            np.testing.assert_array_equal(ours.features, theirs.features)
            np.testing.assert_array_equal(ours.weights, theirs.weights)


@pytest.mark.parametrize(
    ("rename", "keys"),
    [
        (lambda key: key.replace("CR/", "").replace("_jes", "_JES"), {"histogram": "{sample}{variation}"}),
        (lambda key: key.replace("_jes", "__jes_").lower(), {"variation": "__{systematic}_{direction}"}),
        (
            lambda key: key.replace("jesUp", "scale_UP").replace("jesDown", "scale_DOWN"),
            {"variation": "_{systematic}_{DIRECTION}"},
        ),
        (lambda key: key if "_" in key else f"{key}_nominal", {"nominal": "_nominal"}),
    ],
    ids=["no channel", "lower", "upper", "nominal"],
)
def test_histograms_are_named_by_patterns(tmp_path, rename, keys):
    made = {rename(key): value for key, value in contents().items()}
    names = {"jes": {"histogram": "JES", "variation": "scale"}.get(next(iter(keys)), "jes")}
    if keys == {"variation": "__{systematic}_{direction}"}:
        names |= {"CR": "cr", "QCD": "qcd"}
    data = next(key for key in made if key.endswith("data_obs"))
    if keys.get("variation", "").endswith("{direction}"):
        names["jes"] = "jes"
    run = config(written(tmp_path, made).parent, keys | {"names": names, "data": data})
    np.testing.assert_allclose(templates(run, load(run)).varied["jes", "QCD"][0], 1.1 * QCD)


def test_each_sample_may_have_a_file_and_each_variation_one(tmp_path):
    for key, value in contents().items():
        written(tmp_path, {"h": value}, f"{key.replace('/', '_')}.root")
    file = f"{tmp_path}/{{channel}}_{{sample}}{{variation}}.root"
    run = config(tmp_path, {"file": file, "histogram": "h", "data": None})
    events = load(run)
    np.testing.assert_allclose(templates(run, events).varied["jes", "ttbar"][0], 1.1 * TTBAR)
    assert [part.channel for part in events.observed] == ["SR"]
    assert {path.name for path in run.dataset.files(run.request)} == {
        "small.root",
        *(f"CR_{name}{side}.root" for name in ("ttbar", "QCD") for side in ("", "_jesUp", "_jesDown")),
    }


def test_without_squared_weights_the_error_is_the_root_of_the_contents(tmp_path):
    made = contents() | {"CR/QCD": (QCD, EDGES)}
    run = config(written(tmp_path, made).parent)
    np.testing.assert_allclose(templates(run, load(run)).histograms["QCD", NOMINAL].variances(), QCD)
    assert of(load(run), "QCD").effective_events == pytest.approx(100.0)


def test_what_is_beyond_the_axis_counts_where_it_is_asked_for(tmp_path, caplog):
    beyond = by_hist(QCD, QCD, flow=(3.0, 5.0))
    made = contents() | dict.fromkeys(("CR/QCD", "CR/QCD_jesUp", "CR/QCD_jesDown"), beyond)
    written(tmp_path, made)
    caplog.set_level(logging.INFO)
    without = load(config(tmp_path))
    np.testing.assert_allclose(of(without, "QCD").weights[0], QCD)
    assert "8 events beyond the axis are in no bin; channels.CR.observable.overflow=true counts them" in caplog.text
    counted = of(load(config(tmp_path, {"overflow": True})), "QCD")
    np.testing.assert_allclose(counted.weights[1], [43, 30, 20, 15])
    np.testing.assert_allclose(counted.histogram.variances[1], [43, 30, 20, 15])


# ------------------------------------------------------------------------------------------------ variations
def test_a_shape_without_histograms_does_not_act_there_and_that_is_told(tmp_path, caplog):
    made = {key: value for key, value in contents().items() if "QCD_jes" not in key}
    caplog.set_level(logging.INFO)
    with pytest.raises(DatasetError, match=r"'QCD'.* no histogram of any of jes, such as 'CR/QCD_jesUp'; closest: "):
        load(config(written(tmp_path, made).parent))
    flat = JES | {"flat": {"kind": "weight", "samples": ["QCD"], "up": "weight * 1.2", "down": "weight * 0.8"}}
    made |= {f"CR/QCD_flat{side}": by_hist(QCD, QCD) for side in ("Up", "Down")}
    run = config(written(tmp_path, made).parent, systematics=flat, fit=["jes", "flat"])
    events = load(run)
    assert "no histogram varies QCD by jes, which does not act on it there" in caplog.text
    found = templates(run, events)
    assert set(found.varied) == {("jes", "ttbar"), ("flat", "QCD")}


def test_a_pattern_without_variation_has_the_nominal_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run = config(written(tmp_path, contents()).parent, {"histogram": "{channel}/{sample}"})
    assert templates(run, load(run)).varied == {}
    assert "no histogram varies ttbar by jes, which does not act on it there" in caplog.text


@pytest.mark.parametrize(("rule", "down"), [("mirror", 0.9), ("none", 1.0)])
def test_of_one_direction_the_other_is_what_the_systematic_says(tmp_path, rule, down):
    up = {"kind": "weight", "samples": ["QCD", "ttbar"], "up": "weight * 1.2", "symmetrise": rule}
    made = {key: value for key, value in contents().items() if "Down" not in key}
    run = config(written(tmp_path, made).parent, systematics={"jes": up})
    np.testing.assert_allclose(templates(run, load(run)).varied["jes", "QCD"][1], down * QCD)
    made["CR/QCD_jesDown"] = by_hist(down * QCD, QCD)  # the same in the file
    run = config(written(tmp_path, made).parent, systematics={"jes": up})
    np.testing.assert_allclose(templates(run, load(run)).varied["jes", "QCD"][1], down * QCD)
    made["CR/QCD_jesDown"] = by_hist(0.7 * QCD, QCD)
    with pytest.raises(DatasetError, match=r"histogram of jes_down, and dataset\.systematics\.jes says that there is"):
        load(config(written(tmp_path, made).parent, systematics={"jes": up}))


def test_a_factor_of_one_channel_varies_its_histograms(tmp_path):
    made = {key.replace("_jes", "_jes_CR"): value for key, value in contents().items()}
    jes = {"jes": JES["jes"] | {"correlated": {"by": "channel"}}}
    run = config(written(tmp_path, made).parent, systematics=jes)
    assert set(templates(run, load(run)).varied) == {("jes_CR", "ttbar"), ("jes_CR", "QCD")}


# ------------------------------------------------------------------------------------ one sample of a channel
MIXED = {
    "selection": "x > 100",
    "observable": {"kind": "histogram", "expression": "x", "edges": EDGES.tolist(), "overflow": True},
}


def mixed(folder: Path, source: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Channels of which one has a background that somebody else made."""
    file = {"file": str(folder / "ready.root"), "histogram": PATTERN} | dict(source or {})
    return {"SR": {"selection": "x <= 100"}, "CR": MIXED | {"histograms": {"QCD": file}} | keys}


def test_a_background_is_a_histogram_where_the_others_are_events(tmp_path):
    # QCD has no event with x <= 100, so that its signal region needs another selection.
    written(tmp_path, contents())
    channels = mixed(tmp_path)
    channels["SR"]["selection"] = "x <= 100 or x > 1200"
    channels["CR"]["selection"] = "x > 100 and x <= 1200"
    run = with_channels(tmp_path, channels)
    events = load(run)
    assert [sample.name for sample in events.fixed] == ["ttbar", "QCD"]
    np.testing.assert_array_equal(of(events, "QCD").weights[0], QCD)
    numbers = np.arange(101, 241)
    weights = 1.0 + numbers % 3
    expected, _ = np.histogram(numbers, EDGES, weights=weights)
    found = templates(run, events)
    np.testing.assert_allclose(found.values("ttbar"), expected)
    np.testing.assert_allclose(found.values("QCD"), QCD)
    assert [item.name for item in events.template] == ["ttbar", "QCD"]


def test_a_sample_may_be_in_channels_of_histograms_alone(tmp_path):
    factors = {"": 0.25, "_ffUp": 0.3, "_ffDown": 0.2}
    written(tmp_path, contents() | {f"CR/fakes{side}": by_hist(QCD * x, QCD) for side, x in factors.items()})
    roles = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}, "Data": {"role": "data"}}
    samples = roles | {"fakes": {"role": "background", "events": False}}
    norm = {"kind": "normalisation", "samples": ["fakes"], "size": 0.3}
    own = {"fakes_norm": norm, "ff": {"kind": "shape", "samples": ["fakes"]}}
    run = config(tmp_path, samples=samples, systematics=JES | own, fit=["jes", *own])
    events = load(run)
    assert {sample.name for sample in events.template} == {"ttbar", "QCD"}
    np.testing.assert_allclose(of(events, "fakes").weights, [QCD * x for x in factors.values()])
    assert templates(run, events).samples == ("ttbar", "QCD", "fakes")
    validated = run.dataset.validated(run.request, ())
    assert {(item.channel, item.sample): item.expected for item in validated.ready} == {
        ("CR", "ttbar"): 30.0,
        ("CR", "QCD"): 100.0,
        ("CR", "fakes"): 25.0,
    }
    assert validated.observed_channels == {"SR": 240, "CR": DATA.sum()}
    with pytest.raises(ValueError, match=r"dataset\.samples\.fakes\.events is false, and no channel has a histogram"):
        with_channels(tmp_path, {"SR": {}}, samples=samples)
    channels = {"SR": {"samples": ["ttbar", "QCD", "fakes"]}, "CR": run.model_dump(mode="json")["channels"]["CR"]}
    with pytest.raises(ValueError, match=r"channels\.SR\.samples: 'fakes' is there, and dataset\.samples\.fakes\.ev"):
        with_channels(tmp_path, channels, samples=samples)


# ------------------------------------------------------------------------------------------------- what is wrong
def broken(**changes: Any) -> dict[str, Any]:
    made = contents()
    for key, value in changes.items():
        made[f"CR/{key}"] = value
    return made


@pytest.mark.parametrize(
    ("made", "keys", "error", "message"),
    [
        ({}, {}, DatasetError, r"no histogram of any of ttbar, QCD, such as 'CR/ttbar'"),
        (
            contents(),
            {"histogram": "{chanel}/{sample}"},
            ConfigError,
            r"channels\.CR\.observable\.histogram is '\{chanel\}",
        ),
        (
            contents(),
            {"histogram": "{channel}/h_{sample}"},
            DatasetError,
            r"such as 'CR/h_ttbar'; closest: 'CR/ttbar'\. Fix",
        ),
        (
            contents(),
            {"variation": "_{systematic}_{side}"},
            ConfigError,
            r"observable\.variation is '_\{systematic\}_\{side\}'",
        ),
        (
            contents(),
            {"data": "{channel}/Data"},
            DatasetError,
            r"observed events: histogram 'CR/Data' .* is missing; closest: 'CR/data_obs'",
        ),
        (
            contents(),
            {"file": "/nowhere/*.root"},
            DatasetFileError,
            r"/nowhere/\*\.root \(channels\.CR\.observable\.file\) is neither",
        ),
        (
            broken(QCD=by_hist(QCD - 15, QCD)),
            {},
            DatasetError,
            r"'QCD': histogram 'CR/QCD' in .*: the content of bin 4 of 4 is negative or not a number: -5",
        ),
        (
            broken(QCD=by_hist([np.nan, 1, 1, 1], QCD)),
            {},
            DatasetError,
            r"content of bin 1 of 4 is negative or not a number: nan",
        ),
        (
            broken(QCD_jesUp=by_hist(QCD, [1, np.inf, 1, 1])),
            {},
            DatasetError,
            r"'CR/QCD_jesUp'.* the squared error of bin 2",
        ),
        (
            broken(QCD=by_hist(0 * QCD, QCD)),
            {},
            TemplateError,
            r"'QCD': the histogram of channels\.CR\.observable is empty",
        ),
        (
            broken(QCD=by_hist(QCD[:3], 1, edges=EDGES[:4])),
            {},
            TemplateError,
            r"has 3 bins, and sample 'ttbar' 4; expected the same",
        ),
        (
            broken(QCD=by_hist(QCD, 1, edges=EDGES + 1)),
            {},
            TemplateError,
            r"has the edges \[1, 51, 101, 201, 401\], and sample 'ttbar' \[0, 50",
        ),
        (
            broken(QCD_jesUp=by_hist(QCD[:3], 1, edges=EDGES[:4])),
            {},
            TemplateError,
            r"'CR/QCD_jesUp' in .* has 3 bins with the edges",
        ),
        (
            broken(QCD=(np.ones((4, 2)), EDGES, EDGES[:3])),
            {},
            DatasetError,
            r"is a TH2D, expected a histogram of one dimension",
        ),
        (
            {key: value for key, value in contents().items() if key != "CR/QCD_jesDown"},
            {},
            DatasetError,
            r"has histograms of 'jes', and no 'CR/QCD_jesDown'; expected up and down",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, made, keys, error, message):
    written(tmp_path, made)
    with pytest.raises(error, match=message):
        load(config(tmp_path, keys))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA + 0.5, "contents that are no whole numbers, expected counted events"),
        ([45, 31, -33, 20], "content of bin 3 of 4 is negative or not a number; expected"),
        (DATA[:3], "has 3 bins, other ones than the templates"),
    ],
)
def test_errors_of_the_data_have_no_number_of_them(tmp_path, data, message):
    written(tmp_path, contents() | {"CR/data_obs": by_hist(data, 1, edges=EDGES[: len(data) + 1])})
    with pytest.raises((DatasetError, TemplateError), match=message) as caught:
        load(config(tmp_path))
    assert not any(f"{number:g}" in str(caught.value).replace(str(tmp_path), "") for number in data)


@pytest.mark.parametrize(
    ("source", "made", "message"),
    [
        (
            {},
            broken(QCD=by_hist(QCD[:3], 1, edges=EDGES[:4])),
            r"histograms\.QCD has 3 bins, and the channel, histogram, 4",
        ),
        (
            {},
            broken(QCD=by_hist(QCD, 1, edges=2 * EDGES)),
            r"has the edges \[0, 100, .*\], and the channel, histogram, \[0, 50",
        ),
        ({"histogram": "CR/h"}, contents(), r"histogram 'CR/h' in .* is missing"),
    ],
)
def test_a_background_must_have_the_bins_of_the_channel(tmp_path, source, made, message):
    channels = mixed(written(tmp_path, made).parent, source)
    with pytest.raises((DatasetError, TemplateError), match=message):
        load(with_channels(tmp_path, channels))


def test_bins_that_are_numbered_are_those_of_the_channel(tmp_path):
    numbered = {key: by_hist(QCD, QCD, edges=np.arange(5)) for key in ("CR/QCD", "CR/QCD_jesUp", "CR/QCD_jesDown")}
    channels = mixed(written(tmp_path, numbered).parent)
    channels |= {
        "SR": {"selection": "x <= 100 or x > 1200"},
        "CR": channels["CR"] | {"selection": "x > 100 and x <= 1200"},
    }
    run = with_channels(tmp_path, channels)
    found = templates(run, load(run))
    assert found.edges == tuple(EDGES)
    np.testing.assert_allclose(found.values("QCD"), QCD)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            {"SR": {"histograms": {"QCD": {"file": "a", "histogram": "b"}}}},
            r"channels\.SR\n.*histograms: QCD would be a histogram of bins that the network makes",
        ),
        (
            {"SR": {}, "CR": BESIDE | {"histograms": {"QCDs": {"file": "a", "histogram": "b"}}}},
            r"channels\.CR\.histograms: unknown sample 'QCDs'; closest: 'QCD'",
        ),
        (
            {"SR": {}, "CR": BESIDE | {"samples": ["ttbar"], "histograms": {"QCD": {"file": "a", "histogram": "b"}}}},
            r"channels\.CR\n.*histograms: 'QCD' is not in samples",
        ),
        (
            {
                "SR": {},
                "CR": {"selection": "x > 1", "observable": {"kind": "templates", "file": "a", "histogram": "b"}},
            },
            r"channels\.CR\n.*selection: the channel is made of histograms",
        ),
    ],
)
def test_what_contradicts_itself_is_told_before_anything_is_read(tmp_path, channels, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        with_channels(tmp_path, channels)


def test_the_data_of_a_channel_are_needed_where_they_are_fitted(tmp_path):
    run = config(written(tmp_path, contents()).parent, {"data": None})
    with pytest.raises(ValueError, match=r"fit\.data is 'observed', and channel 'CR' has no observed events"):
        changed(run, fit=run.fit.model_dump(mode="json") | {"data": "observed"})
    without = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    with pytest.raises(ValueError, match=r"observable\.data is '\{channel\}/data_obs', and no sample of the dataset"):
        config(tmp_path, samples=without)


def test_blinded_data_have_one_key_whatever_is_simulated(tmp_path):
    keys = []
    for made in (contents(), contents() | {"CR/QCD": by_hist(2 * QCD, QCD)}, broken(data_obs=(DATA + 1.0, EDGES))):
        written(tmp_path, made)
        events = [load(config(tmp_path, downsample_factor=factor)) for factor in (1.0, 0.5)]
        assert events[0].blinding_key == events[1].blinding_key
        keys.append((events[0].blinding_key, events[0].checksum))
    assert keys[0][0] == keys[1][0] != keys[2][0]
    assert len({checksum for _, checksum in keys}) == 3
