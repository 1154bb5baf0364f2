"""The contracts between rooms. What crosses them is plain data; handles are opened where they are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.detections import Detections
from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import Engine, ModelInfo
from raster_analysis.pixels import Pixels

Level = Literal["info", "warning", "error"]
Resampling = Literal["nearest", "bilinear", "cubic", "average"]


class Reporter(Protocol):
    """Where a running task says how it gets on."""

    def message(self, text: str, level: Level = "info") -> None:
        """Add a line to the job's messages."""

    def progress(self, fraction: float) -> None:
        """Say how much of the present task is done, 0 to 1."""

    def check_cancelled(self) -> None:
        """Raise Cancelled when the job was asked to stop; called between batches of tiles."""


@dataclass(frozen=True, slots=True)
class RasterInfo:
    """A raster's facts, read from its header."""

    grid: Grid
    band_count: int
    dtype: str
    """numpy name of the widest band type."""
    nodata: float | None
    band_names: tuple[str, ...]
    """Well-known names where the file tells (colour interpretation, description), else `band_N`, N from 0."""
    alpha_band: int | None
    """Zero-based index of the band that is the mask, not data."""
    value_range: tuple[float, float]
    """Stored statistics where the file has them, else the pixel type's range (dlpk 1.8)."""


@dataclass(frozen=True, slots=True)
class RasterView:
    """What to read from a raster: bands, on a grid, under a mask. Travels between processes."""

    handle: Handle
    bands: tuple[int, ...]
    """Zero-based."""
    grid: Grid
    resample: bool
    """Whether `grid` is not a window of the raster's own grid, so that pixels are warped."""
    dtype: str
    mask_wkt: str | None = None
    """Polygons in the grid's CRS; pixels whose centre is outside are not valid."""
    parts: tuple[RasterView, ...] = ()
    """What a view of several rasters is joined from, as the handle's `join` says; each lies on the grid's cells."""
    resampling: Resampling = "bilinear"
    """How pixels are made where they are warped."""
    mask_raster: RasterView | None = None
    """One band on the same grid; pixels where it has no value, or 0, are not valid."""

    @property
    def is_masked(self) -> bool:
        """Return whether a mask was asked for, whatever it is made of."""
        return self.mask_wkt is not None or self.mask_raster is not None


@dataclass(frozen=True, slots=True)
class ContextLayers:
    """What became of the layers that a context names."""

    mask: Handle | None = None
    cell_size: Handle | None = None
    """The raster whose cell size is wanted."""
    snap_raster: Handle | None = None
    """The raster whose cells the output's are to be aligned with."""

    @classmethod
    def of(cls, handles: Mapping[str, Handle]) -> ContextLayers:
        """Return the layers among a job's handles, where they stand as `context.mask` and so on."""
        return cls(handles.get("context.mask"), handles.get("context.cellSize"), handles.get("context.snapRaster"))


NO_LAYERS = ContextLayers()


class RasterReader(Protocol):
    """An opened view; safe to call from one thread at a time."""

    view: RasterView

    def read(self, window: Window) -> Pixels:
        """Return a window of the view's grid; beyond the raster pixels are 0 and not valid."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One class: a row of a classified raster's attribute table, or of a layer's legend."""

    value: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes of features."""

    field: str
    """Holds the names of the classes."""
    entries: tuple[LegendEntry, ...]


class Rasters(Protocol):
    """Rasters in and out."""

    def describe(self, handle: Handle) -> RasterInfo:
        """Return a raster's facts; raises RasterError when it cannot be used."""

    def view(
        self,
        handle: Handle,
        bands: Sequence[int | str],
        context: ProcessingContext,
        layers: ContextLayers = NO_LAYERS,
        *,
        resampling: Resampling = "bilinear",
    ) -> RasterView:
        """Return what to read so that `bands` come on the grid that `context` asks for."""

    def open(self, view: RasterView) -> RasterReader:
        """Open a view for reading."""

    def write_classified(
        self,
        path: Path,
        grid: Grid,
        blocks: Iterable[tuple[Window, npt.NDArray[np.generic]]],
        *,
        legend: Sequence[LegendEntry],
        nodata: int | None,
        dtype: str,
    ) -> None:
        """Write a verified COG with overviews, colormap and attribute table from blocks that cover the grid."""

    def copy(self, path: Path, view: RasterView, report: Reporter) -> None:
        """Write all that a view reads as a verified COG, with the raster's nodata, colours and band names."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of an image service of another server."""

    name: str
    """For the file; the same for the same parameter of a job."""
    processing: ProcessingContext
    pixels: bool = True
    """False: only where its cells lie, for cell sizes and snap rasters."""


