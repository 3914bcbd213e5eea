"""What pyhf's schema lets pass in a workspace, and pyhf then fails on, reads as something else or leaves out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from inferno_cli.errors import closest

Content = dict[str, Any]

MOST_EVENTS = 1e15
"""In one bin. Double precision counts single ones up to 9e15, and the likelihood needs what is between them."""
MOST_LEVELS = 100
"""Levels of lists and objects: a workspace has 10, and Python's recursion ends at some hundreds."""
PER_BIN = ("shapefactor", "shapesys", "staterror")
"""Types of modifiers with one parameter per bin."""
SETTABLE = {
    "auxdata": ("histosys", "lumi", "normsys", "shapesys", "staterror"),
    "factors": ("shapesys",),
    "sigmas": ("lumi", "staterror"),
}
"""Types of modifiers whose parameters have a value that a measurement can set."""


class _Use(NamedTuple):
    kind: str
    channel: str
    sample: str
    n_bins: int


# ----------------------------------------------------------------------------------------------- in any JSON
def kind_of(value: Any) -> str:
    """Say what a value of JSON is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    known: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
    return known.get(type(value), "a number")


def clipped(text: str, limit: int = 200) -> str:
    """Return a text as a message quotes it: of a long one the beginning and the end."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 80]} ... {text[-75:]}"


def too_deep(top: Any) -> bool:
    """Tell whether a value has more levels than anything that reads it can take."""
    level = [top]
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for node in level:
            inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            below += [value for value in inner if isinstance(value, dict | list)]
        if not below:
            return False
        level = below
    return True


# ----------------------------------------------------------------------------------------------- numbers
def not_numbers(node: Any, place: str = "", in_bins: bool = False) -> Iterator[str]:
    """Yield where a number of a workspace that is valid against pyhf's schema is none that can be calculated with.

    Python reads NaN and integers of any size from JSON, takes true for 1, and pyhf calculates with all of them.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            # The only switch of the schema; everything else in it that can be true is a number.
            if key != "fixed" or not isinstance(value, bool):
                inside = in_bins or key in ("channels", "observations")
                yield from not_numbers(value, f"{place}.{key}", inside)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            name = value.get("name") if isinstance(value, dict) else None
            where = f"{place}[{number if name is None else repr(name)}]"
            if in_bins and _is_large(value):
                yield (
                    f"{where.removeprefix('.')} is {_number(value)}, expected at most {MOST_EVENTS:g} in a bin: beyond "
                    "that double precision does not count single events"
                )
            yield from not_numbers(value, where, in_bins)
    elif isinstance(node, bool):
        yield f"{place.removeprefix('.')} is {str(node).lower()}, expected a number"
    elif isinstance(node, int | float) and not _is_finite(node):
        yield f"{place.removeprefix('.')} is {_number(node)}, expected a finite number"


def _is_large(value: Any) -> bool:
    return isinstance(value, int | float) and _is_finite(value) and abs(value) > MOST_EVENTS


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float is as large as
        return False


def _number(value: int | float) -> str:
    if isinstance(value, int) and not _is_finite(value):
        return f"an integer of {int(math.log10(abs(value))) + 1} digits"
    return f"{value:g}"


# ----------------------------------------------------------------------------------------------- names and bins
def problems(spec: Content) -> Iterator[str]:
    """Yield what is wrong with a workspace that is valid against pyhf's schema."""
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
    uses = _uses(spec)
    for name, found in uses.items():
        yield from _sharing_problems(name, found)
    for measurement in spec["measurements"]:
        yield from _measurement_problems(measurement, uses)


def ignored(spec: Content, measurement: str | None) -> Iterator[str]:
    """Yield what a workspace says and pyhf leaves out, as notes of the fit.

    No errors: who prunes a workspace leaves the parameters of what was pruned, and observations of what is not fitted.
    The measurement that is fitted is the first where no name is given.
    """
    channels = [channel["name"] for channel in spec["channels"]]
    for entry in spec["observations"]:
        if entry["name"] not in channels:
            near = closest(entry["name"], channels, listed=())
            yield f"the observation of {entry['name']!r} is not used: the workspace has no such channel{near}"
    uses = _uses(spec)
    chosen = [item for item in spec["measurements"] if measurement in (None, item["name"])]
    for parameter in chosen[0]["config"]["parameters"]:
        if parameter["name"] not in uses:
            near = closest(parameter["name"], uses, listed=())
            yield (
                f"the settings of parameter {parameter['name']!r} in measurement {chosen[0]['name']!r} are not used: "
                f"no modifier has that name{near}"
            )


