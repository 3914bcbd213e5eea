"""What installs the program: tested versions, the Dockerfile (its lines are read, no image is built) and the bounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


@pytest.fixture(scope="module")
def locked() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found[canonicalize_name(requirement.name)] = Version(pin.version)
    return found


def required(project: dict[str, Any]) -> list[Requirement]:
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [item for item in map(Requirement, texts) if item.name != "inferno-cli"]


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with what they are given, lines that go on joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def test_the_lock_has_every_requirement_within_its_bounds(project: dict[str, Any], locked: dict[str, Version]) -> None:
    """Else: `make lock`."""
    wrong = {}
    for item in required(project):
        version = locked.get(canonicalize_name(item.name))
        if version is None or not item.specifier.contains(version, prereleases=True):
            wrong[item.name] = (str(item.specifier), str(version))
    assert wrong == {}


def test_every_requirement_has_a_lowest_version(project: dict[str, Any]) -> None:
    """`make lowest` tests them."""
    operators = {item.name: {part.operator for part in item.specifier} for item in required(project)}
    assert {name for name, found in operators.items() if not found & {">=", "=="}} == set()


def test_versions_of_torch_serve_processors_and_gpus(locked: dict[str, Version]) -> None:
    """A local version, 2.13.0+cpu, would be no version of the other index."""
    assert locked["torch"].local is None
    assert any(name.startswith("nvidia-") for name in locked)


def test_the_dockerfile_copies_what_is_there() -> None:
    ignored = {line.rstrip("/") for line in (ROOT / ".dockerignore").read_text().split()}
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    sources = [source for *many, _ in copied for source in many]
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "conf", "src"} == set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert source not in ignored


def test_the_dockerfile_has_a_python_and_extras_of_the_project(project: dict[str, Any]) -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    assert SpecifierSet(project["requires-python"]).contains(arguments["PYTHON"])
    assert set(arguments["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    written = (ROOT / "constraints.txt").read_text().splitlines()[1]
    assert f"Python {arguments['PYTHON']}" in written
    stages = [rest.split() for word, rest in instructions() if word == "FROM"]
    assert [stage[0] for stage in stages] == ["python:${PYTHON}-slim"] * 2


def test_the_dockerfile_installs_tested_versions_and_starts_the_program(project: dict[str, Any]) -> None:
    found = instructions()
    installs = [rest for word, rest in found if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in rest for rest in installs)
    entry = next(rest for word, rest in found if word == "ENTRYPOINT")
    assert entry == f'["{next(iter(project["scripts"]))}"]'
    path = next(rest for word, rest in reversed(found) if word == "ENV")
    assert path.startswith("PATH=/opt/inferno/bin:")


def test_the_workflow_runs_targets_of_the_makefile() -> None:
    import yaml

    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "versions.yml").read_text())
    targets = workflow["jobs"]["tests"]["strategy"]["matrix"]["target"]
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["lowest", "newest"]
    for target in targets:
        assert re.search(rf"^{target}: ", makefile, re.MULTILINE)
        assert f"RESOLUTION_{target} :=" in makefile
