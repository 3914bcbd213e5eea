"""The optimal classifier of the synthetic mixture, from its exact densities: nothing is trained."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from inferno_cli.config import Measurement, TrainConfig
from inferno_cli.errors import SingularInformationError
from inferno_cli.events import Events
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.epochs import CHECKPOINT, Epoch, Training
from inferno_cli.training.evaluation import evaluate, judge, outputs
from inferno_cli.training.modules import Optimal, create
from inferno_cli.training.network import Quadratic


def exact(config: TrainConfig, events: Events, folder: Path) -> Training:
    """Return the optimal classifier in the place of a trained one.

    Signal and background count half each, as in the training of BCE: the score is f_s / (f_s + f_b). One epoch is
    recorded, whose loss is the cross-entropy of the validation split: the smallest that any classifier can have.

    Args:
        config: The whole configuration.
        events: Events of the three splits.
        folder: Where the checkpoint goes.

    Raises:
        SingularInformationError: If the bins of the validation split cannot constrain the parameters.
    """
    start = time.perf_counter()
    ratio = config.dataset.exact_classifier()
    assert ratio is not None
    measurement = Measurement.from_config(config, config.nuisance.train)
    samples = [sample.only(measurement.variations) for sample in events.validation]
    module = create(config.model, config.trainer, measurement, samples, events.template)
    assert isinstance(module, Optimal)
    layer = module.network[0]
    assert isinstance(layer, Quadratic)
    layer.square.copy_(torch.as_tensor(ratio.square))
    layer.linear.copy_(torch.as_tensor(ratio.linear))
    layer.constant.copy_(torch.as_tensor([ratio.constant], dtype=torch.float64))

    fitted = Measurement.from_config(config, config.nuisance.fit)
    evaluation = evaluate(module, events.validation, config.binning, fitted)
    if not math.isfinite(evaluation.hard):
        raise SingularInformationError(
            f"the bins of the optimal classifier cannot constrain {', '.join(measurement.parameters)} on the "
            "validation split. Use more bins, more events, or lower binning.min_effective_events"
        )
    batch = to_tensors(samples, "cpu")
    loss = float(module.loss(batch, [outputs(module, features) for features, _ in batch]))
    epoch = Epoch(0, loss, evaluation)
    path = folder / CHECKPOINT.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 0, "state_dict": module.state_dict()}, path)
    return Training(module, (epoch,), epoch, judge(module, config, events), path, time.perf_counter() - start)
