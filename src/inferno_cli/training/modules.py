"""The Lightning modules: one small base, and what BCE and INFERNO make of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from inferno_cli.config import Measurement, Model, Morph, TrainConfig, Trainer
from inferno_cli.events import DIRECTIONS, NOMINAL, Sample, Variation
from inferno_cli.histograms import envelope, morphed
from inferno_cli.likelihood import Expectation, build, expectation, poi_variance
from inferno_cli.training.batches import Batch, StratifiedBatches
from inferno_cli.training.network import Quadratic, Standardise, mlp, moments


@dataclass(frozen=True)
class Stratum:
    """What the loss knows of one sample apart from its events.

    Attributes:
        name: Name of the sample.
        is_signal: Whether the POI scales it.
        variations: Nominal first.
        view: The feature block of each variation.
        yields: Expected events of each variation, from the full sample.
        effective_events: Effective events of the split whose templates are fitted: the size of its staterror.
    """

    name: str
    is_signal: bool
    variations: tuple[Variation, ...]
    view: tuple[int, ...]
    yields: tuple[float, ...]
    effective_events: float

    @classmethod
    def of(cls, sample: Sample, effective_events: float) -> Stratum:
        """Describe a sample."""
        return cls(
            sample.name,
            sample.is_signal,
            sample.variations,
            sample.view,
            tuple(sample.yields.tolist()),
            effective_events,
        )


SPREAD = 3.0
SPREAD_EVENTS = 10_000


class SummaryModule(pl.LightningModule, ABC):
    """A network that sorts events into bins, softly for the gradient and hard for the histogram."""

    n_outputs: int
    ordered: bool
    """Whether the bins have an order of their own."""

    def __init__(
        self,
        model: Model,
        trainer: Trainer,
        measurement: Measurement,
        strata: Sequence[Stratum],
        mean: Tensor,
        deviation: Tensor,
    ) -> None:
        super().__init__()
        self.model, self.settings, self.measurement, self.strata = model, trainer, measurement, tuple(strata)
        self.network = self.build(mean, deviation)

    def build(self, mean: Tensor, deviation: Tensor) -> nn.Sequential:
        """Return the network, for features of this mean and standard deviation."""
        outputs = 1 if self.ordered else self.model.bins
        return mlp(mean, deviation, self.model.hidden, outputs, self.model.activation)

    @abstractmethod
    def soft(self, logits: Tensor) -> Tensor:
        """Membership of each bin, shape (..., n_bins), float64, rows sum to 1."""

    @abstractmethod
    def hard(self, logits: Tensor) -> Tensor:
        """Bin of each event, shape (...)."""

    def response(self, logits: Tensor) -> Tensor:
        """What is told of each event beside its bin, shape (..., n), float64."""
        return self.soft(logits)

    @abstractmethod
    def loss(self, batch: Batch, logits: list[Tensor]) -> Tensor:
        """Loss of a batch, given the network's outputs for each sample, shape (n_views, n_events, n_outputs)."""

    @property
    def warming_up(self) -> bool:
        """Whether the epoch prepares the network and its bins mean nothing yet."""
        return False

    def views(self, batch: Batch) -> list[Tensor]:
        """The feature blocks that the loss needs, by sample."""
        return [features for features, _ in batch]

    def smeared(self, blocks: list[Tensor]) -> list[Tensor]:
        """Blocks of features with noise, the same for all views of an event: what a systematic changes stays."""
        if not self.model.input_noise:
            return blocks
        standardise = self.network[0]
        assert isinstance(standardise, Standardise)
        width = self.model.input_noise * standardise.deviation
        return [block + width * torch.randn_like(block[0]) for block in blocks]

    def forward_together(self, network: nn.Module, blocks: Sequence[Tensor]) -> list[Tensor]:
        """One forward pass over the blocks of all samples, each (n_views, n_events, n_features)."""
        flat = [block.flatten(0, 1) for block in blocks]
        outputs = network(torch.cat(flat)).split([len(block) for block in flat])
        return [output.unflatten(0, block.shape[:2]) for output, block in zip(outputs, blocks, strict=True)]

    def nominal_weights(self, batch: Batch) -> list[Tensor]:
        """Nominal weights of a batch, scaled to the expected yields of the samples."""
        return [
            weights[0] * (stratum.yields[0] / weights[0].sum())
            for stratum, (_, weights) in zip(self.strata, batch, strict=True)
        ]

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002
        """One forward pass over nominal and varied events of all samples together."""
        loss = self.loss(batch, self.forward_together(self.network, self.smeared(self.views(batch))))
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with the configured schedule."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.model.learning_rate, weight_decay=self.model.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        if self.settings.schedule == "cosine":
            schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        elif self.settings.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.model.learning_rate, steps)
        else:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def soft_channel(self, batch: Batch, memberships: Sequence[Tensor]) -> Expectation:
        """Build the likelihood of the soft templates of a batch, scaled to the expected yields.

        Args:
            batch: Weights of the events, shape (n_variations, n_events) for each sample.
            memberships: Bin memberships, shape (n_views, n_events, n_bins) for each sample.
        """
        nominal, variance, varied = [], [], {}
        for stratum, (_, weights), membership in zip(self.strata, batch, memberships, strict=True):
            yields = weights.new_tensor(stratum.yields)
            scaled = weights * (yields / weights.sum(dim=1))[:, None]
            templates = {
                variation: scaled[row] @ membership[view]
                for row, (variation, view) in enumerate(zip(stratum.variations, stratum.view, strict=True))
            }
            nominal.append(templates[stratum.variations[0]])
            # The share of sum w^2 in each bin, at the size of the split whose templates are fitted.
            squares = weights[0].square()
            share = (squares @ membership[stratum.view[0]]) / squares.sum()
            variance.append(yields[0] ** 2 / stratum.effective_events * share)
            for parameter, by_sample in self.measurement.shapes.items():
                if (morph := by_sample.get(stratum.name)) is not None:
                    varied[parameter, stratum.name] = _soft_pair(morph, templates)
        return expectation(build(self.measurement, torch.stack(nominal), torch.stack(variance), varied))


