"""A classifier of a finished run, whose score is judged on the same events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.errors import RunError
from inferno_cli.events.sample import Events, Sample
from inferno_cli.runs.pretrained import checksum, require_same_channels, require_same_division
from inferno_cli.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from inferno_cli.anomaly.evaluation import FloatArray
    from inferno_cli.anomaly.settings import AnomalyConfig
    from inferno_cli.training.observables import Observables

KEY = "compare_with"


@dataclass(frozen=True)
class Reference:
    """A classifier that was trained on signal and background.

    Attributes:
        name, title: Of its model.
        folder: Of its run.
        checksum: Of its checkpoint.
    """

    run: RunFolder
    observables: Observables

    @property
    def name(self) -> str:
        """Of its model."""
        return self.run.config.model.name

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.run.config.model.title or self.name

    @property
    def folder(self) -> Path:
        """Of its run."""
        return self.run.folder

    @property
    def checksum(self) -> str:
        """Of its checkpoint."""
        return checksum(self.run)

    @classmethod
    def find(cls, config: AnomalyConfig) -> Reference | None:
        """Return the classifier of ``compare_with``; None where none is wanted.

        Raises:
            RunError: If that is no finished run, or its network has not one score of the same features.
        """
        if config.compare_with is None:
            return None
        run = RunFolder.load(config.compare_with, KEY)
        names, here = run.config.dataset.features, config.dataset.features
        if names != here:
            raise RunError(
                f"the network of {run.folder} is for the features {', '.join(names)}; dataset.features is "
                f"{', '.join(here)}. They must be the same, in the same order: fix {KEY} or dataset"
            )
        require_same_channels(config, run)
        observables = run.observables
        if len(observables.networks) > 1 or len(observables.first.summary.response_names) != 1:
            raise RunError(
                f"the run in {run.folder} has not one score of an event. Fix {KEY}=FOLDER: a run of "
                "`inferno train model=bce` on the same dataset, without folds"
            )
        return cls(run, observables)

    def require_unseen(self, config: AnomalyConfig, events: Events) -> None:
        """Raise RunError if the network was trained on events that are judged."""
        require_same_division(config, self.run, events.checksum)

    def scores(self, config: AnomalyConfig, events: Events, samples: Sequence[Sample]) -> FloatArray:
        """Return the score of all nominal events of samples, shape (n_events,).

        Raises:
            RunError: If the network was trained on some of them.
        """
        self.require_unseen(config, events)
        found = []
        for sample in samples:
            observable = self.observables.of(sample.channel, 0)
            found.append(observable.apply(sample.features[sample.view[0]]).response[:, 0])
        return np.concatenate(found)
