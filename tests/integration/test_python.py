"""The Python interface: the page that shows it runs, and bad input is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

import inferno_cli
from inferno_cli.config.load import config_folder
from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError, RunError, TreeNotFoundError
from integration.conftest import Runs

pytestmark = pytest.mark.docs
PAGE = config_folder().parent / "docs" / "python.md"
EMBEDDED = Path(inferno_cli.__file__).parent / "data" / "top11004_sim.root"


@pytest.fixture
def run(runs: Runs) -> inferno_cli.Run:
    return inferno_cli.open_run(runs("top11004", "inferno").path.parent)


def test_the_page_runs_from_top_to_bottom(runs: Runs) -> None:
    folder = runs("top11004", "inferno").path.parent
    values: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(code.replace('"RUN"', repr(str(folder))).replace("NTUPLES.root", str(EMBEDDED)), values)

    down, up = values["fit"].parameters["mu"].minos
    assert down < 0 < up
    assert 0 < float(values["variance"].detach()) < 100
    assert len(values["found"].bin) == 14004


def test_every_kind_of_events_gives_the_same_bins(run: inferno_cli.Run) -> None:
    names = run.config.dataset.features
    rows = np.random.default_rng(1).normal(size=(20, len(names))).astype(np.float32)
    columns = {name: rows[:, i] for i, name in enumerate(names)}
    structured = np.zeros(20, dtype=[(name, "f4") for name in names])
    for name in names:
        structured[name] = columns[name]
    expected = run.apply(rows).bin

    for events in (columns, structured, ak.zip(columns)):
        np.testing.assert_array_equal(run.apply(events).bin, expected)


def test_events_that_do_not_fit_are_refused(run: inferno_cli.Run, tmp_path: Path) -> None:
    names = run.config.dataset.features
    with pytest.raises(DatasetError, match=rf"shape \(3, 2\), expected \(n_events, {len(names)}\)"):
        run.apply(np.zeros((3, 2)))
    with pytest.raises(BranchNotFoundError, match=f"no feature '{names[0]}'"):
        run.apply({name: np.zeros(3) for name in names[1:]})
    with pytest.raises(DatasetError, match=f"feature '{names[1]}' of event 2 is nan"):
        run.apply(np.where(np.arange(3 * len(names)).reshape(3, -1) == 2 * len(names) + 1, np.nan, 0.0))
    with pytest.raises(TreeNotFoundError, match="tree 'nowhere' is missing"):
        run.apply(EMBEDDED, tree="nowhere")
    with pytest.raises(DatasetError, match="cannot be read"):
        run.apply(tmp_path / "none.root")
    with pytest.raises(RunError, match="is not a folder"):
        inferno_cli.open_run(tmp_path / "nowhere")


def test_a_configuration_is_composed_as_on_the_command_line() -> None:
    config = inferno_cli.compose("+experiment=top11004", "model=bce", "model.bins=7")
    assert (config.model.name, config.model.summary.n_bins, config.dataset.name) == ("bce", 7, "top11004")
    with pytest.raises(ConfigError, match=r"model\.binz"):
        inferno_cli.compose("++model.binz=7")
    with pytest.raises(ConfigError, match="Could not find 'experiment/top11005'"):
        inferno_cli.compose("+experiment=top11005")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, inferno_cli; print([x for x in ('torch', 'pyhf', 'hydra', 'numpy') if x in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_what_is_composed_is_what_the_command_line_composes() -> None:
    """Groups of a model without their path, keys that no file sets, and mappings with other keys."""
    overrides = (
        "objective=weighted_sum",
        "model.objective.terms={log_variances: 1, cls: 0, p0: 0}",
        "fit.bounds.mu=[-1,3]",
    )
    config = inferno_cli.compose("model=inferno", *overrides)
    assert config.model.objective.model_dump()["terms"] == {"log_variances": 1, "cls": 0, "p0": 0}
    assert config.fit.bounds == {"mu": (-1.0, 3.0)}
