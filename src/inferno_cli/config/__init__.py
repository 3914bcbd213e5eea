"""The configuration: its schema, its checks, and where its files are."""

from inferno_cli.config.comparison import CompareConfig, Reference, ReferenceRow
from inferno_cli.config.load import config_folder, flatten, resolve
from inferno_cli.config.measurement import Measurement
from inferno_cli.config.prepare import Branches, ObjectBranches, Preparation, PrepareConfig
from inferno_cli.config.schema import Binning, Fit, Likelihood, Model, Nuisance, Report, Tracking, Trainer
from inferno_cli.config.selection import Curve, JetCuts, ObjectCuts, Selection, Variations
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
    "Branches",
    "CompareConfig",
    "Curve",
    "DataConfig",
    "ExplainConfig",
    "Fit",
    "FitConfig",
    "FolderStep",
    "InitConfig",
    "JetCuts",
    "Likelihood",
    "LogConfig",
    "Measurement",
    "Model",
    "Morph",
    "Nuisance",
    "ObjectBranches",
    "ObjectCuts",
    "PredictConfig",
    "Preparation",
    "PrepareConfig",
    "Reference",
    "ReferenceRow",
    "Report",
    "Selection",
    "Step",
    "Study",
    "Tracking",
    "TrainConfig",
    "Trainer",
    "UiConfig",
    "Variations",
    "config_folder",
    "flatten",
    "resolve",
]
