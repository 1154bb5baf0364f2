"""A grid: coordinate reference system, affine transform and shape. Values only, nothing is opened.

Rows grow downwards, columns to the right; `(height, width)` and `(row, col)` everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from affine import Affine
from pydantic import BeforeValidator, InstanceOf, PlainSerializer

Bounds = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in map units."""

Transform = Annotated[
    InstanceOf[Affine],
    BeforeValidator(lambda value: value if isinstance(value, Affine) else Affine(*value)),
    PlainSerializer(lambda transform: tuple(transform)[:6]),
]
"""An affine transform; in JSON its six numbers a, b, c, d, e, f."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels; it may reach over the edges of its grid."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"a window of {self.height} x {self.width} pixels; neither may be negative")

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return the `(rows, cols)` index of this window in an array that holds the whole grid."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def size(self) -> int:
        """Return how many pixels the window holds."""
        return self.height * self.width

    def pad(self, size_px: int) -> Window:
        """Return the window grown by `size_px` on each side."""
        return Window(self.row - size_px, self.col - size_px, self.height + 2 * size_px, self.width + 2 * size_px)

    def shift(self, rows: int, cols: int) -> Window:
        """Return the window moved down by `rows` and right by `cols`."""
        return replace(self, row=self.row + rows, col=self.col + cols)

    def intersect(self, other: Window) -> Window:
        """Return the common part; of height or width 0 where there is none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        return Window(row, col, max(0, bottom - row), max(0, right - col))

    def split(self, height: int, width: int) -> Iterator[Window]:
        """Yield windows of at most `height x width` that cover each pixel once, row by row."""
        for row in range(self.row, self.row + self.height, height):
            for col in range(self.col, self.col + self.width, width):
                yield Window(row, col, height, width).intersect(self)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pixels lie: `crs` is WKT (None when unknown), `transform` maps (col, row) to (x, y)."""

    crs: str | None
    transform: Transform
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a grid of {self.height} x {self.width} pixels; both must be at least 1")
        if self.transform.determinant == 0 or not all(math.isfinite(v) for v in self.transform):
            raise ValueError(f"transform {tuple(self.transform)[:6]} maps no area: a cell size is 0 or not a number")

    @property
    def window(self) -> Window:
        """Return the window that covers the whole grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def cell_size(self) -> tuple[float, float]:
        """Return the cell's width and height in map units, both positive."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def bounds_xyxy(self) -> Bounds:
        """Return xmin, ymin, xmax, ymax of all four corners (the transform may be rotated)."""
        corners = [self.transform @ (c, r) for c in (0, self.width) for r in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def crop(self, window: Window) -> Grid:
        """Return the grid of a window; the window may reach over the edges."""
        moved = self.transform @ Affine.translation(window.col, window.row)
        return Grid(self.crs, moved, window.height, window.width)

    def window_of(self, bounds: Bounds) -> Window:
        """Return the smallest window of whole cells that covers `bounds`, cut to the grid.

        Bounds within a millionth of a cell of a cell edge count as lying on it.
        """
        return self.reach(bounds).intersect(self.window)

    def reach(self, bounds: Bounds) -> Window:
        """Return the smallest window of whole cells that covers `bounds`, beyond the grid's edges too."""
        inverse = ~self.transform
        xmin, ymin, xmax, ymax = bounds
        corners = [inverse @ point for point in ((xmin, ymin), (xmin, ymax), (xmax, ymin), (xmax, ymax))]
        cols, rows = zip(*corners, strict=True)
        row, col = math.floor(min(rows) + 1e-6), math.floor(min(cols) + 1e-6)
        bottom, right = math.ceil(max(rows) - 1e-6), math.ceil(max(cols) - 1e-6)
        return Window(row, col, max(0, bottom - row), max(0, right - col))

    def offset_of(self, other: Grid) -> tuple[float, float]:
        """Return row and column of another grid's first cell, in cells of this one."""
        col, row = ~self.transform @ (other.transform.c, other.transform.f)
        return row, col
