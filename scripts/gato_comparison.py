"""Bins of an existing score, ours beside those of gato-hep (arXiv:2601.07756), on one sample of events.

    python scripts/gato_comparison.py --python GATO/bin/python          # of an environment with gato-hep; both tables
    python scripts/gato_comparison.py --toys 1 --bins 5 --seeds 1       # where gato-hep is not installed: ours alone

The toy is that of the package: Gaussians of one covariance in three dimensions, two signals and five backgrounds, with
noise on the coordinates, and scores that are ratios of the densities without it. With one score a signal is divided
from the backgrounds, with three both signals. Both sides get the same events; the significance is calculated from
hard bins of other events of the same law.

gato-hep has the settings of its examples (250 epochs over all events, RMSprop, temperature and learning rate falling):
a Gaussian mixture, and for one score also its sigmoids. Ours are learnt edges, for one score, and for several the
softmax of a layer of 32 units on their logits and the squares of these. Of one signal both maximise the significance
without uncertainties, of two gato-hep its geometric mean and ours that of the inverse errors of both. The systematic
moves the logits of the backgrounds' scores together; ours are trained with it, gato-hep has no words for it. Then the
significance is that of pyhf with its parameter profiled. Prints a Markdown table, the median of the seeds and in
brackets the largest.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = dict[str, NDArray[np.float64]]
MEANS = {
    "signal1": (1.5, -1.0, -1.0),
    "signal2": (-1.0, 1.5, -1.0),
    "bkg1": (-0.5, -0.5, 1.0),
    "bkg2": (0.5, -0.5, 0.8),
    "bkg3": (0.5, 0.5, -0.6),
    "bkg4": (-0.5, 1.0, -0.4),
    "bkg5": (-0.5, 0.5, -0.2),
}
COVARIANCE = np.eye(3) + 0.2 * (1 - np.eye(3))
YIELDS = {"signal1": 50.0, "signal2": 10.0, "bkg1": 1e4, "bkg2": 8e3, "bkg3": 5e3, "bkg4": 2e3, "bkg5": 1e3}
NOISE = 0.3
SIGNALS = {1: ("signal1",), 3: ("signal1", "signal2")}
"""Signals of the toy with one score, and of that with three."""
TRAIN, TEST = (30_000, 100_000), (100_000, 300_000)
"""Events of each signal and of all backgrounds together, of which bins are made, and with which they are compared."""
SIZE = 0.2
"""How far the systematic moves the logit of a score, up and down."""
EPOCHS = 250
DATASET = """\
kind: ntuples
name: gato
path: {path}
file: "*.root"
tree: "{{sample}}{{variation}}"
variation: "_{{systematic}}_{{direction}}"
features: {features}
event_id: [event]
weight: weight
luminosity_scale: 1.0
downsample_factor: 1.0
samples: {samples}
splits: {{train: 0.8, validation: 0.15, template: 0.05}}
systematics:
  scale: {{kind: shape, samples: [background]}}
"""


# ------------------------------------------------------------------------------------------------------- the toy
def densities(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return the density of a process at points, shape (n, 3), but for a factor that all share."""
    centred = x - np.array(MEANS[name])
    return np.asarray(np.exp(-0.5 * np.einsum("ni,ij,nj->n", centred, np.linalg.inv(COVARIANCE), centred)))


def toy(n_scores: int, seed: int, events: tuple[int, int]) -> tuple[Scores, Scores]:
    """Return the scores of the signals, shape (n_events, n_signals), and weights of each process."""
    rng, scores, weights = np.random.default_rng(seed), {}, {}
    backgrounds = [name for name in YIELDS if name not in SIGNALS[3]]
    total = sum(YIELDS[name] for name in backgrounds)
    for name in (*SIGNALS[n_scores], *backgrounds):
        n = events[0] if name in SIGNALS[3] else round(events[1] * YIELDS[name] / total)
        x = rng.multivariate_normal(MEANS[name], COVARIANCE, n) * rng.normal(1, NOISE, (n, 3))
        background = sum(YIELDS[other] / total * densities(x, other) for other in backgrounds)
        signals = np.stack([densities(x, other) for other in SIGNALS[n_scores]], axis=1)
        scores[name] = signals / (signals.sum(axis=1) + background + 1e-300)[:, None]
        weights[name] = np.full(n, YIELDS[name] / n)
    return scores, weights


