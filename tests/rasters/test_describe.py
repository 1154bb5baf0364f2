from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from raster_analysis.errors import RasterError
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import RasterInfo

MakeRaster = Callable[..., Handle]
ONE = np.ones((1, 8, 8), np.uint8)
NO_CONTEXT = ProcessingContext()


def facts(info: RasterInfo) -> tuple[object, ...]:
    return info.band_count, info.dtype, info.nodata, info.band_names, info.alpha_band, info.value_range


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("landsat/RGB.byte.tif", (718, 791), (3, "uint8", 0.0, ("Red", "Green", "Blue"), None, (0.0, 255.0))),
        ("atlanta-buildings/atlanta_pan.tif", (900, 900), (1, "uint16", 0.0, ("band_0",), None, (0.0, 65535.0))),
        (
            "ortho/fotomap_small.tif",
            (841, 1243),
            (4, "uint8", None, ("Red", "Green", "Blue", "band_3"), 3, (0.0, 255.0)),
        ),
        ("neon-trees/OSBS_029.tif", (400, 400), (3, "uint8", 255.0, ("Red", "Green", "Blue"), None, (12.0, 255.0))),
    ],
)
def test_real_rasters_are_described(
    rasters: GdalRasters, data: Path, name: str, shape: tuple[int, int], expected: tuple[object, ...]
) -> None:
    info = rasters.describe(resolve_raster(str(data / name)))
    with rasterio.open(data / name) as oracle:
        assert info.grid.transform == oracle.transform
        assert rasterio.crs.CRS.from_wkt(info.grid.crs) == oracle.crs
    assert (info.grid.height, info.grid.width) == shape
    assert facts(info) == expected


def test_bands_are_named_by_description_then_colour(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(
        np.ones((5, 4, 4), np.uint8),
        photometric="minisblack",
        colorinterp=[ColorInterp.red, *3 * [ColorInterp.undefined], ColorInterp.red],
    )
    with rasterio.open(handle.path, "r+") as sink:
        sink.descriptions = ("", "near infrared", "NIR", "B12", "")
    handle = resolve_raster(handle.path)
    assert rasters.describe(handle).band_names == ("Red", "NearInfrared", "band_2", "band_3", "band_4")
    assert rasters.view(handle, ["nearinfrared", "RED", "band_3", 2], NO_CONTEXT).bands == (1, 0, 3, 2)


def test_alpha_never_counts_as_a_band(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(np.ones((3, 4, 4), np.uint8), photometric="minisblack",
                         colorinterp=[ColorInterp.gray, ColorInterp.alpha, ColorInterp.undefined])  # fmt: skip
    assert rasters.view(handle, [0, 1], NO_CONTEXT).bands == (0, 2)
    with pytest.raises(RasterError, match=r"has 2 data bands \(band_0, band_2; band 1 is its mask .*2 is missing"):
        rasters.view(handle, [0, 1, 2], NO_CONTEXT)


def test_every_missing_band_is_named_with_those_there_are(data: Path, rasters: GdalRasters) -> None:
    handle = resolve_raster(str(data / "landsat" / "RGB.byte.tif"))
    with pytest.raises(RasterError, match=r"\(Red, Green, Blue\), .* NearInfrared, 7 are missing"):
        rasters.view(handle, ["Red", "NearInfrared", 7], NO_CONTEXT)
