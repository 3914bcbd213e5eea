"""Friend trees: more branches of the same rows, in other trees of the file or in other files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferno_cli.errors import DatasetError


class Joined:
    """A tree of uproot's with the branches of its friends behind its own; row i of each is one event.

    Of a name that several have, the branch of the first is taken, as ROOT does.
    """

    def __init__(self, tree: Any, where: str, friends: Sequence[tuple[str, Any]]) -> None:
        """Put trees side by side; errors name ``where`` the tree is, and each friend.

        Raises:
            DatasetError: If they have not the same number of rows.
        """
        self.tree, self.friends = tree, [friend for _, friend in friends]
        self.num_entries = int(tree.num_entries)
        for where_friend, friend in friends:
            n = int(friend.num_entries)
            if n != self.num_entries:
                raise DatasetError(
                    f"the friend {where_friend} has {n} rows, and {where} has {self.num_entries}; "
                    "expected as many: row by row they are one event. Fix dataset.friends, or write the friend again"
                )

    def keys(self, **options: Any) -> list[str]:
        """Return the names of all branches."""
        names: dict[str, None] = {}
        for tree in (self.tree, *self.friends):
            names |= dict.fromkeys(tree.keys(**options))
        return list(names)

    def __contains__(self, name: str) -> bool:
        return any(name in tree for tree in (self.tree, *self.friends))

    def __getitem__(self, name: str) -> Any:
        for tree in (self.tree, *self.friends):
            if name in tree:
                return tree[name]
        raise KeyError(name)
