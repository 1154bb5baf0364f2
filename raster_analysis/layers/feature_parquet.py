"""Reading GeoParquet with pyarrow, which is an optional dependency."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.rasters.reference import LONGITUDE_LATITUDE, from_name
from raster_analysis.seams import FeatureTable


def read_parquet(handle: Handle, size: int) -> Iterator[FeatureTable]:
    """Yield the features in the file's order, at most `size` at a time.

    Raises InputError when the file is no GeoParquet with WKB geometries, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise InputError(
            f"features {handle.title!r} need pyarrow: pip install 'raster-analysis[parquet]', or give a GeoPackage"
        ) from None
    try:
        with pq.ParquetFile(handle.path) as file:
            geometry, crs = _geometry_of(file.schema_arrow.metadata or {}, handle)
            found = False
            for batch in file.iter_batches(batch_size=size):
                found = True
                yield _table(batch, geometry, crs, handle)
            if not found:
                yield _table(file.schema_arrow.empty_table(), geometry, crs, handle)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"features {handle.title!r} cannot be read: {str(error)[:300]}") from error


def _geometry_of(metadata: dict[bytes, bytes], handle: Handle) -> tuple[str, str | None]:
    """Return the name of the geometry column and its CRS as WKT."""
    try:
        document: dict[str, Any] = json.loads(metadata[b"geo"])
        name = str(document["primary_column"])
        column: dict[str, Any] = document["columns"][name]
    except (KeyError, ValueError, TypeError):
        raise InputError(f"features {handle.title!r} are a Parquet file without GeoParquet's metadata") from None
    if column.get("encoding") != "WKB":
        raise InputError(f"features {handle.title!r}: geometries as {column.get('encoding')!r}; want WKB")
    # A missing key says longitude and latitude, null says unknown.
    crs = column.get("crs", LONGITUDE_LATITUDE)
    if crs is None or crs == LONGITUDE_LATITUDE:
        return name, from_name(crs) if crs else None
    return name, pyproj.CRS.from_user_input(crs).to_wkt()


def _table(batch: Any, geometry: str, crs: str | None, handle: Handle) -> FeatureTable:
    names = [name for name in batch.schema.names if name not in (geometry, "bbox")]
    return FeatureTable(
        geometries=np.asarray(shapely.from_wkb(batch[geometry].to_pylist(), on_invalid="ignore"), object),
        crs=crs,
        columns={name: _column(batch[name]) for name in names},
        layer=handle.title,
        geometry_type="Unknown",
    )


def _column(values: Any) -> npt.NDArray[np.generic]:
    kind = str(values.type)
    if kind.startswith(("timestamp", "date")):
        return np.array(values.cast("timestamp[ms]").to_pylist(), "datetime64[ms]")
    if kind in ("double", "float"):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if kind == "bool" or kind.lstrip("u").startswith("int"):
        wanted = np.dtype(kind)
        missing = np.asarray(values.is_null().to_numpy(zero_copy_only=False), bool)
        return np.ma.masked_array(
            np.asarray(values.fill_null(0).to_numpy(zero_copy_only=False)).astype(wanted), missing
        )
    return np.array([None if value is None else str(value) for value in values.to_pylist()], object)
