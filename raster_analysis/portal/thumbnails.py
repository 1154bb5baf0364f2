"""Thumbnails: the small picture of an item. Only what is a picture by its content is kept."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.database import Database, items, thumbnails
from raster_analysis.portal.item import Item, changeable_by
from raster_analysis.portal.items import find
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.users import User

LARGEST = 1024 * 1024
"""Bytes of one thumbnail, as on other portals."""
# SVG and HTML would run as part of this site; they are no pictures here, whatever they are called (A15).
_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture and what it is."""

    data: bytes
    kind: str
    """`png`, `jpeg` or `gif`, found by the first bytes."""

    @classmethod
    def of(cls, data: bytes) -> Thumbnail:
        """Return the thumbnail that some bytes are; raises InputError for anything but a small picture."""
        if len(data) > LARGEST:
            raise InputError(f"the thumbnail has more than {LARGEST:,} bytes; send a smaller one")
        kind = next((kind for magic, kind in _KINDS if data.startswith(magic)), None)
        if kind is None:
            raise InputError("the thumbnail is no PNG, JPEG or GIF; send one of these")
        return cls(data, kind)

    @property
    def path(self) -> str:
        """Return where it is read below the item's `info`."""
        return f"thumbnail/thumbnail.{self.kind}"


class Thumbnails:
    """The thumbnails of a portal's items."""

    def __init__(self, database: Database, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._clock = clock

    def keep(self, item_id: str, user: User, thumbnail: Thumbnail) -> None:
        """Give an item that the user may change another picture."""
        values = {"media_type": f"image/{thumbnail.kind}", "data": thumbnail.data}
        row = insert(thumbnails).values(item_id=item_id, **values)
        with self._database.write() as connection:
            find(connection, item_id, changeable_by(user))
            connection.execute(row.on_conflict_do_update(index_elements=["item_id"], set_=values))
            changed = update(items).where(items.c.id == item_id)
            connection.execute(changed.values(thumbnail=thumbnail.path, modified_ms=self._clock()))

    def drop(self, item_id: str, user: User) -> None:
        """Take an item's picture away."""
        with self._database.write() as connection:
            find(connection, item_id, changeable_by(user))
            connection.execute(delete(thumbnails).where(thumbnails.c.item_id == item_id))
            connection.execute(update(items).where(items.c.id == item_id).values(thumbnail=None))

    def get(self, item: Item) -> Thumbnail:
        """Return the picture of an item that was read with its user's rights; raises AccessError for none."""
        with self._database.read() as connection:
            data = connection.scalar(select(thumbnails.c.data).where(thumbnails.c.item_id == item.id))
        if data is None:
            raise AccessError("Item has no thumbnail.")
        return Thumbnail.of(data)
