"""The whole test: expansions, clip, null distribution, validation, injection, data."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferno_cli.code import code_digest
from inferno_cli.config.nplm import OBSERVED, NplmConfig
from inferno_cli.errors import RunError
from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.events.validation import Validated
from inferno_cli.files import user_path
from inferno_cli.nplm.distribution import middle, significance
from inferno_cli.nplm.models import Alternative, Exponent
from inferno_cli.nplm.nuisances import check_order, expansion
from inferno_cli.nplm.pool import Pool, WeightedEvents, pool
from inferno_cli.nplm.record import DEPENDS, Compared, Ensemble, Expanded, Record, Tail
from inferno_cli.nplm.standard import Standard
from inferno_cli.nplm.statistic import Data, Statistics
from inferno_cli.nplm.taylor import Taylor
from inferno_cli.nplm.toys import NULL, Drawing, LearningTest, Toys, Truth
from inferno_cli.nplm.tuning import Tuning, tune
from inferno_cli.shard import Shard

log = logging.getLogger(__name__)

FEW = 20.0
"""Effective events of the pool for each expected one, below which toys share so many events that a note says so."""

VERSION = 2
"""Of the null distribution: another where the same toys have another t, or are others, than before.

2: references with more of the events that shapes enlarge, features of f standardised with the nuisance parameters.
"""

AT_ONCE = 100_000
"""Events of the pool whose expansion is calculated together."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One set of data that is drawn, with what the fit makes of its reference.

    Attributes:
        name: What the data are.
        data: All features of its events, shape (n_data, n_features).
        reference: All features of the reference, shape (n_reference, n_features).
        weights: Of the reference: as it is, with the fitted nuisance parameters, and times exp(f) as well, shape
            (3, n_reference).
    """

    name: str
    data: NDArray[np.float32]
    reference: NDArray[np.float32]
    weights: FloatArray


@dataclass(frozen=True)
class Result:
    """The record, and a set of data to be drawn where there is one."""

    record: Record
    shown: Shown | None


class Analysis:
    """One test, from the samples of a dataset."""

    def __init__(self, config: NplmConfig, events: Validated, folder: Path, device: str) -> None:
        """Take the configuration, every event of the dataset, where finished toys are kept, and where to calculate."""
        self.config, self.settings, self.events, self._folder = config, config.nplm, events, folder
        self._samples = {sample.events.name: sample.events for sample in events.samples}
        self.notes: list[str] = []
        self.seed = config.data_seed
        self.device = device
        self.before = None if self.settings.calibration is None else Record.load(user_path(self.settings.calibration))

    # ------------------------------------------------------------------------------------------------ what is drawn
    @cached_property
    def pool(self) -> Pool:
        """Events of the reference."""
        samples = [self._samples[name] for name in self.config.reference_samples]
        made = pool(self.config.dataset, samples, self.config.request)
        made.nominal.require_positive(f"nplm.reference ({', '.join(self.config.reference_samples)})")
        return made

    @cached_property
    def standard(self) -> Standard:
        """How features are standardised."""
        names = self.config.dataset.features
        return Standard.of(self.pool.nominal, names, [names.index(name) for name in self.config.seen_features])

    @cached_property
    def tested(self) -> NDArray[np.float32] | None:
        """Features of the data that are tested, or None."""
        if self.settings.data == OBSERVED:
            return self.events.observed
        if self.config.data_sample is None:
            return None
        return unweighted(self._events(self.config.data_sample, "nplm.data"), generator(self.seed, "nplm unweighted"))

    @cached_property
    def drawing(self) -> Drawing:
        """How toys are drawn."""
        signal = None if self.settings.inject is None else self._events(self.settings.inject.sample, "nplm.inject")
        fixed = len(self.tested) if self.config.compares_samples and self.tested is not None else None
        made = Drawing(self.pool, signal, self.standard, self.seed, None, fixed)
        wanted = round(self.settings.ratio * made.expected)
        n_pool = len(self.pool.nominal.weights)
        self._note_pool(made.expected)
        if wanted + made.expected > n_pool:
            self.notes.append(f"the reference has all {n_pool} events that are not in the data, not {wanted}")
            return made
        return replace(made, n_reference=wanted, envelope=self._envelope())

    def _envelope(self) -> FloatArray | None:
        """Return how often events are drawn for references; None: alike, as no parameter changes a shape."""
        import torch

        if not self.taylor.has_shapes:
            return None
        features, found = self.pool.nominal.features, []
        for first in range(0, len(features), AT_ONCE):
            x = torch.as_tensor(self.standard(features[first : first + AT_ONCE])[None], device=self.device)
            found.append(self.taylor.envelope(x)[0].cpu().numpy())
        return np.concatenate(found)

    def _note_pool(self, expected: float) -> None:
        weights = self.pool.nominal.weights
        effective = float(weights.sum() ** 2 / (weights**2).sum())
        if effective < FEW * expected:
            self.notes.append(
                f"the reference has {effective:.0f} effective events for {expected:.0f} expected ones: toys repeat "
                "events and share them, and their t is not that of independent data. Simulate more, or expect fewer "
                "events (dataset.downsample_factor)"
            )

    def _events(self, name: str, key: str) -> WeightedEvents:
        sample = self._samples[name]
        events = WeightedEvents(sample.features[0], sample.weights[0])
        events.require_positive(f"{key} ({name})")
        return events

    # ----------------------------------------------------------------------------------------------- what is fitted
    @cached_property
    def taylor(self) -> Taylor:
        """The change of the reference with the nuisance parameters."""
        shape, found = self.settings.shape, []
        for name in self.pool.parameters:
            log.info(f"expansion: {name}")
            made = expansion(
                self.pool,
                name,
                self.standard,
                shape.values,
                order=shape.order,
                hidden=shape.hidden,
                events=shape.events,
                seed=self.seed,
                device=self.device,
            )
            if not made.converged:
                self.notes.append(f"the fit of the expansion in {name} has not ended: it may be short of its minimum")
            found.append(made)
        return Taylor(found)

    def expanded(self) -> tuple[Expanded, ...]:
        """Return what the record says of the expansions."""
        found = []
        names = self.config.dataset.features
        for item in self.taylor.expansions:
            checks = check_order(self.pool, item.name, names) if item.constants is None else []
            found.append(Expanded(item.name, item.order, item.constants or (), tuple(checks)))
        return tuple(found)

    def exponent(self, alternative: Alternative) -> Exponent:
        """Return what f is."""
        rng = generator(self.seed, "nplm exponent")
        nominal = self.pool.nominal
        return alternative.build(self.standard(nominal.features[nominal.drawn(rng, 20_000)]), rng, self.device)

    def test(self, alternative: Alternative) -> LearningTest:
        """Return the test with one f."""
        exponent, label = self.exponent(alternative), alternative.model_dump_json()
        return LearningTest(self.taylor, exponent, label, self.settings.restarts, self.seed, self.device)

    @cached_property
    def toys(self) -> Toys:
        """Throws toys."""
        decides = [self.settings_digest, self.events.checksum, code_digest(), self.settings.toys_at_once]
        key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        return Toys(self.drawing, self._folder, key, self.settings.toys_at_once, self.config.trainer.progress)

    @cached_property
    def settings_digest(self) -> str:
        """Digest of what decides the null distribution: a calibration must have the same."""
        shown = self.settings.model_dump(mode="json", include={"features", "model", "ratio", "restarts", "shape"})
        effects = [
            repr(effect) for effect in self.config.request.effects if effect.sample in self.config.reference_samples
        ]
        drawn = [self.seed, self.drawing.fixed, self.drawing.expected]
        decides = [VERSION, shown, self.config.reference_samples, effects, *drawn]
        return hashlib.sha256(json.dumps(decides, default=str).encode()).hexdigest()[:20]

    # --------------------------------------------------------------------------------------------------- the stages
    def tuning(self) -> Tuning | None:
        """Return the clip; None: of a function that has none."""
        alternative, before = self.settings.model, self.before
        if before is not None and before.settings != self.settings_digest:
            raise RunError(
                f"nplm.calibration: {self.settings.calibration} is of another test (reference, features, model, "
                "nuisance parameters, seed, events, or version of the test). Repeat its command without nplm.data, "
                "with what is set here"
            )
        within = alternative.clip_to_tune
        if within is None:
            clip = getattr(alternative, "clip", None)
            return None if clip is None else Tuning(clip, (), is_met=True)
        if before is not None and before.clip is not None:
            return Tuning(before.clip, before.trials, is_met=True)
        degrees = self.exponent(alternative.clipped(within[0])).n_parameters - self.lost
        return tune(self._tuned, degrees, within)

    def _tuned(self, clip: float) -> FloatArray:
        """Return t of the toys of the tuning, which are the same for every clip."""
        test = self.test(self.settings.model.clipped(clip))
        name = f"clip {clip:g}" if self.settings.model.has_clip else "degrees of freedom"
        return self.toys(name, test, Truth("tuning"), self.settings.toys_tuning).t

    @property
    def lost(self) -> int:
        """Degrees of freedom that t has not: the yield, where data have as many events as the reference."""
        return 1 if self.config.compares_samples else 0

    def throw(self, shard: Shard) -> int:
        """Throw the toys of a shard, to where they are kept; return how many.

        What the others depend on, the clip, each shard finds for itself, from all toys of the tuning.
        """
        test = self.test(self._alternative(self.tuning()))
        if self.before is None and not self.settings.model.has_clip:
            self._tuned(0.0)
        number = self.settings.toys
        return sum(self.toys.throw(truth.name, test, truth, number, shard) for truth in self._truths())

    def _alternative(self, tuning: Tuning | None) -> Alternative:
        return self.settings.model if tuning is None else self.settings.model.clipped(tuning.clip)

    def _truths(self) -> list[Truth]:
        """Return what toys are drawn from, whose number ``nplm.toys`` says."""
        found = [] if self.before is not None else [NULL, *(truth for _, _, truth in self._moved())]
        return found if self._signal is None else [*found, self._signal]

    def _moved(self) -> list[tuple[str, float, Truth]]:
        """Return the parameters, with their values, that are moved in the validation."""
        found = []
        for name in self.pool.parameters:
            for value in self.pool.values(name, self.settings.validate_at):
                found.append((name, value, Truth(f"{name} {value:+g}", ((name, value),))))
        return found

    @property
    def _signal(self) -> Truth | None:
        """What is injected, or None."""
        settings, signal = self.settings.inject, self.drawing.signal
        if settings is None or signal is None:
            return None
        events = signal.expected if settings.events is None else settings.events
        return Truth(f"{events:g} events of {settings.sample}", signal=events)

    def run(self, compared: Sequence[Compared], code_version: str, timing: dict[str, float]) -> Result:
        """Do everything; ``compared`` are finished runs that stand beside the test."""
        tuning = self.tuning()
        alternative = self._alternative(tuning)
        if tuning is not None and not tuning.is_met:
            self.notes.append(
                f"no clip in {self.settings.model.clip_to_tune} has the median of chi2: p-values are by toys"
            )
        test = self.test(alternative)
        null, degrees = self._null(test)
        if not null.follows_chi2:
            self.notes.append(
                f"t of the null toys does not follow chi2 with {degrees:g} degrees of freedom (KS p = {null.ks:.3g}): "
                "take the p-values by toys"
            )
        validation = self.before.validation if self.before is not None else tuple(self._validation(test, degrees, null))
        for item in validation:
            if item.same < DEPENDS:
                self.notes.append(
                    f"t depends on {item.parameter}: toys at {item.value:+g} differ from the null toys (KS p = "
                    f"{item.same:.2g}). Raise nplm.ratio or nplm.shape.order, or give its networks more units or events"
                )
        values = np.array(null.t)
        injected, shown = self._injected(test, values, degrees)
        tested, of_data = self._tested(test, values, degrees)
        record = Record(
            dataset=self.config.dataset.name,
            label=self.events.label,
            reference=self.config.reference_samples,
            features=self.config.seen_features,
            expected=self.drawing.expected,
            n_reference=self.drawing.n_reference or len(self.pool.nominal.weights),
            n_pool=len(self.pool.nominal.weights),
            model=self.settings.model.kind,
            parameters=test.exponent.n_parameters,
            degrees=degrees,
            is_fitted=not alternative.has_clip,
            clip=None if tuning is None else tuning.clip,
            trials=() if tuning is None else tuning.trials,
            null=null,
            validation=validation,
            expansions=self.expanded(),
            injected=injected,
            tested=tested,
            compared=tuple(compared),
            notes=tuple(self.notes),
            seed=self.seed,
            dataset_checksum=self.events.checksum,
            code_version=code_version,
            settings=self.settings_digest,
            timing=timing,
        )
        return Result(record, of_data or shown)

    def _null(self, test: LearningTest) -> tuple[Ensemble, float]:
        """Return the null distribution, and the degrees of freedom of its chi2."""
        if self.before is not None:
            return self.before.null, self.before.degrees
        found = self.toys("null", test, NULL, self.settings.toys)
        degrees = float(test.exponent.n_parameters - self.lost)
        if not self.settings.model.has_clip:
            # The mean of other toys: those that are compared with chi2 must not choose it.
            degrees = float(self._tuned(0.0).mean())
        return Ensemble.of("null", "", 0.0, found, degrees), degrees

    def _validation(self, test: LearningTest, degrees: float, null: Ensemble) -> list[Ensemble]:
        found = []
        for name, value, truth in self._moved():
            toys = self.toys(truth.name, test, truth, self.settings.toys)
            found.append(Ensemble.of(truth.name, name, value, toys, degrees, null.t))
        return found

    def _injected(self, test: LearningTest, null: FloatArray, degrees: float) -> tuple[Tail | None, Shown | None]:
        truth, settings = self._signal, self.settings.inject
        if truth is None or settings is None:
            return None, None
        toys = self.toys(truth.name, test, truth, self.settings.toys)
        median, low, high = middle(toys.t)
        tail = _tail(truth.name, truth.signal, median, (low, high), null, degrees, settings.sample)
        source = self.drawing.source(truth)
        nearest = int(np.abs(toys.t - median).argmin())
        features, rows = self.drawing.features(truth, source, nearest)
        reference = self.drawing.reference(f"{truth.name} {nearest}", rows)
        return tail, self._shown(f"toy with {truth.name}", test, toys, nearest, features, reference)

    def _tested(self, test: LearningTest, null: FloatArray, degrees: float) -> tuple[Tail | None, Shown | None]:
        if self.tested is None:
            return None, None
        name = str(self.settings.data)
        reference = self.drawing.reference(name, np.zeros(0, dtype=np.intp))
        auxiliary = np.zeros(len(self.pool.parameters))
        data = Data(self.standard(self.tested), self.standard(reference.features), reference.weights, auxiliary)
        found = test([data], [name])
        t = float(found.t[0])
        tail = _tail(name, float(len(self.tested)), t, (t, t), null, degrees)
        nuisance = {}
        for number, parameter in enumerate(self.pool.parameters):
            nuisance[parameter] = float(found.nuisance[0, number]), float(found.reference_nuisance[0, number])
        return replace(tail, nuisance=nuisance), self._shown(name, test, found, 0, self.tested, reference)

    def _shown(
        self,
        name: str,
        test: LearningTest,
        found: Statistics,
        toy: int,
        data: NDArray[np.float32],
        reference: WeightedEvents,
    ) -> Shown:
        """Weight the reference of one toy with what was fitted."""
        import torch

        x = torch.as_tensor(self.standard(reference.features)[None], device=self.device)
        terms = self.taylor.terms(x)
        rows = [found.reference_nuisance, found.nuisance, found.parameters, found.mean, found.deviation]
        alone, with_f, parameters, *by = (torch.as_tensor(row[toy : toy + 1], device=self.device) for row in rows)
        f = test.exponent.value((x - by[0][:, None]) / by[1][:, None], parameters)
        exponents = np.zeros((3, len(reference.weights)))
        exponents[1] = self.taylor.value(terms, alone)[0].cpu().numpy()
        exponents[2] = (self.taylor.value(terms, with_f) + f)[0].cpu().numpy()
        return Shown(name, data, reference.features, reference.weights * np.exp(exponents))


def _tail(
    name: str,
    events: float,
    t: float,
    interval: tuple[float, float],
    null: FloatArray,
    degrees: float,
    sample: str = "",
) -> Tail:
    low, high = (significance(end, null, degrees).z for end in interval)
    found = significance(t, null, degrees)
    return Tail(
        name=name,
        events=events,
        t=t,
        interval=interval,
        p=found.p,
        z=found.z,
        z_interval=(low, high),
        p_toys=found.p_toys,
        z_toys=found.z_toys,
        n_above=found.n_above,
        sample=sample,
    )


def unweighted(events: WeightedEvents, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return events without weights: each is kept with a probability in proportion to its weight."""
    is_kept = rng.uniform(0.0, events.weights.max(), len(events.weights)) < events.weights
    return events.features[is_kept]
