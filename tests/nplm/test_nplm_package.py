"""Our t beside that of the authors' package (pip install NPLM==0.0.6 tensorflow-cpu==2.15.1), on the same toy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.statistic import Data, Stack, statistics
from inferno_cli.nplm.taylor import Taylor

IS_THERE = all(importlib.util.find_spec(name) for name in ("NPLM", "tensorflow"))
CLIP, EPOCHS = 3.0, 40_000


def toy() -> Data:
    """300 expected events, and a peak."""
    rng = np.random.default_rng(20)
    n_data = rng.poisson(300)
    data = np.concatenate([rng.exponential(size=(n_data, 1)), rng.normal(4, 0.2, size=(12, 1))])
    return Data(data - 1, rng.exponential(size=(1500, 1)) - 1, np.full(1500, 0.2), np.zeros(0))


def ours(data: Data) -> list[float]:
    """Return t of eight starts."""
    network, taylor = Perceptron((1, 4, 1), CLIP), Taylor([])
    found = []
    for seed in range(8):
        start = network.start(np.random.default_rng([3, seed]))[None, None]
        found.append(float(statistics(Stack.of([data], taylor, "cpu"), taylor, network, start).t[0]))
    return found


def test_the_lowest_minimum_is_that_of_the_package_when_it_was_run() -> None:
    """The package gave 22.273 on this toy, with 40 000 epochs."""
    assert max(ours(toy())) == pytest.approx(22.273, abs=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not IS_THERE, reason="the package NPLM or TensorFlow is not installed")
def test_t_is_that_of_the_package() -> None:
    import tensorflow as tf
    from NPLM.NNutils import imperfect_loss, imperfect_model

    data = toy()
    is_data = np.arange(len(data.data) + len(data.reference)) < len(data.data)
    weights = np.concatenate([np.ones(len(data.data)), data.weights])
    nothing = {name: [] for name in ("NU_S", "NUR_S", "NU0_S", "SIGMA_S", "shape_dictionary_list")}
    nothing |= dict.fromkeys(("NU_N", "NUR_N", "NU0_N", "SIGMA_N"), 0)
    imperfect_model.add_metric = lambda *_, **__: None  # what it monitors is an error to this Keras
    tf.random.set_seed(1)
    model = imperfect_model(
        (None, 1), **nothing, BSMarchitecture=[1, 4, 1], BSMweight_clipping=CLIP, train_f=True, train_nu=False
    )
    model.compile(loss=imperfect_loss, optimizer="adam")
    x = tf.constant(np.concatenate([data.data, data.reference]), tf.float32)
    target = tf.constant(np.stack([is_data, weights], axis=1), tf.float32)
    history = model.fit(x, target, batch_size=len(weights), epochs=EPOCHS, verbose=0).history["loss"]
    # Its noise: what t still changes by in the last tenth of the epochs, and which minimum it has found.
    noise = 2 * np.ptp(history[-EPOCHS // 10 :]) + 0.1
    assert min(abs(t + 2 * history[-1]) for t in ours(data)) < noise
