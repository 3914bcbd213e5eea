"""Choices that an installed package adds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from inferno_cli import choices
from inferno_cli.errors import ConfigError
from inferno_cli.section import Section

STEP = '"""Say hello."""\n'


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of choices, given its files, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    cached = (choices.extensions, choices.choices)

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
    from inferno_cli.cli.main import STEPS

    return choices.choices(STEPS)


def test_a_file_of_an_installed_package_is_a_choice(install):
    place = install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": STEP, "conf/hello.yaml": "{}"})

    assert list(steps())[-1] == "hello"
    assert steps()["hello"].load().__doc__ == "Say hello."
    assert choices.conf_folders() == (place / "mine" / "conf",)


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


BLOBS = """
import numpy as np
from typing import ClassVar, Literal
from inferno_cli.events.sample import NOMINAL, Events, Sample, generator
from inferno_cli.events.dataset import Dataset
from inferno_cli.events.validation import Validated, ValidatedSample

class Blobs(Dataset):
    kind: Literal["blobs"]
    distance: float
    features: ClassVar = ("x", "y")
    sample_names: ClassVar = ("s", "b")
    signal_names: ClassVar = ("s",)
    made_by: ClassVar = ("distance",)
    has_observed: ClassVar = False

    def load(self, request):
        parts = {}
        for part in ("train", "validation", "template"):
            samples = []
            for i, name in enumerate(self.sample_names):
                values = generator(request.seed, part + name).normal(i * self.distance, 1, (1, 2000, 2))
                weights = np.full((1, 2000), (0.05, 0.5)[i] * self.downsample_factor)
                features = values.astype(np.float32)
                sample = Sample(name, name == "s", np.arange(2000), (NOMINAL,), features, (0,), weights)
                for effect in request.effects_on(name):
                    sample = effect.definition.vary(sample, effect.parameter, self)
                samples.append(sample)
            parts[part] = tuple(samples)
        checksum = str(float(parts["train"][0].features.sum()))
        return Events(self.name, "", self.features, **parts, observed=None, checksum=checksum)

    def validated(self, request, source_branches):
        events = self.load(request)
        rows, none = {NOMINAL: 2000}, {NOMINAL: np.zeros(2, dtype=int)}
        samples = []
        for item in events.template:
            one = ValidatedSample(item, item.features[0], item.weights[0], rows, none, {}, (2000, 2000, 2000))
            samples.append(one)
        return Validated(self.name, "", self.features, tuple(samples), None, 0, (), events.checksum)
"""
SMEAR = """
from typing import Literal
import numpy as np
from inferno_cli.events.systematic import MorphSystematic

class Smear(MorphSystematic):
    kind: Literal["smear"]
    factor: float

    def vary(self, sample, parameter, dataset):
        weights = sample.weights[0]
        up, down = (sample.features[0] * np.float32(1 + sign * self.factor) for sign in (1, -1))
        return sample.with_variation(parameter, (up, weights), (down, weights))
"""
BLOBS_YAML = """
kind: blobs
name: blobs
distance: 1.5
downsample_factor: 1.0
systematics: {smear: {kind: smear, samples: [b], factor: 0.1}}
"""


def test_a_dataset_and_a_systematic_of_an_installed_package_pass_our_tests_and_are_trained_on(install):
    files = {"__init__.py": "", "sources/__init__.py": "", "systematics/__init__.py": ""}
    files |= {"sources/blobs.py": BLOBS, "systematics/smear.py": SMEAR, "conf/dataset/blobs.yaml": BLOBS_YAML}
    place = install(files)
    python = [sys.executable, "-m"]
    environment = {"PYTHONPATH": f"{place}:{Path(choices.__file__).parents[1]}"}
    tests = ["pytest", "-q", "-p", "no:cacheprovider", "-k", "blobs or every", "--pyargs"]
    modules = [f"inferno_cli.testing.{name}" for name in ("sources", "systematics")]
    found = subprocess.run([*python, *tests, *modules], cwd=place, env=environment, capture_output=True, text=True)
    assert (found.returncode, " passed" in found.stdout) == (0, True), found.stdout

    train = ["inferno_cli", "train", "dataset=blobs", "model=bce", "trainer.max_epochs=2", "nuisance=none"]
    train += ["nuisance.train=[smear]", "nuisance.fit=[smear]", "tracking=none", "report.plots=false"]
    found = subprocess.run([*python, *train], cwd=place, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "smear" in found.stdout


LINEAR = """
from typing import Literal
from inferno_cli.training.networks import Network

