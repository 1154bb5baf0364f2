"""Items: rows with rights, and a data file each."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, select, update

from raster_analysis.errors import AccessError, InputError, StoreError
from raster_analysis.portal.database import Database, items, new_id
from raster_analysis.portal.item import Access, Item, changeable_by, readable_by, safe_name
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.quota import Quota
from raster_analysis.portal.storage import Storage
from raster_analysis.portal.users import User

logger = logging.getLogger(__name__)

INACCESSIBLE = "Item does not exist or is inaccessible."
_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was put in its place for an item that may not be in the table yet."""

    item_id: str
    file: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of items."""

    items: tuple[Item, ...]
    total: int


class Items:
    """The items of a portal. Every reading asks who reads; missing and forbidden are the same answer."""

    def __init__(self, database: Database, storage: Storage, quota: Quota, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._storage = storage
        self.quota = quota
        self._clock = clock

    def draft(self, owner: str, type: str, title: str) -> Item:
        """Return a new private item that is in no table yet."""
        now = self._clock()
        return Item(
            id=new_id(),
            owner=owner,
            folder_id=None,
            type=type,
            title=title,
            name=None,
            tags=(),
            snippet=None,
            description=None,
            properties=None,
            access=Access.PRIVATE,
            url=None,
            size=0,
            created_ms=now,
            modified_ms=now,
            data_file=None,
            package_digest=None,
        )

    def place(self, item_id: str, source: Path, name: str) -> DataFile:
        """Store a data file beside the present one, so that open downloads go on; `attach` makes it count."""
        name = safe_name(name)
        suffix = Path(name).suffix
        file = f"{secrets.token_hex(8)}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        # The suffix stays: readers and people tell formats by it. The rest of the name is ours.
        return DataFile(item_id, file, name, self._storage.put(_key(item_id, file), source))

    def insert(self, connection: Connection, item: Item, data: DataFile | None = None) -> Item:
        """Add a draft to the table, with its data file when it has one."""
        item = attach(item, data) if data else item
        connection.execute(items.insert().values(item.row()))
        return item

    def save(self, connection: Connection, item: Item, data: DataFile | None = None) -> Item:
        """Write an item that was changed, with its new data file when it has one."""
        item = replace(attach(item, data) if data else item, modified_ms=self._clock())
        connection.execute(update(items).where(items.c.id == item.id).values(item.row()))
        return item

    def add(self, item: Item, data: DataFile | None = None) -> Item:
        """Add a draft in a transaction of its own; raises InputError when its id is taken."""
        with self._database.write() as connection:
            # Clients may choose the id (contract 4.1 c).
            if connection.scalar(select(items.c.id).where(items.c.id == item.id)):
                raise id_taken(item.id)
            added = self.insert(connection, item, data)
            # Two uploads at a time may each have found room; of their rows one is the second.
            self.quota.check_written(connection, item.owner, without=item.id)
            return added

    def get(self, item_id: str, user: User | None) -> Item:
        """Return an item; raises AccessError when it is missing or not for this user."""
        with self._database.read() as connection:
            return find(connection, item_id, readable_by(user))

    def has(self, item_id: str) -> bool:
        """Tell whether an id is taken, whoever has it."""
        with self._database.read() as connection:
            return connection.scalar(select(items.c.id).where(items.c.id == item_id)) is not None

    def get_own(self, item_id: str, user: User) -> Item:
        """Return an item that the user may change; raises AccessError otherwise."""
        with self._database.read() as connection:
            return find(connection, item_id, changeable_by(user))

    def change(self, item_id: str, user: User, changes: Mapping[str, object]) -> Item:
        """Change named fields of an item that the user may change."""
        with self._database.write() as connection:
            item = replace(find(connection, item_id, changeable_by(user)), **changes)  # type: ignore[arg-type]
            return self.save(connection, item)

    def replace_data(self, item_id: str, user: User, data: DataFile, package_digest: str | None = None) -> Item:
        """Give an item another data file; the id stays."""
        with self._database.write() as connection:
            before = find(connection, item_id, changeable_by(user))
            item = self.save(connection, replace(before, package_digest=package_digest), data)
            self.quota.check_written(connection, item.owner)
        # After the commit: until then the row names the old file.
        self.drop_data(before)
        return item

    def delete(self, item_id: str, user: User) -> None:
        """Delete an item that the user may change, and its data; raises InputError for a protected one."""
        with self._database.write() as connection:
            item = deletable(find(connection, item_id, changeable_by(user)))
            connection.execute(items.delete().where(items.c.id == item.id))
        self.drop_data(item)

    def data_path(self, item: Item) -> Path | None:
        """Return the data file, on this machine, of an item that was read with its user's rights.

        It may have to be fetched first. Open it within a minute, or link it: a copy may be evicted.
        """
        return self._storage.local(_key(item.id, item.data_file)) if item.data_file else None

    def read_data(self, item: Item, start: int, stop: int) -> Iterator[bytes]:
        """Give some bytes of an item's data file, wherever it lies; raises AccessError when it is gone."""
        return self._storage.read(_key(item.id, item.data_file or ""), start, stop)

    def drop_data(self, item: Item) -> None:
        """Remove the data file that an item had."""
        if item.data_file:
            self._remove(_key(item.id, item.data_file))

    def discard(self, data: DataFile) -> None:
        """Remove a data file that was placed and is not wanted after all."""
        self._remove(_key(data.item_id, data.file))

    def _remove(self, key: str) -> None:
        try:
            self._storage.remove(key)
        except (StoreError, OSError) as error:
            # The row is gone or names another file: nobody waits for this one, and the next start sweeps it.
            logger.warning("file %s stays until the next start: %s", key, error)

    def select(
        self, user: User | None, *conditions: ColumnElement[bool], page: slice, order: ColumnElement[object]
    ) -> Page:
        """Return the readable items among those that meet all conditions, `page` of them, and the total count."""
        wanted = [readable_by(user), *conditions]
        listed = (
            select(items).where(*wanted).order_by(order, items.c.id).offset(page.start).limit(page.stop - page.start)
        )
        with self._database.read() as connection:
            total = connection.scalar(select(func.count()).select_from(items).where(*wanted)) or 0
            return Page(tuple(Item.of(row) for row in connection.execute(listed).mappings()), total)

    def in_folder(self, owner: str, folder_id: str | None, user: User, *, page: slice) -> Page:
        """Return the readable items of an owner in one folder, or in none, by title."""
        return self.select(
            user, items.c.owner == owner, items.c.folder_id == folder_id, page=page, order=items.c.title_key.asc()
        )

    def all_in_folder(self, folder_id: str) -> list[Item]:
        """Return every item in a folder whose owner was asked about already."""
        with self._database.read() as connection:
            rows = connection.execute(select(items).where(items.c.folder_id == folder_id)).mappings()
            return [Item.of(row) for row in rows]

    def package_digests(self) -> set[str]:
        """Return the digests of all packages that are items."""
        wanted = select(items.c.package_digest).where(items.c.package_digest.is_not(None))
        with self._database.read() as connection:
            return set(connection.scalars(wanted))

    def sweep(self) -> None:
        """Remove files that no item knows: what a crash left between a file and its row. Only before serving."""
        with self._database.read() as connection:
            rows = connection.execute(select(items.c.id, items.c.data_file).where(items.c.data_file.is_not(None)))
            known = {_key(row.id, row.data_file) for row in rows}
        # All keys first: a list that is read on while files are removed may leave some out.
        for key in [key for key in self._storage.all_keys() if key not in known]:
            self._storage.remove(key)


def _key(item_id: str, file: str) -> str:
    return f"{item_id}/{file}"


def find(connection: Connection, item_id: str, right: ColumnElement[bool]) -> Item:
    """Return an item that meets a right; raises AccessError, the same for missing and forbidden."""
    wanted = select(items).where(items.c.id == item_id, right)
    row = connection.execute(wanted).mappings().first() if _ID.fullmatch(item_id) else None
    if row is None:
        raise AccessError(INACCESSIBLE)
    return Item.of(row)


def deletable(item: Item) -> Item:
    """Return the item; raises InputError when it is protected."""
    if item.protected:
        raise InputError(f"Unable to delete item {item.id}. Delete protection is turned on; unprotect the item first.")
    return item


def id_taken(item_id: str) -> InputError:
    """Return the error of an id that another item or upload has."""
    return InputError(f"item id {item_id} is taken; choose another, or leave itemIdToCreate out")


def attach(item: Item, data: DataFile) -> Item:
    """Return an item with a data file that was placed for it; a service keeps its name."""
    name = item.name if item.url else data.name
    return replace(item, data_file=data.file, name=name, size=data.size)
