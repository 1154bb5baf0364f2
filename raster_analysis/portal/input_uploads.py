"""Uploads to the toolbox: files that jobs read and that never become items (contract 5.6)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from raster_analysis.errors import AccessError
from raster_analysis.portal.arrivals import Arrival, Arrivals
from raster_analysis.portal.database import new_id
from raster_analysis.portal.item import safe_name
from raster_analysis.portal.uploads import Uploads
from raster_analysis.portal.users import User, require_publisher

_ID = re.compile(r"i[0-9a-f]{32}")


class InputUploads:
    """The files that users sent for their jobs. Each is for its owner, and gone a day after its last use."""

    def __init__(self, arrivals: Arrivals, uploads: Uploads) -> None:
        self._arrivals = arrivals
        self._uploads = uploads

    def store(self, owner: User, name: str, stream: BinaryIO) -> Arrival:
        """Take a file in one piece."""
        require_publisher(owner)
        with self._uploads.receive(stream) as path:
            self._arrivals.require_room(owner.name, path.stat().st_size)
            return self._arrivals.keep(self.register(owner, name).id, path)

    def register(self, owner: User, name: str) -> Arrival:
        """Begin a file that comes in parts."""
        require_publisher(owner)
        return self._arrivals.open(f"i{new_id()}", owner, safe_name(name))

    def add_part(self, upload_id: str, user: User, number: int, stream: BinaryIO) -> None:
        """Take one part of a file."""
        self.get(upload_id, user)
        self._arrivals.add_part(upload_id, user, number, stream)

    def parts(self, upload_id: str, user: User) -> list[int]:
        """Return the numbers of the parts that are here."""
        return self._arrivals.parts(self.get(upload_id, user).id)

    def commit(self, upload_id: str, user: User, numbers: Collection[int]) -> Arrival:
        """Put a file together, of these parts, or of all when none are named."""
        self.get(upload_id, user)
        with self._arrivals.join(upload_id, user, numbers) as (_, path):
            return self._arrivals.keep(upload_id, path)

    def get(self, upload_id: str, user: User) -> Arrival:
        """Return an upload, complete or not; raises AccessError when it is missing or not for this user."""
        if not _ID.fullmatch(upload_id):
            raise AccessError("Upload does not exist or is inaccessible.")
        return self._arrivals.get(upload_id, user)

    def size(self, upload: Arrival) -> int:
        """Return how many bytes an upload that is complete has."""
        return self._arrivals.whole(upload).stat().st_size

    def delete(self, upload_id: str, user: User) -> None:
        """Delete an upload."""
        self._arrivals.remove(self.get(upload_id, user).id, user)

    def find(self, upload_id: str, user: User) -> Path:
        """Return the file of a complete upload for a job of this user."""
        path = self._arrivals.whole(self.get(upload_id, user))
        self._arrivals.touch(upload_id)
        return path
