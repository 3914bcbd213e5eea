"""Pictures of MLflow's pages for docs/mlflow.md: a small sweep, its store, and headless Chromium.

pip install -e '.[browser]'           # and Chromium with its driver: apt-get install chromium chromium-driver
python scripts/screenshots.py         # writes docs/images/mlflow_*.png; half a minute
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
SWEEP = (
    *("train", "-m", "+experiment=synthetic", "model=bce,inferno", "model.bins=5,10", "trainer.max_epochs=5"),
    *("dataset.events={train: 20000, validation: 10000, template: 50000}", "model.learning_rate=0.005"),
)
SECONDS = 60.0
DIFFERENCES = """
document.querySelector('[aria-label="Parameters - Show diff only"]').click();
document.querySelector('[aria-label="collapse Run details"]').scrollIntoView();
"""
# No sandbox: root has none. No connection to anywhere but the page, or each start waits for hosts that do not answer.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


@contextmanager
def browser(width: int = 1300, height: int = 800) -> Iterator[Any]:
    """Start headless Chromium with a profile of its own; yields selenium's driver, which keeps the console."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def ui(outputs: Path) -> Iterator[str]:
    """Run ``inferno ui`` on a free port; yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inferno_cli", "ui", f"output_dir={outputs}", f"port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: process.poll() is not None or answers(f"{address}/health"), "inferno ui to answer")
        if process.poll() is not None:
            raise RuntimeError(f"inferno ui ended: {process.communicate()[0]}")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def answers(url: str) -> bool:
    """Whether a server answers."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def wait(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of a condition; TimeoutError after a minute without one."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise TimeoutError(f"waited for {SECONDS:g} s for {what}")


def text(driver: Any) -> str:
    """Return what a reader sees."""
    return str(driver.execute_script("return document.body ? document.body.innerText : ''"))


def show(driver: Any, url: str, *expected: str) -> str:
    """Open a page and wait until all of the texts are on it; returns what a reader sees."""
    driver.get("about:blank")
    driver.get(url)
    missing = list(expected)

    def complete() -> str:
        found = text(driver)
        missing[:] = [word for word in expected if word not in found]
        return "" if missing else found

    try:
        return str(wait(complete, "the page"))
    except TimeoutError as error:
        raise TimeoutError(f"{url} does not show {missing}; it shows:\n{text(driver)}") from error


def prefer(driver: Any, address: str, experiment: str, parent: str) -> None:
    """Set what a user would click: pages for training, no chat, the sweep unfolded, and these columns of runs."""
    metrics = ("mu/minos_width", "mu/hesse", "stat_only/mu/hesse", "sigma_s")
    columns = [*(f"params.`{name}`" for name in ("model.name", "model.bins")), *(f"metrics.`{x}`" for x in metrics)]
    state = {"selectedColumns": columns, "runsExpanded": {parent: True}, "orderByKey": "attributes.start_time"}
    values = {
        "mlflow.workflowType_v1": '"machine_learning"',
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        "mlflow.assistant.panelOpen_v1": "false",
        f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState': json.dumps(state),
    }
    driver.get(f"{address}/health")
    for key, value in values.items():
        driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, value)


def store(outputs: Path) -> tuple[str, Any, list[Any]]:
    """Return the id of the experiment in a store, the parent run and its jobs."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{outputs}/mlflow.db")
    experiment = client.get_experiment_by_name("inferno").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return experiment, parent, [run for run in runs if run is not parent]


def comparison(address: str, experiment: str, runs: list[str]) -> str:
    """Return the address of MLflow's page with runs beside each other."""
    from urllib.parse import quote

    return f"{address}/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DOCS / "images", help="folder of the pictures")
    parser.add_argument("--store", type=Path, help="outputs/ of a finished sweep, instead of a new one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        outputs = arguments.store or Path(place)
        if arguments.store is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            for command in ((*SWEEP, "report.plots=false"), ("compare", f"runs={outputs}/sweeps")):
                where = [f"output_dir={outputs}"] if command[0] == "train" else []
                subprocess.run([sys.executable, "-m", "inferno_cli", *command, *where], check=True, env=environment)
        experiment, parent, jobs = store(outputs)
        arguments.output.mkdir(parents=True, exist_ok=True)
        with ui(outputs) as address, browser() as driver:
            prefer(driver, address, experiment, parent.info.run_id)
            runs = f"{address}/#/experiments/{experiment}/runs"
            pages = {
                "runs": (runs, *(run.info.run_name for run in jobs)),
                "parent": (f"{runs}/{parent.info.run_id}", "INFERNO"),
                "run": (f"{runs}/{jobs[0].info.run_id}", "(MINOS)"),
                "compare": (
                    comparison(address, experiment, [run.info.run_id for run in jobs]),
                    "model.bins",
                    "Show diff",
                ),
            }
            for name, (url, *expected) in pages.items():
                show(driver, url, *expected)
                if name == "compare":
                    driver.execute_script(DIFFERENCES)
                time.sleep(2)  # animations
                path = arguments.output / f"mlflow_{name}.png"
                driver.save_screenshot(str(path))
                sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
