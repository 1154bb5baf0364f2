"""From what a user wrote to a safe handle: no text of a user reaches GDAL, and no file opens by guess.

Pure Python, so that the server process can resolve without loading GDAL.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from raster_analysis.errors import AccessError, BudgetError, InputError, RasterError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.rasters.signatures import FEATURES, HEAD_BYTES, RASTERS, PackageForm, name_content, name_package

_DRIVER_PREFIX = re.compile(r"[^/]*:")
# GDAL knows a virtual file system by how a path begins; folders of that name elsewhere are ordinary.
_VIRTUAL = re.compile(r"/+vsi", re.IGNORECASE)
_MEMBER_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".img", ".ntf", ".nitf")
"""What counts as a raster in a folder; side files and notes have others."""
MOST_MEMBERS = 1000
"""Each is described in the job's plan: some 2 kB (guess that a plan of 2 MB is bearable)."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def resolve_raster(reference: str, *, root: Path | None = None, title: str | None = None) -> Handle:
    """Return the handle of a raster, or of a folder of rasters as one mosaic, in the order of their names.

    Without `root` the reference is any local file (command line, Python). With it, a percent-encoded
    path relative to a registered store, which it must not leave. `title` is what messages call it.

    Raises:
        AccessError: there is no such file, or it is outside the store.
        RasterError: the reference is unsafe, or the content is of no allowed format.
    """
    path = _locate(reference, root, RasterError)
    if path.is_dir():
        return _folder_handle(path, title or path.name)
    return _file_handle("raster", path, title or path.name)


def resolve_features(reference: str, *, root: Path | None = None, title: str | None = None) -> Handle:
    """Return the handle of a file of vector features; as `resolve_raster`, but raises InputError."""
    path = _locate(reference, root, InputError)
    return _file_handle("features", path, title or path.name)


def resolve_mask(reference: str, *, root: Path | None = None, title: str | None = None) -> Handle:
    """Return the handle of polygons or of a raster, by its content; a folder is a raster. As `resolve_raster`."""
    path = _locate(reference, root, InputError)
    name = title or path.name
    if path.is_dir():
        return _folder_handle(path, name)
    _require_file(path, name)
    is_raster = name_content(_head(path, name)).driver in RASTERS
    return _file_handle("raster" if is_raster else "features", path, name)


def resolve_package(reference: str, *, root: Path | None = None, title: str | None = None) -> Handle:
    """Return the handle of a package: a `.dlpk`, a folder, or the `.emd` in one; its digest is left open.

    A folder has no stamp: its time changes with every file that a run leaves in it.
    """
    path = _locate(reference, root, InputError)
    name = title or path.name
    if path.is_dir():
        return Handle("package", str(path), name)
    _require_file(path, name)
    found = name_package(_head(path, name))
    if not isinstance(found, PackageForm):
        raise InputError(
            f"package {name!r} is {found}; want a ZIP archive (.dlpk), a folder or a model definition (.emd)"
        )
    return Handle("package", str(path), name, stamp=Stamp.of(path))


def join_rasters(handles: Sequence[Handle], title: str) -> Handle:
    """Return several rasters as one mosaic, in which the first valid pixel counts; one stays what it is."""
    if len(handles) > MOST_MEMBERS:
        raise BudgetError(f"{title!r} are {len(handles):,} rasters (at most {MOST_MEMBERS:,}); take fewer at once")
    if len(handles) == 1:
        return handles[0]
    return Handle("raster", "", title, members=tuple(handles), join="mosaic")


def _locate(reference: str, root: Path | None, error: type[InputError]) -> Path:
    """Return the real path; every unsafe spelling is refused before the file system is asked."""
    text = reference if root is None else _decode_once(reference, error)
    faults = _faults(text, in_store=root is not None)
    if faults:
        raise error(f"{_shorten(reference)} is not a path that may be opened: {'; '.join(faults)}")
    try:
        return _local(text) if root is None else _beneath(root, text)
    except (OSError, RuntimeError):
        # RuntimeError: a loop of symbolic links (Python 3.12 and older).
        raise AccessError(f"{_shorten(reference)} was not found") from None


