"""Writing vector features: the format by the suffix, the file complete or not there. For slots: uses GDAL."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError
from pyproj import CRS

from raster_analysis.errors import OutputError
from raster_analysis.rasters.staging import disk_errors, staged
from raster_analysis.seams import FeatureTable

log = logging.getLogger(__name__)

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON", ".json": "GeoJSON", ".parquet": "Parquet"}
"""The format of each suffix."""
_DATE = "1970-01-01T00:00:00.000Z"
"""What GeoPackages say they were made on, so that the same features give the same bytes."""
_PARQUET_ROWS = 100_000


class OgrFeatures:
    """The `Features` seam: GeoPackage, FlatGeobuf and GeoJSON through OGR, GeoParquet through pyarrow."""

    def write(self, path: Path, table: FeatureTable) -> None:
        """Write features in the format that the suffix names; nothing is left behind on an error.

        Invalid polygons are mended; what then has no area is left out and logged. A layer of polygons
        becomes one of multipolygons when mending gives one. The same table gives the same bytes.

        Raises:
            OutputExists: the output is there already.
            OutputError: the suffix is unknown, the table is not a table, or the disk refuses.
        """
        driver = DRIVERS.get(path.suffix.lower())
        if driver is None:
            raise OutputError(f"output {path.name!r} has no known suffix; want one of {', '.join(DRIVERS)}")
        clean = _mend(_check(table))
        with staged(path) as draft:
            if driver == "Parquet":
                _write_parquet(draft, clean)
            else:
                _write_ogr(draft, clean, driver)


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
    return FeatureTable(
        geometries=_promote(shapes) if several else shapes,
        crs=table.crs,
        columns=columns,
        layer=table.layer,
        geometry_type="MultiPolygon" if several else "Polygon",
    )


def _areas_of(shape: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of what mending gave, which may hold lines and points too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    areas = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    mended: shapely.Geometry = areas[0] if len(areas) == 1 else shapely.multipolygons(areas)
    return mended


def _promote(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    single = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    promoted = shapes.copy()
    promoted[single] = [shapely.multipolygons([shape]) for shape in shapes[single]]
    return promoted


def _as_array(values: npt.NDArray[np.generic] | Sequence[str]) -> npt.NDArray[np.generic]:
    """Return a column as OGR takes it: text as objects, numbers as they are."""
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype.kind in "UO":
        return array.astype(object)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize < 2:
        return array.astype(np.int32)
    return array


def _write_ogr(path: Path, table: FeatureTable, driver: str) -> None:
    if driver == "GeoJSON" and table.crs is None:
        raise OutputError("GeoJSON is in longitude and latitude, and features without a CRS have none; write .gpkg")
    previous = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        with disk_errors(path), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            _call_ogr(path, table, driver)
            _read_back(path, len(table.geometries), driver)
    except (DataSourceError, DataLayerError, FieldError, FeatureError) as error:
        reason = str(error).replace(str(path), path.name)
        raise OutputError(f"output {path.name!r} could not be written: {reason}") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": previous})


def _call_ogr(path: Path, table: FeatureTable, driver: str) -> None:
    # With RFC7946 the driver projects to WGS 84 itself.
    options = {"RFC7946": "YES"} if driver == "GeoJSON" else {}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(table.geometries),
        list(table.columns.values()),
        list(table.columns),
        geometry_type=table.geometry_type,
        crs=table.crs,
        driver=driver,
        layer=table.layer,
        **options,
    )


def _read_back(path: Path, count: int, driver: str) -> None:
    """Raise OutputError when not everything is there: not all drivers report a full disk."""
    _, _, geometries, _ = pyogrio.raw.read(path, columns=[])
    found = 0 if geometries is None else len(geometries)
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
        name: pa.array(list(values), None if len(values) else pa.string()) if values.dtype == object else values
        for name, values in _arrays(table)
    }
    columns["geometry"] = pa.array(list(shapely.to_wkb(table.geometries)), pa.binary())
    document = pa.table(columns).replace_schema_metadata({"geo": json.dumps(_geo_metadata(table))})
    with disk_errors(path):
        pq.write_table(document, path, compression="zstd", row_group_size=_PARQUET_ROWS)


def _arrays(table: FeatureTable) -> list[tuple[str, npt.NDArray[np.generic]]]:
    return [(name, np.asarray(values)) for name, values in table.columns.items()]


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
