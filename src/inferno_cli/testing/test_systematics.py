"""What every kind of systematic has to do, on the systematics of the datasets of ``conf/dataset``.

pytest --pyargs inferno_cli.testing.test_systematics
"""

from __future__ import annotations

import numpy as np
import pytest

from inferno_cli.choices import sections
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.effects import Effect
from inferno_cli.events.modifiers import Morph, NormFactor
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Variation
from inferno_cli.events.systematic import Systematic
from inferno_cli.testing.test_sources import NAMES, configured, dataset_of, loaded, request_of

EVERY = [(name, key) for name in NAMES for key in dataset_of(name).systematics]
every_systematic = pytest.mark.parametrize(("name", "key"), EVERY)


def effects_of(name: str, key: str) -> list[Effect]:
    """Return what one systematic of a dataset does."""
    return [effect for effect in request_of(dataset_of(name)).effects if effect.systematic == key]


def test_every_kind_is_in_a_dataset() -> None:
    kinds = {dataset_of(name).systematics[key].kind for name, key in EVERY}

    assert kinds == set(sections("inferno_cli.events.systematics", Systematic))  # type: ignore[type-abstract]


@every_systematic
def test_it_is_read_back_as_it_was_written(name: str, key: str) -> None:
    systematic = dataset_of(name).systematics[key]

    assert type(systematic).model_validate_json(systematic.model_dump_json()) == systematic


@every_systematic
def test_its_parameters_are_those_of_the_measurement(name: str, key: str) -> None:
    nuisance = {"train": [key], "fit": [key], "unconstrained": []}
    values = configured(name).model_dump(mode="json", by_alias=True) | {"nuisance": nuisance}
    config = TrainConfig.model_validate(values, strict=False)
    measurement = Measurement.from_config(config, (key,))
    expected = dict.fromkeys(effect.parameter for effect in effects_of(name, key))

    assert measurement.parameters[1:] == tuple(expected)
    assert set(measurement.shapes) <= set(measurement.parameters)


@every_systematic
def test_shapes_vary_the_events_and_yields_do_not(name: str, key: str) -> None:
    samples = {sample.name: sample for sample in loaded(name).template}
    for effect in effects_of(name, key):
        sample, modifier = samples[effect.sample], effect.modifier
        if not isinstance(modifier, Morph):
            assert not {Variation(label, way) for label in effect.members for way in DIRECTIONS} & {*sample.variations}
            continue
        nominal = sample.variations.index(NOMINAL)
        for label in modifier.members:
            for direction in DIRECTIONS:
                row = sample.variations.index(Variation(label, direction))
                is_same = np.array_equal(sample.weights[row], sample.weights[nominal])
                assert not (is_same and np.array_equal(sample.features[sample.view[row]], sample.features[0]))


@every_systematic
def test_its_effect_on_the_yield_has_a_size_where_it_has_a_constraint(name: str, key: str) -> None:
    samples = {sample.name: sample for sample in loaded(name).template}
    for effect in effects_of(name, key):
        sample = samples[effect.sample]
        changes = effect.modifier.yield_changes(dict(zip(sample.variations, sample.yields, strict=True)))
        assert (changes is None) == isinstance(effect.modifier, NormFactor)
        assert changes is None or np.isfinite(changes).all()


@every_systematic
def test_true_parameters_at_one_standard_deviation_are_the_variations(name: str, key: str) -> None:
    dataset = dataset_of(name)
    samples = {sample.name: sample for sample in loaded(name).template}
    for effect in effects_of(name, key):
        definition, sample, modifier = effect.definition, samples[effect.sample], effect.modifier
        if definition.true_yield(0.0) is None:
            continue
        changes = modifier.yield_changes(dict(zip(sample.variations, sample.yields, strict=True)))
        if changes is None:  # a NormFactor, which is 1
            assert definition.true_yield(1.0) == 1
            continue
        yields = [definition.true_yield(value) for value in (0.0, 1.0, -1.0)]
        assert yields == pytest.approx([1.0, 1 + changes[0], 1 + changes[1]], rel=1e-9)
        assert all(definition.is_possible(value, dataset) for value in (0.0, 1.0, -1.0))
        if isinstance(modifier, Morph) and modifier.scale == 1:
            for direction, value in zip(DIRECTIONS, (1.0, -1.0), strict=True):
                view = sample.view[sample.variations.index(Variation(effect.parameter, direction))]
                moved = definition.true_features(sample.features[0], value, dataset)
                np.testing.assert_array_equal(moved, sample.features[view])


@every_systematic
def test_only_shapes_can_be_freed(name: str, key: str) -> None:
    systematic = dataset_of(name).systematics[key]
    for effect in effects_of(name, key):
        assert not systematic.can_be_unconstrained or isinstance(effect.modifier, Morph)
