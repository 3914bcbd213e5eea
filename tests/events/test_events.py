"""Ntuples: what is read, how events are paired and split, and what every bad input is answered with."""

from __future__ import annotations

import shutil
from importlib.resources import files

import numpy as np
import pytest
from conftest import changed, compose, load, ntuples, observed, rows, small_trees, synthetic, write

from inferno_cli.errors import (
    BranchNotFoundError,
    DatasetError,
    DatasetFileError,
    InfernoError,
    TemplateError,
    TreeNotFoundError,
)
from inferno_cli.events.sample import NOMINAL, Events, Sample, Variation, generator, split_rows

EVENTS = np.arange(1, 241)
SPLITS = ("train", "validation", "template")
BTAG = {"kind": "weight", "samples": ["ttbar"], "up": "weight * up_factor", "down": "weight * 0.5"}
JES = {"kind": "shape", "samples": ["ttbar"]}


@pytest.fixture
def small(tmp_path):
    """Write one file with a tree per sample and variation."""
    return write(tmp_path / "small.root", small_trees())


def joined(events: Events, number: int = 0) -> dict[str, np.ndarray]:
    """Weights of all splits of one sample by event number, each variation's; x tells the number."""
    parts = [getattr(events, split)[number] for split in SPLITS]
    return {
        "x": np.concatenate([part.features[:, :, 0] for part in parts], axis=1),
        "weights": np.concatenate([part.weights for part in parts], axis=1),
    }


def event_numbers(sample: Sample) -> set[int]:
    """Numbers of the events of a sample, from any variation that selects them; x is the number plus a shift."""
    found: set[int] = set()
    for view, weights in zip(sample.view, sample.weights, strict=True):
        found |= set(np.rint(sample.features[view][weights != 0][:, 0]).astype(int).tolist())
    return found


# -------------------------------------------------------------------------------------- where the events are
def test_a_tree_per_sample_in_one_file(small):
    events = load(ntuples(small, fit=["jes"]))
    assert [sample.name for sample in events.train] == ["ttbar", "QCD"]
    assert [sample.is_signal for sample in events.train] == [True, False]
    assert set.union(*(event_numbers(getattr(events, split)[0]) for split in SPLITS)) == set(EVENTS.tolist())
    assert set.union(*(event_numbers(getattr(events, split)[1]) for split in SPLITS)) == set((EVENTS + 1000).tolist())
    assert set(observed(events)[:, 0].astype(int).tolist()) == set((EVENTS + 2000).tolist())
    np.testing.assert_allclose(observed(events)[:, 1], np.sqrt(observed(events)[:, 0]), rtol=1e-6)


def test_a_file_per_sample_with_the_same_tree_in_each(tmp_path):
    for name, table in small_trees().items():
        write(tmp_path / f"{name}.root", {"events": table})
    separate = load(ntuples(tmp_path, fit=["jes"], file="{sample}{variation}.root", tree="events"))
    together = load(ntuples(write(tmp_path / "one.root", small_trees()), fit=["jes"]))
    for split in SPLITS:
        for one, two in zip(getattr(separate, split), getattr(together, split), strict=True):
            np.testing.assert_array_equal(one.features, two.features)
            np.testing.assert_array_equal(one.weights, two.weights)


def test_several_files_of_one_sample_are_read_together(tmp_path):
    write(tmp_path / "ttbar_1.root", {"events": rows(EVENTS[:100])})
    write(tmp_path / "ttbar_2.root", {"events": rows(EVENTS[100:])})
    write(tmp_path / "QCD_1.root", {"events": rows(EVENTS)})
    write(tmp_path / "Data_1.root", {"events": rows(EVENTS)})
    events = load(ntuples(tmp_path, file="{sample}_*.root", tree="events"))
    np.testing.assert_allclose(events.train[0].yields, events.train[1].yields)
    assert set.union(*(event_numbers(getattr(events, split)[0]) for split in SPLITS)) == set(EVENTS.tolist())


def test_several_files_of_one_sample_need_no_event_id(tmp_path):
    write(tmp_path / "ttbar_1.root", {"events": rows(EVENTS[:100])})
    write(tmp_path / "ttbar_2.root", {"events": rows(EVENTS[100:])})
    write(tmp_path / "QCD_1.root", {"events": rows(EVENTS)})
    write(tmp_path / "Data_1.root", {"events": rows(EVENTS)})
    settings = ntuples(tmp_path, file="{sample}_*.root", tree="events", event_id=[], systematics={})
    assert sum(len(getattr(load(settings), split)[0].group) for split in SPLITS) == 240


