"""Remove folders of runs: those that are asked for, that are nothing but a run, and that no other run refers to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inferno_cli.runs.folder import HYDRA, LOCK, STATUS_FILE, Status, end_logged, is_owned, owned
from inferno_cli.runs.listed import ListedRun, is_status, strangers
from inferno_cli.runs.points import PRETRAINED
from inferno_cli.runs.shards import require_no_shard

HOW = {PRETRAINED: "{} takes its network (trained_in)", "reuse": "it stands for {} (reuse)"}
"""How a run refers to the one that is to be removed, in words."""


@dataclass(frozen=True)
class Cleaning:
    """What is to be removed, and what stays although it was asked for."""

    removed: tuple[ListedRun, ...]
    kept: tuple[tuple[ListedRun, str], ...]
    """Each with the reason."""
    said: tuple[tuple[ListedRun, str], ...] = ()
    """Of those that are removed although others refer to them: which."""


def plan(asked: Sequence[ListedRun], every: Sequence[ListedRun], *, even_referred: bool) -> Cleaning:
    """Return what may be removed of the runs that are asked for.

    Args:
        asked: Those that the user wants to be rid of.
        every: All runs that are known: some may refer to those.
        even_referred: Whether the user accepts that these lose what they refer to.
    """
    kept: list[tuple[ListedRun, str]] = []
    left: dict[Path, ListedRun] = {}
    for run in asked:
        reason = _not_ours(run)
        if reason:
            kept.append((run, reason))
        else:
            left[run.folder] = run
    said = []
    # A run that stays holds those that it refers to, and they may hold others.
    while referred := dict(_referred(left, every)):
        if even_referred:
            said = [(left[folder], why) for folder, why in referred.items()]
            break
        for folder, why in referred.items():
            kept.append((left.pop(folder), f"{why}; referred=true removes it all the same"))
    return Cleaning(tuple(left.values()), tuple(kept), tuple(said))


def _not_ours(run: ListedRun) -> str:
    """Say why a folder cannot be taken for that of a run and nothing else; "" where it can."""
    folder = run.folder
    if run.state == "running":
        return "it is running"
    # Killed at its first write it has a status and nothing else.
    has_more = any(path.name not in (STATUS_FILE, LOCK) and path.suffix != ".log" for path in folder.iterdir())
    if not is_status(folder) or (has_more and not (folder / HYDRA).is_dir()):
        return f"it has no {STATUS_FILE} and {HYDRA} of a run of this version; remove it by hand"
    if Path.cwd().is_relative_to(folder):
        return "it is the folder that this command was given in"
    if folder.is_mount():
        return "it is a file system of its own"
    others = strangers(folder)
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        return f"it holds {shown}, which no run has written; move that away, or remove it by hand"
    return ""


def _referred(left: dict[Path, ListedRun], every: Sequence[ListedRun]) -> Iterator[tuple[Path, str]]:
    """Yield the folders that are to be removed and that a run refers to which is not, and how."""
    for run in every:
        if run.folder in left:
            continue
        for how, target in run.takes.items():
            # trained_in may name a folder of runs.
            for folder in [folder for folder in left if folder.is_relative_to(target)]:
                yield folder, HOW[how].format(run.folder)


def remove(run: ListedRun, tops: Sequence[Path]) -> str:
    """Remove the folder of a run, and the folders above it that are empty then, below ``tops``.

    Returns:
        Why it could not be removed; "" where it is gone.
    """
    folder = run.folder
    try:
        with owned(folder, "Try again when it has ended"):
            require_no_shard(folder)
            said = Status.read(folder)
            if said is None or (folder / STATUS_FILE).stat().st_mtime != run.ended:
                return "it was begun again"
            was_killed = said.state == "running"
            if was_killed:
                end_logged(folder)  # nothing says later which one it is
            # Should this be interrupted, what is left is no finished run, and can be cleaned once more.
            replace(said, state="stopped", error="removed in part by `inferno clean`").write(folder)
            for path in sorted(folder.iterdir(), key=lambda path: path.name == STATUS_FILE):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        shutil.rmtree(folder)
        if was_killed:
            _end_sweep(folder.parent)
        _remove_empty(folder.parents, tops)
    except OSError as error:
        return str(error)
    return ""


def _end_sweep(sweep: Path) -> None:
    """End the parent run of a multirun one of whose jobs was killed, unless others go on."""
    from inferno_cli.runs.mlflow.sweep import end_parent

    if not any(is_owned(path.parent) for path in sweep.glob(f"*/{STATUS_FILE}")):
        end_parent(sweep, "KILLED")


def _remove_empty(parents: Sequence[Path], tops: Sequence[Path]) -> None:
    """Remove the empty ones of the folders above a run: of a day, of a sweep; not those that the user named."""
    for parent in parents:
        is_inside = any(parent.is_relative_to(top) and parent != top for top in tops)
        if not is_inside or any(parent.iterdir()):
            return
        parent.rmdir()
