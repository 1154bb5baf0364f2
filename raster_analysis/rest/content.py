"""The portal's items over REST: described, downloaded, added, changed and deleted; services made before their jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.errors import InputError
from raster_analysis.portal.document import absolute_url, item_document
from raster_analysis.portal.item_uploads import ItemUploads
from raster_analysis.portal.items import deletable
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import LARGEST_PAGE
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User, require_publisher
from raster_analysis.rest.access import Policy
from raster_analysis.rest.attachment import attachment
from raster_analysis.rest.content_paths import HOME, ITEM, OWN_ITEMS, PLACES
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal, envelope, refusal_of
from raster_analysis.rest.folders import FolderRoutes
from raster_analysis.rest.form import is_true
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.item_form import (
    chosen_id,
    folder_of,
    ids_of,
    item_text,
    item_type,
    owner_of,
    received,
    thumbnail_of,
)
from raster_analysis.rest.item_info import ItemInfo
from raster_analysis.rest.item_parts import ItemParts
from raster_analysis.rest.item_sharing import ItemSharing

_KINDS = {"featureservice": ServiceKind.FEATURES, "imageservice": ServiceKind.IMAGERY}


def content_endpoints(portal: Portal) -> list[Endpoint]:
    """Return every route of the portal's content; those that name a folder last, because it may have any name."""
    uploads = ItemUploads(portal)
    routes = (ItemParts(portal, uploads), ItemSharing(portal), ItemInfo(portal), Content(portal, uploads))
    return [endpoint for each in (*routes, FolderRoutes(portal)) for endpoint in each.endpoints()]


