"""Where tiles and blocks lie on a grid. Arithmetic only; `tiling` chooses, `batches` reads.

A model sees *tiles*. Each answers for its *inner* part; the border of `padding` pixels around that is
context, read from real neighbours. Tiles start at the top-left corner of the grid, so tile (0, 0)
reaches `padding` pixels over its edge. A *block* is a rectangle of whole inner parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from raster_analysis.grid import Window
from raster_analysis.tool import Block

BLOCK_SIZE_PX = 4096
"""Aim for the side of a block: 16 MP is seconds to minutes of work, and 16 MB of labels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One call of the model: what it reads and what it answers for, in pixels of the grid."""

    row: int
    """Counted in tiles from the top of the grid."""
    col: int
    read: Window
    """What the model sees; may reach over the edges of the grid."""
    keep: Window
    """What the prediction counts for; always inside the grid."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a grid is cut into tiles and blocks; plain numbers, so that it travels in a plan."""

    grid_height: int
    grid_width: int
    tile_height: int
    tile_width: int
    padding: int
    """Border per side that belongs to neighbouring tiles."""
    batch_size: int
    model_padding: int = 0
    """The part of `padding` by which the network's output is smaller than its input."""
    fixed_batch: bool = False
    """Whether a short batch is filled up with empty tiles."""
    block_size: int = BLOCK_SIZE_PX

    def __post_init__(self) -> None:
        if min(self.inner_height, self.inner_width) < 1:
            raise ValueError(
                f"padding {self.padding} leaves nothing of a tile of {self.tile_height} x {self.tile_width} pixels"
            )
        if not 0 <= self.model_padding <= self.padding:
            raise ValueError(f"model padding {self.model_padding} is not between 0 and padding {self.padding}")

    @property
    def inner_height(self) -> int:
        """Return how many rows of the output one tile gives."""
        return self.tile_height - 2 * self.padding

    @property
    def inner_width(self) -> int:
        """Return how many columns of the output one tile gives."""
        return self.tile_width - 2 * self.padding

    @property
    def rows(self) -> int:
        """Return how many tiles cover the grid from top to bottom."""
        return -(-self.grid_height // self.inner_height)

    @property
    def cols(self) -> int:
        """Return how many tiles cover the grid from left to right."""
        return -(-self.grid_width // self.inner_width)

    @property
    def grid_window(self) -> Window:
        """Return the window of the whole grid."""
        return Window(0, 0, self.grid_height, self.grid_width)

    @property
    def waste(self) -> float:
        """Return pixels computed per pixel wanted."""
        computed = self.rows * self.cols * self.tile_height * self.tile_width
        return computed / (self.grid_height * self.grid_width)


def blocks_of(tiling: Tiling) -> tuple[Block, ...]:
    """Return the blocks that cover the grid, each pixel once, row by row; each holds whole inner tiles."""
    # Whole inner tiles: no tile runs for two blocks when tiles are cropped.
    height = _whole(tiling.block_size, tiling.inner_height)
    width = _whole(tiling.block_size, tiling.inner_width)
    windows = tiling.grid_window.split(height, width)
    return tuple(Block(index, window) for index, window in enumerate(windows))


def tiles_of(block: Block, tiling: Tiling) -> tuple[Tile, ...]:
    """Return the tiles whose inner part lies in a block, row by row; `keep` is that inner part."""
    spots = _tiles_over(block.window, tiling, margin=0)
    return tuple(Tile(row, col, _read(row, col, tiling), _inner(row, col, tiling)) for row, col in spots)


def tiles_touching(block: Block, tiling: Tiling) -> tuple[Tile, ...]:
    """Return the tiles that predict any pixel of a block, row by row; `keep` is all they predict of it."""
    spots = _tiles_over(block.window, tiling, margin=tiling.padding - tiling.model_padding)
    reads = ((row, col, _read(row, col, tiling)) for row, col in spots)
    return tuple(Tile(r, c, read, read.pad(-tiling.model_padding).intersect(block.window)) for r, c, read in reads)


def _whole(size_px: int, inner_px: int) -> int:
    return max(1, round(size_px / inner_px)) * inner_px


def _tiles_over(window: Window, tiling: Tiling, *, margin: int) -> list[tuple[int, int]]:
    """Return row and column of the tiles whose inner part, grown by `margin`, meets the window."""
    rows = _span(window.row - margin, window.row + window.height + margin, tiling.inner_height, tiling.rows)
    cols = _span(window.col - margin, window.col + window.width + margin, tiling.inner_width, tiling.cols)
    return [(row, col) for row in rows for col in cols]


def _span(start: int, stop: int, inner_px: int, count: int) -> range:
    return range(max(0, start // inner_px), min(count, -(-stop // inner_px)))


def _read(row: int, col: int, tiling: Tiling) -> Window:
    top, left = row * tiling.inner_height - tiling.padding, col * tiling.inner_width - tiling.padding
    return Window(top, left, tiling.tile_height, tiling.tile_width)


def _inner(row: int, col: int, tiling: Tiling) -> Window:
    return _read(row, col, tiling).pad(-tiling.padding).intersect(tiling.grid_window)
