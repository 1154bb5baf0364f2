"""Installations: packages that were proved to run here, and that users want to stay unpacked."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, select

from raster_analysis.errors import InputError
from raster_analysis.portal.database import Database, installations, items
from raster_analysis.portal.item import PACKAGE_TYPE, Item
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.references import Reference, References
from raster_analysis.portal.users import User

logger = logging.getLogger(__name__)


class Installations:
    """Which model items are installed, with what content, and by whom. An installation goes with its item."""

    def __init__(self, database: Database, references: References, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._references = references
        self._clock = clock

    def install(self, reference: Reference, user: User, *, digest: str) -> Item:
        """Record that content of this digest runs here; once more changes nothing. Raises InputError.

        The item must still hold the content that was proved, and be readable for the user.
        """
        item = self._find(reference, user)
        if item.package_digest != digest:
            raise InputError(f"item {item.title!r} was given another file while it was installed; install it again")
        row = {"item_id": item.id, "user": user.name, "digest": digest, "created_ms": self._clock()}
        with self._database.write() as connection:
            connection.execute(installations.delete().where(*_of(item.id, user)))
            connection.execute(installations.insert().values(row))
        logger.info("user %s installed item %s", user.name, item.id)
        return item

    def find_id(self, reference: Reference, user: User) -> str:
        """Return the id of the item that a reference names; raises InputError.

        One given by id needs not be readable any more: what is removed is the user's own installation.
        """
        return reference.item_id or self._find(reference, user).id

    def remove(self, connection: Connection, item_id: str, user: User) -> None:
        """Forget a user's own installation of an item, or for an administrator everybody's.

        The unpacked copy goes at the next start of the server, when no item, no job and no other
        installation has its content: a job that is just being bound might run from it.
        """
        own = installations.c.user == user.name
        whose: tuple[ColumnElement[bool], ...] = () if user.is_administrator else (own,)
        removed = connection.execute(installations.delete().where(installations.c.item_id == item_id, *whose))
        if not removed.rowcount:
            whom = "anybody" if user.is_administrator else f"user {user.name!r}"
            raise InputError(f"model {item_id[:64]!r} is not installed by {whom}; there is nothing to uninstall")
        logger.info("user %s uninstalled item %s", user.name, item_id)

    def is_installed(self, item: Item) -> bool:
        """Tell whether anybody installed the content that an item has now."""
        return item.id in self.installed([item.id])

    def installed(self, item_ids: list[str]) -> set[str]:
        """Return those of the items whose present content is installed."""
        wanted = select(items.c.id).join(installations, installations.c.item_id == items.c.id)
        wanted = wanted.where(items.c.id.in_(item_ids), items.c.package_digest == installations.c.digest)
        with self._database.read() as connection:
            return set(connection.scalars(wanted))

    def digests(self) -> set[str]:
        """Return the digests of all that is installed: their copies are kept."""
        with self._database.read() as connection:
            return set(connection.scalars(select(installations.c.digest)))

    def _find(self, reference: Reference, user: User) -> Item:
        found: Item | Path = self._references.find(reference, user)
        if not isinstance(found, Item) or found.type != PACKAGE_TYPE:
            named = f"item {found.title!r} has type {found.type}" if isinstance(found, Item) else "a file is no item"
            raise InputError(f"{named}; name an item of type {PACKAGE_TYPE}")
        return found


def location_of(item: Item, definition: str) -> str:
    """Return where an installed model is, in the words in which clients expect it (contract 8.1)."""
    return rf"[resources]models\raster\{item.id}\{definition}"


def _of(item_id: str, user: User) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return installations.c.item_id == item_id, installations.c.user == user.name
