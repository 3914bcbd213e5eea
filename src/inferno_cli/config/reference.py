"""What every key of a step's configuration is: its type, its range, its value and its meaning, from the schema."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from inferno_cli.choices import DISCRIMINATOR, conf_folders
from inferno_cli.config.load import ADDED_GROUPS, config_folder

MISSING = object()
"""Value of a key that the composed configuration does not have."""
LONGEST_VALUE = 60
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    takes: str
    """The type of its value and the range, in words."""
    value: Any
    """Its value in the configuration; ``MISSING`` where it has none."""
    required: bool
    text: str
    """What it is, on one line."""
    sections: tuple[type[BaseModel], ...]
    """Classes of the sections that it can hold; none for a plain value."""

    @property
    def shown(self) -> str:
        """The value as it is written in YAML, shortened."""
        if self.value is MISSING:
            return "required" if self.required else ""
        if self.value == "???":
            return "required"
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def keys(schema: type[BaseModel], values: Any) -> Iterator[Key]:
    """Yield the keys of a section; ``values`` is none of its mappings where it is not in the configuration."""
    for name, field in schema.model_fields.items():
        key = field.alias or name
        value = values.get(key, MISSING) if isinstance(values, Mapping) else MISSING
        if value is MISSING and not field.is_required() and field.default_factory is None:
            value = field.default
        inside = tuple(sections(field.annotation))
        text = meaning(schema, name)
        if not text and len(inside) == 1:
            text = inspect.getdoc(inside[0]) or ""
        text = " ".join(text.partition("\n\n")[0].replace("``", "`").split())
        yield Key(key, type_name(field.annotation, field.metadata), value, field.is_required(), text, inside)


def meaning(schema: type[BaseModel], name: str) -> str:
    """Return what is written below a field of a section, or of one that it is derived from; empty without.

    Read when it is asked for: with ``use_attribute_docstrings`` each start of each command would read all sources.
    """
    taken_from: Mapping[str, type[BaseModel]] = getattr(schema, "TAKEN_FROM", {})
    for section in taken_from.get(name, schema).__mro__:
        if name in inspect.get_annotations(section):
            return _written(section).get(name, "")
    return ""


@cache
def _written(section: type) -> dict[str, str]:
    """Return the text below each field of a class."""
    try:
        source = inspect.getsource(section)
    except (OSError, TypeError):  # made at run time
        return {}
    (definition,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for line, below in pairwise(definition.body):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[line.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def flat_keys(schema: type[BaseModel], values: Any, prefix: str = "") -> Iterator[Key]:
    """Yield every key of a composed configuration with its dotted name, those of the chosen sections alone.

    Of sections by name (``dataset.samples``) there is one line with the names, and each key once, below ``NAME``.
    """
    for key in keys(schema, values):
        name = f"{prefix}{key.name}"
        if not key.sections or not isinstance(key.value, Mapping):
            yield replace(key, name=name, sections=())
            continue
        section = chosen(key.sections, key.value)
        if section is not None:
            yield from flat_keys(section, key.value, f"{name}.")
            continue
        yield replace(key, name=name, value=", ".join(map(str, key.value)), sections=())
        yield from _of_entries(key.sections, f"{name}.NAME.")


def _of_entries(candidates: Sequence[type[BaseModel]], prefix: str) -> Iterator[Key]:
    """Yield the keys that the entries of a mapping can have, each once, with the kinds that have it."""
    found: dict[tuple[str, str], Key] = {}
    kinds: dict[tuple[str, str], list[str]] = {}
    for section in candidates:
        for key in keys(section, None):
            same = key.name, "" if key.name == DISCRIMINATOR else key.text
            found.setdefault(same, replace(key, name=f"{prefix}{key.name}", value=MISSING, sections=()))
            kinds.setdefault(same, []).extend(kinds_of(section))
    every = [kind for section in candidates for kind in kinds_of(section)]
    for same, key in found.items():
        if same[0] == DISCRIMINATOR:
            yield replace(key, text=" | ".join(every))
        elif kinds[same] == every:
            yield key
        else:
            yield replace(key, text=f"{', '.join(kinds[same])}: {key.text}")


def chosen(candidates: Sequence[type[BaseModel]], values: Any) -> type[BaseModel] | None:
    """Return the class of a section with these values; None if they are of no section."""
    if not isinstance(values, Mapping):
        return None
    for section in candidates:
        kinds = kinds_of(section)
        names = {field.alias or name for name, field in section.model_fields.items()}
        fits = values.get(DISCRIMINATOR) in kinds if kinds else set(values) <= names
        if fits:
            return section
    return None


def has_optional(schema: type[BaseModel], values: Any, parts: Sequence[str]) -> bool:
    """Whether a section has a key, of whose dotted name these are the parts; ``values`` need not have it.

    A new name in a mapping is one only where that holds plain values: a sample or a systematic has a section of its
    own, which one key does not make.
    """
    part, *rest = parts
    found = [field for name, field in schema.model_fields.items() if (field.alias or name) == part]
    if not found or not rest:
        return bool(found)
    value = values.get(part) if isinstance(values, Mapping) else None
    inside = tuple(sections(found[0].annotation))
    if _is_by_name(found[0].annotation):
        name, *rest = rest
        if not rest:
            return not inside
        value = value.get(name) if isinstance(value, Mapping) else None
        section = chosen(inside, value)
    else:
        section = inside[0] if value is None and len(inside) == 1 else chosen(inside, value)
    return section is not None and has_optional(section, value, rest)


def _is_by_name(annotation: Any) -> bool:
    """Whether a type is a mapping, or one or nothing."""
    origin = get_origin(annotation)
    if origin in (Annotated, Union, UnionType):
        return any(_is_by_name(inner) for inner in get_args(annotation))
    return origin in (dict, Mapping)


def kinds_of(section: type[BaseModel]) -> tuple[str, ...]:
    """Return the values of ``kind`` that stand for a section; none if it has no such key."""
    field = section.model_fields.get(DISCRIMINATOR)
    return () if field is None or get_origin(field.annotation) is not Literal else get_args(field.annotation)


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections in the type of a field."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from sections(inner)


def type_name(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return a type as a reader of YAML understands it, with its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0], (*arguments[1:], *metadata))
    suffix = "".join(f", {text}" for text in _limits(metadata)).replace(",", "", 1)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        inner = dict.fromkeys(type_name(item) for item in arguments)
        return " or ".join(inner) + suffix
    if origin is tuple and Ellipsis in arguments:
        return f"list of {type_name(arguments[0])}{suffix}"
    if origin is tuple:
        return f"[{', '.join(map(type_name, arguments))}]{suffix}"
    if origin is dict:
        return f"mapping of {type_name(arguments[1])}{suffix}"
    if annotation is NoneType:
        return "null"
    return NAMES.get(annotation, "section") + suffix


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    for item in metadata:
        for part in (item, *getattr(item, "metadata", ())):
            for name, sign in SIGNS.items():
                value = getattr(part, name, None)
                if value is not None:
                    yield f"{sign} {value:g}"
            length = getattr(part, "min_length", None)
            if length is not None:
                yield f"of at least {length}"


def groups(step: str, own: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return the groups of a step's configuration, each with the names of its YAML files; ``own`` is the user's."""
    import yaml

    places = (config_folder(), *conf_folders(), *(() if own is None else (own,)))
    (path, *_) = [place / f"{step}.yaml" for place in places if (place / f"{step}.yaml").is_file()]
    names: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    for item in yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(item, dict):
            names += [name for name in item if name != "job" and not name.startswith("override ")]
        elif item != "_self_":  # the configuration of another step
            found |= groups(item, own)
    for name in (*names, *(f"+{group}" for group in ADDED_GROUPS if step == "train")):
        found[name] = tuple(_files(places, name.lstrip("+")))
        folders = {path.name for place in places for path in (place / name).glob("*") if path.is_dir()}
        found |= {f"{name}/{part}": tuple(_files(places, f"{name}/{part}")) for part in sorted(folders)}
    return found


def _files(places: Sequence[Path], group: str) -> list[str]:
    stems: set[str] = set()
    for place in places:
        stems.update(path.stem for path in (place / group).glob("*.yaml"))
    return sorted(stems)
