"""A package of choices: the page that shows one is installed as it is, passes the shipped tests, and runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import inferno_cli
from inferno_cli.choices import GROUP
from inferno_cli.config.load import config_folder

pytestmark = pytest.mark.docs
PAGE = config_folder().parent / "docs" / "extend.md"
SOURCE = Path(inferno_cli.__file__).parents[1]
FOLDERS = (
    "networks",
    "summaries",
    "objectives",
    "metrics",
    "sources",
    "systematics",
    "observables",
    "quantities",
    "steps",
    "figures",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package of the page, as pip would."""
    folder = tmp_path_factory.mktemp("extend")
    files = re.findall(
        r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("", *FOLDERS):
        assert (folder / "my_choices" / name).is_dir()
        (folder / "my_choices" / name / "__init__.py").touch()
    assert GROUP in (folder / "pyproject.toml").read_text(encoding="utf-8")
    info = folder / "my_choices-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: my-choices\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nmine = my_choices\n", encoding="utf-8")
    return folder


def run(place: Path, *arguments: str) -> str:
    """Run a module of Python in which the package is installed; return what it printed."""
    environment = os.environ | {"PYTHONPATH": f"{place}:{SOURCE}"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands(program: str) -> list[str]:
    """Return the arguments of the commands of a program on the page."""
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line.removeprefix(f"{program} ") for line in block.splitlines() if line.startswith(f"{program} ")]


def test_every_choice_of_the_page_passes_the_shipped_tests(place: Path) -> None:
    (tests,) = commands("pytest")
    mine = "residual or logit or two_points or purest or ring or resolution or entangled"
    told = run(place, "pytest", "-q", "-p", "no:cacheprovider", "-k", mine, *shlex.split(tests))

    assert int(re.search(r"(\d+) passed", told).group(1)) >= 38  # type: ignore[union-attr]


def test_they_are_trained_fitted_logged_and_compared(place: Path) -> None:
    train, count = commands("inferno")
    told = run(place, "inferno_cli", *shlex.split(train), "report.plots=false", "hydra.run.dir=runs/one")
    counted = run(place, "inferno_cli", *shlex.split(count))
    run(place, "inferno_cli", "compare", "runs=runs/one", "output=compared", "track=false")
    record = json.loads((place / "runs/one/results.json").read_text(encoding="utf-8"))

    assert counted == "signal 100.0\nbackground 1000.0\n"
    assert (record["model"], record["dataset"]) == ("mine", "ring")
    assert {item["channel"] for item in record["bins"]} == {"SR", "side"}
    assert 0 < record["quantities"]["entangled"]["value"] < 1
    largest = max(bin["signal"] / bin["background"] for bin in record["bins"])
    assert record["metrics"]["purest"] == pytest.approx(largest)
    assert record["training"]["history"][-1]["validation/metrics/purest"] > 0
    assert re.search(r"entangled +largest correlation of mu 0\.\d\d", told)
    assert "resolution" in record["parameters"]
    assert (place / "compared" / "seconds.png").is_file()
    assert "| max corr. of mu |" in (place / "compared" / "compare.md").read_text(encoding="utf-8")


def test_a_record_of_theirs_is_read_where_the_package_is_gone(place: Path) -> None:
    code = "import sys; from pathlib import Path; from inferno_cli.runs.record import Results; "
    code += "print(Results.load(Path(sys.argv[1])).notes)"
    path = place / "runs" / "one" / "results.json"
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True)

    assert "entangled is a quantity of kind 'entangled', whose package is not installed" in done.stdout, done.stderr


def test_their_step_and_their_keys_are_in_the_help(place: Path) -> None:
    told = run(place, "inferno_cli", "train", "--help", "dataset=ring", "model=mine", "nuisance=none")

    assert "count count the expected events of a dataset" in " ".join(run(place, "inferno_cli", "--help").split())
    assert "dataset.radius                    [1.5] Radius of the ring" in told
    assert "model.network.units               [40] Units of the hidden layer." in told
