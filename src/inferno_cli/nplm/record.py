"""The record of a test: ``nplm.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from inferno_cli.errors import FileError, OutputError, RunError
from inferno_cli.files import read_json, write_whole
from inferno_cli.nplm.distribution import agreement, chi2_median, middle, sameness
from inferno_cli.nplm.nuisances import OrderCheck
from inferno_cli.nplm.statistic import Statistics
from inferno_cli.nplm.tuning import Trial

FILE, PAGE = "nplm.json", "nplm.html"
SCHEMA = "inferno_cli/nplm/1"
AGREES = 0.05
"""p-value above which toys agree with chi2."""
DEPENDS = 0.01
"""p-value below which toys differ from the null toys: one of many parameters is below 0.05 by chance."""


@dataclass(frozen=True)
class Ensemble:
    """Toys of one truth.

    Attributes:
        name: What they are.
        parameter: The nuisance parameter that is not nominal; empty: none.
        value: Its true value, in units of sigma.
        t, tau: The test statistic, and that without the uncertainties of the reference, of each toy.
        median: Of t.
        ks: p-value of t against chi2.
        ks_tau: The same of tau.
        same: p-value of t against the null toys; of these 1.
        unconverged: Toys whose fits had not ended after the largest number of steps; they count as all others.
    """

    name: str
    parameter: str
    value: float
    t: tuple[float, ...]
    tau: tuple[float, ...]
    median: float
    ks: float
    ks_tau: float
    same: float
    unconverged: int

    @property
    def follows_chi2(self) -> bool:
        """Whether t is distributed as chi2 has it."""
        return self.ks >= AGREES

    @classmethod
    def of(
        cls,
        name: str,
        parameter: str,
        value: float,
        found: Statistics,
        degrees: float,
        null: Sequence[float] | None = None,
    ) -> Self:
        """Compare toys with chi2, and with the null toys."""
        return cls(
            name=name,
            parameter=parameter,
            value=value,
            t=tuple(found.t.tolist()),
            tau=tuple(found.tau.tolist()),
            median=middle(found.t)[0],
            ks=agreement(found.t, degrees),
            ks_tau=agreement(found.tau, degrees),
            same=1.0 if null is None else sameness(found.t, np.array(null)),
            unconverged=int((~found.converged).sum()),
        )


@dataclass(frozen=True)
class Tail:
    """A value of t, or the median of toys, in the null distribution.

    Attributes:
        name: What it is of.
        events: Expected events of the injected signal; of data their number.
        t: The value.
        interval: 68% interval of a median; of data t itself, twice.
        p, z: By chi2.
        z_interval: Of the interval.
        p_toys, z_toys: By toys of the reference; where none is as large, z_toys is a lower bound.
        n_above: Toys that are at least as large.
        nuisance: Nuisance parameters that are fitted with f, and without, by name; of data alone.
        sample: The sample that was injected.
    """

    name: str
    events: float
    t: float
    interval: tuple[float, float]
    p: float
    z: float
    z_interval: tuple[float, float]
    p_toys: float
    z_toys: float
    n_above: int
    nuisance: dict[str, tuple[float, float]] = field(default_factory=dict)
    sample: str = ""

    @property
    def by_toys(self) -> str:
        """The significance by toys, as it is shown."""
        return f"{'≥ ' if self.n_above == 0 else ''}{self.z_toys:.2f}"


@dataclass(frozen=True)
class Compared:
    """A finished run beside the test.

    Attributes:
        run: Its folder.
        model: Its model.
        z: Its expected significance.
    """

    run: str
    model: str
    z: float


@dataclass(frozen=True)
class Expanded:
    """The expansion in one nuisance parameter.

    Attributes:
        name: The parameter.
        order: Largest power.
        constants: delta_1, ... of a normalisation; empty: networks.
        checks: How orders describe ln r in bins.
    """

    name: str
    order: int
    constants: tuple[float, ...]
    checks: tuple[OrderCheck, ...]


@dataclass(frozen=True)
class Record:
    """A finished test.

    Attributes:
        dataset, label: Name of the dataset, and what must be said with every number.
        reference: Samples of the reference.
        features: Those that the test sees.
        expected: N(R0), expected events of the data.
        n_reference: Events of the reference of a toy.
        n_pool: Events that toys are drawn from.
        model: Kind of f.
        parameters: Number of its parameters.
        degrees: Degrees of freedom of the chi2 that t is compared with.
        is_fitted: Whether these are the mean of t of toys, as f has a penalty, in the place of a number known before.
        clip: Largest weight of f; None: of a kernel method.
        trials: Clips that were tried.
        null: Toys of the reference.
        validation: Toys with nuisance parameters moved.
        expansions: What the nuisance parameters do to the reference.
        injected: Median t of toys with a signal; None: none was asked for.
        tested: t of the data; None: none was asked for.
        compared: Runs beside it.
        notes: What must be known.
    """

    dataset: str
    label: str
    reference: tuple[str, ...]
    features: tuple[str, ...]
    expected: float
    n_reference: int
    n_pool: int
    model: str
    parameters: int
    degrees: float
    is_fitted: bool
    clip: float | None
    trials: tuple[Trial, ...]
    null: Ensemble
    validation: tuple[Ensemble, ...]
    expansions: tuple[Expanded, ...]
    injected: Tail | None
    tested: Tail | None
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]
    seed: int
    dataset_checksum: str
    code_version: str
    settings: str
    timing: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged, by name."""
        found = {
            "null/median": self.null.median,
            "null/median_chi2": chi2_median(self.degrees),
            "null/ks": self.null.ks,
            "null/ks_tau": self.null.ks_tau,
            "degrees_of_freedom": self.degrees,
        }
        if self.clip is not None:
            found["clip"] = self.clip
        for item in self.validation:
            found[f"validation/{item.parameter} {item.value:g}/ks"] = item.ks
            found[f"validation/{item.parameter} {item.value:g}/ks_tau"] = item.ks_tau
            found[f"validation/{item.parameter} {item.value:g}/same"] = item.same
        for key, tail in {"injected": self.injected, "tested": self.tested}.items():
            if tail is not None:
                found |= {f"{key}/t": tail.t, f"{key}/p": tail.p, f"{key}/z": tail.z}
                found |= {f"{key}/p_toys": tail.p_toys, f"{key}/z_toys": tail.z_toys}
        for other in self.compared:
            found[f"compared/{other.model}/z"] = other.z
        return found | {f"seconds/{part}": value for part, value in self.timing.items()}

    def save(self, path: Path) -> None:
        """Write the record in one step."""
        try:
            write_whole(path, json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. Choose another folder: output_dir=...") from error

    @classmethod
    def load(cls, folder: Path, key: str = "nplm.calibration") -> Record:
        """Read the record in a folder; RunError says where it is none."""
        from pydantic import TypeAdapter, ValidationError

        path = folder / FILE
        try:
            content: dict[str, Any] = read_json(path)
            if content.pop("schema", None) != SCHEMA:
                raise RunError(f"{key}: {path} is no record of inferno nplm of this version ({SCHEMA})")
            return TypeAdapter(Record).validate_json(json.dumps(content))
        except FileError as error:
            raise RunError(f"{key}: {error}. Name the folder of a finished inferno nplm") from error
        except ValidationError as error:
            raise RunError(f"{key}: {path} is damaged: {error.errors()[0]['msg']}") from error
