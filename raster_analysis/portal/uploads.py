"""Uploads: files on their way in, on the data volume and gone when they are not wanted."""

from __future__ import annotations

import io
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from raster_analysis.errors import BudgetError, InputError

_CHUNK_BYTES = 1024 * 1024
_SPARE = 0.05
"""Share of the volume that uploads leave free, for the database and running jobs (guess)."""


class Received(io.FileIO):
    """A file that has come whole and lies on the data volume already."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class Incoming:
    """A file that is being written."""

    def __init__(self, path: Path, *, limit: int, room: int) -> None:
        self._file = path.open("xb", buffering=0)
        self._limit = limit
        self._room = room
        self.path = path
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add some bytes; raises InputError beyond the limit, BudgetError beyond the room on the volume."""
        self.size += len(data)
        check_size(self.size, self._limit)
        if self.size > self._room:
            raise BudgetError(f"the server has room for {max(self._room, 0):,} bytes of uploads; the file is larger")
        while data:
            # Without a buffer a write may take a part only.
            data = memoryview(data)[self._file.write(data) :]

    def close(self) -> None:
        """End the writing."""
        self._file.close()


class Uploads:
    """A folder for files that nobody owns yet."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self.limit = limit
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def begin(self) -> Iterator[Incoming]:
        """Give a file to write to; it lives as long as the context, whatever has become of it."""
        volume = shutil.disk_usage(self._folder)
        room = volume.free - int(volume.total * _SPARE)
        path = self._folder / secrets.token_hex(16)
        try:
            incoming = Incoming(path, limit=self.limit, room=room)
            try:
                yield incoming
            finally:
                incoming.close()
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def receive(self, stream: BinaryIO) -> Iterator[Path]:
        """Write a stream to a file that lives as long as the context; one that was `Received` is there already.

        Raises InputError when it is longer than the limit, BudgetError when the volume runs full.
        """
        if isinstance(stream, Received):
            check_size(stream.path.stat().st_size, self.limit)
            yield stream.path
            return
        with self._write(_chunks(stream)) as path:
            yield path

    @contextmanager
    def join(self, parts: Sequence[Path]) -> Iterator[Path]:
        """Write the parts of a file one behind the other, as `receive` does; a single part is the file."""
        if len(parts) == 1:
            yield parts[0]
            return
        with self._write(chunk for part in parts for chunk in _chunks_of(part)) as path:
            yield path

    def sweep(self) -> None:
        """Remove what a crash left behind. Only before serving."""
        for left in self._folder.iterdir():
            left.unlink()

    @contextmanager
    def _write(self, chunks: Iterable[bytes]) -> Iterator[Path]:
        with self.begin() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            incoming.close()
            yield incoming.path


def check_size(size: int, limit: int) -> None:
    """Raise InputError for a file that is larger than files may be."""
    if size > limit:
        raise InputError(f"the file is larger than the {limit:,} bytes allowed")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from _chunks(stream)
