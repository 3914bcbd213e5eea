"""Workspaces, patches and patch sets that mislead: each is one message that says what, where and what to do."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyhf
import pytest
from conftest import compose

from inferno_cli.errors import WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.likelihood.readers.checks import MOST_EVENTS
from inferno_cli.likelihood.readers.pyhf import read_workspace

QUICK = compose("fit=data", "fit.scan_points=null", "fit.significance=false", "fit.stat_only=false").fit.model_copy(
    update={"breakdown": False, "limit": False, "progress": "none"}
)


def _modifier(kind: str, name: str, data: Any = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "data": data}


def workspace() -> dict[str, Any]:
    """A signal region of two bins and a control region of two."""
    rate = _modifier("normsys", "k", {"hi": 1.1, "lo": 0.9})
    shape = _modifier("histosys", "h", {"hi_data": [53.0, 19.0], "lo_data": [47.0, 21.5]})
    return {
        "version": "1.0.0",
        "channels": [
            {
                "name": "SR",
                "samples": [
                    {"name": "s", "data": [8.0, 4.0], "modifiers": [_modifier("normfactor", "mu")]},
                    {"name": "b", "data": [50.0, 20.0], "modifiers": [rate, shape]},
                ],
            },
            {"name": "CR", "samples": [{"name": "c", "data": [120.0, 90.0], "modifiers": [deepcopy(rate)]}]},
        ],
        "observations": [{"name": "SR", "data": [55, 26]}, {"name": "CR", "data": [125, 95]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }


OBSERVATION = ("observations", 0, "data", 0)
RATE = ("channels", 0, "samples", 1, "modifiers", 0, "data", "hi")
SHAPE = ("channels", 0, "samples", 1, "modifiers", 1, "data", "hi_data", 1)
NESTED = {levels: json.loads("[" * levels + "]" * levels) for levels in (60, 99, 300)}


def _set(*path: Any, value: Any):
    def change(spec: Any) -> None:
        for key in path[:-1]:
            spec = spec[key]
        spec[path[-1]] = value

    return change


def _both(kind: str, signal_region: Any = None, control_region: Any = None, bins: int = 2, names: str = "bc"):
    """Put a modifier of one name into both channels; the control region has as many bins."""

    def change(spec: dict[str, Any]) -> None:
        (one, other), (_, entry) = spec["channels"], spec["observations"]
        one["samples"][1]["modifiers"].append(_modifier(kind, "g", signal_region))
        sample = other["samples"][0]
        sample["modifiers"].append(_modifier(kind, "g", control_region))
        sample["name"], sample["data"], entry["data"] = names[1], sample["data"][:bins], entry["data"][:bins]

    return change


def _parameter(**values: Any):
    return _set("measurements", 0, "config", "parameters", value=[values])


def _lumi(**values: Any):
    def change(spec: dict[str, Any]) -> None:
        spec["channels"][0]["samples"][1]["modifiers"] = [_modifier("lumi", "lumi")]
        _parameter(name="lumi", **values)(spec)

    return change


TWO = {"auxdata": [1.0, 1.0], "sigmas": [0.1, 0.1], "inits": [1.0, 1.0], "bounds": [[0.5, 1.5], [0.5, 1.5]]}
ONE = {key: values[:1] for key, values in TWO.items()}
SHARED = r"in channel 'SR', sample 'b' \(2 bins\) and in channel 'CR', sample 'c' "

REFUSED = {
    "shapefactor of two lengths": (
        _both("shapefactor", bins=1),
        rf"not valid: shapefactor 'g' is {SHARED}\(1 bin\): its parameters are one per bin.* Rename",
    ),
    "staterror of two channels": (
        _both("staterror", [5.0, 3.0], [2.0, 2.0]),
        rf"staterror 'g' is {SHARED}\(2 bins\): its parameters are those of the bins of one channel",
    ),
    "shapesys of two channels": (
        _both("shapesys", [5.0, 3.0], [2.0], bins=1),
        rf"shapesys 'g' is {SHARED}\(1 bin\): its parameters are those of one sample",
    ),
    "true as an observation": (
        _set(*OBSERVATION, value=True),
        r"not valid: observations\['SR'\]\.data\[0\] is true, expected a number",
    ),
    "false in a sample": (
        _set("channels", 1, "samples", 0, "data", 1, value=False),
        r"channels\['CR'\]\.samples\['c'\]\.data\[1\] is false, expected a number",
    ),
    "true in a normsys": (_set(*RATE, value=True), r"\.modifiers\['k'\]\.data\.hi is true, expected a number"),
    "true in a histosys": (_set(*SHAPE, value=True), r"\.modifiers\['h'\]\.data\.hi_data\[1\] is true"),
    "true as a start": (
        _parameter(name="mu", inits=[True]),
        r"measurements\['m'\]\.config\.parameters\['mu'\]\.inits\[0\] is true, expected a number",
    ),
    "an integer of 400 digits": (
        _set(*OBSERVATION, value=10**399),
        r"observations\['SR'\]\.data\[0\] is an integer of 400 digits, expected a finite number",
    ),
    "a negative integer of 400 digits": (_parameter(name="mu", bounds=[[-(10**399), 1]]), "an integer of 400 digits"),
    "1e308 events": (
        _set(*OBSERVATION, value=1e308),
        r"observations\['SR'\]\.data\[0\] is 1e\+308, expected at most 1e\+15 in a bin: beyond that double precision",
    ),
    "an integer of 20 digits": (_set(*OBSERVATION, value=10**20), r"data\[0\] is 1e\+20, expected at most 1e\+15"),
    "1e300 expected events": (
        _set("channels", 0, "samples", 0, "data", 0, value=-1e300),
        r"samples\['s'\]\.data\[0\] is -1e\+300, expected at most 1e\+15",
    ),
    "1e16 varied events": (_set(*SHAPE, value=1e16), r"hi_data\[1\] is 1e\+16, expected at most 1e\+15"),
    "lumi with two of each": (_lumi(**TWO), "measurement 'm': 'lumi' of type lumi has 2 inits, expected 1"),
    "lumi with two sigmas": (_lumi(**(ONE | {"sigmas": [0.1, 0.1]})), "'lumi' of type lumi has 2 sigmas, expected 1"),
    "normsys with two starts": (_parameter(name="k", inits=[0, 0]), "'k' of type normsys has 2 inits, expected 1"),
    "sigmas of a normsys": (
        _parameter(name="k", sigmas=[2.0]),
        r"measurement 'm': 'k' has sigmas, and a parameter of type normsys has none \(those with sigmas: lumi, stat",
    ),
    "nine sigmas of a normsys": (_parameter(name="k", sigmas=[2.0] * 9), "'k' has sigmas, and a parameter of type"),
    "auxdata of a normfactor": (_parameter(name="mu", auxdata=[1.0]), "'mu' has auxdata, and a parameter of type norm"),
    "bounds of one number": (_parameter(name="mu", bounds=[[1]]), r"of 'mu' are 1 numbers, expected \[low, high\]"),
    "levels": (_set(*OBSERVATION, value=NESTED[99]), "is nested too deeply: expected at most 100 levels"),
    "300 levels": (_set(*OBSERVATION, value=NESTED[300]), "is nested too deeply: expected at most 100 levels"),
    "a long list": (
        _set(*OBSERVATION, value=[1.5] * 10_000),
        r"not valid: \[1\.5, 1\.5, .* \.\.\. .*1\.5\] is not of type 'number'.*Path: observations\[0\]\.data\[0\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_workspace_that_misleads_is_refused(case: str, tmp_path: Path) -> None:
    spec = workspace()
    path = tmp_path / "w.json"
    path.write_text(json.dumps(spec))
    read_workspace(path)
    change, says = REFUSED[case]
    change(spec)
    path.write_text(json.dumps(spec))

    with pytest.raises(WorkspaceError, match=says) as refused:
        read_workspace(path)

    assert str(path) in str(refused.value)
    assert len(str(refused.value).removeprefix(str(path))) < 500
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        _both("shapefactor"),
        _both("staterror", [5.0, 3.0], [2.0], bins=1, names="bb"),  # one parameter for each of the three bins
        _parameter(name="k", fixed=True),
        _parameter(name="k", inits=[0.1], bounds=[[-3, 3]], auxdata=[0.2]),
        _lumi(**ONE),
        _set(*OBSERVATION, value=int(MOST_EVENTS)),
        _set("measurements", 0, "config", "parameters", value=[{"name": "mu", "bounds": [[0, 1e30]]}]),
    ],
    ids=["shapefactor", "staterror", "fixed", "settings", "lumi", "events", "bounds"],
)
def test_a_workspace_that_only_looks_like_it_is_read(change, tmp_path: Path) -> None:
    spec = workspace()
    change(spec)
    path = tmp_path / "w.json"
    path.write_text(json.dumps(spec))
    assert read_workspace(path) == spec
    pyhf.Workspace(spec).model()


@pytest.mark.parametrize(
    ("text", "found"),
    [("5", "a number"), ("null", "null"), ('"x"', "a text"), ("true", "true")],
)
def test_a_workspace_that_is_no_object_says_what_it_is(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(text)
    for patch in (None, str(tmp_path / "w.json")):
        with pytest.raises(WorkspaceError, match=rf"w\.json is not valid: it is {found}, expected an object with chan"):
            read_workspace(tmp_path / "w.json", patch=patch)


@pytest.mark.parametrize("key", ["channels", "data", "hi"])
def test_a_key_that_is_there_twice_is_refused(key: str, tmp_path: Path) -> None:
    text = json.dumps(workspace())
    (tmp_path / "w.json").write_text(text.replace(f'"{key}":', f'"{key}": [], "{key}":', 1))
    with pytest.raises(WorkspaceError, match=rf"w\.json: the key '{key}' is there twice.*Fix workspace=PATH"):
        read_workspace(tmp_path / "w.json")


def test_two_parameters_of_one_label_are_refused() -> None:
    spec = workspace()
    _both("shapefactor")(spec)
    spec["channels"][0]["samples"][0]["modifiers"].append(_modifier("normfactor", "g[0]"))
    with pytest.raises(WorkspaceError, match=r"here: 'g\[0\]' is the name of a parameter of 'g(\[0\])?' and of one of"):
        fit_workspace(spec, QUICK, where="here")


def test_an_expectation_that_no_double_counts_is_refused() -> None:
    spec = workspace()
    _parameter(name="mu", inits=[1e15], bounds=[[0, 1e16]])(spec)
    settings = QUICK.model_copy(update={"data": "asimov"})
    spec["channels"][0]["samples"][0]["data"] = [MOST_EVENTS, 4.0]
    with pytest.raises(WorkspaceError, match=r"first bin 0 of channel 'SR'; expected .* at most 1e\+15"):
        fit_workspace(spec, settings, where="here")


def test_what_a_workspace_says_and_the_fit_leaves_out_is_a_note() -> None:
    spec = workspace()
    plain = fit_workspace(spec, QUICK, where="here")
    assert plain.notes == ()
    spec["observations"].append({"name": "SR_", "data": [1, 2]})
    parameters = [{"name": "K", "fixed": True}, {"name": "pruned away", "inits": [0.0]}, {"name": "h", "inits": [0.0]}]
    spec["measurements"][0]["config"]["parameters"] = parameters

    result = fit_workspace(spec, QUICK, where="here")

    assert result.parameters == plain.parameters
    unused = "are not used: no modifier has that name"
    assert result.notes == (
        "the observation of 'SR_' is not used: the workspace has no such channel; closest: 'SR'",
        f"the settings of parameter 'K' in measurement 'm' {unused}; closest: 'k'",
        f"the settings of parameter 'pruned away' in measurement 'm' {unused}",
    )


# ------------------------------------------------------------------------------------------------------ patches
def _replace(path: str, value: Any = 1) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": path, "value": value}]


FIRST = r"does not apply to the workspace: operation 1 \(replace "
COPY = {"op": "copy", "from": "/z", "path": "/z/-"}
PATCHES = {
    "missing": (_replace("/nope/x"), rf"{FIRST}/nope/x\): member 'nope' is not there\. Repair the patch, or give"),
    "missing last": (_replace("/nope"), rf"{FIRST}/nope\): can't replace a non-existent object 'nope'"),
    "index": (_replace("/observations/9/data"), rf"{FIRST}/observations/9/data\): index '9' is out of bounds"),
    "index of letters": (_replace("/observations/x/data"), "'x' is not a valid sequence index"),
    "negative index": (_replace("/observations/-1/data"), "'-1' is not a valid sequence index"),
    "into a number": (_replace("/observations/0/data/0/x"), "its path goes on below a number or a text"),
    "no slash": (_replace("observations"), "Location must start with /"),
    "tilde": (_replace("/a~2b"), "invalid escape ~2"),
    "second": ([*_replace("/observations/0/data/0"), {"op": "add", "path": "/a/b"}], r"operation 2 \(add /a/b\)"),
    "no operation": ([5], "operation 1: Operation must be an object"),
    "no path": ([{"op": ["x"], "path": None}], r"operation 1 \(\['x'\] None\)"),
    "copies a number": ([{"op": "copy", "from": 5, "path": "/a"}], r"operation 1 \(copy /a\)"),
    "copies nothing": ([{"op": "copy", "from": "/a/b", "path": "/a"}], "member 'a' is not there"),
    "long value": (
        [{"op": "test", "path": "/channels", "value": ["x" * 5000]}],
        r"\(test /channels\): the value there is not the one",
    ),
    "a number": (5, "is no JSON patch: it is a number, expected a list of operations"),
    "null": (None, "is no JSON patch: it is null, expected a list of operations"),
    "an object": ({}, "is no JSON patch: it is an object, expected a list of operations"),
    "deep": (_replace("/observations/0/data/0", NESTED[300]), "patch .* is nested too deeply: expected at most 100"),
    "deeper by copies": (
        [
            *_replace("/observations/0/data/0", NESTED[60]),
            *[dict(COPY, **{"from": "", "path": "/observations/0/a"})] * 20,
        ],
        r"p\.json is nested too deeply",
    ),
    "much deeper by copies": (
        [{"op": "add", "path": "/z", "value": {}}, *(dict(COPY, path="/z" + "/a" * 2**n) for n in range(11))],
        r"after operation \d+ the workspace is nested too deeply",
    ),
    "bomb": ([{"op": "add", "path": "/z", "value": [1]}, *[COPY] * 24], "operations 1 to 20 copy more than 1000000 "),
    "what it makes": (_replace("/version", None), r"workspace .*w\.json with patch .*p\.json is not valid"),
}


@pytest.mark.parametrize("case", PATCHES)
def test_a_patch_that_cannot_be_applied_is_one_message(case: str, tmp_path: Path) -> None:
    path, file = tmp_path / "w.json", tmp_path / "p.json"
    path.write_text(json.dumps(workspace()))
    operations, says = PATCHES[case]
    file.write_text(json.dumps(operations))
    start = time.perf_counter()

    with pytest.raises(WorkspaceError, match=says) as refused:
        read_workspace(path, patch=str(file))

    assert time.perf_counter() - start < 10
    assert str(file) in str(refused.value)
    assert len(str(refused.value).replace(str(tmp_path), "")) < 450
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture
def patch_set(tmp_path: Path) -> dict[str, Any]:
    """A patch set for the workspace in w.json."""
    spec = workspace()
    (tmp_path / "w.json").write_text(json.dumps(spec))
    patches = {"A": _replace("/observations/0/data/0", 60), "B_2": _replace("/nope/0")}
    return {
        "metadata": {
            "references": {"hepdata": "ins1234567"},
            "description": "signals",
            "digests": {"sha256": pyhf.utils.digest(spec)},
            "labels": ["mass"],
        },
        "patches": [
            {"metadata": {"name": name, "values": [number]}, "patch": patch}
            for number, (name, patch) in enumerate(patches.items())
        ],
        "version": "1.0.0",
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            _set("patches", 1, "metadata", "name", value="B_2"),  # as it is
            r"patch=B_2 of .*set\.json does not apply to the workspace: operation 1 \(replace /nope/0\): member 'nope'",
        ),
        (_set("patches", 1, "metadata", "name", value="A"), "no patch set: two of its patches have the name 'A'"),
        (
            _set("patches", 1, "metadata", "values", value=[0]),
            r"no patch set: its patches 'A' and 'B_2' have the same values \[0\]",
        ),
        (_set("metadata", "digests", "sha256", value="0" * 64), r"is not for this workspace .*Give the workspace"),
    ],
    ids=["broken patch", "name", "values", "digest"],
)
def test_a_patch_set_that_cannot_be_applied_is_one_message(change, says: str, patch_set, tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(patch_set))
    assert read_workspace(tmp_path / "w.json", patchset=str(path), patch="A")["observations"][0]["data"] == [60, 26]
    change(patch_set)
    path.write_text(json.dumps(patch_set))
    with pytest.raises(WorkspaceError, match=says):
        read_workspace(tmp_path / "w.json", patchset=str(path), patch="B_2")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "it is a list, expected an object with `patches`: name it patch=FILE, without patchset"),
        (5, "it is a number, expected an object with `patches`"),
        (None, "it is null, expected an object with `patches`"),
    ],
)
def test_a_patch_set_that_is_no_object_says_what_it_is(content: Any, says: str, patch_set, tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(WorkspaceError, match=rf"patchset=.*set\.json is no patch set: {says}"):
        read_workspace(tmp_path / "w.json", patchset=str(tmp_path / "set.json"), patch="A")
