"""Data flows one way: which package may import which, and what must not be imported at the top of a module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import inferno_cli

SOURCE = Path(inferno_cli.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# Design, section 4; the modules in OPEN and the top-level package are open to all.
ALLOWED = {
    "events": set(),
    "expressions": set(),
    "drawing": set(),
    "config": {"events"},
    "likelihood": {"config"},
    "analyses": {"events"},
    "histograms": {"config", "events", "likelihood"},
    "training": {"config", "events", "histograms", "likelihood"},
    "fit": {"config", "drawing", "likelihood"},
    "interpolation": {"config", "events", "fit", "histograms", "likelihood", "training"},
    "runs": {"config", "events", "histograms", "likelihood", "training", "fit"},
    "anomaly": {"config", "events", "fit", "histograms", "runs", "training"},
    "nplm": {"config", "events"},
    "report": {"anomaly", "config", "drawing", "events", "histograms", "fit", "interpolation", "nplm", "runs"},
    "testing": {"config", "drawing", "events", "fit", "histograms", "likelihood", "training"},
}
CHOICES = {f"inferno_cli.training.{kind}" for kind in ("networks", "summaries", "objectives", "metrics")}
CHOICES |= {"inferno_cli.anomaly.outputs", "inferno_cli.nplm.models"}
"""Packages of choices: open to all, as the configuration is made of their sections."""
OPEN = {
    "choices",
    "code",
    "errors",
    "expressions",
    "files",
    "memory",
    "names",
    "progress",
    "remote",
    "section",
    "shard",
    "shell",
    "signals",
    "workers",
}
EVERYTHING = {"__init__", "api", "cli", "steps", "__main__"}

HEAVY = {"torch", "lightning", "cabinetry", "pyhf", "mlflow", "matplotlib", "iminuit"}
LIGHT = {
    "cli",
    "config",
    "drawing",
    "events",
    "fit",
    "likelihood",
    "report",
    "runs",
    "steps",
    "workspace",
    *OPEN,
    "__init__",
    "__main__",
}


def package(path: Path) -> str:
    """Package of a file, or the name of a module at the top."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def targets(node: ast.AST, path: Path) -> list[str]:
    """Full names of the modules that an import statement reads, relative ones resolved."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parent = module_of(path).split(".")
        if path.stem != "__init__":
            parent = parent[:-1]
        parent = parent[: len(parent) - node.level + 1]
        base = ".".join([*parent, *([node.module] if node.module else [])])
    # `from inferno_cli import report` names a package only in what is imported.
    return [base, *(f"{base}.{alias.name}" for alias in node.names)] if base == "inferno_cli" else [base]


def arrows(path: Path, tree: ast.AST) -> set[str]:
    """Packages of inferno_cli that a module imports, at any depth."""
    there = {item.stem for item in SOURCE.iterdir()}
    found = set()
    for node in ast.walk(tree):
        for name in targets(node, path):
            parts = name.split(".")
            if name in CHOICES:
                continue
            if parts[0] == "inferno_cli" and len(parts) > 1 and parts[1] in there:
                found.add(parts[1])
    return found - {package(path)}


def when_imported(tree: ast.Module) -> list[ast.AST]:
    """Statements that run when a module is imported: not in functions, not for type checkers alone."""
    found: list[ast.AST] = []
    queue: list[ast.AST] = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
            continue
        found.append(node)
        queue += ast.iter_child_nodes(node)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_packages_import_only_what_the_design_allows(path):
    here = package(path)
    allowed = set(ALLOWED) | EVERYTHING if here in EVERYTHING else ALLOWED.get(here, set())
    assert arrows(path, parse(path)) - OPEN - allowed == set()


def test_every_package_is_in_the_table():
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages - EVERYTHING == set(ALLOWED)


def test_the_table_has_no_circle():
    order: list[str] = []
    while len(order) < len(ALLOWED):
        ready = [item for item, needs in ALLOWED.items() if item not in order and needs <= set(order)]
        assert ready, f"a circle among {set(ALLOWED) - set(order)}"
        order += ready
    assert order[0] == "events"


def modules(path: Path) -> set[str]:
    """Modules of inferno_cli that a module imports, at any depth; the face of a package (``__init__``) is none."""
    known = {module_of(file) for file in FILES if file.stem != "__init__"}
    found = {target for node in ast.walk(parse(path)) for target in targets(node, path)}
    return found & known - {module_of(path)}


def test_no_modules_import_each_other_in_a_circle():
    needs = {module_of(path): modules(path) for path in FILES}
    while ready := [module for module, others in needs.items() if not others & needs.keys()]:
        for module in ready:
            del needs[module]
    assert needs == {}


@pytest.mark.parametrize("path", [path for path in FILES if package(path) in LIGHT], ids=name)
def test_heavy_packages_are_imported_inside_functions(path):
    names = [target for node in when_imported(parse(path)) for target in targets(node, path)]
    assert {target.split(".")[0] for target in names} & HEAVY == set()


@pytest.mark.parametrize(
    "path", [path for path in FILES if module_of(path.parent / "__init__.py") in CHOICES], ids=name
)
def test_choices_import_neither_the_configuration_nor_torch(path):
    names = [target for node in when_imported(parse(path)) for target in targets(node, path)]
    ours = [target for target in names if target.split(".")[0] == "inferno_cli"]
    assert {target for target in ours if target not in CHOICES} <= {f"inferno_cli.{module}" for module in OPEN}
    assert {target.split(".")[0] for target in names} & HEAVY == set()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_printed(path):
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert printed == []


# ------------------------------------------------------------------------------- the tests above see what is there
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import inferno_cli.report", {"report"}),
        ("from inferno_cli import report, runs", {"report", "runs"}),
        ("from inferno_cli.fit.result import FitResult", {"fit"}),
        ("def f():\n    from inferno_cli.training import train", {"training"}),
        ("from ..likelihood import Spec", {"likelihood"}),
        ("from .. import training", {"training"}),
        ("from . import binning\nfrom .binning import merge", set()),
        ("from inferno_cli import __version__", set()),
        ("from inferno_cli.errors import InfernoError", {"errors"}),
        ("from typing import Any\nimport numpy", set()),
    ],
)
def test_an_arrow_is_seen_however_it_is_written(code, expected):
    assert arrows(SOURCE / "histograms" / "templates.py", ast.parse(code)) == expected


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import torch", True),
        ("from matplotlib import pyplot", True),
        ("try:\n    import mlflow\nexcept ImportError:\n    mlflow = None", True),
        ("class A:\n    import pyhf", True),
        ("def f():\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_a_heavy_import_is_seen_where_it_would_run(code, seen):
    path = SOURCE / "config" / "schema.py"
    names = [target.split(".")[0] for node in when_imported(ast.parse(code)) for target in targets(node, path)]
    assert bool(set(names) & HEAVY) == seen
