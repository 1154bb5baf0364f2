"""What belongs to an item besides its data: picture, protection, and the lists that are always empty here."""

from __future__ import annotations

from starlette.responses import Response

from raster_analysis.portal.portal import Portal
from raster_analysis.rest.access import Policy
from raster_analysis.rest.content_paths import ITEM, OWN_ITEMS
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer


class ItemInfo:
    """Serves an item's picture, protection and relations."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        routes = [
            Endpoint(f"{ITEM}/info/thumbnail/{{name}}", self.thumbnail, Policy.ANYONE),
            Endpoint(f"{ITEM}/relatedItems", self.related, Policy.ANYONE),
            Endpoint(f"{ITEM}/groups", self.groups, Policy.ANYONE),
            Endpoint(f"{ITEM}/resources", self.resources, Policy.ANYONE),
        ]
        for item in OWN_ITEMS:
            routes += [
                Endpoint(f"{item}/deleteThumbnail", self.delete_thumbnail, Policy.USER, changes=True),
                Endpoint(f"{item}/protect", self.protect, Policy.USER, changes=True),
                Endpoint(f"{item}/unprotect", self.unprotect, Policy.USER, changes=True),
            ]
        return routes

    def thumbnail(self, call: Call) -> Response:
        """Send an item's picture, as what it was found to be when it came."""
        item = self._portal.items.get(call.path["id"], call.visitor)
        thumbnail = self._portal.thumbnails.get(item)
        headers = {"Cache-Control": "private, no-cache"}
        return Response(thumbnail.data, media_type=f"image/{thumbnail.kind}", headers=headers)

    def delete_thumbnail(self, call: Call) -> Answer:
        """Take the picture away."""
        self._portal.thumbnails.drop(call.path["id"], call.user)
        return Answer({"success": True, "itemId": call.path["id"]})

    def protect(self, call: Call) -> Answer:
        """Keep an item from being deleted."""
        return self._set_protection(call, protected=True)

    def unprotect(self, call: Call) -> Answer:
        """Let an item be deleted again."""
        return self._set_protection(call, protected=False)

    def related(self, call: Call) -> Answer:
        """List related items: there are none."""
        self._portal.items.get(call.path["id"], call.visitor)
        return Answer({"total": 0, "start": 1, "num": 0, "nextStart": -1, "relatedItems": []})

    def groups(self, call: Call) -> Answer:
        """List the groups that an item is shared with: there are none."""
        self._portal.items.get(call.path["id"], call.visitor)
        return Answer({"admin": [], "member": [], "other": []})

    def resources(self, call: Call) -> Answer:
        """List an item's resource files: there are none."""
        self._portal.items.get(call.path["id"], call.visitor)
        return Answer({"total": 0, "start": 1, "num": 0, "nextStart": -1, "resources": []})

    def _set_protection(self, call: Call, *, protected: bool) -> Answer:
        self._portal.items.change(call.path["id"], call.user, {"protected": protected})
        return Answer({"success": True})
