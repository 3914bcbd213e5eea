"""Choices that an installed package adds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from inferno_cli import choices
from inferno_cli.code import code_digest
from inferno_cli.errors import ConfigError
from inferno_cli.fit.result import quantities
from inferno_cli.section import Section

STEP = '"""Say hello."""\n'


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of choices, given its files, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    cached = (choices.extensions, choices.choices, quantities)

    def forget() -> None:
        for function in cached:
            function.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
            del sys.modules[name]

    def _install(files: dict[str, str], package: str = "mine") -> Path:
        info = tmp_path / "mine-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: mine\nVersion: 1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{choices.GROUP}]\nx = {package}\n", encoding="utf-8")
        for name, text in files.items():
            path = tmp_path / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        forget()
        return tmp_path

    yield _install
    forget()


def steps() -> dict[str, choices.Choice]:
    from inferno_cli.choices import STEPS

    return choices.choices(STEPS)


def test_a_file_of_an_installed_package_is_a_choice(install):
    place = install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": STEP, "conf/hello.yaml": "{}"})

    assert list(steps())[-1] == "hello"
    assert steps()["hello"].load().__doc__ == "Say hello."
    assert choices.conf_folders() == (place / "mine" / "conf",)


def test_a_change_of_an_installed_choice_is_a_change_of_the_code(install):
    place = install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": STEP})
    code_digest.cache_clear()
    before = code_digest()
    (place / "mine" / "steps" / "hello.py").write_text(STEP + "x = 1\n", encoding="utf-8")
    code_digest.cache_clear()
    after = code_digest()
    code_digest.cache_clear()

    assert before != after


def test_a_package_without_choices_of_that_kind_adds_none(install):
    before = set(steps())
    install({"__init__.py": "", "summaries/__init__.py": ""})

    assert set(steps()) == before


def test_two_choices_of_one_name_are_an_error_that_names_both_files(install):
    install({"__init__.py": "", "steps/__init__.py": "", "steps/train.py": STEP})

    with pytest.raises(
        ConfigError, match=r"(?s)steps/train\.py and .*mine/steps/train\.py are both the choice 'train'"
    ):
        steps()


def test_a_package_that_is_gone_is_named(install):
    install({}, package="gone_away")

    with pytest.raises(ConfigError, match="names gone_away in the entry points"):
        steps()


def test_a_choice_that_cannot_be_imported_is_named(install):
    install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": STEP + "import no_such_module\n"})

    with pytest.raises(ConfigError, match=r"hello\.py adds a choice .*no_such_module"):
        steps()["hello"].load()


class Flavour(Section):
    """A kind of choices."""


class Sweet(Flavour):
    """One of them."""

    kind: Literal["sweet"]


FLAVOUR = f"""
from typing import Literal
from {__name__} import Flavour, Sweet

class Bitter(Flavour):
    kind: Literal["{{kind}}"]
    strength: int
"""


def test_sections_are_told_apart_by_their_kind(install):
    from pydantic import TypeAdapter

    install(
        {
            "__init__.py": "",
            "flavours/__init__.py": "",
            "flavours/bitter.py": FLAVOUR.format(kind="bitter"),
            "flavours/sour.py": FLAVOUR.format(kind="sour"),
        }
    )
    flavour = TypeAdapter(choices.any_of("mine.flavours", Flavour)).validate_python({"kind": "sour", "strength": 3})

    assert (type(flavour).__module__, flavour.strength) == ("mine.flavours.sour", 3)


def test_two_sections_of_one_kind_are_an_error(install):
    files = {f"flavours/{name}.py": FLAVOUR.format(kind="bitter") for name in ("one", "two")}
    install({"__init__.py": "", "flavours/__init__.py": "", **files})

    with pytest.raises(ConfigError, match="both have the kind 'bitter'"):
        choices.sections("mine.flavours", Flavour)


def test_a_step_of_an_installed_package_runs_with_its_own_yaml(install):
    step = '"""Say hello."""\n\nfrom inferno_cli.section import Section\n\n\nclass Hello(Section):\n    name: str\n'
    step += "\n\nSCHEMA = Hello\n\n\ndef run(config, composed):\n    import sys\n"
    step += '    sys.stdout.write(f"hello {config.name}\\n")\n'
    conf = "name: Ada\nhydra: {output_subdir: null, run: {dir: .}}\n"
    place = install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": step, "conf/hello.yaml": conf})
    command = [sys.executable, "-m", "inferno_cli", "hello", "name=Bob"]
    found = subprocess.run(
        command, cwd=place, env={"PYTHONPATH": f"{place}:{Path(choices.__file__).parents[1]}"}, capture_output=True
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, b"hello Bob\n", b"")
