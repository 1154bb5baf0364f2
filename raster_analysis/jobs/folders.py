"""The jobs' files: a folder a job, in it one a claim, named by its fence. A late writer's files lie apart."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from raster_analysis.errors import OutputError, StoreError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.tool import BlockResult, Output

CACHE = "cache"
"""The folder beside ours whose files may be evicted at any time, but those that have a second name."""
_JOB_FOLDER = re.compile(r"j[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The folder `jobs/` of a data folder."""

    root: Path

    def of(self, job_id: str, fence: int) -> Path:
        """Return the folder of one claim."""
        return self.root / job_id / str(fence)

    def make(self, job_id: str, fence: int) -> None:
        """Make the folder of one claim."""
        self.of(job_id, fence).mkdir(parents=True, exist_ok=True)

    def remove(self, job_id: str) -> None:
        """Remove all files of a job."""
        shutil.rmtree(self.root / job_id, ignore_errors=True)

    def hold(self, job_id: str, handles: Mapping[str, Handle]) -> dict[str, Handle]:
        """Return the handles with each file of the cache linked into the job's folder: there it stays to the end."""
        return {name: self._hold(job_id, handle) for name, handle in handles.items()}

    def _hold(self, job_id: str, handle: Handle) -> Handle:
        handle = replace(handle, members=tuple(self._hold(job_id, member) for member in handle.members))
        path = Path(handle.path)
        if not handle.path or path.resolve().parent != (self.root.parent / CACHE).resolve():
            return handle
        target = self.root / job_id / "inputs" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(path, target)
        return replace(handle, path=str(target), stamp=handle.stamp and Stamp.of(target))

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that have files."""
        if not self.root.is_dir():
            return []
        return [folder.name for folder in self.root.iterdir() if _JOB_FOLDER.fullmatch(folder.name)]

    def to_ledger(self, job_id: str, folder: Path, result: BlockResult) -> BlockResult:
        """Return a slot's result with its file relative to the job's folder; it must lie in the claim's folder.

        Raises OutputError for a file that is missing or elsewhere: what a slot says is not trusted.
        """
        path = _confine(folder / result.file, folder, f"block {result.index + 1}")
        return replace(result, file=path.relative_to((self.root / job_id).resolve()).as_posix())

    def to_task(self, job_id: str, results: Iterable[BlockResult]) -> tuple[BlockResult, ...]:
        """Return ledger entries with absolute paths, so that a tool finds the files of earlier claims too."""
        home = (self.root / job_id).resolve()
        return tuple(replace(result, file=str(home / result.file)) for result in results)

    def intact(self, job_id: str, results: Iterable[BlockResult]) -> tuple[BlockResult, ...]:
        """Return the ledger entries whose files are there and have the digest that was recorded."""
        home = self.root / job_id
        return tuple(result for result in results if _has_digest(home / result.file, result.sha256))

    def confine(self, folder: Path, outputs: Iterable[Output]) -> tuple[Output, ...]:
        """Return outputs with absolute paths; raises OutputError when one is not in the claim's folder."""
        return tuple(
            replace(output, path=str(_confine(folder / output.path, folder, f"output {output.name}")))
            if output.path is not None
            else output
            for output in outputs
        )


def _link(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(path)
    except FileNotFoundError:
        raise StoreError(
            f"the local copy {path.name} was evicted before the job had it; submit the job again"
        ) from None
    except OSError:  # a file system without links
        shutil.copyfile(path, target)


def _confine(path: Path, folder: Path, what: str) -> Path:
    # Resolved first: a link, or `..`, must not lead the portal to another file of the server.
    resolved = path.resolve()
    if not resolved.is_relative_to(folder.resolve()) or not resolved.exists():
        raise OutputError(f"{what}: the worker named {path.name!r}, which is not among the job's files")
    return resolved


def _has_digest(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False
