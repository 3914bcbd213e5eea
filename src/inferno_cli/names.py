"""Names that files and other tools take, made of the names that users give to samples and parameters."""

from __future__ import annotations

import hashlib
import html
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable

LONGEST = 80
"""Bytes of a name that becomes part of a file's name; the file systems in use end at 255."""
DIGITS = 6
"""Of the digest that tells names apart which would otherwise be the same."""


def printable(text: str) -> str:
    """Return a text on one line: signs that cannot be shown, line breaks among them, are written as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def markdown(text: str) -> str:
    """Return a text that Markdown, also in a table, shows as it is: the signs that mean something else are escaped."""
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(printable(text), quote=False))


def morph_name(sample: str, systematic: str) -> str:
    """Return the name of the sample that holds (up - down) / 2 of a shape without a constraint."""
    return f"{sample}@{systematic}"


def staterror_of(channel: str) -> str:
    """Return the name of the parameters of the statistical error of a channel's templates."""
    return f"staterror_{channel}"


def fold_of(channel: str, fold: int, n_folds: int) -> str:
    """Return the name in the likelihood of the part of a channel that one network evaluates; of one alone its own."""
    return channel if n_folds == 1 else f"{channel}_fold{fold}"


def folded(name: str) -> str:
    """Return what is left of a name where upper and lower case, and two ways to write one letter, are the same.

    The file systems of macOS and Windows keep one file for both, and some databases one row.
    """
    return unicodedata.normalize("NFKC", name).casefold()


def another(name: str, text: str, used: Iterable[str], longest: int = LONGEST) -> str:
    """Return ``text`` with a digest of ``name`` behind it: at most ``longest`` bytes, and none of ``used``."""
    taken = {folded(other) for other in used}
    stem = text.encode()[: longest - DIGITS - 1].decode(errors="ignore")  # no letter halved
    for attempt in itertools.count():
        digest = hashlib.sha256(f"{name}\0{attempt}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
        if folded(f"{stem}_{digest}") not in taken:
            break
    return f"{stem}_{digest}"


def distinct(
    names: Iterable[str],
    safe: Callable[[str], str],
    *,
    taken: Iterable[str] = (),
    longest: int = LONGEST,
    fold: Callable[[str], str] = folded,
) -> dict[str, str]:
    """Return a name for each of ``names`` that another tool takes, all of them different.

    It is what ``safe`` makes of the name, and for a name that ``safe`` leaves alone the name itself. Where that is
    too long, or the same for two names, a digest of the name is appended: it does not depend on the other names.

    Args:
        names: As the user wrote them.
        safe: Replaces what the other tool does not take; of its own result it makes the same again.
        taken: Names that none of them may have.
        longest: Bytes that a name may have.
        fold: Names that it makes the same are the same for the other tool.

    Example:
        >>> distinct(["pi+", "pi-", "K"], lambda name: name.replace("+", "_").replace("-", "_"))
        {'pi+': 'pi__1d6cad', 'pi-': 'pi__1f2aee', 'K': 'K'}
    """
    texts = {name: safe(name) for name in names}
    taken = tuple(taken)
    used = {fold(text) for text in taken}
    claims: dict[str, list[str]] = {}
    for name, text in texts.items():
        claims.setdefault(fold(text), []).append(name)
    found: dict[str, str] = {}
    for claim, claimants in claims.items():
        unchanged = [name for name in claimants if texts[name] == name]
        owners = claimants if len(claimants) == 1 else unchanged
        # Of several that are fine as they are, such as "Top" and "top", none is better than the other.
        if len(owners) == 1 and claim not in used and len(texts[owners[0]].encode()) <= longest:
            found[owners[0]] = texts[owners[0]]
    for name, text in texts.items():
        if name not in found:
            found[name] = another(name, text, (*taken, *found.values()), longest)
    return {name: found[name] for name in texts}


def distinct_with_parts(
    names: Iterable[str],
    safe: Callable[[str], str],
    parts: Callable[[str, str], Iterable[str]],
    *,
    taken: Iterable[str] = (),
    longest: int = LONGEST,
) -> dict[str, str]:
    """Return names as ``distinct`` does, for which all that is made of them is different as well.

    With "_" between two names the jes of "TT_had" and the had_jes of "TT" are one file: the sample with the longer
    name gets another one then.

    ``parts`` returns what is made of a name, given as the user wrote it and as the other tool takes it.
    """
    refused, reserved = set(taken), {folded(text) for text in taken}
    while True:
        found = distinct(names, safe, taken=refused, longest=longest)
        owner: dict[str, str] = {}
        double: set[str] = set()
        for name, text in found.items():
            for part in map(folded, parts(name, text)):
                other = owner.setdefault(part, text)
                if part in reserved:
                    double.add(text)
                elif other != text:
                    double.add(max(text, other, key=len))
        if not double:
            return found
        refused |= double
