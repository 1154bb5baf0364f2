"""Staging: an output is made in a hidden folder beside its place and appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raster_analysis.errors import BudgetError, OutputError, OutputExists


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a hidden folder; what is written there is published at the end.

    Files whose names begin with the output's (side files) go with it; all are flushed to disk first.
    On any error nothing is left behind.

    Raises:
        OutputExists: before or after the work, when the output is there already.
        OutputError: its folder is missing, or the disk refuses.
    """
    _refuse_existing(path)
    with disk_errors(path):
        # Beside the output: a rename to its place must not cross file systems.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", dir=path.parent))
    try:
        yield folder / path.name
        with disk_errors(path):
            _publish(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into an OutputError that names the output."""
    try:
        yield
    except FileExistsError:
        raise OutputExists(f"output {path.name!r} exists already; choose another name or delete it") from None
    except OSError as error:
        raise OutputError(f"output {path.name!r} could not be written: {error.strerror or error}") from error


def check_free_space(path: Path, needed: int) -> None:
    """Raise BudgetError, with both figures, when the disk below `path` has less than `needed` bytes free."""
    with disk_errors(path):
        free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise BudgetError(
            f"output {path.name!r} may need {needed / 1e9:,.2f} GB of disk while it is written, "
            f"but {free / 1e9:,.2f} GB are free"
        )


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise OutputExists(f"output {path.name!r} exists already; choose another name or delete it")


def _publish(folder: Path, path: Path) -> None:
    made = sorted(file for file in folder.iterdir() if file.is_file() and file.name.startswith(path.name))
    for file in made:
        _flush(file)
    _refuse_existing(path)
    # The output itself comes last: where it is, its side files are.
    for file in made[1:]:
        file.replace(path.parent / file.name)
    _move_new(made[0], path)
    _flush(path.parent)


def _move_new(file: Path, path: Path) -> None:
    """Move without replacing: a hard link fails where the name is taken, a rename does not."""
    try:
        path.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:
        # File systems without hard links (exFAT, some network mounts).
        file.rename(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
