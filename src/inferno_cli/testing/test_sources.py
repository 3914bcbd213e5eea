"""What every kind of dataset has to do, on the datasets of ``conf/dataset``.

pytest --pyargs inferno_cli.testing.test_sources
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from inferno_cli.choices import conf_folders, sections
from inferno_cli.config.load import careful, compose, config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.channels import Channel, Channels
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.effects import effects
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.observables.count import Count
from inferno_cli.events.sample import NOMINAL, Events, Sample, Variation
from inferno_cli.section import POI

NAMES = sorted(
    path.stem for folder in (config_folder(), *conf_folders()) for path in (folder / "dataset").glob("*.yaml")
)
SPLITS = ("train", "validation", "template")
every_dataset = pytest.mark.parametrize("name", NAMES)


@cache
def configured(name: str) -> TrainConfig:
    """Return the configuration of a run on a dataset, without nuisance parameters."""
    with careful():
        return resolve(TrainConfig, compose("train", ["~job", f"dataset={name}", "nuisance=none", "model=bce"]))


def dataset_of(name: str) -> Dataset:
    """Return a dataset as it is configured."""
    return configured(name).dataset


def request_of(dataset: Dataset) -> Request:
    """Ask for everything that a dataset has."""
    every = effects(dataset.systematics, tuple(dataset.systematics), dataset.sample_names, dataset.eras_of)
    return Request(dataset.sample_names, every, seed=1)


@cache
def loaded(name: str) -> Events:
    """Return the events of a dataset with every variation."""
    dataset = dataset_of(name)
    return dataset.load(request_of(dataset))


def split(events: Events, part: str) -> tuple[Sample, ...]:
    """Return the samples of one split."""
    found: tuple[Sample, ...] = getattr(events, part)
    return found


def test_every_kind_has_a_dataset() -> None:
    assert set(sections("inferno_cli.events.sources", Dataset)) == {dataset_of(name).kind for name in NAMES}  # type: ignore[type-abstract]


@every_dataset
def test_the_signal_comes_first(name: str) -> None:
    dataset = dataset_of(name)
    n_signal = len(dataset.signal_names)

    assert 0 < n_signal < len(dataset.sample_names) == len(set(dataset.sample_names))
    assert set(dataset.sample_names[:n_signal]) == set(dataset.signal_names)
    assert next(iter(dataset.pois)) == POI
    assert sorted(itertools.chain(*dataset.pois.values())) == sorted(dataset.signal_names)


@every_dataset
def test_it_is_read_back_as_it_was_written(name: str) -> None:
    dataset = dataset_of(name)

    assert type(dataset).model_validate_json(dataset.model_dump_json(by_alias=True)) == dataset
    assert set(dataset.made_by) <= set(type(dataset).model_fields)


@every_dataset
def test_the_splits_hold_the_same_samples_with_the_same_yields(name: str) -> None:
    dataset, events = dataset_of(name), loaded(name)
    yields = [sample.yields for sample in events.template]
    for part in SPLITS:
        samples = split(events, part)
        assert tuple(sample.name for sample in samples) == dataset.sample_names
        assert tuple(sample.name for sample in samples if sample.is_signal) == dataset.signal_names
        for sample, expected in zip(samples, yields, strict=True):
            assert sample.features.shape[2] == len(dataset.features) == len(events.features)
            assert sample.features.dtype == np.float32
            assert np.isfinite(sample.features).all()
            np.testing.assert_allclose(sample.yields, expected, rtol=1e-9)


@every_dataset
def test_no_event_is_in_two_splits(name: str) -> None:
    """Generated ones are drawn independently; in files a number tells which rows belong together."""
    if not dataset_of(name).has_files:
        pytest.skip("generated events")
    for parts in zip(*(split(loaded(name), part) for part in SPLITS), strict=True):
        groups = np.concatenate([np.unique(sample.group) for sample in parts])
        assert len(groups) == len(np.unique(groups))


@every_dataset
def test_the_variations_are_those_of_the_shapes(name: str) -> None:
    for sample in loaded(name).template:
        expected = {NOMINAL}
        for effect in request_of(dataset_of(name)).effects_on(sample.name):
            if isinstance(effect.modifier, Morph):
                expected |= {Variation(label, way) for label in effect.modifier.members for way in ("up", "down")}
        assert sample.variations[0] == NOMINAL
        assert set(sample.variations) == expected


@every_dataset
def test_the_same_seed_makes_the_same_events(name: str) -> None:
    dataset = dataset_of(name)
    request = replace(request_of(dataset), effects=())
    events, again, other = (dataset.load(replace(request, seed=seed)) for seed in (2, 2, 3))

    assert events.checksum == again.checksum
    assert (events.checksum == other.checksum) == dataset.has_files
    for one, two, three in zip(events.train, again.train, other.train, strict=True):
        np.testing.assert_array_equal(one.features, two.features)
        np.testing.assert_array_equal(one.weights, two.weights)
        assert not np.array_equal(one.features, three.features)


@every_dataset
def test_downsampling_scales_every_weight_and_the_data(name: str) -> None:
    dataset = dataset_of(name)
    half = dataset.model_copy(update={"downsample_factor": dataset.downsample_factor / 2})
    events, fewer = loaded(name), half.load(request_of(half))
    for before, after in zip(events.template, fewer.template, strict=True):
        np.testing.assert_allclose(after.weights, before.weights / 2, rtol=1e-12)
    if events.observed is not None:
        assert fewer.observed is not None
        n_all, n_fewer = (sum(len(part.features) for part in x) for x in (events.observed, fewer.observed))
        assert n_fewer == pytest.approx(n_all / 2, abs=5 * n_all**0.5)


@every_dataset
def test_it_divides_its_events_into_channels(name: str) -> None:
    """Two halves of a branch: the network's bins of one, and a bin of its own for the other."""
    dataset, request = dataset_of(name), request_of(dataset_of(name))
    # A shift moves features of events of files, and not their branches.
    kept = [item for item in request.effects if not dataset.has_files or item.shifted_trees is not None]
    request = replace(request, effects=tuple(kept))
    whole, branch = dataset.load(request), dataset.inputs.branches[0]
    if dataset.inputs.names[0] != branch:
        pytest.skip("the first feature is no branch")
    cut = float(np.median(np.concatenate([sample.features[0][sample.weights[0] != 0, 0] for sample in whole.template])))
    halves = {"low": Channel(selection=f"{branch} < {cut}"), "high": Channel(selection=f"{branch} >= {cut}")}
    halves["high"] = halves["high"].model_copy(update={"observable": Count()})
    events = dataset.load(replace(request, channels=Channels(halves)))

    assert {sample.channel for part in SPLITS for sample in split(events, part)} == {"low"}
    assert {sample.channel for sample in events.fixed} == {"high"}
    for before in whole.template:
        low, high = ([x for x in part if x.name == before.name] for part in (events.template, events.fixed))
        yields = sum(sample.yields for sample in (*low, *high))
        # Of generated events the split of the templates alone is divided; of files all events are.
        np.testing.assert_allclose(yields, before.yields, rtol=1e-9)
        for sample in low:
            is_low = sample.features[list(sample.view), :, 0] < cut
            assert (is_low | (sample.weights == 0)).all(), "an event is where its branches are, in every variation"
        for sample in high:
            assert sample.features.shape[2] == 0
            assert sample.bins is not None
            assert not sample.bins.any()
    if whole.observed is not None:
        assert events.observed is not None
        (every,) = whole.observed
        assert [(part.channel, part.bins is None) for part in events.observed] == [("low", True), ("high", False)]
        n_low = int((every.features[:, 0] < cut).sum())
        assert [len(part.features) for part in events.observed] == [n_low, len(every.features) - n_low]


