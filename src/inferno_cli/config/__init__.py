"""The configuration: its schema, its checks, and where its files are."""

from inferno_cli.config.comparison import CompareConfig, Reference, ReferenceRow
from inferno_cli.config.datasets import Dataset, NtupleDataset, NtupleSample, Splits, SyntheticDataset
from inferno_cli.config.effects import Effect
from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.measurement import Measurement, Morph
from inferno_cli.config.schema import (
    Binning,
    Fit,
    FitConfig,
    Likelihood,
    Model,
    Nuisance,
    PredictConfig,
    Report,
    Step,
    Study,
    Tracking,
    TrainConfig,
    Trainer,
    UiConfig,
)
from inferno_cli.config.section import POI
from inferno_cli.config.systematics import (
    AnySystematic,
    FreeNormalisation,
    NormalisationSystematic,
    ShapeSystematic,
    ShiftSystematic,
    TransformSystematic,
    WeightSystematic,
)

__all__ = [
    "POI",
    "AnySystematic",
    "Binning",
    "CompareConfig",
    "Dataset",
    "Effect",
    "Fit",
    "FitConfig",
    "FreeNormalisation",
    "Likelihood",
    "Measurement",
    "Model",
    "Morph",
    "NormalisationSystematic",
    "NtupleDataset",
    "NtupleSample",
    "Nuisance",
    "PredictConfig",
    "Reference",
    "ReferenceRow",
    "Report",
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
    "WeightSystematic",
    "config_folder",
    "resolve",
]
