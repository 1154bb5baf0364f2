"""Reading vector files: the features of the first layer, part by part. For slots: uses GDAL."""

from __future__ import annotations

import json
import logging
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyproj
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.layers.feature_parquet import read_parquet
from raster_analysis.layers.field import Field, FieldKind, quote_name
from raster_analysis.layers.geopackage import name_id
from raster_analysis.layers.where import names_of, parse_where
from raster_analysis.seams import FeatureTable

log = logging.getLogger(__name__)

_PAGED = ("GPKG", "FlatGeobuf", "ESRI Shapefile")
"""Formats in which the reader of a part need not parse all that comes before; others are read at once."""
_EXACT = 2**53
"""From here on not every whole number is a float."""
_KINDS = {"b": FieldKind.BOOLEAN, "i": FieldKind.LONG, "u": FieldKind.LONG, "f": FieldKind.REAL, "O": FieldKind.TEXT}


def read_file_parts(handle: Handle, where: str, size: int) -> Iterator[FeatureTable]:
    """Yield the features in the file's order, `size` at a time; one empty part when there are none.

    Raises InputError when the file holds no features that can be read, or `where` does not fit it.
    """
    handle.verify_unchanged()
    if handle.driver == "Parquet":
        if where:
            raise _no_filter(handle)
        yield from read_parquet(handle, size)
        return
    yield from _read_chosen(handle, where, size) if where.strip() else _read_all(handle, size)


def _read_all(handle: Handle, size: int) -> Iterator[FeatureTable]:
    count = size if handle.driver in _PAGED else None
    position = 0
    while True:
        part = _read(handle, skip_features=position, max_features=count)
        if count is None:
            yield from split_table(part, size)
            return
        if len(part.geometries) or not position:
            yield part
        if len(part.geometries) < size:
            return
        position += size


def _read_chosen(handle: Handle, where: str, size: int) -> Iterator[FeatureTable]:
    if handle.driver != "GPKG":
        raise _no_filter(handle)
    fids = _find_fids(handle, where)
    for start in range(0, max(1, len(fids)), size):
        chosen = fids[start : start + size]
        # An empty choice would be taken for none.
        yield _read(handle, fids=chosen) if len(chosen) else _read(handle, max_features=1).take(slice(0, 0))


def _find_fids(handle: Handle, where: str) -> npt.NDArray[np.int64]:
    """Return the ids of the features for which the clause holds, in order."""
    with _readable(handle):
        info = pyogrio.read_info(handle.path, layer=0)
    key = info["fid_column"]
    kinds = {name: _kind_of(str(dtype)) for name, dtype in zip(info["fields"], info["dtypes"], strict=True)}
    # Clients know the id under the name that the layer's service gives it.
    ids = [Field(name, key, FieldKind.ID) for name in (key, name_id(list(kinds)))]
    fields = [*ids, *(Field(name, name, kind) for name, kind in kinds.items())]
    condition = parse_where(where, names_of(fields))
    query = f"SELECT {quote_name(key)} FROM {quote_name(info['layer_name'])} WHERE {condition.sql} ORDER BY 1"  # noqa: S608 - built of our own words and bound values
    try:
        with closing(sqlite3.connect(f"file:{_uri(handle.path)}?mode=ro", uri=True)) as database:
            rows = database.execute(query, condition.values).fetchall()
    except sqlite3.Error as error:
        raise InputError(f"filter {where[:80]!r} cannot be used on {handle.title!r}: {error}") from error
    return np.array([row[0] for row in rows], np.int64)


