"""The portal's content over REST: items, their files, folders, and services made before their jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.document import absolute_url, item_document
from raster_analysis.portal.folders import Folder
from raster_analysis.portal.item import Item, ItemText, safe_name
from raster_analysis.portal.items import INACCESSIBLE
from raster_analysis.portal.portal import Portal, require_publisher
from raster_analysis.portal.search import LARGEST_PAGE
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal, envelope, refusal_of
from raster_analysis.rest.form import is_true, whole_number
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.urls import SHARING

_CONTENT = f"{SHARING}/rest/content"
_KINDS = {"featureservice": ServiceKind.FEATURES, "imageservice": ServiceKind.IMAGERY}
_LONGEST_TYPE = 64


class Content:
    """Serves items and folders."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; those of a user exist with and without a folder in the path."""
        limit = self._portal.uploads.limit
        root = f"{_CONTENT}/users/{{user}}"
        routes = [
            Endpoint(f"{_CONTENT}/items/{{id}}", self.item, Policy.ANYONE),
            Endpoint(f"{_CONTENT}/items/{{id}}/data", self.data, Policy.ANYONE),
            Endpoint(f"{root}/createFolder", self.create_folder, Policy.USER, changes=True),
            Endpoint(f"{root}/deleteItems", self.delete_items, Policy.USER, changes=True),
        ]
        for place in (root, f"{root}/{{folder}}"):
            item = f"{place}/items/{{id}}"
            # Clients put the folder into the path once an item lies in one (contract 4.2).
            routes += [
                Endpoint(f"{place}/createService", self.create_service, Policy.USER, changes=True),
                Endpoint(f"{place}/addItem", self.add_item, Policy.USER, changes=True, limit=limit),
                Endpoint(item, self.item, Policy.USER),
                Endpoint(f"{item}/update", self.update, Policy.USER, changes=True, limit=limit),
                Endpoint(f"{item}/delete", self.delete, Policy.USER, changes=True),
                Endpoint(f"{item}/canDelete", self.can_delete, Policy.USER),
                Endpoint(f"{item}/status", self.status, Policy.USER),
            ]
        return [
            *routes,
            Endpoint(root, self.folder, Policy.USER),
            Endpoint(f"{root}/{{folder}}", self.folder, Policy.USER),
        ]

    def item(self, call: Call) -> Answer:
        """Describe an item."""
        item = self._portal.items.get(call.path["id"], call.visitor)
        return Answer(item_document(item, self._portal.base_url))

    def data(self, call: Call) -> Answer | Response:
        """Send an item's file, always as an attachment.

        The data of a service read with f=json is an empty object: clients look for layer settings
        there, and must not be sent the whole result instead (contract 4.2).
        """
        item = self._portal.items.get(call.path["id"], call.visitor)
        path = self._portal.items.data_path(item)
        if path is None or (item.url and call.format is not Format.HTML):
            return Answer({})
        return _attachment(item, path)

    def folder(self, call: Call) -> Answer:
        """List a user's folders and the items in one of them, or in none."""
        owner = self._owner(call)
        folder = self._folder(call, owner)
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

    def create_folder(self, call: Call) -> Answer:
        """Add a folder."""
        owner = self._owner(call)
        require_publisher(owner)
        title = call.fields.get("title") or call.fields.get("folderName") or ""
        return Answer({"success": True, "folder": _folder_document(self._portal.folders.create(owner, title))})

    def create_service(self, call: Call) -> Answer:
        """Add an empty service that a job will fill (contract 4.4)."""
        owner = self._owner(call)
        require_publisher(owner)
        kind = _KINDS.get(call.fields.get("outputType", "").lower())
        if kind is None:
            raise Refusal(400, f"outputType {call.fields.get('outputType')!r} is not featureService or imageService.")
        service = ServiceName(kind, _service_name(call.fields.get("createParameters", "")))
        folder = self._folder(call, owner)
        text = _item_text({**call.fields, "title": call.fields.get("title") or service.name})
        draft = self._portal.draft(owner, kind.item_type, text, folder.id if folder else None)
        item = self._portal.services.create(service, owner, draft)
        url = absolute_url(item, self._portal.base_url)
        return Answer(
            {
                "success": True,
                "itemId": item.id,
                "serviceItemId": item.id,
                "serviceurl": url,
                "encodedServiceURL": url,
                "name": item.name,
                "type": item.type,
                "isView": False,
                "size": -1,
            }
        )

    def add_item(self, call: Call) -> Answer:
        """Add an item with its file; packages are checked first. Owner and access are never taken from the form."""
        owner = self._owner(call)
        kind = call.fields.get("type", "").strip()
        if not kind or len(kind) > _LONGEST_TYPE or not kind.isprintable():
            raise Refusal(400, f"Item type {kind[:80]!r} is not usable; give 1 to {_LONGEST_TYPE} characters.")
        if is_true(call.fields, "multipart"):
            raise Refusal(400, "Uploads in parts are not supported; send the file with addItem (stream=False).")
        upload = call.files.get("file")
        title = call.fields.get("title") or (Path(upload.filename or "").stem if upload else "") or "Untitled"
        folder = self._folder(call, owner)
        text = _item_text({**call.fields, "title": title})
        draft = self._portal.draft(owner, kind, text, folder.id if folder else None)
        item = self._add(draft, owner, upload)
        return Answer({"success": True, "id": item.id, "folder": item.folder_id or ""})

    def update(self, call: Call) -> Answer:
        """Change what an item says about itself, its file, or both; its id stays."""
        portal, item_id = self._portal, call.path["id"]
        changes = _item_text(call.fields).given()
        upload = call.files.get("file")
        # Asked before gigabytes are copied for somebody who may not; asked again when the row is written.
        portal.items.get_own(item_id, call.user)
        if upload is not None:
            with portal.uploads.receive(upload.file) as path:
                portal.replace_file(item_id, call.user, path, upload.filename or "")
        portal.items.change(item_id, call.user, changes)
        return Answer({"success": True, "id": item_id})

    def delete(self, call: Call) -> Answer:
        """Delete an item."""
        self._portal.items.delete(call.path["id"], call.user)
        return Answer({"success": True, "itemId": call.path["id"]})

    def delete_items(self, call: Call) -> Answer:
        """Delete several items; each has its own outcome."""
        ids = [text.strip() for text in call.fields.get("items", "").split(",") if text.strip()]
        return Answer({"results": [self._delete_one(item_id, call.user) for item_id in ids[:LARGEST_PAGE]]})

    def can_delete(self, call: Call) -> Answer:
        """Tell whether the caller may delete an item."""
        self._portal.items.get_own(call.path["id"], call.user)
        return Answer({"success": True, "itemId": call.path["id"]})

    def status(self, call: Call) -> Answer:
        """Tell that an item is complete: there are no others."""
        item = self._portal.items.get_own(call.path["id"], call.user)
        return Answer({"status": "completed", "statusMessage": "completed", "itemId": item.id})

    def _add(self, draft: Item, owner: User, upload: UploadFile | None) -> Item:
        if upload is None:
            return self._portal.add_item(draft, owner, None)
        # Before the file is copied: what a viewer sends is not kept for a moment.
        require_publisher(owner)
        with self._portal.uploads.receive(upload.file) as path:
            return self._portal.add_item(draft, owner, path, upload.filename or "")

    def _delete_one(self, item_id: str, user: User) -> JsonValue:
        try:
            self._portal.items.delete(item_id, user)
        except InputError as error:
            refusal = refusal_of(error)
            return {"itemId": item_id, "success": False, **envelope(refusal.code, refusal.message)}
        return {"itemId": item_id, "success": True}

    def _owner(self, call: Call) -> User:
        """Return the user in the path: the caller, or anybody for an administrator."""
        if call.path["user"].casefold() == call.user.name.casefold():
            return call.user
        if not call.user.is_administrator:
            raise AccessError("User does not exist or is inaccessible.")
        return self._portal.users.get(call.path["user"])

    def _folder(self, call: Call, owner: User) -> Folder | None:
        folder_id = call.path.get("folder")
        return self._portal.folders.get(folder_id, owner.name) if folder_id else None


