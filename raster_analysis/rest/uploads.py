"""The toolbox's uploads over REST: files for jobs, in one piece or in parts (contract 5.6)."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.portal.arrivals import Arrival, State
from raster_analysis.portal.input_uploads import InputUploads
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.multipart import UploadedFile
from raster_analysis.rest.urls import TOOLBOX

_ROOT = f"{TOOLBOX}/uploads"


class UploadRoutes:
    """Serves uploads. They are seen by their owner alone, and by administrators."""

    def __init__(self, uploads: InputUploads, limit: int) -> None:
        self._uploads = uploads
        self._limit = limit

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; they stand before the tasks, one of which might have any name."""
        upload, limit = f"{_ROOT}/{{id}}", self._limit
        return [
            Endpoint(_ROOT, self.root, Policy.USER),
            Endpoint(f"{_ROOT}/upload", self.upload, Policy.PUBLISHER, changes=True, limit=limit),
            Endpoint(f"{_ROOT}/register", self.register, Policy.PUBLISHER, changes=True),
            Endpoint(upload, self.show, Policy.USER),
            Endpoint(f"{upload}/uploadPart", self.add_part, Policy.PUBLISHER, changes=True, limit=limit),
            Endpoint(f"{upload}/parts", self.parts, Policy.USER),
            Endpoint(f"{upload}/commit", self.commit, Policy.PUBLISHER, changes=True),
            Endpoint(f"{upload}/delete", self.delete, Policy.USER, changes=True),
        ]

    def root(self, _call: Call) -> Answer:
        """Tell what may be uploaded."""
        return Answer({"maxUploadFileSize": self._limit, "operations": ["upload", "register"]})

    def upload(self, call: Call) -> Answer:
        """Take a file in one piece."""
        file = _file(call)
        name = call.fields.get("filename") or file.filename or ""
        return self._answer(self._uploads.store(call.user, name, file.file))

    def register(self, call: Call) -> Answer:
        """Begin a file that comes in parts."""
        return self._answer(self._uploads.register(call.user, call.fields.get("itemName", "")))

    def add_part(self, call: Call) -> Answer:
        """Take one part of a file."""
        number = whole_number(call.fields, "partId", -1)
        self._uploads.add_part(call.path["id"], call.user, number, _file(call).file)
        return Answer({"success": True, "partId": str(number)})

    def parts(self, call: Call) -> Answer:
        """List the parts that are here, as text."""
        return Answer({"parts": [str(number) for number in self._uploads.parts(call.path["id"], call.user)]})

    def commit(self, call: Call) -> Answer:
        """Put the parts together."""
        names = [text.strip() for text in call.fields.get("parts", "").split(",") if text.strip()]
        numbers = [whole_number({"parts": name}, "parts", -1) for name in names]
        return self._answer(self._uploads.commit(call.path["id"], call.user, numbers))

    def show(self, call: Call) -> Answer:
        """Describe an upload."""
        return Answer(self._document(self._uploads.get(call.path["id"], call.user)))

    def delete(self, call: Call) -> Answer:
        """Delete an upload."""
        self._uploads.delete(call.path["id"], call.user)
        return Answer({"success": True})

    def _answer(self, upload: Arrival) -> Answer:
        return Answer({"success": True, "item": self._document(upload)})

    def _document(self, upload: Arrival) -> dict[str, JsonValue]:
        done = upload.state is State.DONE
        return {
            # With a capital D, and with a small one for other clients.
            "itemID": upload.id,
            "itemId": upload.id,
            "itemName": upload.name,
            "description": "",
            "date": upload.created_ms,
            "committed": done,
            "size": self._uploads.size(upload) if done else 0,
        }


def _file(call: Call) -> UploadedFile:
    file = call.files.get("file")
    if file is None:
        raise Refusal(400, "The file is missing; send it as the multipart field file.")
    return file
