"""The coverage of a run's intervals on the command line: with events that are generated, and with those of files."""

from __future__ import annotations

from pathlib import Path

from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, succeed

FEW = (*QUICK, *FIT_ONLY_MU, "export=false")
ASKED = "experiments: 6, mu: [0.5, 1.0], nuisance: [nominal, each, together, priors]"


def test_a_run_and_its_comparison(tmp_path: Path) -> None:
    common = ("+experiment=synthetic", "model=optimal", *FEW, *FEW_EVENTS, f"output_dir={tmp_path}")
    outcome = succeed("train", *common, f"coverage={{{ASKED}}}")

    found = outcome.results.coverage
    assert found is not None
    assert found.origin == "generated with the true parameters"
    names = [(item.nuisance, item.mu) for item in found.truths]
    moved = ["r +1", "lambda +1", "all +1", "r -1", "lambda -1", "all -1"]
    expected = [("nominal", 0.5), ("nominal", 1.0), *((name, 1.0) for name in moved), ("priors", 0.5), ("priors", 1.0)]
    assert sorted(names[:10], key=str) == sorted(expected, key=str)
    assert names[10:] == [("nominal", None), ("priors", None)]
    assert all(item.experiments + item.failed == (12 if item.mu is None else 6) for item in found.truths)
    assert "coverage" in outcome.out

    # A finished run is taken as it is, and the same experiments are the first of more, whatever fits them.
    again = succeed(
        "train",
        *common,
        f"trained_in={outcome.path.parent}",
        "coverage={experiments: 12, mu: [0.5, 1.0], workers: 2}",
    )
    assert again.results.coverage is not None
    assert again.results.coverage.truths[0].experiments == 12
    compared = succeed("compare", f"runs={again.path.parent}", "tracking=none")
    assert (compared.path.parent / "coverage.csv").is_file()
    assert "## Coverage" in (compared.path.parent / "compare.md").read_text()


def test_events_of_files_are_of_the_validation_split(tmp_path: Path) -> None:
    asked = "coverage={experiments: 4, mu: [1.0]}"
    outcome = succeed("train", "+experiment=top11004", "model=bce", *FEW, asked, f"output_dir={tmp_path}")

    found = outcome.results.coverage
    assert found is not None
    assert found.origin == "validation split"
    assert [item.nuisance for item in found.truths] == ["nominal", "jes +1", "jes -1", "priors"]
    assert found.overall() == found.truths[-1]

    # Of the same network: what cannot be had is said, and the rest of the run stays.
    again = ("+experiment=top11004", "model=bce", *FEW, f"output_dir={tmp_path}", f"trained_in={outcome.path.parent}")
    for asked, said in (
        (
            "nuisance: [together]",
            "coverage.nuisance=[together] asks for nothing: nuisance parameters that move events",
        ),
        ("mu: [50]", "coverage.mu has 50, and the fit looks for mu between -5 and 10. Widen likelihood.poi_bounds"),
    ):
        results = succeed("train", *again, f"coverage={{experiments: 4, {asked}}}").results
        assert results.coverage is None
        assert any(note.startswith(f"no coverage: {said}") for note in results.notes)
    results = succeed("train", *again, "coverage={experiments: 20, mu: [9.9], nuisance: [nominal]}").results
    assert results.coverage is not None
    failed = results.coverage.truths[0].failed
    assert failed > 2
    assert any(f"mu = 9.9 and nuisance parameters 'nominal', {failed} of 20" in note for note in results.notes)
