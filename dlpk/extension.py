"""The `RasterAnalysis` object of a definition: what a native runtime must know and the .emd has no key for.

Other readers ignore the key. Its full description for authors is in `docs/extension.md`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_pascal

EXTENSION_KEY = "RasterAnalysis"


class Decoder(StrEnum):
    """How the raw tensors of a network become pixels or detections."""

    PIXELS = "pixels"
    """One tensor `(n, classes, rows, cols)` of scores, or `(n, 1, rows, cols)` of one logit."""
    BOXES = "boxes"
    """Three tensors boxes `(k, 4)` or `(n, k, 4)`, scores and labels, as torchvision detectors give."""
    MASKS = "masks"
    """As `boxes`, plus masks `(k, 1, rows, cols)` of probabilities, as torchvision's Mask R-CNN gives."""
    YOLOV5 = "yolov5"
    """One tensor `(n, k, 5 + classes)`: cx, cy, w, h, objectness, class scores; pixels of the tile."""
    YOLOV8 = "yolov8"
    """One tensor `(n, 4 + classes, k)`: cx, cy, w, h, class scores; pixels of the tile."""
    YOLOX = "yolox"
    """As `yolov5`, but offsets from grid cells and log sizes, to be multiplied by the strides."""
    DETR = "detr"
    """Two tensors: class logits `(n, k, classes + 1)` (the last is 'no object') and boxes 0..1 `(n, k, 4)`."""


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_pascal, populate_by_name=True, extra="forbid", allow_inf_nan=False
    )


class NetworkInput(_Part):
    """The tensor a network takes. Values are fed as `(pixel * scale - mean) / std`, per band."""

    name: str | None = None
    names: tuple[str, str] | None = None
    """Of a network that takes two dates apart: the tensor of the earlier, then that of the later."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    data_type: Literal["float32", "uint8"] = "float32"
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None


class NetworkOutput(_Part):
    """The tensors a network gives, and how they are read."""

    decoder: Decoder
    tensors: dict[str, str] = Field(default_factory=dict)
    """Tensor name for each role: pixels; boxes, scores, labels, masks; logits. By position when left out."""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    """What turns scores into probabilities; `none` when the network has done so, or for a plain argmax."""
    box_format: Literal["xyxy", "cxcywh"] = "xyxy"
    box_units: Literal["pixels", "normalized"] = "pixels"
    label_offset: int = 0
    """The label of `Classes[0]`: 1 for torchvision detectors, whose 0 is the background."""
    strides: tuple[int, ...] = (8, 16, 32)


class Architecture(_Part):
    """The named network that a state dict belongs to."""

    library: Literal["torchvision", "segmentation_models_pytorch"]
    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class Extension(_Part):
    """The whole `RasterAnalysis` object."""

    version: Literal[1] = 1
    input: NetworkInput = NetworkInput()
    output: NetworkOutput | None = None
    architecture: Architecture | None = None
    tile_multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    """Sides of a tile must be a multiple of this (32 for most encoders)."""
    context: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Pixels around a tile that can change its result: the padding that is enough for this network."""