class Images(Protocol):
    """Image services of other servers, as local rasters."""

    def fetch(self, handle: Handle, wanted: Wanted, folder: Path, report: Reporter) -> Handle:
        """Return the handle of a local copy of the part that is processed; what is there already is not fetched again.

        Raises InputError when the service cannot be read, BudgetError when the part is too large.
        """


FeatureSource = Handle | dict[str, JsonValue]
"""A vector file, or features written out: an Esri feature set, a feature collection or GeoJSON."""


Columns = Mapping[str, npt.NDArray[np.generic] | Sequence[str]]
"""Values by the name of their field."""


class Features(Protocol):
    """Vector features in and out."""

    def read(self, source: FeatureSource, where: str = "") -> FeatureTable:
        """Return all features, in the source's order; raises InputError when they cannot be read.

        `where` is a clause of a user; it is parsed before anything sees it.
        """

    def read_parts(self, source: FeatureSource, where: str = "", *, size: int = 50_000) -> Iterator[FeatureTable]:
        """Yield the same features in the same order, at most `size` at a time; at least one part, perhaps empty."""

    def write(self, path: Path, table: FeatureTable) -> None:
        """Write features in the format that the suffix names; nothing is left behind on an error.

        Polygons are mended, those without an area are left out.
        """

    def write_parts(self, path: Path, parts: Iterable[FeatureTable]) -> None:
        """Write features as they are and all of them, part by part; the parts have the same columns."""

    def write_rows(self, path: Path, layer: str, columns: Columns) -> None:
        """Write a table without geometries, as a GeoPackage; NaN becomes null."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features as columns."""

    geometries: npt.NDArray[np.object_]
    """`(n,)` shapely geometries in `crs`; None where a feature has no place."""
    crs: str | None
    columns: dict[str, npt.NDArray[np.generic] | Sequence[str]]
    """Whole numbers with nulls among them are masked arrays; text is of type object, null is None."""
    layer: str
    geometry_type: str = "Polygon"
    """OGR's name for what the geometries are: Point, MultiPolygon, LineString Z; Unknown for a mixture."""
    ids: npt.NDArray[np.int64] | None = None
    """The ids that the features have in their source, when they have any."""
    legend: Legend | None = None
    """Stays with a GeoPackage; other formats have no place for it."""

    def take(self, index: slice | npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> FeatureTable:
        """Return the features at `index`, in that order."""
        columns: dict[str, npt.NDArray[np.generic] | Sequence[str]] = {
            name: np.asanyarray(values, None if isinstance(values, np.ndarray) else object)[index]
            for name, values in self.columns.items()
        }
        ids = None if self.ids is None else self.ids[index]
        return replace(self, geometries=self.geometries[index], columns=columns, ids=ids)


class Model(Protocol):
    """A loaded package. Not re-entrant: one thread at a time."""

    info: ModelInfo
    engine: Engine
    """As it was settled: no `auto` is left in it."""
    reasons: tuple[str, ...]
    """Why the engine was chosen, a sentence each, for the job's messages."""
    memory_bytes: int
    """Measured or estimated working memory for one batch."""

    def classify(
        self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]:
        """Return class indexes `(n, rows, cols)`, or probabilities `(n, classes, rows, cols)` when the engine says so.

        `tiles` is `(n, bands, rows, cols)` in the raster's data type, invalid pixels 0; n is at most the
        engine's batch size. `value_range` is the raster's, for definitions with a DataRange. Rows and
        columns that come out are smaller by `2 * info.model_padding`.
        """

    def detect(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> list[Detections]:
        """Return what is found in each tile, in tile pixels, above the engine's threshold, suppressed per class."""


class Models(Protocol):
    """Packages to models; keeps what was loaded last warm."""

    def describe(self, handle: Handle) -> ModelInfo:
        """Return a model's facts without building an engine; raises ModelError when it cannot run here."""

    def load(self, handle: Handle, engine: Engine) -> Model:
        """Return the model ready to run, from memory when it was loaded with the same engine before."""

    def settle(
        self, handle: Handle, engine: Engine, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
    ) -> tuple[Engine, tuple[str, ...]]:
        """Return the engine with no `auto` and no 0 left, and why, a sentence each.

        Called once for a job, in its plan phase, with tiles sampled from its raster (see `Model.classify`):
        reduced precision is chosen only when it agrees with fp32 on them, so that every slot and every
        resumed run uses the same engine whatever block it starts with.
        """
