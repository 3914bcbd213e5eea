"""Training: networks, losses, Lightning modules, and what they make of events."""

from inferno_cli.training.epochs import CHECKPOINT, Epoch, Training
from inferno_cli.training.evaluation import Evaluation, assign, evaluate
from inferno_cli.training.explanation import Explainer, Importance, Plane
from inferno_cli.training.export import export, export_sample
from inferno_cli.training.fit_network import train
from inferno_cli.training.modules import Bce, Inferno, SummaryModule, create
from inferno_cli.training.recipe import template_channel
from inferno_cli.training.statistic import Prediction, Statistic
from inferno_cli.training.summary import Summary, summarise
from inferno_cli.training.taken import require_fits, take

__all__ = [
    "CHECKPOINT",
    "Bce",
    "Epoch",
    "Evaluation",
    "Explainer",
    "Importance",
    "Inferno",
    "Plane",
    "Prediction",
    "Statistic",
    "Summary",
    "SummaryModule",
    "Training",
    "assign",
    "create",
    "evaluate",
    "export",
    "export_sample",
    "require_fits",
    "summarise",
    "take",
    "template_channel",
    "train",
]
