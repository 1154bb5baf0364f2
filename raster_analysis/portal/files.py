"""Files put in their place: complete and on the disk under their name, or not there at all."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

TEMPORARY = ".tmp-"
"""How names begin that a crash may leave behind; a sweep at the next start removes them."""


def place(source: Path, target: Path) -> None:
    """Give a file a second, read-only life under `target`; the source stays, so that this can be repeated."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        _link_or_copy(source, temporary)
        temporary.chmod(0o440)
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Make a folder read-only and wait until all of it is on the disk."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o550 if path.is_dir() else 0o440)
        sync(path)


def remove(folder: Path) -> None:
    """Remove a folder, read-only parts too; nothing happens when it is not there."""
    if not folder.exists():
        return
    for parent, _folders, _files in os.walk(folder):
        Path(parent).chmod(0o700)
    shutil.rmtree(folder)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
