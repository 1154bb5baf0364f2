"""The arguments of a model as users know them (dlpk 4.7)."""

from __future__ import annotations

from pydantic import JsonValue

from dlpk.definition import Definition
from raster_analysis.model_info import Argument, ModelInfo, Task
from raster_analysis.models.classes import has_background, predicts_background

_TRUTH = ("True", "False")
_WORDS = {
    "padding": ("numeric", "Pixels at each side of a tile that are read and computed, but whose result is not used"),
    "batch_size": ("numeric", "Tiles that are given to the network at once"),
    "threshold": ("numeric", "Confidence, 0 to 1, that a result must exceed"),
    "nms_overlap": ("numeric", "Overlap (intersection over union, 0 to 1) above which the weaker of two boxes goes"),
    "exclude_pad_detections": ("string", "Leave out objects that are cut off by the border of their tile"),
    "return_bboxes": ("string", "Give rectangles instead of outlines"),
    "predict_background": ("string", "Whether class index 0 may be chosen"),
    "tile_size": ("numeric", "Side of the square tiles that the network is given"),
}


def describe_arguments(info: ModelInfo, definition: Definition, *, single_score: bool) -> tuple[Argument, ...]:
    """Return the arguments that a model offers; what its definition fixes is not offered."""
    defaults: dict[str, JsonValue] = {}
    if info.task is not Task.CROPS and not info.model_padding:
        defaults["padding"] = info.padding
    if definition.batch_size is None and info.fixed_batch is None:
        defaults["batch_size"] = info.batch_size
    defaults |= _defaults_of_task(info, single_score)
    if info.variable_tile:
        defaults["tile_size"] = info.tile_height
    return tuple(_argument(name, default) for name, default in defaults.items())


def _defaults_of_task(info: ModelInfo, single_score: bool) -> dict[str, JsonValue]:
    if info.task is Task.OBJECTS:
        values: dict[str, JsonValue] = {"threshold": info.threshold, "nms_overlap": info.nms_overlap}
        values["exclude_pad_detections"] = True
        return values | ({"return_bboxes": False} if info.instances else {})
    if info.task is Task.CROPS:
        return {}
    if single_score:
        return {"threshold": info.threshold}
    if not has_background(info.classes, info.values):
        return {}
    return {"predict_background": predicts_background(info.classes, info.values)}


def _argument(name: str, default: JsonValue) -> Argument:
    data_type, text = _WORDS[name]
    if isinstance(default, bool):
        return Argument(name, data_type, str(default), text, _TRUTH)
    return Argument(name, data_type, default, text)