def test_without_event_id_every_row_is_an_event(small):
    events = load(ntuples(small, event_id=[], systematics={}))
    assert sum(len(getattr(events, split)[0].group) for split in SPLITS) == 240


@pytest.mark.parametrize("path", ["{folder}/sm*.root", "{folder}/*", "sm*.root", "../{name}/small.root"])
def test_the_path_may_be_a_glob_absolute_or_relative(tmp_path, monkeypatch, path):
    write(tmp_path / "small.root", small_trees())
    monkeypatch.chdir(tmp_path)
    events = load(ntuples(path.format(folder=tmp_path, name=tmp_path.name)))
    assert len(observed(events)) == 240


def test_a_sample_may_have_a_tree_and_a_file_of_its_own(tmp_path):
    trees = small_trees()
    other = {"multijet": trees.pop("QCD")}
    write(tmp_path / "small.root", trees)
    write(tmp_path / "driven.root", other)
    samples = {
        "ttbar": {"role": "signal"},
        "QCD": {"role": "background", "tree": "multijet", "file": "driven.root"},
    }
    events = load(ntuples(tmp_path, samples=samples, file="small.root"))
    assert event_numbers(events.template[1]) <= set((EVENTS + 1000).tolist())


def test_trees_that_are_not_read_may_be_missing(tmp_path):
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    assert load(ntuples(write(tmp_path / "small.root", trees))).train[0].variations == (NOMINAL,)


def test_the_checksum_is_that_of_the_content(small, tmp_path):
    copy = tmp_path / "elsewhere.root"
    shutil.copy(small, copy)
    other = write(tmp_path / "other.root", small_trees(QCD=rows(EVENTS + 1001)))
    assert load(ntuples(small)).checksum == load(ntuples(copy)).checksum
    assert load(ntuples(small)).checksum != load(ntuples(other)).checksum


def test_rntuples_are_read_as_ttrees_are(tmp_path):
    trees = small_trees(ttbar=rows(EVENTS, up_factor=1 + EVENTS / 100))
    settings = {"fit": ["jes", "btag"], "systematics": {"jes": JES, "btag": BTAG}, "weight": "2 * w + y"}
    files = [write(tmp_path / f"{kind}.root", trees, rntuple=kind) for kind in (False, True)]
    old, new = (load(ntuples(file, **settings)) for file in files)
    for split in SPLITS:
        for one, two in zip(getattr(old, split), getattr(new, split), strict=True):
            np.testing.assert_array_equal(one.features, two.features)
            np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(observed(old), observed(new))


def in_two_files(tmp_path, *without: str):
    """Write each tree to two files, half the events in each; the second file has not the trees ``without``."""
    for number, part in enumerate((EVENTS[:120], EVENTS[120:]), start=1):
        trees = {
            "ttbar": rows(part),
            "ttbar_jes_up": rows(part, 0.25),
            "ttbar_jes_down": rows(part, -0.25),
            "QCD": rows(part + 1000),
            "Data": rows(part + 2000),
        }
        kept = {name: table for name, table in trees.items() if number == 1 or name not in without}
        write(tmp_path / f"part{number}.root", kept)
    return tmp_path


def test_a_shifted_tree_that_one_of_several_files_lacks_is_an_error(tmp_path):
    folder = in_two_files(tmp_path, "ttbar_jes_up")
    with pytest.raises(TreeNotFoundError) as caught:
        load(ntuples(folder, fit=["jes"]))
    lacking = str(folder / "part2.root")
    assert says(str(caught.value), "tree 'ttbar_jes_up'", "jes_up", lacking, "1 of the 2 files", "Write it there")


def test_a_file_without_the_nominal_tree_needs_no_shifted_one(tmp_path):
    folder = in_two_files(tmp_path, "ttbar", "ttbar_jes_up", "ttbar_jes_down")
    assert load(ntuples(folder, fit=["jes"])).template[0].yields == pytest.approx([sum(1 + EVENTS[:120] % 3)] * 3)


def test_shifted_trees_may_be_in_files_of_their_own_that_the_same_pattern_finds(tmp_path):
    """The nominal events are in one file, the shifted ones are divided over two."""
    trees = small_trees()
    up = trees.pop("ttbar_jes_up")
    write(tmp_path / "nominal.root", trees)
    for number, part in enumerate((slice(0, 100), slice(100, None))):
        half = {name: values[part] for name, values in up.items()}
        write(tmp_path / f"up{number}.root", {"ttbar_jes_up": half})
    assert load(ntuples(tmp_path, fit=["jes"])).template[0].yields == pytest.approx([480] * 3)


