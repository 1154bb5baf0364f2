"""Feature tables made comparable: one reference system, within a mask, valid polygons, classes as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS

from raster_analysis.errors import InputError
from raster_analysis.inference.matching import Objects
from raster_analysis.inference.polygons import reproject
from raster_analysis.seams import FeatureTable

CLASS_FIELDS = ("Classvalue", "Value", "Class")
"""Where a class is looked for when no field is named: the first two as clients expect it, the last is what we write."""
SCORE_FIELDS = ("Confidence", "Score")
_ONE_CLASS = "Object"
_AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, slots=True)
class Given:
    """One side of the comparison as a user gave it."""

    parameter: str
    """For messages."""
    table: FeatureTable
    class_field: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides that can be compared."""

    detected: Objects
    truth: Objects
    names: tuple[str, ...]
    """The classes of both."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out, a sentence each."""


def prepare(detected: Given, truth: Given, mask: FeatureTable | None) -> Comparison:
    """Return both sides in one reference system, within the mask; raises InputError.

    Of the two systems the first projected one counts, the truth's before the detections'.
    """
    notes: list[str] = []
    crs = _common_system(truth.table.crs, detected.table.crs, notes)
    sides = [_Side.of(given, crs, notes) for given in (detected, truth)]
    if mask is not None:
        _check_polygons("maskFeatures", mask.geometries)
        area = shapely.union_all(_solid(reproject(_present(mask.geometries), mask.crs, crs)))
        shapely.prepare(area)
        sides = [side.within(area) for side in sides]
        notes.append(f"The mask leaves {len(sides[0].classes)} detections and {len(sides[1].classes)} true objects.")
    if any(side.is_classless for side in sides):
        if not all(side.is_classless for side in sides):
            notes.append("Only one side has classes, so all objects count as one class.")
        sides = [side.as_one_class() for side in sides]
    names = sorted({name for side in sides for name in side.classes.tolist()})
    numbers = {name: number for number, name in enumerate(names)}
    found, true = (side.as_objects(numbers) for side in sides)
    return Comparison(found, true, tuple(names), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Side:
    geometries: npt.NDArray[np.object_]
    classes: npt.NDArray[np.object_]
    scores: npt.NDArray[np.float64]
    is_classless: bool

    @classmethod
    def of(cls, given: Given, crs: str | None, notes: list[str]) -> _Side:
        shapes = given.table.geometries
        _check_polygons(given.parameter, shapes)
        shapes = _solid(reproject(shapes, given.table.crs, crs))
        classes = _classes(given)
        scores = _scores(given, notes)
        kept = shapely.area(shapes) > 0
        if not kept.all():
            notes.append(f"{given.parameter}: {int((~kept).sum())} features without an area are left out.")
        return cls(
            shapes[kept],
            np.full(int(kept.sum()), _ONE_CLASS, object) if classes is None else classes[kept],
            scores[kept],
            classes is None,
        )

    def within(self, area: shapely.Geometry) -> _Side:
        """Return what touches an area."""
        kept = shapely.intersects(area, self.geometries)
        return _Side(self.geometries[kept], self.classes[kept], self.scores[kept], self.is_classless)

    def as_one_class(self) -> _Side:
        return _Side(self.geometries, np.full(len(self.classes), _ONE_CLASS, object), self.scores, True)

    def as_objects(self, numbers: dict[str, int]) -> Objects:
        labels = np.fromiter((numbers[name] for name in self.classes), np.int64, len(self.classes))
        return Objects(self.geometries, labels, self.scores)


def _check_polygons(parameter: str, shapes: npt.NDArray[np.object_]) -> None:
    kinds = set(shapely.get_type_id(shapes).tolist()) - {-1, *_AREAS}
    if kinds:
        named = ", ".join(sorted(shapely.GeometryType(kind).name.lower() for kind in kinds))
        raise InputError(f"{parameter} holds geometries of type {named}; accuracy needs polygons")


def _common_system(truth: str | None, detected: str | None, notes: list[str]) -> str | None:
    given = [crs for crs in (truth, detected) if crs is not None]
    if len(given) == 1:
        notes.append("One side has no reference system; it is taken to be in that of the other.")
    return next((crs for crs in given if CRS.from_user_input(crs).is_projected), given[0] if given else None)


def _present(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    present: npt.NDArray[np.object_] = shapes[~shapely.is_missing(shapes)]
    return present


def _solid(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Return geometries made valid."""
    mended = np.array(shapes, object)
    broken = ~shapely.is_valid(mended) & ~shapely.is_missing(mended)
    if broken.any():
        mended[broken] = shapely.make_valid(mended[broken], method="structure", keep_collapsed=False)
    return mended


def _classes(given: Given) -> npt.NDArray[np.object_] | None:
    name = _field(given, (given.class_field,) if given.class_field else CLASS_FIELDS)
    if name is None:
        if given.class_field:
            there = ", ".join(given.table.columns) or "no fields"
            raise InputError(f"{given.parameter} has no field {given.class_field!r}; there is {there}")
        return None
    return np.array(
        [_class_name(value) for value in np.ma.array(given.table.columns[name], copy=False).tolist()], object
    )


def _class_name(value: object) -> str:
    # 1 in one file and 1.0 or "1" in the other are one class.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def _scores(given: Given, notes: list[str]) -> npt.NDArray[np.float64]:
    count = len(given.table.geometries)
    if given.parameter != "detectedFeatures":
        return np.ones(count)
    name = _field(given, SCORE_FIELDS)
    values = None if name is None else given.table.columns[name]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        notes.append("The detections have no field Confidence: they are taken in their order, and AP says little.")
        return np.ones(count)
    # A detection that says nothing of itself comes last.
    return np.nan_to_num(np.ma.filled(values.astype(np.float64), np.nan), nan=-np.inf)


def _field(given: Given, wanted: Sequence[str]) -> str | None:
    present = {name.lower(): name for name in given.table.columns}
    return next((present[name.lower()] for name in wanted if name.lower() in present), None)
