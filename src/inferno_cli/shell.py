"""An argument of the command line, as it is typed in a shell."""

from __future__ import annotations

import re
import shlex


def argument(key: str, value: object) -> str:
    """Return an argument as it is typed in a shell, quoted for Hydra and for the shell where that is needed."""
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z_./][\w./+:@%-]*", text, re.ASCII) is not None
    if plain and ("/" in text or not re.fullmatch(r"null|true|false|nan|inf|\..*", text, re.IGNORECASE)):
        return f"{key}={text}"
    return shlex.quote(f"{key}={quoted(text)}")


def quoted(text: str) -> str:
    """Return a text as a value of Hydra's grammar, in which a backslash is itself but before a quote."""
    mark = "'" if '"' in text else '"'
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda found: found[1] * 2 + ("\\" + mark if found[2] else ""), text)
    return f"{mark}{escaped}{mark}"
