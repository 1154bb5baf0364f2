"""Decoders: raw tensors of a detector to boxes, scores and labels, as its definition declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dlpk.extension import Decoder, NetworkOutput
from raster_analysis.detections import Detections
from raster_analysis.errors import ModelError
from raster_analysis.models.head import check_finite, sigmoid
from raster_analysis.models.network import Arrays
from raster_analysis.models.outlines import outline_mask
from raster_analysis.models.suppression import suppress

Floats = npt.NDArray[np.float64]
_ROUNDING = 0.02  # of bf16 probabilities
MASK_LEVEL = 0.5  # dlpk 4.7: `>=` in masks


@dataclass(frozen=True, slots=True)
class Reading:
    """How one detector's tensors are read."""

    output: NetworkOutput
    class_count: int
    rows: int
    cols: int
    threshold: float
    nms_overlap: float


@dataclass(frozen=True, slots=True)
class _Raw:
    """Candidates of one tile before threshold and suppression; labels count from 0."""

    boxes_xyxy: Floats
    scores: Floats
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.generic] | None = None


def decode_batch(outputs: list[Arrays], count: int, reading: Reading) -> list[Detections]:
    """Return what was found in each of `count` tiles; raises ModelError for tensors that are not as declared."""
    roles = [_by_role(arrays, reading.output) for arrays in outputs]
    tiles = roles if len(outputs) == count and _lacks_batch_axis(roles[0], reading.output) else _split(roles[0], count)
    return [_select(_DECODERS[reading.output.decoder](tile, reading), reading) for tile in tiles]


_ROLES = {
    Decoder.BOXES: ("boxes", "scores", "labels"),
    Decoder.MASKS: ("boxes", "scores", "labels", "masks"),
    Decoder.YOLOV5: ("boxes",),
    Decoder.YOLOV8: ("boxes",),
    Decoder.YOLOX: ("boxes",),
    Decoder.DETR: ("logits", "boxes"),
}


def _by_role(arrays: Arrays, output: NetworkOutput) -> dict[str, npt.NDArray[np.generic]]:
    roles, by_position = _ROLES[output.decoder], list(arrays)
    if len(arrays) < len(roles):
        raise ModelError(
            f"decoder {output.decoder.value} needs {len(roles)} tensors ({', '.join(roles)}) "
            f"and the network gives {len(arrays)}: {_list(arrays)}"
        )
    found = {}
    for position, role in enumerate(roles):
        name = output.tensors.get(role, by_position[position])
        if name not in arrays:
            raise ModelError(f"the network has no output {name!r} for {role}; it has {_list(arrays)}")
        check_finite(name, arrays[name])
        found[role] = arrays[name]
    return found


def _list(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    return ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())


def _lacks_batch_axis(roles: dict[str, npt.NDArray[np.generic]], output: NetworkOutput) -> bool:
    return output.decoder in (Decoder.BOXES, Decoder.MASKS) and roles["boxes"].ndim == 2


def _split(roles: dict[str, npt.NDArray[np.generic]], count: int) -> list[dict[str, npt.NDArray[np.generic]]]:
    for role, array in roles.items():
        if array.ndim < 2 or len(array) < count:
            raise ModelError(f"the network's {role} {array.shape} are not those of {count} tiles")
    return [{role: array[i] for role, array in roles.items()} for i in range(count)]


def _select(raw: _Raw, reading: Reading) -> Detections:
    """Apply threshold (strict, dlpk 4.7) and suppression; boxes without area are left out."""
    if len(raw.scores) and (raw.scores.min() < -_ROUNDING or raw.scores.max() > 1 + _ROUNDING):
        raise ModelError(
            f"the network's scores {raw.scores.min():g}..{raw.scores.max():g} are not probabilities; "
            "declare what makes them so (RasterAnalysis.Output.Activation: sigmoid or softmax)"
        )
    sized = (raw.boxes_xyxy[:, 2:] > raw.boxes_xyxy[:, :2]).all(axis=1)
    strong = np.flatnonzero((raw.scores > reading.threshold) & sized)
    labels = raw.labels[strong]
    if len(labels) and (labels.min() < 0 or labels.max() >= reading.class_count):
        raise ModelError(
            f"the network gives labels {labels.min()}..{labels.max()} (counted from LabelOffset "
            f"{reading.output.label_offset}) and the definition lists {reading.class_count} classes"
        )
    kept = strong[suppress(raw.boxes_xyxy[strong], raw.scores[strong], labels, overlap=reading.nms_overlap)]
    # Scores of a softmax may be above 1 by rounding.
    scores = np.clip(raw.scores[kept], 0, 1).astype(np.float32)
    found = Detections(raw.boxes_xyxy[kept], scores, raw.labels[kept].astype(np.int32))
    return found if raw.masks is None else _with_outlines(found, raw.masks[kept], reading)


def _with_outlines(found: Detections, masks: npt.NDArray[np.generic], reading: Reading) -> Detections:
    flat = masks[:, 0] if masks.ndim == 4 else masks
    if flat.shape[1:] != (reading.rows, reading.cols):
        raise ModelError(
            f"the network's masks {masks.shape} do not fit tiles of {reading.rows} x {reading.cols} pixels"
        )
    outlines = np.empty(len(found), object)
    outlines[:] = [outline_mask(mask >= MASK_LEVEL) for mask in flat]
    whole = Detections(found.boxes_xyxy, found.scores, found.labels, outlines)
    return whole.take(np.array([not outline.is_empty for outline in outlines], np.bool_))


