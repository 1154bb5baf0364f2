"""GeoPackages as SQLite files: opened read-only and on a leash, and described. No GDAL is needed to read them."""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote

from pyproj import CRS
from pyproj.exceptions import CRSError

from raster_analysis.errors import BudgetError, InputError
from raster_analysis.handle import Handle
from raster_analysis.layers.field import Field, FieldKind, quote_name
from raster_analysis.layers.legend import read_legend
from raster_analysis.seams import Legend

TIME_LIMIT_S = 20.0
"""Longest statement; shorter than what the server waits for a reader."""
_STEPS_BETWEEN_CHECKS = 100_000
_LONGEST_PATTERN = 1000
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_WRITES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})

GeometryKind = Literal["point", "multipoint", "line", "polygon"]
Bounds = tuple[float, float, float, float]

_GEOMETRY_KINDS: dict[str, GeometryKind] = {
    "POINT": "point",
    "MULTIPOINT": "multipoint",
    **dict.fromkeys(("LINESTRING", "MULTILINESTRING", "CURVE", "MULTICURVE"), "line"),
}
_KINDS = {
    "BOOLEAN": FieldKind.BOOLEAN,
    **dict.fromkeys(("TINYINT", "SMALLINT"), FieldKind.SMALL),
    "MEDIUMINT": FieldKind.INTEGER,
    **dict.fromkeys(("INT", "INTEGER"), FieldKind.LONG),
    "FLOAT": FieldKind.SINGLE,
    **dict.fromkeys(("DOUBLE", "REAL"), FieldKind.REAL),
    "DATE": FieldKind.DATE,
    "DATETIME": FieldKind.DATETIME,
    "TEXT": FieldKind.TEXT,
}
_ID_NAMES = ("OBJECTID", "FID", "OBJECTID_1", "FEATURE_ID")
_TYPE = re.compile(r"(\w+)(?:\((\d+)\))?")


@dataclass(frozen=True, slots=True)
class Layer:
    """One table of features, or without geometry, as its file describes it."""

    table: str
    title: str
    fields: tuple[Field, ...]
    """The first one is the id."""
    count: int
    geometry_column: str | None = None
    geometry_kind: GeometryKind | None = None
    has_index: bool = False
    crs_wkt: str | None = None
    crs_code: int | None = None
    bounds: Bounds | None = None
    """None: no features."""
    legend: Legend | None = None
    """Classes as the model that found the features defines them."""

    @property
    def id_field(self) -> Field:
        """Return the field that tells features apart."""
        return self.fields[0]

    @property
    def index(self) -> str:
        """Return the table of the spatial index, as SQL writes it."""
        return quote_name(f"rtree_{self.table}_{self.geometry_column}")


@contextmanager
def open_geopackage(handle: Handle) -> Iterator[sqlite3.Connection]:
    """Open a file that nobody changes; statements can only read, and end after a while.

    Raises:
        InputError: the file is no GeoPackage, or damaged.
        BudgetError: a statement took too long.
    """
    try:
        # Immutable: no lock and no journal; files of items are replaced as a whole, never written to.
        connection = sqlite3.connect(f"file:{quote(handle.path)}?mode=ro&immutable=1", uri=True)
        with closing(connection):
            _leash(connection)
            yield connection
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise BudgetError(f"reading {handle.title!r} took more than {TIME_LIMIT_S:g} s; ask for less") from None
        # A file that was just replaced or deleted cannot be opened either.
        handle.verify_unchanged()
        raise InputError(f"layer {handle.title!r} cannot be read so: {error}") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"layer {handle.title!r} is no readable GeoPackage") from error


@lru_cache(maxsize=64)
def describe_geopackage(handle: Handle) -> tuple[Layer, ...]:
    """Return the layers and tables of a file, in the order in which it names them."""
    with open_geopackage(handle) as connection:
        rows = connection.execute(
            "SELECT table_name, coalesce(identifier, table_name), data_type, min_x, min_y, max_x, max_y "
            "FROM gpkg_contents WHERE data_type IN ('features', 'attributes') ORDER BY rowid"
        ).fetchall()
        return tuple(_describe(connection, row) for row in rows)


