"""The configuration of each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from inferno_cli.choices import any_of
from inferno_cli.config.fit import Fit
from inferno_cli.config.published import Reference
from inferno_cli.config.schema import (
    Binning,
    Coverage,
    Likelihood,
    Model,
    ModelName,
    Nuisance,
    Report,
    Tracking,
    Trainer,
)
from inferno_cli.errors import closest
from inferno_cli.events.channels import Channel, Channels
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.effects import Effect, effects, require_consistent
from inferno_cli.names import fold_of, staterror_of
from inferno_cli.section import POI, REGION, Names, Paths, Section, Seed, Texts, require_name
from inferno_cli.shard import Shard
from inferno_cli.training.metrics import require_metric

if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = any_of("inferno_cli.events.sources", Dataset)


NOWHERE = -math.inf
"""A share of signal that no bin has."""
INDIVISIBLE = (
    "shards divide the members and folds of train, and the toys of fit and nplm: nothing of this step. Leave --shard "
    "out"
)
UNDIVIDED = (
    ". The toys of train are not divided: those of a fit are in `inferno fit workspace=FOLDER/workspace.json "
    "fit.toys=... --shard ...`, and coverage has coverage.workers=..."
)


class Step(Section):
    """What the configuration of every step has."""

    output_dir: str
    """Folder of everything that is written."""
    tracking: Tracking


class FolderStep(Step):
    """What the configuration of a step has that works in a folder of its own."""

    shard: str | None = None
    """Part of the trainings or toys that is done, such as 2/4 (`--shard 2/4`); null: all, those of parts collected."""

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.shard is not None:
            Shard.of(self.shard)
            self.require_divisible()
        return self

    def require_divisible(self) -> None:
        """Raise ValueError where there is nothing that shards would divide."""
        raise ValueError(INDIVISIBLE)


class Study(Section):
    """A sweep with repeats, in one of two sizes (see conf/study)."""

    name: str
    """Name of the study, and of its folder."""
    scale: Literal["quick", "full"]
    """Which of the two sizes."""
    repeats: Annotated[int, Field(ge=1)]
    """Runs of each point, with seeds from 0."""
    quick: dict[str, float | str | dict[str, float | tuple[int, ...]]]
    """Numbers of the small size, which the study's file uses."""
    full: dict[str, float | str | dict[str, float | tuple[int, ...]]]
    """Numbers of the large size, which the study's file uses: the published ones where they are stated."""


def _unblind(value: Any) -> Any:
    """Answer for both types at once: pydantic has an error for each."""
    if isinstance(value, bool) or value == "sidebands":
        return value
    raise PydanticCustomError("unblind", "Input should be true, false or sidebands")