def _decode_boxes(tile: dict[str, npt.NDArray[np.generic]], reading: Reading) -> _Raw:
    scores = tile["scores"].astype(np.float64)
    boxes, labels = tile["boxes"].astype(np.float64), tile["labels"]
    if boxes.shape != (len(scores), 4) or labels.shape != scores.shape or scores.ndim != 1:
        raise ModelError(
            f"boxes {boxes.shape}, scores {scores.shape} and labels {labels.shape} are not one set of detections"
        )
    if labels.dtype.kind not in "iu" and (labels != np.rint(labels.astype(np.float64))).any():
        raise ModelError("the network's labels are not whole numbers; are scores and labels swapped in Tensors?")
    counted = labels.astype(np.int64) - reading.output.label_offset
    placed = _in_pixels(_corners(boxes, reading.output.box_format), reading.output.box_units, reading)
    return _Raw(placed, _activate(scores, reading.output), counted, tile.get("masks"))


def _decode_yolov5(tile: dict[str, npt.NDArray[np.generic]], reading: Reading) -> _Raw:
    rows = _columns(tile["boxes"], 5 + reading.class_count, reading)
    scores = _activate(rows[:, 4:], reading.output)
    boxes = _in_pixels(_corners(rows[:, :4], "cxcywh"), reading.output.box_units, reading)
    return _best_class(boxes, scores[:, 1:] * scores[:, :1])


def _decode_yolov8(tile: dict[str, npt.NDArray[np.generic]], reading: Reading) -> _Raw:
    rows = _columns(tile["boxes"].T, 4 + reading.class_count, reading)
    boxes = _in_pixels(_corners(rows[:, :4], "cxcywh"), reading.output.box_units, reading)
    return _best_class(boxes, _activate(rows[:, 4:], reading.output))


def _decode_yolox(tile: dict[str, npt.NDArray[np.generic]], reading: Reading) -> _Raw:
    rows = _columns(tile["boxes"], 5 + reading.class_count, reading)
    cells, strides = _cells(reading)
    if len(cells) != len(rows):
        raise ModelError(
            f"the network gives {len(rows)} boxes; strides {reading.output.strides} on tiles of "
            f"{reading.rows} x {reading.cols} pixels make {len(cells)}"
        )
    centres = (rows[:, :2] + cells) * strides
    with np.errstate(over="ignore"):
        sizes = np.exp(rows[:, 2:4]) * strides
    if not np.isfinite(sizes).all():
        raise ModelError(f"the network's boxes {tile['boxes'].shape} hold log sizes too large for a box")
    scores = _activate(rows[:, 4:], reading.output)
    return _best_class(_corners(np.hstack([centres, sizes]), "cxcywh"), scores[:, 1:] * scores[:, :1])


def _decode_detr(tile: dict[str, npt.NDArray[np.generic]], reading: Reading) -> _Raw:
    logits, boxes = tile["logits"].astype(np.float64), tile["boxes"].astype(np.float64)
    declared = reading.output.model_fields_set
    with_none = reading.output.activation != "sigmoid"  # with sigmoid every class stands alone, without 'no object'
    expected = reading.class_count + (1 if with_none else 0)
    if logits.ndim != 2 or logits.shape[1] != expected or boxes.shape != (len(logits), 4):
        raise ModelError(
            f"logits {logits.shape} and boxes {boxes.shape} do not fit {reading.class_count} classes: "
            f"(k, {expected}) and (k, 4) were expected"
        )
    plain = "activation" in declared and reading.output.activation == "none"
    scores = sigmoid(logits) if not with_none else logits if plain else _softmax(logits)
    box_format = reading.output.box_format if "box_format" in declared else "cxcywh"
    units = reading.output.box_units if "box_units" in declared else "normalized"
    return _best_class(_in_pixels(_corners(boxes, box_format), units, reading), scores[:, : reading.class_count])


_DECODERS: dict[Decoder, Callable[[dict[str, npt.NDArray[np.generic]], Reading], _Raw]] = {
    Decoder.BOXES: _decode_boxes,
    Decoder.MASKS: _decode_boxes,
    Decoder.YOLOV5: _decode_yolov5,
    Decoder.YOLOV8: _decode_yolov8,
    Decoder.YOLOX: _decode_yolox,
    Decoder.DETR: _decode_detr,
}


def _columns(array: npt.NDArray[np.generic], expected: int, reading: Reading) -> Floats:
    if array.ndim != 2 or array.shape[1] != expected:
        decoder = reading.output.decoder.value
        raise ModelError(
            f"decoder {decoder} expects {expected} numbers a box for {reading.class_count} classes and the network "
            f"gives a tensor of {array.shape} a tile"
        )
    return array.astype(np.float64)


def _cells(reading: Reading) -> tuple[Floats, Floats]:
    """Return the grid cell `(k, 2)` and the stride `(k, 1)` of each candidate, in the order of the strides."""
    cells, strides = [], []
    for stride in reading.output.strides:
        rows, cols = np.mgrid[: reading.rows // stride, : reading.cols // stride]
        cells.append(np.stack([cols.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((cols.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _best_class(boxes_xyxy: Floats, scores: Floats) -> _Raw:
    # One class a box, as the reference decoders do; a second class would be the same object twice.
    labels = scores.argmax(axis=1)
    return _Raw(boxes_xyxy, scores[np.arange(len(scores)), labels], labels.astype(np.int64))


def _corners(boxes: Floats, box_format: str) -> Floats:
    if box_format == "xyxy":
        return boxes
    half = boxes[:, 2:] / 2
    return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def _in_pixels(boxes: Floats, units: str, reading: Reading) -> Floats:
    return boxes * [reading.cols, reading.rows, reading.cols, reading.rows] if units == "normalized" else boxes


def _activate(scores: Floats, output: NetworkOutput) -> Floats:
    if output.activation == "sigmoid":
        return sigmoid(scores)
    if output.activation == "softmax" and scores.ndim == 2:
        return _softmax(scores)
    return scores


def _softmax(values: Floats) -> Floats:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares
