"""NanoAOD through uproot: chunks of events as the objects that the selection takes. Branch names are configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from inferno_cli.config import ObjectBranches, Preparation
from inferno_cli.errors import BranchNotFoundError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.prepare.kinematics import Array, as_float64


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


@contextmanager
def opened(path: Path, settings: Preparation) -> Iterator[Any]:
    """Open the tree of a file, every branch of it there."""
    import uproot

    try:
        file = uproot.open(path)
    except MemoryError:
        raise
    except Exception as error:  # uproot raises many kinds for a damaged file
        raise DatasetFileError(
            f"{path} cannot be read as a ROOT file ({type(error).__name__}); it may be truncated: compare its size or "
            "checksum with the original and copy it again"
        ) from error
    with file:
        trees = {key for key, kind in file.classnames(cycle=False).items() if kind != "TDirectory"}
        if settings.tree not in trees:
            raise TreeNotFoundError(
                f"tree {settings.tree!r} is missing from {path}{closest(settings.tree, trees)}. Fix prepare.tree"
            )
        tree = file[settings.tree]
        present = set(tree.keys())
        for name, key in needed(settings).items():
            if name not in present:
                collection = [item for item in present if item.partition("_")[0] == name.partition("_")[0]]
                near = closest(name, collection).partition("; known")[0]
                raise BranchNotFoundError(
                    f"branch {name!r} is missing from tree {settings.tree!r} in {path}{near}. "
                    f"Fix {key}, or choose another preset (prepare=...)"
                )
        yield tree


def chunks(path: Path, settings: Preparation, size: int) -> Iterator[tuple[Array, dict[str, Any]]]:
    """Read a file piece by piece.

    Args:
        path: A NanoAOD file.
        settings: Its branches.
        size: Events in a piece.

    Yields:
        The identified objects of the events, see ``select``, and the further columns.
    """
    with opened(path, settings) as tree:
        for start in range(0, tree.num_entries, size):
            stop = min(start + size, tree.num_entries)
            arrays = tree.arrays(list(needed(settings)), entry_start=start, entry_stop=stop)
            yield objects(arrays, settings), columns(arrays, settings)


def objects(arrays: Array, settings: Preparation) -> Array:
    """Identified objects of each event."""
    branches = settings.branches
    jets = _identified(arrays, branches.jets)
    tagged = arrays[branches.jets.tag] > branches.jets.tag_min
    jets = ak.with_field(jets, tagged, "tagged")
    if branches.jets.gen_index is not None and branches.jets.gen_pt is not None:
        jets = ak.with_field(jets, _matched(arrays[branches.jets.gen_pt], arrays[branches.jets.gen_index]), "gen_pt")
    taus = ak.with_field(_identified(arrays, branches.taus), arrays[branches.taus.charge], "charge")
    found = {"jets": (jets, branches.jets), "taus": (taus, branches.taus)}
    found["electrons"] = (_identified(arrays, branches.electrons), branches.electrons)
    found["muons"] = (_identified(arrays, branches.muons), branches.muons)
    events = {name: values[_passes(arrays, where)] for name, (values, where) in found.items()}
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
    """PT of the generated jet of each jet, 0 where there is none."""
    # An index past the end happens where the generated jets were thinned.
    valid = (index >= 0) & (index < ak.num(gen_pt))
    padded = ak.fill_none(ak.pad_none(as_float64(gen_pt), 1), 0.0)
    return ak.where(valid, padded[ak.where(valid, index, 0)], 0.0)