def test_a_shifted_tree_that_is_the_nominal_one_is_an_error(tmp_path):
    for name in ("ttbar", "QCD", "Data"):
        write(tmp_path / f"{name}.root", {"events": rows(EVENTS)})
    with pytest.raises(TreeNotFoundError) as caught:
        load(ntuples(tmp_path, fit=["jes"], file="{sample}.root", tree="events"))
    assert says(str(caught.value), "sample 'ttbar', jes_up", "nominal tree 'events' again", "Put {variation}")


def test_a_histogram_in_the_place_of_a_tree_is_an_error(tmp_path):
    import uproot

    trees = small_trees()
    del trees["QCD"]
    file = write(tmp_path / "small.root", trees)
    with uproot.update(file) as opened:
        opened["QCD"] = np.histogram(EVENTS)
    with pytest.raises(TreeNotFoundError) as caught:
        load(ntuples(file))
    assert says(str(caught.value), "'QCD'", str(file), "is a TH1D, expected a TTree or RNTuple", "Fix dataset.tree")


# ------------------------------------------------------------------------------------------------- weights
def test_the_weight_is_an_expression_of_branches(small):
    events = load(ntuples(small, weight="2 * w + y"))
    expected = sum(2 * (1 + n % 3) + np.float32(np.sqrt(n)) for n in EVENTS)
    np.testing.assert_allclose(events.template[0].yields, [expected], rtol=1e-6)


@pytest.mark.parametrize(("expression", "total"), [("1", 240), ("0.5", 120), ("w", 480), ("-w + 4", 480)])
def test_the_weight_may_be_a_constant_or_one_branch(small, expression, total):
    assert load(ntuples(small, weight=expression)).train[0].yields == pytest.approx(total)


@pytest.mark.parametrize("expression", ["weight", "w * weight", "w"])
def test_a_branch_may_be_called_weight(tmp_path, expression):
    tables = {name: table | {"weight": np.full(len(table["w"]), 2.0)} for name, table in small_trees().items()}
    events = load(ntuples(write(tmp_path / "small.root", tables), weight=expression))
    assert events.train[0].yields == pytest.approx({"weight": 480, "w * weight": 960, "w": 480}[expression])


def test_a_weight_systematic_starts_from_the_nominal_weight_and_not_from_a_branch_of_that_name(tmp_path):
    tables = {
        name: table | {"weight": np.full(len(table["w"]), 2.0), "up_factor": np.full(len(table["w"]), 1.1)}
        for name, table in small_trees().items()
    }
    file = write(tmp_path / "small.root", tables)
    events = load(ntuples(file, weight="weight * w", fit=["btag"], systematics={"btag": BTAG}))
    assert events.template[0].yields == pytest.approx([960, 1056, 480])


def test_a_sample_may_have_a_weight_of_its_own(small):
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background", "weight": "3 * w"}}
    events = load(ntuples(small, samples=samples))
    assert events.train[0].yields == pytest.approx(480)
    assert events.train[1].yields == pytest.approx(3 * sum(1 + (EVENTS + 1000) % 3))


def test_the_luminosity_scales_every_weight_and_no_data(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, up_factor=1 + EVENTS / 100)))
    settings = {"fit": ["jes", "btag"], "systematics": {"jes": JES, "btag": BTAG}}
    one, three = load(ntuples(file, **settings)), load(ntuples(file, luminosity_scale=3.0, **settings))
    for a, b in zip(one.template, three.template, strict=True):
        np.testing.assert_allclose(b.weights, 3 * a.weights)
    np.testing.assert_array_equal(observed(one), observed(three))


def test_downsampling_scales_every_weight_and_takes_a_subset_of_the_data(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, up_factor=1 + EVENTS / 100)))
    settings = {"fit": ["jes", "btag"], "systematics": {"jes": JES, "btag": BTAG}}
    full, part = load(ntuples(file, **settings)), load(ntuples(file, downsample_factor=0.3, **settings))
    for split in SPLITS:
        for a, b in zip(getattr(full, split), getattr(part, split), strict=True):
            np.testing.assert_allclose(b.weights, 0.3 * a.weights)
            np.testing.assert_array_equal(b.features, a.features)
    assert len(observed(part)) == 72
    assert len(np.unique(observed(part)[:, 0])) == 72
    assert set(observed(part)[:, 0]) < set(observed(full)[:, 0])


