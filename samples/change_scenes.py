"""Write two dates of one synthetic place and what changed: `python samples/change_scenes.py BEFORE.tif AFTER.tif`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from change_pairs import make_pair
from make_scene import BANDS, CRS, ORIGIN
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from scene import Window


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    window = Window(0, 0, options.size, options.size)
    pair = make_pair(options.seed, options.cell_size, window, (options.shift[0], options.shift[1]))
    _write_picture(options.before, pair.before, options.cell_size)
    _write_picture(options.after, pair.after, options.cell_size)
    if options.changes:
        _write_changes(options.changes, pair.changed, options.cell_size)
    print(f"{options.size} x {options.size} cells, seed {options.seed}: {pair.changed.mean():.1%} changed")
    return 0


def _write_picture(path: Path, pixels: NDArray[np.uint8], cell_size: float) -> None:
    with rasterio.open(path, "w", photometric="rgb", alpha="no", **_profile(pixels, cell_size)) as image:
        image.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
        image.descriptions = BANDS
        image.write(pixels)


def _write_changes(path: Path, changed: NDArray[np.bool_], cell_size: float) -> None:
    with rasterio.open(path, "w", **_profile(changed[None], cell_size)) as image:
        image.write(changed.astype(np.uint8), 1)


def _profile(pixels: NDArray[np.generic], cell_size: float) -> dict[str, object]:
    bands, height, width = pixels.shape
    return {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": "uint8",
        "crs": CRS,
        "transform": Affine.translation(*ORIGIN) @ Affine.scale(cell_size, -cell_size),
        "tiled": True,
        "compress": "deflate",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="GeoTIFF of the earlier date to write")
    parser.add_argument("after", type=Path, help="GeoTIFF of the later date to write")
    parser.add_argument("--changes", type=Path, help="GeoTIFF to write: 1 where the dates differ, 0 elsewhere")
    parser.add_argument("--size", type=int, default=1024, help="cells a side; all are held in memory")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cell-size", type=float, default=0.3, help="metres (default: 0.3)")
    parser.add_argument(
        "--shift",
        type=float,
        nargs=2,
        default=(0.7, -0.4),
        metavar=("DOWN", "RIGHT"),
        help="cells by which the later date lies beside the earlier one, at most 2 (default: 0.7 -0.4)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