class TrainConfig(FolderStep):
    """``inferno train``: from events to results."""

    overwrite: bool = False
    """Replace the finished run that is in the folder."""
    unblind: Annotated[bool | Literal["sidebands"], BeforeValidator(_unblind)] = False
    """Show what was observed: nothing of it, in `data` the bins with little signal, or everything (see the fit)."""
    study: Study | None = None
    reuse: str | None = None
    """Folder in which this point is looked for: it is not run again when it finished there."""
    trained_in: str | None = None
    """A finished run whose network is taken: nothing is trained. A folder of runs: that of the same model and seed."""
    trained_for: str | None = None
    """Experiment of the run that is taken, where ``trained_in`` holds several."""
    seed: Seed
    """Seed of every draw: the events and the training."""
    dataset: AnyDataset
    """What is measured."""
    model: Model
    channels: Annotated[dict[str, Channel], Field(min_length=1)] = Field(default_factory=lambda: {REGION: Channel()})
    """Selections of events by name, each with the observable whose histogram is fitted."""
    nuisance: Nuisance
    likelihood: Likelihood
    binning: Binning
    trainer: Trainer
    fit: Fit
    coverage: Coverage | None = None
    """Coverage of the intervals, from events whose truth is known; null: none."""
    report: Report
    export: bool
    """Write the workspace for other tools as well: ROOT histograms, Combine datacard, cabinetry configuration."""

    def require_divisible(self) -> None:
        """Raise ValueError unless several networks are trained."""
        folds = self.dataset.n_folds
        if not self.model.is_trained or self.trained_in is not None or self.n_members * folds == 1:
            raise ValueError(
                "shards divide trainings, and there are not several; leave --shard out, or set trainer.members=... or "
                f"dataset.splits.folds=...{UNDIVIDED if self.throws_toys else ''}"
            )

    @property
    def throws_toys(self) -> bool:
        """Whether there are toys behind the trainings."""
        return self.fit.toys is not None or self.coverage is not None

    @property
    def is_blind(self) -> bool:
        """Whether nothing that was observed may be written, logged or drawn; bins of a fit are no sidebands."""
        return self.unblind is not True

    @property
    def data_seed(self) -> int:
        """Seed of the events and of how they are divided."""
        return self.seed if self.dataset.seed is None else self.dataset.seed

    @property
    def n_members(self) -> int:
        """Trainings of each network; one where nothing is trained."""
        return self.trainer.members if self.model.is_trained else 1

    @property
    def combines(self) -> bool:
        """Whether the fitted network is made, or chosen, of those of several trainings or epochs."""
        return self.model.is_trained and (self.n_members > 1 or self.trainer.n_snapshots > 0)

    def seed_of(self, fold: int, member: int = 0) -> int:
        """Return the seed of a training, of which each fold has one, or one for each member."""
        import numpy as np

        if fold == 0 and member == 0:
            return self.seed
        numbers = [self.seed, fold] if member == 0 else [self.seed, fold, member]
        return int(np.random.SeedSequence(numbers).generate_state(1)[0])

    @property
    def sample_names(self) -> Names:
        """Samples in the likelihood, signal first."""
        wanted = self.likelihood.samples
        return tuple(name for name in self.dataset.sample_names if wanted is None or name in wanted)

    @property
    def signal_names(self) -> Names:
        """Samples scaled by a POI."""
        return tuple(name for name in self.sample_names if name in self.dataset.signal_names)

    @property
    def pois(self) -> dict[str, Names]:
        """POIs of the likelihood, mu first, and the signals that each of them scales."""
        found: dict[str, Names] = {}
        for poi, samples in self.dataset.pois.items():
            if left := tuple(name for name in samples if name in self.sample_names):
                found[poi] = left
        return found

    @property
    def fitted_channels(self) -> Names:
        """Names of the channels in the likelihood, of which each fold is one where the network makes the bins."""
        return tuple(part for name in self.channels for part in self.folds_of(name))

    def folds_of(self, channel: str) -> Names:
        """Return the names in the likelihood of what the networks make of a channel, or the one that it has."""
        n_folds = self.dataset.n_folds if self.channels[channel].observable.is_trained else 1
        return tuple(fold_of(channel, fold, n_folds) for fold in range(n_folds))

    def effects(self, names: Names) -> tuple[Effect, ...]:
        """Return what the systematics ``names`` do to the samples of the likelihood, in the channels that have them."""
        channels, found = tuple(self.channels), list[Effect]()
        for effect in effects(self.dataset.systematics, names, self.sample_names, self.dataset.eras_of, channels):
            if not effect.channel or self._may_have(effect.channel, effect.sample):
                found.append(effect)
        return tuple(found)

    def _may_have(self, channel: str, sample: str) -> bool:
        """Whether a sample may be in a channel: its events, or a histogram of it."""
        settings = self.channels[channel]
        is_filled = self.dataset.has_events(sample) or settings.source_of(sample) is not None
        return settings.has(sample) and is_filled

    @property
    def request(self) -> Request:
        """What the run needs of its dataset."""
        return Request(self.sample_names, self.effects(self.nuisance.fit), self.data_seed, Channels(self.channels))

    def parameters(self, names: Names) -> Names:
        """Names of the nuisance parameters of the systematics ``names``."""
        return tuple(dict.fromkeys(effect.parameter for effect in self.effects(names)))

    @property
    def grouped_fit(self) -> Fit:
        """The fit with what the run knows, where the fit says nothing: POIs, groups of systematics, a seed for toys."""
        groups: dict[str, Names] = {}
        for effect in self.effects(self.nuisance.fit):
            if (group := effect.definition.group) is not None:
                groups[group] = tuple(dict.fromkeys((*groups.get(group, ()), effect.parameter)))
        own: dict[str, Any] = {"toys_seed": self.seed} if self.fit.toys_seed is None else {}
        if self.fit.pois is None:
            own["pois"] = tuple(poi for poi in self.pois if poi != POI)
        if self.fit.groups is None:
            own["groups"] = groups or None
        return self.fit.model_copy(update=own)

    def fit_of(self, left: Names) -> Fit:
        """Return the grouped fit of the parameters that are left, without the pruned ones in its groups."""
        fit = self.grouped_fit
        every = self.parameters(self.nuisance.fit)
        groups = {}
        for group, names in (fit.groups or {}).items():
            groups[group] = tuple(name for name in names if name in left or name not in every)
        return fit.model_copy(update={"groups": {group: names for group, names in groups.items() if names} or None})

    @property
    def named_in_fit(self) -> Names:
        """Parameters that a list of the fit names, for what is calculated of them alone: these are not pruned."""
        found = dict.fromkeys(name for key, name in self.fit.named_parameters() if not key.startswith("groups."))
        return tuple(found)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.trained_for is not None and self.trained_in is None:
            raise ValueError(f"trained_for is {self.trained_for!r}, which chooses among the runs of trained_in=FOLDER")
        if self.model.network.needs_densities and self.dataset.exact_classifier() is None:
            raise ValueError(
                f"model.network is {self.model.network.kind!r}, which needs exact densities; dataset "
                f"{self.dataset.name!r} is made of events. Use dataset=synthetic, or model=bce"
            )
        self.report.check(self.dataset.sample_names, self.dataset.signal_names)
        for name in self.likelihood.samples or ():
            if name not in self.dataset.sample_names:
                near = closest(name, self.dataset.sample_names)
                raise ValueError(f"likelihood.samples: unknown sample {name!r}{near}")
        for name in self.nuisance.fit:
            self._require_systematic(name)
        self._require_parameters()
        self._require_poi_bounds()
        if self.fit.data == "observed" and not self.dataset.has_observed:
            raise ValueError("fit.data is 'observed', but no sample of the dataset has the role 'data'")
        if not self.signal_names:
            raise ValueError("likelihood.samples leaves no signal sample")
        self._require_pois()
        self._require_channels()
        if self.signal_names == self.sample_names:
            raise ValueError("likelihood.samples leaves no background sample")
        return self

    def _require_channels(self) -> None:
        if not Channels(self.channels).trained:
            raise ValueError(
                f"channels: the network makes the bins of none of {', '.join(self.channels)}; one must have the "
                "observable {kind: summary}"
            )
        for name, channel in self.channels.items():
            key = f"channels.{name}"
            require_name(name, "channels")
            if channel.observable.is_trained and not channel.train:
                raise ValueError(
                    f"{key}.train is false, and the network makes its bins, so it is trained in this channel; leave "
                    "train out, or give the channel another observable"
                )
            for sample in channel.samples or ():
                if sample not in self.dataset.sample_names:
                    near = closest(sample, self.dataset.sample_names)
                    raise ValueError(f"{key}.samples: unknown sample {sample!r}{near}")
            self._require_histograms(name)
        self._require_events()
        if len(set(self.fitted_channels)) < len(self.fitted_channels):
            raise ValueError(
                f"channels: a fold of one is called as another: {', '.join(self.fitted_channels)}; rename one"
            )
        require_consistent(self.effects(self.nuisance.fit))
        for name in self.parameters(self.nuisance.fit):
            if name.partition("[")[0] in map(staterror_of, self.fitted_channels):
                raise ValueError(
                    f"nuisance.fit: {name!r} is the statistical error of the templates of a channel; rename the "
                    "systematic or the channel"
                )

    def _require_histograms(self, name: str) -> None:
        """Check what a channel has of histograms that somebody else made."""
        channel, key = self.channels[name], f"channels.{name}"
        observable = channel.observable
        for sample in channel.histograms:
            if sample not in self.dataset.sample_names:
                near = closest(sample, self.dataset.sample_names)
                raise ValueError(f"{key}.histograms: unknown sample {sample!r}{near}")
        if not self.dataset.has_files and (channel.histograms or observable.source):
            raise ValueError(
                f"{key}: histograms of a file are for datasets of files, and {self.dataset.name!r} is generated"
            )
        if observable.source is None:
            return
        if observable.observed is not None and not self.dataset.has_observed:
            raise ValueError(
                f"{key}.observable.data is {observable.observed!r}, and no sample of the dataset has the role 'data': "
                "all channels are fitted to what was observed, or none. Leave it out, or add the data"
            )
        if observable.observed is None and self.fit.data == "observed":
            raise ValueError(
                f"fit.data is 'observed', and channel {name!r} has no observed events; name their histogram with "
                f"{key}.observable.data"
            )

    def _require_events(self) -> None:
        """Check that a sample without events is a histogram in a channel, and in those that name it."""
        for names, what in ((self.signal_names, "signal"), (self.sample_names, "background")):
            others = [name for name in names if what == "signal" or name not in self.signal_names]
            if others and not any(map(self.dataset.has_events, others)):
                raise ValueError(f"dataset.samples: no {what} has events, and a network is trained on events of both")
        for sample in self.sample_names:
            if self.dataset.has_events(sample):
                continue
            missing = f"dataset.samples.{sample}.events is false"
            having = [name for name, channel in self.channels.items() if channel.source_of(sample) is not None]
            if not having:
                raise ValueError(
                    f"{missing}, and no channel has a histogram of it; see channels.NAME.histograms, or leave it out "
                    "with likelihood.samples"
                )
            for name, channel in self.channels.items():
                if name not in having and channel.samples is not None and sample in channel.samples:
                    raise ValueError(
                        f"channels.{name}.samples: {sample!r} is there, and {missing}: nothing fills its bins. Take it "
                        f"out; a channel with bins of its own can have it with channels.{name}.histograms"
                    )

    def _require_pois(self) -> None:
        if POI not in self.pois:
            raise ValueError(
                f"likelihood.samples leaves signals of {', '.join(self.pois)} and none of {POI}, the POI of the "
                f"measurement; add one of {', '.join(self.dataset.pois[POI])}"
            )
        for poi in self.model.objective.merit(tuple(self.pois)).pois:
            if poi not in self.pois:
                raise ValueError(
                    f"model.objective: {poi!r} is no POI of the samples of the likelihood{closest(poi, self.pois)}"
                )

    def _require_systematic(self, name: str) -> None:
        systematics = self.dataset.systematics
        if name not in systematics:
            raise ValueError(
                f"nuisance.fit: dataset {self.dataset.name!r} has no systematic {name!r}"
                f"{closest(name, systematics)}. Choose those to fit: nuisance=every, all of the dataset, "
                "nuisance=none, or 'nuisance.fit=[...]'"
            )
        systematic = systematics[name]
        if not set(systematic.samples) & set(self.sample_names):
            raise ValueError(f"nuisance.fit: {name!r} touches none of the samples in likelihood.samples")
        if name in self.nuisance.unconstrained and not systematic.can_be_unconstrained:
            raise ValueError(
                f"nuisance.unconstrained: {name!r} is of kind {systematic.kind!r}; only shapes can be freed "
                "(for a yield use kind 'free')"
            )

    def _require_parameters(self) -> None:
        parameters = tuple(dict.fromkeys((POI, *self.pois, *self.parameters(self.nuisance.fit))))
        for key, name in self.fit.named_parameters():
            # Whether a vector has such an entry, and a pattern a match, is known when the workspace is.
            staterrors = map(staterror_of, self.fitted_channels if self.likelihood.staterror else ())
            is_staterror = name.partition("[")[0] in staterrors
            later = name == "all" or "*" in name or is_staterror
            if not later and name not in parameters:
                raise ValueError(f"fit.{key}: {name!r} is not a parameter{closest(name, parameters)}")

    def _require_poi_bounds(self) -> None:
        low, high = self.likelihood.poi_bounds
        if not low < 1 < high:
            raise ValueError(f"likelihood.poi_bounds is [{low:g}, {high:g}]; it must contain the nominal value 1")
        for key, quantity in self.fit.every().items():
            if quantity.is_wanted and quantity.needs_no_signal and low > 0:
                raise ValueError(
                    f"likelihood.poi_bounds begins at {low:g}, and fit.{key} fits without signal; "
                    f"lower the bound to 0 or less, or set fit.{key}=false"
                )


