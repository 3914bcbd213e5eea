"""The configuration: its schema, its checks, and where its files are."""

from inferno_cli.config.comparison import CompareConfig, Reference, ReferenceRow
from inferno_cli.config.fit import Fit
from inferno_cli.config.load import config_folder, flatten, resolve
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning, Likelihood, Model, Nuisance, Report, Tracking, Trainer
from inferno_cli.config.steps import (
    DataConfig,
    ExplainConfig,
    FitConfig,
    FolderStep,
    InitConfig,
    LogConfig,
    PredictConfig,
    Step,
    Study,
    TrainConfig,
    UiConfig,
)
from inferno_cli.events.modifiers import Morph
from inferno_cli.section import POI, REGION

__all__ = [
    "POI",
    "REGION",
    "Binning",
    "CompareConfig",
    "DataConfig",
    "ExplainConfig",
    "Fit",
    "FitConfig",
    "FolderStep",
    "InitConfig",
    "Likelihood",
    "LogConfig",
    "Measurement",
    "Model",
    "Morph",
    "Nuisance",
    "PredictConfig",
    "Reference",
    "ReferenceRow",
    "Report",
    "Step",
    "Study",
    "Tracking",
    "TrainConfig",
    "Trainer",
    "UiConfig",
    "config_folder",
    "flatten",
    "resolve",
]
