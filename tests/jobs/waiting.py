"""Waiting for facts instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(fact: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait until a fact is true."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come true in time"
        time.sleep(0.002)