class DataConfig(TrainConfig):
    """``inferno data``: the dataset that ``inferno train`` would read with the same configuration."""

    systematics: Names | None
    """Those that are described; null: every one of the dataset."""
    source_branches: Names
    """Branches that name the generated event that a row is made from; read where a tree has them."""
    bins: Annotated[int, Field(ge=2, le=500)]
    """Number of bins of the control plots."""
    max_signal_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest expected s / (s + b) of a bin whose observed events `unblind=sidebands` shows."""

    def require_divisible(self) -> None:
        """Raise ValueError: there are no trainings to divide."""
        FolderStep.require_divisible(self)

    @property
    def shown_signal_share(self) -> float | None:
        """Largest expected share of signal of a bin whose observed events are shown; None: every bin's are."""
        if self.unblind == "sidebands":
            return self.max_signal_share
        return None if self.unblind else NOWHERE

    @model_validator(mode="after")
    def _known_systematics(self) -> Self:
        known = self.dataset.systematics
        for name in self.systematics or ():
            if name not in known:
                raise ValueError(f"systematics: dataset {self.dataset.name!r} has no {name!r}{closest(name, known)}")
        return self

    @property
    def request(self) -> Request:
        """What is to be described."""
        names = tuple(self.dataset.systematics) if self.systematics is None else self.systematics
        return Request(self.sample_names, self.effects(names), self.data_seed, Channels(self.channels))


