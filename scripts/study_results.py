"""Keep the tables of finished studies for the page of results.

    python -m inferno_cli train -m +study=benchmarks study.scale=quick
    python -m inferno_cli compare runs=outputs/studies/benchmarks-quick
    python scripts/study_results.py outputs/studies/benchmarks-quick

Writes docs/results/NAME.md from the compare.md of each folder, with its commands and the version of the code. What
somebody wrote of the tables stays: all that begins with the heading "## What they say".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inferno_cli.runs.record import Results

REMARKS = "\n## What they say\n"
"""Heading of what was written of the tables, which is kept."""
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def page(study: Path) -> str:
    """Return the tables of one study under its commands."""
    title, _, tables = (study / "compare" / "compare.md").read_text(encoding="utf-8").partition("\n")
    name, _, scale = study.name.rpartition("-")
    run = Results.load(min(study.glob("*/*/*/results.json")))
    return (
        f"# {name}\n\n{title.lstrip('# ')}.\n\n```bash\n"
        f"python -m inferno_cli train -m +study={name} study.scale={scale}\n"
        f"python -m inferno_cli compare runs=outputs/studies/{study.name}\n```\n\nVersion {run.code_version}.\n{tables}"
    )


def remarks(path: Path) -> str:
    """Return what was written of the tables on a page, with its heading; nothing where there is no such page yet."""
    _, heading, text = path.read_text(encoding="utf-8").partition(REMARKS) if path.is_file() else ("", "", "")
    return heading + text


def main() -> None:
    """Write a page for every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, help="folders, after compare")
    for study in parser.parse_args().studies:
        path = RESULTS / f"{study.name.rpartition('-')[0]}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(study) + remarks(path), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
