"""Where the bytes of a package come from: an archive, a folder, or a definition with the files it names.

A source lists regular files and streams them. What is odd is refused here; what the files mean is judged in `checks`.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from dlpk import strict_json
from dlpk.errors import PackageRefused
from dlpk.file_slice import FileSlice
from dlpk.findings import Finding, error
from dlpk.limits import DEFAULT_LIMITS, Limits
from dlpk.names import fault_of_name, find_collisions, is_debris, normalize_reference
from dlpk.zip_layout import CHUNK_BYTES, ZipMember, read_layout, stream_member
from dlpk.zip_records import LOCAL_SIGNATURE

_SPOOL_BYTES = 32 * 2**20
_LFS_START = b"version https://git-lfs"
_KINDS = {
    b"7z\xbc\xaf\x27\x1c": ("archive.7zip", "the file is a 7-Zip archive.", "Pack the files as ZIP: `dlpk build`."),
    _LFS_START: ("archive.git_lfs", "the file is a git-lfs pointer.", "Run `git lfs pull` and copy the file itself."),
    b"PK\x07\x08": ("zip.spanned", "the archive is one part of several.", "Build it as one file."),
    b"PK\x05\x06": ("emd.missing", "the archive is empty.", ""),
    b"Rar!": ("archive.kind", "the file is a RAR archive.", "Pack the files as ZIP."),
    b"\x1f\x8b": ("archive.kind", "the file is compressed with gzip.", "Pack the files as ZIP."),
    b"<": ("archive.kind", "the file is a web page or XML.", "Was the download refused? Look into the file."),
    b"{": ("archive.kind", "the file is JSON.", "A model definition needs the ending .emd."),
}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of a package; `name` uses `/` and is relative to the package."""

    name: str
    size: int


class Source(Protocol):
    """Something that holds the files of a package."""

    def members(self) -> tuple[Member, ...]:
        """Give all regular files, sorted by name, without debris."""

    def stream(self, name: str) -> Iterator[bytes]:
        """Give the content of one file in pieces, verified as it is read."""

    def open(self, name: str) -> BinaryIO:
        """Open one file for reading at any place; the content is not verified."""

    @property
    def folder(self) -> Path | None:
        """The folder in which the files lie, or None when they lie in an archive."""


