"""What a model wants and gives, known without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from dlpk.definition import ClassEntry


class Task(StrEnum):
    """What a model finds."""

    PIXELS = "pixels"
    OBJECTS = "objects"
    CROPS = "crops"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a model as users see it in `modelArguments` (dlpk 4.7)."""

    name: str
    data_type: str
    default: JsonValue
    help: str
    domain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The facts that a plan needs."""

    name: str
    task: Task
    bands: tuple[int | str, ...]
    """Zero-based band indexes or well-known band names, in the order the network wants."""
    tile_height: int
    tile_width: int
    variable_tile: bool
    """Whether any tile size that is a multiple of `tile_multiple` may be used."""
    tile_multiple: int
    fixed_batch: int | None
    """The one batch size the network accepts, None when it accepts any."""
    model_padding: int
    """Border per side by which the network's output is smaller than its input."""
    padding: int
    """Default border per side that is read, computed and thrown away."""
    context: int | None
    """Pixels that can change a result, when the package tells; lets a plan choose less padding on larger tiles."""
    threshold: float
    nms_overlap: float
    batch_size: int
    classes: tuple[ClassEntry, ...]
    values: tuple[int, ...]
    """For pixels: the raster value of network index i (dlpk 1.3). For objects: `Value` by position."""
    class_rule: str
    """Which of the documented rules gave `values`, in words, for messages and model info."""
    instances: bool
    """Whether outlines come with the boxes."""
    arguments: tuple[Argument, ...]
    activation_bytes: int = 768
    """Estimate of what the network holds while it runs, for each pixel of a batch."""
    crop_size_fixed: bool = True
    """For crops: all are tiles around the features' middles; else each is its feature's rectangle."""
    blacken_around_feature: bool = False
    """For crops: pixels outside of the feature are set to 0."""
    framework: str = ""
    model_type: str = ""
    """Both in the words of the definition."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How a model is to be run; `auto` leaves the choice to the loader, which reports it."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16."""
    runtime: str = "auto"
    """auto, openvino, onnxruntime, torch or tensorrt."""
    tile_height: int = 0
    """Tile that the network will be given; 0: the model's own."""
    tile_width: int = 0
    batch_size: int = 0
    """0: the model's own."""
    threads: int = 0
    """CPU threads; 0: all cores."""
    threshold: float | None = None
    nms_overlap: float | None = None
    probabilities: bool = False
    """Give probabilities instead of class indexes (blend merging needs them)."""
    predict_background: bool | None = None
    """False: index 0 is never chosen. None: the model's default (dlpk 4.7)."""
