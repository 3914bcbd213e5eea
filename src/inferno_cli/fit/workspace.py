"""A pyhf workspace in a file: read, patched, and checked for what pyhf's schema lets pass."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from inferno_cli.errors import FileError, WorkspaceError, closest
from inferno_cli.files import read_json, user_path

Spec = dict[str, Any]


def read_workspace(path: Path, *, patch: str | None = None, patchset: str | None = None) -> Spec:
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
    if patchset is not None:
        spec = _from_patchset(spec, user_path(patchset), patch)
    elif patch is not None:
        spec = _patched(spec, user_path(patch))
    require_valid(spec, str(path))
    return dict(spec)


def _read_json(path: Path, key: str) -> Any:
    """Read a file with care: it may be anybody's."""
    try:
        return read_json(path)
    except FileError as error:
        raise WorkspaceError(f"{key} {error}. Fix {key}=PATH") from error


def _patched(spec: Any, path: Path) -> Any:
    """Apply a JSON patch to a workspace."""
    import jsonpatch

    operations = _read_json(path, "patch")
    if not isinstance(operations, list):
        kind = (
            "a patch set: name it patchset=FILE, and one of its patches patch=NAME" if "patches" in operations else ""
        )
        raise WorkspaceError(f"patch={path} is {kind or 'no JSON patch, which is a list of operations'}")
    try:
        return jsonpatch.apply_patch(spec, operations)
    except jsonpatch.JsonPatchException as error:
        raise WorkspaceError(f"patch={path} does not apply to the workspace: {error}") from error


def _from_patchset(spec: Any, path: Path, name: str | None) -> Any:
    """Apply one patch of a patch set to the workspace that the set is for."""
    import pyhf

    try:
        patches = pyhf.PatchSet(_read_json(path, "patchset"))
    except WorkspaceError:
        raise
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        raise WorkspaceError(f"patchset={path} is no patch set: {str(error).splitlines()[0]}") from error
    known = [patch.name for patch in patches]
    if name not in known:
        found = "patch is missing" if name is None else f"patch={name} is not in {path}"
        raise WorkspaceError(f"{found}{closest(name or '', known)}. Name one of its {len(known)} patches: patch=NAME")
    try:
        patches.verify(spec)
        return patches[name].apply(spec)
    except Exception as error:
        raise WorkspaceError(
            f"patchset={path} is not for this workspace ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). Give the workspace that its digests are of"
        ) from error


