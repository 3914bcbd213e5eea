"""Names of shifted trees, systematics of one direction, and which part of a change counts."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load, ntuples, rows, small_trees, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import ConfigError, TreeNotFoundError
from inferno_cli.events.description import describe
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.histograms.morph import enveloped, floored, morphed, scaled, sides
from inferno_cli.histograms.templates import fill
from inferno_cli.histograms.yield_changes import yield_changes

N = np.arange(1, 241)
JES = {"kind": "shape", "samples": ["ttbar"]}
UP, DOWN = Variation("jes", "up"), Variation("jes", "down")


def shifted(up: str, down: str | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Trees of every sample, and of the shifted signal with these names; x tells the shift, up has twice the weight."""
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    trees[up] = rows(N, 0.25) | {"w": 2.0 * rows(N)["w"]}
    if down is not None:
        trees[down] = rows(N, -0.25)
    return trees


def row(sample, variation):
    return sample.variations.index(variation)


# ------------------------------------------------------------------------------------------------------- patterns
@pytest.mark.parametrize(
    ("trees", "of_dataset", "of_systematic"),
    [
        (("ttbarJESUp", "ttbarJESDown"), {"variation": "{systematic}{Direction}"}, {"source": "JES"}),
        (("ttbar_JES_UP", "ttbar_JES_DOWN"), {"variation": "_{systematic}_{DIRECTION}"}, {"source": "JES"}),
        (("ttbar_jes_up", "ttbar_jes_down"), {}, {}),
        (("ttbarJESUp", "ttbarJESDown"), {}, {"variation": "JES{Direction}"}),
        (("ttbar.jesUP", "ttbar.jesDOWN"), {}, {"tree": "{sample}.{systematic}{DIRECTION}"}),
        (("up of ttbar", "down of ttbar"), {}, {"variation": "{direction}", "tree": "{variation} of {sample}"}),
    ],
)
def test_the_direction_is_spelt_as_its_placeholder(tmp_path, trees, of_dataset, of_systematic):
    path = write(tmp_path / "a.root", shifted(*trees))
    config = ntuples(path, fit=["jes"], systematics={"jes": JES | of_systematic}, **of_dataset)
    sample = load(config).template[0]
    assert sample.yields[row(sample, UP)] == pytest.approx(2 * sample.yields[row(sample, DOWN)])
    shifts = [sample.features[sample.view[row(sample, side)], :, 0] - sample.features[0, :, 0] for side in (UP, DOWN)]
    assert [set(shift) for shift in shifts] == [{0.25}, {-0.25}]
    assert {tree for _, tree in config.dataset.trees()} == {"ttbar", "QCD", "Data", *trees}
    assert list(config.dataset.files(config.request)) == [path]


def test_a_systematic_may_have_files_of_its_own(tmp_path):
    trees = shifted("ttbar_jes_up", "ttbar_jes_down")
    for name, table in trees.items():
        file = {"ttbar_jes_up": "tt-JESUp", "ttbar_jes_down": "tt-JESDown"}.get(name, name)
        write(tmp_path / f"{file}.root", {"events": table})
    own = {"variation": "", "tree": "events", "file": "tt-JES{Direction}.root"}
    config = ntuples(tmp_path, fit=["jes"], systematics={"jes": JES | own}, file="{sample}.root", tree="events")
    sample = load(config).template[0]
    assert sample.yields[row(sample, UP)] == pytest.approx(2 * sample.yields[row(sample, DOWN)])
    assert len(config.dataset.files(config.request)) == 5


@pytest.mark.parametrize("key", ["variation", "tree", "file"])
def test_an_unknown_placeholder_of_a_systematic_names_its_key(tmp_path, key):
    path = write(tmp_path / "a.root", shifted("ttbar_jes_up", "ttbar_jes_down"))
    folder = tmp_path if key == "file" else path
    with pytest.raises(ConfigError, match=rf"dataset\.systematics\.jes\.{key} is '\{{directoin\}}'"):
        load(
            ntuples(folder, fit=["jes"], systematics={"jes": JES | {key: "{directoin}", "directions": ["up", "down"]}})
        )


def test_one_tree_for_both_directions_is_an_error(tmp_path):
    path = write(tmp_path / "a.root", shifted("ttbar_jes"))
    with pytest.raises(TreeNotFoundError, match=r"up and down are the same tree 'ttbar_jes'.*directions: \[up\]"):
        load(ntuples(path, fit=["jes"], variation="_{systematic}"))


# ----------------------------------------------------------------------------------------------------- directions
ONE_TREE = [{"directions": ["up"], "variation": "_jes_{direction}"}, {"variation": "_jes_up"}, {"tree": "ttbar_jes_up"}]
ONE_WEIGHT = {"kind": "weight", "samples": ["ttbar"], "up": "2 * weight"}


