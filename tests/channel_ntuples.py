"""Small ntuples of an analysis with three channels, and the same histograms of them by plain numpy.

``SR`` (the network's bins), ``CR`` (a histogram of ``m``) and ``low`` (one bin) are slices of ``pt``, which the jet
energy scale moves: events migrate. A tenth of the weights is negative, samples repeat each other's event numbers, rows
of one ``source`` belong together, and no event of ``top`` is in ``low``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from conftest import changed, ntuples, write
from numpy.typing import NDArray

from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.assignment import SplitAssignment
from inferno_cli.histograms.templates import Templates

Table = dict[str, NDArray[Any]]
SIZES = {"signal": 400, "fakes": 700, "top": 500}
MEANS = {"signal": 1.0, "fakes": -0.7, "top": 0.0}
OBSERVED = {"signal": 160, "fakes": 280, "top": 200}
"""Observed events that are drawn like a sample; no other number is as large as their sum."""
JES = 0.08
SELECTIONS = {"SR": "pt >= 40", "CR": "pt >= 20 and pt < 40", "low": "pt < 20"}
SLICES = {"SR": (40.0, np.inf), "CR": (20.0, 40.0), "low": (-np.inf, 20.0)}
EDGES = (0.0, 40.0, 80.0, 120.0)
SIMULATED = ("signal", "fakes", "top")
SYSTEMATICS: dict[str, Any] = {
    "jes": {"kind": "shape", "samples": list(SIMULATED)},
    "pdf": {"kind": "weight", "samples": ["signal", "top"], "up": "weight * pdf", "down": "weight / pdf"},
    "fakes": {"kind": "normalisation", "samples": ["fakes"], "size": 0.2, "modifier_name": "fakes_rate"},
    "top_norm": {"kind": "free", "samples": ["top"], "bounds": [0.1, 5.0]},
}


def table(name: str, shift: float = 0.0) -> Table:
    """Events of one sample; ``shift`` is a relative change of ``pt``, of which a few events get lost."""
    random, sizes = np.random.default_rng(len(name)), OBSERVED if name == "Data" else {name: SIZES[name]}
    n = sum(sizes.values())
    event = random.permutation(n) + 1
    pt = 12 + random.exponential(30, n) + 12 * np.repeat([like == "top" for like in sizes], list(sizes.values()))
    x = random.normal(np.repeat([MEANS[like] for like in sizes], list(sizes.values())), 1) + 0.3 * np.log(pt / 40)
    made = {
        "run": np.ones(n, dtype=np.int64),
        "event": event.astype(np.int64),
        "source": (event // 2).astype(np.int64),
        "x": (x + 2 * shift).astype(np.float32),
        "y": random.normal(0, 1, n).astype(np.float32),
        "pt": (pt * (1 + shift)).astype(np.float32),
        "m": np.abs(random.normal(70, 40, n)).astype(np.float32),
        "w": np.where(random.random(n) < 0.1, -0.5, 0.5) * random.uniform(0.8, 1.2, n),
        "pdf": random.uniform(0.9, 1.25, n),
    }
    kept = np.ones(n, dtype=bool) if shift == 0 else random.random(n) < 0.97
    return {key: values[kept] for key, values in made.items()}


def trees() -> dict[str, Table]:
    """All trees by name."""
    found = {name: table(name) for name in (*SIZES, "Data")}
    for name in SIMULATED:
        found |= {f"{name}_jes_up": table(name, JES), f"{name}_jes_down": table(name, -JES)}
    found["Data"] = {key: values for key, values in found["Data"].items() if key not in ("w", "pdf")}
    return found


def channels(*, overflow: bool = True, **keys: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the channels; ``keys`` are more keys of one."""
    histogram = {"kind": "histogram", "expression": "m", "edges": list(EDGES), "overflow": overflow}
    observables = {"SR": {"kind": "summary"}, "CR": histogram, "low": {"kind": "count"}}
    found = {}
    for name, selection in SELECTIONS.items():
        found[name] = {"selection": selection, "observable": observables[name], **keys.get(name, {})}
    return found


def configured(
    folder: Path,
    *,
    fit: tuple[str, ...] = tuple(SYSTEMATICS),
    of_channels: Mapping[str, Any] | None = None,
    systematics: Mapping[str, Any] | None = None,
    sections: Mapping[str, Any] | None = None,
    **dataset: Any,
) -> TrainConfig:
    """Write the ntuples once, and configure a measurement of them in all channels; ``dataset`` has keys of it."""
    path = folder / "all.root"
    if not path.exists():
        write(path, trees())
    roles = {"signal": "signal", "fakes": "background", "top": "background", "Data": "data"}
    own = {"samples": {name: {"role": role} for name, role in roles.items()}}
    own |= {"systematics": SYSTEMATICS if systematics is None else dict(systematics)}
    config = ntuples(path, fit=fit, **{**own, **dataset})
    more = {"channels": channels() if of_channels is None else dict(of_channels), **(sections or {})}
    return changed(config, **more)


# ------------------------------------------------------------------------------------------------- by plain numpy
def inside(rows: Mapping[str, NDArray[Any]], channel: str) -> NDArray[np.bool_]:
    """Which rows of a tree are in a channel."""
    low, high = SLICES[channel]
    return (rows["pt"] >= low) & (rows["pt"] < high)


def weights(rows: Mapping[str, NDArray[Any]], variation: str) -> NDArray[np.float64]:
    """Weights of the rows of a tree in a variation, as the configuration has them."""
    factor = {"pdf_up": rows["pdf"], "pdf_down": 1 / rows["pdf"]}.get(variation, 1.0)
    return np.asarray(rows["w"] * factor)


def tree_of(sample: str, variation: str) -> str:
    """Name of the tree of a variation, "nominal" or "jes_up"."""
    return f"{sample}_{variation}" if variation.startswith("jes") else sample


def counted(rows: Mapping[str, NDArray[Any]], channel: str, variation: str, *, overflow: bool = True) -> Table:
    """Sums of weights and of their squares in the bins of ``CR`` or ``low``."""
    own = inside(rows, channel)
    w, edges = weights(rows, variation)[own], np.array([-np.inf, np.inf])
    if channel == "CR":
        edges = np.array(EDGES)
        if overflow:
            edges[0], edges[-1] = -np.inf, np.inf
    return {
        "values": np.histogram(rows["m"][own], edges, weights=w)[0],
        "variances": np.histogram(rows["m"][own], edges, weights=w**2)[0],
    }


def split_of(assignment: SplitAssignment, sample: str, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """The split, or fold, of the rows of a tree by their event numbers; -1: the event is in no channel."""
    division = assignment.divisions[sample]
    by_event = {
        int(event): int(split) for (_, event), split in zip(division.events.rows(), division.split, strict=True)
    }
    return np.array([by_event.get(int(event), -1) for event in rows["event"]])


def merged(values: NDArray[Any], templates: Templates) -> NDArray[np.float64]:
    """Sum bins of a network as those of fitted templates are merged."""
    return np.array([values[list(group)].sum() for group in templates.groups])
