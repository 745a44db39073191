"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Stages = dict[str, dict[str, float]]

_PROC = Path("/proc/self")


@contextmanager
def stage(name: str, into: Stages) -> Iterator[None]:
    """Note the seconds and the process's peak memory (MB) of the block in ``into[name]``; a second block adds to it.

    On Linux the peak is of this block; elsewhere of the process so far.
    """
    with suppress(OSError):
        (_PROC / "clear_refs").write_text("5")
    started = time.monotonic()
    try:
        yield
    finally:
        entry = into.setdefault(name, {"seconds": 0.0, "peak_mb": 0.0})
        entry["seconds"] += time.monotonic() - started
        entry["peak_mb"] = max(entry["peak_mb"], _peak_mb())


def _peak_mb() -> float:
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", (_PROC / "status").read_text()):
            return int(found[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
