"""Data stores: folders that the administrator registered under a name. Users name files in them by path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from raster_analysis.errors import AccessError, InputError

_URI = re.compile(r"/(fileShares|rasterStores)/([^/]+)(?:/(.*))?", re.DOTALL)
_STORE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# `%` after decoding: somebody hopes that a later part decodes once more (CVE-2024-1560). `:` and `<`: GDAL's own words.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\<>{}|:%]")
_LONGEST_URI = 1024


class Stores:
    """Registered folders by name. The same name serves `/fileShares/<name>` and `/rasterStores/<name>`.

    Nothing in the `private` folder is in any store, so that a store above it shows nobody's items.
    """

    def __init__(self, folders: Mapping[str, Path], *, private: Path | None = None) -> None:
        for name, folder in folders.items():
            _check_store(name, folder)
        self._folders = {name: folder.resolve() for name, folder in folders.items()}
        self._private = private.resolve() if private else None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the stores."""
        return tuple(sorted(self._folders))

    def locate(self, uri: str) -> Path:
        """Return the file or folder that a store path names, all links followed and still inside its store.

        Raises InputError for text that is no store path, and AccessError, the same one, for an
        unknown store, a missing file, one that is private and a link that leads outside.
        """
        store, parts = _split(uri)
        root = self._folders.get(store)
        found = _beneath(root, parts) if root else None
        if found is None or (self._private and found.is_relative_to(self._private)):
            raise AccessError(f"{uri!r} does not exist or is inaccessible")
        return found


def _check_store(name: str, folder: Path) -> None:
    if not _STORE_NAME.fullmatch(name):
        raise InputError(f"store name {name!r} is not usable; take 1 to 64 of the characters A-Z a-z 0-9 _ -")
    if not folder.is_dir():
        raise InputError(f"store {name!r}: {str(folder)!r} is not a folder")


def _split(uri: str) -> tuple[str, list[str]]:
    """Return the store's name and the parts of the path; percent signs are decoded once, a second one is refused."""
    match = _URI.fullmatch(uri) if len(uri) <= _LONGEST_URI else None
    if match is None:
        raise InputError(
            f"{uri[:200]!r} is no store path; write /fileShares/<store>/<path> or /rasterStores/<store>/<path>"
        )
    parts = unquote(match[3] or "").rstrip("/").split("/")
    if _FORBIDDEN.search(unquote(match[3] or "")) or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{uri[:200]!r} is not usable: write plain names between slashes, without . or ..")
    return match[2], parts


def _beneath(root: Path, parts: list[str]) -> Path | None:
    try:
        # Links are followed first and judged by where they lead.
        found = root.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return found if found.is_relative_to(root) and (found.is_file() or found.is_dir()) else None
