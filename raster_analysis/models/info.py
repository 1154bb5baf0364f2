"""A model's facts: what the definition says, checked against what the network file says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from pydantic import JsonValue

from dlpk.definition import Definition, ModelType
from dlpk.extension import Decoder, Extension, NetworkInput
from raster_analysis.errors import ModelError
from raster_analysis.model_info import ModelInfo, Task
from raster_analysis.models.arguments import describe_arguments
from raster_analysis.models.classes import pixel_values
from raster_analysis.models.declared import declared_output, is_torchvision_detector
from raster_analysis.models.machine import is_installed
from raster_analysis.models.package import FileKind, OpenPackage
from raster_analysis.models.preprocess import choose_normalisation
from raster_analysis.models.tensor_file import Shape, Tensor, Tensors, read_exported, read_onnx

_TASKS = {
    ModelType.IMAGE_CLASSIFICATION: Task.PIXELS,
    ModelType.CHANGE_DETECTION: Task.PIXELS,
    ModelType.OBJECT_DETECTION: Task.OBJECTS,
    ModelType.INSTANCE_DETECTION: Task.OBJECTS,
    ModelType.OBJECT_CLASSIFICATION: Task.CROPS,
}
# Defaults of dlpk 4.7 where the definition has none.
_THRESHOLDS = {"MaskRCNN": 0.9, "YOLOv3": 0.1}
P = ParamSpec("P")
T = TypeVar("T")
_THRESHOLD, _NMS_OVERLAP, _BATCH_SIZE = 0.5, 0.1, 4
# Measured on a U-Net of 16 to 256 channels, bytes for each pixel of a batch: OpenVINO 210 to 250 at bf16 and 340 to 380
# at fp32 on tiles of 1152 px and more; a U-Net and a ResNet-50-FPN held 600 to 800 on torch at fp32.
_OPENVINO_BYTES, _OTHER_BYTES = 256, 768


@dataclass(frozen=True, slots=True)
class NetworkInputFacts:
    """What the network file says about the tensor that takes the tiles; None where it does not tell."""

    rank: int = 4
    batch: int | None = None
    bands: int | None = None
    rows: int | None = None
    cols: int | None = None


def describe_package(package: OpenPackage) -> ModelInfo:
    """Return a model's facts; raises ModelError with all faults found when it cannot run here."""
    definition = package.definition
    tensors = read_tensors(package)
    entry = read_input(definition, tensors)
    faults: list[str] = []
    bands = _collect(faults, _bands, definition, entry, len(tensors.inputs)) or (0,)
    rows, cols = _collect(faults, _tile, definition, entry) or (1, 1)
    values, rule = _collect(faults, _values, package, tensors) or ((), "")
    # Statistics are picked by band, so bands that are wrong would only be reported twice.
    if not faults:
        _collect(faults, choose_normalisation, definition, bands)
    if faults:
        raise ModelError(f"model {package.title!r} cannot be run: " + "; ".join(faults))
    return _assemble(package, entry, tensors, _Parts(bands, rows, cols, values, rule))


def read_tensors(package: OpenPackage) -> Tensors:
    """Return what the network file says about its tensors; nothing for a state dict."""
    if package.kind is FileKind.ONNX:
        return read_onnx(package.network)
    if package.kind is FileKind.EXPORTED:
        return read_exported(package.network)
    return Tensors()


def read_input(definition: Definition, tensors: Tensors) -> NetworkInputFacts:
    """Return what is known of the tensor that takes tiles; raises ModelError when no tile fits it."""
    if not tensors.inputs:
        return NetworkInputFacts()
    facts = [_read_one(definition, entry) for entry in _find_inputs(definition, tensors.inputs)]
    if len(facts) == 1:
        return facts[0]
    first, second = facts
    if first != second or first.rank != 4:
        raise ModelError(
            f"the inputs {' and '.join(repr(entry.name) for entry in tensors.inputs)} of the network differ in shape; "
            "two dates need tensors of one shape (n, bands, rows, cols)"
        )
    return replace(first, bands=first.bands and 2 * first.bands)


def _read_one(definition: Definition, entry: Tensor) -> NetworkInputFacts:
    declared = declared_input(definition)
    if entry.data_type not in ("float32", "float16", "float64", "uint8"):
        raise ModelError(f"input {entry.name!r} of the network takes {entry.data_type}; float or uint8 is needed")
    if (entry.data_type == "uint8") != (declared.data_type == "uint8"):
        raise ModelError(
            f"input {entry.name!r} of the network takes {entry.data_type}, but the definition declares "
            f"{declared.data_type} (RasterAnalysis.Input.DataType)"
        )
    if entry.shape is None or len(entry.shape) not in (3, 4):
        raise ModelError(
            f"input {entry.name!r} of the network has shape {entry.shape}; (n, bands, rows, cols) is needed"
        )
    return _axes(entry.shape, declared.layout)


