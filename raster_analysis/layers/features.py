"""Vector features in and out: written in the format of the suffix, complete or not there. For slots: uses GDAL."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError
from pyproj import CRS

from raster_analysis.errors import InputError, OutputError
from raster_analysis.handle import Handle
from raster_analysis.layers.feature_file import read_file_parts, split_table
from raster_analysis.layers.feature_set import read_feature_set
from raster_analysis.layers.legend import tag_legend
from raster_analysis.layers.rows import write_rows
from raster_analysis.rasters.staging import disk_errors, staged
from raster_analysis.seams import Columns, FeatureSource, FeatureTable

log = logging.getLogger(__name__)

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON", ".json": "GeoJSON", ".parquet": "Parquet"}
"""The format of each suffix."""
_DATE = "1970-01-01T00:00:00.000Z"
"""What GeoPackages say they were made on, so that the same features give the same bytes."""
_PARQUET_ROWS = 100_000
_READ_BACK = 100_000
_SEVERAL: dict[shapely.GeometryType, Callable[[list[Any]], Any]] = {
    shapely.GeometryType.POINT: shapely.multipoints,
    shapely.GeometryType.LINESTRING: shapely.multilinestrings,
    shapely.GeometryType.POLYGON: shapely.multipolygons,
}


class OgrFeatures:
    """The `Features` seam: GeoPackage, FlatGeobuf and GeoJSON through OGR, GeoParquet through pyarrow."""

    def read(self, source: FeatureSource, where: str = "") -> FeatureTable:
        """Return all features, in the source's order.

        Raises:
            InputError: it holds no features that can be read, or `where` does not fit it.
        """
        return join_tables(list(self.read_parts(source, where)))

    def read_parts(self, source: FeatureSource, where: str = "", *, size: int = 50_000) -> Iterator[FeatureTable]:
        """Yield the features in the source's order, at most `size` at a time; at least one part, perhaps empty."""
        if isinstance(source, Handle):
            yield from read_file_parts(source, where, size)
            return
        if where.strip():
            raise InputError("features that are written out take no filter; leave out those that are not wanted")
        yield from split_table(read_feature_set(source), size)

    def write(self, path: Path, table: FeatureTable) -> None:
        """Write features in the format that the suffix names; nothing is left behind on an error.

        Invalid polygons are mended; what then has no area is left out and logged. A layer of polygons
        becomes one of multipolygons when mending gives one. The same table gives the same bytes.

        Raises:
            OutputExists: the output is there already.
            OutputError: the suffix is unknown, the table is not a table, or the disk refuses.
        """
        self._write(path, iter([_mend(_check(table))]))

    def write_parts(self, path: Path, parts: Iterable[FeatureTable]) -> None:
        """Write features as they are, all of them and in their order; the parts have the same columns.

        A GeoPackage takes them part by part, the other formats all at once. Ids are not written: features are
        numbered from 1 in their order.

        Raises:
            OutputExists: the output is there already.
            OutputError: the suffix is unknown, a table is not a table, or the disk refuses.
        """
        self._write(path, (_promote_all(_check(part)) for part in parts))

    def write_rows(self, path: Path, layer: str, columns: Columns) -> None:
        """Write a table without geometries, as a GeoPackage; NaN becomes null. See `layers.rows`."""
        write_rows(path, layer, columns)

    def _write(self, path: Path, parts: Iterator[FeatureTable]) -> None:
        driver = DRIVERS.get(path.suffix.lower())
        if driver is None:
            raise OutputError(f"output {path.name!r} has no known suffix; want one of {', '.join(DRIVERS)}")
        with staged(path) as draft:
            if driver == "Parquet":
                _write_parquet(draft, join_tables(list(parts)))
            else:
                _write_ogr(draft, parts if driver == "GPKG" else iter([join_tables(list(parts))]), driver)


