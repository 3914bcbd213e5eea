"""Find the config folder, and turn what Hydra composed into the typed schema."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from inferno_cli.errors import ConfigError, FileError, closest
from inferno_cli.files import read_yaml, yaml_of
from inferno_cli.section import Section
from inferno_cli.shell import quoted

if TYPE_CHECKING:
    from omegaconf import DictConfig

SectionT = TypeVar("SectionT", bound=Section)


def config_folder() -> Path:
    """Return the folder of the YAML files: in the package when installed, at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"the config folder is missing beside {package}; reinstall inferno-cli")


_LOADED: dict[tuple[Any, ...], Any] = {}
"""What Hydra has loaded of a file in a certain state: a command composes three times, and once more for each point."""


@contextmanager
def careful() -> Iterator[None]:
    """Let Hydra load only YAML files that are values by key (see ``files``): it would unfold a bomb of aliases."""
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which registers the sources
    files: Any = SourcesRegistry.instance().resolve("file")
    packages: Any = SourcesRegistry.instance().resolve("pkg")
    load, load_packaged = files.load_config, packages.load_config

    def checked(source: Any, config_path: str) -> Any:
        path = Path(source.path, source._normalize_file_name(config_path))
        if not path.exists():
            return load(source, config_path)
        state = path.stat()
        key = source.provider, path, config_path, state.st_mtime_ns, state.st_size
        return _kept(key, lambda: _load_checked(path, lambda: load(source, config_path)))

    def packaged(source: Any, config_path: str) -> Any:
        return _kept((source.provider, source.path, config_path), lambda: load_packaged(source, config_path))

    files.load_config, packages.load_config = checked, packaged
    try:
        yield
    finally:
        files.load_config, packages.load_config = load, load_packaged


def _load_checked(path: Path, load: Callable[[], Any]) -> Any:
    try:
        read_yaml(path)
        with yaml_of(path):  # Hydra's parser is stricter
            return load()
    except FileError as error:
        raise ConfigError(f"{error}. Repair it, or leave it out") from error


def _kept(key: tuple[Any, ...], load: Callable[[], Any]) -> Any:
    if key not in _LOADED:
        _LOADED[key] = load()
    return copy.deepcopy(_LOADED[key])  # Hydra writes into it


