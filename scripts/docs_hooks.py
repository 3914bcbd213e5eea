"""What the documentation takes from elsewhere while mkdocs builds it, so that nothing is written twice.

In a page, ``<!-- README: Heading -->`` stands for that section of the README, ``<!-- FILES: results/*.md -->`` for the
files of a glob below docs/, and ``<!-- CONFIGURATION -->`` for the reference of every key, made from the schema and
from the YAML files. Formulas in dollars become MathML, which browsers render by themselves.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


class DocsError(ValueError):
    """A page names what is not there."""


# ------------------------------------------------------------------------------------------------ mkdocs' hooks
def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what a page includes, and take the formulas out, which Markdown would garble."""
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./([^)]*)\)", outside, markdown)
    markdown = re.sub(r"<!-- README: (.+?) -->", lambda found: readme(found[1]), markdown)
    markdown = re.sub(r"<!-- FILES: (.+?) -->", lambda found: files(found[1]), markdown)
    if "<!-- CONFIGURATION -->" in markdown:
        markdown = markdown.replace("<!-- CONFIGURATION -->", configuration())
    page.meta["formulas"] = formulas = []
    return take_formulas(markdown, formulas)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Put the formulas back as MathML."""
    return re.sub(r"MATHML(\d+)MATHML", lambda found: page.meta["formulas"][int(found[1])], html)


# ----------------------------------------------------------------------------------------------------- formulas
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def take_formulas(markdown: str, formulas: list[str]) -> str:
    """Replace $...$ and $$...$$ outside of code by markers, and append their MathML to ``formulas``."""
    from latex2mathml.converter import convert

    def keep(latex: str, display: str) -> str:
        formulas.append(convert(latex.strip(), display=display))
        return f"MATHML{len(formulas) - 1}MATHML"

    parts = CODE.split(markdown)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\$\$(.+?)\$\$", lambda found: keep(found[1], "block"), parts[i], flags=re.DOTALL)
        parts[i] = re.sub(r"\$([^$\n]+)\$", lambda found: keep(found[1], "inline"), parts[i])
    return "".join(parts)


# ----------------------------------------------------------------------------------------- parts of other files
def readme(heading: str) -> str:
    """Return a section of the README without its heading; "" for what is before the first section.

    Diagrams are left out: to draw them a browser needs a script from the network.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    level, start = (1, 0) if heading == "(top)" else (0, -1)
    offset, fenced = 0, False
    end = len(text)
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        found = None if fenced else re.match(r"(#+) (.*)", line)
        if found and start >= 0 and (len(found[1]) <= level or heading == "(top)") and offset > 0:
            end = offset
            break
        if found and (found[2].strip() == heading or (heading == "(top)" and offset == 0)):
            level, start = len(found[1]), offset + len(line)
        offset += len(line)
    if start < 0:
        raise DocsError(f"README.md has no section {heading!r}")
    section = re.sub(r"^```mermaid\n.*?^```\n", "", text[start:end], flags=re.MULTILINE | re.DOTALL)
    section = section.replace("](docs/", "](")

    def link(found: re.Match[str]) -> str:
        """Of a file that is not part of the site, the name alone."""
        place = found[2].partition("#")[0]
        return found[0] if re.match(r"https?:", place) or (DOCS / place).is_file() else found[1]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)]*)\)", link, section)


def outside(link: re.Match[str]) -> str:
    """Return the name alone of a link to a file of the repository that is not part of the site."""
    if not (ROOT / link[2]).exists():
        raise DocsError(f"a page links to {link[2]}, which is not there")
    return link[1]


def files(pattern: str) -> str:
    """Return the text of files below docs/, headings one level down."""
    found = sorted(DOCS.glob(pattern))
    return "\n\n".join(re.sub(r"^#", "##", path.read_text(encoding="utf-8"), flags=re.MULTILINE) for path in found)


# ---------------------------------------------------------------------------------------- configuration reference
MISSING = object()


def configuration() -> str:
    """Return the reference of every key of every step."""
    from inferno_cli.cli.main import step_help

    described: dict[str, str] = {}
    lines: list[str] = []
    steps = step_help()
    for step in sorted(steps, key=lambda name: (name != "train", name)):
        schema = importlib.import_module(f"inferno_cli.steps.{step}").schema()
        values, groups = composed(step)
        lines += [f"## {step}", "", f"`inferno {step}`: {steps[step]}.", ""]
        if groups:
            lines += ["| group | choices |", "|---|---|"]
            lines += [f"| `{name}` | {', '.join(f'`{x}`' for x in choices)} |" for name, choices in groups.items()]
            lines.append("")
        lines += section(schema, values, step, "", described)
    return "\n".join(lines)