@pytest.mark.parametrize("own", [*[JES | own for own in ONE_TREE], ONE_WEIGHT])
def test_without_a_rule_for_the_missing_direction_there_is_one_message(tmp_path, own):
    with pytest.raises(ValueError, match=r"no down variation; say what it is: symmetrise: mirror .* symmetrise: none"):
        ntuples(tmp_path, fit=["jes"], systematics={"jes": own})


@pytest.mark.parametrize("own", [JES, ONE_WEIGHT | {"down": "weight"}])
def test_a_rule_for_a_direction_that_is_there_is_an_error(tmp_path, own):
    with pytest.raises(ValueError, match="symmetrise is 'none', and both variations are there"):
        ntuples(tmp_path, fit=["jes"], systematics={"jes": own | {"symmetrise": "none"}})


def test_a_direction_that_is_named_twice_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="directions has one twice"):
        ntuples(tmp_path, systematics={"jes": JES | {"directions": ["up", "up"], "symmetrise": "none"}})


@pytest.mark.parametrize("rule", ["mirror", "none"])
@pytest.mark.parametrize("own", [*[JES | own for own in ONE_TREE], ONE_WEIGHT])
def test_the_missing_direction_has_the_nominal_events_and_a_template_by_its_rule(tmp_path, own, rule):
    path = write(tmp_path / "a.root", shifted("ttbar_jes_up"))
    config = ntuples(path, fit=["jes"], systematics={"jes": own | {"symmetrise": rule, "scale": 0.5}})
    sample = load(config).template[0]
    assert sample.view[row(sample, DOWN)] == sample.view[row(sample, NOMINAL)] == 0
    np.testing.assert_array_equal(sample.weights[row(sample, DOWN)], sample.weights[0])
    measurement = Measurement.from_config(config, ("jes",))
    bins = [(item.features[:, :, 0].astype(int) // 7) % 4 for item in (sample, load(config).template[1])]
    templates = enveloped(scaled(fill(load(config).template, bins, 4), measurement), measurement)
    nominal = templates.values("ttbar")
    np.testing.assert_allclose(templates.values("ttbar", UP), 1.5 * nominal)
    np.testing.assert_allclose(templates.values("ttbar", DOWN), (0.5 if rule == "mirror" else 1.0) * nominal)
    found = {item.sample: item for item in yield_changes(load(config).template, bins, templates, measurement, {})}
    np.testing.assert_allclose(found["ttbar"].up, 0.5)
    np.testing.assert_allclose(found["ttbar"].down, -0.5 if rule == "mirror" else 0.0, atol=1e-12)
    np.testing.assert_allclose(
        found["ttbar"].down_error, found["ttbar"].up_error if rule == "mirror" else 0.0, atol=1e-9
    )
    validated = config.dataset.validated(config.request, ())
    (entry,) = describe(validated, config.request.effects, bins=2, seed=1, downsample_factor=1.0).systematics
    assert (entry.up, entry.down) == pytest.approx((0.5, -0.5 if rule == "mirror" else 0.0))
    assert entry.rows == ((240,) if own["kind"] == "shape" else None)


def test_only_down_can_be_there(tmp_path):
    path = write(tmp_path / "a.root", shifted("ttbar_x", "ttbar_jes_down"))
    own = JES | {"directions": ["down"], "symmetrise": "mirror"}
    config = ntuples(path, fit=["jes"], systematics={"jes": own})
    sample = load(config).template[0]
    np.testing.assert_array_equal(sample.weights[row(sample, UP)], sample.weights[0])
    assert set(sample.features[sample.view[row(sample, DOWN)], :, 0] - sample.features[0, :, 0]) == {-0.25}


def test_the_noise_of_a_mirror_image_is_that_of_the_whole_change(tmp_path):
    """(up - down) / 2 is up - nominal: twice what it is where down is the nominal; and there is no even part."""
    path = write(tmp_path / "a.root", shifted("ttbar_jes_up"))
    noise = {}
    for rule in ("mirror", "none"):
        config = ntuples(path, fit=["jes"], systematics={"jes": JES | {"directions": ["up"], "symmetrise": rule}})
        samples = load(config).template
        bins = [(item.features[:, :, 0].astype(int) // 7) % 4 for item in samples]
        measurement = Measurement.from_config(config, ("jes",))
        noise[rule] = scaled(fill(samples, bins, 4), measurement).noise["jes", "ttbar"]
    np.testing.assert_allclose(noise["mirror"], [4 * noise["none"][0], np.zeros(4)])
    assert (noise["none"] > 0).all()


# --------------------------------------------------------------------------------------------------- other events
HERWIG = JES | {"tree": "{sample}_herwig", "symmetrise": "mirror"}


def of_another_generator(tmp_path, **own):
    """The same ids as those of nominal events, and others: x is 1000 more, and there are half as many, of 3 times w."""
    n = np.arange(1, 121)
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    path = write(tmp_path / "a.root", trees | {"ttbar_herwig": rows(n, 1000) | {"w": 3.0 * rows(n)["w"]}})
    return ntuples(path, fit=["jes"], systematics={"jes": HERWIG | own})


def test_events_of_another_generator_are_others_whatever_their_ids(tmp_path):
    config = of_another_generator(tmp_path, paired=False)
    events = load(config)
    for sample in (getattr(events, split)[0] for split in ("train", "validation", "template")):
        used = sample.weights != 0
        assert not (used[0] & used[row(sample, UP)]).any()
        np.testing.assert_allclose(sample.yields[[row(sample, item) for item in (NOMINAL, UP, DOWN)]], [480, 720, 480])
    assert sum(len(getattr(events, split)[0].group) for split in ("train", "validation", "template")) == 240 + 120
    # Nothing cancels in the noise of up - down: sum of w^2 of both, and the mirror image doubles the change.
    sample = events.template[0]
    bins = [np.zeros(item.features.shape[:2], dtype=int) for item in events.template]
    measurement = Measurement.from_config(config, ("jes",))
    noise = scaled(fill(events.template, bins, 1), measurement).noise["jes", "ttbar"]
    np.testing.assert_allclose(noise[0], (sample.weights[[0, row(sample, UP)]] ** 2).sum())


def test_the_split_of_an_event_of_another_generator_is_its_own(tmp_path):
    config = of_another_generator(tmp_path, paired=False)
    events = load(config)
    assignment = events.assignment
    ((checksum, _), *_) = assignment.parts
    for tree, variation, shift in (("ttbar", NOMINAL, 0), ("ttbar_herwig", UP, 1000)):
        for number, split in enumerate(("train", "validation", "template")):
            sample = getattr(events, split)[0]
            used = sample.weights[row(sample, variation)] != 0
            event = np.rint(sample.features[sample.view[row(sample, variation)]][used][:, 0]).astype(int) - shift
            ids = np.stack([np.full(len(event), 7), event], axis=1)
            found = assignment.of_rows(checksum, tree, ids, np.zeros((len(event), 2), np.float32), 0)
            assert set(found.tolist()) == {number}, (tree, split)


def test_the_nominal_events_are_divided_as_without_those_of_another_generator(tmp_path):
    config = of_another_generator(tmp_path, paired=False)
    validated = config.dataset.validated(config.request, ("event",))
    assert validated.samples[0].overlap == {UP: 0.0}
    assert validated.samples[0].rows == {NOMINAL: 240, UP: 120}


# ------------------------------------------------------------------------------------------------------ templates
def test_a_mirror_image_is_not_negative():
    morph = Morph(("jes",), missing="down", mirror=True)
    nominal, up = np.array([10.0, 10.0, -2.0, -2.0]), np.array([12.0, 25.0, 1.0, -3.0])
    pair = sides(morph, nominal, up, nominal)
    np.testing.assert_array_equal(pair[1], [8, -5, -5, -1])
    np.testing.assert_array_equal(floored(morph, nominal, pair)[1], [8, 0, -2, -1])
    np.testing.assert_array_equal(floored(morph, nominal, pair)[0], up)
    other = Morph(("jes",), missing="up", mirror=True)
    np.testing.assert_array_equal(floored(other, nominal, sides(other, nominal, nominal, up))[0], [8, 0, -2, -1])


@pytest.mark.parametrize("part", ["both", "norm", "shape"])
def test_a_change_is_that_of_the_yield_and_that_of_the_shape(part):
    nominal, varied = np.array([10.0, 30.0]), np.array([22.0, 22.0])
    found = morphed(Morph(("jes",), part=part), nominal, varied)
    np.testing.assert_allclose(found, {"both": [22, 22], "norm": [11, 33], "shape": [20, 20]}[part])


def test_the_error_of_a_change_of_the_yield_is_that_of_all_bins(tmp_path):
    """In one bin it is the error of the change of all that is there."""
    weight = {"kind": "weight", "samples": ["ttbar"], "up": "weight * (1 + 0.001 * x)", "down": "weight"}
    path = write(tmp_path / "a.root", small_trees())
    errors = {}
    for part, n_bins in (("norm", 4), ("both", 1)):
        config = ntuples(path, fit=["jes"], systematics={"jes": weight | {"part": part}})
        samples = load(config).template
        bins = [(item.features[:, :, 0].astype(int) // 7) % n_bins for item in samples]
        measurement = Measurement.from_config(config, ("jes",))
        templates = enveloped(scaled(fill(samples, bins, n_bins), measurement), measurement)
        changes = yield_changes(samples, bins, templates, measurement, {})
        errors[part] = next(item.up_error for item in changes if item.sample == "ttbar")
    np.testing.assert_allclose(errors["norm"], np.repeat(errors["both"], 4), rtol=1e-9)
    assert errors["both"][0] > 0