def test_the_key_of_the_hidden_offset_is_that_of_the_data_and_of_nothing_else(tmp_path, small):
    """Not of the subset: offsets of many subsets of one set of data would have a mean of 0."""
    changes = ({}, {"downsample_factor": 0.5, "seed": 2}, {"features": ["x"]}, {"systematics": {}})
    keys = {load(ntuples(small, **change)).blinding_key for change in changes}
    other = write(tmp_path / "other.root", small_trees(Data=rows(EVENTS + 3000)))
    keys.add(load(ntuples(other)).blinding_key)
    assert len(keys) == 2
    without = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    assert load(ntuples(small, samples=without)).blinding_key == ""
    drawn = {load(changed(synthetic(), seed=seed)).blinding_key for seed in (1, 1, 2)}
    assert len(drawn) == 2


def test_the_subset_of_the_data_depends_on_the_seed_alone(small):
    taken = [observed(load(ntuples(small, downsample_factor=0.5, seed=seed))) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(taken[0], taken[1])
    assert not np.array_equal(taken[0], taken[2])


# --------------------------------------------------------------------------------------------- variations
def test_rows_are_the_same_event_in_every_variation(tmp_path):
    """The trees hold other events in another order; x tells the event."""
    up, down = EVENTS[EVENTS % 10 != 0][::-1], EVENTS[5:]
    trees = small_trees(ttbar_jes_up=rows(up, 0.25), ttbar_jes_down=rows(down, -0.25))
    events = load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"]))
    sample = joined(events)
    selected = sample["weights"] != 0
    event = np.where(selected[0], sample["x"][0], np.where(selected[1], sample["x"][1] - 0.25, sample["x"][2] + 0.25))
    for view, shift in enumerate((0.0, 0.25, -0.25)):
        np.testing.assert_allclose(sample["x"][view][selected[view]], event[selected[view]] + shift)


def test_an_event_that_a_variation_does_not_select_has_no_weight_there(tmp_path):
    up = EVENTS[EVENTS % 10 != 0]
    added = np.append(EVENTS, 999)
    trees = small_trees(ttbar_jes_up=rows(up, 0.25), ttbar_jes_down=rows(added, -0.25))
    events = load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"]))
    sample = joined(events)
    nominal, up_weights, down_weights = sample["weights"] != 0
    event = np.where(nominal, sample["x"][0], sample["x"][2] + 0.25)
    assert set(event[~up_weights].astype(int).tolist()) == {n for n in EVENTS.tolist() if n % 10 == 0} | {999}
    assert event[~nominal].tolist() == [999]
    assert down_weights.all()


def test_yields_of_a_shape_are_those_of_its_own_tree(tmp_path):
    trees = small_trees(ttbar_jes_up=rows(EVENTS[:200], 0.25))
    events = load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"]))
    expected = [sum(1 + EVENTS % 3), sum(1 + EVENTS[:200] % 3), sum(1 + EVENTS % 3)]
    for split in SPLITS:
        np.testing.assert_allclose(getattr(events, split)[0].yields, expected)


def test_a_sample_that_the_systematic_does_not_touch_has_no_variation(small):
    assert load(ntuples(small, fit=["jes"])).train[1].variations == (NOMINAL,)


def test_weight_systematics_share_the_nominal_events(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, up_factor=1 + EVENTS / 100)))
    events = load(ntuples(file, fit=["jes", "btag"], systematics={"jes": JES, "btag": BTAG}))
    sample = events.template[0]
    by_name = dict(zip(sample.variations, sample.view, strict=True))
    assert by_name[NOMINAL] == by_name[Variation("btag", "up")] == by_name[Variation("btag", "down")]
    assert len({by_name[NOMINAL], by_name[Variation("jes", "up")], by_name[Variation("jes", "down")]}) == 3
    assert sample.features.shape[0] == 3
    row = {name: sample.weights[i] for i, name in enumerate(sample.variations)}
    number = sample.features[by_name[NOMINAL]][:, 0]
    # Both are rescaled to keep their yields in the split, so the ratio has one common factor.
    ratio = row[Variation("btag", "up")] / row[NOMINAL] / (1 + number / 100)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    np.testing.assert_allclose(row[Variation("btag", "down")], 0.5 * row[NOMINAL], rtol=1e-12)


