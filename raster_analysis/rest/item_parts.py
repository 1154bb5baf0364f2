"""Items in parts over REST: addPart, commit and status (contract 4.1)."""

from __future__ import annotations

from raster_analysis.portal.item_uploads import ItemUploads
from raster_analysis.portal.portal import Portal
from raster_analysis.rest.access import Policy
from raster_analysis.rest.content_paths import OWN_ITEMS
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.item_form import item_text


class ItemParts:
    """Serves uploads of items whose files are too large for one request."""

    def __init__(self, portal: Portal, uploads: ItemUploads) -> None:
        self._portal = portal
        self._uploads = uploads

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        limit, routes = self._portal.uploads.limit, []
        for item in OWN_ITEMS:
            routes += [
                Endpoint(f"{item}/addPart", self.add_part, Policy.PUBLISHER, changes=True, limit=limit),
                Endpoint(f"{item}/commit", self.commit, Policy.PUBLISHER, changes=True),
                Endpoint(f"{item}/status", self.status, Policy.USER),
            ]
        return routes

    def add_part(self, call: Call) -> Answer:
        """Take one part, in any order; its number comes in the query or as a field of the form."""
        upload = call.files.get("file")
        if upload is None:
            raise Refusal(400, "The part is missing; send it as the multipart field file.")
        number = whole_number(call.fields, "partNum", -1)
        size = whole_number(call.fields, "size", -1)
        announced = size if size >= 0 else None
        self._uploads.add_part(call.path["id"], call.user, number, upload.file, size=announced)
        return Answer({"success": True, "partNum": number})

    def commit(self, call: Call) -> Answer:
        """Make the item of its parts; what a package lacks is told here, and `status` says it again."""
        item = self._uploads.commit(call.path["id"], call.user, item_text(call.fields))
        return Answer({"success": True, "id": item.id, "itemId": item.id})

    def status(self, call: Call) -> Answer:
        """Tell how an item gets on; asked after addItem and after commit (contract 4.1)."""
        status, message = self._uploads.status(call.path["id"], call.user)
        return Answer({"status": status, "statusMessage": message, "itemId": call.path["id"]})
