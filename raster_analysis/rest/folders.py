"""A user's folders over REST: listed, made, renamed, deleted; items moved between them."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.errors import InputError
from raster_analysis.portal.document import item_document
from raster_analysis.portal.folders import Folder
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import LARGEST_PAGE
from raster_analysis.portal.users import User, require_publisher
from raster_analysis.rest.access import Policy
from raster_analysis.rest.content_paths import HOME, OWN_ITEMS
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import envelope, refusal_of
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.item_form import folder_of, ids_of, owner_of


class FolderRoutes:
    """Serves folders."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; `{folder}` takes any word, so that the others come first."""
        folder = f"{HOME}/{{folder}}"
        return [
            Endpoint(f"{HOME}/createFolder", self.create, Policy.PUBLISHER, changes=True),
            Endpoint(f"{HOME}/moveItems", self.move_items, Policy.USER, changes=True),
            *(Endpoint(f"{item}/move", self.move, Policy.USER, changes=True) for item in OWN_ITEMS),
            Endpoint(f"{folder}/delete", self.delete, Policy.USER, changes=True),
            Endpoint(f"{folder}/updateFolder", self.rename, Policy.USER, changes=True),
            Endpoint(HOME, self.show, Policy.USER),
            Endpoint(folder, self.show, Policy.USER),
        ]

    def show(self, call: Call) -> Answer:
        """List a user's folders and the items in one of them, or in none."""
        owner = owner_of(call, self._portal)
        folder = folder_of(call, self._portal, owner)
        start, num = whole_number(call.fields, "start", 1), whole_number(call.fields, "num", LARGEST_PAGE)
        first, count = max(start, 1) - 1, min(max(num, 0), LARGEST_PAGE) if start >= 1 else 0
        window = slice(first, first + count)
        page = self._portal.items.in_folder(owner.name, folder.id if folder else None, call.user, page=window)
        # -1 and not the number after the last: clients ask on until they see it.
        following = first + len(page.items) + 1
        document: dict[str, JsonValue] = {
            "username": owner.name,
            "total": page.total,
            "start": start,
            "num": num,
            "nextStart": following if page.items and following <= page.total else -1,
            "currentFolder": _folder_document(folder) if folder else None,
            "items": [item_document(item, self._portal.base_url) for item in page.items],
            "folders": [_folder_document(each) for each in self._portal.folders.list(owner.name)],
        }
        return Answer(document)

    def create(self, call: Call) -> Answer:
        """Add a folder."""
        owner = owner_of(call, self._portal)
        require_publisher(owner)
        title = call.fields.get("title") or call.fields.get("folderName") or ""
        return Answer({"success": True, "folder": _folder_document(self._portal.folders.create(owner, title))})

    def rename(self, call: Call) -> Answer:
        """Give a folder another title."""
        owner = owner_of(call, self._portal)
        title = call.fields.get("newTitle") or call.fields.get("title") or ""
        folder = self._portal.folders.rename(call.path["folder"], owner, title)
        return Answer({"success": True, "folder": _folder_document(folder)})

    def delete(self, call: Call) -> Answer:
        """Delete a folder with the items in it, or nothing when one of them is protected."""
        owner = owner_of(call, self._portal)
        folder = self._portal.folders.get(call.path["folder"], owner.name)
        self._portal.delete_folder(folder, call.user)
        return Answer({"success": True, "folder": _folder_document(folder)})

    def move(self, call: Call) -> Answer:
        """Put an item into another folder of its owner."""
        return Answer({"success": True, **self._move(call.path["id"], call.user, call.fields.get("folder", ""))})

    def move_items(self, call: Call) -> Answer:
        """Put several items into a folder; each has its own outcome."""
        folder, ids = call.fields.get("folder", ""), ids_of(call.fields, most=LARGEST_PAGE)
        return Answer({"results": [self._move_one(item_id, call.user, folder) for item_id in ids]})

    def _move(self, item_id: str, user: User, folder: str) -> dict[str, JsonValue]:
        """Move an item; `/` and nothing at all are the owner's root."""
        item = self._portal.items.get_own(item_id, user)
        wanted = folder.strip("/ ")
        folder_id = self._portal.folders.get(wanted, item.owner).id if wanted else None
        self._portal.items.change(item_id, user, {"folder_id": folder_id})
        return {"itemId": item_id, "owner": item.owner, "folder": folder_id}

    def _move_one(self, item_id: str, user: User, folder: str) -> JsonValue:
        try:
            return {"success": True, **self._move(item_id, user, folder)}
        except InputError as error:
            refusal = refusal_of(error)
            return {"itemId": item_id, "success": False, **envelope(refusal.code, refusal.message)}


def _folder_document(folder: Folder) -> dict[str, JsonValue]:
    return {"id": folder.id, "title": folder.title, "username": folder.owner, "created": folder.created_ms}
