"""NanoAOD to rows: every piece of a file is selected, nominal and in every variation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from inferno_cli.analyses.cut_flow import CutFlow
from inferno_cli.analyses.ntuples import Table
from inferno_cli.analyses.top11004 import nanoaod
from inferno_cli.analyses.top11004.features import features
from inferno_cli.analyses.top11004.selection import select
from inferno_cli.analyses.top11004.settings import Preparation
from inferno_cli.analyses.top11004.variations import vary
from inferno_cli.events.sample import DIRECTIONS


@dataclass(frozen=True)
class TauJets:
    """The selection of tau + jets events; ``norm`` multiplies the column of that name."""

    settings: Preparation
    norm: float

    def tables(self, path: Path, size: int) -> Iterator[tuple[dict[str, Table], CutFlow]]:
        """Yield the rows of every tree, and the nominal cut flow, of each ``size`` events."""
        for arrays in nanoaod.read(path, self.settings, size):
            events, columns = nanoaod.objects(arrays, self.settings), nanoaod.columns(arrays, self.settings)
            if "norm" in columns:
                columns["norm"] = columns["norm"] * self.norm
            tables, radius = {}, self.settings.selection.jets.cleaning_radius
            tables[""], cut_flow = self._selected(events, columns)
            for name in self.settings.variations.run:
                for direction in DIRECTIONS:
                    moved = vary(events, name, direction, self.settings.variations, radius)
                    tables[f"_{name}_{direction}"], _ = self._selected(moved, columns)
            yield tables, cut_flow

    def _selected(self, events: Any, columns: Table) -> tuple[Table, CutFlow]:
        selected = select(events, self.settings.selection, columns.get("norm"))
        table = {name: values[selected.rows] for name, values in columns.items()}
        table |= features(selected.tau, selected.jets, selected.met)
        table["nJets"] = ak.to_numpy(ak.num(selected.jets)).astype(np.int16)
        return table, selected.cut_flow
