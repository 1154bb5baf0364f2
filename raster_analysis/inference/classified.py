"""From classified blocks to one raster: what every tool that gives each pixel a class does with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.grid import Window
from raster_analysis.handle import Handle
from raster_analysis.inference.blocks import load_labels, save_labels
from raster_analysis.inference.items import Item, items_of, preparation_of
from raster_analysis.inference.merge import OutputValues
from raster_analysis.inference.pipeline import Inference, classify_block
from raster_analysis.inference.preparation import read_preparation
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import ModelInfo
from raster_analysis.seams import LegendEntry, RasterReader
from raster_analysis.tool import Block, BlockResult, Context, Plan

_MOSAIC_PX = 2048
LabelBlock = tuple[Window, npt.NDArray[np.generic]]
UNCOLOURED = (128, 128, 128)
"""Colour of a class whose definition gives none."""


def classify_to_file(block: Block, plan: Plan, context: Context, model: str) -> BlockResult:
    """Classify one block into a file of raster values; `model` is the wire name of the model parameter."""
    preparation = preparation_of(plan, block)
    # The plan settled every choice: another slot, or a run after a crash, computes the same values.
    loaded = context.models.load(context.handle(model), preparation.engine)
    with context.rasters.open(preparation.view) as reader:
        inference = Inference(reader, loaded, preparation.tiling, preparation.value_range, merge=preparation.merge)
        labels, statistics = classify_block(block, inference, context.report)
    file = f"block-{block.index:06d}.npy"
    digest = save_labels(context.folder / file, labels)
    return BlockResult(block.index, file, digest, statistics)


def write_classes(
    path: Path, plan: Plan, results: Sequence[BlockResult], context: Context, *, info: ModelInfo
) -> dict[str, JsonValue]:
    """Assemble the blocks, in block order, into one verified COG; return the share of each class.

    Items that were classified each on its own are put together on the cells of the first: where they
    overlap, the first that has a class there counts.
    """
    items = items_of(plan)
    if len(items) == 1:
        _write_item(path, items[0], results, context, info=info)
    else:
        _write_mosaic(path, [_item_file(item, results, context, info=info) for item in items], context, info=info)
    statistics = class_shares(info, results)
    context.report.message(_summary(statistics))
    return statistics


def _write_item(path: Path, item: Item, results: Sequence[BlockResult], context: Context, *, info: ModelInfo) -> None:
    # From the model alone, so that blocks of different slots mean the same by a value.
    values = OutputValues.of(info)
    context.rasters.write_classified(
        path,
        read_preparation(item.plan).view.grid,
        _assemble(item.plan, item.own(results), context),
        legend=legend_of(info),
        nodata=values.nodata,
        dtype=values.dtype,
    )


def _item_file(item: Item, results: Sequence[BlockResult], context: Context, *, info: ModelInfo) -> Handle:
    """Write an item's classes into a raster of its own, in the job's folder."""
    path = context.folder / f"item-{item.plan.blocks[0].index:06d}.tif"
    # Left by a run that was killed: the same blocks would give the same bytes.
    path.unlink(missing_ok=True)
    _write_item(path, item, results, context, info=info)
    return Handle("raster", str(path), item.name, driver="GTiff")


def _write_mosaic(path: Path, parts: Sequence[Handle], context: Context, *, info: ModelInfo) -> None:
    values = OutputValues.of(info)
    whole = Handle("raster", "", "the items' classes", members=tuple(parts), join="mosaic")
    # A mean of two classes is no class: the nearest pixel is taken where an item lies on other cells.
    view = context.rasters.view(whole, [0], ProcessingContext(), resampling="nearest")
    with context.rasters.open(view) as reader:
        context.rasters.write_classified(
            path,
            view.grid,
            _read_classes(reader, values, context),
            legend=legend_of(info),
            nodata=values.nodata,
            dtype=values.dtype,
        )


def _read_classes(reader: RasterReader, values: OutputValues, context: Context) -> Iterator[LabelBlock]:
    for window in reader.view.grid.window.split(_MOSAIC_PX, _MOSAIC_PX):
        context.report.check_cancelled()
        pixels = reader.read(window)
        yield window, np.where(pixels.mask, pixels.data[0], values.nodata).astype(values.dtype)


def legend_of(info: ModelInfo) -> list[LegendEntry]:
    """Return a row for each value that the model can give."""
    # A network may have a background that the definition has no class for (dlpk 1.3).
    by_value = {entry.value: entry for entry in info.classes}
    named = {value: by_value[value].name if value in by_value else "Background" for value in info.values}
    colors = {value: by_value[value].color if value in by_value else None for value in info.values}
    return [LegendEntry(value, named[value], colors[value] or UNCOLOURED) for value in sorted(set(info.values))]


def class_shares(info: ModelInfo, results: Sequence[BlockResult]) -> dict[str, JsonValue]:
    """Return the share of the grid that each class and nodata cover (users look for blank results, dlpk P7)."""
    counts: dict[str, float] = {}
    for result in results:
        for name, count in result.statistics.items():
            counts[name] = counts.get(name, 0.0) + count
    pixels = {name.removeprefix("value "): n for name, n in counts.items() if name.startswith("value ")}
    total = sum(pixels.values()) + counts.get("nodata", 0.0) or 1.0
    names = {str(entry.value): entry.name for entry in info.classes}
    shares: dict[str, JsonValue] = {names.get(v, v): round(n / total, 6) for v, n in sorted(pixels.items())}
    return {"classes": shares, "nodata": round(counts.get("nodata", 0.0) / total, 6), "tiles": counts.get("tiles", 0.0)}


def _assemble(plan: Plan, results: Sequence[BlockResult], context: Context) -> Iterator[LabelBlock]:
    windows = {block.index: block.window for block in plan.blocks}
    for done, result in enumerate(sorted(results, key=lambda result: result.index)):
        context.report.check_cancelled()
        # Compared with its digest: a block that changed on disk is not built into a result.
        yield windows[result.index], load_labels(context.folder / result.file, result.sha256)
        context.report.progress((done + 1) / len(results))


def _summary(statistics: dict[str, JsonValue]) -> str:
    classes = statistics["classes"]
    shares = [f"{name} {share:.1%}" for name, share in classes.items()] if isinstance(classes, dict) else []
    return f"Classified: {', '.join(shares) or 'no valid pixel'}; no data {statistics['nodata']:.1%}"