@every_dataset
def test_observed_events_have_the_same_features(name: str) -> None:
    observed = loaded(name).observed

    assert (observed is not None) == dataset_of(name).has_observed
    if observed is not None:
        (part,) = observed
        assert part.features.shape[1] == len(dataset_of(name).features)


@every_dataset
def test_what_is_validated_is_what_is_loaded(name: str) -> None:
    dataset, events = dataset_of(name), loaded(name)
    validated = dataset.validated(request_of(dataset), ())

    assert (validated.checksum, validated.label, validated.features) == (events.checksum, events.label, events.features)
    for ours, theirs in zip(validated.samples, events.template, strict=True):
        assert ours.events.name == theirs.name
        assert ours.weights.sum() == pytest.approx(theirs.yields[0], rel=1e-9)


@every_dataset
def test_files_are_known_by_their_content(name: str) -> None:
    dataset = dataset_of(name)
    request = request_of(dataset)
    assignment = loaded(name).assignment

    assert dataset.has_files == (assignment is not None) == (dataset.division(request) is not None)
    assert dataset.has_files == bool(dataset.files(request)) == bool(dataset.trees()) == bool(dataset.location)
    if assignment is not None:
        assert set(dataset.files(request).values()) == set(assignment.files)
        assert set(assignment.divisions) == set(dataset.sample_names)


@every_dataset
def test_exact_densities_are_those_of_the_events(name: str) -> None:
    exact = dataset_of(name).exact_classifier()
    if exact is None:
        pytest.skip("the densities are not known")
    share = total = signal = 0.0
    for sample in loaded(name).template:
        share += float(exact.signal_share(sample.features[0].astype(np.float64)) @ sample.weights[0])
        total += float(sample.yields[0])
        signal += float(sample.yields[0]) if sample.is_signal else 0.0

    assert share / total == pytest.approx(signal / total, rel=0.02), "the shares of signal add up to the signal"


@every_dataset
def test_no_summary_beats_counting_without_background(name: str) -> None:
    dataset = dataset_of(name)
    expected, bound = dataset.quoted_signal(), dataset.cramer_rao_bound((), ())
    if expected is not None and bound is not None:
        assert bound > expected**0.5
