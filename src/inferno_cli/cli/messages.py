"""What others raise, in our words: one message, with the file or the key and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from inferno_cli.errors import ConfigError, InfernoError, MemoryLimitError, OutputError, closest, first_line

QUOTE = "quote a value that holds brackets, braces, letters with accents or other signs: \"key='a[b]'\""
ADVICE = {
    "Ambiguous value": ": add -m to sweep over the values, write a list as 'key=[a,b]', or quote a name with a comma: "
    "\"key='a,b'\"",
    **dict.fromkeys(("mismatched input", "token recognition", "no viable", "extraneous input"), f"; {QUOTE}"),
    "Error parsing override": "; write key=value, and quote lists: 'key=[a,b]'",
}
"""What to do, by how a message of Hydra's begins."""


NO_MEMORY = (
    *("cannot allocate memory", "can't allocate memory", "can't start new thread", "out of memory", "failed to map"),
)
READS = ("workspace", "dataset.path", "run", "runs", "input", "files", "trained_in")
"""Keys of the configuration that name what a step reads."""


def known(error: Exception, composed: Any = None, folder: str = "") -> Exception:
    """Return what an exception means where it is the user's to mend; any other as it is: a mistake of the program.

    ``composed`` has the names of what is read, and ``folder`` is of the run, for an error that names no file.
    """
    if isinstance(error, InfernoError):
        return error
    no_memory = any(sign in str(error).lower() for sign in NO_MEMORY)
    if isinstance(error, MemoryError) or (no_memory and isinstance(error, OSError | RuntimeError | ImportError)):
        return MemoryLimitError(
            f"the memory is not enough{_of_what(composed)} ({first_line(error)}). Allow more (ulimit -v, the memory of "
            "the batch job), or make it smaller: fewer events, samples, features or points at a time"
        )
    if isinstance(error, RecursionError):
        return ConfigError(f"something is nested too deeply{_of_what(composed)} ({first_line(error)})")
    if isinstance(error, OSError):
        where = f" while the run wrote to {folder}" if folder and error.filename is None else ""
        return OutputError(
            f"{first_line(error)}{where}. Fix that path, free the place, or choose another with output_dir=..."
        )
    return error


def _of_what(composed: Any) -> str:
    from omegaconf import OmegaConf

    if composed is None:
        return ""
    found = (OmegaConf.select(composed, key, default=None) for key in READS)
    return " for " + ", ".join(str(place) for place in found if place is not None)


def translated(error: Exception, step: str, overrides: Sequence[str] = (), own: Path | None = None) -> ConfigError:
    """Say what Hydra means in one message, without its advice to add the unknown key by force.

    The keys that it could have been are those of the choices among the overrides, with the user's folder of YAML files.
    """
    text, cause = "", error.__cause__
    while isinstance(cause, Exception):
        text, cause = f"{text}\n{cause}", cause.__cause__
    text = f"{error}{text}"
    first = first_line(error)
    if first.endswith("raised while composing config:"):
        first = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    if "is not in struct" in text and "Could not override" in first:
        return _unknown_key(first.split("'")[1], step, _keys(step, overrides, own))
    if choice := re.match(r"Could not override '([^']*)'\. No match in the defaults list", first):
        return _no_choice(choice[1], step)
    if re.search(r"Cannot merge (DictConfig with ListConfig|ListConfig with DictConfig)", text):
        return ConfigError(
            f"{first}: Hydra puts no mapping in the place of a list, such as of dataset.features, and no list in that "
            "of a mapping. On the command line remove it first, ~KEY '+KEY={a: b}'; a YAML file must not build on one "
            "that has the other"
        )
    if missing := re.search(r"Could not find 'hydra/launcher/(joblib|submitit_local|submitit_slurm)'", text):
        extra = "parallel" if missing[1] == "joblib" else "batch"
        return ConfigError(f"hydra/launcher={missing[1]} needs a plugin of Hydra's: pip install 'inferno-cli[{extra}]'")
    if first.startswith("Additional config directory") and (place := first.split("'")[1]) and Path(place).exists():
        return ConfigError(f"--config-dir {place} is no folder. Name the one that holds dataset/, model/, ...")
    options = []
    for line in str(error).splitlines():
        if line.startswith("\t") and "=" not in line:
            options.append(line.strip())
    return _advised(first, options)


def _advised(first: str, options: list[str]) -> ConfigError:
    if "Could not find" in first and options:
        wanted = first.partition("Could not find '")[2].rstrip("'").rsplit("/", 1)[-1]
        return ConfigError(f"{first}{closest(wanted, options)}")
    if first.startswith("LexerNoViableAltException"):
        return ConfigError(f"cannot read {first.partition(': ')[2]!r}; {QUOTE}")
    for beginning, advice in ADVICE.items():
        if first.startswith(beginning):
            return ConfigError(f"{first}{advice}")
    return ConfigError(first)


def _no_choice(group: str, step: str) -> ConfigError:
    own = [key for key in _keys(step, (), None) if key.startswith(f"{group}.")]
    instead = f"its keys are {', '.join(own)}" if own else f"`inferno {step} --cfg job` prints its keys"
    return ConfigError(f"{group} is nothing that `inferno {step}` has a choice of; {instead}")


def _unknown_key(key: str, step: str, known: Sequence[str]) -> ConfigError:
    section = key.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == section]
    if not beside and key in _keys(step, (), None):
        return ConfigError(f"{key} cannot be set: {section or 'its section'} has another value")
    return ConfigError(
        f"unknown key {key}{closest(key, known, listed=beside)}. `inferno {step} --cfg job` prints the keys"
    )


def unresolved(error: Exception) -> ConfigError:
    """Say which choice of ``study.scale`` is none; the numbers of a study are looked up by that name."""
    from inferno_cli.config.steps import Study

    text = first_line(error)
    found = re.search(r"Interpolation key 'study\.([^.']*)\.", text)
    choices = get_args(Study.model_fields["scale"].annotation)
    if found is not None and found[1] not in choices:
        return ConfigError(f"study.scale is {found[1]!r}; expected {' or '.join(map(repr, choices))}")
    key = getattr(error, "full_key", "") or ""
    return ConfigError(text if not key or key in text else f"{key}: {text}")


def _keys(step: str, overrides: Sequence[str], own: Path | None) -> list[str]:
    """Every key of a step's configuration with the choices that were made, dotted; of the defaults if these fail."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from inferno_cli.cli.overrides import chosen
    from inferno_cli.config.load import compose, flatten

    try:
        composed = compose(step, chosen(overrides), own)
    except HydraException:  # the unknown key may stand in a choice itself
        composed = compose(step)
    values: Any = OmegaConf.to_container(composed)
    keys: dict[str, None] = {}
    for name, _ in flatten(values):
        parts = name.split(".")
        keys |= dict.fromkeys(".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return list(keys)