class Linear(Network):
    kind: Literal["linear"] = "linear"

    def build(self, mean, deviation, n_outputs):
        from torch import nn
        from inferno_cli.training.layers import Standardise
        return nn.Sequential(Standardise(mean, deviation), nn.Linear(len(mean), n_outputs))
"""
HALVES = """
from typing import ClassVar, Literal
from inferno_cli.training.summaries.score import Score

class Halves(Score):
    kind: Literal["halves"] = "halves"
    bins: Literal[2] = 2
"""
SQUARES = """
from typing import ClassVar, Literal
from inferno_cli.training.objectives import Objective

class Squares(Objective):
    nominal_only: ClassVar[bool] = True
    only_outputs: ClassVar[int] = 1
    kind: Literal["squares"] = "squares"

    def loss(self, outputs, batch, summary, likelihood):
        total = 0
        for output, stratum, weight in zip(outputs, likelihood.strata, likelihood.nominal_weights(batch)):
            distance = output[0, :, 0].double().sigmoid() - float(stratum.is_signal)
            total = total + (weight * distance**2).sum() / weight.sum()
        return total
"""
MINE = """
defaults: [network: linear, summary: halves, objective: squares]
name: mine
"""


def test_a_network_a_summary_and_an_objective_of_an_installed_package_pass_our_tests_and_are_trained(install):
    kinds = {"networks": ("linear", LINEAR), "summaries": ("halves", HALVES), "objectives": ("squares", SQUARES)}
    files = {"__init__.py": "", "conf/model/mine.yaml": MINE}
    files["conf/model/summary/halves.yaml"] = "{kind: halves, edge_width: 0.1}"
    for part, (name, text) in kinds.items():
        files |= {f"{part}/__init__.py": "", f"{part}/{name}.py": text}
        files.setdefault(f"conf/model/{part.replace('ies', 'y').rstrip('s')}/{name}.yaml", f"kind: {name}")
    place = install(files)
    python = [sys.executable, "-m"]
    environment = {"PYTHONPATH": f"{place}:{Path(choices.__file__).parents[1]}"}
    tests = ["pytest", "-q", "-p", "no:cacheprovider", "-k", "linear or halves or squares", "--pyargs"]
    modules = [f"inferno_cli.testing.{part}" for part in kinds]
    found = subprocess.run([*python, *tests, *modules], cwd=place, env=environment, capture_output=True, text=True)
    assert (found.returncode, " passed" in found.stdout) == (0, True), found.stdout

    train = ["inferno_cli", "train", "+experiment=top11004", "model=mine", "trainer.max_epochs=2", "nuisance=none"]
    train += ["tracking=none", "report.plots=false"]
    found = subprocess.run([*python, *train], cwd=place, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "training: mine, at most 2 epochs" in found.stdout


TENSION = """
from collections.abc import Iterator
from typing import Any, ClassVar, Literal
from inferno_cli.fit.result import Column, Quantity