def _uses(spec: Content) -> dict[str, list[_Use]]:
    uses: dict[str, list[_Use]] = {}
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                use = _Use(modifier["type"], channel["name"], sample["name"], len(sample["data"]))
                uses.setdefault(modifier["name"], []).append(use)
    return uses


def _twice(names: Iterable[str], what: str) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} is there twice, and all but the last would be dropped. Rename or remove one"
        seen.add(name)


def _channel_problems(channel: Content) -> Iterator[str]:
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


def _modifier_problems(modifier: Content, n_bins: int, where: str) -> Iterator[str]:
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


def _sharing_problems(name: str, uses: list[_Use]) -> Iterator[str]:
    """Yield where parameters of bins are shared by what has other bins: pyhf reads the next parameters, or fails."""
    for kind in PER_BIN:
        found = [use for use in uses if use.kind == kind]
        for other in found[1:]:
            first = found[0]
            both = f"{kind} {name!r} is in {_told(first)} and in {_told(other)}"
            if kind == "shapefactor" and other.n_bins != first.n_bins:
                yield f"{both}: its parameters are one per bin, and cannot be those of both. Rename one of the two"
            elif kind == "shapesys":
                yield f"{both}: its parameters are those of one sample. Rename one of the two"
            elif kind == "staterror" and _channels(found, first.sample) != _channels(found, other.sample):
                yield (
                    f"{both}: its parameters are those of the bins of one channel. Give it a name of its own in each "
                    "channel"
                )


def _told(use: _Use) -> str:
    return f"channel {use.channel!r}, sample {use.sample!r} ({use.n_bins} bin{'s' if use.n_bins != 1 else ''})"


def _channels(uses: Iterable[_Use], sample: str | None = None) -> dict[str, int]:
    """Return the bins by channel, of one sample or of all."""
    return {use.channel: use.n_bins for use in uses if sample in (None, use.sample)}


# ----------------------------------------------------------------------------------------------- measurements
def _measurement_problems(measurement: Content, uses: Mapping[str, list[_Use]]) -> Iterator[str]:
    where = f"measurement {measurement['name']!r}"
    parameters = measurement["config"]["parameters"]
    yield from _twice((parameter["name"] for parameter in parameters), f"{where}: parameter")
    by_name = {parameter["name"]: parameter for parameter in parameters}
    if any(use.kind == "lumi" for use in uses.get("lumi", ())):
        lumi = by_name.get("lumi", {})
        for key in ("auxdata", "sigmas", "inits", "bounds"):
            if not lumi.get(key):
                yield f"{where} has no {key} for lumi, which a modifier of type lumi needs. Add them to its parameters"
        if min(lumi.get("sigmas") or [1.0]) <= 0:
            yield f"{where}: sigmas of lumi are {lumi['sigmas']}, expected above 0"
    for parameter in parameters:
        if parameter["name"] in uses:
            yield from _setting_problems(parameter, uses[parameter["name"]], where)
        yield from _bounds_problems(parameter, where)


def _setting_problems(parameter: Content, uses: list[_Use], where: str) -> Iterator[str]:
    """Yield the values that a parameter of these modifiers does not have, or has another number of."""
    kind, name = uses[0].kind, parameter["name"]
    size = 1
    if kind in PER_BIN:
        size = sum(_channels(uses).values()) if kind == "staterror" else uses[0].n_bins
    for key in ("inits", "bounds", "auxdata", "factors", "sigmas"):
        if key not in parameter:
            continue
        if kind not in SETTABLE.get(key, (kind,)):
            yield (
                f"{where}: {name!r} has {key}, and a parameter of type {kind} has none (those with {key}: "
                f"{', '.join(SETTABLE[key])}). Remove its {key}"
            )
        elif len(parameter[key]) != size:
            yield f"{where}: {name!r} of type {kind} has {len(parameter[key])} {key}, expected {size}"


def _bounds_problems(parameter: Content, where: str) -> Iterator[str]:
    bounds, starts = parameter.get("bounds", []), parameter.get("inits", [])
    for pair in bounds:
        if len(pair) != 2:
            yield f"{where}: the bounds of {parameter['name']!r} are {len(pair)} numbers, expected [low, high]"
            return
        low, high = pair
        if not low < high:
            yield f"{where}: the bounds of {parameter['name']!r} are [{low:g}, {high:g}], expected to rise"
    for (low, high), start in zip(bounds, starts, strict=False):
        if not low <= start <= high:
            yield f"{where}: {parameter['name']!r} begins at {start:g}, outside of its bounds [{low:g}, {high:g}]"
