"""Uploads: files on their way in, on the data volume and gone when they are not wanted."""

from __future__ import annotations

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


class Uploads:
    """A folder for files that nobody owns yet."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self.limit = limit
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def receive(self, stream: BinaryIO) -> Iterator[Path]:
        """Write a stream to a file that lives as long as the context.

        Raises InputError when it is longer than the limit, BudgetError when the volume runs full.
        """
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
        path = self._folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                self._copy(chunks, file)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _copy(self, chunks: Iterable[bytes], file: BinaryIO) -> None:
        volume = shutil.disk_usage(self._folder)
        room = volume.free - int(volume.total * _SPARE)
        received = 0
        for chunk in chunks:
            received += len(chunk)
            if received > self.limit:
                raise InputError(f"the file is larger than the {self.limit:,} bytes allowed")
            if received > room:
                raise BudgetError(f"the server has room for {max(room, 0):,} bytes of uploads; the file is larger")
            file.write(chunk)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from _chunks(stream)
