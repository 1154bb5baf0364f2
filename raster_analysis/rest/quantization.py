"""Coordinates as whole steps of a client's screen: what `quantizationParameters` asks for (contract 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.errors import InputError
from raster_analysis.inputs import SpatialReference
from raster_analysis.rest.feature_geometry import read_object, read_reference

_MOST_STEPS = 2**53
"""Whole numbers that clients can count to."""
_FINEST, _FARTHEST = 1e-9, 1e12
_FEWEST_VERTICES = {"line": 2, "polygon": 4}
"""Of a part that is more than a point, or a line that goes there and back."""

Bounds = tuple[float, float, float, float]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantization:
    """How coarse coordinates may be, and where they are counted from. Travels to a reader."""

    tolerance: float
    """Length of a step, in units of the answer's reference."""
    bounds: Bounds | None = None
    """None: the layer's."""
    reference: SpatialReference | None = None
    """Of the bounds; None: the answer's."""
    from_top: bool = True


@dataclass(frozen=True, slots=True)
class Steps:
    """Whole steps from a corner."""

    tolerance: float
    corner: tuple[float, float]
    from_top: bool

    @classmethod
    def within(cls, bounds: Bounds, quantization: Quantization) -> Steps:
        """Return steps that are counted from a corner of bounds."""
        corner = (bounds[0], bounds[3] if quantization.from_top else bounds[1])
        return cls(quantization.tolerance, corner, quantization.from_top)

    def count(self, points: Points) -> npt.NDArray[np.int64]:
        """Return `(n, 2)` coordinates as steps."""
        with np.errstate(over="ignore", invalid="ignore"):
            steps = (points - self.corner) / (self.tolerance, -self.tolerance if self.from_top else self.tolerance)
        return np.rint(np.clip(np.nan_to_num(steps), -_MOST_STEPS, _MOST_STEPS)).astype(np.int64)

    def part(self, points: Points, kind: str) -> list[list[int]]:
        """Return a ring, line or points: the first place, then the steps from each to the next.

        Nothing is left of what lies within a step.
        """
        places = self.count(points)
        if kind in _FEWEST_VERTICES:
            moves = np.any(np.diff(places, axis=0) != 0, axis=1)
            places = places[np.concatenate([[True], moves])]
            if len(places) < _FEWEST_VERTICES[kind]:
                return []
        rows: list[list[int]] = np.diff(places, axis=0, prepend=np.zeros((1, 2), np.int64)).tolist()
        return rows

    @property
    def document(self) -> dict[str, JsonValue]:
        """Return how clients come back to coordinates."""
        return {
            "originPosition": "upperLeft" if self.from_top else "lowerLeft",
            "scale": [self.tolerance, self.tolerance],
            "translate": [*self.corner],
        }


def read_quantization(text: str) -> Quantization | None:
    """Return what a parameter asks for, None for nothing and for full detail (mode edit); raises InputError."""
    if not text.strip():
        return None
    value = read_object(text, "quantizationParameters")
    mode, origin = value.get("mode") or "view", value.get("originPosition") or "upperLeft"
    if mode not in ("view", "edit") or origin not in ("upperLeft", "lowerLeft"):
        raise InputError(
            f"quantizationParameters {text[:80]!r}: want mode view or edit, originPosition upperLeft or lowerLeft"
        )
    if mode == "edit":
        return None
    tolerance = _number(value.get("tolerance", 1), "tolerance")
    if not _FINEST <= tolerance <= _FARTHEST:
        raise InputError(f"quantizationParameters.tolerance {tolerance:g}: want {_FINEST:g} to {_FARTHEST:g}")
    bounds, reference = _extent(value.get("extent"))
    return Quantization(tolerance, bounds, reference, from_top=origin == "upperLeft")


def _extent(value: Any) -> tuple[Bounds | None, SpatialReference | None]:
    if value is None:
        return None, None
    if not isinstance(value, dict):
        raise InputError(f"quantizationParameters.extent {str(value)[:80]!r}: want xmin, ymin, xmax, ymax")
    xmin, ymin, xmax, ymax = (_number(value.get(name), f"extent.{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    reference = read_reference(value.get("spatialReference"), "quantizationParameters.extent.spatialReference")
    return (min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax)), reference


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FARTHEST:
        raise InputError(f"quantizationParameters.{name} {str(value)[:40]!r}: want a number up to {_FARTHEST:g}")
    return float(value)
