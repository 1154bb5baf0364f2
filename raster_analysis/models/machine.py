"""What this machine can run: libraries that are installed, precisions that its processors have."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from raster_analysis.errors import ModelError

_CPU_INFO = Path("/proc/cpuinfo")
_EXTRAS = {"torch": "torch", "torchvision": "torch", "segmentation_models_pytorch": "torch", "openvino": "openvino"}


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts on which the choice of an engine rests."""

    openvino: bool
    torch: bool
    torch_cuda: bool
    """Whether torch sees a CUDA device."""
    onnx_cuda: bool
    """Whether ONNX Runtime can use a CUDA device."""
    cpu_bf16: str | None
    """The name of the CPU's bf16 instructions."""
    cuda_bf16: bool


def look_at_machine(*, ask_torch: bool) -> Machine:
    """Return the facts of this machine; torch is imported, which takes seconds, only when asked for."""
    torch = is_installed("torch")
    engine = load_runtime("torch") if torch and ask_torch else None
    return Machine(
        openvino=is_installed("openvino"),
        torch=torch,
        torch_cuda=bool(engine and engine.has_cuda()),
        onnx_cuda=bool(load_runtime("onnx").has_cuda()),
        cpu_bf16=find_cpu_bf16(),
        cuda_bf16=bool(engine and engine.cuda_has_bf16()),
    )


def is_installed(library: str) -> bool:
    """Return whether a library can be imported, without importing it."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def require(library: str) -> None:
    """Raise ModelError, with what to install, when a library is missing."""
    if not is_installed(library):
        raise ModelError(
            f'this model needs {library}, which is not installed; pip install "raster-analysis[{_EXTRAS[library]}]"'
        )


def load_runtime(name: str) -> ModuleType:
    """Return the module of this room that wraps a runtime; only then is the runtime imported."""
    return importlib.import_module(f"raster_analysis.models.{name}")


def find_cpu_bf16() -> str | None:
    """Return the name of the CPU's bf16 instructions, None where it has none or the system does not tell."""
    if not _CPU_INFO.exists():
        return None
    flags = next((line for line in _CPU_INFO.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX512_BF16", "bf16": "BF16"}
    return next((name for flag, name in names.items() if flag in flags.split()), None)
