"""The code that made a result: its version, and its digest, which knows also of changes that are not committed."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from inferno_cli import __version__
from inferno_cli.choices import extension_folders

TOP = Path(__file__).parent


@cache
def code_digest(*packages: str) -> str:
    """Return the digest of every module of inferno_cli and its extensions, or of packages of it such as "analyses"."""
    digest = hashlib.sha256()
    for top in [TOP / name for name in packages] or [TOP]:
        if not (top / "__init__.py").is_file():
            raise FileNotFoundError(f"{top} is no package of inferno_cli")
        for path in sorted(top.rglob("*.py")):
            digest.update(str(path.relative_to(TOP)).encode() + path.read_bytes())
    for top in () if packages else extension_folders():  # their choices make results, too
        for path in sorted(top.rglob("*.py")):
            digest.update(str(path.relative_to(top)).encode() + path.read_bytes())
    return digest.hexdigest()


def code_version() -> str:
    """Version of the package, with the commit when it runs from a checkout (``+dirty`` with changes)."""
    source = TOP.resolve().parents[1]
    if not (source / ".git").exists():
        return __version__
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+dirty", "--abbrev=12", "--exclude=*"],
            cwd=source,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{commit}"
