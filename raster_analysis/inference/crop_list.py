"""The list of crops: a job's features in pixels of its grid, in the order of reading, in files of the job's folder.

A million features are 56 MB of numbers, mapped and not loaded; the order is along strips of the raster, so that
neighbours are read together. Features that touch nothing of the grid are not in the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.errors import InputError, OutputError
from raster_analysis.grid import Grid
from raster_analysis.inference.crops import Crop
from raster_analysis.inference.polygons import reproject
from raster_analysis.seams import FeatureTable

STRIP_ROWS = 512
"""Features in so many rows are read from left to right."""
_CROP = np.dtype([("place", "<i8"), ("bounds", "<f8", (4,)), ("start", "<i8"), ("stop", "<i8")])
_AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(slots=True)
class Survey:
    """What was found out about all features while the list was made."""

    count: int = 0
    crs: str | None = None
    kinds: set[str] = field(default_factory=set)
    """The types of the geometries, as shapely names them."""
    has_z: bool = False
    numbered: bool = True
    """Whether the ids that features have are 1, 2, 3, ..., so that a copy in the same order has the same."""

    def geometry_type(self) -> str:
        """Return OGR's name for a layer that holds all of them."""
        for single in ("Point", "LineString", "Polygon"):
            if self.kinds and self.kinds <= {single, f"Multi{single}"}:
                name = f"Multi{single}" if f"Multi{single}" in self.kinds else single
                return f"{name} Z" if self.has_z else name
        return "Unknown"

    def add(self, table: FeatureTable) -> None:
        """Take in a part."""
        if table.ids is not None:
            self.numbered &= bool(np.array_equal(table.ids, np.arange(len(table.ids)) + self.count + 1))
        self.count += len(table.geometries)
        self.crs = table.crs
        there = table.geometries[~shapely.is_missing(table.geometries)]
        self.kinds |= {shapely.GeometryType(kind).name for kind in np.unique(shapely.get_type_id(there))}
        self.has_z |= bool(shapely.has_z(there).any())


@dataclass(frozen=True, slots=True)
class CropList:
    """The files of a list."""

    folder: Path

    def make(self, parts: Iterable[FeatureTable], grid: Grid, *, shapes: bool) -> Survey:
        """Write the list of all features that touch the grid; with `shapes`, their polygons too.

        Raises:
            InputError: the features have no coordinate reference system.
        """
        survey, found, end = Survey(), [np.empty(0, _CROP)], 0
        with self._shapes.open("wb") as file:
            for table in parts:
                if table.crs is None:
                    raise InputError(f"features {table.layer!r} have no coordinate reference system; assign one")
                located = _in_pixels(table, grid)
                crops = _crops_of(located, survey.count, grid)
                if shapes:
                    blobs = [_polygon_bytes(located[place - survey.count]) for place in crops["place"]]
                    ends = end + np.cumsum([len(blob) for blob in blobs], dtype=np.int64)
                    crops["start"], crops["stop"] = np.concatenate([[end], ends[:-1]])[: len(ends)], ends
                    end = int(ends[-1]) if len(ends) else end
                    file.write(b"".join(blobs))
                found.append(crops)
                survey.add(table)
        crops = np.concatenate(found)
        np.save(self._crops, crops[_reading_order(crops)], allow_pickle=False)
        return _named(survey)

    def __len__(self) -> int:
        return len(self._mapped())

    def take(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], list[Crop]]:
        """Return a run of the list: the features' places in their source, and what to read for them."""
        crops = np.array(self._mapped()[start:stop])
        return crops["place"], list(self._crops_with_shapes(crops))

    def _crops_with_shapes(self, crops: npt.NDArray[np.void]) -> Iterator[Crop]:
        with self._shapes.open("rb") as file:
            for crop in crops:
                file.seek(int(crop["start"]))
                blob = file.read(int(crop["stop"] - crop["start"]))
                xmin, ymin, xmax, ymax = map(float, crop["bounds"])
                yield Crop((xmin, ymin, xmax, ymax), shapely.from_wkb(blob) if blob else None)

    def _mapped(self) -> npt.NDArray[np.void]:
        try:
            mapped: npt.NDArray[np.void] = np.load(self._crops, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise OutputError("the list of crops that the plan made cannot be read; submit the job again") from error
        return mapped

    @property
    def _crops(self) -> Path:
        return self.folder / "crops.npy"

    @property
    def _shapes(self) -> Path:
        return self.folder / "crops.wkb"


def _in_pixels(table: FeatureTable, grid: Grid) -> npt.NDArray[np.object_]:
    projected = reproject(shapely.force_2d(table.geometries), table.crs, grid.crs)
    a, b, c, d, e, f = tuple(~grid.transform)[:6]
    moved = shapely.transform(
        projected, lambda xy: np.column_stack((a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f))
    )
    return np.asarray(moved, object)


def _crops_of(located: npt.NDArray[np.object_], first: int, grid: Grid) -> npt.NDArray[np.void]:
    bounds = shapely.bounds(located).reshape(-1, 4)
    # What has no counterpart in the raster's system is at infinity; without a place, bounds are NaN.
    with np.errstate(invalid="ignore"):
        touches = (bounds[:, 2] >= 0) & (bounds[:, 0] < grid.width) & (bounds[:, 3] >= 0) & (bounds[:, 1] < grid.height)
    chosen = np.flatnonzero(touches & np.isfinite(bounds).all(axis=1))
    crops = np.zeros(len(chosen), _CROP)
    crops["place"], crops["bounds"] = chosen + first, bounds[chosen]
    return crops


def _polygon_bytes(shape: shapely.Geometry) -> bytes:
    """Return a polygon as WKB; points and lines have no inside, so that nothing is blackened around them."""
    if shapely.get_type_id(shape) not in _AREAS:
        return b""
    return bytes(shapely.to_wkb(shape if shapely.is_valid(shape) else shapely.make_valid(shape)))


def _reading_order(crops: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    bounds = crops["bounds"]
    strip = np.floor((bounds[:, 1] + bounds[:, 3]) / 2 / STRIP_ROWS)
    return np.lexsort((crops["place"], bounds[:, 0] + bounds[:, 2], strip))


def _named(survey: Survey) -> Survey:
    names = {kind.name: name for kind, name in _NAMES.items()}
    survey.kinds = {names.get(kind, kind) for kind in survey.kinds}
    return survey


_NAMES = {
    shapely.GeometryType.POINT: "Point",
    shapely.GeometryType.MULTIPOINT: "MultiPoint",
    shapely.GeometryType.LINESTRING: "LineString",
    shapely.GeometryType.MULTILINESTRING: "MultiLineString",
    shapely.GeometryType.POLYGON: "Polygon",
    shapely.GeometryType.MULTIPOLYGON: "MultiPolygon",
}
