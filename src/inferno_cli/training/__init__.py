"""Training: networks, losses, Lightning modules, and what they make of events."""

from inferno_cli.training.evaluation import Evaluation, assign, evaluate, template_channel
from inferno_cli.training.fit_network import Epoch, Training, train
from inferno_cli.training.modules import Bce, Inferno, SummaryModule, create
from inferno_cli.training.summary import Summary, summarise

__all__ = [
    "Bce",
    "Epoch",
    "Evaluation",
    "Inferno",
    "Summary",
    "SummaryModule",
    "Training",
    "assign",
    "create",
    "evaluate",
    "summarise",
    "template_channel",
    "train",
]
