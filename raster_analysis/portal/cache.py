"""The cache: local copies of files that lie elsewhere, filled on demand and bounded in size.

What was used longest ago goes first. Two kinds of files stay whatever the bound: those used within the last minute,
because somebody was just told their path, and those with a second name, because a job linked them into its folder:
removing ours would free nothing. A job therefore keeps its inputs to its end and after a restart, whatever is evicted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from raster_analysis.errors import BudgetError, StoreError
from raster_analysis.portal import files

_TEMPORARY = ".tmp-"
_JUST_USED_S = 60.0
"""A reader opens a file within a second of being told its path; a job links it (guess, far above both)."""


class Cache:
    """A folder of copies, by key. Safe to use from many threads."""

    def __init__(self, folder: Path, limit: int, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._guard = Lock()
        self._filling: dict[str, tuple[Lock, int]] = {}
        """A lock for each file that is asked for now, and how many ask."""
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """Return the copy of a key and note that it is used; None when there is none."""
        path = self._path(key)
        return path if self._use(path) else None

    def fill(self, key: str, size: int, write: Callable[[Path], None]) -> Path:
        """Have `write` make the copy of a key, once however many ask for it at a time, and return it.

        Raises BudgetError when a file of `size` bytes is larger than the whole cache, StoreError when
        another number of bytes was written.
        """
        with self._alone(key):
            return self.find(key) or self._fill(self._path(key), size, write)

    def drop(self, key: str) -> None:
        """Remove the copy of a key that means nothing any more."""
        self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a crash left half filled. Only before serving."""
        for left in self._folder.glob(f"{_TEMPORARY}*"):
            left.unlink()

    def _path(self, key: str) -> Path:
        # One level, and the suffix kept: people and readers tell formats by it.
        return self._folder / key.replace("/", "-")

    def _use(self, path: Path) -> bool:
        """Note that a copy is used, if there is one. Its time of change stays: jobs notice other files by it."""
        try:
            changed = path.stat().st_mtime_ns
            os.utime(path, ns=(int(self._clock() * 1e9), changed))
        except FileNotFoundError:
            return False
        return True

    def _fill(self, path: Path, size: int, write: Callable[[Path], None]) -> Path:
        if size > self._limit:
            raise BudgetError(f"the file has {size:,} bytes and the server's cache room for {self._limit:,}")
        self._make_room(size)
        temporary = self._folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            write(temporary)
            if temporary.stat().st_size != size:
                raise StoreError(f"{temporary.stat().st_size:,} of {size:,} bytes of a file came; try again later")
            temporary.chmod(0o440)
            # Without this, a power cut could leave the name and not the bytes.
            files.sync(temporary)
            self._use(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def _make_room(self, size: int) -> None:
        with self._guard:
            copies = sorted(self._copies())
            total = size + sum(stat.st_size for _, _, stat in copies)
            for used_s, path, stat in copies:
                if total <= self._limit:
                    return
                if stat.st_nlink > 1 or self._clock() - used_s < _JUST_USED_S:
                    continue
                path.unlink(missing_ok=True)
                total -= stat.st_size

    def _copies(self) -> Iterator[tuple[float, Path, os.stat_result]]:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if not path.name.startswith(_TEMPORARY):
                    yield stat.st_atime, path, stat

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        with self._guard:
            lock, asking = self._filling.get(key, (Lock(), 0))
            self._filling[key] = (lock, asking + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                _, asking = self._filling.pop(key)
                if asking > 1:
                    self._filling[key] = (lock, asking - 1)
