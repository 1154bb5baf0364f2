"""Block files: what one block found, written so that it is whole or not there, and the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.detections import Detections
from raster_analysis.errors import OutputError

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time given to every member of an archive: the clock must not change the digest."""


def save_labels(path: Path, labels: npt.NDArray[np.integer]) -> str:
    """Write raster values as .npy and return the file's sha256."""
    return _write(path, _npy(labels))


def load_labels(path: Path, sha256: str) -> npt.NDArray[np.integer]:
    """Return raster values; raises OutputError when the file is not the one that was recorded."""
    labels: npt.NDArray[np.integer] = np.load(_read(path, sha256), allow_pickle=False)
    return labels


def save_detections(path: Path, detections: Detections) -> str:
    """Write detections as .npz, outlines as WKB, and return the file's sha256."""
    shapes = [shapely.to_wkb(outline) for outline in detections.outlines]
    columns: dict[str, npt.NDArray[np.generic]] = {
        "boxes_xyxy": detections.boxes_xyxy,
        "scores": detections.scores,
        "labels": detections.labels,
        "outline_ends": np.cumsum([len(shape) for shape in shapes], dtype=np.int64),
        "outlines": np.frombuffer(b"".join(shapes), np.uint8),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, column in columns.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), _npy(column))
    return _write(path, buffer.getvalue())


def load_detections(path: Path, sha256: str) -> Detections:
    """Return detections; raises OutputError when the file is not the one that was recorded."""
    with np.load(_read(path, sha256), allow_pickle=False) as columns:
        shapes = np.split(columns["outlines"], columns["outline_ends"])[:-1]
        outlines = np.empty(len(shapes), object)
        outlines[:] = [shapely.from_wkb(shape.tobytes()) for shape in shapes]
        return Detections(columns["boxes_xyxy"], columns["scores"], columns["labels"], outlines)


def _npy(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> str:
    """Write a temporary file, read it back, then give it its name; what is there before is replaced."""
    digest = hashlib.sha256(content).hexdigest()
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("w+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            written = hashlib.file_digest(file, "sha256").hexdigest()
        if written != digest:
            raise OutputError(f"block file {path.name} does not read back as it was written")
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"block file {path.name} could not be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return digest


def _sync_folder(folder: Path) -> None:
    """Make a rename last; without this a power cut may bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, sha256: str) -> io.BytesIO:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(f"block file {path.name} could not be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OutputError(f"block file {path.name} is not the one that was recorded; run the block again")
    return io.BytesIO(content)
