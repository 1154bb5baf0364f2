"""Arrivals: files that come in parts, in any order and over several requests, and outlive a restart."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Self

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select, true, update

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal import files
from raster_analysis.portal.database import Database, arrivals
from raster_analysis.portal.item import safe_name
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.quota import Quota
from raster_analysis.portal.uploads import Uploads
from raster_analysis.portal.users import User

logger = logging.getLogger(__name__)

KEPT_MS = 24 * 3600 * 1000
"""How long an arrival stays after its last part or use (contract 10: a day)."""
MOST_OPEN = 50
"""Arrivals of one user that are not done (guess: a client sends a handful of files side by side)."""
LAST_PART = 10_000
"""As on other portals; clients cut files into 2000 parts at most (contract 4.1)."""


class State(StrEnum):
    """Where an arrival stands."""

    OPEN = "open"
    JOINING = "joining"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file on its way in, and what its owner said about it."""

    id: str
    owner: str
    name: str
    """The file's name, for titles only."""
    state: State
    message: str
    """Why it failed."""
    draft: str
    """JSON text of what it is to become."""
    created_ms: int
    changed_ms: int

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Return the arrival that a row of the table holds."""
        return cls(**{**row, "state": State(row["state"])})


class Arrivals:
    """The files that users send in parts. Missing and somebody else's are the same answer."""

    def __init__(
        self, database: Database, folder: Path, uploads: Uploads, *, quota: Quota | None = None, clock: Clock = now_ms
    ) -> None:
        self._quota = quota
        self._database = database
        self._folder = folder
        self._uploads = uploads
        self._clock = clock
        # A part is put in its place while its arrival is known to be open.
        self._placing = Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, arrival_id: str, owner: User, name: str, draft: str = "") -> Arrival:
        """Begin an arrival; raises InputError when the id is taken or the owner has too many."""
        now = self._clock()
        arrival = Arrival(arrival_id, owner.name, name, State.OPEN, "", draft, now, now)
        values = {field: getattr(arrival, field) for field in arrival.__slots__}
        with self._database.write() as connection:
            if connection.scalar(select(arrivals.c.id).where(arrivals.c.id == arrival_id)):
                raise InputError(f"an upload with the id {arrival_id} has begun already")
            mine = (arrivals.c.owner == owner.name) & (arrivals.c.state != State.DONE.value)
            if (connection.scalar(select(func.count()).select_from(arrivals).where(mine)) or 0) >= MOST_OPEN:
                raise InputError(f"you have {MOST_OPEN} uploads that are not finished; finish or delete some of them")
            connection.execute(arrivals.insert().values({**values, "state": arrival.state.value}))
        return arrival

    def get(self, arrival_id: str, user: User) -> Arrival:
        """Return an arrival of the user's own, of anybody for an administrator; raises AccessError."""
        with self._database.read() as connection:
            return _find(connection, arrival_id, user)

    def add_part(self, arrival_id: str, user: User, number: int, stream: BinaryIO, *, size: int | None = None) -> None:
        """Take a part; a second one of the same number takes the place of the first.

        Raises InputError, with nothing stored, when it is not `size` bytes long, the whole would be
        longer than the limit, or the arrival is not open any more.
        """
        if not 0 <= number <= LAST_PART:
            raise InputError(f"part number {number} is not usable; parts are numbered 1 to {LAST_PART}")
        self._require_open(self.get(arrival_id, user))
        with self._uploads.receive(stream) as received:
            arrived = received.stat().st_size
            if size is not None and arrived != size:
                raise InputError(f"part {number} has {arrived:,} bytes and not the {size:,} that were announced")
            with self._placing:
                self._require_open(self.get(arrival_id, user))
                self._check_total(arrival_id, number, arrived)
                self.require_room(self.get(arrival_id, user).owner, arrived)
                files.place(received, self._part(arrival_id, number))
        self.touch(arrival_id)

    def require_room(self, owner: str, size: int) -> None:
        """Raise InputError when the owner's quota has no room for some bytes."""
        if self._quota:
            self._quota.check(owner, size)

    def parts(self, arrival_id: str) -> list[int]:
        """Return the numbers of the parts that are here, in order."""
        folder = self._folder / arrival_id
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())
        return sorted(int(name) for name in names if name.isdecimal())

    @contextmanager
    def join(self, arrival_id: str, user: User, wanted: Collection[int] = ()) -> Iterator[tuple[Arrival, Path]]:
        """Give the whole file; what its user makes of it decides: an error of theirs ends the arrival as failed.

        Parts must be numbered without a gap from 1 (or 0). With `wanted` just these are taken.
        """
        with self._placing:
            arrival = self._begin_joining(arrival_id, user)
        try:
            numbers = _without_gap(self.parts(arrival_id), wanted)
            with self._uploads.join([self._part(arrival_id, number) for number in numbers]) as path:
                yield arrival, path
        except InputError as error:
            logger.info("upload %s of user %s failed: %s", arrival_id, arrival.owner, error)
            self._settle(arrival_id, State.FAILED, str(error))
            shutil.rmtree(self._folder / arrival_id, ignore_errors=True)
            raise
        except FileNotFoundError:
            # Deleted while it was joined; else it is a fault of the server, as below.
            if self._settle(arrival_id, State.OPEN):
                raise
            raise _missing() from None
        except BaseException:
            # Not the user's fault: the parts are good, and the commit may be tried again.
            self._settle(arrival_id, State.OPEN)
            raise

    def keep(self, arrival_id: str, source: Path) -> Arrival:
        """Keep the whole file in place of the parts; the arrival is done. Raises AccessError when it was deleted."""
        with self._database.read() as connection:
            row = connection.execute(select(arrivals).where(arrivals.c.id == arrival_id)).mappings().first()
        if row is None:
            raise _missing()
        arrival = replace(Arrival.of(row), state=State.DONE)
        files.place(source, self._whole(arrival))
        if not self._settle(arrival_id, State.DONE):
            shutil.rmtree(self._folder / arrival_id, ignore_errors=True)
            raise _missing()
        for number in self.parts(arrival_id):
            self._part(arrival_id, number).unlink(missing_ok=True)
        return arrival

    def whole(self, arrival: Arrival) -> Path:
        """Return the file of an arrival that is done; raises InputError for one that is not."""
        path = self._whole(arrival)
        if arrival.state is not State.DONE or not path.exists():
            raise InputError(f"upload {arrival.id} is not complete; commit it first")
        return path

    def touch(self, arrival_id: str) -> None:
        """Note that an arrival is in use, so that it is kept for another day."""
        with self._database.write() as connection:
            row = update(arrivals).where(arrivals.c.id == arrival_id)
            connection.execute(row.values(changed_ms=self._clock()))

    def remove(self, arrival_id: str, user: User) -> None:
        """Forget an arrival and its files; raises AccessError for one that is not there."""
        self.get(arrival_id, user)
        self.forget(arrival_id)

    def forget(self, arrival_id: str) -> None:
        """Forget an arrival whose user was asked about already."""
        with self._placing, self._database.write() as connection:
            connection.execute(delete(arrivals).where(arrivals.c.id == arrival_id))
        shutil.rmtree(self._folder / arrival_id, ignore_errors=True)

    def expire(self, wanted: Collection[str] = ()) -> None:
        """Forget arrivals that nobody has used for a day, but those `wanted` by jobs."""
        old = select(arrivals.c.id).where(arrivals.c.changed_ms < self._clock() - KEPT_MS)
        with self._database.read() as connection:
            expired = [arrival_id for arrival_id in connection.scalars(old) if arrival_id not in wanted]
        for arrival_id in expired:
            self.forget(arrival_id)

    def sweep(self) -> None:
        """Open again what a crash met while it was joined, and remove files without a row. Only before serving."""
        with self._database.write() as connection:
            joining = update(arrivals).where(arrivals.c.state == State.JOINING.value)
            connection.execute(joining.values(state=State.OPEN.value))
            known = set(connection.scalars(select(arrivals.c.id)))
        for folder in self._folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder)

    def _whole(self, arrival: Arrival) -> Path:
        # Under its own name, made safe: messages and titles show it.
        return self._folder / arrival.id / "whole" / safe_name(arrival.name)

    def _part(self, arrival_id: str, number: int) -> Path:
        return self._folder / arrival_id / str(number)

    def _check_total(self, arrival_id: str, number: int, size: int) -> None:
        others = (each for each in self.parts(arrival_id) if each != number)
        total = size + sum(self._part(arrival_id, each).stat().st_size for each in others)
        if total > self._uploads.limit:
            raise InputError(f"the parts together are larger than the {self._uploads.limit:,} bytes allowed")

    def _begin_joining(self, arrival_id: str, user: User) -> Arrival:
        with self._database.write() as connection:
            arrival = _find(connection, arrival_id, user)
            self._require_open(arrival)
            row = update(arrivals).where(arrivals.c.id == arrival_id)
            connection.execute(row.values(state=State.JOINING.value))
        return arrival

    def _settle(self, arrival_id: str, state: State, message: str = "") -> bool:
        """Note where an arrival stands; return whether it is still there."""
        with self._database.write() as connection:
            row = update(arrivals).where(arrivals.c.id == arrival_id)
            done = connection.execute(row.values(state=state.value, message=message, changed_ms=self._clock()))
        return done.rowcount > 0

    def _require_open(self, arrival: Arrival) -> None:
        if arrival.state is State.FAILED:
            raise InputError(f"upload {arrival.id} has failed: {arrival.message}")
        if arrival.state is not State.OPEN:
            raise InputError(f"upload {arrival.id} is committed already")


def _find(connection: Connection, arrival_id: str, user: User) -> Arrival:
    mine: ColumnElement[bool] = true() if user.is_administrator else arrivals.c.owner == user.name
    row = connection.execute(select(arrivals).where(arrivals.c.id == arrival_id, mine)).mappings().first()
    if row is None:
        raise _missing()
    return Arrival.of(row)


def _missing() -> AccessError:
    return AccessError("Upload does not exist or is inaccessible.")


def _without_gap(present: list[int], wanted: Collection[int]) -> list[int]:
    """Return the numbers of a file's parts in order; raises InputError when one is missing."""
    numbers = sorted(set(wanted or present))
    if not numbers:
        raise InputError("no part of the file has arrived before the commit; begin the upload again")
    expected = list(range(min(numbers[0], 1), numbers[-1] + 1))
    missing = sorted(set(expected) - (set(present) & set(numbers)))
    if missing:
        raise InputError(f"part {missing[0]} of {numbers[-1]} is missing at the commit; begin the upload again")
    return numbers
