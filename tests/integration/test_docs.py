"""The documentation: it builds without a warning, describes every key and metric, and its examples are real."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from inferno_cli import expressions
from inferno_cli.config import config_folder
from inferno_cli.fit.result import GoodnessOfFit, Limit
from inferno_cli.runs.record import Results
from integration.conftest import Runs, Sweep, four_runs

ROOT = config_folder().parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "scripts"))


# ------------------------------------------------------------------------------------------------------ the site
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it as `make docs` does, in a process of its own."""
    import os
    import subprocess

    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'inferno-cli[docs]'")
    assert "-m mkdocs build --strict" in (ROOT / "Makefile").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert {str(path.relative_to(site).with_suffix(".md")) for path in pages} == {
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.parent.name != "results"
    }
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//[^\s>]+", text) == [], path.name
        assert re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect)\"?[^>]+href=\"?https?:[^\s>]+", text) == []
        assert not re.search(r"MATHML\d|<!-- (README|FILES|CONFIGURATION)", text), path.name


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "statistics.html").read_text(encoding="utf-8")
    assert text.count('display="block"') == (DOCS / "statistics.md").read_text(encoding="utf-8").count("$$") // 2
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_of_expressions_has_every_function_and_limit() -> None:
    text = (DOCS / "expressions.md").read_text(encoding="utf-8")
    assert [name for name in expressions.FUNCTIONS if f"`{name}`" not in text and f"`{name}(" not in text] == []
    for limit in (expressions.MAX_LENGTH, expressions.MAX_DEPTH, expressions.MAX_STEPS):
        assert f" {limit} " in text
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[0])
    systematic = example["systematics"]["btag"]
    for written in (example["weight"], example["samples"]["QCD"]["weight"], systematic["up"], systematic["down"]):
        assert expressions.parse(written).branches


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("index.html", ["arXiv:1806.04743", "max_noise_information", "simulated stand-in"]),
        ("guide.html", ["text2workspace.py", "modifier_name"]),
        ("results.html", ["benchmark4", "shift_study.png"]),
        ("api/likelihood.html", ["poi_variance", "SingularInformationError"]),
        ("api/fit.html", ["fit_workspace"]),
    ],
)
def test_what_is_taken_from_elsewhere_is_there(site: Path, page: str, words: list[str]) -> None:
    text = (site / page).read_text(encoding="utf-8")
    assert [word for word in words if word not in text] == []


# --------------------------------------------------------------------------------------------- the hooks' own parts
def test_a_section_of_the_readme_that_is_not_there_is_an_error() -> None:
    import docs_hooks

    with pytest.raises(docs_hooks.DocsError, match="no section 'Nowhere'"):
        docs_hooks.readme("Nowhere")


def test_a_section_ends_where_the_next_of_its_level_begins() -> None:
    import docs_hooks

    assert docs_hooks.readme("Licence").strip() == "Apache-2.0."
    assert "### Sweeps" in docs_hooks.readme("Use")
    assert "## Limits" not in docs_hooks.readme("Sparse bins")
    assert "mermaid" not in docs_hooks.readme("What INFERNO does")


def test_formulas_in_code_are_left_alone() -> None:
    import docs_hooks

    pytest.importorskip("latex2mathml")
    formulas: list[str] = []
    text = docs_hooks.take_formulas("a $x$ `$y$`\n\n```bash\necho $z $w\n```\n\n$$\\mu$$", formulas)
    assert text == "a MATHML0MATHML `$y$`\n\n```bash\necho $z $w\n```\n\nMATHML1MATHML"
    assert len(formulas) == 2
    assert "<mi>x</mi>" in formulas[0]


def test_every_key_has_a_type_and_a_description() -> None:
    import docs_hooks

    text = docs_hooks.configuration()
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    keys = [row for row in rows if len(row) == 4]
    assert len(keys) > 150
    assert [row[0] for row in keys if not row[1].strip() or not row[3].strip()] == []
    assert "| `bins` | integer ≥ 2, ≤ 200 | `10` |" in text
    assert "`kind`" in text
    steps = {path.stem for path in (ROOT / "src/inferno_cli/steps").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == steps


# ------------------------------------------------------------------------------------------------- names in MLflow
def documented() -> list[str]:
    """The metrics in the table of docs/mlflow.md."""
    text = (DOCS / "mlflow.md").read_text(encoding="utf-8").partition("| metric |")[2].partition("| tag |")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def pattern(name: str) -> str:
    """A documented name as a pattern: PARAMETER, GROUP and PART stand for any name."""
    return re.sub(r"PARAMETER|GROUP|PART", r"[^/]+", re.escape(name))


def test_every_metric_that_is_logged_is_documented(tmp_path_factory: pytest.TempPathFactory, runs: Runs) -> None:
    sweep: Sweep = four_runs(tmp_path_factory)
    logged = {name for job in sweep.jobs for name in job.data.metrics}
    record = runs("top11004", "bce").results
    logged |= {name for epoch in record.training.history for name in epoch}  # type: ignore[union-attr]
    logged |= set(full(record).metrics())
    names = documented()

    assert [name for name in sorted(logged) if not any(re.fullmatch(pattern(x), name) for x in names)] == []
    assert [x for x in names if not any(re.fullmatch(pattern(x), name) for name in logged)] == []


def full(record: Results) -> Results:
    """Add what ``fit=full`` and observed data bring, in made-up numbers."""
    limit = Limit(
        confidence_level=0.95,
        observed=1.0,
        expected=(1.0,) * 5,
        a_priori=(1.0,) * 5,
        bracket=(0.1, 2.0),
        tolerance=0.1,
        poi_values=(1.0,),
        observed_cls=(0.05,),
        expected_cls=((0.05,),),
    )
    p_values = {"expected_p_value": 0.02, "observed_p_value": 0.02, "a_priori_p_value": 0.02}
    significance = {"expected": 2.0, "observed": 2.0, "a_priori": 2.0, **p_values}
    goodness = GoodnessOfFit(p_value=0.5, degrees_of_freedom=3)
    whole = record.model_copy(update={"limit": limit, "goodness_of_fit": goodness})
    return Results.model_validate(
        {
            **whole.model_dump(by_alias=True),
            "significance": significance,
            "stat_only": {"mu": record.parameters["mu"]},
        }
    )


def test_the_tags_that_are_logged_are_documented(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = (DOCS / "mlflow.md").read_text(encoding="utf-8").partition("| tag |")[2]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", text, re.MULTILINE))))
    logged = {tag for job in four_runs(tmp_path_factory).jobs for tag in job.data.tags if not tag.startswith("mlflow.")}
    # Of a run that failed, and of one with names that MLflow does not take.
    assert logged == named - {"error", "names"}
