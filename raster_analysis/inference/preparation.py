"""Preparation: what every inference tool settles before its first block, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from raster_analysis.errors import ModelError
from raster_analysis.grid import Window
from raster_analysis.handle import Handle
from raster_analysis.inference.arguments import ArgumentValues, parse_arguments
from raster_analysis.inference.merge import OutputValues
from raster_analysis.inference.tiling import Tiling, blocks_of, choose_tiling, memory_bill
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import Engine, ModelInfo, Task
from raster_analysis.pixels import Pixels
from raster_analysis.seams import ContextLayers, RasterReader, RasterView
from raster_analysis.settings import count_cores
from raster_analysis.tool import Context, Plan

SAMPLE_TILES = 4
"""Tiles looked at to settle a precision (guess: enough to meet more than one kind of ground)."""

SAMPLE_PX = 256
"""Their side where the model takes any tile (see `read_samples`)."""

TOOL_OF_TASK = {
    Task.PIXELS: "ClassifyPixelsUsingDeepLearning",
    Task.OBJECTS: "DetectObjectsUsingDeepLearning",
    Task.CROPS: "ClassifyObjectsUsingDeepLearning",
}
TASK_OF_TOOL = {tool: task for task, tool in TOOL_OF_TASK.items()} | {"DetectChangeUsingDeepLearning": Task.PIXELS}
_WORDS = {Task.PIXELS: "classifies pixels", Task.OBJECTS: "detects objects", Task.CROPS: "classifies objects"}


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is read, by which engine, in which tiles. Travels to the slots inside a plan."""

    view: RasterView
    engine: Engine
    tiling: Tiling
    value_range: tuple[float, float]
    merge: str
    exclude_pad_detections: bool
    return_bboxes: bool = False
    """Rectangles only, from a model that gives outlines."""


PREPARATION: TypeAdapter[Preparation] = TypeAdapter(Preparation)


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a tool's parameters that all inference tools share."""

    task: Task
    raster: str
    """Wire name of the raster parameter."""
    model: str
    """Wire name of the model parameter."""
    arguments: Mapping[str, str]
    processing: ProcessingContext
    before: str | None = None
    """Wire name of the raster of the earlier date, for tools that compare two."""

    def source(self, context: Context) -> Handle:
        """Return what the model reads: the raster, or both dates one behind the other (dlpk 3.11)."""
        raster = context.handle(self.raster)
        if self.before is None:
            return raster
        before = context.handle(self.before)
        title = f"{before.title!r} and {raster.title!r}"
        return Handle("raster", "", title, members=(before, raster), join="stack")

    @property
    def blends(self) -> bool:
        """Return whether probabilities are averaged where tiles overlap; boxes have nothing to blend."""
        return self.task is Task.PIXELS and self.processing.merge == "blend"


def check_request(
    info: ModelInfo,
    task: Task,
    arguments: Mapping[str, str],
    *,
    processing: ProcessingContext,
    memory_limit: int,
) -> ArgumentValues:
    """Return the typed arguments; raises InputError or BudgetError for what no raster can make right."""
    if info.task is not task:
        raise ModelError(
            f"model {info.name!r} {_WORDS[info.task]}: it is for {TOOL_OF_TASK[info.task]}, "
            f"not for {TOOL_OF_TASK[task]}"
        )
    values = parse_arguments(info, arguments)
    values = replace(values, batch_size=values.batch_size or processing.batch_size)
    if task is Task.PIXELS:
        # Values that fit no raster would else show only after the first block.
        OutputValues.of(info)
    blends = task is Task.PIXELS and processing.merge == "blend"
    _choose_tiling(info, (info.tile_height, info.tile_width), values, memory_limit=memory_limit, probabilities=blends)
    return values


Settled = dict[Engine, Engine]
"""Engines that were settled before, by what was wanted: several rasters of one job share them."""


def make_plan(request: Request, context: Context, settled: Settled | None = None) -> Plan:
    """Settle view, tiles and engine, say so in the job's messages, and cut the work into blocks."""
    info = context.models.describe(context.handle(request.model))
    preparation = _settle(request, info, context, {} if settled is None else settled)
    tiling = preparation.tiling
    blocks = blocks_of(tiling)
    bill = memory_bill(
        tiling,
        info,
        np.dtype(preparation.view.dtype).itemsize,
        context.memory_limit,
        probabilities=request.blends,
    )
    words = "block" if len(blocks) == 1 else "blocks"
    context.report.message(
        f"Plan: {tiling.grid_height} x {tiling.grid_width} pixels in {len(blocks)} {words}; "
        f"tiles of {tiling.tile_height} x {tiling.tile_width} with padding {tiling.padding}, "
        f"batch {tiling.batch_size}; {bill / 2**20:.0f} MiB per slot"
    )
    state = {"preparation": PREPARATION.dump_python(preparation, mode="json")}
    return Plan(tuple(blocks), state, bill)


