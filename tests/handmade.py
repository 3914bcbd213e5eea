"""Finished and unfinished runs, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from inferno_cli.runs.folder import RESULTS_FILE

LABEL = "simulated stand-in, not CMS data"


def record(width: float, *, seed: int = 1, model: str = "bce", label: str = LABEL, **changes: Any) -> dict[str, Any]:
    """What a run found, written by hand: a MINOS interval of some width, a free parameter and its correlation."""
    mu = {"bestfit": 1.0, "hesse": width / 2, "minos": [-0.45 * width, 0.55 * width]}
    jes = {"bestfit": 0.0, "hesse": 0.75, "minos": None, "pull": 0.0, "constraint": 0.75}
    scan = {"parameter": "mu", "values": [0.5, 1.0, 1.5], "delta_twice_nll": [4.0, 0.0, 3.0]}
    absent = ("noise_information", "stability", "sigma_s", "cramer_rao_bound_s")
    values = {
        "schema": "inferno_cli/results/1",
        "model": model,
        "dataset": "top11004",
        "label": label,
        "seed": seed,
        "data": "asimov",
        "poi": "mu",
        "parameters": {"mu": mu, "jes": jes},
        "correlation": {"mu": {"mu": 1.0, "jes": -0.5}, "jes": {"mu": -0.5, "jes": 1.0}},
        "stat_only": {"mu": {"bestfit": 1.0, "hesse": 0.09, "minos": None}},
        "significance": {"expected": 8.0, "observed": 8.0, "expected_p_value": 1e-15, "observed_p_value": 1e-15},
        "nll_scan": scan,
        "poi_variance": {"validation_soft": 0.04, "validation_hard": 0.09, "templates": (width / 2) ** 2},
        "bins": [
            {"merged_from": [0], "signal": 1.0, "background": 9.0, "effective_events": 90.0, "relative_staterror": 0.1},
            {"merged_from": [1], "signal": 5.0, "background": 4.0, "effective_events": 80.0, "relative_staterror": 0.1},
        ],
        "training": {
            "best_epoch": 1,
            "loss": [1.0, 0.5, 0.4],
            "sigma_mu_soft": [None, 0.2, 0.19],
            "sigma_mu_hard": [None, 0.3, 0.2],
            "nuisance": ["jes"],
            "history": [],
        },
        "dataset_checksum": "c0ffee" * 8,
        "code_version": "0.1.0",
        "workspace": "workspace.json",
        "timing": {"training": 4.0, "fit": 1.0},
    }
    return {**dict.fromkeys(absent), **values, **changes}


def config(model: str, bins: int, seed: int, **changes: Any) -> dict[str, Any]:
    hidden = [20, 20] if model == "bce" else [100, 100]
    return {
        "seed": seed,
        "output_dir": f"/somewhere/{seed}",
        "dataset": {"kind": "ntuples", "name": "top11004", "downsample_factor": 0.9},
        "model": {"name": model, "bins": bins, "hidden": hidden},
        "nuisance": {"train": ["jes"], "fit": ["jes"]},
        **changes,
    }


def put(folder: Path, settings: dict[str, Any], results: dict[str, Any] | None, *overrides: str) -> Path:
    """Write the folder of a run; without results, of one that did not finish."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if results is not None:
        (folder / RESULTS_FILE).write_text(json.dumps(results))
    return folder
