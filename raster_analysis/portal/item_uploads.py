"""Items whose files come in parts: begun, filled, and items only once they are complete and checked."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from raster_analysis.errors import AccessError
from raster_analysis.portal.arrivals import Arrival, State
from raster_analysis.portal.item import Item, ItemText
from raster_analysis.portal.items import INACCESSIBLE
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.thumbnails import Thumbnail
from raster_analysis.portal.users import User

Status = Literal["partial", "processing", "completed", "failed"]

_STATUS: dict[State, Status] = {
    State.OPEN: "partial",
    State.JOINING: "processing",
    State.DONE: "processing",
    State.FAILED: "failed",
}


class _Draft(BaseModel):
    """What an item was described as when its upload began."""

    model_config = ConfigDict(frozen=True)

    type: str
    folder_id: str | None
    text: dict[str, Any]
    thumbnail: str | None


class ItemUploads:
    """The items of a portal that are on their way in. Nobody can read one before its commit."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def begin(self, draft: Item, owner: User, name: str, *, text: ItemText, thumbnail: Thumbnail | None) -> str:
        """Take an item whose file is to come; return its id."""
        self._portal.check_addable(draft, owner)
        picture = base64.b64encode(thumbnail.data).decode() if thumbnail else None
        kept = _Draft(type=draft.type, folder_id=draft.folder_id, text=text.given(), thumbnail=picture)
        return self._portal.arrivals.open(draft.id, owner, name, kept.model_dump_json()).id

    def add_part(self, item_id: str, user: User, number: int, stream: BinaryIO, *, size: int | None) -> None:
        """Take one part of the file; see `Arrivals.add_part`."""
        if self._pending(item_id, user) is None:
            raise AccessError(INACCESSIBLE)
        self._portal.arrivals.add_part(item_id, user, number, stream, size=size)

    def commit(self, item_id: str, user: User, text: ItemText) -> Item:
        """Make the item; what is said about it now wins over what was said when it began.

        A commit that is sent again finds the item. When the file is refused (parts missing, a package
        with faults) the upload has failed, nothing of it is kept but the reason, and that is raised.
        """
        if self._pending(item_id, user) is None:
            return self._portal.items.get_own(item_id, user)
        with self._portal.arrivals.join(item_id, user) as (arrival, path):
            owner, draft = self._portal.users.get(arrival.owner), _Draft.model_validate_json(arrival.draft)
            words = ItemText.model_validate({**draft.text, **text.given()})
            wanted = self._portal.draft(owner, draft.type, words, draft.folder_id)
            picture = Thumbnail.of(base64.b64decode(draft.thumbnail)) if draft.thumbnail else None
            item = self._portal.add_item(replace(wanted, id=item_id), owner, path, arrival.name, thumbnail=picture)
        self._portal.arrivals.forget(item_id)
        return item

    def status(self, item_id: str, user: User) -> tuple[Status, str]:
        """Return how an item gets on, and why it failed."""
        arrival = self._pending(item_id, user)
        if arrival is None:
            self._portal.items.get_own(item_id, user)
            return "completed", "completed"
        status = _STATUS[arrival.state]
        return status, arrival.message or status

    def delete(self, item_id: str, user: User) -> None:
        """Delete an item, complete or not."""
        if self._pending(item_id, user) is None:
            self._portal.items.delete(item_id, user)
        else:
            self._portal.arrivals.remove(item_id, user)

    def _pending(self, item_id: str, user: User) -> Arrival | None:
        """Return the upload of an item; None when the item is complete, and when there is neither."""
        # Once the item is there, what is left of its upload means nothing.
        if self._portal.items.has(item_id):
            return None
        try:
            arrival = self._portal.arrivals.get(item_id, user)
        except AccessError:
            return None
        return arrival if arrival.draft else None
