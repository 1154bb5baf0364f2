"""Torch networks from a package: exported programs, and named architectures filled with weights."""

from __future__ import annotations

import importlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from dlpk.extension import Architecture
from raster_analysis.errors import ModelError
from raster_analysis.models.exported_archive import copy_safely
from raster_analysis.models.machine import require
from raster_analysis.models.network import NetworkPlan, NotConvertible
from raster_analysis.models.package import FileKind, OpenPackage

# Below this, torch.load(weights_only=True) can be made to run code (negative test W21).
MINIMUM_TORCH = (2, 10)
_DOWNLOADS = ("weights", "weights_backbone", "encoder_weights")
_WRAPPINGS = ("state_dict", "model_state_dict")
_LARGEST_COUNT = 65_536


def load_module(package: OpenPackage) -> torch.nn.Module:
    """Return the network on the CPU, ready for inference; raises ModelError when its parts do not fit."""
    if package.kind is FileKind.EXPORTED:
        module: torch.nn.Module = _load_program(package).module()
        return module
    module = build_architecture(package)
    fill(module, _read_weights(package), package.network.name)
    return module.eval().requires_grad_(requires_grad=False)


def export_program(package: OpenPackage, plan: NetworkPlan) -> tuple[Any, tuple[str, ...]]:
    """Return the network as an exported program for the plan's shape, and its outputs' names in order.

    Exporting computes nothing, unlike tracing, which runs a whole batch (measured: 0.8 s against 5 s).
    Raises NotConvertible for networks whose way depends on the pixels.
    """
    if package.kind is FileKind.EXPORTED:
        program = _load_program(package)
        return program, _output_names(program)
    batch, bands, rows, cols = plan.tile_shape
    shape = (batch, bands, rows, cols) if plan.layout == "NCHW" else (batch, rows, cols, bands)
    example = torch.zeros(shape, dtype=torch.uint8 if plan.takes_bytes else torch.float32)
    module = load_module(package)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (example,))
    except Exception as error:
        raise NotConvertible(f"torch cannot export the network: {_first_line(error)}") from error
    return program, _output_names(program)


def _output_names(program: Any) -> tuple[str, ...]:
    """Return the names that `TorchNetwork` gives the same outputs."""
    spec = program.call_spec.out_spec
    result = torch.utils._pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    if isinstance(result, int):
        return ("output",)
    return tuple(str(name) for name in (result if isinstance(result, dict) else range(len(result))))


def build_architecture(package: OpenPackage) -> torch.nn.Module:
    """Return the named network with weights yet to come; nothing is ever downloaded."""
    extension = package.definition.extension
    if extension is None or extension.architecture is None:
        raise ModelError(
            f"{package.network.name!r} holds weights only; name the network they belong to in the definition "
            "(RasterAnalysis.Architecture: Library, Name, Arguments)"
        )
    architecture = extension.architecture
    require(architecture.library)
    _check_arguments(architecture)
    try:
        return _BUILDERS[architecture.library](architecture)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{architecture.library} cannot build {architecture.name!r} with {architecture.arguments}: {error}"
        ) from error


def _check_arguments(architecture: Architecture) -> None:
    asked = [name for name in _DOWNLOADS if architecture.arguments.get(name) is not None]
    if asked:
        raise ModelError(f"RasterAnalysis.Architecture asks for {', '.join(asked)}: weights come from the package only")
    for name, value in architecture.arguments.items():
        if isinstance(value, int) and abs(value) > _LARGEST_COUNT:
            raise ModelError(f"RasterAnalysis.Architecture: {name} {value} is more than {_LARGEST_COUNT}")


def _build_torchvision(architecture: Architecture) -> torch.nn.Module:
    models = importlib.import_module("torchvision.models")
    # Without these torchvision downloads the weights of the backbone.
    arguments: dict[str, Any] = {**architecture.arguments, "weights": None}
    if _has_backbone_weights(models.get_model_builder(architecture.name)):
        arguments["weights_backbone"] = None
    module: torch.nn.Module = models.get_model(architecture.name, **arguments)
    return module


def _has_backbone_weights(builder: Any) -> bool:
    inspect = importlib.import_module("inspect")
    return "weights_backbone" in inspect.signature(builder).parameters


def _build_smp(architecture: Architecture) -> torch.nn.Module:
    library = importlib.import_module("segmentation_models_pytorch")
    arguments: dict[str, Any] = {**architecture.arguments, "encoder_weights": None}
    module: torch.nn.Module = library.create_model(architecture.name, **arguments)
    return module


_BUILDERS = {"torchvision": _build_torchvision, "segmentation_models_pytorch": _build_smp}


def _load_program(package: OpenPackage) -> Any:
    _require_safe_torch(package.network.name)
    archive = copy_safely(package.network)
    try:
        _check_samples(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(archive)
    except Exception as error:
        raise ModelError(f"torch cannot read the exported program {package.network.name!r}: {error}") from error


def _check_samples(archive: io.BytesIO) -> None:
    """Read the sample inputs as plain tensors: where this fails, torch would read them in a way that runs code."""
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            if "/sample_inputs/" in name:
                torch.load(io.BytesIO(members.read(name)), weights_only=True)
    archive.seek(0)


def _read_weights(package: OpenPackage) -> Mapping[str, Any]:
    path = package.network
    try:
        if path.suffix.lower() == ".safetensors":
            require("safetensors")
            weights = importlib.import_module("safetensors.torch").load_file(path)
        else:
            _require_safe_torch(path.name)
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"weights {path.name!r} cannot be read as plain tensors: {_first_line(error)}") from error
    return _unwrap(weights, path.name)


def _unwrap(weights: Any, name: str) -> Mapping[str, Any]:
    for key in _WRAPPINGS:
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise ModelError(
            f"{name!r} is not a state dict (names to tensors); save it with torch.save(model.state_dict())"
        )
    return weights


def fill(module: torch.nn.Module, weights: Mapping[str, Any], name: str) -> None:
    """Put weights into a network; raises ModelError unless every tensor fits and is finite."""
    # Compared here rather than by load_state_dict, whose message lists every tensor.
    own = module.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    wrong = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    faults = [
        f"{len(found)} {what} (first: {found[0]})"
        for what, found in (
            ("tensors missing", missing),
            ("tensors too many", extra),
            ("tensors of another shape", wrong),
        )
        if found
    ]
    if not faults:
        faults = [f"{k} holds NaN or infinite numbers" for k, v in weights.items() if not _finite(v)][:1]
    if faults:
        raise ModelError(f"weights {name!r} do not fit the named architecture: " + "; ".join(faults))
    module.load_state_dict(dict(weights))


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _require_safe_torch(name: str) -> None:
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < MINIMUM_TORCH:
        raise ModelError(
            f"{name!r} is read by torch 2.10 or later only, since older ones can be made to run code; "
            f"this is {torch.__version__}"
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
