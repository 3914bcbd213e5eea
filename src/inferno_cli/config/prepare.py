"""The configuration of ``inferno prepare``: where the objects are in the files, which events are kept."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from inferno_cli.config.selection import Selection, Variations
from inferno_cli.config.steps import FolderStep
from inferno_cli.progress import Mode
from inferno_cli.section import LONGEST_NAME, Finite, Names, Places, Positive, Section


class ObjectBranches(Section):
    """Branches of one kind of object, each with one entry for each object of an event."""

    pt: str
    """Transverse momentum, GeV."""
    eta: str
    """Pseudorapidity."""
    phi: str
    """Azimuth, rad."""
    mass: str | None = None
    """null: massless."""
    require: Annotated[dict[str, Finite], Field(default_factory=dict)]
    """Identification: the smallest value of a branch; true is 1."""


class JetBranches(ObjectBranches):
    """Branches of the jets."""

    tag: str
    """b-tag discriminant."""
    tag_min: Finite
    """A jet above this is tagged."""
    gen_index: str | None = None
    """Index of the matched generated jet, negative where there is none; null: no resolution variation."""
    gen_pt: str | None = None
    """pT of the generated jets."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.gen_index is None) != (self.gen_pt is None):
            raise ValueError("gen_index and gen_pt go together")
        return self


class TauBranches(ObjectBranches):
    """Branches of the hadronic taus."""

    charge: str
    """Electric charge."""


class MetBranches(Section):
    """Branches of the missing transverse momentum."""

    pt: str
    """Its size, GeV."""
    phi: str
    """Its azimuth, rad."""


class Branches(Section):
    """Where the objects are."""

    jets: JetBranches
    taus: TauBranches
    electrons: ObjectBranches
    muons: ObjectBranches
    met: MetBranches


class Preparation(Section):
    """What is read and selected; a preset in ``conf/prepare``."""

    tree: str
    """Name of the tree."""
    branches: Branches
    columns: dict[str, str | Finite]
    """Further branches of the ntuple: a branch with one number for each event, or a constant."""
    integers: Names
    """Those of ``columns`` that are whole numbers."""
    selection: Selection
    variations: Variations

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = sorted(set(self.integers) - set(self.columns))
        if unknown:
            raise ValueError(f"integers: {', '.join(unknown)} not in columns")
        if "jer" in self.variations.run and self.branches.jets.gen_index is None:
            raise ValueError("variations.run has jer, which needs branches.jets.gen_index and gen_pt")
        return self


class PrepareConfig(FolderStep):
    """``inferno prepare``: from NanoAOD to the ntuples of one sample."""

    files: Annotated[Places, Field(min_length=1)]
    """Paths, a list or with commas between; * and ? stand for any characters."""
    sample: Annotated[str, Field(pattern=r"^\w+$", max_length=LONGEST_NAME)]
    """Name of the sample, and of its trees."""
    output: str
    """Folder of the ntuples."""
    norm: Positive
    """Multiplies the column norm: cross-section times luminosity over the sum of generator weights."""
    workers: Annotated[int, Field(ge=1)]
    """Input files at a time."""
    chunk: Annotated[int, Field(ge=1)]
    """Events in memory at a time, in each worker."""
    progress: Mode
    """How far it is: a bar on a terminal, lines in a log."""
    prepare: Preparation