def test_yields_of_a_weight_systematic_are_the_sums_of_its_weights(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, up_factor=1 + EVENTS / 100)))
    events = load(ntuples(file, fit=["btag"], systematics={"btag": BTAG}))
    weights = 1.0 + EVENTS % 3
    for split in SPLITS:
        np.testing.assert_allclose(
            getattr(events, split)[0].yields,
            [weights.sum(), (weights * (1 + EVENTS / 100)).sum(), 0.5 * weights.sum()],
        )


# --------------------------------------------------------------------------------------------------- splits
def test_splits_are_disjoint_in_event_id_and_have_their_shares(tmp_path):
    up = EVENTS[EVENTS % 10 != 0][::-1]
    trees = small_trees(ttbar_jes_up=rows(up, 0.25), ttbar_jes_down=rows(EVENTS[5:], -0.25))
    events = load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"]))
    for number in (0, 1):
        parts = [event_numbers(getattr(events, split)[number]) for split in SPLITS]
        assert [len(part) for part in parts] == [96, 48, 96]
        assert len(set.union(*parts)) == 240


def sources(sample: Sample) -> set[int]:
    return {number // 3 for number in event_numbers(sample)}


def grouped(table: dict) -> dict:
    return table | {"source": table["event"] // 3}


SPLIT_BY = {"ttbar": {"role": "signal", "split_by": ["source"]}, "QCD": {"role": "background"}}


def test_rows_of_one_generated_event_stay_in_one_split(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=grouped(rows(EVENTS))))
    events = load(ntuples(file, samples=SPLIT_BY))
    parts = [sources(getattr(events, split)[0]) for split in SPLITS]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 81
    assert min(len(part) for part in parts) >= 16


def test_rows_of_one_generated_event_stay_in_one_split_with_shifted_trees(tmp_path):
    trees = small_trees(
        ttbar=grouped(rows(EVENTS)),
        ttbar_jes_up=grouped(rows(EVENTS[(EVENTS // 3) % 5 != 0], 0.25)),
        ttbar_jes_down=grouped(rows(EVENTS[10:], -0.25)),
    )
    events = load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"], samples=SPLIT_BY))
    parts = [sources(getattr(events, split)[0]) for split in SPLITS]
    assert sum(len(part) for part in parts) == len(set.union(*parts))


def test_a_missing_split_by_branch_is_an_error(small):
    with pytest.raises(BranchNotFoundError, match="split_by"):
        load(ntuples(small, samples=SPLIT_BY))


def test_the_same_seed_gives_the_same_splits(small):
    one, two, other = (load(ntuples(small, fit=["jes"], seed=seed)) for seed in (0, 0, 1))
    assert event_numbers(one.train[0]) == event_numbers(two.train[0])
    np.testing.assert_array_equal(one.template[0].weights, two.template[0].weights)
    assert event_numbers(one.train[0]) != event_numbers(other.train[0])


def test_the_splits_do_not_depend_on_the_other_samples(small):
    whole = load(ntuples(small))
    samples = {"QCD": {"role": "background"}, "ttbar": {"role": "signal"}}
    reordered = load(ntuples(small, samples=samples))
    assert event_numbers(whole.train[1]) == event_numbers(reordered.train[1])


def test_a_split_without_events_says_which_sample_and_what_to_do(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows([1, 2])))
    with pytest.raises(DatasetError, match=r"sample 'ttbar'.*dataset\.splits"):
        load(ntuples(file))


def test_split_rows_keeps_groups_together_and_takes_every_row_once():
    group = np.array([5, 5, 5, 1, 2, 2, 9, 9, 3, 3, 3, 3])
    parts = split_rows(group, (0.5, 0.3, 0.2), np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(12))
    members = [set(group[part].tolist()) for part in parts]
    assert sum(len(part) for part in members) == 5


def test_streams_of_the_same_seed_are_independent_and_reproducible():
    first, again, other = (generator(1, name).random(4) for name in ("train", "train", "template"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, generator(0, "train").random(4))


# ------------------------------------------------------------------------------------------ embedded sample
# The published yields, times 0.9.
YIELDS = {"QCD": 2421.65, "STJets": 27.19, "TTJets_bkg": 120.69, "TTJets_signal": 313.61, "WZJets": 57.32}
STAND_IN = "simulated stand-in, not CMS data"


@pytest.fixture(scope="module")
def embedded() -> Events:
    """Read the embedded sample with its jet energy scale."""
    return load(compose("+experiment=top11004"))


@pytest.mark.parametrize("split", SPLITS)
def test_the_embedded_sample_has_the_published_yields(embedded, split):
    found = {sample.name: sample.yields[0] for sample in getattr(embedded, split)}
    assert found == pytest.approx(YIELDS, rel=1e-3)
    assert sum(found.values()) == pytest.approx(2940.46, rel=1e-3)


def test_the_embedded_data_is_a_poisson_fluctuation_of_the_published_total(embedded):
    assert abs(len(observed(embedded)) - 2940.46) < 5 * 2940.46**0.5


def test_the_embedded_jet_energy_scale_touches_the_simulation_alone(embedded):
    touched = {sample.name for sample in embedded.template if sample.systematics}
    assert touched == {"TTJets_signal", "TTJets_bkg", "WZJets", "STJets"}


def test_the_embedded_sample_says_that_it_is_a_stand_in(embedded, small):
    assert embedded.label == STAND_IN
    assert load(ntuples(small)).label == ""


def test_a_copy_of_the_embedded_sample_says_so_too(tmp_path):
    source = files("inferno_cli") / "data" / "top11004_sim.root"
    shutil.copy(str(source), tmp_path / "mine.root")
    settings = (f"dataset.path={tmp_path}", "nuisance=none", "likelihood.samples=[TTJets_signal,STJets]")
    assert load(compose("dataset=top11004", *settings)).label == STAND_IN


# ------------------------------------------------------------------------------------------------ bad input
def broken(column: str, value: float) -> dict:
    table = rows(EVENTS)
    table[column] = table[column].copy()
    table[column][17] = value
    return {"ttbar": table}


def answer(config) -> str:
    """The message of the error that loading gives."""
    with pytest.raises(InfernoError) as caught:
        load(config)
    return f"{type(caught.value).__name__}: {caught.value}"


def says(message: str, *parts: str) -> bool:
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in {message!r}"
    return True


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetFileError) as caught:
        load(ntuples(tmp_path / "nowhere.root"))
    assert says(str(caught.value), str(tmp_path / "nowhere.root"), "Fix dataset.path")


def test_a_folder_without_matching_files_is_named(tmp_path):
    with pytest.raises(DatasetFileError) as caught:
        load(ntuples(tmp_path, file="{sample}_*.root"))
    assert says(str(caught.value), str(tmp_path), "ttbar_*.root", "dataset.file")


def test_a_missing_tree_is_named_and_the_closest_offered(tmp_path):
    trees = small_trees()
    trees["QCd"] = trees.pop("QCD")
    file = write(tmp_path / "small.root", trees)
    with pytest.raises(TreeNotFoundError) as caught:
        load(ntuples(file))
    assert says(str(caught.value), "tree 'QCD'", str(file), "closest: 'QCd'", "Fix dataset.tree")


def test_a_missing_shifted_tree_is_named(tmp_path):
    trees = {name: table for name, table in small_trees().items() if name != "ttbar_jes_up"}
    with pytest.raises(TreeNotFoundError) as caught:
        load(ntuples(write(tmp_path / "small.root", trees), fit=["jes"]))
    assert says(str(caught.value), "tree 'ttbar_jes_up'", "jes_up", "dataset.variation")


@pytest.mark.parametrize(("key", "value"), [("features", ["x", "evnt"]), ("event_id", ["run", "evnt"])])
def test_a_missing_branch_is_named_and_the_closest_offered(small, key, value):
    with pytest.raises(BranchNotFoundError) as caught:
        load(ntuples(small, **{key: value}))
    assert says(
        str(caught.value), "branch 'evnt'", "tree 'ttbar'", str(small), "closest: 'event'", f"Fix dataset.{key}"
    )


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"weight": "w * rum"}, "dataset.weight"),
        (
            {"samples": {"ttbar": {"role": "signal", "weight": "rum"}, "QCD": {"role": "background"}}},
            "dataset.samples.ttbar.weight",
        ),
        (
            {"fit": ["btag"], "systematics": {"btag": BTAG | {"down": "weight * rum", "up": "weight"}}},
            "dataset.systematics.btag.down",
        ),
    ],
)
def test_a_missing_branch_of_an_expression_is_named_with_the_key_of_the_expression(small, settings, key):
    with pytest.raises(BranchNotFoundError) as caught:
        load(ntuples(small, **settings))
    assert says(str(caught.value), "branch 'rum'", "tree 'ttbar'", str(small), "closest: 'run'", f"Fix {key}")


