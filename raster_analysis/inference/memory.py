"""The memory bill of a tiling, computed before a pixel is read. It depends on tiles, not on the raster's size."""

from __future__ import annotations

from dataclasses import dataclass

from raster_analysis.errors import BudgetError
from raster_analysis.inference.batches import STRIP_PX
from raster_analysis.inference.pipeline import BATCHES_AHEAD, RESULTS_BEHIND
from raster_analysis.inference.tiles import Tiling
from raster_analysis.model_info import ModelInfo

_STRIPS = 3
"""The strip in use, the one above it and the rows being read."""
_LABEL_BYTES, _INDEX_BYTES, _SCORE_BYTES = 4, 2, 4


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that one slot needs above the loaded model."""

    strips: int
    batches: int
    predictions: int
    block: int
    network: int
    """The estimate of what the network holds while it runs."""

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.strips + self.batches + self.predictions + self.block + self.network


def memory_bill(
    tiling: Tiling,
    info: ModelInfo,
    sample_bytes: int = 4,
    memory_limit: int | None = None,
    *,
    probabilities: bool = False,
) -> int:
    """Return the bytes that working through one block takes; raises BudgetError when that is above the limit.

    `sample_bytes` is the size of one raster value; `probabilities` says that tiles will be blended.
    """
    need = memory_need(tiling, info, sample_bytes, probabilities=probabilities).total
    if memory_limit is not None and need > memory_limit:
        raise BudgetError(
            f"the job needs {_megabytes(need)} of memory above the model and {_megabytes(memory_limit)} are allowed; "
            "a smaller tile_size or batch_size needs less"
        )
    return need


def memory_need(tiling: Tiling, info: ModelInfo, sample_bytes: int = 4, *, probabilities: bool = False) -> MemoryNeed:
    """Return the items of the bill."""
    pixel = len(info.bands) * sample_bytes + 1
    tile = tiling.tile_height * tiling.tile_width
    height = _block_side(tiling.grid_height, tiling.inner_height, tiling)
    width = _block_side(tiling.grid_width, tiling.inner_width, tiling)
    # Blending reads one more tile on either side of a block.
    strip = max(tile, min(STRIP_PX, tiling.tile_height * (width + 2 * tiling.tile_width)))
    score = _SCORE_BYTES * max(1, len(info.values))
    return MemoryNeed(
        strips=_STRIPS * strip * pixel,
        batches=(BATCHES_AHEAD + 1) * tiling.batch_size * tile * pixel,
        predictions=(RESULTS_BEHIND + 1) * tiling.batch_size * tile * (score if probabilities else _INDEX_BYTES),
        block=height * width * _LABEL_BYTES + (score * tiling.tile_height * width if probabilities else 0),
        network=tiling.batch_size * tile * info.activation_bytes,
    )


def _block_side(grid_px: int, inner_px: int, tiling: Tiling) -> int:
    """Return the longest side that a block of whole inner tiles can have."""
    return min(grid_px, tiling.block_size + inner_px)


def _megabytes(size: int) -> str:
    return f"{-(-size // 1_000_000):,} MB"
