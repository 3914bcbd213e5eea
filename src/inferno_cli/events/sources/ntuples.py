"""Flat ntuples read with uproot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from inferno_cli.events.assignment import FileTree, Parts, SplitAssignment
from inferno_cli.events.dataset import Request
from inferno_cli.events.root.layout import EMBEDDED, NtupleLayout
from inferno_cli.events.sample import Events
from inferno_cli.events.validation import Validated
from inferno_cli.section import Names


class NtupleDataset(NtupleLayout):
    """Flat ntuples read with uproot."""

    kind: Literal["ntuples"]
    """Ntuples."""

    has_files: ClassVar[bool] = True

    @property
    def has_observed(self) -> bool:
        """Whether a sample has the role "data"."""
        return self.observed_name is not None

    @property
    def location(self) -> str:
        """Where its files are."""
        return self.path

    @property
    def location_hint(self) -> str:
        """Say that the path is relative, and to what."""
        if self.path == EMBEDDED or Path(self.path).expanduser().is_absolute():
            return ""
        return f" (dataset.path={self.path} is relative, and the command runs in {Path.cwd()})"

    def load(self, request: Request) -> Events:
        """Read the files and divide their events."""
        from inferno_cli.events.root.divide import read

        return read(self, request)

    def validated(self, request: Request, source_branches: Names) -> Validated:
        """Read every row."""
        from inferno_cli.events.root.validate import validated

        return validated(self, request, source_branches)

    def division(self, request: Request) -> dict[str, Any]:
        """Return the keys on which the seeded draw over the events depends."""
        shapes = [effect for effect in request.effects if effect.shifted_trees is not None]
        return {
            "the seed of the data": request.seed,
            "dataset.splits": str(self.splits),
            "dataset.event_id": self.event_id,
            "dataset.samples": {name: str(self.samples[name]) for name in request.samples},
            "the shape systematics in nuisance.fit": sorted(
                (effect.sample, effect.systematic, str(effect.definition)) for effect in shapes
            ),
            "dataset.file": (self.file, self.tree, self.variation),
        }

    def files(self, request: Request) -> dict[Path, str]:
        """Return the files of the samples, of the data and of the shape systematics that are needed."""
        from inferno_cli.events.root.divide import needed_files

        return needed_files(self, request)

    def trees(self) -> Mapping[FileTree, Parts]:
        """Return every tree of the configuration that is there."""
        from inferno_cli.events.root.reader import Reader

        return Reader(self).trees()

    def assignment(
        self, request: Request, folder: Path, checksum: str, trees: Sequence[FileTree], elsewhere: str | None
    ) -> SplitAssignment | None:
        """Return what the run wrote down; of a run before there was such a file the division is made again."""
        from inferno_cli.events.root.divide import assignment_of_run

        return assignment_of_run(self, request, folder, checksum, trees, elsewhere)
