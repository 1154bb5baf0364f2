"""Uploads: files on their way in, on the data volume and gone when they are not wanted."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
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
        path = self._folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                self._copy(stream, file)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a crash left behind. Only before serving."""
        for left in self._folder.iterdir():
            left.unlink()

    def _copy(self, stream: BinaryIO, file: BinaryIO) -> None:
        volume = shutil.disk_usage(self._folder)
        room = volume.free - int(volume.total * _SPARE)
        received = 0
        while chunk := stream.read(_CHUNK_BYTES):
            received += len(chunk)
            if received > self.limit:
                raise InputError(f"the file is larger than the {self.limit:,} bytes allowed")
            if received > room:
                raise BudgetError(f"the server has room for {max(room, 0):,} bytes of uploads; the file is larger")
            file.write(chunk)
