"""Data stores: folders that the administrator registered under a name. Users name files in them by path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from raster_analysis.errors import AccessError, InputError

_URI = re.compile(r"/(fileShares|rasterStores)/([^/]+)(?:/(.*))?", re.DOTALL)
_STORE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# `%` after decoding: somebody hopes that a later part decodes once more (CVE-2024-1560). `:` and `<`: GDAL's own words.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\<>{}|:%]")
_LONGEST_URI = 1024
_MOST_NAMES = 10_000
"""How many names one list holds (guess: half a megabyte)."""


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

    def names_in(self, place: str, pattern: str) -> list[str]:
        """Return the names of files and folders (with `/` at the end) in a folder of a store, by name.

        `place` is a store path, or the bare name of a store; `pattern` is a glob, or several with
        commas between, whatever the case. What `locate` would refuse is left out: links that lead
        outside, what is private, names that cannot be written in a path.

        Raises InputError when the place is no folder, or more names match than are listed.
        """
        uri = place.strip().rstrip("/")
        uri = f"/fileShares/{uri}" if _STORE_NAME.fullmatch(uri) else uri
        wanted = [part.strip().lower() for part in re.split("[,;]", pattern) if part.strip()] or ["*"]
        found: list[str] = []
        with os.scandir(self._folder(uri)) as entries:
            for entry in entries:
                if any(fnmatchcase(entry.name.lower(), part) for part in wanted) and self._is_usable(uri, entry.name):
                    found.append(f"{entry.name}/" if entry.is_dir() else entry.name)
                if len(found) > _MOST_NAMES:
                    raise InputError(f"{uri!r} holds more than {_MOST_NAMES} names that match; give a narrower filter")
        return sorted(found)

    def _folder(self, uri: str) -> Path:
        """Return the folder of a store path, or the store's own."""
        match = _URI.fullmatch(uri) if len(uri) <= _LONGEST_URI else None
        folder = self._folders.get(match[2]) if match and match[3] is None else self.locate(uri)
        if folder is None:
            raise AccessError(f"{uri!r} does not exist or is inaccessible")
        if not folder.is_dir():
            raise InputError(f"{uri!r} is a file; name a folder, or the store itself")
        return folder

    def _is_usable(self, uri: str, name: str) -> bool:
        # Bytes that are no text come as surrogates, which no answer can hold.
        if _FORBIDDEN.search(name) or not name.isprintable():
            return False
        try:
            self.locate(f"{uri}/{name}")
        except InputError:
            return False
        return True


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
