"""The configuration: its schema, its checks, and where its files are."""

from inferno_cli.config.comparison import CompareConfig, Reference, ReferenceRow
from inferno_cli.config.datasets import Dataset, NtupleDataset, NtupleSample, Splits, SyntheticDataset
from inferno_cli.config.effects import Effect
from inferno_cli.config.load import config_folder, flatten, resolve
from inferno_cli.config.measurement import Measurement, Morph
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
from inferno_cli.config.systematics import (
    AnySystematic,
    FreeNormalisation,
    MorphSystematic,
    NormalisationSystematic,
    ShapeSystematic,
    ShiftSystematic,
    TransformSystematic,
    WeightSystematic,
)
from inferno_cli.section import POI, REGION

__all__ = [
    "POI",
    "REGION",
    "AnySystematic",
    "Binning",
    "Branches",
    "CompareConfig",
    "Curve",
    "DataConfig",
    "Dataset",
    "Effect",
    "ExplainConfig",
    "Fit",
    "FitConfig",
    "FolderStep",
    "FreeNormalisation",
    "InitConfig",
    "JetCuts",
    "Likelihood",
    "LogConfig",
    "Measurement",
    "Model",
    "Morph",
    "MorphSystematic",
    "NormalisationSystematic",
    "NtupleDataset",
    "NtupleSample",
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
    "ShapeSystematic",
    "ShiftSystematic",
    "Splits",
    "Step",
    "Study",
    "SyntheticDataset",
    "Tracking",
    "TrainConfig",
    "Trainer",
    "TransformSystematic",
    "UiConfig",
    "Variations",
    "WeightSystematic",
    "config_folder",
    "flatten",
    "resolve",
]
