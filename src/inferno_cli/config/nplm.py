"""The configuration of ``inferno nplm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from inferno_cli.choices import any_of
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import closest
from inferno_cli.events.dataset import Request
from inferno_cli.nplm.models import Alternative
from inferno_cli.section import Finite, Names, Paths, Positive, Section, Texts

if TYPE_CHECKING:
    AnyAlternative = Alternative
else:
    AnyAlternative = any_of("inferno_cli.nplm.models", Alternative)

OBSERVED = "observed"
Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class ShapeExpansion(Section):
    """How ln r of a shape is expanded in its nuisance parameter."""

    order: Annotated[int, Field(ge=1, le=3)]
    """Largest power of the parameter: 2 is delta_1(x) nu + delta_2(x) nu^2."""
    values: Annotated[tuple[Finite, ...], Field(min_length=1)]
    """Values of the parameter, in units of sigma, that are compared with 0; those simulated where no others can be."""
    hidden: Units
    """Units of the hidden layers of each delta."""
    events: Annotated[int, Field(ge=100)]
    """At most so many simulated events are used."""

    @model_validator(mode="after")
    def _not_nominal(self) -> Self:
        if 0.0 in self.values or len(set(self.values)) < len(self.values):
            raise ValueError("values: each must be another number, and 0 is the nominal one; leave it out")
        return self


class Injection(Section):
    """A signal that is added to toys."""

    sample: str
    """Its sample."""
    events: Positive | None = None
    """Expected events; null: what the dataset expects of it."""


class Nplm(Section):
    """The New Physics Learning Machine."""

    reference: Texts
    """Samples of the reference, one or a list; none: all backgrounds."""
    data: str | None
    """What is tested: `observed`, a sample of the dataset, or null: toys alone."""
    calibration: str | None
    """Folder of a finished `inferno nplm` whose tuned clip, null distribution and validation are taken."""
    features: Names | None
    """Features that the test sees; null: all of the dataset. The others are shown reweighted."""
    model: AnyAlternative
    """What f is."""
    ratio: Positive
    """Events of the reference for each that is expected in the data; fewer where the pool has fewer."""
    toys: Annotated[int, Field(ge=10)]
    """Toys of the null distribution, and of each other ensemble."""
    toys_tuning: Annotated[int, Field(ge=10)]
    """Toys for each clip that is tried."""
    toys_at_once: Annotated[int, Field(ge=1)]
    """Toys that are fitted as one stack."""
    restarts: Annotated[int, Field(ge=1)]
    """Fits of each toy, of which the lowest minimum counts."""
    shape: ShapeExpansion
    validate_at: tuple[Finite, ...] = Field(alias="validate")
    """True values of each nuisance parameter, in units of sigma, at which t must not differ."""
    inject: Injection | None
    """A signal, whose median significance is found."""
    compare_with: Paths = ()
    """Finished runs of `inferno train` with the same signal, whose expected significance stands beside that of t."""


class NplmConfig(TrainConfig):
    """``inferno nplm``: a test of data against a reference, without a model of the signal."""

    nplm: Nplm

    def require_divisible(self) -> None:
        """There are toys to divide, whatever the settings."""

    @property
    def reference_samples(self) -> Names:
        """Samples of the reference."""
        if self.nplm.reference:
            return self.nplm.reference
        return tuple(name for name in self.sample_names if name not in self.signal_names)

    @property
    def data_sample(self) -> str | None:
        """The sample that is tested; None: observed data, or toys alone."""
        return None if self.nplm.data == OBSERVED else self.nplm.data

    @property
    def compares_samples(self) -> bool:
        """Whether two samples are compared, whose yields say nothing."""
        return self.data_sample is not None

    @property
    def seen_features(self) -> Names:
        """Features that the test sees."""
        return self.dataset.features if self.nplm.features is None else self.nplm.features

    @property
    def request(self) -> Request:
        """What the test needs of the dataset."""
        names = dict.fromkeys(self.reference_samples)
        if self.data_sample is not None:
            names[self.data_sample] = None
        if self.nplm.inject is not None:
            names[self.nplm.inject.sample] = None
        effects = []
        for effect in self.effects(self.nuisance.fit):
            if effect.sample in names:
                effects.append(effect)
        return Request(tuple(names), tuple(effects), self.data_seed)

    @model_validator(mode="after")
    def _known(self) -> Self:
        samples = self.dataset.sample_names
        named = {"reference": self.reference_samples, "data": (self.data_sample,) if self.data_sample else ()}
        if self.nplm.inject is not None:
            named["inject.sample"] = (self.nplm.inject.sample,)
        for key, names in named.items():
            for name in names:
                if name not in samples:
                    raise ValueError(f"nplm.{key}: unknown sample {name!r}{closest(name, samples)}")
        if not self.reference_samples:
            raise ValueError("nplm.reference: no sample is named")
        if self.data_sample in self.reference_samples:
            raise ValueError(f"nplm.data: {self.data_sample!r} is in the reference; name another sample")
        for name in self.seen_features:
            if name not in self.dataset.features:
                raise ValueError(f"nplm.features: unknown feature {name!r}{closest(name, self.dataset.features)}")
        if self.nplm.data == OBSERVED:
            self._require_calibrated()
        return self

    def _require_calibrated(self) -> None:
        """Observed data are tested last: with a null distribution, and when somebody has asked for them."""
        if not self.dataset.has_observed:
            raise ValueError("nplm.data is 'observed', but no sample of the dataset has the role 'data'")
        if self.is_blind:
            raise ValueError("nplm.data is 'observed', and observed data are blinded; set unblind=true")
        if self.nplm.calibration is None:
            raise ValueError(
                "nplm.data is 'observed', and there is no null distribution yet; run the same command without "
                "data=observed first, look at its validation, and name its folder: nplm.calibration=FOLDER"
            )
