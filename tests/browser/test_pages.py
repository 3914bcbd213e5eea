"""What people look at, in headless Chromium: MLflow's pages as `inferno ui` serves them, and the page of `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from integration.conftest import succeed

from browser.conftest import Shown

# The metrics are no table but boxes in two grids; a row has one height.
BESIDE = """
const boxes = () => [...document.querySelectorAll(".ReactVirtualized__Grid__innerScrollContainer > *")];
const name = boxes().find(box => box.innerText.trim() == arguments[0]);
return boxes().filter(box => name && box != name && box.style.top == name.style.top).map(box => box.innerText.trim());
"""


def severe(driver: Any) -> list[str]:
    """Errors on the console since the last call, of which the last is our own: what came before has arrived with it."""
    import screenshots

    found: list[str] = []

    def arrived() -> bool:
        found.extend(entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE")
        return any("the end" in message for message in found)

    driver.execute_script("console.error('the end')")
    screenshots.wait(arrived, "the console")
    return [message for message in found if "the end" not in message]


def test_the_page_of_the_comparison_shows_its_figures(driver: Any, sweep: Shown) -> None:
    severe(driver)
    driver.get(sweep.page.as_uri())

    pictures = driver.execute_script(
        "return [...document.images].map(i => [i.alt, i.complete, i.naturalWidth, i.getBoundingClientRect().width])"
    )
    assert {Path(name).stem for name, *_ in pictures} == {path.stem for path in sweep.page.parent.glob("*.png")}
    assert len(pictures) >= 3
    assert all(complete and natural > 100 and shown > 100 for _, complete, natural, shown in pictures), pictures
    rows = driver.execute_script("return [...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    assert [row.split()[:2] for row in rows[:2]] == [["BCE", "2"], ["INFERNO", "2"]]
    assert severe(driver) == []
    asked = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [url[:60] for url in asked if not url.startswith("data:")] == []


def test_an_error_on_the_console_would_be_seen(driver: Any, tmp_path: Path) -> None:
    """The test above sees what it looks for."""
    severe(driver)
    (tmp_path / "broken.html").write_text("<img src='gone.png'><script>throw new Error('seen')</script>")
    driver.get((tmp_path / "broken.html").as_uri())

    assert any("seen" in message for message in severe(driver))
    assert driver.execute_script("return document.images[0].naturalWidth") == 0


def test_mlflow_lists_the_runs_of_the_sweep(driver: Any, sweep: Shown, address: str) -> None:
    import screenshots

    screenshots.prefer(driver, address, sweep.experiment, sweep.parent.info.run_id)
    names = [job.info.run_name for job in sweep.jobs]
    assert sorted(names) == [f"model={model},seed={seed}" for model in ("bce", "inferno") for seed in (1, 2)]

    found = screenshots.show(driver, f"{address}/#/experiments/{sweep.experiment}/runs", *names)

    assert sweep.parent.info.run_name in found
    assert "sigma_s" in found


def test_mlflow_shows_the_headline_of_a_run_and_the_table_of_the_sweep(driver: Any, sweep: Shown, address: str) -> None:
    import screenshots

    runs = f"{address}/#/experiments/{sweep.experiment}/runs"
    job = next(job for job in sweep.jobs if job.data.tags["model"] == "inferno")
    mu = f"mu = {job.data.metrics['mu/bestfit']:.3f}"
    screenshots.show(driver, f"{runs}/{job.info.run_id}", mu, "(MINOS)", "INFERNO on synthetic, Asimov data")
    screenshots.show(driver, f"{runs}/{sweep.parent.info.run_id}", "median [smallest, largest] of the repeats")
    cells = driver.execute_script("return [...document.querySelectorAll('td')].map(cell => cell.innerText.trim())")
    assert {"BCE", "INFERNO"} <= set(cells)


LINKS = "return Object.fromEntries([...document.links].map(link => [link.innerText.trim(), link.href]))"


def test_mlflow_links_the_sweep_to_its_runs(driver: Any, sweep: Shown, address: str) -> None:
    import screenshots

    runs, names = f"{address}/#/experiments/{sweep.experiment}/runs", [job.info.run_name for job in sweep.jobs]
    screenshots.show(driver, f"{runs}/{sweep.parent.info.run_id}", "median [smallest, largest] of the repeats")
    screenshots.wait(lambda: set(names) <= set(driver.execute_script(LINKS)), "the links")
    links = driver.execute_script(LINKS)
    for job in sweep.jobs:
        assert links[job.info.run_name] == f"{runs}/{job.info.run_id}"
    screenshots.show(driver, links[names[0]], "(MINOS)", names[0])


def test_mlflow_shows_the_data_of_a_run_and_its_registered_model(driver: Any, sweep: Shown, address: str) -> None:
    import screenshots

    job = sweep.jobs[0]
    folder = next(path.parent for path in sweep.outputs.rglob("mlflow_run.json") if job.info.run_id in path.read_text())
    succeed("log", f"run={folder}", "tracking.register_as=histogram")
    digest = job.data.tags["dataset_checksum"][:36]

    page = f"{address}/#/experiments/{sweep.experiment}/runs/{job.info.run_id}"
    screenshots.show(driver, page, f"synthetic ({digest})", "Registered models", "histogram")
    screenshots.show(driver, f"{address}/#/models/histogram", "Version 1")


def test_mlflow_compares_two_runs(driver: Any, sweep: Shown, address: str) -> None:
    import screenshots

    two = [next(job for job in sweep.jobs if job.info.run_name == f"model={x},seed=1") for x in ("bce", "inferno")]
    metrics = [f"{job.data.metrics['mu/minos_width']:.3f}" for job in two]
    assert metrics[0] != metrics[1]
    url = screenshots.comparison(address, sweep.experiment, [job.info.run_id for job in two])

    screenshots.show(driver, url, "Comparing 2 Runs", "model.name", "mu/minos_width")

    rows = driver.execute_script("return [...document.querySelectorAll('tr')].map(row => row.innerText.split(/\\s+/))")
    assert ["model.name", "bce", "inferno"] in rows

    def beside() -> list[str]:
        return [f"{float(x):.3f}" for x in driver.execute_script(BESIDE, "mu/minos_width") if x[:1].isdigit()]

    screenshots.wait(lambda: beside() == metrics, "both widths")


def test_the_documentation_has_small_pictures_of_it() -> None:
    pictures = list((Path(__file__).parents[2] / "docs" / "images").glob("*.png"))

    of_mlflow = {path.stem for path in pictures if path.stem.startswith("mlflow")}
    assert of_mlflow == {f"mlflow_{name}" for name in ("runs", "run", "parent", "compare")}
    assert all(path.stat().st_size < 150_000 for path in pictures)
