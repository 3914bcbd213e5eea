"""What makes two runs the same: the settings that decide what is measured, and the code that measured it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from inferno_cli.code import code_digest
from inferno_cli.config.load import flatten

MODEL, EXPERIMENT, SEED = "model.name", "experiment", "seed"
PARTS = ("model.network.kind", "model.summary.kind", "model.objective.kind")
"""What a model is made of."""
PRETRAINED = "trained_in"
OUTPUT_KEYS = (
    *("output_dir", "tracking", "report", "export", "reuse", "overwrite", "trainer.progress", "fit.progress", "hydra"),
    *("fit.toys_workers", "coverage.workers", "trainer.workers", "model.title", "dataset.cache", "shard"),
)
"""Keys, and sections, that say where a run goes and how it is shown: not what it measures."""
ELSEWHERE = ("workspace", "output_dir", "overwrite", "shard")
"""Keys of a fit that do not decide its files."""
UNIMPORTANT = (*OUTPUT_KEYS, "study", "dataset.path", "unblind")
"""What does not decide what is measured. Another path with the same data is the same; other data are an error."""

_ENCODER = json.JSONEncoder(default=str)


def is_output(key: str) -> bool:
    """Whether a dotted key, or that of a section, says only where a run goes and how it is shown."""
    return is_below(key, OUTPUT_KEYS)


@cache  # asked for every key of every run
def matters(key: str) -> bool:
    """Whether a dotted key decides what is measured."""
    return not is_below(key, UNIMPORTANT)


def is_below(key: str, sections: Iterable[str]) -> bool:
    """Whether a dotted key is one of some keys, or in one of some sections."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def identity(settings: Mapping[str, Any]) -> str:
    """Return the settings of a flat configuration that decide what is measured, with the seed, as one string."""
    return as_text({key: settings[key] for key in sorted(settings) if matters(key)})


def point_of_training(params: Mapping[str, Any], network: str | None) -> str:
    """Return the digest of a resolved configuration, of the code, and of the network that it takes.

    What does not change the result (where it is written, plots, progress) does not count. The code counts as the
    text of its modules: the version says nothing of changes that are not committed. Of ``trained_in`` the SHA-256 of
    the checkpoint, ``network``, makes the point, not where it is. What is shown of observed data is no other
    measurement, and its files and numbers are others: a blinded run does not stand for one that is not.
    """
    settings = dict(flatten(params)) | ({} if network is None else {PRETRAINED: network})
    text = f"{identity(settings)} {settings.get('dataset.path')} {settings.get('unblind')} {code_digest()}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def point_of_fit(params: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Return the digest of what decides the files of a fit: not where they go, nor where the workspace is."""
    decides = {key: value for key, value in params.items() if key not in ELSEWHERE}
    text = json.dumps([decides, spec, code_digest()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def as_text(value: Any) -> str:
    """Return a value as text in which 1 and 1.0 are the same."""
    is_scalar = value is None or isinstance(value, str | int | float)
    return _of_scalar(value) if is_scalar else _ENCODER.encode(_plain(value))


@lru_cache(maxsize=10_000, typed=True)  # true is not 1; most settings of most runs are the same
def _of_scalar(value: Any) -> str:
    return _ENCODER.encode(_plain(value))


def _plain(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    return float(item) if isinstance(item, int) and not isinstance(item, bool) else item
