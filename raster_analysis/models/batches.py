"""Batches of tiles: checked against the plan and split to what the network accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from raster_analysis.errors import ModelError
from raster_analysis.models.network import NetworkPlan, OutOfMemory

T = TypeVar("T")


def split_batch(tiles: npt.NDArray[np.generic], plan: NetworkPlan) -> Iterator[npt.NDArray[np.generic]]:
    """Yield tiles in runs of at most the plan's batch; raises ModelError when they do not fit the network."""
    if tiles.ndim != 4 or tiles.shape[1:] != plan.tile_shape[1:]:
        raise ModelError(
            f"tiles of shape {tiles.shape} do not fit the network, which is set up for "
            f"(n, {plan.bands} bands, {plan.rows} rows, {plan.cols} columns)"
        )
    if tiles.dtype.kind not in "uif":
        raise ModelError(f"pixels of type {tiles.dtype} cannot be given to a network; integers and floats can")
    for start in range(0, len(tiles), plan.batch):
        yield tiles[start : start + plan.batch]


def run_halving(
    run: Callable[[npt.NDArray[np.generic]], T], tiles: npt.NDArray[np.generic], plan: NetworkPlan
) -> list[T]:
    """Return the results of a batch, in halves where the device has no memory for the whole.

    Raises OutOfMemory when a single tile, or the one batch that the network takes, does not fit.
    """
    try:
        return [run(tiles)]
    except OutOfMemory:
        # A network that fills its batches up would be given as much again.
        if len(tiles) == 1 or plan.fixed_batch:
            raise
    half = len(tiles) // 2
    return [*run_halving(run, tiles[:half], plan), *run_halving(run, tiles[half:], plan)]


def probe_tiles(plan: NetworkPlan) -> npt.NDArray[np.uint8]:
    """Return one batch of the same made-up pixels every time, to see what a network gives before real tiles come."""
    generator = np.random.default_rng(20)  # any number: only sameness matters
    return generator.integers(0, 256, plan.tile_shape, np.uint8)
