"""JSON patches and patch sets of pyhf's: changes of a workspace, from a file that may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inferno_cli.errors import WorkspaceError, closest
from inferno_cli.likelihood.readers.checks import clipped, kind_of

MOST_COPIED = 1_000_000
"""Values that the operations of a patch may copy: each can double the workspace, and twenty make a million of it."""


def patched(spec: Any, operations: Any, path: Path) -> Any:
    """Apply a JSON patch, read from ``path``, to a workspace, which changes.

    Raises:
        WorkspaceError: If it is no JSON patch, or does not apply.
    """
    if not isinstance(operations, list):
        if isinstance(operations, dict) and "patches" in operations:
            raise WorkspaceError(
                f"patch={path} is a patch set: name it patchset=FILE, and one of its patches patch=NAME"
            )
        raise WorkspaceError(
            f"patch={path} is no JSON patch: it is {kind_of(operations)}, expected a list of operations"
        )
    return _applied(spec, operations, f"patch={path}")


def from_patchset(spec: Any, content: Any, path: Path, name: str | None) -> Any:
    """Apply the patch ``name`` of a patch set, read from ``path``, to the workspace that it is for, which changes.

    Raises:
        WorkspaceError: If it is no patch set, has no such patch or is for another workspace, or the patch does not
            apply.
    """
    import pyhf

    if not isinstance(content, dict):
        hint = ": name it patch=FILE, without patchset" if isinstance(content, list) else ""
        raise WorkspaceError(
            f"patchset={path} is no patch set: it is {kind_of(content)}, expected an object with `patches`{hint}"
        )
    try:
        patches = pyhf.PatchSet(content)
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        said = next(_twice(content), None) if isinstance(error, pyhf.exceptions.InvalidPatchSet) else None
        said = said or clipped(str(error).splitlines()[0])
        raise WorkspaceError(f"patchset={path} is no patch set: {said}") from error
    known = [patch.name for patch in patches]
    if name is None or name not in known:
        found = "patch is missing" if name is None else f"patch={name} is not in {path}"
        raise WorkspaceError(f"{found}{closest(name or '', known)}. Name one of its {len(known)} patches: patch=NAME")
    try:
        patches.verify(spec)
    except Exception as error:
        raise WorkspaceError(
            f"patchset={path} is not for this workspace ({type(error).__name__}: {clipped(str(error), 300)}). Give the "
            "workspace that its digests are of"
        ) from error
    return _applied(spec, patches[name].patch, f"patch={name} of {path}")


def _twice(content: Any) -> Iterator[str]:
    """Yield the names, and the values, that two patches of a valid patch set have: pyhf's own message has neither."""
    seen: dict[Any, str] = {}
    for patch in content["patches"]:
        name, values = patch["metadata"]["name"], tuple(patch["metadata"]["values"])
        if name in seen:
            yield f"two of its patches have the name {name!r}. Rename one of the two"
        if values in seen:
            yield f"its patches {seen[values]!r} and {name!r} have the same values {list(values)}. Change one of them"
        seen |= {name: name, values: name}


def _applied(spec: Any, operations: list[Any], what: str) -> Any:
    """Apply operations one by one, so that the message can say which one fails."""
    import jsonpatch
    from jsonpointer import JsonPointerException

    left = MOST_COPIED
    for number, operation in enumerate(operations, start=1):
        try:
            left -= _copied(spec, operation, left)
            if left < 0:
                raise WorkspaceError(
                    f"{what}: its operations 1 to {number} copy more than {MOST_COPIED} values. Write fewer copies"
                )
            spec = jsonpatch.apply_patch(spec, [operation], in_place=True)
        except RecursionError as error:
            raise WorkspaceError(f"{what}: after operation {number} the workspace is nested too deeply") from error
        except (jsonpatch.JsonPatchException, JsonPointerException, LookupError, TypeError) as error:
            raise WorkspaceError(
                f"{what} does not apply to the workspace: operation {number}{_shown(operation)}: {_said(error)}. "
                "Repair the patch, or give the workspace that it is for"
            ) from error
    return spec


def _said(error: Exception) -> str:
    """Return the message of an error of jsonpatch's without what it has searched, which is the whole workspace."""
    head, found, _ = str(error).partition(" not found in ")
    if found:
        return clipped(f"{head} is not there")
    if "does not support indexing" in head:
        return "its path goes on below a number or a text"
    if " is not equal to tested value " in head:
        return "the value there is not the one that it tests for"
    return clipped(head.rstrip("."))


def _shown(operation: Any) -> str:
    if not isinstance(operation, dict):
        return ""
    told = [str(operation[key]) for key in ("op", "path") if key in operation]
    return f" ({clipped(' '.join(told))})" if told else ""


def _copied(spec: Any, operation: Any, limit: int) -> int:
    """Count the values that an operation copies, up to a limit."""
    from jsonpointer import JsonPointer

    if not isinstance(operation, dict) or operation.get("op") != "copy" or "from" not in operation:
        return 0
    waiting = [JsonPointer(operation["from"]).resolve(spec)]
    count = 0
    while waiting and count <= limit:
        node = waiting.pop()
        count += 1
        if isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node
    return count
