"""Coverage: whether blocks cover a grid, each pixel exactly once."""

from __future__ import annotations

from raster_analysis.errors import OutputError
from raster_analysis.grid import Grid, Window

# About half a block: a window touches few cells, and a cell few windows.
_CELL_PX = 2048


class Coverage:
    """Counts what was written; windows are compared only with their neighbours, so many cost little."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._left = grid.window.size
        self._near: dict[tuple[int, int], list[Window]] = {}

    def add(self, window: Window) -> None:
        """Count a window; raises OutputError when it leaves the grid or meets one that was counted."""
        if window.intersect(self._grid.window) != window:
            raise OutputError(f"block {window} reaches over the edge of a grid of {self._shape()} pixels")
        for row in range(window.row // _CELL_PX, (window.row + window.height - 1) // _CELL_PX + 1):
            for col in range(window.col // _CELL_PX, (window.col + window.width - 1) // _CELL_PX + 1):
                near = self._near.setdefault((row, col), [])
                if any(window.intersect(other).size for other in near):
                    raise OutputError(f"block {window} overlaps one that was written before")
                near.append(window)
        self._left -= window.size

    def check_complete(self) -> None:
        """Raise OutputError when a pixel of the grid was not written."""
        if self._left:
            raise OutputError(f"the blocks leave {self._left:,} of {self._grid.window.size:,} pixels unwritten")

    def _shape(self) -> str:
        return f"{self._grid.height} x {self._grid.width}"
