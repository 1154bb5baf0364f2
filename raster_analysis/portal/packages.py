"""Packages, unpacked once by the digest of their content: read-only copies that jobs run from."""

from __future__ import annotations

import secrets
from collections import defaultdict
from pathlib import Path
from threading import Lock

import dlpk
from dlpk.errors import DlpkError
from raster_analysis.errors import ModelError
from raster_analysis.portal import files


class Packages:
    """The unpacked packages of a portal: `<folder>/<digest>/`, complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, source: Path, title: str) -> str:
        """Check a package (archive, folder or .emd), keep one copy of it, and return its digest.

        Raises ModelError with every finding when it is refused; nothing is left behind then.
        """
        try:
            package = dlpk.open(source)
            digest = package.digest
            with self._lock_of(digest):
                if not self.has(digest):
                    self._unpack(package, digest)
        except DlpkError as error:
            raise ModelError(f"{title!r} is not a usable package: {error}") from None
        return digest

    def has(self, digest: str) -> bool:
        """Tell whether a copy is kept."""
        return self.path(digest).is_dir()

    def path(self, digest: str) -> Path:
        """Return where the copy of a digest is, or would be."""
        return self._folder / digest

    def sweep(self) -> None:
        """Remove what a crash left half unpacked. Only before serving."""
        for left in self._folder.glob(f"{files.TEMPORARY}*"):
            files.remove(left)

    def _unpack(self, package: dlpk.Package, digest: str) -> None:
        temporary = self._folder / f"{files.TEMPORARY}{secrets.token_hex(8)}"
        try:
            package.unpack(temporary)
            files.seal(temporary)
            temporary.rename(self.path(digest))
            files.sync(self._folder)
        finally:
            files.remove(temporary)

    def _lock_of(self, digest: str) -> Lock:
        with self._lock:
            return self._locks[digest]