def _leash(connection: sqlite3.Connection) -> None:
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _LONGEST_PATTERN)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # Not every build of SQLite has it.
    connection.create_function("sqrt", 1, math.sqrt, deterministic=True)
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)
    deadline_s = time.monotonic() + TIME_LIMIT_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS_BETWEEN_CHECKS)


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second not in _FORBIDDEN_FUNCTIONS
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = first == "table_info"
    elif action in _WRITES:
        # What SQLite prepares for itself when it opens a virtual table; the file is immutable anyway.
        allowed = first == "sqlite_master" or str(first).startswith("rtree_")
    else:
        allowed = action in _ALLOWED
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _describe(connection: sqlite3.Connection, row: Sequence[Any]) -> Layer:
    table, title, data_type, *box = row
    geometry = None
    if data_type == "features":
        geometry = connection.execute(
            "SELECT column_name, upper(geometry_type_name), srs_id FROM gpkg_geometry_columns WHERE table_name = ?",
            (table,),
        ).fetchone()
    fields = _read_fields(connection, table, geometry[0] if geometry else None)
    count = _count(connection, table)
    if geometry is None:
        return Layer(table, title, fields, count)
    wkt, code = _read_crs(connection, geometry[2])
    return Layer(
        table,
        title,
        fields,
        count,
        geometry_column=geometry[0],
        geometry_kind=_GEOMETRY_KINDS.get(geometry[1], "polygon"),
        has_index=_has_table(connection, f"rtree_{table}_{geometry[0]}"),
        crs_wkt=wkt,
        crs_code=code,
        bounds=(box[0], box[1], box[2], box[3]) if count and None not in box else None,
        legend=_read_legend(connection, table),
    )


def _read_fields(connection: sqlite3.Connection, table: str, geometry: str | None) -> tuple[Field, ...]:
    columns = connection.execute("SELECT name, upper(type), pk FROM pragma_table_info(?)", (table,)).fetchall()
    key = next((name for name, _, key in columns if key), "rowid")
    found = [Field(name_id([name for name, _, key in columns if not key]), key, FieldKind.ID)]
    for name, declared, is_key in columns:
        match = _TYPE.match(declared)
        kind = _KINDS.get(match[1]) if match else None
        if kind is not None and not is_key and name != geometry:
            found.append(Field(name, name, kind, int(match[2]) if match and match[2] else None))
    return tuple(found)


def name_id(other_fields: Sequence[str]) -> str:
    """Return what services call the id of a feature, whatever its column is called."""
    taken = {name.casefold() for name in other_fields}
    names = (*_ID_NAMES, f"{_ID_NAMES[0]}_{len(other_fields) + 1}")
    return next(name for name in names if name.casefold() not in taken)


def _count(connection: sqlite3.Connection, table: str) -> int:
    # GDAL keeps the number with triggers; to count a million rows is to read the whole file.
    if _has_table(connection, "gpkg_ogr_contents"):
        sql = "SELECT feature_count FROM gpkg_ogr_contents WHERE lower(table_name) = lower(?)"
        row = connection.execute(sql, (table,)).fetchone()
        if row and row[0] is not None:
            return int(row[0])
    return int(connection.execute(f"SELECT count(*) FROM {quote_name(table)}").fetchone()[0])  # noqa: S608


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _read_crs(connection: sqlite3.Connection, srs_id: int) -> tuple[str | None, int | None]:
    sql = "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?"
    row = connection.execute(sql, (srs_id,)).fetchone()
    if row is None or srs_id in (0, -1):
        return None, None
    try:
        crs = CRS.from_authority(row[0], row[1]) if row[0].upper() in ("EPSG", "ESRI") else CRS.from_wkt(row[2])
    except CRSError:
        return None, None
    return crs.to_wkt(), int(row[1]) if row[0].upper() in ("EPSG", "ESRI") else None


def _read_legend(connection: sqlite3.Connection, table: str) -> Legend | None:
    if not _has_table(connection, "gpkg_metadata_reference"):
        return None
    rows = connection.execute(
        "SELECT metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON md_file_id = id "
        "WHERE lower(table_name) = lower(?) AND reference_scope = 'table' AND md_standard_uri = 'http://gdal.org'",
        (table,),
    )
    return next((legend for (text,) in rows if (legend := read_legend(str(text)))), None)
