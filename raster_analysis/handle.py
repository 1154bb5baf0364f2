"""A handle: what a resolver made of a user's reference. The only way to a file for everybody below."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from raster_analysis.errors import InputChanged


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one version of a file from the next."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Return the stamp of a file as it is now."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image service of another server that the administrator allows; fetched before it is read."""

    url: str
    token: str | None = field(default=None, repr=False)
    """What the user sent along for that server; for nobody else, and for no log."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A safe reference to one local file or folder, made by a resolver and never by a user's text.

    `driver` is the one GDAL driver that may open a raster or vector file; `digest` is the sha256 of a
    package's canonical file list; `stamp` notices a file that is replaced while a job runs.
    """

    kind: Literal["raster", "features", "package"]
    path: str
    title: str
    """What the user called it, for messages: never a path of the server."""
    driver: str | None = None
    stamp: Stamp | None = None
    digest: str | None = None
    installed: bool = False
    """Of a package: whether it is installed (contract 8.1)."""
    members: tuple[Handle, ...] = ()
    """The rasters that stand for one together; then nothing lies at `path`."""
    join: Literal["mosaic", "stack"] | None = None
    """How they do: side by side, where the first valid pixel wins, or one's bands after the other's."""
    remote: RemoteImage | None = None
    """Where the pixels are as long as they were not fetched; then nothing lies at `path` either."""

    def verify_unchanged(self) -> None:
        """Raise InputChanged when the file, or one of several, is not the one that was resolved."""
        for member in self.members:
            member.verify_unchanged()
        if self.stamp is None:
            return
        try:
            is_same = Stamp.of(Path(self.path)) == self.stamp
        except OSError:
            is_same = False
        if not is_same:
            raise InputChanged(f"input {self.title!r} was changed or removed while the job ran; submit it again")