def test_an_expression_without_meaning_for_the_values_is_named(small):
    """One that is none is refused with the configuration, see test_expressions.py."""
    with pytest.raises(DatasetError) as caught:
        load(ntuples(small, weight="w & (x > 3)"))
    assert says(str(caught.value), "'w & (x > 3)'", "tree 'ttbar'", str(small), "Fix dataset.weight")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_an_error(tmp_path, value):
    file = write(tmp_path / "small.root", small_trees(**broken("x", value)))
    with pytest.raises(DatasetError) as caught:
        load(ntuples(file))
    assert says(str(caught.value), "branch 'x'", "tree 'ttbar'", str(file), "1 of 240", "row 17", "Remove")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_an_error(tmp_path, value):
    file = write(tmp_path / "small.root", small_trees(**broken("w", value)))
    with pytest.raises(DatasetError) as caught:
        load(ntuples(file))
    assert says(str(caught.value), "weight 'w'", "tree 'ttbar'", str(file), "1 of 240", "row 17", "Remove")


def test_a_feature_that_is_not_finite_in_the_data_is_an_error(tmp_path):
    table = rows(EVENTS + 2000)
    table["y"][3] = np.nan
    file = write(tmp_path / "small.root", small_trees(Data=table))
    assert says(answer(ntuples(file)), "DatasetError", "branch 'y'", "tree 'Data'", "row 3")


