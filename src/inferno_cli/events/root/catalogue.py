"""Which files and trees of ntuples hold which sample, in which variation."""

from __future__ import annotations

from collections.abc import Collection
from glob import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Formatter

from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.assignment import FileTree, Part, Parts
from inferno_cli.events.root.layout import EMBEDDED, NtupleLayout
from inferno_cli.events.root.trees import contents, find_files, is_tree, opened
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.events.systematic import ShiftedTrees

EMBEDDED_FILE = "top11004_sim.root"


class Catalogue:
    """Finds the trees of one dataset configuration."""

    def __init__(self, dataset: NtupleLayout) -> None:
        self.dataset = dataset
        self.claims: dict[FileTree, tuple[str, Variation, tuple[FileTree, ...]]] = {}
        """Who reads a tree: the sample, its variation, and its nominal trees."""

    def configured(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None
    ) -> tuple[list[Path], str]:
        """Return the files that may hold one sample in one variation, and the name of its tree.

        ``shifted`` is what a systematic says of its trees: its patterns go before those of the sample and the dataset.
        """
        dataset, settings = self.dataset, self.dataset.samples[sample]
        patterns = {"tree": settings.tree or dataset.tree, "file": settings.file or dataset.file}
        keys = {"tree": "tree", "file": "file"}
        names = {"sample": sample, "variation": ""}
        words: dict[str, str] = {}
        if shifted is not None:
            words = _words(shifted.source, variation.direction)
            key = f"systematics.{shifted.systematic}"
            is_own = shifted.variation is not None
            suffix = shifted.variation if shifted.variation is not None else dataset.variation
            names["variation"] = _fill(suffix, f"{key}.variation" if is_own else "variation", **words)
            for name, pattern in (("tree", shifted.tree), ("file", shifted.file)):
                if pattern is not None:
                    patterns[name], keys[name] = pattern, f"{key}.{name}"

        def filled(name: str, **values: str) -> str:
            """Fill the pattern of the tree or the file; the dataset's own know nothing of systematics."""
            known = values if "." in keys[name] else {key: values[key] for key in names}
            return _fill(patterns[name], keys[name], **known)

        tree = filled("tree", **names, **words)
        # A "*" or "[" in a name is no pattern: "W*" must not read the files of "W+jets".
        pattern = filled("file", **{key: escape(name) for key, name in (names | words).items()})
        if dataset.path == EMBEDDED:
            return [Path(str(package_files("inferno_cli") / "data" / EMBEDDED_FILE))], tree
        return find_files(dataset.path, pattern, "dataset.path", "dataset.file"), tree

    def locate(self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None) -> tuple[FileTree, ...]:
        """Return the trees that hold one sample in one variation."""
        files, tree = self.configured(sample, variation, shifted)
        fix = "Fix dataset.tree, dataset.variation or dataset.path"
        found: list[FileTree] = []
        trees: set[str] = set()
        for path in files:
            inside = contents(path)
            trees |= {name for name, kind in inside.items() if is_tree(kind)}
            if is_tree(inside.get(tree, "")):
                found.append((path, tree))
            elif tree in inside:
                raise TreeNotFoundError(
                    f"{tree!r} (sample {sample!r}, {variation}) in {path} is a {inside[tree]}, expected a TTree or "
                    f"RNTuple. {fix}"
                )
        if not found:
            searched = files[0] if len(files) == 1 else f"any of {len(files)} files in {files[0].parent}"
            raise TreeNotFoundError(
                f"tree {tree!r} (sample {sample!r}, {variation}) is missing from {searched}{closest(tree, trees)}. "
                f"{fix}"
            )
        return tuple(found)

    def trees(self, only: Collection[Path] | None = None) -> dict[FileTree, Parts]:
        """Return the trees that the configuration names and the files, or some of them, hold.

        Those of a sample or a systematic that a run leaves out may be missing.
        """
        found: dict[FileTree, Parts] = {}
        for sample in self.dataset.samples:
            needed: list[tuple[Variation, ShiftedTrees | None]] = [(NOMINAL, None)]
            for name, item in self.dataset.systematics.items():
                shifted = item.shifted_trees(name)
                if shifted is not None and sample in item.samples:
                    for direction in shifted.directions:
                        needed.append((Variation(shifted.source, direction), shifted))
            for variation, shifted in needed:
                try:
                    files, tree = self.configured(sample, variation, shifted)
                except DatasetFileError:
                    continue
                first_row = 0
                for path in files:
                    if (only is None or path in only) and is_tree(contents(path).get(tree, "")):
                        events = shifted.apart(sample, variation.direction) if shifted is not None else None
                        found[path, tree] = (*found.get((path, tree), ()), Part(events or sample, first_row))
                        # Of the observed events nobody asks, and their number is not to be written down.
                        is_numbered = not self.dataset.event_id and sample != self.dataset.observed_name
                        first_row += _entries(path, tree) if is_numbered else 0
        return found

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


def _entries(path: Path, tree: str) -> int:
    with opened(path, tree) as branches:
        return int(branches.num_entries)


def _fill(pattern: str, key: str, **values: str) -> str:
    allowed = ", ".join(f"{{{name}}}" for name in values)
    error = ConfigError(f"dataset.{key} is {pattern!r}; the placeholders that it may hold are {allowed}")
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as broken:
        raise error from broken
    # Names alone: format() also takes attributes, {sample.__class__}, and widths of any size, {sample:999999999}.
    for _, name, width, conversion in parts:
        if name is not None and (name not in values or width or conversion):
            raise error
    return pattern.format(**values)


def _words(source: str, direction: str) -> dict[str, str]:
    """Return what the placeholders of a systematic stand for, the direction as each of them is spelt itself."""
    return {
        "systematic": source,
        "direction": direction,
        "Direction": direction.capitalize(),
        "DIRECTION": direction.upper(),
    }
