"""A pyhf workspace from a file: patched, checked, and read into a specification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.errors import FileError, UnknownModifierError, WorkspaceError
from inferno_cli.files import read_json, user_path
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array, Modifier
from inferno_cli.likelihood.readers.checks import (
    MOST_LEVELS,
    Content,
    clipped,
    kind_of,
    not_numbers,
    problems,
    too_deep,
)
from inferno_cli.likelihood.readers.patches import from_patchset, patched
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Poisson, Sample, Spec


def read_workspace(path: Path, *, patch: str | None = None, patchset: str | None = None) -> Content:
    """Read a pyhf workspace, and check it.

    Args:
        path: Its JSON file.
        patch: A file with a JSON patch to apply; with ``patchset`` the name of one of its patches.
        patchset: File of a patch set of pyhf's.

    Raises:
        WorkspaceError: If a file is missing or not JSON, a patch does not apply, or the workspace is not valid.
    """
    spec = _read_json(path, "workspace")
    if isinstance(spec, list) or (isinstance(spec, dict) and "patches" in spec and "channels" not in spec):
        what, keys = ("a JSON patch", "patch") if isinstance(spec, list) else ("a patch set", "patchset")
        more = "" if isinstance(spec, list) else ", and the name of one of its patches as patch=NAME"
        raise WorkspaceError(
            f"{path} is {what}, not a workspace. Give the workspace that it changes as workspace=FILE, this file as "
            f"{keys}=FILE{more}"
        )
    _require_object(spec, str(path))
    where = str(path)
    if patchset is not None:
        file = user_path(patchset)
        spec = from_patchset(spec, _read_json(file, "patchset"), file, patch)
        where = f"{path} with patch {patch} of {file}"
    elif patch is not None:
        file = user_path(patch)
        spec = patched(spec, _read_json(file, "patch"), file)
        where = f"{path} with patch {file}"
    require_valid(spec, where)
    return dict(spec)


def _read_json(path: Path, key: str) -> Any:
    """Read a file with care: it may be anybody's."""
    try:
        content = read_json(path)
    except FileError as error:
        raise WorkspaceError(f"{key} {error}. Fix {key}=PATH") from error
    if too_deep(content):
        raise WorkspaceError(
            f"{key} {path} is nested too deeply: expected at most {MOST_LEVELS} levels. Fix {key}=PATH"
        )
    return content


def _require_object(spec: Any, where: str) -> None:
    if not isinstance(spec, dict):
        raise WorkspaceError(
            f"workspace {where} is not valid: it is {kind_of(spec)}, expected an object with channels, observations, "
            "measurements and version"
        )


def require_valid(spec: Any, where: str) -> None:
    """Check a workspace against pyhf's schema, and for what this lets pass and pyhf then reads as something else.

    Raises:
        WorkspaceError: With ``where``, the channel, sample and modifier.
    """
    import pyhf

    _require_object(spec, where)
    if too_deep(spec):
        raise WorkspaceError(f"workspace {where} is nested too deeply: expected at most {MOST_LEVELS} levels")
    try:
        json.dumps(spec, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half of a sign, such as "\ud800": nothing can be written with it
        found = error.object[max(error.start - 20, 0) : error.end + 20]
        raise WorkspaceError(f"workspace {where} has a text that is no Unicode: {found!r}. Repair that name") from error
    try:
        pyhf.Workspace(spec)
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        places = [line for line in said[1:] if line.startswith("Path:")]
        told = "; ".join(clipped(line) for line in said[:1] + places)
        raise WorkspaceError(f"workspace {where} is not valid: {told}") from error
    for problem in chain(not_numbers(spec), problems(spec)):
        raise WorkspaceError(f"workspace {where} is not valid: {problem}")


# ------------------------------------------------------------------------------------------------ specification
def specification(model: Any, observations: Mapping[str, Sequence[float]], measurement: str) -> Spec:
    """Return the specification of a pyhf model, which is of a valid workspace, with the events of each channel.

    pyhf knows what the parameters are where the measurement says nothing.
    """
    by_name = {channel["name"]: channel for channel in model.spec["channels"]}
    channels: list[Channel] = []
    for name in model.config.channels:
        samples: list[Sample] = []
        for sample in by_name[name]["samples"]:
            modifiers = tuple(_modifier(entry) for entry in sample["modifiers"])
            samples.append(Sample(sample["name"], _array(sample["data"]), modifiers))
        channels.append(Channel(name, tuple(samples), _array(observations[name])))
    parameters = tuple(_parameter(model.config, name) for name in model.config.par_order)
    return Spec(tuple(channels), parameters, str(model.config.poi_name), measurement)


def _array(values: Sequence[float]) -> Array:
    return np.asarray(values, dtype=float)


def _modifier(entry: Content) -> Modifier:
    name, data = entry["name"], entry["data"]
    match entry["type"]:
        case "normfactor":
            return mod.NormFactor(name)
        case "lumi":
            return mod.Lumi(name)
        case "shapefactor":
            return mod.ShapeFactor(name)
        case "normsys":
            return mod.NormSys(name, data["hi"], data["lo"])
        case "histosys":
            return mod.HistoSys(name, _array(data["hi_data"]), _array(data["lo_data"]))
        case "staterror":
            return mod.StatError(name, _array(data) ** 2)
        case "shapesys":
            return mod.ShapeSys(name, _array(data))
    raise UnknownModifierError(f"modifier {name!r} is of type {entry['type']!r}, which is not of HistFactory")


def _parameter(config: Any, name: str) -> Parameter:
    """Return a parameter with what the measurement says of it, and pyhf where it says nothing."""
    known = config.param_set(name)
    constraint: Gaussian | Poisson | None = None
    if known.constrained and known.pdf_type == "poisson":
        constraint = Poisson(_array(known.auxdata), _array(known.factors))
    elif known.constrained:
        constraint = Gaussian(_array(known.auxdata), _array(known.width()))
    return Parameter(
        name,
        tuple(map(float, known.suggested_init)),
        tuple((float(low), float(high)) for low, high in known.suggested_bounds),
        tuple(map(bool, known.suggested_fixed)),
        constraint,
        per_bin=not known.is_scalar,
    )
