"""What every observable of a channel has to do, on those of ``conf/channels`` and one of each kind of ours.

pytest --pyargs inferno_cli.testing.test_observables
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from inferno_cli.choices import conf_folders, sections
from inferno_cli.config.load import config_folder
from inferno_cli.events.channel import NO_BIN, ChannelObservable
from inferno_cli.events.channels import Channel
from inferno_cli.expressions import parse

OURS: dict[str, dict[str, Any]] = {
    "count": {"kind": "count"},
    "histogram": {"kind": "histogram", "expression": "x", "edges": [-1.0, 0.5, 2.0]},
    "templates": {"kind": "templates", "file": "theirs.root", "histogram": "{channel}/{sample}{variation}"},
}


def _configured() -> dict[str, ChannelObservable]:
    """Return observables by a name for each: the file and the channel."""
    found = {name: Channel.model_validate({"observable": values}, strict=False) for name, values in OURS.items()}
    for folder in (config_folder(), *conf_folders()):
        for path in sorted(Path(folder, "channels").glob("*.yaml")):
            for name, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
                found[f"{path.stem}-{name}"] = Channel.model_validate(values, strict=False)
    return {name: channel.observable for name, channel in found.items()}


EVERY = _configured()
every_observable = pytest.mark.parametrize("name", EVERY)


def test_every_kind_is_here() -> None:
    kinds = set(sections("inferno_cli.events.observables", ChannelObservable))

    assert {observable.kind for observable in EVERY.values()} == kinds


@every_observable
def test_it_is_read_back_as_it_was_written(name: str) -> None:
    observable = EVERY[name]

    assert type(observable).model_validate_json(observable.model_dump_json()) == observable


@every_observable
def test_it_is_an_expression_of_branches_or_of_none(name: str) -> None:
    observable = EVERY[name]
    if observable.variable is None:
        is_alone = observable.is_trained or not observable.has_events
        assert is_alone or observable.n_bins == 1, "without a variable all events are alike"
    else:
        assert not observable.is_trained
        assert parse(observable.variable).branches


@every_observable
def test_every_number_is_in_one_of_its_bins_or_in_none(name: str) -> None:
    observable = EVERY[name]
    values = np.concatenate([np.linspace(-1e3, 1e3, 4001), np.random.default_rng(1).normal(size=1000)])
    bins = observable.bins(values)

    assert bins.shape == values.shape
    assert bins.dtype == np.int32
    assert set(np.unique(bins)) <= {NO_BIN, *range(observable.n_bins)}
    order = np.random.default_rng(2).permutation(len(values))
    np.testing.assert_array_equal(observable.bins(values[order]), bins[order])
    assert observable.bins(values[:0]).shape == (0,)


@every_observable
def test_its_edges_are_those_of_its_bins(name: str) -> None:
    observable = EVERY[name]
    edges = np.array(observable.edges_of_bins)
    if not len(edges):
        return
    assert len(edges) == observable.n_bins + 1
    np.testing.assert_array_equal(observable.bins((edges[:-1] + edges[1:]) / 2), np.arange(observable.n_bins))
