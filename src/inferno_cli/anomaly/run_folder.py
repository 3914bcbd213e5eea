"""A finished run of `inferno anomaly`, read back from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from inferno_cli.anomaly.record import FILE, AnomalyRecord
from inferno_cli.anomaly.settings import AnomalyConfig
from inferno_cli.config.load import resolve
from inferno_cli.errors import ConfigError, RunError, first_line
from inferno_cli.files import read_yaml, user_path
from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
from inferno_cli.runs.folder import CONFIG_FILE
from inferno_cli.runs.run_folder import finished_run
from inferno_cli.runs.steps import step_of

if TYPE_CHECKING:
    from inferno_cli.training.observables import Observables

NETWORK = "network."
"""In front of the names of the network's weights in a checkpoint."""


@dataclass(frozen=True)
class AnomalyFolder:
    """A finished run: its folder, its whole configuration and its record."""

    folder: Path
    config: AnomalyConfig
    results: AnomalyRecord

    @staticmethod
    def is_one(place: str) -> bool:
        """Whether a place is the folder of such a run, or the record in it."""
        path = user_path(place)
        return step_of(path.parent if path.name == FILE else path) == "anomaly"

    @classmethod
    def load(cls, place: str, key: str = "run") -> Self:
        """Read a run; ``key`` of the configuration names it.

        Raises:
            RunError: If it has not finished, or a file of it has changed since.
        """
        from omegaconf import OmegaConf

        folder, _ = finished_run(place, key, ("anomaly",))
        try:
            config = resolve(AnomalyConfig, OmegaConf.create(read_yaml(folder / CONFIG_FILE)))
        except (ConfigError, ValueError) as error:
            raise RunError(
                f"the configuration of the run in {folder} cannot be read ({first_line(error)}). It may be of another "
                "version of inferno_cli: run `inferno anomaly` again"
            ) from error
        return cls(folder, config, AnomalyRecord.load(folder / FILE))

    @cached_property
    def observables(self) -> Observables:
        """The score, a module of torch, in equal bins.

        Raises:
            RunError: If the checkpoint is missing, damaged, or not of this run.
        """
        require_memory(LEAST_FOR_TORCH)
        import torch

        from inferno_cli.anomaly.observable import observables, restored
        from inferno_cli.training.observable import CHECKPOINTS, checkpoint_name

        path = self.folder / CHECKPOINTS / checkpoint_name(0, 1)
        weights: dict[str, Any] = {}
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            for name, value in stored["state_dict"].items():
                if name.startswith(NETWORK):
                    weights[name.removeprefix(NETWORK)] = value
            score = restored(self.config, weights, self.results.score_median, self.results.score_width)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise RunError(
                f"the checkpoint {path} cannot be read, or is not of this run ({type(error).__name__}: "
                f"{first_line(error)}). Copy the whole folder of the run again, or run `inferno anomaly` again"
            ) from error
        return observables(self.config, score, len(self.results.edges) - 1)
