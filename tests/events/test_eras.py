"""Eras: files of several periods that are one sample, and systematics with a nuisance parameter for each of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import load, ntuples, observed, rows, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import ConfigError, DatasetError, TreeNotFoundError
from inferno_cli.events.assignment import FILE, SplitAssignment, folds_of
from inferno_cli.events.description import describe
from inferno_cli.events.modifiers import Morph, NormSys
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.files import file_checksum

ERAS = {"A": 1.0, "B": 100.0}
"""What is added to x in an era, so that it tells the era; ids repeat."""
N = {"A": np.arange(1, 241), "B": np.arange(1, 361)}
FILES = {"file": "{era}/{sample}.root", "tree": "events{variation}", "eras": ["A", "B"]}


@pytest.fixture
def folder(tmp_path):
    """Files of two eras: up of jes has 1.1, down 0.9 times the weight."""
    for era, offset in ERAS.items():
        (tmp_path / era).mkdir()
        for sample in ("ttbar", "QCD", "Data"):
            own = {"v": np.full(len(N[era]), 1.5)} | ({} if sample == "ttbar" else {"y": 2.0 * N[era]})
            trees = {"events": rows(N[era], 1000 * offset, **own)}
            if sample == "ttbar":
                for name, shift, factor in (("up", 0.25, 1.1), ("down", -0.25, 0.9)):
                    varied = rows(N[era], 1000 * offset + shift)
                    trees[f"events_jes_{name}"] = varied | {"w": varied["w"] * factor}
            write(tmp_path / era / f"{sample}.root", trees)
    return tmp_path


def dataset(folder, fit=(), systematics=None, **keys):
    return ntuples(folder, fit=fit, systematics=systematics or {}, **(FILES | keys))


def is_of(sample, era):
    """Which nominal events are of an era."""
    return (sample.features[0, :, 0] >= 50_000) == (era == "B")


def row(sample, name, direction):
    return sample.variations.index(Variation(name, direction))


WEIGHTS = {era: (1.0 + n % 3).sum() for era, n in N.items()}


# ----------------------------------------------------------------------------------------------------- one sample
def test_a_sample_is_read_from_all_eras_and_ids_repeat_between_them(folder):
    events = load(dataset(folder))
    for split in (events.train, events.validation, events.template):
        assert split[0].yields[0] == pytest.approx(sum(WEIGHTS.values()))
    n = sum(len(sample[0].group) for sample in (events.train, events.validation, events.template))
    assert n == 600
    assert len(observed(events)) == 600


def test_without_eras_the_same_files_are_an_error(folder):
    with pytest.raises(DatasetError, match=r"240 of 600 events repeat an id \(run \+ event\)"):
        load(dataset(folder, file="*/{sample}.root", eras=[]))


def test_an_era_has_a_luminosity_of_its_own(folder):
    eras = {"A": {"luminosity_scale": 2.0}, "B": None}
    sample = load(dataset(folder, eras=eras, luminosity_scale=10.0)).template[0]
    assert sample.yields[0] == pytest.approx(10 * (2 * WEIGHTS["A"] + WEIGHTS["B"]))


def test_an_era_may_be_a_number_in_yaml_and_be_in_the_path_or_the_tree(folder):
    (folder / "2017").symlink_to(folder / "A")
    by_path = load(dataset(f"{folder}/{{era}}", eras=[2017, "B"], file="{sample}.root"))
    assert by_path.template[0].yields[0] == pytest.approx(sum(WEIGHTS.values()))
    trees = {f"{era}_{sample}": rows(N[era]) for era in ERAS for sample in ("ttbar", "QCD", "Data")}
    path = write(folder / "all.root", trees)
    assert len(observed(load(dataset(path, tree="{era}_{sample}")))) == 600


def test_a_repeated_id_within_an_era_is_still_an_error(folder):
    write(folder / "B/ttbar2.root", {"events": rows(N["B"])})
    with pytest.raises(DatasetError, match=r"360 of 960 events repeat an id \(era \+ run \+ event\)"):
        load(dataset(folder, file="{era}/{sample}*.root"))


def test_a_tree_of_two_eras_is_an_error(folder):
    with pytest.raises(DatasetError, match=r"is that of two eras, A and B, expected one of each. Put \{era\} into"):
        load(dataset(folder, file="A/{sample}.root"))


def test_a_missing_era_names_it(folder):
    (folder / "C").mkdir()
    write(folder / "C/ttbar.root", {"other": rows(N["A"])})
    with pytest.raises(TreeNotFoundError, match=r"tree 'events' \(sample 'ttbar', nominal, C\) is missing"):
        load(dataset(folder, eras=["A", "B", "C"]))


def test_era_without_eras_is_an_error(folder):
    with pytest.raises(
        ConfigError, match=r"dataset\.file is '\{era\}/\{sample\}\.root'; .*; \{era\} needs dataset\.eras"
    ):
        load(dataset(folder, eras=[]))


# -------------------------------------------------------------------------------------------- what a run used it for
@pytest.mark.parametrize("is_by_row", [False, True])
def test_the_split_of_a_row_is_that_of_its_era(folder, is_by_row):
    config = dataset(folder, **({"event_id": []} if is_by_row else {}))
    events = load(config)
    events.assignment.save(folder)
    stored = SplitAssignment.load(folder, events.checksum)
    for era, n in N.items():
        path = folder / era / "ttbar.root"
        features = np.stack([n + 1000 * ERAS[era], np.sqrt(n)], axis=1).astype(np.float32)
        ids = np.stack([np.full(len(n), 7), n], axis=1) if not is_by_row else np.empty((len(n), 0), dtype=np.int64)
        split = stored.of_rows(file_checksum(path), "events", ids, features, 0)
        for number, part in enumerate((events.train, events.validation, events.template)):
            own = part[0].features[0][is_of(part[0], era), 0]
            assert set(features[split == number, 0]) == set(own)
        # In a file that the run has not read, it is told by the features.
        copied = stored.of_rows("another", "events", ids, features, 0)
        assert np.array_equal(copied, np.full(len(n), -2) if is_by_row else split)


def test_an_assignment_of_before_there_were_eras_is_read(folder):
    config = dataset(folder, eras=["A"], file="{era}/{sample}.root")
    events = load(
        config.model_copy(update={"dataset": config.dataset.model_copy(update={"eras": {}, "file": "A/{sample}.root"})})
    )
    events.assignment.save(folder)
    with np.load(folder / FILE) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays["about"]))
    del about["n_eras"]
    about["trees"] = [item[:4] for item in about["trees"]]
    np.savez(folder / FILE, **(arrays | {"about": np.array(json.dumps(about))}))
    assert SplitAssignment.load(folder, events.checksum).parts == events.assignment.parts


# ------------------------------------------------------------------------------------------------- a parameter each
JES = {"kind": "shape", "samples": ["ttbar"], "correlated": {"by": "era"}}
LUMI = {"kind": "normalisation", "samples": ["ttbar", "QCD"], "size": [0.02, -0.01], "correlated": {"by": "era"}}
WEIGHT = {"kind": "weight", "samples": ["QCD"], "up": "weight * v", "symmetrise": "none", "correlated": {"by": "era"}}


def test_shifted_trees_of_an_era_vary_its_events_alone(folder):
    config = dataset(folder, fit=["jes"], systematics={"jes": JES})
    assert config.parameters(("jes",)) == ("jes_A", "jes_B")
    sample = load(config).template[0]
    assert set(sample.variations) == {
        NOMINAL,
        *(Variation(f"jes_{era}", side) for era in ERAS for side in ("up", "down")),
    }
    for era in ERAS:
        own = is_of(sample, era)
        for side, shift in (("up", 0.25), ("down", -0.25)):
            index = row(sample, f"jes_{era}", side)
            moved = sample.features[sample.view[index], :, 0] - sample.features[0, :, 0]
            assert set(moved[own]) == {shift}
            assert set(moved[~own]) == {0.0}
    whole = (
        dataset(folder, fit=["jes"], systematics={"jes": JES}).dataset.validated(config.request, ()).samples[0].events
    )
    for era in ERAS:
        expected = sum(WEIGHTS.values()) + 0.1 * WEIGHTS[era]
        assert whole.yields[row(whole, f"jes_{era}", "up")] == pytest.approx(expected)
        own = is_of(whole, era)
        index = row(whole, f"jes_{era}", "up")
        np.testing.assert_allclose(whole.weights[index][own], 1.1 * whole.weights[0][own])
        np.testing.assert_array_equal(whole.weights[index][~own], whole.weights[0][~own])


def test_the_variations_of_the_eras_add_up_to_the_correlated_one(folder):
    by_era = load(dataset(folder, fit=["jes"], systematics={"jes": JES})).template[0]
    correlated = load(dataset(folder, fit=["jes"], systematics={"jes": JES | {"correlated": True}})).template[0]
    for side in ("up", "down"):
        together = correlated.weights[row(correlated, "jes", side)] - correlated.weights[0]
        apart = sum(by_era.weights[row(by_era, f"jes_{era}", side)] - by_era.weights[0] for era in ERAS)
        # Each variation of a split keeps its yield, so that they are scaled a little differently.
        assert apart.sum() == pytest.approx(together.sum(), rel=1e-9)


@pytest.mark.parametrize("definition", [LUMI, WEIGHT])
def test_weights_of_an_era_vary_its_events_alone(folder, definition):
    up, down = (1.02, 0.99) if definition is LUMI else (1.5, 1.0)
    config = dataset(folder, fit=["s"], systematics={"s": definition}, eras={"A": {"luminosity_scale": 3.0}, "B": {}})
    sample = config.dataset.validated(config.request, ()).samples[-1].events
    for era in ERAS:
        own = is_of(sample, era)
        for side, factor in (("up", up), ("down", down)):
            ratio = sample.weights[row(sample, f"s_{era}", side)] / sample.weights[0]
            np.testing.assert_allclose(ratio[own], factor, rtol=1e-12)
            assert set(ratio[~own]) == {1.0}
    total = 3 * WEIGHTS["A"] + WEIGHTS["B"]
    assert sample.yields[row(sample, "s_B", "up")] == pytest.approx(total + (up - 1) * WEIGHTS["B"])


def test_a_yield_of_an_era_is_a_shape_and_of_all_a_normsys(folder):
    config = dataset(folder, fit=["lumi"], systematics={"lumi": LUMI})
    measurement = Measurement.from_config(config, ("lumi",))
    assert dict(measurement.normalisation) == {}
    assert {name: set(touched) for name, touched in measurement.shapes.items()} == {
        f"lumi_{era}": {"ttbar", "QCD"} for era in ERAS
    }
    assert all(isinstance(effect.modifier, Morph) for effect in config.effects(("lumi",)))
    whole = dataset(folder, fit=["lumi"], systematics={"lumi": LUMI | {"correlated": {"by": "sample"}}})
    assert whole.parameters(("lumi",)) == ("lumi_ttbar", "lumi_QCD")
    assert {effect.modifier for effect in whole.effects(("lumi",))} == {NormSys((1.02, 0.99))}


def test_a_shared_name_is_shared_within_an_era(folder):
    shared = {"one": LUMI | {"samples": ["ttbar"]}, "two": LUMI | {"samples": ["QCD"], "size": 0.5}}
    named = {name: item | {"modifier_name": "lumi"} for name, item in shared.items()}
    config = dataset(folder, fit=["one", "two"], systematics=named)
    assert config.parameters(("one", "two")) == ("lumi_A", "lumi_B")


def test_eigenvectors_of_an_era(folder):
    pdf = WEIGHT | {
        "up": "weight * (1 + {member} / 10)",
        "down": "weight * (1 - {member} / 10)",
        "members": 2,
        "symmetrise": None,
    }
    config = dataset(folder, fit=["pdf"], systematics={"pdf": pdf})
    assert config.parameters(("pdf",)) == ("pdf_A", "pdf_B")
    sample = load(config).template[1]
    ratio = sample.weights[row(sample, "pdf_B_1", "up")] / sample.weights[0]
    scale = ratio[~is_of(sample, "B")][0]  # of the split
    np.testing.assert_allclose(ratio[is_of(sample, "B")] / scale, 1.1, rtol=1e-12)


def test_other_events_of_an_era_are_divided_by_themselves(folder):
    for era in ERAS:
        table = rows(N[era][:200] + 5000, 1000 * ERAS[era] + 0.5)
        write(folder / era / "herwig.root", {"events": table | {"w": np.full(200, 2.0)}})
    own = {"file": "{era}/herwig.root", "tree": "events", "paired": False, "symmetrise": "mirror"}
    config = dataset(folder, fit=["shower"], systematics={"shower": JES | own})
    events = load(config)
    assert set(events.assignment.divisions) == {"ttbar", "QCD", "ttbar@shower_up_A", "ttbar@shower_up_B"}
    sample = config.dataset.validated(config.request, ()).samples[0].events
    up = row(sample, "shower_A", "up")
    assert sample.yields[up] == pytest.approx(400 + WEIGHTS["B"])
    ids = np.stack([np.full(200, 7), np.arange(5001, 5201)], axis=1)
    split = events.assignment.of_rows(
        file_checksum(folder / "A/herwig.root"), "events", ids, np.zeros((200, 2), dtype=np.float32), 0
    )
    assert set(split) == {0, 1, 2}


def test_the_description_has_a_line_for_each_era(folder):
    from inferno_cli.report.dataset.tables import tables

    config = dataset(folder, fit=["lumi", "jes"], systematics={"lumi": LUMI, "jes": JES})
    validated = config.dataset.validated(config.request, ())
    description = describe(validated, config.request.effects, bins=10, seed=1, downsample_factor=1.0)
    lines = {line.cells[0]: line.cells[2] for line in tables(description)[1].rows}
    assert set(lines) == {"lumi_A", "lumi_B", "jes_A", "jes_B"}
    share = 2 * WEIGHTS["B"] / sum(WEIGHTS.values())
    assert lines["lumi_B"] == f"{share:+.1f} {-share / 2:+.1f}"


@pytest.mark.parametrize(
    ("systematic", "eras", "says"),
    [
        (LUMI, [], r"systematics\.s\.correlated: by is 'era', and the dataset has no eras"),
        ({"kind": "free", "samples": ["QCD"], "correlated": {"by": "era"}}, ["A"], "kind 'free' cannot vary"),
        (LUMI | {"correlated": {"by": "month"}}, ["A"], "month"),
    ],
)
def test_what_cannot_be_correlated_is_one_error(folder, systematic, eras, says):
    with pytest.raises(ValueError, match=says):
        dataset(folder, fit=["s"], systematics={"s": systematic}, eras=eras)


def test_a_parameter_of_an_era_is_not_that_of_all_events(folder):
    systematics = {"lumi": LUMI, "two": LUMI | {"correlated": True, "modifier_name": "lumi_A"}}
    with pytest.raises(ValueError, match=r"share the parameter 'lumi_A', which varies the events of A and all events"):
        dataset(folder, systematics=systematics)


# --------------------------------------------------------------------------------------------- samples of some eras
def test_a_sample_may_be_of_some_eras(folder):
    (folder / "A/QCD.root").unlink()
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background", "eras": ["B"]}, "Data": {"role": "data"}}
    config = dataset(folder, fit=["lumi"], systematics={"lumi": LUMI}, samples=samples)
    effects = {(effect.parameter, effect.sample) for effect in config.effects(("lumi",))}
    assert effects == {("lumi_A", "ttbar"), ("lumi_B", "ttbar"), ("lumi_B", "QCD")}
    background = config.dataset.validated(config.request, ()).samples[1].events
    assert background.yields[0] == pytest.approx(WEIGHTS["B"])
    assert background.yields[row(background, "lumi_B", "up")] == pytest.approx(1.02 * WEIGHTS["B"])
    events = load(config)
    (part,) = events.assignment.parts[file_checksum(folder / "B/QCD.root"), "events"]
    assert (part.sample, part.era) == ("QCD", 1)
    ids = np.stack([np.full(360, 7), N["B"]], axis=1)
    split = events.assignment.of_rows(
        file_checksum(folder / "B/QCD.root"), "events", ids, np.zeros((360, 2), dtype=np.float32), 0
    )
    assert set(split) == {0, 1, 2}


def test_an_unknown_era_of_a_sample_is_one_error(folder):
    samples = {"ttbar": {"role": "signal", "eras": ["C"]}, "QCD": {"role": "background"}}
    with pytest.raises(ValueError, match=r"samples\.ttbar\.eras: unknown era 'C'"):
        dataset(folder, samples=samples)


def test_the_fold_of_observed_events_is_known_to_predict(folder):
    config = dataset(folder, splits={"folds": 2, "validation": 0.2})
    events = load(config)
    folds = [set(part.features[:, 0].tolist()) for part in events.observed]
    told = [set(), set()]
    for era, n in N.items():
        ids = np.stack([np.full(len(n), 7), n], axis=1)
        for fold in range(2):
            told[fold] |= set((n + 1000 * ERAS[era])[folds_of(ids, 2) == fold].tolist())
    assert folds == told
