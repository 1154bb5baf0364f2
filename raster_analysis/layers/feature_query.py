"""Questions about the features of a layer, and what comes back: values without any dialect's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.field import Field

Cell = str | int | float | None


class Relation(StrEnum):
    """How the features that are wanted lie to a shape. The shape is the subject: it *contains* a feature."""

    INTERSECTS = "intersects"
    ENVELOPES_INTERSECT = "envelopes_intersect"
    CONTAINS = "contains"
    WITHIN = "within"
    TOUCHES = "touches"
    OVERLAPS = "overlaps"
    CROSSES = "crosses"


@dataclass(frozen=True, slots=True)
class Place:
    """Where features are wanted."""

    wkt: str
    """The shape, x before y."""
    reference: SpatialReference | None = None
    """None: the layer's own."""
    relation: Relation = Relation.INTERSECTS
    distance_m: float = 0.0
    """Grows the shape, measured on the ground."""


@dataclass(frozen=True, slots=True)
class Order:
    """A field by which features are sorted."""

    field: str
    descending: bool = False


StatisticKind = Literal["count", "sum", "min", "max", "avg", "stddev", "var", "percentile_cont", "percentile_disc"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A figure over all features, or over each group."""

    kind: StatisticKind
    field: str
    name: str = ""
    """What it is called in the answer; empty: made of kind and field."""
    share: float = 0.5
    """Of a percentile: the share of the values that lie below it, 0 to 1; above it when `descending`."""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Shapes:
    """How the shapes of features are wanted."""

    reference: SpatialReference | None = None
    """None: the layer's own."""
    tolerance: float = 0.0
    """How far a simpler shape may lie from the true one, in units of the reference."""
    centroid: bool = False
    """Whether the centroids come too."""
    outline: bool = True
    """Whether the shapes themselves come."""


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """Which features of one layer are wanted, and what of them. Field names are those of the layer, in any case."""

    where: str = ""
    """A condition as `where.py` reads it; empty: all."""
    ids: tuple[int, ...] | None = None
    place: Place | None = None
    fields: tuple[str, ...] | None = None
    """None: all."""
    order: tuple[Order, ...] = ()
    """The id decides between equals, so that pages never overlap."""
    offset: int = 0
    limit: int | None = None
    """None: no limit; the caller has a reason, such as ids given one by one."""
    distinct: bool = False
    """Whether rows whose fields are equal are one; shapes do not count and do not come."""
    shapes: Shapes | None = None
    """None: attributes only."""


@dataclass(frozen=True, slots=True)
class SummaryQuery:
    """Which figures are wanted of the features that a query chooses."""

    statistics: tuple[Statistic, ...]
    groups: tuple[str, ...] = ()
    having: str = ""
    """A condition on groups: fields, names of statistics and functions over groups."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Features that were found, by column."""

    fields: tuple[Field, ...]
    cells: list[tuple[Cell, ...]]
    """A tuple a feature, in the order of `fields`; moments in milliseconds since 1970."""
    more: bool
    """Whether the limit left some out."""
    shapes: npt.NDArray[np.object_] | None = None
    """`(n,)` shapely geometries, None where a feature has none."""
    centroids: npt.NDArray[np.object_] | None = None