class Content:
    """Serves items."""

    def __init__(self, portal: Portal, uploads: ItemUploads) -> None:
        self._portal = portal
        self._uploads = uploads

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        limit = self._portal.uploads.limit
        routes = [
            Endpoint(ITEM, self.item, Policy.ANYONE),
            Endpoint(f"{ITEM}/data", self.data, Policy.ANYONE),
            Endpoint(f"{HOME}/deleteItems", self.delete_items, Policy.USER, changes=True),
        ]
        for place in PLACES:
            routes += [
                Endpoint(f"{place}/createService", self.create_service, Policy.PUBLISHER, changes=True),
                Endpoint(f"{place}/addItem", self.add_item, Policy.PUBLISHER, changes=True, limit=limit),
            ]
        for item in OWN_ITEMS:
            routes += [
                Endpoint(item, self.own_item, Policy.USER),
                Endpoint(f"{item}/update", self.update, Policy.USER, changes=True, limit=limit),
                Endpoint(f"{item}/delete", self.delete, Policy.USER, changes=True),
                Endpoint(f"{item}/canDelete", self.can_delete, Policy.USER),
            ]
        return routes

    def item(self, call: Call) -> Answer:
        """Describe an item."""
        item = self._portal.items.get(call.path["id"], call.visitor)
        return Answer(item_document(item, self._portal.base_url))

    def own_item(self, call: Call) -> Answer:
        """Describe an item to somebody who may find it in a user's content, its sharing too."""
        item = self._portal.items.get(call.path["id"], call.user)
        document = item_document(item, self._portal.base_url)
        return Answer({**document, "item": document, "sharing": {"access": item.access.value, "groups": []}})

    def data(self, call: Call) -> Answer | Response:
        """Send an item's file, always as an attachment.

        The data of a service read with f=json is an empty object: clients look for layer settings
        there, and must not be sent the whole result instead (contract 4.2).
        """
        item = self._portal.items.get(call.path["id"], call.visitor)
        if item.data_file is None or (item.url and call.format is not Format.HTML):
            return Answer({})
        return attachment(call.request, item, partial(self._portal.items.read_data, item))

    def create_service(self, call: Call) -> Answer:
        """Add an empty service that a job will fill (contract 4.4)."""
        owner = owner_of(call, self._portal)
        require_publisher(owner)
        kind = _KINDS.get(call.fields.get("outputType", "").lower())
        if kind is None:
            raise Refusal(400, f"outputType {call.fields.get('outputType')!r} is not featureService or imageService.")
        service = ServiceName(kind, _service_name(call.fields.get("createParameters", "")))
        folder = folder_of(call, self._portal, owner)
        text = item_text({**call.fields, "title": call.fields.get("title") or service.name})
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
        """Add an item with its file, or begin one whose file comes in parts; packages are checked first.

        Owner and access are never taken from the form.
        """
        owner = owner_of(call, self._portal)
        kind, in_parts, upload = item_type(call.fields), is_true(call.fields, "multipart"), call.files.get("file")
        name = (upload.filename if upload else call.fields.get("fileName")) or ""
        folder = folder_of(call, self._portal, owner)
        text = item_text({**call.fields, "title": call.fields.get("title") or Path(name).stem or "Untitled"})
        draft = self._portal.draft(owner, kind, text, folder.id if folder else None)
        draft = replace(draft, id=chosen_id(call.fields) or draft.id)
        thumbnail = thumbnail_of(call)
        # Before the file is copied: what a viewer sends is not kept for a moment.
        self._portal.check_addable(draft, owner)
        if in_parts:
            self._uploads.begin(draft, owner, name, text=text, thumbnail=thumbnail)
        elif upload is None:
            self._portal.add_item(draft, owner, None, thumbnail=thumbnail)
        else:
            with received(self._portal, upload) as (path, _):
                self._portal.add_item(draft, owner, path, name, thumbnail=thumbnail)
        return Answer({"success": True, "id": draft.id, "itemId": draft.id, "folder": draft.folder_id or ""})

    def update(self, call: Call) -> Answer:
        """Change what an item says about itself, its file, its picture, or all of it; its id stays."""
        portal, item_id = self._portal, call.path["id"]
        changes, thumbnail = item_text(call.fields).given(), thumbnail_of(call)
        upload = call.files.get("file")
        # Asked before gigabytes are copied for somebody who may not; asked again when the row is written.
        portal.items.get_own(item_id, call.user)
        if upload is not None:
            with received(portal, upload) as (path, name):
                portal.replace_file(item_id, call.user, path, name)
        portal.items.change(item_id, call.user, changes)
        if thumbnail:
            portal.thumbnails.keep(item_id, call.user, thumbnail)
        return Answer({"success": True, "id": item_id})

    def delete(self, call: Call) -> Answer:
        """Delete an item. `force` is accepted: nothing here hangs on an item, and it lifts no protection."""
        self._uploads.delete(call.path["id"], call.user)
        return Answer({"success": True, "itemId": call.path["id"]})

    def delete_items(self, call: Call) -> Answer:
        """Delete several items; each has its own outcome."""
        return Answer({"results": [self._delete_one(item_id, call.user) for item_id in _ids(call)]})

    def can_delete(self, call: Call) -> Answer:
        """Tell whether the caller may delete an item; clients read `success` and no error here (contract 4.2)."""
        item_id = call.path["id"]
        try:
            deletable(self._portal.items.get_own(item_id, call.user))
        except InputError as error:
            refusal = refusal_of(error)
            return Answer({"success": False, "itemId": item_id, **envelope(refusal.code, refusal.message)})
        return Answer({"success": True, "itemId": item_id})

    def _delete_one(self, item_id: str, user: User) -> JsonValue:
        try:
            self._uploads.delete(item_id, user)
        except InputError as error:
            refusal = refusal_of(error)
            return {"itemId": item_id, "success": False, **envelope(refusal.code, refusal.message)}
        return {"itemId": item_id, "success": True}


def _ids(call: Call) -> list[str]:
    return ids_of(call.fields, most=LARGEST_PAGE)


def _service_name(create_parameters: str) -> str:
    try:
        parsed = json.loads(create_parameters)
    except (ValueError, RecursionError):
        parsed = None
    name = parsed.get("name") if isinstance(parsed, dict) else None
    if not isinstance(name, str):
        raise Refusal(400, "createParameters must be a JSON object with the service's name.")
    return name