def test_a_feature_too_large_for_single_precision_is_an_error(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, x=np.where(EVENTS == 18, 1e300, 1.0))))
    assert says(answer(ntuples(file)), "DatasetError", "branch 'x'", "tree 'ttbar'", "row 17")


@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_up", "Data"])
def test_an_empty_tree_is_an_error_that_names_the_sample(tmp_path, tree):
    file = write(tmp_path / "small.root", small_trees(**{tree: rows([])}))
    sample, _, variation = tree.partition("_")
    message = answer(ntuples(file, fit=["jes"]))
    assert says(message, "DatasetError", f"sample '{sample}', {variation or 'nominal'}", "no events", "dataset.path")


def test_an_empty_tree_is_an_error_that_names_file_and_tree(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows([])))
    assert says(answer(ntuples(file)), "tree 'ttbar'", str(file))


@pytest.mark.parametrize(("value", "total"), [(0.0, "0"), (-1.0, "-240")])
def test_weights_without_positive_sum_are_an_error(tmp_path, value, total):
    file = write(tmp_path / "small.root", small_trees(ttbar=rows(EVENTS, w=np.full(240, value))))
    with pytest.raises(TemplateError) as caught:
        load(ntuples(file))
    assert says(str(caught.value), "sample 'ttbar', nominal", f"sum to {total}", "weight expression")


def test_a_variation_without_positive_sum_is_named(tmp_path):
    table = rows(EVENTS, 0.25, w=np.zeros(240))
    file = write(tmp_path / "small.root", small_trees(ttbar_jes_up=table))
    assert says(answer(ntuples(file, fit=["jes"])), "TemplateError", "sample 'ttbar', jes_up", "sum to 0")


def test_shifted_events_with_other_ids_are_an_error(tmp_path):
    file = write(tmp_path / "small.root", small_trees(ttbar_jes_up=rows(EVENTS + 5000, 0.25)))
    with pytest.raises(DatasetError) as caught:
        load(ntuples(file, fit=["jes"]))
    assert says(str(caught.value), "sample 'ttbar', jes_up", "0% of the event ids", "run + event", "dataset.event_id")


@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_down"])
def test_repeated_ids_are_an_error(tmp_path, tree):
    numbers = np.where(EVENTS == 240, 1, EVENTS)
    file = write(tmp_path / "small.root", small_trees(**{tree: rows(numbers)}))
    with pytest.raises(DatasetError) as caught:
        load(ntuples(file, fit=["jes"]))
    assert says(str(caught.value), "sample 'ttbar'", "1 of 240 events repeat an id", "run + event", "dataset.event_id")


def test_a_feature_that_is_named_twice_is_an_error(tmp_path):
    file = write(tmp_path / "small.root", small_trees())
    with pytest.raises(ValueError, match="x is named twice; each branch goes into the network once"):
        ntuples(file, features=["x", "y", "x"])


LISTS = np.array([1.0, 2.0] * 240).reshape(240, 2)


