"""Storage: where the bytes of items lie, by key. The rows that name them are in the database, and written last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from raster_analysis.errors import AccessError
from raster_analysis.portal import files

FOLDER = "folder"
"""The setting for files beside the database."""
CHUNK_BYTES = 1024 * 1024


class Storage(Protocol):
    """Files by key, `<item>/<name>`. A key is written once: other bytes have another key.

    Whatever does not answer raises StoreError, a file that is not there AccessError.
    """

    def put(self, key: str, source: Path) -> int:
        """Store a copy of a file, complete or not there, and return its size; the source stays."""

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """Give the bytes from `start` up to `stop`; what is wrong is raised before the first of them is asked for."""

    def local(self, key: str) -> Path:
        """Return the file on this machine's disk, read-only; what it takes to have it there is done first."""

    def remove(self, key: str) -> None:
        """Remove a file; one that is not there is no fault."""

    def all_keys(self) -> Iterator[str]:
        """Give the keys of all files, in no order."""


def require(storage: Storage) -> bool:
    """Return True when a storage answers; raises StoreError otherwise."""
    next(storage.all_keys(), None)
    return True


class FolderStorage:
    """Files in a folder of the data volume."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, source: Path) -> int:
        """Give a file a second name here, or copy it from another volume."""
        target = self._folder / key
        files.place(source, target)
        return target.stat().st_size

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """Give some bytes of a file; it stays readable when it is removed meanwhile."""
        try:
            stream = (self._folder / key).open("rb")
        except FileNotFoundError:
            raise missing() from None
        return _chunks(stream, start, stop)

    def local(self, key: str) -> Path:
        """Return the file itself."""
        return self._folder / key

    def remove(self, key: str) -> None:
        """Unlink a file, and its folder when it was the last one."""
        path = self._folder / key
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def all_keys(self) -> Iterator[str]:
        """Give the keys of all files; what was half written when the server died is among them."""
        for folder in self._folder.iterdir():
            for file in folder.iterdir():
                yield f"{folder.name}/{file.name}"


def missing() -> AccessError:
    """Return the error of a file that is not in a storage: its item was replaced or deleted meanwhile."""
    return AccessError("Item does not exist or is inaccessible.")


def _chunks(stream: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        left = stop - start
        while left > 0 and (chunk := stream.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
