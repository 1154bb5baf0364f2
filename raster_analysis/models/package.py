"""A package opened for running: its definition, its network file and what kind of file that is."""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import dlpk
from dlpk.definition import Definition
from raster_analysis.errors import ModelError
from raster_analysis.handle import Handle, Stamp


class FileKind(StrEnum):
    """Kinds of network files that can be run."""

    ONNX = "onnx"
    EXPORTED = "exported"
    """A `torch.export` archive (.pt2)."""
    STATE_DICT = "state_dict"
    """Weights without a network: safetensors, or a state dict that torch reads with weights_only."""


@dataclass(frozen=True, slots=True)
class OpenPackage:
    """A package whose network can be run here, as far as its files tell."""

    definition: Definition
    network: Path
    kind: FileKind
    title: str
    """What the user called it."""


def open_package(handle: Handle, cache_folder: Path) -> OpenPackage:
    """Open a package folder, .emd or .dlpk (unpacked once, into `cache_folder`); raises ModelError when refused."""
    handle.verify_unchanged()
    try:
        package = dlpk.open(Path(handle.path))
        if package.folder is None:
            package = _unpack(package, cache_folder)
    except dlpk.DlpkError as error:
        raise ModelError(f"package {handle.title!r} cannot be used: {error}") from error
    network = package.model_path
    if network is None or not network.is_file():
        raise ModelError(f"package {handle.title!r} has no ModelFile that is one file, so there is nothing to run here")
    return OpenPackage(package.definition, network, recognise(package.definition, network), handle.title)


def package_key(handle: Handle) -> str:
    """Return what tells a package's content from any other: its digest, else its files with size and time."""
    if handle.digest is not None:
        return handle.digest
    path = Path(handle.path)
    root = path.parent if path.suffix.lower() == ".emd" else path
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    return "\n".join([handle.path, *(f"{file} {Stamp.of(file)}" for file in files if file.exists())])


def _unpack(package: dlpk.Package, cache_folder: Path) -> dlpk.Package:
    target = cache_folder / package.digest
    cache_folder.mkdir(parents=True, exist_ok=True)
    # Another process may have unpacked the same content meanwhile, which is as good.
    with contextlib.suppress(dlpk.TargetExists):
        package.extract(target)
    return dlpk.open(target)


def recognise(definition: Definition, network: Path) -> FileKind:
    """Return the kind of a network file; raises ModelError, with the way out, for what is code or unknown."""
    if (definition.framework or "").lower().startswith("arcgis") and network.suffix.lower() in (".pth", ".pt"):
        raise ModelError(
            f"{network.name!r} holds the weights of an arcgis.learn model, which only arcgis.learn itself can run; "
            "export the model from there as ONNX and build the package from that file"
        )
    function = definition.inference_function or ""
    declared = definition.extension is not None and definition.extension.output is not None
    if function.lower().endswith(".py") and not function.lower().startswith("[functions]") and not declared:
        raise ModelError(
            f"the package works through the Python raster function {function!r}, which is not run here; declare how "
            "its network's output is read (RasterAnalysis.Output in the definition) to run the network alone"
        )
    return _kind_of(network)


def _kind_of(network: Path) -> FileKind:
    suffix = network.suffix.lower()
    if suffix == ".onnx":
        return FileKind.ONNX
    if suffix == ".safetensors":
        return FileKind.STATE_DICT
    if suffix in (".pt2", ".pt", ".pth", ".bin"):
        return _torch_kind(network)
    raise ModelError(
        f"model file {network.name!r} cannot be run here; .onnx, .pt2 (torch.export), .safetensors "
        "and state dicts in .pt or .pth can"
    )


def _torch_kind(network: Path) -> FileKind:
    if not zipfile.is_zipfile(network):
        raise ModelError(
            f"model file {network.name!r} is a plain pickle, which may run code when it is read; "
            "save the state dict as safetensors, or with a current torch.save"
        )
    with zipfile.ZipFile(network) as archive:
        names = archive.namelist()
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise ModelError(
            f"model file {network.name!r} is TorchScript, which is code; export the network to ONNX or by torch.export"
        )
    if any(name.endswith("models/model.json") for name in names):
        return FileKind.EXPORTED
    if any(name.endswith("data.pkl") for name in names):
        return FileKind.STATE_DICT
    raise ModelError(f"model file {network.name!r} is a zip file, but none that torch wrote")
