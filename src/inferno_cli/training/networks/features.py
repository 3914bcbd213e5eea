"""No network: some of the features as they are, for cuts on them, or bins of a score that is in the events already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from inferno_cli.errors import ConfigError, closest
from inferno_cli.section import Names
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn


class Features(Network):
    """Features in the place of outputs; nothing is trained."""

    is_trained: ClassVar[bool] = False
    kind: Literal["features"] = "features"
    """The features as they are."""
    features: Annotated[int, Field(ge=1)] | Annotated[Names, Field(min_length=1)] | dict[str, Any]
    """Their names, or how many of the first; of a mapping its keys count."""

    _columns: tuple[int, ...] | None = PrivateAttr(default=None)

    @property
    def only_outputs(self) -> int:  # type: ignore[override]
        """As many as there are features."""
        return self.features if isinstance(self.features, int) else len(self.features)

    def for_features(self, names: Names) -> Self:
        """Take the numbers of the features.

        Raises:
            ConfigError: If the events have not got them.
        """
        known = self.model_copy()
        wanted = names[: self.features] if isinstance(self.features, int) else tuple(self.features)
        for name in wanted:
            if name not in names:
                raise ConfigError(
                    f"the network 'features' takes {name!r}, and dataset.features has not got it"
                    f"{closest(name, names)}. Fix model.cuts, model.features or model.network.features"
                )
        if len(wanted) != self.only_outputs:
            raise ConfigError(
                f"the network 'features' takes {self.only_outputs} features, and dataset.features has {len(names)}. "
                "Fix model.cuts, model.features or model.network.features"
            )
        known._columns = tuple(names.index(name) for name in wanted)
        return known

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:  # noqa: ARG002
        """Return the columns of the features; of a number of them the first, where no names are known."""
        from torch import nn

        from inferno_cli.training.layers import Columns

        return nn.Sequential(Columns(range(n_outputs) if self._columns is None else self._columns))
