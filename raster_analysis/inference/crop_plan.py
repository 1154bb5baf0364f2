"""The plan of a job that classifies features: its crops, its engine, and blocks of crops that lie together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import TypeAdapter

from raster_analysis.errors import BudgetError
from raster_analysis.grid import Grid
from raster_analysis.inference.arguments import ArgumentValues
from raster_analysis.inference.batches import STRIP_PX
from raster_analysis.inference.crop_list import CropList, Survey
from raster_analysis.inference.crops import CropRules, read_crops
from raster_analysis.inference.pipeline import BATCHES_AHEAD
from raster_analysis.inference.preparation import Request, check_request, count_threads, wanted_engine
from raster_analysis.inference.tiles import Tiling
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import Engine, ModelInfo
from raster_analysis.seams import ContextLayers, FeatureTable, RasterView
from raster_analysis.tool import Block, Context, Plan

BLOCK_CROPS = 5_000
"""Crops of a block: seconds of work for a small network (guess)."""
SAMPLE_CROPS = 64
"""Crops looked at to settle a precision: as few classes as one a crop are to agree (guess)."""


@dataclass(frozen=True, slots=True)
class CropPlan:
    """What is read, by which engine, for which features. Travels to the slots inside a plan."""

    view: RasterView
    engine: Engine
    rules: CropRules
    value_range: tuple[float, float]
    batch_size: int
    folder: str
    """Name of the claim's folder, beside those of other claims, that holds the list of crops."""
    features: int
    crs: str | None
    geometry_type: str
    numbered: bool
    block_crops: int

    def crops(self, context: Context) -> CropList:
        """Return the list of crops, wherever an earlier claim of the job made it."""
        return CropList(context.folder.parent / self.folder)


CROP_PLAN: TypeAdapter[CropPlan] = TypeAdapter(CropPlan)


def plan_crops(request: Request, parts: Iterable[FeatureTable] | None, context: Context) -> Plan:
    """Settle view and engine, list the crops of the features, and cut them into blocks.

    Without features the whole raster is one: it is read at the cell size at which it fits a crop.
    """
    info = context.models.describe(context.handle(request.model))
    values = check_request(
        info, request.task, request.arguments, processing=request.processing, memory_limit=context.memory_limit
    )
    view = _view(request, info, context, whole=parts is None)
    rules = replace(CropRules.of(info), fixed=True) if parts is None else CropRules.of(info)
    crops = CropList(context.folder)
    survey = crops.make([_whole(view.grid)] if parts is None else parts, view.grid, shapes=rules.blacken)
    batch_size = info.fixed_batch or values.batch_size or info.batch_size
    bill = _memory_bill(info, view, batch_size, context.memory_limit)
    plan = CropPlan(
        view, Engine(), rules, context.rasters.describe(request.source(context)).value_range, batch_size,
        context.folder.name, survey.count, survey.crs, survey.geometry_type(), survey.numbered, BLOCK_CROPS,
    )  # fmt: skip
    plan = replace(plan, engine=_settle(request, values, plan, context=context))
    _report(len(crops), survey, context)
    blocks = tuple(Block(index, view.grid.window) for index in range(-(-len(crops) // plan.block_crops)))
    return Plan(blocks, {"crops": CROP_PLAN.dump_python(plan, mode="json")}, bill)


def read_crop_plan(plan: Plan) -> CropPlan:
    """Return what `plan_crops` settled."""
    return CROP_PLAN.validate_python(plan.state["crops"], strict=False)


def _view(request: Request, info: ModelInfo, context: Context, *, whole: bool) -> RasterView:
    raster, layers = request.source(context), ContextLayers.of(context.handles)
    view = context.rasters.view(raster, info.bands, request.processing, layers)
    grid = view.grid
    if not whole or (grid.height <= info.tile_height and grid.width <= info.tile_width):
        return view
    width, height = grid.cell_size
    cell = max(width * grid.width / info.tile_width, height * grid.height / info.tile_height)
    coarse: ProcessingContext = request.processing.model_copy(update={"cell_size": cell})
    return context.rasters.view(raster, info.bands, coarse, replace(layers, cell_size=None))


def _whole(grid: Grid) -> FeatureTable:
    """Return the outline of a grid as the only feature."""
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0)]
    outline = shapely.Polygon([grid.transform @ corner for corner in corners])
    shapes = np.empty(1, object)
    shapes[0] = outline
    return FeatureTable(shapes, grid.crs, {}, "raster")


def whole_raster(plan: CropPlan) -> FeatureTable:
    """Return the outline of the raster as the only feature of a job without features."""
    return _whole(plan.view.grid)


def _settle(request: Request, values: ArgumentValues, plan: CropPlan, *, context: Context) -> Engine:
    tiling = Tiling(plan.rules.height, plan.rules.width, plan.rules.height, plan.rules.width, 0, plan.batch_size)
    wanted = replace(
        wanted_engine(request, values, tiling),
        threads=count_threads(request.processing, context.threads),
        probabilities=True,
    )
    model, samples = context.handle(request.model), _samples(plan, context)
    engine, reasons = context.models.settle(model, wanted, samples, plan.value_range)
    for reason in reasons:
        context.report.message(reason)
    return engine


def _samples(plan: CropPlan, context: Context) -> npt.NDArray[np.generic]:
    """Return a few crops from all over the list; always the same ones."""
    crops = plan.crops(context)
    places = np.unique(np.linspace(0, len(crops) - 1, min(len(crops), SAMPLE_CROPS), dtype=int))
    with context.rasters.open(plan.view) as reader:
        found = [
            batch.data
            for place in places
            for batch in read_crops(reader, crops.take(int(place), int(place) + 1)[1], plan.rules, 1)
        ]
    shape = (0, len(plan.view.bands), plan.rules.height, plan.rules.width)
    return np.concatenate(found) if found else np.empty(shape, plan.view.dtype)


def _memory_bill(info: ModelInfo, view: RasterView, batch_size: int, limit: int) -> int:
    pixel = len(info.bands) * np.dtype(view.dtype).itemsize + 1
    crop = info.tile_height * info.tile_width
    # The crops that are read together, twice while one is cut; batches that wait; the network.
    need = 2 * max(STRIP_PX, crop) * pixel + (BATCHES_AHEAD + 1) * batch_size * crop * pixel
    need += batch_size * crop * info.activation_bytes
    if need > limit:
        raise BudgetError(
            f"the job needs {need // 1_000_000:,} MB of memory above the model and {limit // 1_000_000:,} MB are "
            "allowed; a smaller batch_size needs less"
        )
    return need


def _report(listed: int, survey: Survey, context: Context) -> None:
    context.report.message(f"Plan: {listed} of {survey.count} features touch the raster")
    if listed < survey.count:
        context.report.message(
            f"{survey.count - listed} features lie outside of what is processed and get no label", "warning"
        )