def declared_input(definition: Definition) -> NetworkInput:
    """Return what the definition declares about the input tensor, or the defaults."""
    return definition.extension.input if definition.extension else NetworkInput()


def choose_halves(definition: Definition, tensors: Tensors) -> tuple[int, ...]:
    """Return which half of the bands each input takes where a network takes two dates apart, else nothing."""
    if len(tensors.inputs) < 2:
        return ()
    dates = [entry.name for entry in _find_inputs(definition, tensors.inputs)]
    return tuple(dates.index(entry.name) for entry in tensors.inputs)


def _find_inputs(definition: Definition, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the tensor that takes the tiles, or those of the earlier and the later date, in this order."""
    declared = declared_input(definition)
    wanted = declared.names or ((declared.name,) if declared.name else ())
    known = {entry.name: entry for entry in inputs}
    listed = ", ".join(map(repr, known))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ModelError(f"the network has no input {missing[0]!r}; it has {listed}")
    if len(inputs) > 2 or (len(inputs) == 2 and (_task(definition) is not Task.PIXELS or len(wanted) == 1)):
        raise ModelError(
            f"the network has {len(inputs)} inputs ({listed}); one is needed, or two of a model that finds changes, "
            "which RasterAnalysis.Input.Names names in the order of the dates"
        )
    if declared.names and len(inputs) == 1:
        raise ModelError(f"RasterAnalysis.Input.Names names two inputs and the network has one, {listed}")
    return tuple(known[name] for name in wanted) or inputs


def _axes(shape: Shape, layout: str) -> NetworkInputFacts:
    batch = shape[0] if len(shape) == 4 else 1
    one = shape[-3:]
    bands, rows, cols = one if layout == "NCHW" else (one[2], one[0], one[1])
    return NetworkInputFacts(len(shape), batch, bands, rows, cols)


@dataclass(frozen=True, slots=True)
class _Parts:
    bands: tuple[int | str, ...]
    rows: int
    cols: int
    values: tuple[int, ...]
    rule: str


def _collect(faults: list[str], find: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    try:
        return find(*args, **kwargs)
    except ModelError as error:
        faults.append(str(error))
        return None


def _bands(definition: Definition, entry: NetworkInputFacts, inputs: int) -> tuple[int | str, ...]:
    bands = definition.extract_bands or tuple(range(entry.bands or 0))
    if not bands:
        raise ModelError("the definition has no ExtractBands and the network does not tell how many bands it takes")
    if entry.bands not in (None, len(bands)):
        raise ModelError(f"the network takes {entry.bands} bands and ExtractBands names {len(bands)}: {[*bands]}")
    if inputs == 2 and len(bands) % 2:
        raise ModelError(f"ExtractBands {[*bands]} of {len(bands)} bands cannot be two dates; name those of both")
    return bands


def _tile(definition: Definition, entry: NetworkInputFacts) -> tuple[int, int]:
    rows, cols = definition.image_height or entry.rows or 0, definition.image_width or entry.cols or 0
    if rows < 1 or cols < 1:
        raise ModelError("the definition has no ImageHeight and ImageWidth, and the network does not tell")
    if entry.rows not in (None, rows) or entry.cols not in (None, cols):
        raise ModelError(
            f"the network takes tiles of {entry.rows} x {entry.cols} pixels and the definition says {rows} x {cols}"
        )
    if 2 * definition.model_padding >= min(rows, cols):
        raise ModelError(f"ModelPadding {definition.model_padding} leaves nothing of a tile of {rows} x {cols} pixels")
    return rows, cols


def _values(package: OpenPackage, tensors: Tensors) -> tuple[tuple[int, ...], str]:
    definition, task = package.definition, _task(package.definition)
    output = declared_output(definition)
    if task is Task.OBJECTS:
        if output is None or output.decoder is Decoder.PIXELS:
            raise ModelError(
                "the definition does not say how boxes are read from the network's output; add RasterAnalysis.Output "
                f"with a Decoder: {', '.join(d.value for d in Decoder if d is not Decoder.PIXELS)}"
            )
        if not definition.classes:
            raise ModelError("the definition has no Classes, which a detector needs")
        return tuple(
            c.value for c in definition.classes
        ), "label k is Classes[k], counted from RasterAnalysis LabelOffset"
    if output is not None and output.decoder is not Decoder.PIXELS:
        raise ModelError(
            f"decoder {output.decoder.value!r} is for detectors, and the model is a {definition.model_type}"
        )
    if task is Task.CROPS:
        if not definition.classes:
            raise ModelError("the definition has no Classes, which an object classifier needs")
        return tuple(c.value for c in definition.classes), "index i is Classes[i]"
    return pixel_values(definition.classes, count_scores(definition, tensors))


def count_scores(definition: Definition, tensors: Tensors) -> int | None:
    """Return the scores per pixel, where the network file or its architecture tells."""
    declared = declared_output(definition)
    name = declared.tensors.get("pixels") if declared else None
    output = next((t for t in tensors.outputs if name in (None, t.name)), None)
    if output is not None:
        if output.shape is None or len(output.shape) != 4 or output.data_type in ("int32", "int64", "uint8"):
            return None
        return output.shape[3 if declared_input(definition).layout == "NHWC" else 1]
    return _architecture_scores(definition.extension)


def _architecture_scores(extension: Extension | None) -> int | None:
    arguments = extension.architecture.arguments if extension and extension.architecture else {}
    count = arguments.get("classes", arguments.get("num_classes"))
    return count if isinstance(count, int) else None


def _task(definition: Definition) -> Task:
    if definition.model_type not in _TASKS:
        known = ", ".join(kind.value for kind in _TASKS)
        raise ModelError(f"ModelType {definition.model_type or '(none)'} cannot be run here; {known} can")
    return _TASKS[definition.model_type]


def _fixed_batch(definition: Definition, entry: NetworkInputFacts, tensors: Tensors) -> int | None:
    if entry.batch is not None:
        return entry.batch
    declared = declared_output(definition)
    if declared is None or declared.decoder not in (Decoder.BOXES, Decoder.MASKS) or not tensors.outputs:
        return None
    # Boxes `(k, 4)` have no batch axis: such a network sees one tile at a time.
    name = declared.tensors.get("boxes", tensors.outputs[0].name)
    shape = next((t.shape for t in tensors.outputs if t.name == name), None)
    return None if shape is not None and len(shape) == 3 else 1


def _number(definition: Definition, name: str, fallback: float) -> float:
    """Return the default of an argument; a key spelled like the argument overrides it (dlpk 1.2)."""
    given: JsonValue = definition.keys.get(name)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    return fallback


def _padding(definition: Definition, parts: _Parts, task: Task) -> int:
    if task is Task.CROPS:
        return 0
    if definition.model_padding:
        return definition.model_padding
    context = definition.extension.context if definition.extension else None
    # A quarter of the tile is what users of such models are used to (dlpk 4.1).
    quarter = min(parts.rows, parts.cols) // 4
    own = (
        definition.padding if definition.padding is not None else min(quarter, quarter if context is None else context)
    )
    return int(_number(definition, "padding", own))


def _activation_bytes(definition: Definition) -> int:
    openvino = is_installed("openvino") and not is_torchvision_detector(definition)
    return _OPENVINO_BYTES if openvino else _OTHER_BYTES


def _assemble(package: OpenPackage, entry: NetworkInputFacts, tensors: Tensors, parts: _Parts) -> ModelInfo:
    definition, extension = package.definition, package.definition.extension or Extension()
    task, output = _task(definition), declared_output(definition)
    family = definition.model_name or ""
    fixed_batch = _fixed_batch(definition, entry, tensors)
    threshold = definition.threshold if definition.threshold is not None else _THRESHOLDS.get(family, _THRESHOLD)
    info = ModelInfo(
        name=definition.model_name or definition.model_configuration or package.title,
        task=task,
        bands=parts.bands,
        tile_height=parts.rows,
        tile_width=parts.cols,
        variable_tile=definition.supports_variable_tile_size and entry.rows is None and entry.cols is None,
        tile_multiple=extension.tile_multiple,
        fixed_batch=fixed_batch,
        model_padding=definition.model_padding,
        padding=_padding(definition, parts, task),
        context=extension.context,
        threshold=_number(definition, "threshold", threshold),
        nms_overlap=_number(definition, "nms_overlap", _NMS_OVERLAP),
        batch_size=fixed_batch or int(_number(definition, "batch_size", definition.batch_size or _BATCH_SIZE)),
        classes=definition.classes,
        values=parts.values,
        class_rule=parts.rule,
        instances=output is not None and output.decoder is Decoder.MASKS,
        arguments=(),
        activation_bytes=_activation_bytes(definition),
        # What templates that leave them out mean (dlpk 1.2).
        crop_size_fixed=definition.crop_size_fixed is not False,
        blacken_around_feature=definition.blacken_around_feature is not False,
        framework=definition.framework or "",
        model_type=str(definition.model_type or ""),
    )
    single = count_scores(definition, tensors) == 1
    return replace(info, arguments=describe_arguments(info, definition, single_score=single))
