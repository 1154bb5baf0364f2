"""Unpacking that trusts nothing: new files only, through a folder descriptor, complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dlpk.archive import Member
from dlpk.errors import PackageRefused, TargetExists
from dlpk.findings import error

# Folders with this prefix are left-overs of a process that was killed and may be deleted.
PARTIAL_PREFIX = ".unpacking-"

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpackable(Protocol):
    """What is needed of a package to unpack it."""

    @property
    def members(self) -> tuple[Member, ...]:
        """The files."""

    @property
    def digest(self) -> str:
        """What was checked."""

    def stream(self, name: str) -> Iterator[bytes]:
        """The content of one file."""


def unpack(package: Unpackable, target: Path) -> Path:
    """Write all members below a new folder; on any failure nothing is left.

    Raises:
        TargetExists: The folder is already there.
        PackageRefused: The content changed since it was checked.
    """
    if target.exists() or target.is_symlink():
        raise TargetExists(f"{target.name} is already there")
    partial = target.parent / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}"
    # Nobody else shall read half a package.
    partial.mkdir(mode=0o700)
    try:
        _write_members(package, partial)
        _rename_new(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with _folder(target.parent) as parent:
        os.fsync(parent)
    return target


def _write_members(package: Unpackable, partial: Path) -> None:
    # Asked for first: a folder computes it only now, from what lies there.
    expected = package.digest
    total = hashlib.sha256()
    with _folder(partial) as root:
        for member in package.members:
            total.update(f"{_write(package, member, root)}  {member.name}\n".encode())
        os.fsync(root)
    if total.hexdigest() != expected:
        message = "the content changed while the package was unpacked."
        raise PackageRefused([error("zip.damaged", "package", message, "Copy or upload it again.")])


def _write(package: Unpackable, member: Member, root: int) -> str:
    *folders, leaf = member.name.split("/")
    digest = hashlib.sha256()
    left = member.size
    with _descend(root, folders) as parent:
        # Read-only, so that a function cannot change the package it runs from.
        descriptor = os.open(leaf, _FILE_FLAGS, 0o444, dir_fd=parent)
        with os.fdopen(descriptor, "wb") as file:
            for piece in package.stream(member.name):
                left -= len(piece)
                if left < 0:
                    raise PackageRefused([error("zip.size", member.name, "it is larger than it was declared.")])
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.fsync(parent)
    return digest.hexdigest()


@contextlib.contextmanager
def _descend(root: int, folders: list[str]) -> Iterator[int]:
    """Open a folder below the root one step at a time, so that no link on the way is followed."""
    with contextlib.ExitStack() as stack:
        current = root
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755, dir_fd=current)
            current = os.open(folder, _FOLDER_FLAGS, dir_fd=current)
            stack.callback(os.close, current)
        yield current


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _rename_new(partial: Path, target: Path) -> None:
    partial.chmod(0o755)
    try:
        # Renaming onto a folder fails unless it is empty, so of two at once one wins and one hears of it.
        partial.rename(target)
    except OSError as fault:
        if target.exists():
            raise TargetExists(f"{target.name} is already there") from fault
        raise
