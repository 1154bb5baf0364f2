"""The engine rule: device, runtime and precision for a network on a machine, with the reason of each choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine
from raster_analysis.models.machine import Machine, require
from raster_analysis.models.package import FileKind

RUNTIMES = ("openvino", "onnxruntime", "torch")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the choice is made for."""

    kind: FileKind
    is_detector: bool
    """One of torchvision's detectors, which only torch can run."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a network may run: runtimes in the order in which they are to be tried."""

    device: str
    runtimes: tuple[str, ...]
    reasons: tuple[str, ...]
    full_precision: bool = False
    """Whether only fp32 will do: torchvision's detectors on CPUs have operators without bf16."""


def choose_runtime(subject: Subject, engine: Engine, machine: Machine) -> Choice:
    """Return where to run a network; raises ModelError when what the user asked for cannot be had."""
    device, device_reason = _choose_device(subject, engine.device, machine)
    possible = _possible_runtimes(subject, device)
    full = subject.is_detector and device == "cpu"
    if engine.runtime != "auto":
        return Choice(
            device,
            (_demanded(engine.runtime, possible, subject, device),),
            (device_reason, f"runtime {engine.runtime}: asked for"),
            full,
        )
    if "torch" in possible:
        require("torch")
    runtimes = tuple(name for name in possible if name != "openvino" or machine.openvino)
    return Choice(device, runtimes, (device_reason, _runtime_reason(runtimes[0], subject, device, machine)), full)


def choose_precision(engine: Engine, runtime: str, choice: Choice, machine: Machine) -> tuple[str, str]:
    """Return the precision to try and why; raises ModelError when the one asked for is not to be had."""
    device = choice.device
    allowed = ("fp32",) if choice.full_precision else _precisions(runtime, device, machine)
    if engine.precision not in ("auto", *PRECISIONS):
        raise ModelError(f"precision {engine.precision!r} is unknown; auto, {', '.join(PRECISIONS)} are")
    if engine.precision != "auto":
        if engine.precision not in allowed:
            raise ModelError(
                f"precision {engine.precision} is not to be had from {runtime} on {device}; {', '.join(allowed)} is"
            )
        return engine.precision, f"precision {engine.precision}: asked for"
    best = allowed[-1]
    if best == "fp32":
        return best, f"precision fp32: {runtime} on this {_word(device)} has no faster one"
    hardware = f"has {machine.cpu_bf16}" if device == "cpu" else f"computes {best} in hardware"
    return best, f"precision {best}: this {_word(device)} {hardware}"


def _choose_device(subject: Subject, wanted: str, machine: Machine) -> tuple[str, str]:
    name, _, index = wanted.partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and (name != "cuda" or not index.isdigit())):
        raise ModelError(f"device {wanted!r} is unknown; auto, cpu, cuda and cuda:N are")
    usable = machine.onnx_cuda if subject.kind is FileKind.ONNX else machine.torch_cuda
    if name == "cuda":
        if not usable:
            library = "ONNX Runtime" if subject.kind is FileKind.ONNX else "torch"
            raise ModelError(f"device {wanted} was asked for, but {library} finds no CUDA device here; use cpu or auto")
        return wanted, f"device {wanted}: asked for"
    if name == "cpu":
        return "cpu", "device cpu: asked for"
    return ("cuda", "device cuda: there is one") if usable else ("cpu", "device cpu: no CUDA device can be used here")


def _possible_runtimes(subject: Subject, device: str) -> tuple[str, ...]:
    """Return the runtimes for a kind of network on a device, the fastest first (measured on CPUs only)."""
    if subject.kind is FileKind.ONNX:
        return ("openvino", "onnxruntime") if device == "cpu" else ("onnxruntime",)
    return ("openvino", "torch") if device == "cpu" and not subject.is_detector else ("torch",)


def _demanded(runtime: str, possible: tuple[str, ...], subject: Subject, device: str) -> str:
    if runtime not in RUNTIMES:
        raise ModelError(f"runtime {runtime!r} cannot be used; auto, {', '.join(RUNTIMES)} can")
    if runtime not in possible:
        what = "a torchvision detector" if subject.is_detector else f"a network of kind {subject.kind.value}"
        raise ModelError(f"runtime {runtime} cannot run {what} on {device}; {' or '.join(possible)} can")
    if runtime == "openvino":
        require("openvino")
    if "torch" in possible:
        require("torch")
    return runtime


def _precisions(runtime: str, device: str, machine: Machine) -> tuple[str, ...]:
    """Return what a runtime computes in hardware, the fastest last."""
    if runtime == "onnxruntime":
        return ("fp32",)
    if device == "cpu":
        return ("fp32", "bf16") if machine.cpu_bf16 else ("fp32",)
    # fp16 first: it is there on every CUDA device, bf16 has the range that keeps activations finite.
    return ("fp32", "fp16", "bf16") if machine.cuda_bf16 else ("fp32", "fp16")


def _runtime_reason(runtime: str, subject: Subject, device: str, machine: Machine) -> str:
    file = {FileKind.ONNX: "ONNX", FileKind.EXPORTED: "a torch.export archive", FileKind.STATE_DICT: "a state dict"}
    what = "a torchvision detector" if subject.is_detector else file[subject.kind]
    reason = f"runtime {runtime}: the model is {what} and the device is a {_word(device)}"
    if runtime != "openvino" and not machine.openvino and device == "cpu" and not subject.is_detector:
        return f"{reason} (openvino, which is faster, is not installed)"
    return reason


def _word(device: str) -> Literal["CPU", "GPU"]:
    return "CPU" if device == "cpu" else "GPU"
