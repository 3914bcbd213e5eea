"""The Python interface: what the command line does, from a notebook or a program of one's own.

``import inferno_cli`` has every name of this module. What is composed here is what the command line composes: overrides
are the words behind a step, ``"+experiment=top11004"`` or ``"model.bins=5"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import inferno_cli.config.load as configuration
from inferno_cli.config.steps import FitConfig, TrainConfig
from inferno_cli.errors import BranchNotFoundError, DatasetError, RunError, TreeNotFoundError, closest
from inferno_cli.files import user_path
from inferno_cli.runs.folder import TEMPLATES_FILE
from inferno_cli.runs.run_folder import RunFolder
from inferno_cli.section import Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inferno_cli.events.features import Inputs
    from inferno_cli.events.sample import Events
    from inferno_cli.expressions import Lists
    from inferno_cli.fit.result import FitResult
    from inferno_cli.histograms.templates import Templates
    from inferno_cli.training.batches import StratifiedBatches
    from inferno_cli.training.observable import Prediction
    from inferno_cli.training.soft_likelihood import SoftLikelihood

SectionT = TypeVar("SectionT", bound=Section)


class Run(RunFolder):
    """A finished run of ``inferno train``, with its ``folder``, its ``config`` and its record, ``results``."""

    @cached_property
    def channels(self) -> dict[str, Templates]:
        """Its templates as fitted, by channel: ``histograms[sample, variation]`` of one are ``hist`` histograms."""
        from inferno_cli.histograms.templates import load

        return {templates.channel: templates for templates in load(self.folder / TEMPLATES_FILE)}

    @property
    def templates(self) -> Templates:
        """The templates of a run with one channel.

        Raises:
            RunError: If it has several: take ``channels``.
        """
        if len(self.channels) > 1:
            raise RunError(f"the run in {self.folder} has the channels {', '.join(self.channels)}: take channels[NAME]")
        return next(iter(self.channels.values()))

    @cached_property
    def workspace(self) -> dict[str, Any]:
        """Its pyhf workspace."""
        from inferno_cli.likelihood.readers.pyhf import read_workspace

        return read_workspace(self.folder / "workspace.json")

    def apply(self, events: Any, tree: str | None = None) -> Prediction:
        """Apply its network to events.

        Args:
            events: Features of shape (n_events, n_features) in the order of ``config.dataset.features``; or columns by
                name, the branches that the features are computed of: a mapping, a structured array of numpy or a record
                array of awkward; or a ROOT file. All are selected, whatever ``config.dataset.selection`` says.
            tree: Name of the tree in the file.

        Returns:
            Responses, shape (n_events, n), and bins, shape (n_events,).

        Raises:
            BranchNotFoundError: If a feature is missing.
            DatasetError: If the array has another number of features, or a value is not finite.
        """
        return self.observable.apply(_features(events, self.config.dataset.inputs, tree))


def open_run(folder: str | Path) -> Run:
    """Open a finished run of ``inferno train``: its folder, or the ``results.json`` in it.

    Raises:
        RunError: If that is no finished run, or a file of it has changed since.
    """
    return Run.load(str(folder))


def compose(*overrides: str, config_dir: str | Path | None = None) -> TrainConfig:
    """Return the configuration of ``inferno train`` with some overrides.

    Args:
        overrides: As behind ``inferno train``.
        config_dir: A folder of YAML files of one's own, as ``--config-dir``.

    Raises:
        ConfigError: If a choice does not exist, a key is unknown, or a value cannot be.
    """
    return _composed("train", TrainConfig, overrides, None if config_dir is None else user_path(str(config_dir)))


def load_events(config: TrainConfig) -> Events:
    """Read or generate the events of a configuration, in three splits, or in folds (``fold(number)`` has the splits).

    Raises:
        DatasetError: If the events cannot be used.
    """
    return config.dataset.load(config.request)


def training_set(config: TrainConfig, events: Events, device: str = "cpu") -> tuple[SoftLikelihood, StratifiedBatches]:
    """Return what a training loop of one's own needs; the batches are on ``device``.

    Returns:
        The likelihood of the training, whose ``expectation(batch, memberships)`` takes shares of bins, shape
        (n_views, n_events, n_bins) for each sample, and goes into ``poi_variance``; and the batches of an epoch.
    """
    from inferno_cli.training.batches import StratifiedBatches
    from inferno_cli.training.evaluation import Likelihoods

    if not events.train:
        raise DatasetError(
            f"the events are in {events.n_folds} folds, and no split of all of them is trained on. Take the splits of "
            "one network: events.fold(number)"
        )
    likelihoods = Likelihoods.from_config(config)
    samples = [sample.only(likelihoods.trained.variations) for sample in events.train]
    likelihood = likelihoods.soft(likelihoods.trained, samples, events)
    return likelihood, StratifiedBatches(samples, config.trainer.batch_size, config.seed, device)


def poi_variance(expectation: Any) -> Any:
    """Return the variance of the POI in the Asimov fit, everything else profiled; differentiable.

    Raises:
        SingularInformationError: If the parameters cannot be told apart.
    """
    from inferno_cli.likelihood import information

    return information.poi_variance(expectation)


def fit_workspace(
    workspace: Mapping[str, Any] | str | Path, *overrides: str, measurement: str | None = None
) -> FitResult:
    """Fit a pyhf workspace.

    Args:
        workspace: The workspace, or its file.
        overrides: As behind ``inferno fit``: ``"fit=full"``, ``"fit.minos=[all]"``.
        measurement: Name of the measurement; the first without.

    Raises:
        WorkspaceError: If it is not valid.
        FitFailedError: If the fit is not valid.
    """
    from inferno_cli.fit import analysis
    from inferno_cli.likelihood.readers.pyhf import read_workspace, require_valid

    settings = _composed("fit", FitConfig, ("workspace=''", *overrides)).fit
    if isinstance(workspace, Mapping):
        spec, where = dict(workspace), "the workspace"
        require_valid(spec, where)
    else:
        path = user_path(str(workspace))
        spec, where = read_workspace(path), str(path)
    return analysis.fit_workspace(spec, settings, measurement=measurement, where=where)


def _composed(step: str, schema: type[SectionT], overrides: tuple[str, ...], own: Path | None = None) -> SectionT:
    from hydra.errors import HydraException

    from inferno_cli.choices import STEPS, choices
    from inferno_cli.cli.messages import translated
    from inferno_cli.cli.overrides import as_hydra_reads, with_optional

    module = choices(STEPS)[step].load()
    try:
        with configuration.careful():
            given = with_optional(module, step, as_hydra_reads(module, list(overrides)), own)
            composed = configuration.compose(step, ["~job", *given], own, absolute=True)
    except HydraException as error:
        raise translated(error, step, overrides, own) from error
    return configuration.resolve(schema, composed)


def _features(events: Any, inputs: Inputs, tree: str | None) -> NDArray[np.float32]:
    import numpy as np

    names = inputs.names
    if isinstance(events, str | Path):
        events = _read(user_path(str(events)), inputs, tree)
    columns = _columns(events)
    if columns is None:
        features = np.asarray(events, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != len(names):
            raise DatasetError(
                f"the array has the shape {features.shape}, expected (n_events, {len(names)}): {', '.join(names)}"
            )
    else:
        branches = {}
        for name in inputs.branches:
            if name not in columns:
                raise BranchNotFoundError(f"the events have no feature {name!r}{closest(name, columns)}")
            branches[name] = _column(events[name], is_list=name in inputs.of_lists)
        features = inputs.table(branches, len(next(iter(branches.values()))), "the events", missing=True)
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise DatasetError(f"feature {names[column]!r} of event {row} is {features[row, column]}, expected a number")
    return features


def _column(values: Any, *, is_list: bool) -> NDArray[Any] | Lists:
    import awkward as ak
    import numpy as np

    from inferno_cli.expressions import Lists

    if not is_list or isinstance(values, Lists):
        return values if isinstance(values, Lists) else np.asarray(values)
    array = ak.Array(values)
    return Lists.of(ak.from_regular(array)) if array.ndim > 1 else np.asarray(array)


def _columns(events: Any) -> list[str] | None:
    if isinstance(events, Mapping):
        return list(events)
    fields = getattr(events, "fields", None) or getattr(getattr(events, "dtype", None), "names", None)
    if fields:
        return list(fields)
    return list(events.columns) if hasattr(events, "columns") else None


def _read(path: Path, inputs: Inputs, tree: str | None) -> Mapping[str, Any]:
    """Return branches of a ROOT file; ``tree`` may be left out where it has one."""
    from inferno_cli.events.root.trees import Tree, tree_names

    trees = tree_names(path)
    if tree is None and len(trees) == 1:
        (tree,) = trees
    if tree is None or tree not in trees:
        raise TreeNotFoundError(f"tree {tree!r} is missing from {path}, which has {', '.join(trees)}")
    rows = Tree(path, tree, dict.fromkeys(inputs.branches, "a feature of the network"), inputs.of_lists)
    return next(rows.chunks(max(rows.rows, 1)), dict.fromkeys(inputs.branches, ()))
