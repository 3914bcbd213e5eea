"""A small sweep with its comparison, and headless Chromium; without Chromium these tests are skipped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import four_runs, succeed

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@dataclass(frozen=True)
class Shown:
    """A finished sweep in a store, and the page of its comparison.

    Attributes:
        outputs: Folder of the store.
        experiment: Id of the experiment.
        parent: The parent run.
        jobs: The runs of the sweep.
        page: compare.html.
    """

    outputs: Path
    experiment: str
    parent: Any
    jobs: list[Any]
    page: Path


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    pytest.importorskip("selenium", reason="selenium is not installed: pip install 'inferno-cli[browser]'")
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: apt-get install chromium chromium-driver")
    import screenshots

    with screenshots.browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def sweep(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Two models with two seeds, compared. Nothing is run where there is no browser."""
    four = four_runs(tmp_path_factory)
    output = tmp_path_factory.mktemp("compared")
    page = succeed("compare", f"runs={four.folder}/sweeps", f"output={output}").path
    jobs = four.jobs[:4]
    (parent,) = [run for run in four.parents if run.info.run_id == jobs[0].data.tags["mlflow.parentRunId"]]
    return Shown(four.folder, parent.info.experiment_id, parent, jobs, page)


@pytest.fixture(scope="session")
def address(sweep: Shown) -> Iterator[str]:
    import screenshots

    with screenshots.ui(sweep.outputs) as address:
        yield address