def _read(handle: Handle, **choice: Any) -> FeatureTable:
    with _readable(handle):
        meta, fids, wkb, data = pyogrio.raw.read(handle.path, layer=0, return_fids=True, **choice)
    if wkb is None:
        raise InputError(f"features {handle.title!r} have no geometries; give a layer of points, lines or polygons")
    columns: dict[str, npt.NDArray[np.generic] | Sequence[str]] = {
        str(name): column
        for name, values, dtype in zip(meta["fields"], data, meta["dtypes"], strict=True)
        if (column := _column(str(name), values, str(dtype), handle)) is not None
    }
    if handle.driver == "GPKG":
        columns |= {name: _read_exactly(handle, name, fids) for name in columns if _is_rounded(columns[name])}
    return FeatureTable(
        # What cannot be parsed becomes a feature without a place; its attributes stay.
        geometries=np.asarray(shapely.from_wkb(wkb, on_invalid="ignore"), object),
        crs=pyproj.CRS.from_user_input(meta["crs"]).to_wkt() if meta["crs"] else None,
        columns=columns,
        layer=handle.title,
        geometry_type=str(meta["geometry_type"]),
        # Elsewhere a feature's id is its place in the file.
        ids=fids.astype(np.int64) if handle.driver == "GPKG" else None,
    )


def split_table(table: FeatureTable, size: int) -> Iterator[FeatureTable]:
    """Yield a table's features `size` at a time; a table without features is one part."""
    for start in range(0, max(1, len(table.geometries)), size):
        yield table.take(slice(start, start + size))


def _column(name: str, values: npt.NDArray[Any], dtype: str, handle: Handle) -> npt.NDArray[np.generic] | None:
    """Return a column of the type that the file declares, masked where it is null; None when it cannot be kept."""
    wanted = np.dtype(dtype)
    if wanted.kind in "iub" and values.dtype.kind == "f":
        # Numbers with nulls among them come as floats.
        missing = np.isnan(values)
        return np.ma.masked_array(np.where(missing, 0, values).astype(wanted), missing)
    if values.dtype.kind != "O":
        return values
    if any(isinstance(value, bytes) for value in values):
        log.warning("features %s: field %s holds binary data and is left out", handle.title, name)
        return None
    return np.array([_text(value) for value in values], object)


def _is_rounded(column: npt.NDArray[np.generic] | Sequence[str]) -> bool:
    """Tell whether whole numbers may have lost digits: those with nulls among them came as floats."""
    if not np.ma.isMaskedArray(column):
        return False
    values = np.ma.getdata(column)
    return values.dtype == np.int64 and bool(((values >= _EXACT) | (values <= -_EXACT)).any())


def _read_exactly(handle: Handle, name: str, fids: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """Return a column of 64-bit whole numbers of a GeoPackage, masked where it is null."""
    with _readable(handle):
        info = pyogrio.read_info(handle.path, layer=0)
    key, layer = quote_name(info["fid_column"]), quote_name(info["layer_name"])
    query = f"SELECT {key}, {quote_name(name)} FROM {layer} WHERE {key} BETWEEN ? AND ?"  # noqa: S608 - names of the file's own, quoted
    try:
        with closing(sqlite3.connect(f"file:{_uri(handle.path)}?mode=ro", uri=True)) as database:
            found = dict(database.execute(query, (int(fids.min()), int(fids.max()))).fetchall())
        values = [found[fid] for fid in fids.tolist()]
    except (sqlite3.Error, KeyError) as error:
        raise InputError(f"features {handle.title!r}: numbers of field {name!r} are too long to be read") from error
    missing = np.array([value is None for value in values], bool)
    return np.ma.masked_array(np.array([value or 0 for value in values], np.int64), missing)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, default=str)


def _kind_of(dtype: str) -> FieldKind:
    kind = np.dtype(dtype).kind
    if kind == "M":
        return FieldKind.DATE if dtype.endswith("[D]") else FieldKind.DATETIME
    return _KINDS.get(kind, FieldKind.TEXT)


@contextmanager
def _readable(handle: Handle) -> Iterator[None]:
    """Turn what GDAL says of a file into an InputError that names the file as its user did."""
    try:
        with warnings.catch_warnings():
            # Such as fields of types that it does not read.
            warnings.filterwarnings("ignore", module="pyogrio")
            yield
    except (DataSourceError, DataLayerError, FeatureError, ValueError) as error:
        reason = str(error).replace(handle.path, handle.title)
        raise InputError(f"features {handle.title!r} cannot be read: {reason}") from error


def _uri(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _no_filter(handle: Handle) -> InputError:
    return InputError(
        f"features {handle.title!r} are a {handle.driver} file, which no filter can be applied to; "
        "give a GeoPackage or a hosted feature layer"
    )
