"""Percentiles as functions of SQLite, which has none: exact, over groups too."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Pick = Callable[["array[float]", float, bool], float]
PERCENTILES = ("percentile_cont", "percentile_disc")


def add_percentiles(connection: sqlite3.Connection) -> None:
    """Let statements call `percentile_cont(value, share, descending)` and `percentile_disc` with the same arguments.

    Nulls do not count; of no values there is none.
    """
    # typeshed knows aggregates of one whole number only.
    picks: dict[str, Callable[[], Any]] = {
        "percentile_cont": partial(_Percentile, _between),
        "percentile_disc": partial(_Percentile, _among),
    }
    for name, start in picks.items():
        connection.create_aggregate(name, 3, start)


class _Percentile:
    """The values of one group."""

    def __init__(self, pick: Pick) -> None:
        self._pick, self._values = pick, array("d")
        self._share, self._descending = 0.0, False

    def step(self, value: float | None, share: float, descending: int) -> None:
        """Take one value."""
        if value is not None:
            self._values.append(value)
            self._share, self._descending = share, bool(descending)

    def finalize(self) -> float | None:
        """Return the percentile."""
        return self._pick(self._values, self._share, self._descending) if self._values else None


def _between(values: array[float], share: float, descending: bool) -> float:
    """Return what lies at a share of the way, between two values if need be."""
    with np.errstate(invalid="ignore"):  # of infinities
        return float(np.quantile(np.frombuffer(values), 1 - share if descending else share))


def _among(values: array[float], share: float, descending: bool) -> float:
    """Return the first value, in order, up to which at least a share of all lies."""
    place = max(0, math.ceil(share * len(values)) - 1)
    place = len(values) - 1 - place if descending else place
    return float(np.partition(np.frombuffer(values), place)[place])