def compose(step: str, overrides: Iterable[str] = (), own: Path | None = None, *, absolute: bool = False) -> DictConfig:
    """Compose the configuration of a step; ``own`` is the user's folder of YAML files.

    With ``absolute`` the paths of its data are made so, and have to be there: see ``make_absolute``.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import open_dict

    from inferno_cli.config.paths import make_absolute

    place = [] if own is None else [f"hydra.searchpath=[{quoted(f'file://{own.absolute()}')}]"]
    GlobalHydra.instance().clear()  # a notebook may have one of its own
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose(step, overrides=[*place, *overrides], return_hydra_config=True)
    with open_dict(composed):
        hydra = composed.pop("hydra")
    if absolute:
        make_absolute(composed, hydra)
    return composed


def resolve(schema: type[SectionT], composed: DictConfig) -> SectionT:
    """Validate what Hydra composed, interpolations not yet resolved; ConfigError says what is wrong with it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", "") or "config"
        if isinstance(error, MissingMandatoryValue):
            raise ConfigError(f"{key} is missing; set it with {key}=...") from error
        raise ConfigError(
            f"{key}: {str(error).splitlines()[0]}. A ${{...}} names the value of another key; \\${{ is the sign itself"
        ) from error
    _require_distinct_keys(values, "")
    text = json.dumps(values, ensure_ascii=False)
    try:
        return schema.model_validate_json(text.encode())
    except UnicodeEncodeError as error:  # half of a sign, "\ud800", which YAML can hold
        near = text[max(error.start - 20, 0) : error.end + 20]
        raise ConfigError(
            f"the configuration has a text that is no Unicode: {near!r}. Write it in another way"
        ) from error
    except ValidationError as error:
        sources = dict(_sources(OmegaConf.to_container(composed, resolve=False)))
        lines = [_describe(item, schema, sources) for item in _causes(error)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _causes(error: ValidationError) -> list[Any]:
    """Return pydantic's errors without those of a list that is short because an item of it is wrong."""
    found = error.errors()
    places = [item["loc"] for item in found]
    kept = []
    for item in found:
        here = item["loc"]
        follows = item["type"] == "too_short" and any(len(x) > len(here) and x[: len(here)] == here for x in places)
        if not follows:
            kept.append(item)
    return kept


def _require_distinct_keys(values: Any, place: str) -> None:
    """Check that no two keys are the same text: the number 1 and the text "1" would be one sample, and one lost."""
    if isinstance(values, list):
        for item in values:
            _require_distinct_keys(item, place)
    if not isinstance(values, dict):
        return
    seen: dict[str, Any] = {}
    for key, item in values.items():
        text = key if isinstance(key, str) else json.dumps(key, default=str)
        if text in seen:
            raise ConfigError(
                f"{place or 'config'} has the keys {seen[text]!r} and {key!r}, which are one name; rename one"
            )
        seen[text] = key
        _require_distinct_keys(item, f"{place}.{text}".removeprefix("."))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested configuration with its dotted key; an empty mapping counts as a value."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


ADDED_GROUPS = ("experiment", "sweep", "study")
"""Groups that are added to a training: ``+experiment=...``."""


def _sources(values: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key whose value is that of another key, ``${model.hidden}``, and that key."""
    for name, value in values.items():
        if isinstance(value, str) and (source := re.fullmatch(r"\$\{([\w.]+)\}", value)):
            yield f"{place}{name}", source[1]
        elif isinstance(value, dict):
            yield from _sources(value, f"{place}{name}.")


def _describe(item: Any, schema: type[BaseModel], sources: Mapping[str, str]) -> str:
    """One line for one of pydantic's errors: the key, what was found, what is expected, what to do.

    ``sources`` has, for each key whose value is that of another key, that one: it is what the user sets.
    """
    path, siblings, node = _walk(schema, item["loc"])
    key = ".".join(path)
    for taker, source in sources.items():
        if f"{key}.".startswith(f"{taker}."):
            key = source + key.removeprefix(taker)
    message = item["msg"].removeprefix("Value error, ")
    found = json.dumps(item["input"], default=str)
    match item["type"]:
        case "extra_forbidden":
            known = siblings if len(path) > 1 else [*siblings, *ADDED_GROUPS]
            return f"unknown key {key}{closest(path[-1], known)}. `--cfg job` prints the keys that there are."
        case "missing":
            return f"{key} is missing; set it in the YAML file or on the command line"
        case "union_tag_invalid":
            return f"{key}.kind is {item['ctx']['tag']!r}; expected one of {item['ctx']['expected_tags']}"
        case "union_tag_not_found":
            kinds = ", ".join(map(repr, node.get("discriminator", {}).get("mapping", ())))
            return f"{key}.kind is missing; set it in the YAML file to one of {kinds}"
        case "value_error":  # a check of a whole section names the key in it that is wrong
            glue = "." if re.match(r"[a-z_]+(\.[^:]+)?: ", message) else ": "
            return f"{key}{glue}{message}" if key else message
        case "string_type" if isinstance(item["input"], int | float):  # YAML has read 1e3, which is 1000.0 by now
            example = f": \"{key}='{found}'\"" if isinstance(item["input"], int) else " as you write it, such as '1e3'"
            return f"{key} is {found}, which is no text; quote a name that looks like it{example}"
        case "tuple_type" | "list_type":
            return f"{key} is {found}; expected a list: '{key}=[...]'"
        case "model_type" | "model_attributes_type":
            keys = ", ".join(node.get("properties", ()))
            return f"{key} is {found}; expected `key: value` below it, with the keys {keys}"
        case "dict_type":
            group = f", or a file of its group: {key.replace('.', '/')}=NAME" if "discriminator" in node else ""
            return f"{key} is {found}; expected `key: value` below it{group}"
    return f"{key} is {found}; {message[:1].lower()}{message[1:]}"


def _walk(schema: type[BaseModel], location: tuple[str | int, ...]) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the keys of a location as a user writes them, those allowed beside the last one, and its schema.

    pydantic puts the branch that it took at a union into the location; users know no such key.
    """
    definitions = _definitions(schema)
    node: Any = definitions
    path: list[str] = []
    siblings: list[str] = []
    for part in location:
        node = _resolved(node, definitions)
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"].get(part, "#/$defs/_")}
            if node["$ref"].endswith("/_"):
                return path, siblings, {}
            continue
        if "oneOf" in node:  # of values of several types; the branch is called after the type
            options = [_resolved(item, definitions) for item in node["oneOf"]]
            node = next((item for item in options if item.get("type") == part), {})
            continue
        siblings = list(node.get("properties", {}))
        if isinstance(part, str) and "anyOf" in node:
            continue
        path.append(str(part))
        values = node.get("additionalProperties")
        node = node.get("properties", {}).get(part) or node.get("items") or (values if isinstance(values, dict) else {})
    return path, siblings, _resolved(node, definitions)


@cache
def _definitions(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()


def _resolved(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Return the part of a schema that a reference stands for, and of what may be null the other part."""
    while True:
        kinds = [kind for kind in node.get("anyOf", ()) if kind.get("type") != "null"]
        if "$ref" in node:
            node = definitions["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif len(kinds) == 1:  # that is no branch of a union: pydantic does not put it into the location
            node = kinds[0]
        else:
            return node
