"""What a weights file is and what it would run, found by looking at its bytes and never by loading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dlpk.errors import PackageRefused
from dlpk.limits import Limits
from dlpk.onnx_records import read_onnx
from dlpk.pickles import harmful, imports_of
from dlpk.safetensors_header import faults_of_header, looks_like_safetensors
from dlpk.zip_records import LOCAL_SIGNATURE, read_directory
from dlpk.zipped_pickle import imports_of_zipped_pickles

_HEAD_BYTES = 64
_INNER_LIMITS = Limits(entries=65_535)
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin", ".model", ".ckpt"})
_NATIVE_SUFFIXES = frozenset({".so", ".dll", ".dylib", ".pyd", ".exe"})
_ENGINE_SUFFIXES = frozenset({".plan", ".engine", ".trt"})
_TORCH_MODULE = "torch.nn.modules."


class WeightsKind(StrEnum):
    """What a model file can be."""

    ONNX = "ONNX"
    SAFETENSORS = "safetensors"
    EXPORTED_PROGRAM = "torch.export archive"
    STATE_DICT = "state dict"
    TORCHSCRIPT = "TorchScript archive"
    PICKLE = "pickle"
    HDF5 = "HDF5 file"
    KERAS = "Keras archive"
    SAVED_MODEL = "TensorFlow SavedModel"
    TENSORRT = "TensorRT engine"
    NATIVE_LIBRARY = "native library"
    COMPRESSED = "compressed file"
    GIT_LFS = "git-lfs pointer"
    UNKNOWN = "file of unknown kind"


@dataclass(frozen=True, slots=True)
class Weights:
    """What was found."""

    kind: WeightsKind
    runs: tuple[str, ...] = ()
    """For pickles: the imports that are more than tensors, hence what its author's code may do."""
    faults: tuple[str, ...] = ()
    """Why the file is damaged or a lie."""
    external_files: tuple[str, ...] = ()
    """For ONNX: files beside it that its tensors lie in, as it names them."""
    inputs: tuple[str, ...] = ()
    """For ONNX: the tensors that it is given, in order."""

    @property
    def holds_module(self) -> bool:
        """Whether a pickle holds a whole `torch.nn.Module` instead of its state dict."""
        return any(name.startswith(_TORCH_MODULE) for name in self.runs)


_SIGNATURES: tuple[tuple[bytes, WeightsKind], ...] = (
    (b"version https://git-lfs", WeightsKind.GIT_LFS),
    (b"\x89HDF\r\n\x1a\n", WeightsKind.HDF5),
    (b"\x7fELF", WeightsKind.NATIVE_LIBRARY),
    (b"MZ\x90\0", WeightsKind.NATIVE_LIBRARY),
    (b"\xcf\xfa\xed\xfe", WeightsKind.NATIVE_LIBRARY),
    (b"\xca\xfe\xba\xbe", WeightsKind.NATIVE_LIBRARY),
    (b"ptrt", WeightsKind.TENSORRT),
    (b"ftrt", WeightsKind.TENSORRT),
    (b"\x1f\x8b", WeightsKind.COMPRESSED),
    (b"BZh", WeightsKind.COMPRESSED),
    (b"\xfd7zXZ", WeightsKind.COMPRESSED),
    (b"\x28\xb5\x2f\xfd", WeightsKind.COMPRESSED),
    (b"\x04\x22\x4d\x18", WeightsKind.COMPRESSED),
    (b"7z\xbc\xaf", WeightsKind.COMPRESSED),
)


def identify_path(path: Path) -> Weights:
    """Identify a file or a SavedModel folder on disk."""
    if path.is_dir():
        is_saved_model = (path / "saved_model.pb").is_file()
        return Weights(WeightsKind.SAVED_MODEL if is_saved_model else WeightsKind.UNKNOWN)
    with path.open("rb") as file:
        return identify(file, path.name)


def identify(file: BinaryIO, name: str) -> Weights:
    """Identify a seekable file by its bytes; `name` only helps where the bytes alone do not tell."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return Weights(kind)
    if is_native_code(name):
        return Weights(WeightsKind.NATIVE_LIBRARY)
    if head.startswith(LOCAL_SIGNATURE):
        return _identify_zip(file)
    # A file that claims to be one is judged as one, so that it is refused with its fault.
    if looks_like_safetensors(head) or name.lower().endswith(".safetensors"):
        return Weights(WeightsKind.SAFETENSORS, faults=faults_of_header(file))
    # Pickles first: protocol 0 is plain text that any other reader might take for something else.
    attempts: tuple[Callable[[BinaryIO, str], Weights | None], ...] = (_identify_pickle, _identify_onnx)
    for attempt in attempts:
        if (found := attempt(file, name)) is not None:
            return found
    return Weights(WeightsKind.UNKNOWN)


def is_native_code(name: str) -> bool:
    """Tell by its name whether a member is machine code: a library or a TensorRT engine."""
    suffixes = {suffix.lower() for suffix in PurePosixPath(name).suffixes}
    return not suffixes.isdisjoint(_NATIVE_SUFFIXES) or PurePosixPath(name).suffix.lower() in _ENGINE_SUFFIXES


def _identify_onnx(file: BinaryIO, name: str) -> Weights | None:
    facts = read_onnx(file)
    if facts is not None:
        return Weights(WeightsKind.ONNX, external_files=facts.external_files, inputs=facts.inputs)
    if name.lower().endswith(".onnx"):
        return Weights(WeightsKind.ONNX, faults=("its records do not form a complete ONNX model",))
    return None


def _identify_pickle(file: BinaryIO, name: str) -> Weights | None:
    file.seek(0)
    head = file.read(2)
    is_marked = head[:1] == b"\x80" and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}
    if not is_marked and PurePosixPath(name).suffix.lower() not in _PICKLE_SUFFIXES:
        return None
    file.seek(0)
    try:
        runs = harmful(imports_of(file))
    except ValueError as fault:
        # A broken pickle still runs everything up to the place where it breaks.
        return Weights(WeightsKind.PICKLE, faults=(f"it is a broken pickle ({fault})",)) if is_marked else None
    return Weights(WeightsKind.PICKLE if runs else WeightsKind.STATE_DICT, runs=runs)


def _identify_zip(file: BinaryIO) -> Weights:
    try:
        directory = read_directory(file, max_entries=_INNER_LIMITS.entries)
    except PackageRefused as refusal:
        return Weights(WeightsKind.UNKNOWN, faults=(refusal.findings[0].message.rstrip("."),))
    names = [header.name.decode("utf-8", "replace") for header in directory.headers]
    # Torch puts everything below one folder that is called as the file.
    inner = {name.partition("/")[2] for name in names}
    if {"config.json", "model.weights.h5"} <= set(names):
        return Weights(WeightsKind.KERAS)
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return Weights(WeightsKind.EXPORTED_PROGRAM)
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return Weights(WeightsKind.TORCHSCRIPT)
    if "data.pkl" not in inner:
        return Weights(WeightsKind.UNKNOWN)
    try:
        runs = harmful(imports_of_zipped_pickles(file, directory))
    except ValueError as fault:
        return Weights(WeightsKind.PICKLE, faults=(f"its pickle cannot be read ({fault})",))
    return Weights(WeightsKind.PICKLE if runs else WeightsKind.STATE_DICT, runs=runs)