def _decode_once(reference: str, error: type[InputError]) -> str:
    text = unquote(reference, errors="replace")
    if "%" in text or "\ufffd" in text:
        raise error(f"{_shorten(reference)} is percent-encoded twice or wrongly; write the path plainly")
    return text


def _faults(text: str, *, in_store: bool) -> list[str]:
    rules = [
        (not text.strip(), "it is empty"),
        (_CONTROL.search(text) is not None, "it holds a control character"),
        (_VIRTUAL.match(posixpath.normpath(text)) is not None, "virtual file systems (/vsi...) are not allowed"),
        (_DRIVER_PREFIX.match(text) is not None, "a prefix with ':' names a driver, a connection or a URL, not a file"),
        ("<" in text or "{" in text, "it is markup or JSON, not a path"),
        (in_store and "\\" in text, "separate folders with '/'"),
        (in_store and text.startswith("/"), "it must be relative to its store"),
        (in_store and ".." in text.split("/"), "'..' is not allowed"),
    ]
    return [message for broken, message in rules if broken]


def _local(text: str) -> Path:
    return Path(text).expanduser().resolve(strict=True)


def _beneath(root: Path, text: str) -> Path:
    """Return the real path; raises FileNotFoundError for what is outside, links followed."""
    base = root.resolve(strict=True)
    path = (base / text).resolve(strict=True)
    if not path.is_relative_to(base):
        raise FileNotFoundError
    return path


def _folder_handle(folder: Path, title: str) -> Handle:
    names = sorted(path.name for path in folder.iterdir() if _is_member(path))
    if not names:
        raise RasterError(f"folder {title!r} holds no raster; want files that end in {', '.join(_MEMBER_SUFFIXES)}")
    if len(names) > MOST_MEMBERS:
        raise BudgetError(f"folder {title!r} holds {len(names):,} rasters (at most {MOST_MEMBERS:,}); split it")
    # Links are followed, but not out of the folder: what lies elsewhere was not asked for.
    members = [(folder / name).resolve() for name in names]
    strangers = [name for name, path in zip(names, members, strict=True) if not path.is_relative_to(folder)]
    if strangers:
        raise AccessError(f"{title}/{strangers[0]} was not found: it is a link that leads out of its folder")
    handles = [_file_handle("raster", path, f"{title}/{name}") for name, path in zip(names, members, strict=True)]
    return join_rasters(handles, title)


def _is_member(path: Path) -> bool:
    return path.suffix.lower() in _MEMBER_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _file_handle(kind: Literal["raster", "features"], path: Path, title: str) -> Handle:
    _require_file(path, title)
    stamp = Stamp.of(path)
    wanted, error = (RASTERS, RasterError) if kind == "raster" else (FEATURES, InputError)
    found = name_content(_head(path, title))
    if kind == "raster" and found.driver in FEATURES:
        raise RasterError(
            f"raster {title!r} is {found.words}; want one of {', '.join(wanted)}; "
            "pictures that are attached to features are not read"
        )
    if found.driver not in wanted:
        raise error(f"{kind} {title!r} is {found.words}; want one of {', '.join(wanted)}{found.way_out}")
    return Handle(kind, str(path), title, driver=found.driver, stamp=stamp)


def _require_file(path: Path, title: str) -> None:
    # A device or a pipe would block whoever opens it.
    if not path.is_file():
        raise AccessError(f"{title!r} was not found: it is no regular file")


def _head(path: Path, title: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        raise AccessError(f"{title!r} was not found or may not be read") from None


def _shorten(text: str) -> str:
    shown = repr(text)
    # Of a path the end tells more than the folders that it begins with.
    return shown if len(shown) <= 80 else f"{shown[:20]}...{shown[-57:]}"