def join_tables(parts: Sequence[FeatureTable]) -> FeatureTable:
    """Return the features of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    ids = [part.ids for part in parts if part.ids is not None]
    return replace(
        parts[0],
        geometries=np.concatenate([part.geometries for part in parts]),
        columns={name: _join([part.columns[name] for part in parts]) for name in parts[0].columns},
        ids=np.concatenate(ids) if len(ids) == len(parts) else None,
    )


def _join(columns: Sequence[npt.NDArray[np.generic] | Sequence[str]]) -> npt.NDArray[np.generic]:
    arrays = [_as_array(column) for column in columns]
    values = np.concatenate([np.ma.getdata(array) for array in arrays])
    if not any(np.ma.isMaskedArray(array) for array in arrays):
        return values
    return np.ma.masked_array(values, np.concatenate([np.ma.getmaskarray(array) for array in arrays]))


def _check(table: FeatureTable) -> FeatureTable:
    count = len(table.geometries)
    wrong = [f"{name} has {len(values)}" for name, values in table.columns.items() if len(values) != count]
    if wrong:
        raise OutputError(f"{count} geometries, but column {', column '.join(wrong)} values")
    return table


def _mend(table: FeatureTable) -> FeatureTable:
    """Return the table with valid polygons of one type, each shell anticlockwise (RFC 7946)."""
    shapes = table.geometries.copy()
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = [_areas_of(shape) for shape in shapely.make_valid(shapes[broken])]
    kept = ~(shapely.is_empty(shapes) | shapely.is_missing(shapes)).astype(bool)
    if not kept.all():
        log.warning("layer %s: %d features without an area are left out", table.layer, int((~kept).sum()))
    shapes = shapely.orient_polygons(shapes[kept])
    several = table.geometry_type == "MultiPolygon" or bool(
        np.any(shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON)
    )
    columns = {name: _as_array(values)[kept] for name, values in table.columns.items()}
    return replace(
        table,
        geometries=_promote(shapes) if several else shapes,
        columns=columns,
        geometry_type="MultiPolygon" if several else "Polygon",
        ids=None if table.ids is None else table.ids[kept],
    )


def _areas_of(shape: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of what mending gave, which may hold lines and points too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    areas = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    mended: shapely.Geometry = areas[0] if len(areas) == 1 else shapely.multipolygons(areas)
    return mended


def _promote_all(table: FeatureTable) -> FeatureTable:
    """Return a table of a layer of several parts a feature, where all features have that type."""
    return replace(table, geometries=_promote(table.geometries)) if table.geometry_type.startswith("Multi") else table


def _promote(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    promoted = shapes.copy()
    for single, several in _SEVERAL.items():
        chosen = shapely.get_type_id(shapes) == single
        promoted[chosen] = [several([shape]) for shape in shapes[chosen]]
    return promoted


def _as_array(values: npt.NDArray[np.generic] | Sequence[str]) -> npt.NDArray[np.generic]:
    """Return a column as OGR takes it: text as objects, numbers and dates as they are."""
    array = np.asanyarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype.kind in "UO":
        return array.astype(object)
    if array.dtype.kind not in "iufMb" or (array.dtype.itemsize < 2 and array.dtype.kind != "b"):
        return array.astype(np.int32)
    return array


def _write_ogr(path: Path, parts: Iterator[FeatureTable], driver: str) -> None:
    previous = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        with disk_errors(path), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            count = 0
            for table in parts:
                _call_ogr(path, table, driver, append=count > 0)
                count += len(table.geometries)
            _read_back(path, count, driver)
    except (DataSourceError, DataLayerError, FieldError, FeatureError) as error:
        reason = str(error).replace(str(path), path.name)
        raise OutputError(f"output {path.name!r} could not be written: {reason}") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": previous})


def _call_ogr(path: Path, table: FeatureTable, driver: str, *, append: bool) -> None:
    if driver == "GeoJSON" and table.crs is None:
        raise OutputError("GeoJSON is in longitude and latitude, and features without a CRS have none; write .gpkg")
    columns = {name: _as_array(values) for name, values in table.columns.items()}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(table.geometries),
        [np.ma.getdata(values) for values in columns.values()],
        _distinct(columns) if driver == "GPKG" else list(columns),
        field_mask=[np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None for values in columns.values()],
        geometry_type=table.geometry_type,
        crs=table.crs,
        driver=driver,
        layer=table.layer,
        append=append,
        layer_metadata=None if append or driver != "GPKG" else tag_legend(table.legend) or None,
        **_options(table, driver),
    )


def _distinct(names: Iterable[str]) -> list[str]:
    """Return names that differ whatever the case of their letters, as SQLite wants; JSON has `Name` beside `name`."""
    given: dict[str, str] = {}
    for name in names:
        spellings = (name, *(f"{name}_{number}" for number in range(1, len(given) + 2)))
        free = next(spelling for spelling in spellings if spelling.lower() not in given)
        given[free.lower()] = free
    return list(given.values())


def _options(table: FeatureTable, driver: str) -> dict[str, str]:
    if driver == "GPKG":
        return {"FID": _free_name("fid", table), "GEOMETRY_NAME": _free_name("geom", table)}
    # With RFC7946 the driver projects to WGS 84 itself.
    return {"RFC7946": "YES"} if driver == "GeoJSON" else {}


def _free_name(wanted: str, table: FeatureTable) -> str:
    """Return a name for a column of our own that no attribute has."""
    taken = {name.lower() for name in table.columns}
    return next(name for name in (wanted, *(f"{wanted}_{n}" for n in range(1, len(taken) + 2))) if name not in taken)


def _read_back(path: Path, count: int, driver: str) -> None:
    """Raise OutputError when not everything is there: not all drivers report a full disk."""
    found = 0
    for start in range(0, max(count, 1), _READ_BACK) if driver == "GPKG" else [0]:
        most = _READ_BACK if driver == "GPKG" else None
        geometries = pyogrio.raw.read(path, columns=[], skip_features=start, max_features=most)[2]
        found += 0 if geometries is None else len(geometries)
    if found != count:
        raise OutputError(f"output {path.name!r} holds {found} features where {count} were written")
    # Reproduced: on a full disk a GeoPackage goes without its index, and nothing is said.
    if driver == "GPKG" and not pyogrio.read_info(path)["capabilities"]["fast_spatial_filter"]:
        raise OutputError(f"output {path.name!r} could not be written: its spatial index is missing")


def _write_parquet(path: Path, table: FeatureTable) -> None:
    """Write GeoParquet 1.1: WKB, with the CRS as PROJJSON."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise OutputError(
            f"output {path.name!r} needs pyarrow: pip install 'raster-analysis[parquet]', or write .gpkg"
        ) from None
    # Of an empty list of texts pyarrow would make a column of nothing, which fits no other layer.
    columns = {
        name: pa.array(list(values), None if any(value is not None for value in values) else pa.string())
        if values.dtype == object
        else pa.array(np.ma.getdata(values), mask=np.ma.getmaskarray(values))
        for name, values in _arrays(table)
    }
    columns["geometry"] = pa.array(list(shapely.to_wkb(table.geometries)), pa.binary())
    document = pa.table(columns).replace_schema_metadata({"geo": json.dumps(_geo_metadata(table))})
    with disk_errors(path):
        pq.write_table(document, path, compression="zstd", row_group_size=_PARQUET_ROWS)


def _arrays(table: FeatureTable) -> list[tuple[str, npt.NDArray[np.generic]]]:
    return [(name, _as_array(values)) for name, values in table.columns.items()]


def _geo_metadata(table: FeatureTable) -> dict[str, object]:
    geometry: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": [table.geometry_type],
        "orientation": "counterclockwise",
        # null says that the CRS is unknown; a missing key would say longitude and latitude.
        "crs": CRS.from_wkt(table.crs).to_json_dict() if table.crs else None,
    }
    if len(table.geometries):
        geometry["bbox"] = [float(value) for value in shapely.total_bounds(table.geometries)]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
