"""The lock that keeps a second server off a data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from raster_analysis.errors import StoreError


class FolderLock:
    """An exclusive lock on a folder; the system lets go of it when the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "server.lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock unless it is held here; raises StoreError at once when another process holds it."""
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 20).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise StoreError(
                f"another server (process {holder}) uses this data folder; stop it, or start with another folder"
            ) from None
        # Only for the message of the server that comes second; the lock itself is the system's.
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Let go of the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
