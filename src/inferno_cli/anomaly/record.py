"""What `inferno anomaly` found: ``anomaly.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from inferno_cli.anomaly.evaluation import Curve, Judged
from inferno_cli.errors import OutputError, RunError
from inferno_cli.files import read_json, write_whole
from inferno_cli.fit.result import Record

SCHEMA: Literal["inferno_cli/anomaly/1"] = "inferno_cli/anomaly/1"
FILE = "anomaly.json"
SCORE = "vae"
"""Name of our own score among those that are judged."""
CURVE_POINTS = 200
"""Points of a ROC curve that are kept."""
QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
"""Of the loss of each sample."""

Pair = tuple[float, float]
"""A number and its statistical error."""


class PointRecord(Record):
    """A cut that a share of the background passes."""

    rate: float
    """Share of the expected background that passes."""
    background: float
    """Expected events of the background that pass."""
    simulated: int
    """Simulated events of it that pass: with a few, no error is to be trusted."""
    efficiency: Pair
    """Share of the expected signal that passes."""
    z_asimov: Pair
    """Expected significance in the one bin above the cut, without systematics."""


class JudgedRecord(Record):
    """How well one score tells signal from background."""

    name: str
    title: str
    auc: Pair
    difference: Pair | None
    """AUC minus that of the autoencoder, on the same events; null of the autoencoder."""
    points: tuple[PointRecord, ...]
    background: tuple[float, ...]
    """ROC curve: shares of the background that pass, and of the signal."""
    signal: tuple[float, ...]

    @classmethod
    def of(cls, judged: Judged, title: str) -> Self:
        """Return a judged score as a record."""
        points = []
        for point in judged.points:
            pairs = {"efficiency": tuple(point.efficiency), "z_asimov": tuple(point.z_asimov)}
            points.append(PointRecord(rate=point.rate, background=point.background, simulated=point.simulated, **pairs))
        background, signal = shortened(judged.curve)
        return cls(
            name=judged.name,
            title=title,
            auc=tuple(judged.area),
            difference=None if judged.difference is None else tuple(judged.difference),
            points=tuple(points),
            background=background,
            signal=signal,
        )


class SampleRecord(Record):
    """The loss of the events of one sample in the template split."""

    name: str
    is_signal: bool
    expected: float
    """Expected events."""
    simulated: int
    loss: tuple[float, ...]
    """Quantiles at 5, 16, 50, 84 and 95%."""
    reconstruction: float
    """Mean of -ln p(x | z)."""
    divergence: float
    """Mean divergence of the posterior from the prior."""
    histogram: tuple[float, ...]
    """Expected events in bins of the score, see ``edges``."""


class AnomalyRecord(Record):
    """A trained autoencoder, its loss of every sample, and how well its score finds the signal."""

    # pydantic's BaseModel has an attribute of the name that the file uses.
    schema_version: Literal["inferno_cli/anomaly/1"] = Field(default=SCHEMA, alias="schema")
    dataset: str
    label: str
    """Must be shown with every number; empty when there is nothing to say."""
    selection: str | None
    """Of the dataset: the region."""
    dataset_checksum: str
    code_version: str
    seed: int
    data_seed: int
    outputs: dict[str, str]
    """Density of each feature."""
    latent: int
    hidden: tuple[int, ...]
    beta: float
    prior: str
    prior_mean: tuple[float, ...]
    """Of each latent variable."""
    prior_width: tuple[float, ...]
    trained_on: tuple[int, int]
    """Simulated events of the backgrounds in the training and in the validation split."""
    negative_weights: Pair
    """Share of negative weights in these, which count with their size."""
    epochs: tuple[dict[str, float | None], ...]
    best_epoch: int
    """From 0: the one with the smallest loss of the validation split."""
    merit: Literal["elbo", "loss"]
    """What a search minimises."""
    loss: float
    """Mean over the backgrounds of the validation split, per event; with latent variables that are drawn."""
    reconstruction: float
    divergence: float
    negative_elbo: float
    """Reconstruction and divergence, whatever beta is."""
    score_median: float
    """Loss at which the score is 1/2."""
    score_width: float
    """Loss above it at which the score is 3/4."""
    edges: tuple[float, ...]
    """Of the bins of the score in ``samples``."""
    samples: tuple[SampleRecord, ...]
    scores: tuple[JudgedRecord, ...]
    """The autoencoder first."""
    compared_with: str | None
    """Folder of the run of the classifier."""
    timing: dict[str, float]

    @property
    def model(self) -> str:
        """Name of what was trained."""
        return SCORE

    @property
    def value(self) -> float:
        """What a search minimises."""
        return self.negative_elbo if self.merit == "elbo" else self.loss

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged, by name."""
        found = {f"anomaly/{name}": float(getattr(self, name)) for name in LOGGED}
        for item in self.scores:
            prefix = "anomaly" if item.name == SCORE else f"anomaly/{item.name}"
            found |= {f"{prefix}/auc": item.auc[0], f"{prefix}/auc_error": item.auc[1]}
            for point in item.points:
                for name, (value, error) in (("efficiency", point.efficiency), ("z_asimov", point.z_asimov)):
                    found[f"{prefix}/{name}/{point.rate:g}"] = value
                    found[f"{prefix}/{name}_error/{point.rate:g}"] = error
        return found

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there; OutputError if it cannot be."""
        try:
            write_whole(path, self.model_dump_json(indent=1, by_alias=True) + "\n")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. Choose output_dir=FOLDER") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; RunError if it is none."""
        try:
            return cls.model_validate(read_json(path))
        except ValueError as error:
            raise RunError(f"{path} is no record of `inferno anomaly`: {str(error).splitlines()[0]}") from error


LOGGED = ("loss", "reconstruction", "divergence", "negative_elbo")


def shortened(curve: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return some points of a ROC curve, background and signal: densest where little of the background passes."""
    background = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, CURVE_POINTS - 1)])
    signal = [curve.efficiency(rate) for rate in background]
    return tuple(background.tolist()), tuple(signal)
