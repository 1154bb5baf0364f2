"""Working memory, measured while something runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_STATUS = Path("/proc/self/statm")
_INTERVAL_S = 0.002
T = TypeVar("T")


def measure(work: Callable[[], T]) -> tuple[T, int]:
    """Return what `work` returns and the bytes by which the process grew meanwhile; 0 where the system does not tell.

    Sampled from a thread rather than through the kernel's high-water mark, which cannot be reset
    without spoiling it for whoever measures the whole process.
    """
    if not _STATUS.exists():
        return work(), 0
    before = _resident_bytes()
    peak = [before]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(done, peak), daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    return result, max(peak[0], _resident_bytes()) - before


def _watch(done: threading.Event, peak: list[int]) -> None:
    while not done.wait(_INTERVAL_S):
        peak[0] = max(peak[0], _resident_bytes())


def _resident_bytes() -> int:
    return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
