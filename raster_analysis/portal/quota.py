"""Quotas: how many bytes the items of one user, unfinished uploads and uploads for jobs may have together.

Uploads are refused beyond it. A job does not begin when its user has nothing left, but what a job has made is
published whatever it takes: hours of work are not lost for a few bytes. It counts from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from raster_analysis.errors import InputError
from raster_analysis.portal.database import Database, arrivals, items


@dataclass(frozen=True, slots=True)
class Room:
    """What a user has left."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        """Return how many bytes may still come."""
        return max(self.limit - self.used, 0)

    def __str__(self) -> str:
        return (
            f"your items and uploads have {self.used:,} of the {self.limit:,} bytes allowed, "
            f"which leaves {self.left:,}; delete some of them first"
        )


class Quota:
    """The quota of every user, or none at all."""

    def __init__(self, database: Database, uploads: Path, limit: int | None) -> None:
        self._database = database
        self._uploads = uploads
        self._limit = limit

    def room(self, owner: str) -> Room | None:
        """Return what a user has left, None when there is no quota."""
        if self._limit is None:
            return None
        with self._database.read() as connection:
            return self._room(connection, owner, self._limit)

    def check(self, owner: str, more: int, *, without: str = "") -> None:
        """Raise InputError when a user has no room for some bytes; the upload `without` becomes part of them."""
        if self._limit is None:
            return
        with self._database.read() as connection:
            room = self._room(connection, owner, self._limit, without=without)
        if more > room.left:
            raise InputError(f"the file has {more:,} bytes: {room}")

    def check_written(self, connection: Connection, owner: str, *, without: str = "") -> None:
        """Raise InputError when what was just written in this transaction is too much: then none of it is."""
        if self._limit is None:
            return
        room = self._room(connection, owner, self._limit, without=without)
        if room.used > room.limit:
            raise InputError(f"the file is too large: with it {room}")

    def check_begin(self, owner: str) -> None:
        """Raise InputError for a user who has nothing left: results of a job would have no room."""
        room = self.room(owner)
        if room and not room.left:
            raise InputError(f"there is no room for results: {room}")

    def _room(self, connection: Connection, owner: str, limit: int, *, without: str = "") -> Room:
        stored = select(func.coalesce(func.sum(items.c.size), 0)).where(items.c.owner == owner)
        coming = select(arrivals.c.id).where(arrivals.c.owner == owner, arrivals.c.id != without)
        on_their_way = sum(_size(self._uploads / arrival_id) for arrival_id in connection.scalars(coming))
        return Room(int(connection.scalar(stored) or 0) + on_their_way, limit)


def _size(folder: Path) -> int:
    try:
        # Of one that is complete, the file lies a level deeper.
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:  # removed meanwhile, or nothing has come yet
        return 0