def require_valid(spec: Any, where: str) -> None:
    """Check a workspace against pyhf's schema, and for what this lets pass and pyhf then reads as something else.

    Args:
        spec: The workspace.
        where: Names it in errors.

    Raises:
        WorkspaceError: With the channel, sample and modifier.
    """
    import pyhf

    try:
        json.dumps(spec, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half of a sign, such as "\ud800": nothing can be written with it
        found = error.object[max(error.start - 20, 0) : error.end + 20]
        raise WorkspaceError(f"workspace {where} has a text that is no Unicode: {found!r}. Repair that name") from error
    for problem in _not_finite(spec):
        raise WorkspaceError(f"workspace {where} is not valid: {problem}")
    try:
        pyhf.Workspace(spec)
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        places = [line for line in said[1:] if line.startswith("Path:")]
        raise WorkspaceError(f"workspace {where} is not valid: {'; '.join(said[:1] + places)}") from error
    for problem in _problems(spec):
        raise WorkspaceError(f"workspace {where} is not valid: {problem}")


def _not_finite(node: Any, place: str = "") -> Iterator[str]:
    """Yield where a number is NaN or infinite: Python reads these from JSON, and pyhf calculates with them."""
    if isinstance(node, float) and not math.isfinite(node):
        yield f"{place.removeprefix('.')} is {node}, expected a finite number"
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _not_finite(value, f"{place}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            name = value.get("name") if isinstance(value, dict) else None
            yield from _not_finite(value, f"{place}[{number if name is None else repr(name)}]")


def _problems(spec: Spec) -> Iterator[str]:
    bins = {}
    yield from _twice((channel["name"] for channel in spec["channels"]), "channel")
    yield from _twice((entry["name"] for entry in spec["observations"]), "the observation of channel")
    yield from _twice((entry["name"] for entry in spec["measurements"]), "measurement")
    for channel in spec["channels"]:
        bins[channel["name"]] = len(channel["samples"][0]["data"]) if channel["samples"] else 0
        yield from _channel_problems(channel)
    for entry in spec["observations"]:
        wanted = bins.get(entry["name"])
        if wanted is not None and len(entry["data"]) != wanted:
            yield (
                f"the observation of channel {entry['name']!r} has {len(entry['data'])} bins, its samples have {wanted}"
            )
    has_lumi = any(
        modifier["type"] == "lumi"
        for channel in spec["channels"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
    )
    for measurement in spec["measurements"]:
        yield from _measurement_problems(measurement, has_lumi)


def _twice(names: Iterable[str], what: str) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} is there twice, and all but the last would be dropped. Rename or remove one"
        seen.add(name)


def _channel_problems(channel: Spec) -> Iterator[str]:
    where = f"channel {channel['name']!r}"
    if not channel["samples"]:
        yield f"{where} has no samples"
        return
    yield from _twice((sample["name"] for sample in channel["samples"]), f"{where}: sample")
    n_bins = len(channel["samples"][0]["data"])
    for sample in channel["samples"]:
        place = f"{where}, sample {sample['name']!r}"
        if len(sample["data"]) != n_bins:
            first = channel["samples"][0]["name"]
            yield f"{place} has {len(sample['data'])} bins, sample {first!r} has {n_bins}"
        kinds = [f"{modifier['type']} {modifier['name']}" for modifier in sample["modifiers"]]
        yield from _twice(kinds, f"{place}: modifier")
        for modifier in sample["modifiers"]:
            yield from _modifier_problems(modifier, n_bins, place)


def _modifier_problems(modifier: Spec, n_bins: int, where: str) -> Iterator[str]:
    place = f"{where}, {modifier['type']} {modifier['name']!r}"
    data: Any = modifier.get("data")
    if modifier["type"] == "normsys":
        for side in ("hi", "lo"):
            if not data[side] > 0:
                yield (
                    f"{place}: {side} is {data[side]:g}, expected a factor above 0. A change of 100% or more has no "
                    "exponential interpolation: use a smaller one, or histosys"
                )
    lists = {"data": data} if isinstance(data, list) else {}
    if modifier["type"] == "histosys":
        lists = {side: data[side] for side in ("hi_data", "lo_data")}
    for name, values in lists.items():
        if len(values) != n_bins:
            yield f"{place}: {name} has {len(values)} bins, its sample has {n_bins}"
        if modifier["type"] in ("staterror", "shapesys") and min(values, default=0) < 0:
            yield f"{place}: {name} has {min(values):g}, expected uncertainties of at least 0"


def _measurement_problems(measurement: Spec, has_lumi: bool) -> Iterator[str]:
    where = f"measurement {measurement['name']!r}"
    parameters = measurement["config"]["parameters"]
    yield from _twice((parameter["name"] for parameter in parameters), f"{where}: parameter")
    by_name = {parameter["name"]: parameter for parameter in parameters}
    if has_lumi:
        lumi = by_name.get("lumi", {})
        for key in ("auxdata", "sigmas", "inits", "bounds"):
            if not lumi.get(key):
                yield f"{where} has no {key} for lumi, which a modifier of type lumi needs. Add them to its parameters"
        if min(lumi.get("sigmas") or [1.0]) <= 0:
            yield f"{where}: sigmas of lumi are {lumi['sigmas']}, expected above 0"
    for parameter in parameters:
        bounds, starts = parameter.get("bounds", []), parameter.get("inits", [])
        for low, high in bounds:
            if not low < high:
                yield f"{where}: the bounds of {parameter['name']!r} are [{low:g}, {high:g}], expected to rise"
        for (low, high), start in zip(bounds, starts, strict=False):
            if not low <= start <= high:
                yield (f"{where}: {parameter['name']!r} begins at {start:g}, outside of its bounds [{low:g}, {high:g}]")
