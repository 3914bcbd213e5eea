"""The configuration of `inferno anomaly`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from inferno_cli.anomaly.outputs import Output, as_output
from inferno_cli.choices import any_of
from inferno_cli.config.steps import FolderStep, TrainConfig
from inferno_cli.errors import closest
from inferno_cli.section import Fraction, NonNegative, Section

if TYPE_CHECKING:
    AnyOutput = Output
else:
    AnyOutput = Annotated[any_of("inferno_cli.anomaly.outputs", Output), BeforeValidator(as_output)]


class Vae(Section):
    """A variational autoencoder."""

    latent: Annotated[int, Field(ge=1)]
    """Latent variables."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    """Units of each hidden layer of the encoder; the decoder has them in the other order."""
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"]
    """Activation function of the hidden layers."""
    beta: NonNegative
    """Weight of the divergence of the posterior from the prior in the loss, and in the score."""
    prior: Literal["learned", "standard"]
    """Prior of the latent variables: normal, with means and widths that are trained, or standard."""
    outputs: dict[str, AnyOutput] = Field(default_factory=dict)
    """Density of a feature by its name: a kind, or a mapping with the kind and its keys."""
    other_outputs: AnyOutput
    """Density of every other feature."""

    def of(self, feature: str) -> Output:
        """Return the density of a feature."""
        return self.outputs.get(feature, self.other_outputs)


class AnomalyConfig(TrainConfig):
    """``inferno anomaly``: how unlike the backgrounds an event is, learnt from the backgrounds alone."""

    vae: Vae
    compare_with: str | None
    """A finished run of a classifier on the same dataset, evaluated on the same events; null: none."""
    background_rates: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    """Shares of the background that pass a cut on the score, at which efficiency and significance are given."""
    replicas: Annotated[int, Field(ge=10)]
    """Bootstrap replicas of the events, from which the statistical errors are."""
    merit: Literal["elbo", "loss"]
    """What a search minimises, on the validation split: -ELBO, comparable between all beta, or the loss."""

    def require_divisible(self) -> None:
        """Raise ValueError: there are no trainings to divide."""
        FolderStep.require_divisible(self)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.vae.outputs:
            if name not in self.dataset.features:
                near = closest(name, self.dataset.features)
                raise ValueError(f"vae.outputs: the dataset has no feature {name!r}{near}")
        if self.dataset.n_folds > 1:
            raise ValueError(
                "dataset.splits: the score is of one network, and folds have one each; name the shares of three "
                "splits, 'dataset.splits={train: 0.4, validation: 0.2, template: 0.4}'"
            )
        for key in ("trained_in", "reuse", "coverage", "study"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: `inferno anomaly` has no use for it; leave it out")
        self.trainer.require_one()
        return self
