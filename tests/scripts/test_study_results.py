"""The pages of finished studies: what somebody wrote of the tables stays when these are made anew."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import study_results


def test_remarks_on_the_tables_are_kept(tmp_path: Path) -> None:
    page = tmp_path / "losses.md"
    assert study_results.remarks(page) == ""
    page.write_text("# losses\n\n| a table |\n")
    assert study_results.remarks(page) == ""
    page.write_text("# losses\n\n| a table |\n\n## What they say\n\nThat p0 is small.\n")
    assert study_results.remarks(page) == "\n## What they say\n\nThat p0 is small.\n"
