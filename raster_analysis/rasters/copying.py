"""Copying a raster, or several as one: all its bands, on the grid that is asked for, as a COG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from raster_analysis.grid import Window
from raster_analysis.rasters.band_writer import BandedRaster, Part, write_bands
from raster_analysis.rasters.dataset import open_raster, usable_nodata
from raster_analysis.rasters.reader import GdalReader
from raster_analysis.rasters.warp import KEPT_BYTES
from raster_analysis.seams import RasterReader, RasterView

_PART_BYTES = 64 * 1024**2
_TOGETHER = 8
"""Bands that are read at once: each has a file of its own open."""


@dataclass(frozen=True, slots=True)
class _Original:
    """What is kept of a raster besides its pixels; of several, of the first."""

    descriptions: tuple[str | None, ...]
    colors: tuple[ColorInterp, ...]
    colormap: dict[int, tuple[int, int, int, int]]
    nodata: float | None
    alpha: bool
    masked: bool


def copy_raster(path: Path, view: RasterView, step: Callable[[float], None]) -> None:
    """Write all that a view reads; `step` hears how much is done and may raise to stop.

    Nodata stays nodata in each band. Where a raster has none, what is not valid is NaN in floating point, 0 in an alpha
    band, or 0 in a mask.
    """
    original = _read_original(view)
    floating = np.dtype(view.dtype).kind == "f"
    nodata = np.nan if original.nodata is None and floating and not original.alpha else original.nodata
    whole = nodata is None and not original.alpha
    raster = BandedRaster(
        grid=view.grid,
        dtype=view.dtype,
        count=len(view.bands) + original.alpha,
        nodata=nodata,
        masked=whole and (original.masked or bool(view.parts) or view.resample or view.is_masked),
        descriptions=original.descriptions,
        colors=(*original.colors, *([ColorInterp.alpha] if original.alpha else [])),
        colormap=original.colormap,
    )
    write_bands(path, raster, _parts(view, raster, step, alpha=original.alpha))


def _read_original(view: RasterView) -> _Original:
    leaf = view
    while leaf.parts:
        leaf = leaf.parts[0]
    with open_raster(leaf.handle) as dataset:
        flags = dataset.mask_flag_enums[0]
        return _Original(
            descriptions=tuple(dataset.descriptions[band] for band in leaf.bands),
            colors=tuple(dataset.colorinterp[band] for band in leaf.bands),
            colormap=_colormap(dataset) if len(leaf.bands) == 1 else {},
            nodata=usable_nodata(dataset.nodata, view.dtype),
            alpha=ColorInterp.alpha in dataset.colorinterp,
            masked=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        )


def _colormap(dataset: DatasetReader) -> dict[int, tuple[int, int, int, int]]:
    if dataset.colorinterp[0] is not ColorInterp.palette or dataset.dtypes[0] not in ("uint8", "uint16"):
        return {}
    return dict(dataset.colormap(1))


def _parts(view: RasterView, raster: BandedRaster, step: Callable[[float], None], *, alpha: bool) -> Iterator[Part]:
    # A band's own nodata shows only when it is read alone: together, a pixel is valid where any band is.
    alone = raster.nodata is not None
    groups = [(band,) for band in range(len(view.bands))] if alone else [tuple(range(len(view.bands)))]
    windows = list(view.grid.window.split(*[_side(raster)] * 2))
    batches = [groups[i : i + _TOGETHER] for i in range(0, len(groups), _TOGETHER)]
    for number, batch in enumerate(batches):
        with ExitStack() as stack:
            kept = KEPT_BYTES // len(batch)
            readers = [(group, stack.enter_context(GdalReader(_only(view, group), kept))) for group in batch]
            for done, window in enumerate(windows):
                step((number + done / len(windows)) / len(batches))
                yield from _read_parts(readers, window, raster, alpha=alpha)


def _read_parts(
    readers: Sequence[tuple[tuple[int, ...], RasterReader]], window: Window, raster: BandedRaster, *, alpha: bool
) -> Iterator[Part]:
    for group, reader in readers:
        pixels = reader.read(window)
        data: npt.NDArray[np.generic] = pixels.data
        if raster.nodata is not None:
            data = np.where(pixels.mask, data, np.dtype(raster.dtype).type(raster.nodata))
        yield Part(window, tuple(band + 1 for band in group), np.ascontiguousarray(data))
    if alpha:
        opaque = np.iinfo(raster.dtype).max if np.dtype(raster.dtype).kind in "iu" else 1
        valid = (pixels.mask * np.dtype(raster.dtype).type(opaque)).astype(raster.dtype)
        yield Part(window, (raster.count,), valid[np.newaxis])
    elif raster.masked:
        yield Part(window, (), pixels.mask)


def _only(view: RasterView, bands: tuple[int, ...]) -> RasterView:
    """Return a view of some of the bands, by their position."""
    parts = tuple(_only(part, bands) for part in view.parts)
    return replace(view, bands=tuple(view.bands[band] for band in bands), parts=parts)


def _side(raster: BandedRaster) -> int:
    """Return the side of a window whose bands fit into memory, in whole tiles of the draft."""
    side = int((_PART_BYTES / (raster.count * np.dtype(raster.dtype).itemsize)) ** 0.5)
    return max(1, min(4096, side) // raster.block_px) * raster.block_px