def _attachment(item: Item, path: Path) -> FileResponse:
    try:
        stat = path.stat()
    except FileNotFoundError:  # replaced or deleted since the row was read
        raise AccessError(INACCESSIBLE) from None
    name = safe_name(f"{item.name}{path.suffix}" if item.url else item.name or item.title)
    return FileResponse(
        path,
        stat_result=stat,
        filename=name,
        # Never the type that the content claims: an SVG or HTML file would run as part of this site (A15).
        media_type="application/octet-stream",
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"},
    )


def _folder_document(folder: Folder) -> dict[str, JsonValue]:
    return {"id": folder.id, "title": folder.title, "username": folder.owner, "created": folder.created_ms}


def _item_text(fields: Mapping[str, str]) -> ItemText:
    """Return what a form says about an item; an empty field is no change unless `clearEmptyFields` says so."""
    clear = is_true(fields, "clearEmptyFields")
    given: dict[str, str | None] = {}
    for name in ItemText.model_fields:
        if fields.get(name):
            given[name] = fields[name]
        elif clear and name in fields and name != "title":
            given[name] = "" if name == "tags" else None
    try:
        return ItemText.model_validate(given)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise Refusal(400, "The item's description cannot be used.", faults) from None


def _service_name(create_parameters: str) -> str:
    try:
        parsed = json.loads(create_parameters)
    except (ValueError, RecursionError):
        parsed = None
    name = parsed.get("name") if isinstance(parsed, dict) else None
    if not isinstance(name, str):
        raise Refusal(400, "createParameters must be a JSON object with the service's name.")
    return name
