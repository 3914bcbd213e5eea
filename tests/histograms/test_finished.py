"""What is done to merged templates before they are fitted: smoothing, pruning, and what is said of the even part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_measurement, make_templates

from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import Variation
from inferno_cli.histograms.finished import finished
from inferno_cli.histograms.fitted import fitted
from inferno_cli.histograms.pruning import Pruned, pruned
from inferno_cli.histograms.smoothing import smooth, smoothed
from inferno_cli.histograms.symmetry import hidden_bins, is_hidden, parts
from inferno_cli.likelihood.writers.pyhf import workspace
from inferno_cli.runs.record import PartsRecord
from inferno_cli.runs.training_record import even_notes

NOMINAL = {"signal": [5.0, 10.0, 20.0], "QCD": [100.0, 100.0, 100.0], "top": [50.0, 40.0, 10.0]}


def measured(**shapes: dict[str, Morph]):
    return replace(make_measurement(list(NOMINAL), staterror=False), shapes=shapes)


def templates_of(**varied):
    return make_templates(NOMINAL, varied={tuple(key.split("__")): pair for key, pair in varied.items()})


# ------------------------------------------------------------------------------------------------------ smoothing
@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ([1.0, 1, 1, 1, 1, 1], [1.0, 1, 1, 1, 1, 1]),
        # Medians leave a rise as it is, and so do means of three.
        ([1.0, 2, 3, 4, 5, 6], [1.0, 2, 3, 4, 5, 6]),
        # A step: medians leave it, the running mean (1, 2, 1) / 4 softens it, and the residuals vanish in the medians.
        ([1.0, 1, 1, 3, 3, 3], [1.0, 1, 1.5, 2.5, 3, 3]),
        # One bin that is off is no systematic; the sum of 12 is kept.
        ([1.0, 1, 1, 7, 1, 1], [2.0, 2, 2, 2, 2, 2]),
    ],
)
def test_353qh_twice_by_hand(ratio, expected):
    for nominal in (np.full(6, 10.0), np.array([10.0, 10, 10, 10, 10, 10]) * 3):
        np.testing.assert_allclose(smooth(np.array(ratio) * nominal, nominal), np.array(expected) * nominal)


def test_the_sum_is_kept_whatever_the_nominal_template():
    rng = np.random.default_rng(1)
    nominal = rng.uniform(1, 100, 12)
    varied = nominal * rng.uniform(0.8, 1.2, 12)
    after = smooth(varied, nominal)
    assert after.sum() == pytest.approx(varied.sum())
    assert np.std(np.diff(after / nominal)) < 0.5 * np.std(np.diff(varied / nominal))


def test_bins_without_a_positive_yield_stay_as_they_are():
    nominal, varied = np.array([10.0, 0, 10, 10, -1, 10]), np.array([10.0, 2, 10, 16, -3, 10])
    np.testing.assert_allclose(smooth(varied, nominal), [11.5, 2, 11.5, 11.5, -3, 11.5])


def test_only_what_is_to_be_smoothed_is_and_a_mirror_image_stays_one():
    varied = ([110.0, 150.0, 110.0], [90.0, 90.0, 90.0])
    morph = Morph(("jes",), missing="down", mirror=True, smooth="353QH_twice")
    measurement = measured(jes={"QCD": morph, "top": Morph(("jes",))})
    templates = templates_of(jes__QCD=varied, jes__top=([51.0, 44.0, 10.0], [49.0, 36.0, 10.0]))
    found, too_few = smoothed(templates, measurement)
    up, down = found.varied["jes", "QCD"]
    np.testing.assert_allclose(up, np.full(3, 370 / 3))
    np.testing.assert_allclose(down, 200 - up)
    np.testing.assert_array_equal(found.varied["jes", "top"], templates.varied["jes", "top"])
    assert too_few == ()


def test_what_has_too_few_bins_is_told_and_stays():
    measurement = measured(jes={"QCD": Morph(("jes",), smooth="353QH_twice")})
    templates = templates_of(jes__QCD=([110.0, 150.0, 110.0], [90.0, 60.0, 90.0])).grouped([(0, 1), (2,)])
    found, too_few = smoothed(templates, measurement)
    assert too_few == (("jes", "QCD"),)
    np.testing.assert_array_equal(found.varied["jes", "QCD"], templates.varied["jes", "QCD"])


# -------------------------------------------------------------------------------------------------------- pruning
def pruning_case():
    """On QCD a shape of 4% with a yield of 0.1%, on top a yield of 10% alone, on the signal 0.2% of both."""
    jes = dict.fromkeys(NOMINAL, Morph(("jes",)))
    measurement = replace(measured(jes=jes, tiny={"top": Morph(("tiny",))}), normalisation={
        "lumi": {"QCD": (1.02, 0.98), "top": (1.001, 0.999)}, "nothing": {"QCD": (1.001, 0.998)}
    })  # fmt: skip
    templates = templates_of(
        jes__QCD=([104.0, 96.3, 100.0], [96.0, 103.7, 100.0]),
        jes__top=([55.0, 44.0, 11.0], [45.0, 36.0, 9.0]),
        jes__signal=([5.01, 10.02, 20.04], [4.99, 9.98, 19.96]),
        tiny__top=([50.01, 40, 10], [49.99, 40, 10]),
    )
    return templates, measurement


def test_effects_below_the_threshold_are_left_out_and_told():
    before, measurement = pruning_case()
    (templates,), left, told = pruned([before], measurement, 0.005)
    found = {(item.parameter, item.sample): (item.part, item.is_all) for item in told}
    assert found == {
        ("lumi", "top"): ("norm", True),
        ("nothing", "QCD"): ("norm", True),
        ("jes", "signal"): ("both", True),
        ("jes", "QCD"): ("norm", False),
        ("jes", "top"): ("shape", False),
        ("tiny", "top"): ("both", True),
    }
    sizes = {(item.parameter, item.sample): item.change for item in told}
    assert sizes["jes", "signal"] == pytest.approx(0.002)
    assert sizes["jes", "QCD"] == pytest.approx(0.001)
    assert sizes["nothing", "QCD"] == pytest.approx(0.002)
    assert left.parameters == ("mu", "lumi", "jes")
    assert {sample: morph.part for sample, morph in left.shapes["jes"].items()} == {"QCD": "shape", "top": "norm"}
    assert left.normalisation == {"lumi": {"QCD": (1.02, 0.98)}}
    assert set(templates.varied) == set(templates.noise) == {("jes", "QCD"), ("jes", "top")}
    up, _ = templates.varied["jes", "QCD"]
    assert up.sum() == pytest.approx(300)
    np.testing.assert_allclose(up, np.array([104.0, 96.3, 100.0]) * 300 / 300.3)
    np.testing.assert_allclose(templates.varied["jes", "top"][0], [55, 44, 11])


def test_what_is_pruned_is_in_no_workspace():
    before, measurement = pruning_case()
    channels, left, _ = pruned([before], measurement, 0.005)
    spec = workspace(fitted(channels, left, poi_bounds=(0, 5), observed=False))
    names = {}
    for sample in spec["channels"][0]["samples"]:
        names[sample["name"]] = {modifier["name"] for modifier in sample["modifiers"]}
    assert names == {"signal": {"mu"}, "QCD": {"lumi", "jes"}, "top": {"jes"}}
    assert {item["name"] for item in spec["measurements"][0]["config"]["parameters"]} <= {"mu", "lumi", "jes"}


def test_nothing_is_pruned_without_a_threshold_or_a_constraint_or_what_is_asked_for():
    templates, measurement = pruning_case()
    assert pruned([templates], measurement, None) == ((templates,), measurement, ())
    free = replace(measurement, unconstrained=("jes", "tiny"))
    assert {item.parameter for item in pruned([templates], free, 0.005)[2]} == {"lumi", "nothing"}
    assert {item.parameter for item in pruned([templates], measurement, 0.005, ("jes", "lumi"))[2]} == {
        "nothing",
        "tiny",
    }


def test_the_shape_of_a_bin_that_is_empty_in_the_nominal_is_not_small():
    nominal = {"signal": [5.0, 10.0], "QCD": [100.0, 0.0]}
    templates = make_templates(nominal, varied={("jes", "QCD"): ([100.0, 0.1], [100.0, 0.0])})
    measurement = replace(make_measurement(list(nominal)), shapes={"jes": {"QCD": Morph(("jes",))}})
    assert pruned([templates], measurement, 0.01)[2] == (Pruned("jes", "QCD", "norm", pytest.approx(0.001), False),)


def test_a_shape_without_its_yield_is_pruned_as_a_shape():
    templates = templates_of(jes__QCD=([100.1, 100, 99.9], [99.9, 100, 100.1]))
    measurement = measured(jes={"QCD": Morph(("jes",), part="shape")})
    assert pruned([templates], measurement, 0.005)[2] == (Pruned("jes", "QCD", "shape", pytest.approx(0.001), True),)


# ------------------------------------------------------------------------------------------------------ even part
def planted():
    """Up and down of jes are the same in bin 1: the information does not see it."""
    same = [100.0, 130.0, 100.0]
    return templates_of(jes__QCD=(same, same), tail__QCD=([110.0, 100, 100], [90.0, 100, 100])), measured(
        jes={"QCD": Morph(("jes",))}, tail={"QCD": Morph(("tail",))}
    )


def test_a_planted_pair_of_one_side_is_told_with_its_bin():
    templates, measurement = planted()
    found = finished([templates], measurement, symmetrise=0.05).parts
    error = np.sqrt(150 + 4e-4 * (10**2 + 100**2 + 40**2))
    np.testing.assert_allclose(found["jes"].even_bins, [0, 30 / error, 0])
    np.testing.assert_allclose(found["jes"].odd_bins, 0)
    assert hidden_bins(found["jes"]) == (1,)
    assert hidden_bins(found["tail"]) == ()
    (note,) = even_notes(found, ["0", "1", "2", "3"])
    assert note.startswith("up and down of jes move the templates to the same side by")
    assert "in bin 1" in note


def test_one_bin_is_told_where_the_others_hide_it():
    """All bins together are moved apart by more than to one side."""
    templates = templates_of(jes__QCD=([120.0, 112.0, 100.0], [80.0, 112.0, 100.0]))
    found = parts([templates], [templates], measured(jes={"QCD": Morph(("jes",))}))["jes"]
    assert found.even < found.odd
    assert hidden_bins(found) == (1,)
    assert is_hidden(found)


def test_a_missing_direction_that_is_the_nominal_hides_nothing_beyond_its_half():
    templates = templates_of(jes__QCD=([113.0, 127.1, 91.3], [100.0, 100.0, 100.0]))
    morph = Morph(("jes",), missing="down")
    found = finished([templates], measured(jes={"QCD": morph}), symmetrise=0.05).parts["jes"]
    np.testing.assert_allclose(np.abs(found.even_bins), np.abs(found.odd_bins))
    assert not is_hidden(found)


def test_records_of_earlier_versions_have_no_bins():
    assert is_hidden(PartsRecord(odd=0.1, even=0.5))
    assert not is_hidden(PartsRecord(odd=0.6, even=0.5))


def test_a_direction_that_is_the_nominal_is_not_made_symmetric_as_noise():
    templates = make_templates(
        NOMINAL, varied={("jes", "QCD"): ([101.0, 100, 100], [100.0, 100, 100])}, noise={("jes", "QCD"): [9.0] * 3}
    )
    templates = replace(templates, noise={("jes", "QCD"): np.full((2, 3), 9.0)})
    after = {}
    for missing in (None, "down"):
        measurement = measured(jes={"QCD": Morph(("jes",), missing=missing)})
        done = finished([templates], measurement, symmetrise=0.05)
        after[missing] = done.channels[0].values("QCD", Variation("jes", "up"))[0]
    assert after == {None: 100.5, "down": 101.0}