class Tension(Quantity):
    kind: Literal["tension"]
    nominal: float
    record: ClassVar[Any] = float
    file: ClassVar[str] = "tension.md"
    columns: ClassVar = (Column("sigma", "tension", lambda value, _: value),)

    def compute(self, fitted):
        poi = fitted.problem.poi
        return float((fitted.best.values[poi] - self.nominal) / fitted.best.hesse[poi])

    @classmethod
    def metrics(cls, name, value):
        return {f"{name}/sigma": value}

    @classmethod
    def rows(cls, name, value, fit):
        yield name, f"{value:.2f} sigma from what was expected"

    @classmethod
    def tables(cls, value, fit):
        return [f"- {value:.2f} sigma"]

    @classmethod
    def figures(cls, name, value, fit, canvas):
        figure = canvas.figure()
        figure.subplots().axvline(value)
        yield name, figure
"""
TENSION_YAML = """
# @package fit.quantities.tension
kind: tension
nominal: 1.0
"""


def test_a_quantity_of_an_installed_package_passes_our_tests_and_is_in_every_output_of_a_fit(install):
    files = {"__init__.py": "", "quantities/__init__.py": "", "quantities/tension.py": TENSION}
    place = install(files | {"conf/quantity/tension.yaml": TENSION_YAML})
    python = [sys.executable, "-m"]
    source = Path(choices.__file__).parents[1]
    environment = {"PYTHONPATH": f"{place}:{source}"}
    tests = ["pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "inferno_cli.testing.quantities"]
    found = subprocess.run([*python, *tests], cwd=place, env=environment, capture_output=True, text=True)
    assert (found.returncode, " passed" in found.stdout) == (0, True), found.stdout

    workspace = Path(__file__).parents[1] / "data" / "runs" / "synthetic-bce" / "workspace.json"
    fit = ["inferno_cli", "fit", f"workspace={workspace}", "+quantity=tension", "tracking=none", "hydra.run.dir=fit"]
    fit += ["fit.quantities.tension.nominal=0.5", "fit.scan_points=null", "fit.breakdown=false"]
    found = subprocess.run([*python, *fit], cwd=place, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "sigma from what was expected" in found.stdout
    record = json.loads((place / "fit" / "results.json").read_text())
    mu = record["parameters"]["mu"]
    sigma = (mu["bestfit"] - 0.5) / mu["hesse"]
    assert record["quantities"]["tension"] == {"kind": "tension", "value": pytest.approx(sigma)}
    assert {"tension.md", "results.json"} <= {path.name for path in (place / "fit").iterdir()}
    assert (place / "fit" / "plots" / "tension.png").is_file()

    compare = ["inferno_cli", "compare", "runs=fit", "output=compared", "track=false"]
    found = subprocess.run([*python, *compare], cwd=place, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"| {sigma:.3f} |" in (place / "compared" / "compare.md").read_text()

    path = str(place / "fit" / "results.json")
    read = "from pathlib import Path\nfrom inferno_cli.runs.record import Results\n"
    read += f"print(Results.load(Path({path!r})).notes)"
    without = {"PYTHONPATH": str(source)}
    found = subprocess.run([sys.executable, "-c", read], env=without, capture_output=True, text=True)
    assert "tension is a quantity of kind 'tension', whose package is not installed" in found.stdout


def test_a_step_of_an_installed_package_runs_with_its_own_yaml(install):
    step = '"""Say hello."""\n\nfrom inferno_cli.section import Section\n\n\nclass Hello(Section):\n    name: str\n'
    step += "\n\ndef schema():\n    return Hello\n\n\ndef run(config, composed):\n    import sys\n"
    step += '    sys.stdout.write(f"hello {config.name}\\n")\n'
    conf = "name: Ada\nhydra: {output_subdir: null, run: {dir: .}}\n"
    place = install({"__init__.py": "", "steps/__init__.py": "", "steps/hello.py": step, "conf/hello.yaml": conf})
    command = [sys.executable, "-m", "inferno_cli", "hello", "name=Bob"]
    found = subprocess.run(
        command, cwd=place, env={"PYTHONPATH": f"{place}:{Path(choices.__file__).parents[1]}"}, capture_output=True
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, b"hello Bob\n", b"")