def _soft_pair(morph: Morph, templates: Mapping[Variation, Tensor]) -> tuple[Tensor, Tensor]:
    """Templates up and down of one sample, at one standard deviation, shape (B,) each."""
    pairs = [
        tuple(morphed(morph, templates[NOMINAL], templates[Variation(label, direction)]) for direction in DIRECTIONS)
        for label in morph.members
    ]
    return pairs[0] if len(pairs) == 1 else envelope(templates[NOMINAL], pairs)


class Inferno(SummaryModule):
    """A tempered softmax over the bins, trained to minimise the variance of the POI in the fit.

    The hidden layers first learn to tell the samples apart, for the first epochs with cross-entropy: with few simulated
    events the gradient of the variance alone finds poorer features. The bins themselves are trained on the variance.
    """

    ordered = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        self.classifier = nn.Linear(last.in_features, len(self.measurement.samples))
        self.warm_up_epochs = int(self.model.warm_up * self.settings.max_epochs)

    @property
    def warming_up(self) -> bool:
        """Whether the hidden layers are being prepared."""
        return self.trainer.current_epoch < self.warm_up_epochs

    def on_train_epoch_start(self) -> None:
        """Place the bins once the hidden layers are prepared."""
        if self.trainer.current_epoch == self.warm_up_epochs:
            batches = self.trainer.train_dataloader
            assert isinstance(batches, StratifiedBatches)
            self.spread(batches.nominal_features(SPREAD_EVENTS))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Cross-entropy of the samples in the warm-up, then the variance."""
        if not self.warming_up:
            return super().training_step(batch, batch_index)
        trunk = nn.Sequential(self.network[:-1], self.classifier)
        nominal = self.smeared([features[:1] for features, _ in batch])
        logits = torch.cat([x[0] for x in self.forward_together(trunk, nominal)])
        labels = torch.cat([weights.new_full(weights.shape[1:], i).long() for i, (_, weights) in enumerate(batch)])
        weight = torch.cat(self.nominal_weights(batch))
        loss = (weight * nn.functional.cross_entropy(logits.double(), labels, reduction="none")).sum() / weight.sum()
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def soft(self, logits: Tensor) -> Tensor:
        """Tempered softmax."""
        return torch.softmax(logits.double() / self.model.temperature, dim=-1)

    def hard(self, logits: Tensor) -> Tensor:
        """The bin with the largest membership."""
        return logits.argmax(dim=-1)

    @torch.no_grad()
    def spread(self, features: Tensor) -> None:
        """Scale the last layer to the data, so that every bin starts with a share of the events.

        From the usual initialisation most bins win no event, and with a small temperature no gradient brings them
        back. Here every output has mean 0 and a standard deviation of ``SPREAD`` temperatures over the events.
        """
        outputs = self.network(features)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        factor = SPREAD * self.model.temperature / outputs.std(dim=0)
        last.weight *= factor[:, None]
        last.bias.copy_((last.bias - outputs.mean(dim=0)) * factor)

    def loss(self, batch: Batch, logits: list[Tensor]) -> Tensor:
        """Logarithm of poi_variance: the same minimum, and steps that do not depend on the size of the error."""
        channel = self.soft_channel(batch, [self.soft(output) for output in logits])
        loss: Tensor = poi_variance(channel).log()
        return loss


class Bce(SummaryModule):
    """A classifier with binary cross-entropy, its output histogrammed in equal bins."""

    ordered = True

    def soft(self, logits: Tensor) -> Tensor:
        """Bins with smooth edges: what falls into a bin after smearing the output by a share of the bin width."""
        score = torch.sigmoid(logits[..., 0].double())
        edges = torch.arange(1, self.model.bins, dtype=score.dtype, device=score.device) / self.model.bins
        above = torch.sigmoid((score[..., None] - edges) * self.model.bins / self.model.temperature)
        ones, zeros = torch.ones_like(score)[..., None], torch.zeros_like(score)[..., None]
        return torch.cat([ones, above], dim=-1) - torch.cat([above, zeros], dim=-1)

    def hard(self, logits: Tensor) -> Tensor:
        """Equal bins of the sigmoid."""
        score = torch.sigmoid(logits[..., 0].double())
        return (score * self.model.bins).long().clamp_max(self.model.bins - 1)

    def response(self, logits: Tensor) -> Tensor:
        """The sigmoid."""
        return torch.sigmoid(logits.double())

    def views(self, batch: Batch) -> list[Tensor]:
        """The nominal events alone: the classifier knows of no systematics."""
        return [features[:1] for features, _ in batch]

    def loss(self, batch: Batch, logits: list[Tensor]) -> Tensor:
        """Weighted cross-entropy; signal and background count half each."""
        weights = self.nominal_weights(batch)
        total = weights[0].new_zeros(())
        for label in (True, False):
            chosen = [i for i, stratum in enumerate(self.strata) if stratum.is_signal == label]
            weight = torch.cat([weights[i] for i in chosen])
            output = torch.cat([logits[i][0, :, 0] for i in chosen]).double()
            cost = nn.functional.softplus(-output if label else output)
            total = total + 0.5 * (weight * cost).sum() / weight.sum()
        return total


class Optimal(Bce):
    """The Bayes-optimal classifier of known densities: what BCE would be with endless events and training."""

    def build(self, mean: Tensor, deviation: Tensor) -> nn.Sequential:  # noqa: ARG002
        """Return a polynomial, whose coefficients ``training.optimal`` fills in."""
        return nn.Sequential(Quadratic(len(mean)))


KINDS: dict[str, type[SummaryModule]] = {"bce": Bce, "inferno": Inferno, "optimal": Optimal}


def create(
    model: Model,
    trainer: Trainer,
    measurement: Measurement,
    train: Sequence[Sample],
    template: Sequence[Sample],
) -> SummaryModule:
    """Create the module of a configuration, standardised on the training split.

    Args:
        model: The network and its summary.
        trainer: Schedule of the training.
        measurement: The likelihood that is trained on.
        train: Training split.
        template: Template split, for the size of its statistical errors.
    """
    features = [torch.from_numpy(sample.features[0][sample.weights[0] != 0]) for sample in train]
    mean, deviation = moments(features)
    strata = [Stratum.of(x, y.effective_events) for x, y in zip(train, template, strict=True)]
    return KINDS[model.kind](model, trainer, measurement, strata, mean, deviation)


def restore(config: TrainConfig, state: Mapping[str, Tensor]) -> SummaryModule:
    """Create the trained module of a finished run, to be applied: it knows no events, so it cannot be trained further.

    Args:
        config: The configuration of the run.
        state: The weights, with the moments of the features among them.
    """
    measurement = Measurement.from_config(config, config.nuisance.train)
    mean = state["network.0.linear" if config.model.kind == "optimal" else "network.0.mean"]
    module = KINDS[config.model.kind](config.model, config.trainer, measurement, (), mean, torch.ones_like(mean))
    module.load_state_dict(state)
    return module
