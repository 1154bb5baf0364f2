"""Sharing over REST: whom items are for. There are no groups: what is asked for them is told as not done."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from raster_analysis.errors import InputError
from raster_analysis.portal.item import Access
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import LARGEST_PAGE
from raster_analysis.portal.users import User
from raster_analysis.rest.access import Policy
from raster_analysis.rest.content_paths import HOME, ITEM, OWN_ITEMS
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import envelope, refusal_of
from raster_analysis.rest.form import is_true
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.item_form import ids_of


class ItemSharing:
    """Serves the changes of items' access."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        routes = [
            Endpoint(f"{HOME}/shareItems", self.share_items, Policy.PUBLISHER, changes=True),
            Endpoint(f"{HOME}/unshareItems", self.unshare_items, Policy.USER, changes=True),
        ]
        for item in (ITEM, *OWN_ITEMS):
            routes += [
                Endpoint(f"{item}/share", self.share, Policy.PUBLISHER, changes=True),
                Endpoint(f"{item}/unshare", self.unshare, Policy.USER, changes=True),
            ]
        return routes

    def share(self, call: Call) -> Answer:
        """Make an item for everybody, for the users of this portal, or for its owner alone."""
        self._share(call.path["id"], call.user, call.fields)
        return Answer({"itemId": call.path["id"], "notSharedWith": [*_groups(call.fields)]})

    def share_items(self, call: Call) -> Answer:
        """Share several items; each has its own outcome."""
        ids = ids_of(call.fields, most=LARGEST_PAGE)
        return Answer({"results": [self._share_one(item_id, call.user, call.fields) for item_id in ids]})

    def unshare(self, call: Call) -> Answer:
        """Take an item away from groups, none of which has it."""
        self._portal.items.get_own(call.path["id"], call.user)
        return Answer({"itemId": call.path["id"], "notUnsharedFrom": [*_groups(call.fields)]})

    def unshare_items(self, call: Call) -> Answer:
        """Take several items away from groups, none of which has them; each has its own outcome."""
        ids = ids_of(call.fields, most=LARGEST_PAGE)
        return Answer({"results": [self._unshare_one(item_id, call.user, call.fields) for item_id in ids]})

    def _unshare_one(self, item_id: str, user: User, fields: Mapping[str, str]) -> JsonValue:
        try:
            self._portal.items.get_own(item_id, user)
        except InputError as error:
            refusal = refusal_of(error)
            return {"itemId": item_id, "success": False, **envelope(refusal.code, refusal.message)}
        return {"itemId": item_id, "success": True, "notUnsharedFrom": [*_groups(fields)]}

    def _share(self, item_id: str, user: User, fields: Mapping[str, str]) -> None:
        access = _access(fields)
        self._portal.items.get_own(item_id, user)
        if access is not None:
            self._portal.items.change(item_id, user, {"access": access})

    def _share_one(self, item_id: str, user: User, fields: Mapping[str, str]) -> JsonValue:
        try:
            self._share(item_id, user, fields)
        except InputError as error:
            refusal = refusal_of(error)
            return {"itemId": item_id, "success": False, **envelope(refusal.code, refusal.message)}
        return {"itemId": item_id, "success": True, "notSharedWith": [*_groups(fields)]}


def _access(fields: Mapping[str, str]) -> Access | None:
    """Return the access asked for, None for a request that is about groups only."""
    if is_true(fields, "everyone"):
        return Access.PUBLIC
    if is_true(fields, "org"):
        return Access.ORG
    return Access.PRIVATE if fields.get("everyone") or fields.get("org") else None


def _groups(fields: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in fields.get("groups", "").split(",") if name.strip()]
