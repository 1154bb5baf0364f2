"""Packages, unpacked once by the digest of their content: read-only copies that jobs run from."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from threading import Lock

import dlpk
from dlpk.extraction import PARTIAL_PREFIX
from raster_analysis.errors import ModelError

logger = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Packages:
    """The unpacked packages of a portal: `<folder>/<digest>/`, complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unpacking = Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, source: Path, title: str) -> str:
        """Check a package (archive, folder or .emd), keep one copy of it, and return its digest.

        Raises ModelError with every finding when it is refused; nothing is left behind then.
        """
        try:
            package = dlpk.open(source)
            # One at a time: of fifty equal packages at once, one is unpacked and the others find it.
            with self._unpacking:
                if not self.has(package.digest):
                    self._unpack(package)
        except dlpk.DlpkError as error:
            # %r: a title is the user's text and may hold line ends.
            logger.warning("package %r refused: %s", title[:100], error)
            raise ModelError(f"{title!r} is not a usable package: {error}") from None
        return package.digest

    def has(self, digest: str) -> bool:
        """Tell whether a copy is kept."""
        return self.path(digest).is_dir()

    def path(self, digest: str) -> Path:
        """Return where the copy of a digest is, or would be."""
        return self._folder / digest

    def sweep(self, wanted: Collection[str]) -> None:
        """Remove what a crash left half unpacked, and copies of digests that nobody wants. Only before serving."""
        for copy in self._folder.iterdir():
            if copy.name.startswith(PARTIAL_PREFIX) or (_DIGEST.fullmatch(copy.name) and copy.name not in wanted):
                shutil.rmtree(copy)

    def _unpack(self, package: dlpk.Package) -> None:
        # Another process may have been quicker; equal digests mean equal copies.
        with contextlib.suppress(dlpk.TargetExists):
            package.extract(self.path(package.digest))
