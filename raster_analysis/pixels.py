"""Pixels: an array, its mask and the window it was read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raster_analysis.grid import Window


@dataclass(frozen=True, slots=True)
class Pixels:
    """What was read from one window of a grid.

    `data` has axes `(bands, rows, cols)`; `mask` has axes `(rows, cols)` and is True where a
    pixel holds a value in any band read. What is nodata in one band is 0 in it, pixels outside the raster
    are 0 and not valid.
    """

    data: npt.NDArray[np.generic]
    mask: npt.NDArray[np.bool_]
    window: Window

    def __post_init__(self) -> None:
        expected = (self.window.height, self.window.width)
        if self.data.ndim != 3 or self.data.shape[1:] != expected or self.mask.shape != expected:
            raise ValueError(f"data {self.data.shape} and mask {self.mask.shape} do not fit a window of {expected}")
