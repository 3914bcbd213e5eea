"""What is kept of trainings: the rules, and the study from end to end, begun twice."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import selection_study as study
from integration.conftest import FEW_EVENTS, QUICK

from inferno_cli.training import trainer


def test_a_mean_over_epochs_waits_until_there_are_as_many():
    values = np.array([np.inf, 4.0, 2.0, 6.0])
    np.testing.assert_array_equal(study.mean_of_last(values, 2), [np.inf, np.inf, 3.0, 4.0])
    np.testing.assert_array_equal(study.mean_of_last(values, 1), values)


def test_early_stopping_waits_behind_the_first_finite_value():
    values = np.array([np.inf, 3.0, 2.0, 4.0, 5.0, 1.0])
    np.testing.assert_array_equal(study.stopped(values, 2), [np.inf, 3.0, 2.0, 4.0, 5.0, np.inf])
    np.testing.assert_array_equal(study.stopped(values, 3), values)


def test_a_line_has_means_spreads_and_the_optimism():
    kept = [study.Kept(0.19, 0.20, 0.19, 6), study.Kept(0.21, 0.22, 0.22, 8)]
    fields = [field.strip() for field in study.line("rule", "one", kept).split("|")[1:-1]]
    assert fields == ["rule", "one", "2", "0.2000", "7.1%", "0.2100", "6.7%", "+2.6%", "7.0", "0"]


@pytest.mark.slow
def test_every_rule_is_applied_to_the_same_trainings_which_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "Validation", study.KeepAll)
    quick = [item for item in QUICK if not item.startswith("trainer.max_epochs")]
    words = ["+experiment=synthetic", *quick, *FEW_EVENTS, "trainer.max_epochs=3", "model.warm_up=0", "dataset.seed=1"]
    arguments = argparse.Namespace(output=tmp_path, seeds=1, members=2, config_dir=None, words=words)
    first = study.measured(arguments)
    assert first[-5].startswith("| as trained | mean of 2 | 1 |")
    assert first[-4].startswith("| as trained, and late epochs | one | 2 |")
    assert first[-3].startswith("| as trained, and late epochs | mean of 2 | 1 |")
    assert first[-1].startswith("Noise of the templates")
    (trained,) = [line for line in first if line.startswith("| as trained | one |")]
    assert trained.split("|")[3].strip() == "2"
    assert len(list(tmp_path.glob("seed*_member*.pt"))) == 2
    monkeypatch.setattr(trainer, "train", None)  # nothing is trained again
    assert study.measured(arguments) == first