@pytest.mark.parametrize(
    ("column", "settings", "key"),
    [
        ("x", {}, "dataset.features"),
        ("event", {}, "dataset.event_id"),
        ("source", {"samples": SPLIT_BY}, "dataset.samples.ttbar.split_by"),
        ("w", {}, "dataset.weight"),
        ("up_factor", {"fit": ["btag"], "systematics": {"btag": BTAG}}, "dataset.systematics.btag.up"),
    ],
)
@pytest.mark.parametrize("kind", ["lists", "arrays"])
def test_a_branch_that_does_not_hold_one_number_per_row_is_named(tmp_path, column, settings, key, kind):
    import awkward as ak
    import uproot

    file = write(tmp_path / "small.root", {name: table for name, table in small_trees().items() if name != "ttbar"})
    values = LISTS if kind == "arrays" else ak.Array([[1.0] * (i % 3) for i in range(240)])
    table = rows(EVENTS, source=EVENTS, up_factor=EVENTS) | {column: values}
    types = {name: item.dtype if isinstance(item, np.ndarray) else "var * float64" for name, item in table.items()}
    types[column] = ("f8", (2,)) if kind == "arrays" else "var * float64"
    with uproot.update(file) as opened:
        opened.mktree("ttbar", types).extend(table)
    found = "double[2]" if kind == "arrays" else "double[]"
    message = answer(ntuples(file, **settings))
    assert says(message, "DatasetError", f"branch '{column}'", "tree 'ttbar'", f"one number per row, but {found}", key)


@pytest.mark.parametrize("value", [17.5, np.nan, np.inf, 2.0**53])
@pytest.mark.parametrize("column", ["event", "source"])
def test_ids_that_are_not_integers_are_an_error(tmp_path, column, value):
    """Cut to integers, 17.5 would be event 17."""
    table = rows(EVENTS, source=EVENTS) | {column: np.where(EVENTS == 18, value, EVENTS)}
    file = write(tmp_path / "small.root", small_trees(ttbar=table))
    message = answer(ntuples(file, samples=SPLIT_BY))
    assert says(message, f"branch '{column}'", "tree 'ttbar'", "1 of 240 values are not integers", "row 17", str(value))


def test_ids_that_are_text_are_an_error(tmp_path):
    tables = {name: table | {"event": table["event"].astype(str)} for name, table in small_trees().items()}
    import uproot

    with uproot.recreate(tmp_path / "small.root") as file:
        for name, table in tables.items():
            file.mkrntuple(name, table)
    message = answer(ntuples(tmp_path / "small.root"))
    assert says(message, "branch 'event'", "tree 'ttbar'", "one number per row, but std::string", "dataset.event_id")


def test_ids_are_exact_whatever_the_types_of_their_branches(tmp_path):
    """As one array, int64 and float32 are float64: every other of these events would be the one before it."""
    table = rows(EVENTS) | {"event": EVENTS + 2**60, "run": np.full(240, 7, dtype=np.float32)}
    events = load(ntuples(write(tmp_path / "small.root", small_trees(ttbar=table))))
    assert sum(len(getattr(events, split)[0].group) for split in SPLITS) == 240


def test_the_same_event_number_in_another_run_is_another_event(tmp_path):
    table = rows(EVENTS // 2, run=EVENTS % 2)
    events = load(ntuples(write(tmp_path / "small.root", small_trees(ttbar=table))))
    assert sum(len(getattr(events, split)[0].group) for split in SPLITS) == 240


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_truncated_file_is_named(small, share):
    whole = small.read_bytes()
    small.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DatasetFileError) as caught:
        load(ntuples(small))
    assert says(str(caught.value), str(small), "truncated", "copy it again")


def test_a_file_without_its_last_bytes_is_named(small):
    whole = small.read_bytes()
    small.write_bytes(whole[: int(0.95 * len(whole))])
    assert says(answer(ntuples(small)), "DatasetFileError", str(small), "truncated")


@pytest.mark.parametrize("content", [b"", b"run,event,x\n1,2,3\n" * 100])
def test_what_is_not_a_root_file_is_named(tmp_path, content):
    path = tmp_path / "events.root"
    path.write_bytes(content)
    with pytest.raises(DatasetFileError) as caught:
        load(ntuples(path))
    assert says(str(caught.value), str(path), "cannot be read as a ROOT file", "copy it again")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tree", "{smple}"),
        ("file", "{sampel}.root"),
        ("variation", "_{shift}"),
        ("tree", "{sample"),
        ("tree", "{}"),
        ("tree", "{sample.__class__}"),
        ("tree", "{sample[0]}"),
        ("tree", "{sample:9999999999}"),
        ("file", "{sample!r}.root"),
    ],
)
def test_an_unknown_placeholder_is_an_error_that_names_the_key(small, key, value):
    path = small.parent if key == "file" else small
    assert says(answer(ntuples(path, fit=["jes"], **{key: value})), f"dataset.{key}", value)
