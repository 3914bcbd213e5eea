"""The nuisance model: one definition of each systematic for events, training, templates and workspace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyhf
import pytest
import torch
from conftest import build, compose, load, make_measurement, make_templates, ntuples, rows, small_trees, write

from inferno_cli.config.load import config_folder
from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import ConfigError, InfernoError
from inferno_cli.events.effects import Effect
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Sample, Variation
from inferno_cli.histograms.morph import envelope, enveloped, morphed, scaled
from inferno_cli.histograms.templates import fill
from inferno_cli.likelihood.information import covariance
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.evaluation import evaluate
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.recipe import template_channels
from inferno_cli.training.soft_likelihood import SoftLikelihood

TOP = ("dataset=top11004", "nuisance=jes_qcd_norm")
SIMULATION = ("TTJets_signal", "TTJets_bkg", "WZJets", "STJets")
PAIRS = {
    "kind": "weight",
    "samples": ["ttbar"],
    "up": "weight * (1 + 0.1 * {member} * (event % 2))",
    "down": "weight * (1 - 0.05 * {member} * (event % 3))",
    "members": 3,
}
JES = {"kind": "shape", "samples": ["ttbar"]}


@pytest.fixture
def small(tmp_path):
    """Write one file in which both samples have shifted trees."""
    n = np.arange(1, 241) + 1000
    return write(tmp_path / "small.root", small_trees(QCD_jes_up=rows(n, 0.5), QCD_jes_down=rows(n, -0.5)))


def described(effects: tuple[Effect, ...]) -> list[tuple[str, str, str]]:
    return [(effect.parameter, effect.systematic, effect.sample) for effect in effects]


# ------------------------------------------------------------------------------------------------ parameters
def test_a_systematic_is_one_parameter_for_all_its_samples():
    config = compose(*TOP)
    assert described(config.effects(("jes",))) == [("jes", "jes", sample) for sample in SIMULATION]
    assert config.parameters(("jes", "QCD_norm")) == ("jes", "QCD_norm")


def test_an_uncorrelated_systematic_is_one_parameter_for_each_sample():
    config = compose(*TOP, "+dataset.systematics.jes.correlated=false")
    assert config.parameters(("jes",)) == tuple(f"jes_{sample}" for sample in SIMULATION)
    assert Measurement.from_config(config, ("jes",)).parameters == ("mu", *(f"jes_{name}" for name in SIMULATION))


def test_systematics_of_one_kind_may_share_a_parameter():
    config = compose(
        *TOP,
        "+dataset.systematics.lumi_qcd={kind:normalisation,samples:[QCD],size:0.1,modifier_name:lumi}",
        "nuisance.fit=[lumi,lumi_qcd]",
    )
    measurement = Measurement.from_config(config, config.nuisance.fit)
    assert measurement.parameters == ("mu", "lumi")
    assert measurement.normalisation["lumi"] == dict.fromkeys(SIMULATION, (1.02, 0.98)) | {"QCD": (1.1, 0.9)}


@pytest.mark.parametrize(("envelope", "names"), [("true", ("pdf",)), ("false", ("pdf_0", "pdf_1"))])
def test_eigenvectors_are_an_envelope_or_one_parameter_each(envelope, names):
    config = ntuples(
        "x.root", systematics={"pdf": {**PAIRS, "members": 2, "envelope": envelope == "true"}}, fit=["pdf"]
    )
    assert config.parameters(("pdf",)) == names


def test_minos_takes_the_parameters_and_not_the_systematics():
    fine = (*TOP, "+dataset.systematics.jes.correlated=false")
    assert compose(*fine, "fit.minos=[mu,jes_STJets]").fit.minos == ("mu", "jes_STJets")
    with pytest.raises(ConfigError, match=r"fit.minos: 'jes' is not a parameter"):
        compose(*fine, "fit.minos=[mu,jes]")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            "+dataset.systematics.x={kind:normalisation,samples:[QCD],size:0.1,modifier_name:jes}",
            "'shape' and 'normalisation'; a correlated pair must be of one kind",
        ),
        (
            "+dataset.systematics.x={kind:normalisation,samples:[WZJets,QCD],size:0.1,modifier_name:lumi}",
            "vary sample 'WZJets' with the same parameter 'lumi'",
        ),
        (
            "+dataset.systematics.x={kind:normalisation,samples:[QCD],size:0.1,modifier_name:lumi,correlated:false}",
            "drop one of the two",
        ),
        ("+dataset.systematics.x={kind:normalisation,samples:[QDC],size:0.1}", "closest: 'QCD'"),
        (
            "+dataset.systematics.x={kind:normalisation,samples:[QCD],size:0.1,modifier_name:mu}",
            "parameter of interest",
        ),
        ("+dataset.systematics.x={kind:normalisation,samples:[QCD],size:0.5,scale:2}", "lower scale"),
        ("dataset.systematics.toy_shift.feature=MET_mt", "closest: 'MET_met'"),
        ("~dataset.systematics.btag.down", "there is no down variation; say what it is: symmetrise: mirror"),
        ("+dataset.systematics.btag.members=3", "eigenvectors need {member} in both"),
        ("+dataset.systematics.jes.scale=0", "dataset.systematics.jes.scale"),
    ],
)
def test_a_contradiction_is_one_clear_error(overrides, says):
    with pytest.raises(ConfigError) as error:
        compose(*TOP, overrides)
    assert says in str(error.value)


def test_two_systematics_may_not_make_the_same_parameter_by_accident():
    systematics = {
        "jes": JES | {"correlated": False},
        "jes_ttbar": {"kind": "shape", "samples": ["QCD"]},
    }
    with pytest.raises(ValueError, match="both make a parameter 'jes_ttbar'"):
        ntuples("x.root", systematics=systematics)


# ---------------------------------------------------------------------------------------------------- events
def test_uncorrelated_shapes_come_from_the_same_trees(small):
    systematics = {"jes": {"kind": "shape", "samples": ["ttbar", "QCD"], "correlated": False}}
    events = load(ntuples(small, fit=["jes"], systematics=systematics))
    assert [str(item) for item in events.train[1].variations] == ["nominal", "jes_QCD_up", "jes_QCD_down"]
    shift = events.train[1].features[1, :, 0] - events.train[1].features[0, :, 0]
    np.testing.assert_allclose(shift, 0.5)


def test_a_pair_of_systematics_reads_the_trees_that_source_names(small):
    systematics = {
        "jes": JES,
        "jes_qcd": {"kind": "shape", "samples": ["QCD"], "modifier_name": "jes", "source": "jes"},
    }
    events = load(ntuples(small, fit=["jes", "jes_qcd"], systematics=systematics))
    assert {sample.systematics for sample in events.template} == {("jes",)}


def test_every_eigenvector_has_its_own_weights(small):
    (ttbar, _) = load(ntuples(small, fit=["pdf"], systematics={"pdf": PAIRS})).train
    assert ttbar.systematics == ("pdf_0", "pdf_1", "pdf_2")
    number = np.rint(ttbar.features[0, :, 0]).astype(int)
    ratio = ttbar.weights[ttbar.variations.index(Variation("pdf_2", "up"))] / ttbar.weights[0]
    # A split is rescaled to the yield of each variation, by nearly 1.
    np.testing.assert_allclose(ratio / ratio[number % 2 == 0][0], 1 + 0.2 * (number % 2), rtol=1e-12)


@pytest.mark.parametrize(("relative", "size"), [(False, 3.0), (True, 0.1)])
def test_an_artificial_shift_moves_one_feature_and_the_yield(small, relative, size):
    shift = {"kind": "shift", "samples": ["ttbar"], "feature": "y", "size": size, "relative": relative}
    config = ntuples(small, fit=["toy"], systematics={"toy": shift | {"yield_change": 0.06}})
    (ttbar, qcd) = load(config).template
    assert qcd.variations == (NOMINAL,)
    up, down = ttbar.features[1], ttbar.features[2]
    change = size * (ttbar.features[0, :, 1] if relative else 1)
    np.testing.assert_allclose(up[:, 1] - ttbar.features[0, :, 1], change, rtol=1e-5)
    np.testing.assert_allclose(down[:, 1] - ttbar.features[0, :, 1], -change, rtol=1e-5)
    np.testing.assert_array_equal(up[:, 0], ttbar.features[0, :, 0])
    np.testing.assert_allclose(ttbar.yields / ttbar.yields[0], [1, 1.06, 0.94], rtol=1e-12)


def test_the_synthetic_mixture_can_be_shifted_too():
    toy = "+dataset.systematics.toy={kind:shift,samples:[signal],feature:x1,size:0.3}"
    config = compose(toy, "nuisance.fit=[r,toy]", "dataset.events.train=1000")
    signal, background = load(config).train
    assert (signal.systematics, background.systematics) == (("toy",), ("r",))
    np.testing.assert_allclose(signal.features[1, :, 1] - signal.features[0, :, 1], 0.3, atol=1e-5)


def test_only_keeps_what_some_variations_need(small):
    events = load(ntuples(small, fit=["jes", "pdf"], systematics={"jes": JES, "pdf": PAIRS}))
    sample = events.train[0]
    kept = sample.only(["pdf_1"])
    assert [str(item) for item in kept.variations] == ["nominal", "pdf_1_up", "pdf_1_down"]
    assert kept.features.shape[0] == 1
    np.testing.assert_allclose(kept.yields, sample.yields[[0, 3, 4]])
    assert sample.only(sample.systematics) is sample


# -------------------------------------------------------------------------------------------------- templates
def test_scale_stretches_the_change_and_normalisation_can_be_left_out():
    nominal, up = np.array([10.0, 20.0]), np.array([12.0, 27.0])
    np.testing.assert_allclose(morphed(Morph(("a",), scale=0.5), nominal, up), [11.0, 23.5])
    kept = morphed(Morph(("a",), part="shape", scale=2.0), nominal, up)
    assert kept.sum() == pytest.approx(30)
    np.testing.assert_allclose(kept - nominal, 2 * (up * 30 / 39 - nominal))


def test_an_envelope_is_the_sum_in_quadrature_on_either_side():
    nominal = np.array([100.0, 50.0, 10.0])
    changes = np.array([[[3, 1, 0], [-2, -1, 0]], [[-4, 2, 0], [5, 1, 0]]])  # the second: both up in the second bin
    pairs = nominal + changes
    for kind in (np.asarray, torch.as_tensor):
        up, down = envelope(kind(nominal), [(kind(a), kind(b)) for a, b in pairs])
        np.testing.assert_allclose(np.asarray(up) - nominal, [np.hypot(3, 5), np.hypot(1, 2), 0], atol=1e-11)
        np.testing.assert_allclose(nominal - np.asarray(down), [np.hypot(2, 4), 1, 0], atol=1e-11)


def test_the_gradient_of_an_envelope_is_finite_where_nothing_varies():
    nominal = torch.tensor([5.0, 1.0], dtype=torch.float64, requires_grad=True)
    up, _ = envelope(nominal, [(nominal * 1.0, nominal * 1.0)] * 2)
    up.sum().backward()
    assert torch.isfinite(nominal.grad).all()


def envelope_case(small, *, is_one_sided=False, **change):
    without = ({"directions": ["up"]}, {"down": None}) if is_one_sided else ({}, {})
    systematics = {"jes": JES | change | without[0], "pdf": PAIRS | change | without[1]}
    config = ntuples(small, fit=["jes", "pdf"], systematics=systematics)
    return config, load(config), Measurement.from_config(config, config.nuisance.fit)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scale": 0.3},
        {"part": "shape"},
        {"part": "shape", "scale": 1.7},
        {"part": "norm", "scale": 1.7},
        {"is_one_sided": True, "symmetrise": "mirror", "scale": 1.7},
        {"is_one_sided": True, "symmetrise": "none", "part": "norm"},
    ],
)
def test_soft_templates_with_hard_memberships_are_the_hard_templates(small, change):
    """Training and fit share one nuisance model, envelope, scale and all."""
    _, events, measurement = envelope_case(small, **change)
    likelihood = SoftLikelihood.of(measurement, events.train, events.template)
    bins = [(sample.features[:, :, 0].astype(int) // 7) % 4 for sample in events.template]
    one_hot = [torch.nn.functional.one_hot(torch.from_numpy(number.astype(np.int64)), 4).double() for number in bins]
    soft = likelihood.expectation(to_tensors(events.template, "cpu"), one_hot)
    templates = enveloped(scaled(fill(events.template, bins, 4), measurement), measurement)
    hard = template_channels(measurement, [templates])
    for field in ("nominal", "normsys", "histosys", "relative_error"):
        torch.testing.assert_close(getattr(soft, field), getattr(hard, field), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(covariance(soft), covariance(hard), rtol=1e-8, atol=1e-25)


def test_an_envelope_is_taken_of_the_merged_bins(small):
    _, events, measurement = envelope_case(small)
    bins = [(sample.features[:, :, 0].astype(int) // 7) % 4 for sample in events.template]
    merged = scaled(fill(events.template, bins, 4), measurement).grouped([(0, 1), (2, 3)])
    found = enveloped(merged, measurement)
    changes = [
        merged.values("ttbar", Variation(f"pdf_{i}", "up")) - merged.values("ttbar") for i in range(PAIRS["members"])
    ]
    above = found.values("ttbar", Variation("pdf", "up")) - found.values("ttbar")
    assert (above >= np.sqrt(np.sum(np.square(np.clip(changes, 0, None)), axis=0)) - 1e-9).all()
    assert {name for name, _ in found.varied} == {"jes", "pdf"}
    assert found.noise["pdf", "ttbar"] == pytest.approx(sum(merged.noise[f"pdf_{i}", "ttbar"] for i in range(3)))


def test_the_noise_of_a_scaled_systematic_scales_with_its_square(small):
    _, events, measurement = envelope_case(small, scale=3.0)
    filled = fill(events.template, [(sample.features[:, :, 0].astype(int) // 7) % 4 for sample in events.template], 4)
    np.testing.assert_allclose(scaled(filled, measurement).noise["jes", "ttbar"], 9 * filled.noise["jes", "ttbar"])


# --------------------------------------------------------------------------------------- training and the fit
def test_what_is_only_in_the_fit_is_absent_from_the_loss(small):
    systematics = {"jes": JES, "pdf": PAIRS}
    config = ntuples(small, fit=["jes", "pdf"], systematics=systematics)
    config = config.model_copy(update={"nuisance": replace_nuisance(config, train=("jes",))})
    events = load(config)
    measurement = Measurement.from_config(config, config.nuisance.train)
    split = [sample.only(measurement.variations) for sample in events.train]
    likelihood = SoftLikelihood.of(measurement, split, events.template)
    assert likelihood.measurement.parameters == ("mu", "jes")
    assert likelihood.strata[0].variations == (NOMINAL, Variation("jes", "up"), Variation("jes", "down"))
    rule = config.binning.model_copy(update={"min_effective_events": 1.0, "max_noise_information": 1e9})
    summary = config.model.summary
    network = config.model.network.build(torch.zeros(2), torch.ones(2), summary.n_outputs)
    networks = ChannelNetworks.shared(Observable(network, summary, events.features))
    found = evaluate(
        networks, likelihood, events.validation, rule, Measurement.from_config(config, config.nuisance.fit)
    )
    assert set(found.deviations) <= {"mu", "jes"}
    assert np.isfinite(found.soft)


def replace_nuisance(config, **changes):
    return config.nuisance.model_copy(update=changes)


def test_one_parameter_may_have_another_size_on_every_sample(tmp_path):
    measurement = make_measurement(["signal", "QCD"], staterror=False)
    measurement = replace(measurement, normalisation={"lumi": {"signal": (1.02, 0.98), "QCD": (1.1, 0.8)}})
    templates = make_templates({"signal": [5.0, 9.0], "QCD": [50.0, 30.0]})
    spec = build(templates, measurement, poi_bounds=(-5, 10), observed=False, folder=tmp_path).spec
    model = pyhf.Workspace(spec).model(modifier_settings={"normsys": {"interpcode": "code4"}})
    theta = np.array(model.config.suggested_init())
    assert "lumi" in model.config.par_names
    theta[model.config.par_names.index("lumi")] = -1.0
    found = model.expected_data(theta, include_auxdata=False)
    np.testing.assert_allclose(found, [5 * 0.98 + 50 * 0.8, 9 * 0.98 + 30 * 0.8], rtol=1e-12)


def test_weights_that_sum_to_zero_are_an_error(small):
    pdf = {"kind": "weight", "samples": ["ttbar"], "up": "weight", "down": "weight * 0"}
    config = ntuples(small, fit=["pdf"], systematics={"pdf": pdf})
    with pytest.raises(InfernoError, match=r"'ttbar', pdf_down: the weights sum to 0"):
        load(config)


def test_the_groups_of_the_systematics_are_those_of_the_fit():
    groups = compose("dataset=top11004", "nuisance=all").grouped_fit.groups
    assert groups is not None
    assert list(groups) == ["energy scales", "efficiencies", "theory", "luminosity"]
    assert groups["energy scales"] == ("jes", "jer", "taue")
    assert compose(*TOP).grouped_fit.groups == {"energy scales": ("jes",)}
    assert compose("nuisance=r_lambda").grouped_fit.groups is None
    split = compose(*TOP, "+dataset.systematics.jes.correlated=false").grouped_fit.groups
    assert split == {"energy scales": tuple(f"jes_{name}" for name in SIMULATION)}
    assert compose(*TOP, "fit.groups={mine: [jes]}").grouped_fit.groups == {"mine": ("jes",)}


def test_every_systematic_of_the_measurement_is_in_its_preset():
    config = compose("dataset=top11004", "nuisance=all")
    reference = {"jes", "jer", "taue", "btag", "trigger", "pdf", "lumi", "tau_trigger", "tau_id"}
    reference |= {"ttmass", "ttq2", "ttparton", "xsec_tt", "xsec_wz", "xsec_st", "QCD_norm"}
    assert set(config.parameters(config.nuisance.fit)) == reference
    factors = Measurement.from_config(config, config.nuisance.fit).normalisation
    assert factors["tau_id"] == dict.fromkeys(SIMULATION, (1.06, 0.94))
    # Table 4.1 of the thesis has the cross-section of the other top pairs; that of the signal is what is measured.
    assert factors["xsec_tt"] == {"TTJets_bkg": pytest.approx((1.061, 0.939))}
    # What no histogram can tell from mu: 2% luminosity, 5 and 6% tau, 3, 2 and 3% of the modelling of top pairs.
    rates = [samples["TTJets_signal"][0] - 1 for samples in factors.values() if "TTJets_signal" in samples]
    assert sum(rate**2 for rate in rates) ** 0.5 == pytest.approx(0.0933, abs=1e-4)


@pytest.mark.parametrize("preset", sorted(path.stem for path in (config_folder() / "nuisance").glob("*.yaml")))
def test_no_yield_of_a_preset_is_that_of_a_free_one(preset):
    """Both would scale the same samples, and nothing in the data could tell them apart."""
    if preset == "every":
        pytest.skip("whatever the dataset has: of top11004 mistag is beside the free QCD_norm")
    dataset = {"norm": "exponential"}.get(preset, "synthetic" if preset.startswith("r_") else "top11004")
    config = compose(f"dataset={dataset}", f"nuisance={preset}")
    scaled = [config.dataset.systematics[name] for name in config.nuisance.fit]
    free = [set(item.samples) for item in scaled if item.kind == "free"]
    assert [item for item in scaled if item.kind == "normalisation" and set(item.samples) in free] == []


def test_a_sample_refuses_a_variation_of_another_length(small):
    sample = load(ntuples(small)).train[0]
    assert isinstance(sample, Sample)
    with pytest.raises(ValueError, match="same shape"):
        sample.with_variation("x", (sample.features[0][:5], sample.weights[0]), (sample.features[0], sample.weights[0]))
