"""Choosing a tiling: what the user asks for, then what the package says, then what wastes least."""

from __future__ import annotations

from dataclasses import dataclass, replace

from raster_analysis.errors import ParameterError
from raster_analysis.inference.memory import memory_bill, memory_need
from raster_analysis.inference.tiles import Tiling, blocks_of
from raster_analysis.model_info import ModelInfo

__all__ = ["Tiling", "blocks_of", "choose_tiling", "memory_bill"]

LARGEST_TILE_PX = 2304
"""Beyond this there is little left to gain: with 64 px of context 1.12 pixels are computed for one wanted.

Measured: a U-Net on OpenVINO runs at nearly one speed a pixel from 256 to 2176 px, so the padding decides.
"""
GOOD_ENOUGH = 1.05
"""A smaller tile is preferred to one that computes up to 5 % fewer pixels: less memory, and a job that is
asked to stop stops sooner (guess)."""


@dataclass(frozen=True, slots=True)
class _Wish:
    tile_size: int | None
    padding: int | None
    batch_size: int | None


def choose_tiling(
    info: ModelInfo,
    grid_shape: tuple[int, int],
    *,
    tile_size: int | None = None,
    padding: int | None = None,
    batch_size: int | None = None,
    memory_limit: int,
    sample_bytes: int = 4,
    probabilities: bool = False,
) -> Tiling:
    """Return the tiling for a model and a grid of `(height, width)` pixels.

    What is given is used as it is, or refused: ParameterError names every fault. What is left open is
    chosen: for a model that takes any tile, the tile that computes the fewest pixels within
    `memory_limit` and is no smaller than the package's own; the padding that the package's context
    needs, or its default; a batch of as many pixels as the package's own. A batch the network fixes
    always holds. `sample_bytes` and `probabilities` are those of the bill, which the tile must fit.
    Raises BudgetError when even one tile at a time does not.
    """
    wish = _Wish(tile_size, padding, batch_size)
    faults = _faults(info, wish)
    if faults:
        raise ParameterError(faults)
    tilings = [_tiling(info, grid_shape, wish, shape) for shape in _tile_shapes(info, wish, max(grid_shape))]
    needs = [memory_need(tiling, info, sample_bytes, probabilities=probabilities) for tiling in tilings]
    fitting = [tiling for tiling, need in zip(tilings, needs, strict=True) if need.total <= memory_limit]
    if not fitting:
        smallest = tilings[0] if batch_size or info.fixed_batch else replace(tilings[0], batch_size=1)
        memory_bill(smallest, info, sample_bytes, memory_limit, probabilities=probabilities)
        fitting = [smallest]
    # Tiles come in order of size, so this is the smallest that is good enough; it may also fit the grid better.
    least = min(tiling.waste for tiling in fitting)
    return next(tiling for tiling in fitting if tiling.waste <= least * GOOD_ENOUGH)


def _faults(info: ModelInfo, wish: _Wish) -> list[str]:
    faults = [*_tile_faults(info, wish.tile_size), *_padding_faults(info, wish)]
    if wish.batch_size is not None and wish.batch_size < 1:
        faults.append(f"batch_size {wish.batch_size} is less than 1")
    return faults


def _tile_faults(info: ModelInfo, tile_size: int | None) -> list[str]:
    if tile_size is None or (info.tile_height == info.tile_width == tile_size):
        return []
    if tile_size < 1:
        return [f"tile_size {tile_size} is less than 1"]
    if not info.variable_tile:
        own = f"{info.tile_height} x {info.tile_width}"
        return [f"tile_size {tile_size} was given, but model {info.name!r} takes tiles of {own} pixels only"]
    if tile_size % info.tile_multiple:
        return [f"tile_size {tile_size} is not a multiple of {info.tile_multiple}, which model {info.name!r} needs"]
    return []


def _padding_faults(info: ModelInfo, wish: _Wish) -> list[str]:
    padding, own = wish.padding, info.model_padding
    if own and padding not in (None, own):
        return [f"padding {padding} was given, but model {info.name!r} has a ModelPadding of {own} and takes no other"]
    side = wish.tile_size or (LARGEST_TILE_PX if info.variable_tile else min(info.tile_height, info.tile_width))
    padding = own if padding is None else padding
    if padding < 0:
        return [f"padding {padding} is negative"]
    if 2 * padding >= side:
        return [f"padding {padding} is not less than half of the tile, {side} pixels; at most {(side - 1) // 2} works"]
    return []


def _tile_shapes(info: ModelInfo, wish: _Wish, grid_side: int) -> list[tuple[int, int]]:
    """Return the tiles to choose from, the smallest first."""
    if wish.tile_size is not None:
        return [(wish.tile_size, wish.tile_size)]
    # Never below the package's own: it is the one size that is known to work, and context costs little here.
    own = (info.tile_height, info.tile_width)
    if not info.variable_tile:
        return [own]
    # A grid needs no tile beyond itself and its padding, but a tile needs to be more than its padding.
    step, border = info.tile_multiple, 2 * _wanted_padding(info, wish)
    first = _round_up(max(own) + 1, step)
    last = max(min(LARGEST_TILE_PX, _round_up(grid_side + border, step)), _round_up(border + 1, step))
    shapes = [own, *((side, side) for side in range(first, last + 1, step))]
    return [shape for shape in shapes if min(shape) > border] if border < last else [own]


def _round_up(size_px: int, step: int) -> int:
    return -(-size_px // step) * step


def _wanted_padding(info: ModelInfo, wish: _Wish) -> int:
    if wish.padding is not None:
        return wish.padding
    if info.model_padding:
        return info.model_padding
    if info.context is None:
        return info.padding
    # Tiles of one size gain nothing from more padding than the package's own.
    return info.context if info.variable_tile else min(info.context, info.padding)


def _tiling(info: ModelInfo, grid_shape: tuple[int, int], wish: _Wish, shape: tuple[int, int]) -> Tiling:
    height, width = shape
    padding = _wanted_padding(info, wish)
    # A default must not turn a tile size that the user gave into an error; a quarter is what Esri's functions take.
    if wish.padding is None and not info.model_padding and 2 * padding >= min(shape):
        padding = min(shape) // 4
    # The package's batch says how much its author held at once; larger tiles make that fewer of them.
    own_px = info.batch_size * info.tile_height * info.tile_width
    return Tiling(
        grid_height=grid_shape[0],
        grid_width=grid_shape[1],
        tile_height=height,
        tile_width=width,
        padding=padding,
        batch_size=info.fixed_batch or wish.batch_size or max(1, own_px // (height * width)),
        model_padding=info.model_padding,
        fixed_batch=info.fixed_batch is not None,
    )
