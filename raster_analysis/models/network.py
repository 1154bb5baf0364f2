"""The seam inside this room: a network on one runtime, tensors in and tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from raster_analysis.errors import BudgetError, ModelError
from raster_analysis.models.head import Head
from raster_analysis.models.preprocess import Normalisation

Arrays = Mapping[str, npt.NDArray[Any]]


class NotConvertible(ModelError):
    """A runtime cannot take this network; another one may."""


class OutOfMemory(BudgetError):
    """A device has no memory for a batch of this size; a smaller one may fit."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """How one network is to be set up, whatever the runtime."""

    normalisation: Normalisation
    bands: int
    rows: int
    cols: int
    batch: int
    """Tiles per run; runs of a network with a fixed batch are always filled up to it."""
    fixed_batch: bool
    layout: Literal["NCHW", "NHWC"]
    input_name: str | None
    input_rank: int
    """4, or 3 for networks that take one tile without a batch axis."""
    takes_bytes: bool
    device: str
    precision: str
    threads: int
    halves: tuple[int, ...] = ()
    """Of a network that takes two dates apart: which half of the bands each input takes, in the network's order."""

    @property
    def tile_shape(self) -> tuple[int, int, int, int]:
        """Return `(batch, bands, rows, cols)`."""
        return (self.batch, self.bands, self.rows, self.cols)


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """One output for a full batch; -1 in the shape where the content decides."""

    shape: tuple[int, ...]
    integers: bool


class Network(Protocol):
    """A network ready to run on tiles `(n, bands, rows, cols)` of pixel values, n at most the plan's batch."""

    plan: NetworkPlan

    def outputs(self) -> dict[str, OutputFacts]:
        """Return what is known of the outputs by name, in order; empty when only running tiles tells."""

    def tensors(self, tiles: npt.NDArray[np.generic]) -> list[Arrays]:
        """Return all outputs: one mapping for the batch, or one per tile (without a batch axis)."""

    def pixels(self, tiles: npt.NDArray[np.generic], output: str, head: Head) -> npt.NDArray[np.generic]:
        """Return what the head makes of an output's scores; raises ModelError for NaN and infinity."""


def fill_batch(tiles: npt.NDArray[np.generic], plan: NetworkPlan) -> npt.NDArray[np.generic]:
    """Return tiles with empty ones added up to the batch that the network insists on."""
    if not plan.fixed_batch or len(tiles) == plan.batch:
        return tiles
    filled = np.zeros(plan.tile_shape, tiles.dtype)
    filled[: len(tiles)] = tiles
    return filled


def bytes_only(tiles: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return tiles as bytes for a network that takes nothing else; raises ModelError where that would wrap."""
    if tiles.dtype == np.uint8:
        return tiles.astype(np.uint8, copy=False)
    if np.issubdtype(tiles.dtype, np.floating):
        tiles = np.rint(tiles)
    if tiles.min() < 0 or tiles.max() > 255:
        raise ModelError(
            f"the network takes bytes and the raster holds {tiles.dtype} values up to {tiles.max():g}; "
            "give the definition a DataRange of [0, 255] or use an 8-bit raster"
        )
    return tiles.astype(np.uint8)