def open_source(path: Path, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Open a `.dlpk`, a folder, or a `.emd` beside the files it names.

    Raises:
        PackageRefused: The container is unsafe, broken or of a kind that is not read.
    """
    if path.is_dir():
        return FolderSource(path, limits)
    if not path.is_file():
        raise PackageRefused([error("archive.missing", path.name, "there is no such file or folder.")])
    # Decided by the name: the content of a broken definition tells nothing.
    if path.suffix.lower() == ".emd":
        return DefinitionSource(path)
    return ZipSource(path, limits)


class ZipSource:
    """A package in a ZIP archive. The file is opened anew for each read, so nothing needs closing."""

    def __init__(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = path
        with path.open("rb") as file:
            layout = _read_zip(file, limits)
        self._members = {member.name: member for member in layout if not is_debris(member.name)}

    @property
    def folder(self) -> Path | None:
        """Nothing: the files lie in an archive."""
        return None

    def members(self) -> tuple[Member, ...]:
        """Give all regular files, sorted by name, without debris."""
        return tuple(Member(member.name, member.size) for member in self._members.values())

    def stream(self, name: str) -> Iterator[bytes]:
        """Unpack one file in pieces; size and CRC are verified at the end."""
        with self._path.open("rb") as file:
            yield from stream_member(file, self._members[name])

    def open(self, name: str) -> BinaryIO:
        """Open one file; a compressed one is unpacked to a temporary place first."""
        member = self._members[name]
        if not member.deflated:
            return io.BufferedReader(FileSlice(self._path, member.data_at, member.size))
        unpacked = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
        for piece in self.stream(name):
            unpacked.write(piece)
        unpacked.seek(0)
        # It reads like any file, but is none to the type checker.
        return cast("BinaryIO", unpacked)


def _read_zip(file: BinaryIO, limits: Limits) -> tuple[ZipMember, ...]:
    start = file.read(len(_LFS_START))
    if not start.startswith(LOCAL_SIGNATURE):
        for signature, (code, message, hint) in _KINDS.items():
            if start.startswith(signature):
                raise PackageRefused([error(code, "archive", message, hint)])
        _refuse_unknown_kind(file)
    return read_layout(file, limits)


def _refuse_unknown_kind(file: BinaryIO) -> None:
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16))
    if b"PK\x05\x06" in file.read():
        hint = "Build the package again; self-extracting archives are not read."
        raise PackageRefused([error("zip.prepended", "archive", "there are bytes before the first member.", hint)])
    message = "the file is not a ZIP archive." if size else "the file is empty."
    raise PackageRefused([error("archive.kind", "archive", message, "A .dlpk is a ZIP archive; use `dlpk build`.")])


class FolderSource:
    """A package in a folder, for instance one that was unpacked. Links in it are refused."""

    def __init__(self, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._folder = folder
        self._members = _walk_safely(folder, limits)

    @property
    def folder(self) -> Path | None:
        """The folder itself."""
        return self._folder

    def members(self) -> tuple[Member, ...]:
        """Give all regular files, sorted by name, without debris."""
        return self._members

    def stream(self, name: str) -> Iterator[bytes]:
        """Read one file in pieces; a link that took its place is refused."""
        return _stream_file(self._folder / name, name)

    def open(self, name: str) -> BinaryIO:
        """Open one file; a link that took its place is refused."""
        return _open_file(self._folder / name, name)


def _walk_safely(folder: Path, limits: Limits) -> tuple[Member, ...]:
    found: list[Member] = []
    findings: list[Finding] = []
    for name, entry in _walk(folder, ""):
        # Left out before the rules apply: a .git folder may hold what it likes.
        if is_debris(name):
            continue
        if fault := fault_of_name(name):
            name = ascii(name)[1:-1]  # noqa: PLW2901 - no control characters in messages
            findings.append(error("zip.path", name, f"{fault}.", "Rename the file."))
        if entry.is_symlink():
            findings.append(error("zip.link", name, "it is a link.", "Replace the link by the file itself."))
        elif not entry.is_file(follow_symlinks=False):
            findings.append(error("zip.type", name, "it is neither a file nor a folder."))
        else:
            found.append(Member(name, entry.stat(follow_symlinks=False).st_size))
        if len(found) + len(findings) > limits.entries:
            findings.append(error("zip.limit", "folder", f"it holds more than {limits.entries} files."))
            break
    total = sum(member.size for member in found)
    if total > limits.total_bytes:
        findings.append(error("zip.limit", "folder", f"it holds {total} bytes; {limits.total_bytes} are allowed."))
    for name, clash in find_collisions(member.name for member in found):
        findings.append(error("zip.duplicate", name, f"{clash}.", "Rename or remove one of them."))
    if findings:
        raise PackageRefused(findings)
    return tuple(sorted(found, key=lambda member: member.name))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False) and not is_debris(name + "/x"):
                # A folder too deep is reported once, as itself.
                if fault_of_name(name):
                    yield name, entry
                else:
                    yield from _walk(folder / entry.name, name + "/")
            elif not entry.is_dir(follow_symlinks=False):
                yield name, entry


class DefinitionSource:
    """A definition that lies among other files: the package is the definition and the files it names."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        names = {path.name, *(beside for name in _files_named_by(path) for beside in self._beside(name))}
        self._members = tuple(Member(name, (self._folder / name).lstat().st_size) for name in sorted(names))

    @property
    def folder(self) -> Path | None:
        """The folder of the definition."""
        return self._folder

    def members(self) -> tuple[Member, ...]:
        """Give the definition, and the files and folders it names as far as they exist."""
        return self._members

    def stream(self, name: str) -> Iterator[bytes]:
        """Read one file in pieces; a link that took its place is refused."""
        return _stream_file(self._folder / name, name)

    def open(self, name: str) -> BinaryIO:
        """Open one file; a link that took its place is refused."""
        return _open_file(self._folder / name, name)

    def _beside(self, name: str) -> Iterator[str]:
        target = self._folder / name
        # A linked folder leads out of the package as a linked file does.
        if any(place.is_symlink() for place in _places_down_to(target, self._folder)):
            return
        if target.is_dir():
            yield from (f"{name}/{member.name}" for member in _walk_safely(target, DEFAULT_LIMITS))
        elif target.parent.is_dir():
            # `model.onnx.data` and `model.onnx_data` hold parts of `model.onnx`.
            parts = (target.name.lower() + ".", target.name.lower() + "_")
            for other in target.parent.iterdir():
                named = other.name.lower() == target.name.lower() or other.name.lower().startswith(parts)
                if named and stat.S_ISREG(other.lstat().st_mode):
                    yield other.relative_to(self._folder).as_posix()


def _places_down_to(target: Path, folder: Path) -> Iterator[Path]:
    """Give the target and the folders between it and `folder`."""
    place = target
    while place != folder:
        yield place
        place = place.parent


def _files_named_by(path: Path) -> set[str]:
    """Give the safe references of a definition; a broken one names none, and is judged later."""
    if path.stat().st_size > strict_json.MAX_BYTES:
        return set()
    try:
        keys = strict_json.parse(path.read_bytes())
    except strict_json.JsonFault:
        return set()
    if not isinstance(keys, dict):
        return set()
    values = [keys.get("ModelFile"), keys.get("InferenceFunction")]
    for group in (keys.get("ModelFiles"), keys.get("ONNX"), keys.get("TorchScript")):
        values += group if isinstance(group, list) else group.values() if isinstance(group, dict) else []
    names = (normalize_reference(value) for value in values if isinstance(value, str))
    return {name for name in names if not fault_of_name(name)}


def _stream_file(path: Path, name: str) -> Iterator[bytes]:
    with _open_file(path, name) as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        # A link that was put here after the walk is not followed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as fault:
        raise PackageRefused([error("archive.missing", name, f"cannot be read: {fault.strerror}.")]) from None
    return os.fdopen(descriptor, "rb")