def moved(scores: NDArray[np.float64], sign: int) -> NDArray[np.float64]:
    """Return the scores of a background with the systematic up or down: odds of the signals times a factor."""
    rest = 1 - scores.sum(axis=1, keepdims=True)
    odds = scores * math.exp(sign * SIZE)
    return np.asarray(odds / (odds.sum(axis=1, keepdims=True) + rest))


# ---------------------------------------------------------------------------------------------- the significance
def filled(bins: Mapping[str, NDArray[np.intp]], weights: Scores, n_bins: int, signals: tuple[str, ...]) -> Scores:
    """Return the yields of each signal and of all backgrounds together in each bin, nominal, up and down."""
    found = {name: np.bincount(bins[name], weights[name], n_bins) for name in signals}
    for suffix in ("", "_up", "_down"):
        parts = [np.bincount(bins[name + suffix], weights[name], n_bins) for name in weights if name not in signals]
        found[f"background{suffix}"] = np.sum(parts, axis=0)
    return found


def significances(yields: Scores, signals: tuple[str, ...], *, profiled: bool) -> list[float]:
    """Return the expected significance of each signal, the other one a background that is known."""
    import pyhf

    found = []
    for signal in signals:
        s = yields[signal]
        others = np.sum([yields[name] for name in signals if name != signal], axis=0) if len(signals) > 1 else 0.0
        kept = s + yields["background"] + others > 0
        nominal, up, down = ((yields[f"background{x}"] + others)[kept] for x in ("", "_up", "_down"))
        s = s[kept]
        if not profiled:
            safe = np.maximum(nominal, 1e-9)
            found.append(math.sqrt(2 * float(np.sum((s + safe) * np.log1p(s / safe) - s))))
            continue
        scale = {"name": "scale", "type": "histosys", "data": {"hi_data": up.tolist(), "lo_data": down.tolist()}}
        samples = [
            {"name": "s", "data": s.tolist(), "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "b", "data": nominal.tolist(), "modifiers": [scale]},
        ]
        model = pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name="mu")
        data = [*(s + nominal).tolist(), *model.config.auxdata]
        settings = model.config.suggested_init(), model.config.suggested_bounds(), model.config.suggested_fixed()
        found.append(math.sqrt(float(pyhf.infer.test_statistics.q0(0.0, data, model, *settings))))
    return found


def mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


# -------------------------------------------------------------------------------------------------------- theirs
def gato(arguments: Path) -> None:
    """Train a model of gato-hep as its examples do, and write the bins of all events; runs in its environment."""
    import tensorflow as tf
    from gatohep.models import gato_gmm_model, gato_sigmoid_model
    from gatohep.utils import LearningRateScheduler, SteepnessScheduler, TemperatureScheduler

    stored = np.load(arguments)
    kind, n_bins, signals = str(stored["kind"]), int(stored["bins"]), tuple(stored["signals"].tolist())
    tf.random.set_seed(int(stored["seed"]))
    data = {}
    for key in stored.files:
        if key.startswith("train "):
            name = key.removeprefix("train ")
            tensors = {"NN_output": stored[key], "weight": stored[f"weight {name}"]}
            data[name] = {part: tf.constant(np.squeeze(values), tf.float32) for part, values in tensors.items()}
    if kind == "sigmoids":
        model = gato_sigmoid_model([{"name": "score", "bins": n_bins, "range": (0.0, 1.0)}], global_steepness=50.0)
        sharper: Any = SteepnessScheduler(model, 50.0, 10000.0, total_epochs=EPOCHS, mode="cosine")
    else:
        normal = "sigmoid" if len(signals) == 1 else "softmax"
        temperature = tf.Variable(1.0, trainable=False)  # a number would stay what it is when the step is compiled
        model = gato_gmm_model(n_cats=n_bins, dim=len(signals), temperature=temperature, mean_norm=normal)
        sharper = TemperatureScheduler(model, t_initial=1.0, t_final=0.05, total_epochs=EPOCHS, mode="cosine")
    optimizer = tf.keras.optimizers.RMSprop(learning_rate=0.1)
    slower = LearningRateScheduler(optimizer, 0.1, 0.001, total_epochs=EPOCHS, mode="cosine")

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            values = model.get_differentiable_significance(data, signal_labels=signals)
            loss = -(tf.reduce_prod(tf.stack(list(values.values()))) ** (1 / len(signals)))
        gradient = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradient, model.trainable_variables, strict=True))

    for epoch in range(EPOCHS):
        slower.update(epoch)
        sharper.update(epoch)
        step()
    made = {}
    for key in stored.files:
        if key.startswith("test "):
            made[key.removeprefix("test ")] = np.asarray(model.get_bin_indices(tf.constant(stored[key], tf.float32)))
    np.savez(arguments.with_suffix(".bins.npz"), **made)


