"""Constants of a loss on the device that it is calculated on: a step that made them anew would wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor


def constant(values: Iterable[float], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return numbers as a tensor, shape (n,), on the device of another one and, unless told, of its type.

    The same tensor comes back for the same numbers: nothing may write into it.
    """
    return _constant(tuple(values), dtype or like.dtype, like.device)


@lru_cache(maxsize=256)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device)