def section(schema: Any, values: Any, step: str, prefix: str, described: dict[str, str]) -> list[str]:
    """Return the table of one section's keys, and behind it the sections inside of it.

    Args:
        schema: Its class.
        values: Its values in the default configuration, where it is there.
        step: The step that it belongs to.
        prefix: Its key.
        described: Anchors of the sections that have been described, by class and values.
    """
    lines, below = ["| key | type | default | |", "|---|---|---|---|"], []
    texts = descriptions(schema)
    for name, field in schema.model_fields.items():
        key = field.alias or name
        value = values.get(key, MISSING) if isinstance(values, dict) else MISSING
        if value is MISSING and not field.is_required() and field.default_factory is None:
            value = field.default
        full = f"{prefix}.{key}" if prefix else key
        inside, links = list(sections(field.annotation)), []
        for part in inside:
            chosen = value if isinstance(value, dict) else {}
            kinds = get_args(part.model_fields["kind"].annotation) if len(inside) > 1 else ()
            if kinds and chosen.get("kind") not in kinds:
                chosen = {}
            title = full + "".join(f", kind: {kind}" for kind in kinds)
            identity = f"{part.__module__}.{part.__qualname__} {json.dumps(chosen, default=str)}"
            if identity not in described:
                described[identity] = re.sub(r"\W+", "-", f"{step}-{title}").lower()
                below += ["", f"### {title} {{: #{described[identity]} }}", "", doc(part), ""]
                below += section(part, chosen, step, full, described)
            links.append(f"[{kinds[0] if kinds else 'section'}](#{described[identity]})")
        kind_of = type_name(field.annotation, field.metadata)
        if links:
            kind_of = re.sub(r"section(?: or section)*", " or ".join(links), kind_of)
        shown = "" if inside and value is not None else default(value, required=field.is_required())
        own = texts.get(name) or (doc(inside[0]).partition("\n")[0] if len(inside) == 1 else "")
        text = " ".join(own.replace("|", "\\|").replace("``", "`").split())
        lines.append(f"| `{key}` | {kind_of} | {shown} | {text} |")
    return [*lines, "", *below]


def default(value: Any, *, required: bool) -> str:
    """Return a default as it is written in YAML."""
    if value is MISSING:
        return "*required*" if required else ""
    if value == "???":
        return "*required*"
    if isinstance(value, tuple):
        value = list(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"`{text}`" if text else "`''`"


def type_name(annotation: Any, metadata: Any = ()) -> str:
    """Return a type as a reader of YAML understands it, with its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    limits = [text for item in metadata for text in constraints(item)]
    suffix = f" {', '.join(limits)}" if limits else ""
    if origin is Annotated:
        return type_name(arguments[0], (*arguments[1:], *metadata))
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        inner = list(dict.fromkeys("null" if x is NoneType else type_name(x) for x in arguments))
        return " or ".join(inner) + suffix
    if origin is tuple:
        inner = [x for x in arguments if x is not Ellipsis]
        if Ellipsis in arguments:
            return f"list of {type_name(inner[0])}{suffix}"
        return f"[{', '.join(map(type_name, inner))}]{suffix}"
    if origin is dict:
        return f"mapping of {type_name(arguments[1])}{suffix}"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}
    return names.get(annotation, "section") + suffix


def constraints(item: Any) -> Iterator[str]:
    """Yield the range that pydantic's metadata asks for."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    for part in (item, *getattr(item, "metadata", ())):
        for name, sign in signs.items():
            if (value := getattr(part, name, None)) is not None:
                yield f"{sign} {value:g}"
        if (length := getattr(part, "min_length", None)) is not None:
            yield f"of at least {length}"


def sections(annotation: Any) -> Iterator[type]:
    """Yield the sections in the type of a field."""
    if inspect.isclass(annotation) and hasattr(annotation, "model_fields"):
        yield annotation
    for inner in get_args(annotation):
        yield from sections(inner)


def doc(part: type) -> str:
    """Return the docstring of a section."""
    return (inspect.getdoc(part) or "").replace("``", "`")


@cache
def descriptions(schema: type) -> dict[str, str]:
    """Return the docstring below each field, those of the base classes included."""
    found: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        if not hasattr(base, "model_fields") or base.__module__.startswith("pydantic"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for item, following in zip(tree.body, [*tree.body[1:], None], strict=True):
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if is_text:
                found[item.target.id] = inspect.cleandoc(str(following.value.value))  # type: ignore[union-attr]
    return found


def composed(step: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the values of a step's default configuration, and the choices of its groups."""
    import yaml
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from inferno_cli.config import config_folder

    top = config_folder()
    with initialize_config_dir(str(top), version_base="1.3"):
        values = OmegaConf.to_container(compose(step, overrides=["~job"]))
    assert isinstance(values, dict)
    listed = yaml.safe_load((top / f"{step}.yaml").read_text(encoding="utf-8")).get("defaults", [])
    names = [name for item in listed if isinstance(item, dict) for name in item if name != "job"]
    if step == "train":
        names += ["+experiment", "+sweep", "+study"]
    groups = {name: sorted(path.stem for path in (top / name.lstrip("+")).glob("*.yaml")) for name in names}
    return {str(key): value for key, value in values.items()}, {name: found for name, found in groups.items() if found}
