"""From classified blocks to one raster: what every tool that gives each pixel a class does with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.grid import Window
from raster_analysis.inference.blocks import load_labels, save_labels
from raster_analysis.inference.merge import OutputValues
from raster_analysis.inference.pipeline import Inference, classify_block
from raster_analysis.inference.preparation import Preparation, read_preparation
from raster_analysis.model_info import ModelInfo
from raster_analysis.seams import LegendEntry
from raster_analysis.tool import Block, BlockResult, Context, Plan

UNCOLOURED = (128, 128, 128)
"""Colour of a class whose definition gives none."""


def classify_to_file(block: Block, preparation: Preparation, context: Context, model: str) -> BlockResult:
    """Classify one block into a file of raster values; `model` is the wire name of the model parameter."""
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
    """Assemble the blocks, in block order, into one verified COG; return the share of each class."""
    # From the model alone, so that blocks of different slots mean the same by a value.
    values = OutputValues.of(info)
    context.rasters.write_classified(
        path,
        read_preparation(plan).view.grid,
        _assemble(plan, results, context),
        legend=legend_of(info),
        nodata=values.nodata,
        dtype=values.dtype,
    )
    statistics = class_shares(info, results)
    context.report.message(_summary(statistics))
    return statistics


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


def _assemble(
    plan: Plan, results: Sequence[BlockResult], context: Context
) -> Iterator[tuple[Window, npt.NDArray[np.generic]]]:
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
