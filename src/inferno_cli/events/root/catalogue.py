"""Which files and trees of ntuples hold which sample, in which variation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from glob import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Formatter

from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.assignment import FileTree, Part, Parts
from inferno_cli.events.root.layout import NO_ERA, NtupleLayout
from inferno_cli.events.root.parquet import TABLE, is_parquet
from inferno_cli.events.root.trees import contents, find_files, is_folder, is_tree, opened
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.events.systematic import ShiftedTrees
from inferno_cli.section import EMBEDDED

EMBEDDED_FILE = "top11004_sim.root"


class Catalogue:
    """Finds the trees of one dataset configuration."""

    def __init__(self, dataset: NtupleLayout) -> None:
        self.dataset = dataset
        self.claims: dict[FileTree, tuple[str, Variation, tuple[FileTree, ...]]] = {}
        """Who reads a tree: the sample, its variation, and its nominal trees."""

    def configured(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None, era: str = NO_ERA
    ) -> tuple[list[Path], str]:
        """Return the files that may hold one sample in one variation and era, and the name of its tree.

        ``shifted`` is what a systematic says of its trees: its patterns go before those of the sample and the dataset.
        """
        dataset, settings = self.dataset, self.dataset.samples[sample]
        patterns = {"tree": settings.tree or dataset.tree, "file": settings.file or dataset.file}
        keys = {"tree": "tree", "file": "file"}
        names = self._names(sample, variation, shifted, era)
        words: dict[str, str] = {}
        if shifted is not None:
            words = direction_words(shifted.source, variation.direction)
            for name, pattern in (("tree", shifted.tree), ("file", shifted.file)):
                if pattern is not None:
                    patterns[name], keys[name] = pattern, f"systematics.{shifted.systematic}.{name}"

        def filled(name: str, **values: str) -> str:
            """Fill the pattern of the tree or the file; the dataset's own know nothing of systematics."""
            known = values if "." in keys[name] else {key: values[key] for key in names}
            return _fill(patterns[name], keys[name], **known)

        tree = filled("tree", **names, **words)
        # A "*" or "[" in a name is no pattern: "W*" must not read the files of "W+jets".
        pattern = filled("file", **{key: escape(name) for key, name in (names | words).items()})
        return self._files(sample, era, pattern), tree

    def _names(self, sample: str, variation: Variation, shifted: ShiftedTrees | None, era: str) -> dict[str, str]:
        """Return what the placeholders of the dataset stand for."""
        names = {"sample": sample, "variation": ""} | ({"era": era} if era else {})
        if shifted is not None:
            is_own = shifted.variation is not None
            suffix = shifted.variation if shifted.variation is not None else self.dataset.variation
            key = f"systematics.{shifted.systematic}.variation" if is_own else "variation"
            names["variation"] = _fill(suffix, key, **direction_words(shifted.source, variation.direction))
        return names

    def friends(
        self, path: Path, sample: str, variation: Variation, shifted: ShiftedTrees | None = None, era: str = NO_ERA
    ) -> tuple[FileTree, ...]:
        """Return the friends of a tree of one sample in one variation and era, which is in a file."""
        names = self._names(sample, variation, shifted, era) | {"stem": path.stem}
        return tuple(_friend(path, _fill(text, "friends", **names)) for text in self.dataset.friends)

    def _files(self, sample: str, era: str, pattern: str) -> list[Path]:
        """Return the files of all paths, each once; a folder need not have some of every sample where there are more.

        Raises:
            DatasetFileError: If none matches, or one path that is no folder stands for nothing.
        """
        files: dict[Path, None] = {}
        errors: list[DatasetFileError] = []
        paths = self.dataset.paths
        for text in paths:
            if text == EMBEDDED:
                files[Path(str(package_files("inferno_cli") / "data" / EMBEDDED_FILE))] = None
                continue
            path = text.replace("{sample}", escape(sample))
            path = path.replace("{era}", escape(era)) if era else path
            try:
                files |= dict.fromkeys(find_files(path, pattern, "dataset.path", "dataset.file"))
            except DatasetFileError as error:
                if not is_folder(path) and path == text:
                    raise
                errors.append(error)
        if not files:
            raise errors[0]
        return list(files)

    def friends_of(self, path: Path, tree: str) -> tuple[FileTree, ...]:
        """Return the friends of a tree, that of a sample or another: of this only the file is known."""
        if not self.dataset.friends:
            return ()
        for sample, variation, shifted in self._every():
            for era in self.dataset.era_keys_of(sample):
                with suppress(DatasetFileError):
                    files, name = self.configured(sample, variation, shifted, era)
                    if path in files and (name == tree or is_parquet(path)):
                        return self.friends(path, sample, variation, shifted, era)
        return tuple(_friend(path, _fill(text, "friends", stem=path.stem)) for text in self.dataset.friends)

    def files(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None, only: str = NO_ERA
    ) -> set[Path]:
        """Return the files with one sample in one variation, and those of its friends; of all eras, or ``only`` one."""
        paths: set[Path] = set()
        for (path, _), era in self.by_era(sample, variation, shifted, only).items():
            paths |= {path, *(file for file, _ in self.friends(path, sample, variation, shifted, era))}
        return paths

    def by_era(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None, only: str = NO_ERA
    ) -> dict[FileTree, str]:
        """Return the trees that hold one sample in one variation, with the era of each; of all eras, or ``only`` one.

        Raises:
            DatasetError: If a tree is of two eras: its events would count twice.
        """
        eras: dict[FileTree, str] = {}
        for era in (only,) if only else self.dataset.era_keys_of(sample):
            for path, tree in self.locate(sample, variation, shifted, era):
                other = eras.setdefault((path, tree), era)
                if other != era:
                    raise DatasetError(
                        f"tree {tree!r} in {path} (sample {sample!r}, {variation}) is that of two eras, {other} and "
                        f"{era}, expected one of each. Put {{era}} into dataset.path, dataset.file or dataset.tree"
                    )
        return eras

    def locate(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None, era: str = NO_ERA
    ) -> tuple[FileTree, ...]:
        """Return the trees that hold one sample in one variation and era."""
        files, tree = self.configured(sample, variation, shifted, era)
        fix, what = "Fix dataset.tree, dataset.variation or dataset.path", f"sample {sample!r}, {variation}{_of(era)}"
        found: list[FileTree] = []
        trees: set[str] = set()
        for path in files:
            if is_parquet(path):
                found.append((path, TABLE))
                continue
            inside = contents(path)
            trees |= {name for name, kind in inside.items() if is_tree(kind)}
            if is_tree(inside.get(tree, "")):
                found.append((path, tree))
            elif tree in inside:
                raise TreeNotFoundError(
                    f"{tree!r} ({what}) in {path} is a {inside[tree]}, expected a TTree or RNTuple. {fix}"
                )
        if not found:
            searched = files[0] if len(files) == 1 else f"any of {len(files)} files in {files[0].parent}"
            raise TreeNotFoundError(f"tree {tree!r} ({what}) is missing from {searched}{closest(tree, trees)}. {fix}")
        return tuple(found)

    def trees(self, only: Collection[Path] | None = None) -> dict[FileTree, Parts]:
        """Return the trees that the configuration names and the files, or some of them, hold.

        Those of a sample or a systematic that a run leaves out may be missing.
        """
        found: dict[FileTree, Parts] = {}
        for sample, variation, shifted in self._every():
            for file_tree, part in self._parts(sample, variation, shifted, only):
                found[file_tree] = (*found.get(file_tree, ()), part)
        return found

    def _every(self) -> Iterator[tuple[str, Variation, ShiftedTrees | None]]:
        """Yield every sample in every variation with trees that the dataset has."""
        for sample in self.dataset.samples:
            yield sample, NOMINAL, None
            for name, item in self.dataset.systematics.items():
                shifted = item.shifted_trees(name)
                if shifted is not None and sample in item.samples:
                    for direction in shifted.directions:
                        yield sample, Variation(shifted.source, direction), shifted

    def _parts(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None, only: Collection[Path] | None
    ) -> Iterator[tuple[FileTree, Part]]:
        """Yield the trees that are there of a sample in one variation, and what each is in the dataset."""
        first_row = 0
        for era in self.dataset.era_keys_of(sample):
            try:
                files, tree = self.configured(sample, variation, shifted, era)
            except DatasetFileError:
                continue
            events = None if shifted is None else shifted.apart(sample, variation.direction, era)
            for path in files:
                name = TABLE if is_parquet(path) else tree
                if (only is None or path in only) and is_tree(contents(path).get(name, "")):
                    yield (path, name), Part(events or sample, first_row, self.dataset.era_keys.index(era))
                    # Of the observed events nobody asks, and their number is not to be written down.
                    is_numbered = not self.dataset.event_id and sample != self.dataset.observed_name
                    first_row += _entries(path, name) if is_numbered else 0

    def claim(
        self, sample: str, variation: Variation, nominal: tuple[FileTree, ...], trees: tuple[FileTree, ...]
    ) -> None:
        """Check that shifted trees are not those of another sample: "TT" + "_had_jes_up" is "TT_had" + "_jes_up"."""
        for path, tree in trees:
            other, its_variation, its_nominal = self.claims.setdefault((path, tree), (sample, variation, nominal))
            if other != sample and its_nominal != nominal and (variation, its_variation) != (NOMINAL, NOMINAL):
                raise DatasetError(
                    f"tree {tree!r} in {path} is that of sample {other!r}, {its_variation}, and of sample {sample!r}, "
                    f"{variation}; expected a tree for each. Rename a sample or a systematic, or fix dataset.tree or "
                    "dataset.variation"
                )


