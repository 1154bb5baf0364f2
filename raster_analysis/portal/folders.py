"""Folders: how users sort their own items. One level, as portals have them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, RowMapping, delete, select, update

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.database import Database, folders, items, new_id
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.users import User

_LONGEST_TITLE = 128


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of one user."""

    id: str
    owner: str
    title: str
    created_ms: int


class Folders:
    """The folders of a portal's users."""

    def __init__(self, database: Database, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._clock = clock

    def create(self, owner: User, title: str) -> Folder:
        """Add a folder; raises InputError when the user has one of that title."""
        folder = Folder(new_id(), owner.name, _usable(title), self._clock())
        with self._database.write() as connection:
            _check_free(connection, folder)
            row = {"id": folder.id, "owner": folder.owner, "title": folder.title, "created_ms": folder.created_ms}
            connection.execute(folders.insert().values(row))
        return folder

    def rename(self, folder_id: str, owner: User, title: str) -> Folder:
        """Give a folder another title."""
        folder = replace(self.get(folder_id, owner.name), title=_usable(title))
        with self._database.write() as connection:
            _check_free(connection, folder)
            connection.execute(update(folders).where(folders.c.id == folder.id).values(title=folder.title))
        return folder

    def delete(self, folder: Folder) -> None:
        """Delete an empty folder; raises InputError when there is something in it."""
        with self._database.write() as connection:
            if connection.scalar(select(items.c.id).where(items.c.folder_id == folder.id).limit(1)):
                raise InputError(f"folder {folder.title!r} is not empty")
            connection.execute(delete(folders).where(folders.c.id == folder.id))

    def list(self, owner: str) -> list[Folder]:
        """Return a user's folders by title."""
        wanted = select(folders).where(folders.c.owner == owner).order_by(folders.c.title)
        with self._database.read() as connection:
            return [_folder(row) for row in connection.execute(wanted).mappings()]

    def get(self, folder_id: str, owner: str) -> Folder:
        """Return a user's folder; raises AccessError for an unknown one and for anybody else's."""
        wanted = select(folders).where(folders.c.id == folder_id, folders.c.owner == owner)
        with self._database.read() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            raise AccessError("Folder does not exist or is inaccessible.")
        return _folder(row)


def _usable(title: str) -> str:
    title = title.strip()
    if not 1 <= len(title) <= _LONGEST_TITLE or not title.isprintable():
        raise InputError(f"folder title {title[:80]!r} is not usable; give 1 to {_LONGEST_TITLE} characters")
    return title


def _check_free(connection: Connection, folder: Folder) -> None:
    # The unique index would notice too, but not in words for the user.
    same = select(folders.c.id).where(folders.c.owner == folder.owner, folders.c.title == folder.title)
    if connection.scalar(same.where(folders.c.id != folder.id)):
        raise InputError(f"Folder title {folder.title!r} not available.")


def _folder(row: RowMapping) -> Folder:
    return Folder(row["id"], row["owner"], row["title"], row["created_ms"])
