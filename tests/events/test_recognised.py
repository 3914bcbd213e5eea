"""Events that a network was trained on are recognised among those of other files, and are in none of its templates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import load, ntuples, rows, small_trees, write

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import DatasetError, RunError
from inferno_cli.events.assignment import SplitAssignment, folds_of
from inferno_cli.events.earlier import Earlier, Recognised, said
from inferno_cli.events.sample import Events, Sample

N = 240
"""Events of each sample of ``small_trees``: ttbar 1 to 240, QCD 1001 to 1240; feature x is the number."""


def trained(path: Path, **dataset: Any) -> tuple[TrainConfig, SplitAssignment]:
    """Return the configuration of a training and what it wrote down, stored and read again."""
    config = ntuples(path, **dataset)
    events = load(config)
    assert events.assignment is not None
    events.assignment.save(path.parent)
    stored = SplitAssignment.load(path.parent, events.checksum)
    assert stored is not None
    return config, stored


def applied(here: TrainConfig, there: TrainConfig, stored: SplitAssignment) -> Events:
    earlier = here.dataset.earlier(there.dataset, stored)
    assert isinstance(earlier, Earlier)
    return here.dataset.load(replace(here.request, earlier=earlier))


def numbers(samples: tuple[Sample, ...], name: str = "ttbar") -> set[int]:
    """Return the numbers of the events of a sample, over all folds."""
    found: set[int] = set()
    for sample in samples:
        if sample.name == name:
            found |= {int(x) for x in sample.features[0, sample.weights[0] != 0, 0]}
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old.root", small_trees())


def more(first: int = 200, n: int = 400, **changes: Any) -> dict[str, Any]:
    """Trees of which the first events are those that the training had as well."""
    return small_trees(ttbar=rows(np.arange(first, first + n)), **changes)


def test_new_events_are_templates_and_those_of_the_training_are_not(old: Path, tmp_path: Path) -> None:
    there, stored = trained(old)
    divided = load(there)
    (tmp_path / "new").mkdir()
    here = ntuples(
        write(tmp_path / "new" / "new.root", more()), seed=5, splits={"train": 0.2, "validation": 0.2, "template": 0.6}
    )
    events = applied(here, there, stored)

    seen = (numbers(divided.train) | numbers(divided.validation)) & set(range(200, N + 1))
    assert len(seen) > 10
    assert numbers(events.template) == set(range(200, 600)) - seen
    assert numbers(events.template, "QCD") == numbers(divided.template, "QCD")
    assert (events.train, events.validation) == ((), ())
    # Reweighted to the sum over all events, those that are left out as well.
    n = np.arange(200, 600)
    assert events.template[0].yields[0] == pytest.approx((1.0 + n % 3).sum(), rel=1e-12)
    assert events.recognised == {
        "ttbar": Recognised(len(seen), N + 1 - 200, 400),
        "QCD": Recognised(N - len(numbers(divided.template, "QCD")), N, N),
    }
    assert said(events.recognised).startswith(
        f"{len(seen) + events.recognised['QCD'].left_out} of 640 events were seen"
    )


def test_the_run_on_them_writes_down_what_the_network_has_seen(old: Path, tmp_path: Path) -> None:
    """Also of events that are in its own files no more: a prediction of them says that they were trained on."""
    there, stored = trained(old)
    here = ntuples(write(tmp_path / "new.root", more(230)))
    events = applied(here, there, stored)
    assert events.assignment is not None
    events.assignment.save(tmp_path)
    again = SplitAssignment.load(tmp_path, events.checksum)
    assert again is not None
    n = np.arange(1, 630)
    table = rows(n)
    ids, features = np.stack([table["run"], n], axis=1), np.stack([table["x"], table["y"]], axis=1)
    before, after = stored.of_rows("", "", ids, features, 0), again.of_rows("", "", ids, features, 0)
    np.testing.assert_array_equal(after[:N], before[:N])
    np.testing.assert_array_equal(after[N:], 2)


def test_without_an_event_in_common_all_are_templates(old: Path, tmp_path: Path) -> None:
    there, stored = trained(old)
    trees = {"ttbar": rows(np.arange(5000, 5100)), "QCD": rows(np.arange(6000, 6100))} | {
        "Data": rows(np.arange(7000, 7100))
    }
    events = applied(ntuples(write(tmp_path / "new.root", trees)), there, stored)
    assert numbers(events.template) == set(range(5000, 5100))
    assert events.recognised is not None
    assert said(events.recognised).startswith("0 of 200 events were seen by the training of the network")


def test_an_event_with_other_features_is_still_that_event(old: Path, tmp_path: Path) -> None:
    """It may have been processed anew; in another sample the id alone says nothing, and id and features do."""
    there, stored = trained(old)
    divided = load(there)
    seen = numbers(divided.train) | numbers(divided.validation)
    n = np.arange(1, N + 1)
    anew = small_trees(ttbar=rows(n) | {"y": np.full(N, 3, dtype=np.float32)})
    assert numbers(applied(ntuples(write(tmp_path / "a.root", anew)), there, stored).template) == set(n) - seen

    moved = small_trees(QCD=rows(n) | {"x": (n + 5000).astype(np.float32)})  # ids of ttbar, other events
    events = applied(ntuples(write(tmp_path / "b.root", moved)), there, stored)
    assert numbers(events.template, "QCD") == set(n + 5000)
    same = small_trees(QCD=rows(np.concatenate([n, n + 3000])))  # events of ttbar
    events = applied(ntuples(write(tmp_path / "c.root", same)), there, stored)
    assert numbers(events.template, "QCD") == set(np.concatenate([n, n + 3000])) - seen


def test_with_folds_known_events_keep_theirs_and_the_id_of_new_ones_says_it(old: Path, tmp_path: Path) -> None:
    folds = {"folds": 3, "validation": 0.2}
    there, stored = trained(old, splits=folds)
    divided = load(there)
    events = applied(ntuples(write(tmp_path / "new.root", more()), splits=folds), there, stored)
    n = np.arange(N + 1, 600)
    of_new = folds_of(np.stack([np.full(len(n), 7), n], axis=1), 3)
    for fold in range(3):
        known = numbers(tuple(x for x in divided.template if x.fold == fold)) & set(range(200, N + 1))
        assert numbers(tuple(x for x in events.template if x.fold == fold)) == known | set(n[of_new == fold])
        assert (events.fold(fold).train, events.fold(fold).validation) == ((), ())
    total = sum(sample.yields[0] for sample in events.template if sample.name == "ttbar")
    assert total == pytest.approx((1.0 + np.arange(200, 600) % 3).sum())


def test_rows_of_one_source_event_stay_together(tmp_path: Path) -> None:
    """Event 10 k has rows 0 to 4 in the training, and rows 5 and 6 alone in the new files."""
    source = np.repeat(np.arange(100), 5)
    samples = {
        name: {"role": role, "split_by": ["event"]} for name, role in (("ttbar", "signal"), ("QCD", "background"))
    }
    samples["Data"] = {"role": "data"}
    changes = {"samples": samples, "event_id": ["run", "event", "row"]}
    row = np.tile(np.arange(5), 100)
    tree = rows(source, row=row)
    there, stored = trained(write(tmp_path / "old.root", {"ttbar": tree, "QCD": tree, "Data": tree}), **changes)
    divided = load(there)
    seen = numbers(divided.train) | numbers(divided.validation)
    new = rows(np.repeat(np.arange(150), 2), row=np.tile([5, 6], 150))
    here = ntuples(write(tmp_path / "new.root", {"ttbar": new, "QCD": new, "Data": new}), **changes)
    assert numbers(applied(here, there, stored).template) == set(range(150)) - seen

    outside = {**changes, "event_id": ["run", "row"]}
    with pytest.raises(RunError, match=r"dataset.samples.ttbar.split_by is event, not in dataset.event_id"):
        ntuples(tmp_path / "new.root", **outside).dataset.earlier(there.dataset, stored)


def test_eras_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """The training had 2017; 2018 has the same numbers, of other events."""
    folder = tmp_path / "data"
    folder.mkdir()
    for era, shift in (("2017", 0), ("2018", 1000)):
        n = np.arange(1, N + 1)
        moved = {name: rows(n) | {"x": (n + shift).astype(np.float32)} for name in ("ttbar", "QCD", "Data")}
        write(folder / f"{era}.root", moved)
    names = {"file": "{era}.root"}
    there, stored = trained(folder, eras=["2017"], **names)
    divided = load(there)
    seen = numbers(divided.train) | numbers(divided.validation)
    here = ntuples(folder, eras=["2018", "2017"], **names)
    n = set(range(1, N + 1))
    assert numbers(applied(here, there, stored).template) == (n - seen) | {1000 + number for number in n}
    # Without eras nothing says which one an event is of: one that could be known is.
    alone = ntuples(folder / "2018.root")
    assert numbers(applied(alone, there, stored).template) == {1000 + number for number in n - seen}
    of_one, stored = trained(folder / "2017.root")
    assert numbers(applied(here, of_one, stored).template) == (n - numbers_seen(of_one)) | {
        1000 + number for number in n - numbers_seen(of_one)
    }


def numbers_seen(config: TrainConfig) -> set[int]:
    divided = load(config)
    return numbers(divided.train) | numbers(divided.validation)


def test_what_cannot_be_recognised_is_an_error(old: Path, tmp_path: Path) -> None:
    there, stored = trained(old)
    with pytest.raises(RunError, match=r"dataset.event_id is \('event',\), and \('run', 'event'\) where"):
        ntuples(old, event_id=["event"]).dataset.earlier(there.dataset, stored)
    with pytest.raises(RunError, match=r"dataset.splits.folds is 2, and None where the network was trained"):
        ntuples(old, splits={"folds": 2, "validation": 0.2}).dataset.earlier(there.dataset, stored)
    assert ntuples(old, event_id=[], systematics={}).dataset.earlier(there.dataset, stored) is None  # rows say nothing
    divided = load(there)
    only = rows(np.array(sorted(numbers(divided.train))))
    here = ntuples(write(tmp_path / "new.root", small_trees(ttbar=only)))
    with pytest.raises(DatasetError, match="the training of trained_in has seen each of its 96 events"):
        applied(here, there, stored)
