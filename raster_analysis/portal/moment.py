"""The time as portals write it: milliseconds since 1970."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Something that tells the time in milliseconds; tests bring their own."""


def now_ms() -> int:
    """Return the time now."""
    return time.time_ns() // 1_000_000
