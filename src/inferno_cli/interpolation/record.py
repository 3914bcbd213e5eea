"""``interpolation.json``: what was trained, how far it is from the simulation, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from inferno_cli.errors import RunError
from inferno_cli.files import read_json, write_whole
from inferno_cli.fit.result import Record
from inferno_cli.interpolation.pulls import Spread

INTERPOLATION_FILE = "interpolation.json"
SCHEMA: Literal["inferno_cli/interpolation/1"] = "inferno_cli/interpolation/1"
Group = Literal["training", "held_out", "left_out_inside", "left_out_edge"]
"""Points whose events trained the flows, points that are held out, and points that a fold leaves out, inside of the
others or at their edge, where a flow extrapolates."""
JUDGED, MEAN, WIDTH = "larger", 0.5, 2.0
"""The pulls by which an interpolation is judged, and the mean and the width at which it fails."""


class SpreadRecord(Record):
    """Mean and standard deviation of some pulls."""

    mean: float
    width: float
    n_bins: int

    @classmethod
    def of(cls, spread: Spread) -> Self:
        """Take a spread."""
        return cls(mean=spread.mean, width=spread.width, n_bins=spread.n_bins)


class PointRecord(Record):
    """Flow and simulation at one point."""

    sample: str
    at: dict[str, float]
    group: Group
    is_inside: bool
    """Whether it is in the convex hull of the points that trained the flows."""
    events: int
    """Simulated events in the comparison."""
    pulls: dict[str, SpreadRecord]
    """By definition: ensemble, statistical, larger, both."""
    divergence: float | None
    """Mean of log p - log q over the simulated events, where the true density p is known."""


class GroupRecord(Record):
    """All points of a group together."""

    n_points: int
    pulls: dict[str, SpreadRecord]
    divergence: float | None
    """Mean over the points."""
    holds: bool
    """Whether the pulls with the larger error have a mean within 0.5 of 0 and a width below 2."""


class YieldRecord(Record):
    """The yield of one point, and what the others say of it."""

    sample: str
    at: dict[str, float]
    expected: float
    """Sum of the weights."""
    predicted: float
    """By a process that has not seen it."""
    relative_error: float
    """Of the prediction."""
    pull: float
    """Of ln yield."""


class YieldsRecord(Record):
    """The Gaussian process of ln yield."""

    kernel: str
    points: tuple[YieldRecord, ...]
    pulls: SpreadRecord
    """Of all these points."""


class FlowRecord(Record):
    """One flow."""

    left_out: tuple[str, ...]
    """Signals that a fold left out."""
    best: int
    """Iteration of the best state."""
    losses: tuple[float, ...]
    """Negative log-likelihood of the validation events at every look, in standardised units."""


class TargetRecord(Record):
    """A template at new parameters."""

    at: dict[str, float]
    workspace: str
    """Path of the workspace, from the folder of the record."""
    is_inside: bool
    """Whether the point is in the convex hull of the points of the training; else this is an extrapolation."""
    expected: float
    """Expected events of the signal."""
    relative_error: float
    """Of the yield: a normsys of the workspace."""
    nominal: tuple[float, ...]
    """Expected events of the signal in every bin."""
    errors: tuple[float, ...]
    """Standard deviation of the members in every bin: the shapesys of the workspace."""
    limit: tuple[float, ...] | None = None
    """Expected upper limits on mu without signal, at -2, -1, 0, +1, +2 sigma, where fit.limit asks for them."""
    simulated_limit: float | None = None
    """The median one with the simulated signal in the same bins, at a point of the grid, held out or not."""
    nearest: str
    """The signal whose uncertainties of the yield were taken."""


class InterpolationRecord(Record):
    """Everything that a run of ``inferno interpolate`` found."""

    schema_: Literal["inferno_cli/interpolation/1"] = Field(default=SCHEMA, alias="schema")
    dataset: str
    label: str = ""
    seed: int
    parameters: tuple[str, ...]
    features: tuple[str, ...]
    members: int
    groups: dict[Group, GroupRecord]
    points: tuple[PointRecord, ...]
    yields: YieldsRecord | None
    targets: tuple[TargetRecord, ...]
    flows: tuple[FlowRecord, ...]
    notes: tuple[str, ...]
    dataset_checksum: str
    code_version: str
    timing: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """Return the numbers that MLflow gets, by name."""
        return dict(self._metrics())

    def _metrics(self) -> Iterator[tuple[str, float]]:
        for name, group in self.groups.items():
            for kind, spread in group.pulls.items():
                yield f"pulls/{name}/{kind}/mean", spread.mean
                yield f"pulls/{name}/{kind}/width", spread.width
            if group.divergence is not None:
                yield f"divergence/{name}", group.divergence
        for target in self.targets:
            if target.limit is not None:
                yield f"limit/{' '.join(f'{name} {value:g}' for name, value in target.at.items())}", target.limit[2]
        if self.yields is not None:
            yield "yields/pulls/mean", self.yields.pulls.mean
            yield "yields/pulls/width", self.yields.pulls.width
        for part, seconds in self.timing.items():
            yield f"seconds/{part}", seconds

    def save(self, path: Path) -> None:
        """Write the file in one step."""
        write_whole(path, self.model_dump_json(indent=1, by_alias=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; RunError if it is no such record."""
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise RunError(f"{path} is no record of an interpolation: {error}") from error
