"""The simplest optimised analysis: one number phi moves signal, background and the background's error in one bin.

    python scripts/toy_analysis.py                    # the scan, and Adam from 1; figure, table and numbers
    python scripts/toy_analysis.py --output /my/folder

    signal 15 + phi, background 45 - 2 phi, its error 0.5 + 0.1 phi^2

Expected p-value of no signal (p0) with the error as a Gaussian constraint (a histosys), as a Poisson one (a shapesys),
and without any: there the optimum is the largest phi, the worst point once there is an error. N. Simpson, thesis
(2023), sections 7.1.1 and 7.3. Writes toy_analysis.json, .md and .png.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.expectation import Expectation, expectation
from inferno_cli.likelihood.profile import log_p0, q0
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Poisson, Sample, Spec

RANGE = (0.0, 10.0)
STATED = 4.3
"""Optimum with an error that is read off figure 7.2 of the thesis."""
LEARNING_RATE, STEPS, START = 0.05, 400, 1.0
MU = Parameter("mu", (1.0,), ((-10.0, 10.0),))


def gaussian(background: Tensor, error: Tensor) -> tuple[tuple[mod.Modifier, ...], tuple[Parameter, ...]]:
    """Return the error as a shift of the background by one standard deviation, constrained by a normal number."""
    shifted = mod.HistoSys("error", background + error, background - error)
    constrained = Parameter("error", (0.0,), ((-10.0, 10.0),), constraint=Gaussian((0.0,), (1.0,)))
    return (shifted,), (constrained,)


def poisson(background: Tensor, error: Tensor) -> tuple[tuple[mod.Modifier, ...], tuple[Parameter, ...]]:
    """Return the error as a factor that (b / error)^2 auxiliary events measure."""
    events = (background / error) ** 2
    factor = Parameter("error", (1.0,), ((1e-10, 10.0),), constraint=Poisson(events, events), per_bin=True)
    return (mod.ShapeSys("error", error),), (factor,)


def none(background: Tensor, error: Tensor) -> tuple[tuple[mod.Modifier, ...], tuple[Parameter, ...]]:  # noqa: ARG001
    """Return that the background is known."""
    return (), ()


ERRORS: dict[str, Callable[[Tensor, Tensor], tuple[tuple[mod.Modifier, ...], tuple[Parameter, ...]]]] = {
    "Gaussian": gaussian,
    "Poisson": poisson,
    "none": none,
}


def model(phi: Tensor, error: str) -> Expectation:
    """Return the likelihood of the one bin at ``phi``, a scalar, differentiable in it."""
    signal, background, size = 15 + phi, 45 - 2 * phi, 0.5 + 0.1 * phi**2
    modifiers, parameters = ERRORS[error](background.reshape(1), size.reshape(1))
    samples = (
        Sample("signal", signal.reshape(1), (mod.NormFactor("mu"),)),
        Sample("background", background.reshape(1), modifiers),
    )
    return expectation(Spec((Channel("bin", samples),), (MU, *parameters), "mu", "toy"))


def p_value(phi: float, error: str) -> float:
    """Return p0 at ``phi``."""
    with torch.no_grad():
        return math.exp(float(log_p0(q0(model(torch.tensor(phi, dtype=torch.float64), error)))))


@dataclass(frozen=True)
class Optimum:
    """What a scan and a gradient find: phi and p0 of each."""

    scanned: float
    scanned_p0: float
    trained: float
    trained_p0: float


def trained(error: str, steps: int = STEPS) -> float:
    """Return where Adam on ln p0 ends, kept in the range."""
    phi = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([phi], lr=LEARNING_RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        log_p0(q0(model(phi, error))).backward()
        optimiser.step()
        with torch.no_grad():
            phi.clamp_(*RANGE)
    return float(phi.detach())


def optimise(error: str) -> Optimum:
    """Look for the smallest p0, on a grid of 0.01 and by the gradient."""
    grid = np.linspace(*RANGE, 1001)
    values = [p_value(phi, error) for phi in grid.tolist()]
    best = int(np.argmin(values))
    phi = trained(error)
    return Optimum(float(grid[best]), values[best], phi, p_value(phi, error))


def table(optima: dict[str, Optimum]) -> str:
    """Return the optima, and both ends of the range."""
    lines = ["| error | phi, scan | phi, gradient | p0 there | p0 at 0 | p0 at 10 |", "|---|---|---|---|---|---|"]
    for error, optimum in optima.items():
        ends = " | ".join(f"{p_value(phi, error):.5f}" for phi in RANGE)
        lines.append(f"| {error} | {optimum.scanned:.2f} | {optimum.trained:.2f} | {optimum.trained_p0:.5f} | {ends} |")
    return "\n".join(lines) + "\n"


def draw(path: Path) -> None:
    """Draw p0 against phi."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    grid = np.linspace(*RANGE, 201)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for error in ERRORS:
        axes.plot(grid, [p_value(phi, error) for phi in grid.tolist()], label=f"error: {error}")
    axes.axvline(STATED, color="grey", linestyle=":", label="optimum of the thesis, read off its figure")
    axes.set(xlabel="phi", ylabel="expected p-value of no signal", yscale="log", xlim=RANGE)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Scan, train, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path())
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    optima = {error: optimise(error) for error in ERRORS}
    text = table(optima)
    print(text, end="")
    (output / "toy_analysis.md").write_text(text, encoding="utf-8")
    record = {error: vars(optimum) for error, optimum in optima.items()}
    (output / "toy_analysis.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(output / "toy_analysis.png")


if __name__ == "__main__":
    main()
