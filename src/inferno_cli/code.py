"""Digest of the code: results that are kept say which code made them, also where a change is not committed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

TOP = Path(__file__).parent


@cache
def code_digest(*packages: str) -> str:
    """Return the digest of every module of inferno_cli, or only of those in the packages that are named.

    Args:
        packages: Such as "analyses"; none: all.

    Raises:
        FileNotFoundError: If there is no such package.
    """
    digest = hashlib.sha256()
    for top in [TOP / name for name in packages] or [TOP]:
        if not (top / "__init__.py").is_file():
            raise FileNotFoundError(f"{top} is no package of inferno_cli")
        for path in sorted(top.rglob("*.py")):
            digest.update(str(path.relative_to(TOP)).encode() + path.read_bytes())
    return digest.hexdigest()