class FitConfig(FolderStep):
    """``inferno fit``: a pyhf workspace by itself."""

    overwrite: bool = False
    """Replace the finished fit that is in the folder."""
    workspace: str
    """File of the workspace (JSON)."""
    measurement: str | None
    """Name of the measurement in it; null: the first."""
    patch: str | None
    """File of a JSON patch that is applied to it; with ``patchset`` the name of one of the patches in that."""
    patchset: str | None
    """File of a pyhf patch set for it."""
    fit: Fit
    report: Report

    def require_divisible(self) -> None:
        """Raise ValueError unless toys are thrown."""
        if self.fit.toys is None:
            raise ValueError("shards divide toys, and there are none; leave --shard out, or set fit.toys=...")


class PredictConfig(Step):
    """``inferno predict``: apply a finished run to ntuples."""

    run: str
    """Folder of the run; or a registered model (`model=` means the same): models:/NAME/VERSION or @ALIAS, runs:/ID."""
    input: str | None
    """A ROOT file, a folder or a glob; null: the dataset of the run."""
    output: str | None
    """Folder of the new files; null: ``predictions`` in the folder of the run, or in that of all output."""
    tree: str | None
    """Name or glob of the trees; null: all, or those of the run's dataset."""
    chunk: Annotated[int, Field(ge=1)]
    """Rows that are in memory together."""
    keep: Names
    """More branches that are copied."""
    unblind: bool = False
    """Predict the observed events of the run's dataset, too; else their trees are left out."""
    overwrite: bool
    """Replace files that are there."""


