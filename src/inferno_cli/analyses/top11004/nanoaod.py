"""NanoAOD through uproot: chunks of events as the objects that the selection takes. Branch names are configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from inferno_cli.analyses.top11004.kinematics import Array, as_float64
from inferno_cli.analyses.top11004.settings import ObjectBranches, Preparation
from inferno_cli.errors import BranchNotFoundError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.root.trees import contents, is_tree, opened


def needed(settings: Preparation) -> dict[str, str]:
    """Branches to read, and the key of the configuration that names each."""
    names: dict[str, str] = {}
    for kind in ("jets", "taus", "electrons", "muons", "met"):
        branches = getattr(settings.branches, kind)
        for key, value in branches.model_dump().items():
            if isinstance(value, str):
                names.setdefault(value, f"prepare.branches.{kind}.{key}")
            elif isinstance(value, dict):
                for name in value:
                    names.setdefault(name, f"prepare.branches.{kind}.require")
    for key, source in settings.columns.items():
        if isinstance(source, str):
            names.setdefault(source, f"prepare.columns.{key}")
    return names


def read(path: Path, settings: Preparation, size: int) -> Iterator[Array]:
    """Read the branches of a NanoAOD file, ``size`` events at a time."""
    trees = [name for name, kind in contents(path).items() if is_tree(kind)]
    if settings.tree not in trees:
        raise TreeNotFoundError(
            f"tree {settings.tree!r} is missing from {path}{closest(settings.tree, trees)}. Fix prepare.tree"
        )
    with opened(path, settings.tree) as tree:
        present = set(tree.keys())
        for name, key in needed(settings).items():
            if name not in present:
                collection = [item for item in present if item.partition("_")[0] == name.partition("_")[0]]
                near = closest(name, collection).partition("; known")[0]
                raise BranchNotFoundError(
                    f"branch {name!r} is missing from tree {settings.tree!r} in {path}{near}. "
                    f"Fix {key}, or choose another preset (prepare=...)"
                )
        if not tree.num_entries:
            raise DatasetFileError(f"{path} has no events in tree {settings.tree!r}. Leave it out of files")
        for start in range(0, tree.num_entries, size):
            yield tree.arrays(list(needed(settings)), entry_start=start, entry_stop=start + size)


def objects(arrays: Array, settings: Preparation) -> Array:
    """Identified objects of each event, see ``select``."""
    branches = settings.branches
    jets = _identified(arrays, branches.jets)
    tagged = arrays[branches.jets.tag] > branches.jets.tag_min
    jets = ak.with_field(jets, tagged, "tagged")
    if branches.jets.gen_index is not None and branches.jets.gen_pt is not None:
        jets = ak.with_field(jets, _matched(arrays[branches.jets.gen_pt], arrays[branches.jets.gen_index]), "gen_pt")
    taus = ak.with_field(_identified(arrays, branches.taus), arrays[branches.taus.charge], "charge")
    events = {"jets": jets[_passes(arrays, branches.jets)], "taus": taus[_passes(arrays, branches.taus)]}
    for name, source in (("electrons", branches.electrons), ("muons", branches.muons)):
        events[name] = _identified(arrays, source)[_passes(arrays, source)]
    events["met"] = ak.zip({"pt": arrays[branches.met.pt], "phi": arrays[branches.met.phi]})
    return ak.zip(events, depth_limit=1)


def columns(arrays: Array, settings: Preparation) -> dict[str, Any]:
    """Further columns: one number for each event."""
    found = {}
    for name, source in settings.columns.items():
        values = ak.to_numpy(arrays[source]) if isinstance(source, str) else np.full(len(arrays), source)
        found[name] = values.astype(np.int64 if name in settings.integers else np.float64)
    return found


def _identified(arrays: Array, branches: ObjectBranches) -> Array:
    pt = as_float64(arrays[branches.pt])
    mass = as_float64(arrays[branches.mass]) if branches.mass is not None else ak.zeros_like(pt)
    return ak.zip(
        {"pt": pt, "eta": as_float64(arrays[branches.eta]), "phi": as_float64(arrays[branches.phi]), "mass": mass}
    )


def _passes(arrays: Array, branches: ObjectBranches) -> Array:
    passed = ak.ones_like(arrays[branches.pt], dtype=bool)
    for name, minimum in branches.require.items():
        passed = passed & (arrays[name] >= minimum)
    return passed


def _matched(gen_pt: Array, index: Array) -> Array:
    """Return the pT of the generated jet of each jet, 0 where there is none."""
    # An index past the end happens where the generated jets were thinned.
    valid = (index >= 0) & (index < ak.num(gen_pt))
    padded = ak.fill_none(ak.pad_none(as_float64(gen_pt), 1), 0.0)
    return ak.where(valid, padded[ak.where(valid, index, 0)], 0.0)
