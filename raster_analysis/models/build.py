"""A package and an engine made into a model that runs."""

from __future__ import annotations

from dataclasses import replace

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine, ModelInfo, Task
from raster_analysis.models.choose import Choice, Subject, choose_precision, choose_runtime
from raster_analysis.models.declared import is_torchvision_detector
from raster_analysis.models.detector import DetectorModel
from raster_analysis.models.info import choose_halves, declared_input, read_input, read_tensors
from raster_analysis.models.machine import Machine, load_runtime, look_at_machine
from raster_analysis.models.network import Network, NetworkPlan, NotConvertible
from raster_analysis.models.package import FileKind, OpenPackage
from raster_analysis.models.pixel_model import PixelModel
from raster_analysis.models.preprocess import choose_normalisation

LoadedModel = PixelModel | DetectorModel


def build_model(package: OpenPackage, info: ModelInfo, engine: Engine) -> LoadedModel:
    """Return the model on the first runtime that takes it.

    `precision` auto tries the fastest that the hardware has: comparing it with fp32 is the caller's part.
    """
    subject = Subject(package.kind, is_torchvision_detector(package.definition))
    machine = look_at_machine(ask_torch=package.kind is not FileKind.ONNX)
    engine = _fill_in(engine, info)
    choice = choose_runtime(subject, engine, machine)
    engine = replace(engine, device=choice.device)
    failures: list[str] = []
    # Whether a runtime takes a network shows only when it tries; the next one is slower but surer.
    for runtime in choice.runtimes:
        tried = replace(choice, reasons=(*choice.reasons, *failures))
        try:
            return _build_on(runtime, package, info, engine, choice=tried, machine=machine)
        except NotConvertible as error:
            failures.append(f"runtime {runtime} was left: {error}")
    raise ModelError(f"model {package.title!r} cannot be run: " + "; ".join(failures))


def make_plan(package: OpenPackage, info: ModelInfo, engine: Engine, *, fills_batches: bool) -> NetworkPlan:
    """Return how the network is to be set up; `fills_batches` when its runtime wants one shape only."""
    tensors = read_tensors(package)
    entry, declared = read_input(package.definition, tensors), declared_input(package.definition)
    return NetworkPlan(
        normalisation=choose_normalisation(package.definition, info.bands),
        bands=len(info.bands),
        rows=engine.tile_height,
        cols=engine.tile_width,
        batch=info.fixed_batch or engine.batch_size,
        fixed_batch=info.fixed_batch is not None or fills_batches,
        layout=declared.layout,
        input_name=declared.name,
        input_rank=entry.rank,
        takes_bytes=declared.data_type == "uint8",
        device=engine.device,
        precision=engine.precision,
        threads=engine.threads,
        halves=choose_halves(package.definition, tensors),
    )


def _build_on(
    runtime: str, package: OpenPackage, info: ModelInfo, engine: Engine, *, choice: Choice, machine: Machine
) -> LoadedModel:
    precision, precision_reason = choose_precision(engine, runtime, choice, machine)
    settled = replace(engine, runtime=runtime, precision=precision)
    plan = make_plan(package, info, settled, fills_batches=runtime == "openvino")
    network = _open_network(package, plan, runtime)
    reasons = (*choice.reasons, precision_reason, f"normalisation {plan.normalisation.rule}")
    if info.task is Task.OBJECTS:
        return DetectorModel(info, package.definition, network, settled, reasons)
    return PixelModel(info, package.definition, network, settled, reasons)


def _open_network(package: OpenPackage, plan: NetworkPlan, runtime: str) -> Network:
    network: Network
    if runtime == "onnxruntime":
        network = load_runtime("onnx").OnnxNetwork(package.network, plan)
    elif runtime == "torch":
        module = load_runtime("torch_weights").load_module(package)
        images = is_torchvision_detector(package.definition)
        network = load_runtime("torch").TorchNetwork(module, plan, takes_images=images)
    elif package.kind is FileKind.ONNX:
        network = load_runtime("openvino").OpenVinoNetwork(package.network, plan)
    else:
        program, names = load_runtime("torch_weights").export_program(package, plan)
        network = load_runtime("openvino").OpenVinoNetwork(program, plan, output_names=names)
    return network


def _fill_in(engine: Engine, info: ModelInfo) -> Engine:
    """Return the engine with tile, batch and thresholds filled in and checked against the model."""
    rows, cols = engine.tile_height or info.tile_height, engine.tile_width or info.tile_width
    if (rows, cols) != (info.tile_height, info.tile_width):
        if not info.variable_tile:
            own = f"{info.tile_height} x {info.tile_width}"
            raise ModelError(f"tiles of {rows} x {cols} pixels do not fit model {info.name!r}, which takes {own} only")
        if rows % info.tile_multiple or cols % info.tile_multiple:
            raise ModelError(
                f"tiles of {rows} x {cols} pixels are not a multiple of {info.tile_multiple}, "
                f"which model {info.name!r} needs"
            )
    return replace(
        engine,
        tile_height=rows,
        tile_width=cols,
        batch_size=engine.batch_size or info.batch_size,
        threshold=info.threshold if engine.threshold is None else engine.threshold,
        nms_overlap=info.nms_overlap if engine.nms_overlap is None else engine.nms_overlap,
    )
