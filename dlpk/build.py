"""Building packages: the same bytes for the same content, and never an invalid one."""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

from dlpk.archive import FolderSource, Member, Source
from dlpk.definition import ClassEntry, ModelType
from dlpk.errors import DlpkError, PackageRefused, TargetExists
from dlpk.extension import EXTENSION_KEY, Extension
from dlpk.findings import error
from dlpk.package import Report, check_source
from dlpk.weights import WeightsKind, identify_path
from dlpk.zip_layout import CHUNK_BYTES

_EARLIEST_DATE = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE_MODE = 0o100644
_UNIX = 3
_ZIP64_FROM = 2**31 - 1
_FRAMEWORKS = {WeightsKind.ONNX: "ONNX"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What the definition of a new package says beside its model file."""

    model_type: ModelType
    classes: tuple[ClassEntry, ...]
    image_height: int
    image_width: int
    extract_bands: tuple[int | str, ...] = (0, 1, 2)
    extension: Extension | None = None
    name: str | None = None
    """`ModelName`, and the name of the definition; the model file's when left out."""
    keys: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further keys as they stand in a definition, for instance Threshold, DataRange or NormalizationStats."""


def build(source: Path | str, out: Path | str, options: ModelOptions | None = None, *, replace: bool = False) -> Report:
    """Write a package from a folder, or from a model file with options.

    Members are stored without compression: weights hardly shrink, and the bytes do not depend on a version of zlib.

    Args:
        source: A folder that holds a definition, or a model file.
        out: The `.dlpk` to write.
        options: What the definition says; only for a model file.
        replace: Whether an existing file is replaced.

    Returns:
        The warnings and notes of the check.

    Raises:
        PackageRefused: The content is not a valid package; nothing is written.
        TargetExists: The target is there and `replace` is false.
    """
    source, out = Path(source), Path(out)
    if out.exists() and not replace:
        raise TargetExists(f"{out.name} is already there")
    content = _source_of(source, options)
    # The very source that is written is checked.
    report = check_source(content)
    if report.package is None:
        raise PackageRefused(report.findings)
    _write_whole(content, out)
    return report


def _source_of(source: Path, options: ModelOptions | None) -> Source:
    if source.is_dir():
        if options is not None:
            raise DlpkError("a folder has its own definition; options are for a model file")
        return FolderSource(source)
    if not source.is_file():
        raise PackageRefused([error("archive.missing", source.name, "there is no such file or folder.")])
    if options is None:
        raise DlpkError(f"{source.name} is a model file: say its type, classes and tile size")
    definition = write_definition(source, options)
    parts = {other.name: other for other in _parts_of(source)}
    return _ComposedSource({f"{options.name or source.stem}.emd": definition, **parts})


def _parts_of(model: Path) -> Iterator[Path]:
    """Give the model file, and for ONNX the files in which its tensors lie."""
    yield model
    for location in identify_path(model).external_files:
        if (part := model.parent / location).is_file() and part.parent == model.parent:
            yield part


def write_definition(model: Path, options: ModelOptions) -> bytes:
    """Give the text of the definition for a model file."""
    kind = identify_path(model).kind
    keys: dict[str, JsonValue] = {
        "Framework": _FRAMEWORKS.get(kind, "PyTorch"),
        "ModelType": str(options.model_type),
        "ModelName": options.name or model.stem,
        "ModelFile": model.name,
        "ImageHeight": options.image_height,
        "ImageWidth": options.image_width,
        "ExtractBands": list(options.extract_bands),
        "Classes": [_class_keys(entry) for entry in options.classes],
        **options.keys,
    }
    if options.extension is not None:
        keys[EXTENSION_KEY] = options.extension.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return (json.dumps(keys, indent=2, ensure_ascii=False) + "\n").encode()


def _class_keys(entry: ClassEntry) -> JsonValue:
    keys: dict[str, JsonValue] = {"Value": entry.value, "Name": entry.name}
    return keys if entry.color is None else {**keys, "Color": list(entry.color)}


class _ComposedSource:
    """A package that is put together from texts in memory and files from anywhere."""

    def __init__(self, parts: Mapping[str, bytes | Path]) -> None:
        self._parts = parts

    @property
    def folder(self) -> Path | None:
        """Nothing: the files lie in several places."""
        return None

    def members(self) -> tuple[Member, ...]:
        """Give the parts, sorted by name."""
        sizes = {
            name: len(part) if isinstance(part, bytes) else part.stat().st_size for name, part in self._parts.items()
        }
        return tuple(Member(name, sizes[name]) for name in sorted(sizes))

    def open(self, name: str) -> BinaryIO:
        """Open one part."""
        part = self._parts[name]
        return io.BytesIO(part) if isinstance(part, bytes) else part.open("rb")

    def stream(self, name: str) -> Iterator[bytes]:
        """Give one part in pieces."""
        with self.open(name) as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece


def _size_of(part: bytes | Path) -> int:
    return len(part) if isinstance(part, bytes) else part.stat().st_size


def _write_whole(source: Source, out: Path) -> None:
    """Write to a temporary name, then rename: the target is complete or as it was."""
    partial = out.parent / f".building-{secrets.token_hex(8)}"
    try:
        with partial.open("xb") as file:
            _write_archive(source, file)
            file.flush()
            os.fsync(file.fileno())
        # Readers of an older package keep their file.
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write_archive(source: Source, file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(source.members(), key=lambda member: member.name):
            entry = zipfile.ZipInfo(member.name, _EARLIEST_DATE)
            # The default depends on the system that builds.
            entry.create_system = _UNIX
            entry.external_attr = _PLAIN_FILE_MODE << 16
            entry.file_size = member.size
            with archive.open(entry, "w", force_zip64=member.size > _ZIP64_FROM) as target:
                for piece in source.stream(member.name):
                    target.write(piece)
