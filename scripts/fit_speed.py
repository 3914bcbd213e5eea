"""Time of a fit beside that of other tools on the same workspaces, after its numbers were compared with pyhf's.

    python scripts/fit_speed.py                                  # all rows; about ten minutes
    python scripts/fit_speed.py W17 W150 --repeats 10
    python scripts/fit_speed.py main full --workspace FILE       # with a workspace that is there

No time is printed before the gates of its row have passed: the best fit against a Newton step with pyhf's gradient,
-2 ln L against pyhf's, and sigma(mu) against pyhf's second derivatives; for Asimov data also the best fit against what
the data were made with, and sigma(mu) against the closed form where it exists. Prints a Markdown table of CPU seconds,
and writes fit_speed.json. Columns of tools that are not installed (jax, nextstat) are left out; none is a dependency.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from inferno_cli.config.fit import Fit
from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.auxiliary import constraint_terms
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import Problem, nominal, numpy_backend, open_problem
from inferno_cli.fit.result import FitResult
from inferno_cli.fit.starts import global_fit
from inferno_cli.likelihood.data import Likelihood
from inferno_cli.likelihood.expectation import expectation
from inferno_cli.likelihood.information import poi_variance
from inferno_cli.likelihood.readers.pyhf import specification

Array = np.ndarray
Spec = dict[str, Any]
Times = dict[str, float]

CLOSE, SIGMA, TWICE_NLL = 1e-4, 1e-5, 1e-6
"""Gates: of the best fit in units of its error, of the error relative to it, and of -2 ln L."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
ONE_THREAD |= {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
"""What the libraries of all tools read when they are loaded."""
STEP = 0.02
"""Of the second derivatives of pyhf's likelihood, in units of the error of each parameter."""
ENOUGH, LONG = 1.0, 5.0
"""Seconds in which a call is repeated at least, and after which it is not repeated."""
SLOW = 300
"""Parameters from which the tools with numerical derivatives are left out: cabinetry takes many minutes."""


# ------------------------------------------------------------------------------------------------ the workspaces
def normfactor(name: str) -> Spec:
    """Return a free factor."""
    return {"name": name, "type": "normfactor", "data": None}


def normsys(name: str, size: float) -> Spec:
    """Return a factor with a constraint."""
    return {"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 / (1 + size)}}


def histosys(name: str, data: Array, tilt: float) -> Spec:
    """Return a tilt of the template, of the given size at its ends."""
    change = data * tilt * np.linspace(-1, 1, len(data))
    return {
        "name": name,
        "type": "histosys",
        "data": {"hi_data": (data + change).tolist(), "lo_data": (data - change).tolist()},
    }


def staterror(channel: str, data: Array, size: float) -> Spec:
    """Return the statistical error of a template."""
    return {"name": f"staterror_{channel}", "type": "staterror", "data": (size * data).tolist()}


def workspace(channels: dict[str, list[Spec]], observed: dict[str, Array] | None = None) -> Spec:
    """Join samples to a workspace; without observed events they are the expected ones."""
    spec: Spec = {"version": "1.0.0", "channels": [], "observations": []}
    for name, samples in channels.items():
        spec["channels"].append({"name": name, "samples": samples})
        expected = np.sum([sample["data"] for sample in samples], axis=0)
        data = expected if observed is None else observed[name]
        spec["observations"].append({"name": name, "data": data.tolist()})
    parameters = [{"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]
    spec["measurements"] = [{"name": "fit", "config": {"poi": "mu", "parameters": parameters}}]
    return spec


def samples(channel: str, n_bins: int, systematics: range, scale: float = 1.0) -> list[Spec]:
    """Return a signal and two backgrounds over some bins; each systematic is a shape and a rate of both backgrounds."""
    x = np.linspace(0, 1, n_bins)
    templates = {
        "signal": scale * 30 * np.exp(-((x - 0.7) ** 2) / 0.02),
        "falling": scale * 400 * np.exp(-2 * x),
        "flat": scale * 100 * (1 + 0.2 * x),
    }
    found: list[Spec] = []
    for name, data in templates.items():
        modifiers = [staterror(channel, data, 0.03)]
        if name == "signal":
            modifiers.append(normfactor("mu"))
        if name == "flat":
            modifiers.append(normfactor("norm_flat"))
        for i in systematics if name != "signal" else ():
            size = (1 + i % 5) / 100 * (1 if name == "flat" else -1)
            modifiers += [normsys(f"syst_{i}", abs(size)), histosys(f"syst_{i}", data, size * np.cos(i))]
        found.append({"name": name, "data": data.tolist(), "modifiers": modifiers})
    return found


def one_channel(systematics: int, *, seed: int | None = None) -> Spec:
    """Return 20 bins with staterror, a free background, and so many shape and rate uncertainties.

    Its data are Asimov data, at which every tool starts, or with a seed fluctuate.
    """
    spec = workspace({"SR": samples("SR", 20, range(systematics))})
    if seed is not None:
        expected = spec["observations"][0]["data"]
        spec["observations"][0]["data"] = np.random.default_rng(seed).poisson(expected).tolist()
    return spec


def many_channels() -> Spec:
    """Return 50 channels of 4 bins, each with a shapesys of its own: 201 parameters; fluctuated data."""
    rng = np.random.default_rng(1)
    channels: dict[str, list[Spec]] = {}
    observed: dict[str, Array] = {}
    for i in range(50):
        signal, background = rng.uniform(1, 8, 4), rng.uniform(30, 90, 4)
        error = {"name": f"error_{i}", "type": "shapesys", "data": (0.1 * background).tolist()}
        channels[f"SR{i}"] = [
            {"name": "signal", "data": signal.tolist(), "modifiers": [normfactor("mu")]},
            {"name": "background", "data": background.tolist(), "modifiers": [error]},
        ]
        observed[f"SR{i}"] = rng.poisson(signal + background).astype(float)
    return workspace(channels, observed)


def large() -> Spec:
    """Return 20 channels of 100 bins, 4 with staterror, and 98 systematics: 500 parameters; Asimov data."""
    channels: dict[str, list[Spec]] = {}
    for i in range(20):
        found = samples(f"SR{i}", 100, range(98))
        if i >= 4:
            for sample in found:
                del sample["modifiers"][0]
        channels[f"SR{i}"] = found
    return workspace(channels)


def main_measurement() -> Spec:
    """Return the workspace of a short training of the main measurement with all systematics."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["+experiment=top11004", "nuisance=all", "trainer.max_epochs=2"]
        quiet = ["tracking=none", "report.plots=false", f"hydra.run.dir={folder}"]
        command = [sys.executable, "-m", "inferno_cli", "train", *overrides, *quiet]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spec: Spec = json.loads((Path(folder) / "workspace.json").read_text(encoding="utf-8"))
        return spec


GENERATED: dict[str, Callable[[], Spec]] = {
    "W17": lambda: one_channel(17),
    "W60": lambda: one_channel(60),
    "W150": lambda: one_channel(150),
    "W60 fluctuated": lambda: one_channel(60, seed=1),
    "W150 fluctuated": lambda: one_channel(150, seed=1),
    "channels": many_channels,
    "large": large,
}
MAIN, FULL = "main", "full"


@dataclass(frozen=True)
class Row:
    """One workspace, and its times in seconds, by column."""

    name: str
    parameters: int
    bins: int
    data: str
    gates: dict[str, float]
    times: Times
    differences: dict[str, dict[str, float]]


# ----------------------------------------------------------------------------------------------------- the gates
def derivatives(problem: Problem, values: Array, covariance: Array, poi: int) -> tuple[Array, Array]:
    """Differentiate pyhf's -ln L at a point, once and twice, the second time along the column of mu.

    Returns:
        Its gradient, shape (n,), and its Hessian times ``covariance[:, poi]``, shape (n,), of which all but entry
        ``poi``, which is 1, are 0 if that is a column of the inverse Hessian.
    """
    errors = np.sqrt(np.diag(covariance))
    along = covariance[:, poi] / errors[poi]

    def nll(point: Array) -> float:
        return -float(np.squeeze(problem.model.logpdf(point, problem.data)))

    def differences(error: float, unit: Array, size: float) -> Array:
        """Return the first and the mixed derivative, both in units of the errors, from steps of one size."""
        step, side = size * error * unit, size * along
        ends = [nll(values + a * step + b * side) for a, b in ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))]
        mixed = ends[2] - ends[3] - ends[4] + ends[5]
        return np.array([(ends[0] - ends[1]) / (2 * size), mixed / (4 * size**2)])

    found = np.zeros((2, len(values)))
    for i in np.flatnonzero(errors):
        unit = np.eye(len(values))[i]
        # Steps of two sizes: their errors, of second order, cancel.
        coarse, fine = (differences(float(errors[i]), unit, size) for size in (STEP, STEP / 2))
        found[:, i] = (4 * fine - coarse) / 3 / errors[i]
    return found[0], found[1] * errors[poi]


def gates(name: str, problem: Problem, spec: Spec, result: FitResult) -> dict[str, float]:
    """Compare a fit with pyhf's likelihood, and with the closed form for Asimov data.

    Returns:
        Differences: of mu and of the farthest parameter in units of their errors, relative ones of sigma(mu), and that
        of -2 ln L.
    """
    estimates = list(result.parameters.values())
    poi = problem.poi
    values = np.array([estimate.bestfit for estimate in estimates])
    errors = np.array([estimate.hesse for estimate in estimates])
    correlation = np.array([list(row.values()) for row in result.correlation.values()])
    covariance = correlation * np.outer(errors, errors)
    likelihood = Likelihood(problem.rates, constraint_terms(problem.model.config), problem.data, nominal(problem))
    gradient, unit = derivatives(problem, values, covariance, poi)
    # sigma^2 from pyhf's Hessian H alone is 2 c_mu - c^T H c, to second order in the error of the column c.
    column = covariance[:, poi]
    squared = 2 * column[poi] - float(column @ unit)
    shift = np.divide(covariance @ gradient, errors, out=np.zeros_like(errors), where=errors > 0)
    found = {
        "mu": abs(float(shift[poi])),
        "parameters": float(np.abs(shift).max()),
        "twice_nll": 2 * abs(likelihood.nll(values) + float(np.squeeze(problem.model.logpdf(values, problem.data)))),
        "sigma(mu)": abs(squared**0.5 / errors[poi] - 1),
        "column of mu": float(np.abs((unit - np.eye(len(values))[poi]) * errors).max() / errors[poi]),
    }
    allowed = {"mu": CLOSE, "parameters": CLOSE, "twice_nll": TWICE_NLL, "sigma(mu)": SIGMA, "column of mu": CLOSE}
    if problem.is_asimov:
        found["mu of the data"] = abs(float(values[poi]) - 1) / float(errors[poi])
        allowed["mu of the data"] = CLOSE
        observed = {entry["name"]: entry["data"] for entry in spec["observations"]}
        ours = expectation(specification(problem.model, observed, spec["measurements"][0]["name"]))
        if ours.relative_error is not None:
            found["closed form"] = abs(float(poi_variance(ours)) ** 0.5 / float(errors[poi]) - 1)
            allowed["closed form"] = SIGMA
    failed = {key: value for key, value in found.items() if not value <= allowed[key]}
    if failed:
        told = ", ".join(f"{key} is off by {value:.2g} (allowed {allowed[key]:g})" for key, value in failed.items())
        raise SystemExit(f"{name}: no time is shown of a fit that is wrong: {told}")
    return found


# ------------------------------------------------------------------------------------------------------ the tools
def best(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest of several calls in CPU seconds, and what the last returned; a short call is repeated more.

    On one thread, CPU seconds are those of the clock where nobody else computes, and nearly the same where others do.
    """
    times: list[float] = []
    value = None
    while len(times) < repeats or sum(times) < ENOUGH:
        start = time.process_time()
        value = call()
        times.append(time.process_time() - start)
        if times[-1] > LONG:
            break
    return min(times), value


@numpy_backend()
def ours(spec: Spec, settings: Fit, repeats: int) -> Times:
    """Time ``fit_workspace``, with and without MINOS of mu, and its two parts."""
    plain = settings.model_copy(update={"minos": ()})

    def opening() -> Problem:
        return open_problem(spec, asimov=False, measurement=None, where="workspace")

    times = {"opening": 0.0, "fit": 0.0}
    times["opening"], problem = best(repeats, opening)
    times["fit"], _ = best(repeats, lambda: global_fit(Fitter(problem, plain), ()))
    times["fit_workspace"], _ = best(repeats, lambda: fit_workspace(spec, plain, where="workspace"))
    times["with MINOS"], _ = best(repeats, lambda: fit_workspace(spec, settings, where="workspace"))
    return times


@numpy_backend()
def cabinetry(spec: Spec, repeats: int) -> tuple[Times, dict[str, float]]:
    """Time cabinetry's fit with MINUIT's HESSE."""
    import cabinetry

    logging.getLogger("cabinetry").setLevel(logging.WARNING)
    opening, (model, data) = best(repeats, lambda: cabinetry.model_utils.model_and_data(spec))
    fit, found = best(repeats, lambda: cabinetry.fit.fit(model, data))
    poi = model.config.poi_index
    numbers = {"mu": float(found.bestfit[poi]), "sigma": float(found.uncertainty[poi])}
    return {"cabinetry opening": opening, "cabinetry": fit}, numbers


def jax(spec: Spec, repeats: int) -> tuple[Times, dict[str, float]]:
    """Time pyhf's fit with MINUIT on jax's gradient, HESSE included; each fit compiles its likelihood anew."""
    import pyhf

    before = pyhf.get_backend()
    pyhf.set_backend("jax", pyhf.optimize.minuit_optimizer(), precision="64b")
    try:
        opening, (model, data) = best(repeats, lambda: _pyhf_model(spec))
        fit, found = best(repeats, lambda: pyhf.infer.mle.fit(data, model, return_uncertainties=True))
        mu, sigma = np.asarray(found)[model.config.poi_index].tolist()
    finally:
        pyhf.set_backend(*before)
    return {"pyhf with jax opening": opening, "pyhf with jax": fit}, {"mu": mu, "sigma": sigma}


def _pyhf_model(spec: Spec) -> tuple[Any, Any]:
    import pyhf

    codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    workspace = pyhf.Workspace(spec)
    model = workspace.model(modifier_settings=codes)
    return model, workspace.data(model)


def nextstat(spec: Spec, repeats: int) -> tuple[Times, dict[str, float]]:
    """Time nextstat's fit with its covariance."""
    nextstat = importlib.import_module("nextstat")
    nextstat.set_threads(1)
    text = json.dumps(spec)
    opening, model = best(repeats, lambda: nextstat.from_pyhf(text))
    fit, found = best(repeats, lambda: nextstat.fit(model))
    numbers = {"mu": found.bestfit[model.poi_index()], "sigma": found.uncertainties[model.poi_index()]}
    return {"nextstat opening": opening, "nextstat": fit}, numbers


OTHERS: dict[str, tuple[str, Callable[[Spec, int], tuple[Times, dict[str, float]]]]] = {
    "cabinetry": ("cabinetry", cabinetry),
    "pyhf with jax": ("jax", jax),
    "nextstat": ("nextstat", nextstat),
}
"""Column, the module that has to be installed, and what measures it."""
NUMERICAL = ("cabinetry", "pyhf with jax")


# ------------------------------------------------------------------------------------------------------- a row
def measure(name: str, spec: Spec, plain: Fit, repeats: int, slow: int) -> Row:
    """Check one workspace, then time it."""
    with numpy_backend():
        problem = open_problem(spec, asimov=False, measurement=None, where=name)
        result = fit_workspace(spec, plain, where=name)
        passed = gates(name, problem, spec, result)
    times = ours(spec, plain, repeats)
    mu = result.parameters["mu"]
    differences: dict[str, dict[str, float]] = {}
    for title, (module, tool) in OTHERS.items():
        too_slow = title in NUMERICAL and len(problem.labels) > slow
        if too_slow or importlib.util.find_spec(module) is None:
            continue
        own, numbers = tool(spec, repeats)
        times |= own
        differences[title] = {
            "mu, in units of sigma": (numbers["mu"] - mu.bestfit) / mu.hesse,
            "sigma, relative": numbers["sigma"] / mu.hesse - 1,
        }
    data = "Asimov" if problem.is_asimov else "fluctuated"
    n_bins = int(problem.model.config.nmaindata)
    return Row(name, len(problem.labels), n_bins, data, passed, times, differences)


def measure_full(spec: Spec, settings: Fit, plain: Row, repeats: int) -> Row:
    """Time all quantities of ``fit=full``; the numbers of the plain fit have passed."""
    whole, _ = best(repeats, lambda: fit_workspace(spec, settings, where=FULL))
    times = {"opening": plain.times["opening"], "fit": whole - plain.times["opening"], "fit_workspace": whole}
    return Row(FULL, plain.parameters, plain.bins, plain.data, plain.gates, times, {})


def settings() -> tuple[Fit, Fit]:
    """Return the keys of the fit with MINOS of mu and nothing else, and those of ``fit=full``."""
    found: list[Fit] = []
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for group in ("asimov", "full"):
            config = resolve(TrainConfig, compose("train", overrides=["~job", f"fit={group}", "fit.progress=none"]))
            found.append(config.fit)
    bare: dict[str, Any] = {"scan_points": None, "significance": False, "stat_only": False, "breakdown": False}
    bare |= {"goodness_of_fit": False, "yields": False, "data": "observed"}
    return found[0].model_copy(update=bare), found[1]


# -------------------------------------------------------------------------------------------------- the output
TITLES = ["opening", "fit", "fit_workspace", "with MINOS", *OTHERS]


def markdown(rows: list[Row]) -> str:
    """Return the table: seconds, and how many times as long as our fit the others take."""
    present = [title for title in TITLES if any(title in row.times for row in rows)]
    lines = [
        f"| workspace | parameters | bins | {' | '.join(present)} |",
        f"|{'---|' * (3 + len(present))}",
    ]
    for row in rows:
        cells: list[str] = []
        for title in present:
            seconds = row.times.get(title)
            text = "" if seconds is None else f"{seconds:.3g} s"
            if seconds is not None and title in OTHERS:
                quotient = seconds / row.times["fit"]
                text += f" ({quotient:.0f}x)" if quotient > 9.5 else f" ({quotient:.2g}x)"
            cells.append(text)
        lines.append(f"| {row.name} | {row.parameters} | {row.bins} | {' | '.join(cells)} |")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return what it is measured with."""
    from importlib.metadata import version

    found = {"machine": platform.machine(), "python": platform.python_version()}
    modules = ["inferno_cli", "numpy", "scipy", "iminuit", "pyhf"]
    modules += [module for module, _ in OTHERS.values() if importlib.util.find_spec(module) is not None]
    for module in modules:
        found[module] = version(module)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*GENERATED, MAIN, FULL]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(names))
    parser.add_argument(
        "--repeats", type=int, default=5, help="the best of so many, or more in a second; one, where it takes over 5 s"
    )
    parser.add_argument("--slow", type=int, default=SLOW, help="most parameters for cabinetry and jax")
    parser.add_argument("--workspace", type=Path, help="of the rows main and full; without, a short training makes it")
    parser.add_argument("--output", type=Path, default=Path("fit_speed.json"))
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    asked = options.rows or names
    if unknown := [name for name in asked if name not in names]:
        parser.error(f"unknown row {unknown[0]!r}; choose from {', '.join(names)}")
    plain, full = settings()
    rows: list[Row] = []
    for name in asked:
        if name in GENERATED:
            rows.append(measure(name, GENERATED[name](), plain, options.repeats, options.slow))
    if MAIN in asked or FULL in asked:
        spec = json.loads(options.workspace.read_text("utf-8")) if options.workspace else main_measurement()
        rows.append(measure(MAIN, spec, plain, options.repeats, options.slow))
        if FULL in asked:
            rows.append(measure_full(spec, full, rows[-1], min(options.repeats, 3)))
    print(markdown(rows))
    for row in rows:
        for title, numbers in row.differences.items():
            told = ", ".join(f"{key} {value:+.1e}" for key, value in numbers.items())
            print(f"{row.name}, {title} beside ours: {told}")
    used = versions()
    print("; ".join(f"{key} {value}" for key, value in used.items()) + "; one thread")
    record = {"versions": used, "rows": [vars(row) for row in rows]}
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
