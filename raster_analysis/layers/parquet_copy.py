"""A layer's features as GeoParquet, made when somebody asks for it. For readers: uses GDAL and pyarrow."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from raster_analysis.errors import BudgetError
from raster_analysis.handle import Handle
from raster_analysis.layers.features import OgrFeatures

LARGEST_SOURCE_BYTES = 512 * 1024**2
"""Of the GeoPackage: some two million polygons, which take a reader about 2 GB while it works (guess)."""


def encode_parquet(handle: Handle) -> bytes:
    """Return all features of the first layer, in its reference, as a GeoParquet file.

    Raises:
        BudgetError: there are too many for one answer.
        OutputError: pyarrow is not installed.
    """
    size = handle.stamp.size if handle.stamp else Path(handle.path).stat().st_size
    if size > LARGEST_SOURCE_BYTES:
        raise BudgetError(
            f"{handle.title!r} has {size:,} bytes; GeoParquet is made of up to {LARGEST_SOURCE_BYTES:,}: "
            "download the GeoPackage"
        )
    features = OgrFeatures()
    with TemporaryDirectory(prefix="parquet-") as folder:
        path = Path(folder) / "features.parquet"
        features.write_parts(path, features.read_parts(handle))
        return path.read_bytes()
