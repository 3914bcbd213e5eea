"""What every quantity of a fit has to do, ours and those with a file in ``conf/quantity`` of an installed package.

pytest --pyargs inferno_cli.testing.test_quantities
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from pydantic import TypeAdapter

from inferno_cli.choices import conf_folders
from inferno_cli.config.fit import Fit
from inferno_cli.config.load import compose, resolve
from inferno_cli.config.steps import FitConfig
from inferno_cli.drawing.style import Canvas
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.blinding import blinded
from inferno_cli.fit.result import FitResult, is_ours, quantities

ADDED = sorted(path.stem for folder in conf_folders() for path in (folder / "quantity").glob("*.yaml"))
every_quantity = pytest.mark.parametrize("name", [*(k for k, kind in quantities().items() if is_ours(kind)), *ADDED])


@cache
def settings() -> Fit:
    """Return the settings of a fit that asks for everything."""
    own = [
        "workspace=none",
        "fit=full",
        "fit.data=observed",
        "fit.scan_2d=[[mu,jes]]",
        "fit.scan_2d_points=5",
        "fit.toys=20",
    ]
    overrides = ["~job", *own, "fit.scan_points=5", *(f"+quantity={name}" for name in ADDED)]
    return resolve(FitConfig, compose("fit", overrides)).fit


def workspace() -> dict[str, Any]:
    """Return a workspace of two samples in four bins, with parameters of four kinds."""

    def modifier(name: str, kind: str, data: Any = None) -> dict[str, Any]:
        return {"name": name, "type": kind, "data": data}

    shape = modifier("jes", "histosys", {"hi_data": [95.0, 62, 31, 16], "lo_data": [105.0, 58, 29, 14]})
    rate, noise = modifier("rate", "normsys", {"hi": 1.1, "lo": 0.9}), modifier("gamma", "staterror", [2.0, 2, 1, 1])
    signal = {"name": "signal", "data": [2.0, 5, 10, 12], "modifiers": [modifier("mu", "normfactor")]}
    background = {"name": "background", "data": [100.0, 60, 30, 15], "modifiers": [shape, rate, noise]}
    return {
        "channels": [{"name": "SR", "samples": [signal, background]}],
        "observations": [{"name": "SR", "data": [104.0, 63, 43, 25]}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


@cache
def fitted() -> FitResult:
    """Return a fit of observed data with everything."""
    return fit_workspace(workspace(), settings(), where="the workspace")


def test_every_kind_is_asked_for() -> None:
    kinds = {quantity.kind for quantity in settings().every().values() if quantity.is_wanted}

    assert kinds == set(quantities())


@every_quantity
def test_its_settings_are_read_back_as_they_were_written(name: str) -> None:
    quantity = settings().every()[name]

    assert type(quantity).model_validate_json(quantity.model_dump_json()) == quantity


@every_quantity
def test_it_has_a_value(name: str) -> None:
    assert name in fitted().quantities, fitted().notes


def test_its_numbers_are_finite_and_none_has_the_name_of_another() -> None:
    names: list[str] = []
    for name, kind, value in fitted().outcomes():
        metrics = {key: number for key, number in kind.metrics(name, value).items() if number is not None}
        names += metrics
        assert all(map(math.isfinite, metrics.values()))

    assert len(names) == len(set(names))
    assert set(names) <= set(fitted().metrics())


def test_its_record_is_read_back_as_it_was_written() -> None:
    assert FitResult.model_validate_json(fitted().model_dump_json()) == fitted()


def test_its_record_is_readable_without_its_package() -> None:
    record = json.loads(fitted().model_dump_json())
    record["quantities"]["some"] = {"kind": "gone", "value": [1, {"a": None}]}
    found = FitResult.model_validate(record)

    assert found["some"] == [1, {"a": None}]
    assert found.notes[-1].startswith("some is a quantity of kind 'gone'")
    assert json.loads(found.model_dump_json())["quantities"]["some"] == record["quantities"]["some"]


@every_quantity
def test_its_rows_and_tables_are_texts(name: str) -> None:
    outcome = fitted().quantities[name]
    kind = quantities()[outcome.kind]
    texts = [text for row in kind.rows(name, outcome.value, fitted()) for text in row]
    tables = kind.tables(outcome.value, fitted())

    assert all(isinstance(text, str) and text for text in texts)
    assert bool(tables) == bool(kind.file)
    assert all(isinstance(line, str) for line in tables)


@every_quantity
def test_what_a_blinded_fit_shows_of_it_does_not_tell_the_poi(name: str) -> None:
    """``blinded`` says what may be shown; a quantity without it is left out, with a note."""
    hidden, best = blinded(fitted(), "some data"), fitted().mu.bestfit
    if name not in hidden.quantities:
        assert any("left out" in note for note in hidden.notes)
        return
    outcome = hidden.quantities[name]
    kind = quantities()[outcome.kind]
    record = TypeAdapter(kind.record)
    numbers = re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", record.dump_json(outcome.value).decode())
    assert [text for text in numbers if math.isclose(float(text), best, rel_tol=1e-6)] == []
    assert record.validate_json(record.dump_json(outcome.value)) == outcome.value
    assert all(isinstance(text, str) and text for row in kind.rows(name, outcome.value, hidden) for text in row)
    assert kind.metrics(name, outcome.value).keys() <= kind.metrics(name, fitted().quantities[name].value).keys()
    for _, figure in kind.figures(name, outcome.value, hidden, Canvas("a label", "a title")):
        figure.savefig(BytesIO(), format="png")


@every_quantity
def test_its_columns_are_numbers(name: str) -> None:
    outcome = fitted().quantities[name]
    for column in quantities()[outcome.kind].columns:
        number = column.read(outcome.value, fitted())
        assert number is None or format(number, column.form)


@every_quantity
def test_its_figures_are_drawn(name: str) -> None:
    outcome = fitted().quantities[name]
    figures = list(quantities()[outcome.kind].figures(name, outcome.value, fitted(), Canvas("a label", "a title")))
    for _, figure in figures:
        drawn = BytesIO()
        figure.savefig(drawn, format="png")
        assert drawn.getvalue().startswith(b"\x89PNG")

    assert len({stem for stem, _ in figures}) == len(figures)