def _friend(path: Path, text: str) -> FileTree:
    """Return what TREE or FILE:TREE stands for beside a file."""
    file, _, tree = text.rpartition(":")
    return path.parent / file if file else path, tree


def _of(era: str) -> str:
    return f", {era}" if era else ""


def _entries(path: Path, tree: str) -> int:
    with opened(path, tree) as branches:
        return int(branches.num_entries)


def _fill(pattern: str, key: str, **values: str) -> str:
    return filled(pattern, f"dataset.{key}", **values)


def filled(pattern: str, key: str, **values: str) -> str:
    """Return a pattern with its placeholders filled; ``key`` is that of the configuration.

    Raises:
        ConfigError: If it holds others.
    """
    allowed = ", ".join(f"{{{name}}}" for name in values)
    allowed += "; {era} needs dataset.eras" if "{era}" in pattern and "era" not in values else ""
    error = ConfigError(f"{key} is {pattern!r}; the placeholders that it may hold are {allowed}")
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as broken:
        raise error from broken
    # Names alone: format() also takes attributes, {sample.__class__}, and widths of any size, {sample:999999999}.
    for _, name, width, conversion in parts:
        if name is not None and (name not in values or width or conversion):
            raise error
    return pattern.format(**values)


def direction_words(source: str, direction: str) -> dict[str, str]:
    """Return what the placeholders of a systematic stand for, the direction as each of them is spelt itself."""
    return {
        "systematic": source,
        "direction": direction,
        "Direction": direction.capitalize(),
        "DIRECTION": direction.upper(),
    }
