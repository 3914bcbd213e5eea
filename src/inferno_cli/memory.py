"""The memory that a process may have, asked before its libraries are loaded."""

from __future__ import annotations

from inferno_cli.errors import MemoryLimitError

LEAST_MEMORY, LEAST_FOR_TORCH = 512, 1536
"""MB of address space (ulimit -v) with which the libraries can be loaded; with less, they abort or try for ever."""


def require_memory(least: int = LEAST_MEMORY) -> None:
    """Raise MemoryLimitError where the process may not have the memory that its libraries need."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit
    except ImportError:  # not on Windows
        return
    limit = getrlimit(RLIMIT_AS)[0]
    if limit != RLIM_INFINITY and limit < least * 2**20:
        raise MemoryLimitError(
            f"the process may have {limit >> 20} MB of memory, and its libraries need at least {least} MB. Raise the "
            "limit: ulimit -v, the memory of the batch job"
        )
