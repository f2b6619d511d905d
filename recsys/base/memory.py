"""Memory: how much this process may use, by the machine and by the limit of its container."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available(limits: tuple[str, ...] = _LIMITS) -> int:
    """The bytes of memory of this machine, or of the container if it may have fewer.

    Parameters
    ----------
    limits : tuple of str
        Files in which Linux says what a container may use; what is no number is no limit.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, limits):
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(found)
