"""What each objective is worth in a model of two bins, against two shifts of its background by one systematic.

    python scripts/loss_landscape.py                        # -10 to 10 in steps of 1: half a minute
    python scripts/loss_landscape.py --step 0.5 --output /my/folder

    signal [5, 11], background [50, 50], its up variation [50 + u, 50 - u], its down variation [50 + d, 50 - d]

u = d is a systematic to one side: the derivative in its parameter vanishes at the nominal point, so the variance of mu
is the same for all u = d. p0 and CLs are not, with everything profiled exactly. N. Simpson, thesis (2023), section
7.5.1, finds them constant there, as a fit by gradient descent that starts where the derivative is 0 stays there. Writes
loss_landscape.json, .md and .png.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.asimov import AsimovFit
from inferno_cli.likelihood.expectation import Expectation, expectation
from inferno_cli.likelihood.information import covariance
from inferno_cli.likelihood.profile import log_cls, log_p0, q0, q_of_exclusion
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Sample, Spec
from inferno_cli.training.metrics.gaussianity import Gaussianity

SIGNAL, BACKGROUND = np.array([5.0, 11.0]), np.array([50.0, 50.0])
SHIFT = np.array([1.0, -1.0])
LARGEST = 10.0
PARAMETERS = (
    Parameter("mu", (1.0,), ((-10.0, 10.0),)),
    Parameter("shape", (0.0,), ((-10.0, 10.0),), constraint=Gaussian((0.0,), (1.0,))),
)
TERMS = ("sigma_mu", "p0", "cls", "cls_plus_p0", "generalised_variance", "gaussianity")
TITLES = ("sigma(mu)", "p0", "CLs", "CLs + p0", "generalised variance", "deviation from a Gaussian")
Floats = NDArray[np.float64]


def model(u: float, d: float) -> Expectation:
    """Return the likelihood at the two shifts."""
    shape = mod.HistoSys("shape", BACKGROUND + u * SHIFT, BACKGROUND + d * SHIFT)
    samples = (Sample("signal", SIGNAL, (mod.NormFactor("mu"),)), Sample("background", BACKGROUND, (shape,)))
    return expectation(Spec((Channel("bins", samples),), PARAMETERS, "mu", "landscape"))


def terms(u: float, d: float) -> dict[str, float]:
    """Return all terms at one point."""
    likelihood = model(u, d)
    matrix = covariance(likelihood)
    p0, cls = math.exp(log_p0(q0(likelihood))), math.exp(log_cls(q_of_exclusion(likelihood)))
    values = (
        math.sqrt(matrix[0, 0]),
        p0,
        cls,
        p0 + cls,
        float(np.linalg.det(matrix)),
        Gaussianity().value(AsimovFit(likelihood)),
    )
    return dict(zip(TERMS, values, strict=True))


def landscape(axis: Floats) -> dict[str, Floats]:
    """Return every term on a grid of u and d, shape (U, D) each."""
    found = {name: np.empty((len(axis), len(axis))) for name in TERMS}
    for i, u in enumerate(axis):
        for j, d in enumerate(axis):
            for name, value in terms(float(u), float(d)).items():
                found[name][i, j] = value
    return found


def table(axis: Floats, found: Mapping[str, Floats]) -> str:
    """Return each term along u = d, in five points, and where it is smallest on the grid."""
    shown = np.linspace(0, len(axis) - 1, 5).round().astype(int)
    head = " | ".join(f"u = d = {axis[i]:g}" for i in shown)
    lines = [f"| | {head} | smallest | at (u, d) | largest |", "|---" * (len(shown) + 4) + "|"]
    for name, title in zip(TERMS, TITLES, strict=True):
        values = found[name]
        along = " | ".join(f"{values[i, i]:.5f}" for i in shown)
        i, j = np.unravel_index(np.argmin(values), values.shape)
        lowest = f"{values[i, j]:.5f} | ({axis[i]:g}, {axis[j]:g})"
        lines.append(f"| {title} | {along} | {lowest} | {values.max():.5f} |")
    return "\n".join(lines) + "\n"


def draw(path: Path, axis: Floats, found: Mapping[str, Floats]) -> None:
    """Draw every term over u and d."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(11, 6.5), layout="constrained", sharex=True, sharey=True)
    for axes, name, title in zip(panels.flat, TERMS, TITLES, strict=True):
        image = axes.contourf(axis, axis, found[name].T, levels=20)
        axes.plot(axis, axis, color="white", linestyle=":")
        axes.set(title=title, aspect="equal")
        figure.colorbar(image, ax=axes)
    figure.supxlabel("u: shift of the up variation, events")
    figure.supylabel("d: shift of the down variation, events")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Calculate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=float, default=1.0, help="of the grid, events")
    parser.add_argument("--output", type=Path, default=Path())
    options = parser.parse_args()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    n_steps = round(LARGEST / options.step)
    axis = np.arange(-n_steps, n_steps + 1) * options.step
    found = landscape(axis)
    text = table(axis, found)
    print(text, end="")
    (output / "loss_landscape.md").write_text(text, encoding="utf-8")
    record = {"axis": axis.tolist(), **{name: values.tolist() for name, values in found.items()}}
    (output / "loss_landscape.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    draw(output / "loss_landscape.png", axis, found)


if __name__ == "__main__":
    main()
