"""What a form says about an item: its words, its type, its id and its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from raster_analysis.errors import AccessError
from raster_analysis.portal.folders import Folder
from raster_analysis.portal.item import ItemText
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.thumbnails import LARGEST, Thumbnail
from raster_analysis.portal.users import User
from raster_analysis.rest.endpoint import Call
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.form import is_true
from raster_analysis.rest.multipart import UploadedFile

_LONGEST_TYPE = 64
_ID = re.compile(r"[0-9a-f]{32}")
_LISTS = ("tags", "type_keywords")


def owner_of(call: Call, portal: Portal) -> User:
    """Return the user in the path: the caller, or anybody for an administrator."""
    if call.path["user"].casefold() == call.user.name.casefold():
        return call.user
    if not call.user.is_administrator:
        raise AccessError("User does not exist or is inaccessible.")
    return portal.users.get(call.path["user"])


def folder_of(call: Call, portal: Portal, owner: User) -> Folder | None:
    """Return the owner's folder in the path, None for a path without one."""
    folder_id = call.path.get("folder")
    return portal.folders.get(folder_id, owner.name) if folder_id else None


def item_text(fields: Mapping[str, str]) -> ItemText:
    """Return what a form says about an item; an empty field is no change unless `clearEmptyFields` says so."""
    clear = is_true(fields, "clearEmptyFields")
    given: dict[str, str | None] = {}
    for name, info in ItemText.model_fields.items():
        wire_name = info.alias or name
        if fields.get(wire_name):
            given[name] = fields[wire_name]
        elif clear and wire_name in fields and name != "title":
            given[name] = "" if name in _LISTS else None
    try:
        return ItemText.model_validate(given)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise Refusal(400, "The item's description cannot be used.", faults) from None


def item_type(fields: Mapping[str, str]) -> str:
    """Return the type that a form gives; raises Refusal for none."""
    kind = fields.get("type", "").strip()
    if not kind or len(kind) > _LONGEST_TYPE or not kind.isprintable():
        raise Refusal(400, f"Item type {kind[:80]!r} is not usable; give 1 to {_LONGEST_TYPE} characters.")
    return kind


def chosen_id(fields: Mapping[str, str]) -> str | None:
    """Return the id that the client wants for a new item, None when it leaves that to the server."""
    wanted = fields.get("itemIdToCreate", "").strip().lower()
    if wanted and not _ID.fullmatch(wanted):
        raise Refusal(400, f"itemIdToCreate {wanted[:80]!r} is not usable; give 32 hexadecimal digits.")
    return wanted or None


def thumbnail_of(call: Call) -> Thumbnail | None:
    """Return the picture that came with a form."""
    upload = call.files.get("thumbnail")
    return Thumbnail.of(upload.file.read(LARGEST + 1)) if upload else None


@contextmanager
def received(portal: Portal, upload: UploadedFile) -> Iterator[tuple[Path, str]]:
    """Give a file that came with a form, and its name, as long as the context lasts."""
    with portal.uploads.receive(upload.file) as path:
        yield path, upload.filename or ""


def ids_of(fields: Mapping[str, str], *, most: int) -> list[str]:
    """Return the ids in the field `items`, which are separated by commas."""
    return [text.strip() for text in fields.get("items", "").split(",") if text.strip()][:most]
