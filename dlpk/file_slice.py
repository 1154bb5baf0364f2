"""A part of a file that reads as a file of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FileSlice(io.RawIOBase):
    """Bytes `start` to `start + size` of a file, read-only; wrap it in a `BufferedReader`."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        # The reader around this one does the buffering.
        self._file = path.open("rb", buffering=0)
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the slice."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Give the place within the slice."""
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read up to the end of the slice."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view[:wanted]) or 0
        self._at += count
        return count

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()
