"""The documentation: it builds without a warning, describes every key and metric, and its examples are real."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from inferno_cli import expressions
from inferno_cli.cli.main import step_help
from inferno_cli.config.load import config_folder
from inferno_cli.fit.quantities.goodness_of_fit import GoodnessOfFit
from inferno_cli.fit.quantities.limit import Limit, ToyLimit
from inferno_cli.fit.share import Share
from inferno_cli.runs.record import Results
from integration.conftest import Runs, Sweep, four_runs

pytestmark = pytest.mark.docs
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
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
    }
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//[^\s>]+", text) == [], path.name
        assert re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect)\"?[^>]+href=\"?https?:[^\s>]+", text) == []


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "statistics.html").read_text(encoding="utf-8")
    assert text.count('display="block"') == (DOCS / "statistics.md").read_text(encoding="utf-8").count("$$") // 2
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_of_expressions_has_every_function_and_limit() -> None:
    text = (DOCS / "expressions.md").read_text(encoding="utf-8")
    assert [name for name in expressions.FUNCTIONS if f"`{name}`" not in text and f"`{name}(" not in text] == []
    assert [name for name in expressions.REDUCTIONS if f"`{name}(x)`" not in text] == []
    for limit in (expressions.MAX_LENGTH, expressions.MAX_DEPTH, expressions.MAX_STEPS):
        assert f" {limit} " in text
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[0])
    systematic = example["systematics"]["btag"]
    features = example["features"]
    written = [example["weight"], example["samples"]["QCD"]["weight"], systematic["up"], systematic["down"]]
    written += [example["selection"], features["log_pt"], features["dm1"], features["ht"]["expression"]]
    for text in written:
        assert expressions.parse(text).branches


# ------------------------------------------------------------------------------------------------------ the pages
@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    missing = []
    for link in links:
        target = link.partition("#")[0]
        if target and not re.match(r"https?:", target) and not (page.parent / target).exists():
            missing.append(link)
    assert missing == []


def test_the_readme_fits_on_three_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_page_of_the_configuration_is_that_of_this_code() -> None:
    import configuration_page

    assert configuration_page.PAGE.read_text(encoding="utf-8") == configuration_page.page(), (
        "write it again: python scripts/configuration_page.py"
    )


def test_every_key_has_a_type_and_a_description() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    keys = [row for row in rows if len(row) == 4]
    assert len(keys) > 150
    assert [row[0] for row in keys if not row[1].strip() or not row[3].strip()] == []
    assert "| `bins` | integer ≥ 2, ≤ 200 | `${model.bins}` |" in text
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == set(step_help())


@pytest.mark.parametrize("group", ["dataset", "model", "nuisance", "trainer", "fit", "tracking"])
def test_the_page_of_keys_has_every_choice(group: str) -> None:
    text = (DOCS / "guide" / "keys.md").read_text(encoding="utf-8")
    assert [path.stem for path in (config_folder() / group).glob("*.yaml") if f"`{path.stem}`" not in text] == []


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
        toys=ToyLimit(1.0, 0.1, 1.0, (1.0,), (Share(5, 100),), (Share(50, 100),)),
    )
    p_values = {"expected_p_value": 0.02, "observed_p_value": 0.02, "a_priori_p_value": 0.02}
    significance = {"expected": 2.0, "observed": 2.0, "a_priori": 2.0, **p_values, "toys": {"count": 1, "total": 9}}
    goodness = GoodnessOfFit(p_value=0.5, degrees_of_freedom=3, toys=Share(1, 2))
    distribution, share = {"edges": (0.0, 1.0), "counts": (9,)}, {"count": 6, "total": 9}
    numbers = dict.fromkeys(("truth", "mean", "spread", "bias", "bias_error", "hesse"), 1.0)
    toys = {
        **dict.fromkeys(("number", "failed", "at_limit", "seed"), 1),
        **numbers,
        **{"pulls": {"mu": {"mean": 0.0, "width": 1.0}}, "coverage": share, "coverage_minos": share},
        **{"estimates": distribution, "pull": distribution},
    }
    measured = dict.fromkeys(
        ("bias", "spread", "pull_mean", "pull_spread", "coverage_hesse", "coverage_minos"), (0.5, 0.1)
    )
    counts = {"mu": 1.0, "nuisance": "jes +1", "experiments": 10, "failed": 0}
    truth = {**counts, **measured, "hesse": 0.3, "common_bias": 0.01, "score": 0.2}
    found = {
        "coverage": {"origin": "validation split", "truths": (truth,)},
        "limit": limit,
        "goodness_of_fit": goodness,
        "significance": significance,
        "stat_only": {"mu": {"bestfit": 1.0, "hesse": 0.1}},
        "toys": toys,
        "pois": ["jes"],
    }
    return Results.model_validate({**record.model_dump(by_alias=True), **found})


def test_the_tags_that_are_logged_are_documented(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = (DOCS / "mlflow.md").read_text(encoding="utf-8").partition("| tag |")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", text, re.MULTILINE))))
    logged = {tag for job in four_runs(tmp_path_factory).jobs for tag in job.data.tags if not tag.startswith("mlflow.")}
    # Of a run that failed, of a blinded fit, and of one with names that MLflow does not take.
    assert logged == named - {"error", "blinded", "names"}
