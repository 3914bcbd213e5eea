"""Choices: every network, summary, systematic, step, ... is one file of a package, ours or somebody else's.

An installed package adds its own by naming itself in the entry-point group ``inferno_cli.choices``:

    [project.entry-points."inferno_cli.choices"]
    mine = "my_package"

It is laid out as this one: a file of ``my_package/summaries`` is a summary, one of ``my_package/steps`` a step, and the
YAML files of ``my_package/conf`` lie beside ours in Hydra's search path.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

from inferno_cli.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "inferno_cli.choices"
"""Entry-point group of the packages that add choices."""
STEPS = "inferno_cli.steps"
"""Package of the steps."""
DISCRIMINATOR = "kind"
"""Key of a section that says which choice it is."""

SectionT = TypeVar("SectionT", bound="BaseModel")


@dataclass(frozen=True)
class Choice:
    """One file that is a choice, not imported yet: its name without the suffix, its module and its source."""

    name: str
    module: str
    file: Path

    def load(self) -> ModuleType:
        """Import the module; ConfigError if that of another package cannot be imported."""
        try:
            return importlib.import_module(self.module)
        except Exception as error:
            if self.module.startswith("inferno_cli."):
                raise
            raise ConfigError(
                f"{self.file} adds a choice to inferno_cli and cannot be imported ({type(error).__name__}: {error}). "
                "Repair it, or uninstall its package"
            ) from error


@cache
def extensions() -> tuple[str, ...]:
    """Return the names of the installed packages that add choices."""
    return tuple(sorted({entry.value for entry in metadata.entry_points(group=GROUP)}))


def extension_folders() -> tuple[Path, ...]:
    """Return where the extensions are."""
    folders: list[Path] = []
    for package in extensions():
        folders += _package_folders(package)
    return tuple(folders)


def conf_folders() -> tuple[Path, ...]:
    """Return the folders of YAML files that the extensions bring."""
    return tuple(place / "conf" for place in extension_folders() if (place / "conf").is_dir())


@cache
def choices(package: str) -> dict[str, Choice]:
    """Return the choices of one kind by name, those of the extensions last.

    ``package`` is the full name of ours with the files; extensions have theirs in one of the same last name.

    Raises:
        ConfigError: If two files of a kind have the same name.
    """
    kind = package.rpartition(".")[2]
    found: dict[str, Choice] = {}
    for owner in dict.fromkeys((package, *(f"{extension}.{kind}" for extension in extensions()))):
        for choice in _files(owner):
            other = found.setdefault(choice.name, choice)
            if other is not choice:
                raise ConfigError(
                    f"{other.file} and {choice.file} are both the choice {choice.name!r} of {kind}; rename one"
                )
    return found


def sections(package: str, base: type[SectionT]) -> dict[str, type[SectionT]]:
    """Return the configuration sections of the choices of one kind, derived from ``base``, by their ``kind``.

    Raises:
        ConfigError: If two sections have the same ``kind``.
    """
    found: dict[str, type[SectionT]] = {}
    for choice in choices(package).values():
        for section in _sections_of(choice.load(), base):
            (kind,) = section.model_fields[DISCRIMINATOR].annotation.__args__  # type: ignore[union-attr]
            if kind in found:
                raise ConfigError(
                    f"{choice.file} and {found[kind].__module__} both have the kind {kind!r}; rename one of them"
                )
            found[kind] = section
    return found


def any_of(package: str, base: type[BaseModel]) -> Any:
    """Return the type of a field that takes each choice of a kind, told apart by its key ``kind``."""
    return one_of(sections(package, base).values())


def one_of(known: Iterable[type[BaseModel]]) -> Any:
    """Return the type of a field that takes some sections, told apart by their key ``kind``."""
    from pydantic import Field

    known = tuple(known)
    if len(known) == 1:  # pydantic tells apart only several
        return known[0]
    return Annotated[Union[known], Field(discriminator=DISCRIMINATOR)]  # noqa: UP007


def _sections_of(module: ModuleType, base: type[SectionT]) -> Iterator[type[SectionT]]:
    """Yield the sections that a module defines, without those that it imports or only derives from."""
    for item in vars(module).values():
        is_own = isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__
        if is_own and DISCRIMINATOR in item.model_fields:
            yield item


def _files(package: str) -> Iterator[Choice]:
    for folder in _package_folders(package):
        for item in pkgutil.iter_modules([str(folder)]):
            if not item.name.startswith("_") and not item.ispkg:
                yield Choice(item.name, f"{package}.{item.name}", folder / f"{item.name}.py")


def _package_folders(package: str) -> tuple[Path, ...]:
    """Return where a package is; nowhere if there is none of that name."""
    try:
        spec = util.find_spec(package)
    except ModuleNotFoundError as error:
        if error.name is not None and package.startswith(f"{error.name}."):
            raise ConfigError(
                f"an installed package names {error.name} in the entry points {GROUP}, and it cannot be imported. "
                "Install it again, or uninstall it"
            ) from error
        raise
    if spec is None or spec.submodule_search_locations is None:
        return ()
    return tuple(Path(folder) for folder in spec.submodule_search_locations)