def of_gato(
    options: argparse.Namespace, kind: str, n_bins: int, seed: int, train: tuple[Scores, Scores], test: Scores
) -> Scores:
    """Run ``gato`` in the environment of a Python, or take what a run before has kept."""
    n_scores = 1 if train[0]["signal1"].shape[1] == 1 else 3
    signals = SIGNALS[n_scores]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.keep or folder) / f"{kind}_{n_scores}_{n_bins}_{seed}.npz"
        kept = path.with_suffix(".bins.npz")
        arrays: dict[str, Any] = {"kind": kind, "bins": n_bins, "seed": seed, "signals": np.array(signals)}
        for name, values in train[0].items():
            arrays |= {f"train {name}": values, f"weight {name}": train[1][name]}
        arrays |= {f"test {name}": values for name, values in test.items()}
        if not kept.is_file():
            np.savez(path, **arrays)
            subprocess.run([options.python, __file__, "--gato", str(path)], check=True, capture_output=True)
            path.unlink()
        with np.load(kept) as made:
            return {name: made[name].astype(np.intp) for name in made.files}


# ---------------------------------------------------------------------------------------------------------- ours
def features(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return one score as it is, of two the logarithms of their ratios to the score of the backgrounds, and squares.

    The logarithm of a Gaussian is a linear function of these: a layer on them begins where a mixture of Gaussians is.
    """
    if scores.shape[1] == 1:
        return scores.astype(np.float32)
    rest = 1 - scores.sum(axis=1, keepdims=True)
    first, second = np.log(np.maximum(scores, 1e-9) / np.maximum(rest, 1e-9)).T
    columns = [first, second, first * first, first * second, second * second]
    return np.stack(columns, axis=1).astype(np.float32)


def dataset(folder: Path, train: tuple[Scores, Scores], signals: tuple[str, ...]) -> Path:
    """Write the events as ntuples, backgrounds together, and their configuration; return its folder."""
    import uproot

    names = [f"score_{number}" for number in range(features(train[0]["signal1"][:1]).shape[1])]
    scores, weights = train
    of_background = [name for name in scores if name not in signals]
    joined = {name: scores[name] for name in signals}
    joined["background"] = np.concatenate([scores[name] for name in of_background])
    weight = {name: weights[name] for name in signals}
    weight["background"] = np.concatenate([weights[name] for name in of_background])
    trees = dict(joined)
    for direction, sign in (("up", 1), ("down", -1)):
        trees[f"background_scale_{direction}"] = moved(joined["background"], sign)
    with uproot.recreate(folder / "events.root") as file:
        for tree, values in trees.items():
            columns = {name: features(values)[:, column] for column, name in enumerate(names)}
            sample = tree.partition("_")[0]
            ids = np.arange(len(values)) + 10**6 * list(joined).index(sample)
            file[tree] = {**columns, "weight": weight[sample], "event": ids}
    roles = {name: {"role": "signal"} for name in signals} | {"background": {"role": "background"}}
    for name in signals[1:]:
        roles[name]["poi"] = f"mu_{name}"
    (folder / "dataset").mkdir()
    text = DATASET.format(path=folder / "events.root", features=names, samples=roles)
    (folder / "dataset" / "gato.yaml").write_text(text, encoding="utf-8")
    return folder


def ours(folder: Path, n_bins: int, seed: int, test: Scores, *, systematic: bool) -> Scores:
    """Train the bins on the events in a folder, and return those of other events."""
    import inferno_cli
    from inferno_cli.training.evaluation import Likelihoods
    from inferno_cli.training.trainer import train

    n_scores = test["signal1"].shape[1]
    if n_scores == 1:
        model = ["model=external", "model.edges=learnt", "model.features=[score_0]"]
        model += [f"model/objective={'p0' if systematic else 'z_asimov'}"]
        model += ["trainer.max_epochs=60", "model.batch_size=200000"]
    else:
        n_features = features(test["signal1"][:1]).shape[1]
        model = ["model=inferno", "model/network=external", f"model.features={n_features}", "model.network.hidden=[32]"]
        model += ["model/objective=log_variances", "model.warm_up=0.1", "model.batch_size=20000"]
        model += ["trainer.max_epochs=120", "trainer.schedule=cosine"]
    overrides = [
        "dataset=gato",
        f"nuisance={'every' if systematic else 'none'}",
        *model,
        f"model.bins={n_bins}",
        f"seed={seed}",
        f"model.learning_rate={0.01 if n_scores == 1 else 0.02}",
        "trainer.progress=none",
        "likelihood.staterror=false",
        "binning.min_yield=0.1",
        "binning.merge_noise=false",
        "binning.min_effective_events=1",
    ]
    config = inferno_cli.compose(*overrides, config_dir=folder)
    parts = config.model.network, config.model.summary, config.model.objective
    likelihoods, events = Likelihoods.from_config(config), inferno_cli.load_events(config)
    with tempfile.TemporaryDirectory() as place:
        trained = train(*parts, likelihoods, events, config.trainer, seed=seed, folder=Path(place))
    observable = trained.networks.only
    return {name: observable.network_bins(features(values)) for name, values in test.items()}


# ----------------------------------------------------------------------------------------------------- the table
def compare(n_scores: int, n_bins: int, options: argparse.Namespace) -> list[str]:
    """Return a row of each method."""
    signals, train, (test, weights) = SIGNALS[n_scores], toy(n_scores, 42, TRAIN), toy(n_scores, 43, TEST)
    every = dict(test)
    for name, values in test.items():
        if name not in signals:
            every |= {f"{name}_up": moved(values, 1), f"{name}_down": moved(values, -1)}
    methods: dict[str, list[Scores]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = dataset(Path(place), train, signals)
        for seed in options.seeds:
            for kind in (("mixture", "sigmoids") if n_scores == 1 else ("mixture",)) if options.python else ():
                made = of_gato(options, kind, n_bins, seed, train, every)
                methods.setdefault(f"gato-hep, {kind}", []).append(made)
            for systematic in (False, True):
                made = ours(folder, n_bins, seed, every, systematic=systematic)
                methods.setdefault(f"ours{', trained with the systematic' if systematic else ''}", []).append(made)
    rows = []
    for method, several in methods.items():
        cells = [f"{n_scores}", f"{n_bins}", method]
        for profiled in (False, True):
            values = []
            for bins in several:
                yields = filled(bins, weights, n_bins, signals)
                values.append(mean(significances(yields, signals, profiled=profiled)))
            cells.append(f"{statistics.median(values):.4f} ({max(values):.4f})")
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


def importable(python: str) -> str | None:
    """Return the version of gato-hep in the environment of a Python; None: it is not there."""
    text = "import gatohep; from importlib.metadata import version; print(version('gato-hep'))"
    done = subprocess.run([python, "-c", text], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> None:
    """Read the arguments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", default=sys.executable, help="Python of an environment with gato-hep")
    parser.add_argument("--toys", type=int, nargs="+", choices=(1, 3), default=[1, 3], help="numbers of scores")
    parser.add_argument("--bins", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--keep", type=Path, help="folder in which bins of gato-hep are kept, and taken from")
    parser.add_argument("--gato", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gato:
        gato(options.gato)
        return
    version = importable(options.python)
    print(f"gato-hep {version}" if version else f"gato-hep is not installed for {options.python}: ours alone")
    options.python = options.python if version else None
    print("| scores | bins | | significance | with the systematic |\n|---|---|---|---|---|", flush=True)
    for n_scores in options.toys:
        for n_bins in options.bins:
            compare(n_scores, n_bins, options)


if __name__ == "__main__":
    main()