def read_preparation(plan: Plan) -> Preparation:
    """Return what `make_plan` settled."""
    return PREPARATION.validate_python(plan.state["preparation"], strict=False)


def _settle(request: Request, info: ModelInfo, context: Context, settled: Settled) -> Preparation:
    raster, model = request.source(context), context.handle(request.model)
    processing, limit = request.processing, context.memory_limit
    values = check_request(info, request.task, request.arguments, processing=processing, memory_limit=limit)
    view = context.rasters.view(raster, info.bands, processing, ContextLayers.of(context.handles))
    shape = (view.grid.height, view.grid.width)
    tiling = _choose_tiling(
        info, shape, values,
        memory_limit=limit, sample_bytes=np.dtype(view.dtype).itemsize, probabilities=request.blends,
    )  # fmt: skip
    value_range = context.rasters.describe(raster).value_range
    wanted = replace(wanted_engine(request, values, tiling), threads=count_threads(processing, context.threads))
    if wanted not in settled:
        with context.rasters.open(view) as reader:
            samples = read_samples(reader, info, tiling)
        settled[wanted], reasons = context.models.settle(model, wanted, samples, value_range)
        for reason in reasons:
            context.report.message(reason)
    return Preparation(
        view, settled[wanted], tiling, value_range, "blend" if request.blends else "crop",
        values.exclude_pad_detections, values.return_bboxes,
    )  # fmt: skip


def _choose_tiling(
    info: ModelInfo,
    grid_shape: tuple[int, int],
    values: ArgumentValues,
    *,
    memory_limit: int,
    sample_bytes: int = 1,
    probabilities: bool,
) -> Tiling:
    return choose_tiling(
        info,
        grid_shape,
        tile_size=values.tile_size,
        padding=values.padding,
        batch_size=values.batch_size,
        memory_limit=memory_limit,
        sample_bytes=sample_bytes,
        probabilities=probabilities,
    )


def count_threads(processing: ProcessingContext, own: int) -> int:
    """Return the CPU threads of the network: the slot's own, or the share of them that the context asks for."""
    if processing.parallel_processing_factor is None:
        return own
    return processing.threads(own or count_cores())


def wanted_engine(request: Request, values: ArgumentValues, tiling: Tiling) -> Engine:
    """Return the engine that a request asks for; what it leaves open stays so."""
    processing = request.processing
    # GPU is a wish that clients send by default; the job's messages say when there is none.
    device = processing.device or ("cpu" if processing.processor_type == "CPU" else "auto")
    return Engine(
        device=device,
        precision=processing.precision,
        runtime=processing.runtime,
        tile_height=tiling.tile_height,
        tile_width=tiling.tile_width,
        batch_size=tiling.batch_size,
        threshold=values.threshold,
        nms_overlap=values.nms_overlap,
        probabilities=request.blends,
        predict_background=values.predict_background,
    )


def read_samples(reader: RasterReader, info: ModelInfo, tiling: Tiling) -> npt.NDArray[np.generic]:
    """Return up to `SAMPLE_TILES` tiles spread over the grid, `(n, bands, rows, cols)`; always the same ones.

    Tiles without a valid pixel are never among them. Where the model takes any tile they are small: a
    comparison costs fp32, and a quarter of a million pixels settle a share of 99.9 %.
    """
    best: list[Pixels] = []
    for window in _sample_windows(info, tiling):
        best.append(reader.read(window))
        # Nodata agrees with itself in any precision: it must not settle one.
        best = sorted((pixels for pixels in best if pixels.mask.any()), key=lambda p: -int(p.mask.sum()))[:SAMPLE_TILES]
        if len(best) == SAMPLE_TILES and 2 * best[-1].mask.sum() >= best[-1].window.size:
            break
    if not best:
        return np.empty((0, len(info.bands), window.height, window.width), reader.view.dtype)
    return np.stack([pixels.data for pixels in best])


def _sample_windows(info: ModelInfo, tiling: Tiling) -> list[Window]:
    """Return the windows to look at: the diagonal first, which is enough for most rasters."""
    height, width = tiling.tile_height, tiling.tile_width
    if info.variable_tile:
        small = -(-SAMPLE_PX // info.tile_multiple) * info.tile_multiple
        height, width = min(height, small), min(width, small)
    rows = np.linspace(0, max(0, tiling.grid_height - height), SAMPLE_TILES, dtype=int)
    cols = np.linspace(0, max(0, tiling.grid_width - width), SAMPLE_TILES, dtype=int)
    order = range(SAMPLE_TILES)
    places = [(int(rows[i]), int(cols[(i + turn) % SAMPLE_TILES])) for turn in order for i in order]
    return [Window(row, col, height, width) for row, col in dict.fromkeys(places)]