class ExplainConfig(Section):
    """``inferno explain``: what the network of a finished run learnt."""

    run: str
    """Folder of the run."""
    output: str | None
    """Folder of the tables and plots; null: ``explain`` in the folder of the run."""
    seed: Seed
    """Seed of the shuffles."""
    repeats: Annotated[int, Field(ge=1)]
    """Shuffles of each feature."""
    pairs: Annotated[int, Field(ge=0)]
    """Pairs of the most important features over which the bins are drawn."""
    cells: Annotated[int, Field(ge=2, le=200)]
    """Along each axis of such a plot."""
    report: Report
    track: bool
    """Log everything to the MLflow run of the run, where there is one."""


class LogTracking(Section):
    """Where a finished run is logged; null: as the run was configured."""

    uri: str | None
    """A sqlite file or a tracking server."""
    experiment: str | None
    """The experiment in the store."""
    run_name: str | None
    """Name of the run."""
    log_checkpoint: bool | None
    """Copy the checkpoint to the store."""
    register_as: ModelName | None
    """Name of the model in MLflow's registry of which the run becomes the next version."""


class LogConfig(Section):
    """``inferno log``: log a finished run whose tracking failed, or that was not to be logged."""

    run: str
    """Folder of the run."""
    tracking: LogTracking


class UiConfig(Step):
    """``inferno ui``: MLflow's pages on the store."""

    host: str
    """Address on which the pages are served."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Port of that address."""


class InitConfig(Section):
    """``inferno init FOLDER``: YAML files to start from."""

    folder: str
    """Folder of your own YAML files, which --config-dir takes."""
    name: str
    """Name of the dataset and of the experiment."""


class CompareConfig(Step):
    """``inferno compare``: finished runs beside each other."""

    runs: Paths
    """Folders of runs, sweeps or studies, results.json, globs, mlflow:EXPERIMENT[/RUN]; a list, or commas between."""
    where: Texts = ()
    """Conditions on the configuration of the runs, `key=value` or `key!=value`; a list, or commas between."""
    baseline: Texts = ()
    """Conditions, as in ``where``, on the runs whose `sigma(mu)` the others are divided by; none: `model=bce`."""
    metrics: Texts = ()
    """Metrics that are columns on the terminal as well, such as p0; a list, or commas between. The files have all."""
    output: str | None
    """Folder of the tables and figures; null: ``compare`` in the folder that all runs have in common.

    Runs of an MLflow experiment have none in common: then it is in ``output_dir``. An earlier comparison in ``compare``
    is moved to ``compare-DATE-TIME`` beside it; one in a folder that is named here is replaced.
    """
    report: Report
    reference: Reference
    """Published numbers; the name ``auto`` stands for those of the study that the runs belong to."""
    track: bool
    """Log everything to the sweep's parent run in MLflow, where there is one."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: Texts) -> Texts:
        for name in names:
            require_metric(name)
        return names
