"""Members: trainings of the same network from other first weights, with other batches and noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inferno_cli.training.epochs import Training
from inferno_cli.training.final_templates import FinalTemplates


@dataclass(frozen=True)
class Member:
    """One of several trainings of a network, or of those of all folds.

    Attributes:
        number: Counted from 0.
        trainings: Of each fold.
        templates: What its networks make of the events; None: these cannot constrain the parameters.
        chosen_for: Folds for which it was chosen.
    """

    number: int
    trainings: tuple[Training, ...]
    templates: FinalTemplates | None
    chosen_for: tuple[int, ...]


def best(trainings: Iterable[Training]) -> Training:
    """Return the training that is best on the validation split, with the noise of the variations: the first of equals.

    The templates have no part in the choice: what is chosen by a number is optimistic in that number.
    """
    return min(trainings, key=lambda training: training.validation.merit)
