"""What makes one number of the list of an event: sums, largest values, ...; and masks that make it shorter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inferno_cli.errors import DatasetError
from inferno_cli.expressions.values import Lists, Value, number, side_by_side, truth


@dataclass(frozen=True)
class Reduction:
    """A function of the list of an event.

    Attributes:
        compute: Of ``Lists``, and of the default where it has one; shape (n_events,).
        has_default: An empty list has no value of its own: there it is the ``default``, or an error.
    """

    compute: Callable[..., Value]
    has_default: bool = False


def _sum(lists: Lists) -> Value:
    import awkward as ak

    return ak.to_numpy(ak.sum(lists.with_content(number(lists.content)).array, axis=1))


def _count(lists: Lists) -> Value:
    if lists.content.dtype == np.bool_:
        raise DatasetError(
            "count of a comparison would be the length of the list, whatever passes; write sum(Jet_pt > 30), or "
            "count(Jet_pt[Jet_pt > 30])"
        )
    return number(lists.counts)


def _any(lists: Lists) -> Value:
    import awkward as ak

    return ak.to_numpy(ak.any(lists.with_content(truth(lists.content)).array, axis=1))


def _all(lists: Lists) -> Value:
    import awkward as ak

    return ak.to_numpy(ak.all(lists.with_content(truth(lists.content)).array, axis=1))


def _first(lists: Lists, default: Value | None = None) -> Value:
    return _or_default("first", lists, lambda full: number(full.content[full.ends[:-1]]), default)


def _largest(lists: Lists, default: Value | None = None) -> Value:
    return _or_default("max", lists, lambda full: _extreme(full, "max"), default)


def _smallest(lists: Lists, default: Value | None = None) -> Value:
    return _or_default("min", lists, lambda full: _extreme(full, "min"), default)


def _extreme(lists: Lists, name: str) -> Value:
    import awkward as ak

    content = number(lists.content)
    found = ak.to_numpy(getattr(ak, name)(lists.with_content(content).array, axis=1, mask_identity=False))
    # awkward passes over what is not a number; of a number that is not known there is no largest one.
    unknown = np.isnan(content)
    if unknown.any():
        found = np.where(_any(lists.with_content(unknown)), np.nan, found)
    return found


def _or_default(name: str, lists: Lists, compute: Callable[[Lists], Value], default: Value | None) -> Value:
    """Return what is computed of the lists that are not empty, and the default of the others."""
    full = lists.counts > 0
    if full.all():
        return compute(lists)
    if default is None:
        raise DatasetError(
            f"{name} has no value where the list of an event is empty, as it is in {int((~full).sum())} of "
            f"{len(full)} events that were looked at; say what it is there: {name}(..., default=0)"
        )
    if isinstance(default, Lists):
        raise DatasetError(f"the default of {name} is a list, expected one number")
    found = np.array(np.broadcast_to(number(default), full.shape))
    found[full] = compute(lists[full])
    return found


REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction(_sum),
    "count": Reduction(_count),
    "any": Reduction(_any),
    "all": Reduction(_all),
    "first": Reduction(_first, has_default=True),
    "max": Reduction(_largest, has_default=True),
    "min": Reduction(_smallest, has_default=True),
}
"""Functions of one argument that is a list; ``min`` and ``max`` of several compare them, see ``FUNCTIONS``."""


def reduction(name: str) -> Callable[..., Value]:
    """Return one of ``REDUCTIONS`` for any value, which refuses what is no list."""

    def compute(value: Value, *default: Value) -> Value:
        if not isinstance(value, Lists):
            raise DatasetError(
                f"{name} of one argument takes a list for each event, such as {name}(Jet_pt), not one number"
            )
        return REDUCTIONS[name].compute(value, *default)

    return compute


def masked(value: Value, mask: Value) -> Value:
    """Return the numbers of the lists for which a comparison is true: ``Jet_pt[Jet_pt > 30]``."""
    if not isinstance(value, Lists):
        raise DatasetError("x[...] takes numbers from the list of an event, and this x is one number")
    content = mask.content if isinstance(mask, Lists) else mask
    if content.dtype != np.bool_:
        raise DatasetError("x[...] takes a comparison, such as Jet_pt[Jet_pt > 30]; for one number write first(x)")
    lists, (_, keep) = side_by_side([value, mask])
    return lists.masked(keep)
