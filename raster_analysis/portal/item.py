"""An item as a value, what a user may say about it, and who may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from sqlalchemy import ColumnElement, RowMapping, or_, true

from raster_analysis.portal.database import fold, items
from raster_analysis.portal.users import User

PACKAGE_TYPE = "Deep Learning Package"
FEATURE_TYPE = "Feature Service"
IMAGE_TYPE = "Image Service"
REPORT_TYPE = "Document Link"
"""Of a page to read: portals have no type of their own for an HTML file, and show this one as a document."""
_TAG_COUNT = 128  # as on other portals (dlpk 2.3)
_UNSAFE_IN_NAME = re.compile(r"[^\w.()+ -]|[\x00-\x1f\x7f]")


class Access(StrEnum):
    """Whom an item is shared with."""

    PRIVATE = "private"
    ORG = "org"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Item:
    """A thing in the portal that users find, share and use."""

    id: str
    owner: str
    folder_id: str | None
    type: str
    title: str
    name: str | None
    """Download file name; for a service its name."""
    tags: tuple[str, ...]
    snippet: str | None
    description: str | None
    properties: str | None
    """JSON text that clients keep here."""
    access: Access
    url: str | None
    """Of a service: its path below the server's base URL."""
    size: int
    created_ms: int
    modified_ms: int
    data_file: str | None
    package_digest: str | None
    type_keywords: tuple[str, ...] = ()
    thumbnail: str | None = None
    """Where the picture is below the item's `info`, None for none."""
    protected: bool = False
    """Whether deleting is refused."""

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Return the item that a row of the table holds."""
        values = {name: row[name] for name in cls.__slots__}
        for name in ("tags", "type_keywords"):
            values[name] = tuple(word for word in row[name].split("\n") if word)
        values["access"] = Access(row["access"])
        return cls(**values)

    def row(self) -> dict[str, JsonValue]:
        """Return the values of the table's columns, the folded copies for searching too."""
        values: dict[str, JsonValue] = {name: getattr(self, name) for name in self.__slots__}
        tags_key = "\n".join(fold(tag) for tag in self.tags)
        words = (self.title, *self.tags, self.snippet or "", self.description or "")
        return values | {
            "tags": "\n".join(self.tags),
            "type_keywords": "\n".join(self.type_keywords),
            "access": self.access.value,
            "title_key": fold(self.title),
            "tags_key": f"\n{tags_key}\n",
            "words_key": fold("\n".join(words)),
        }


class ItemText(BaseModel):
    """What a user may say about an item. Owner, access and the like are not among it, whatever a form holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    title: str | None = Field(default=None, min_length=1, max_length=250)
    tags: tuple[str, ...] | None = None
    snippet: str | None = Field(default=None, max_length=4096)
    description: str | None = Field(default=None, max_length=65_536)
    properties: str | None = Field(default=None, max_length=65_536)
    type_keywords: tuple[str, ...] | None = Field(default=None, alias="typeKeywords")

    @field_validator("tags", "type_keywords", mode="before")
    @classmethod
    def _split_tags(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            return parts
        tags = tuple(dict.fromkeys(" ".join(str(part).split())[:250] for part in parts))
        if len(tags) > _TAG_COUNT:
            raise ValueError(f"{len(tags)} are too many; give at most {_TAG_COUNT}")
        return tuple(tag for tag in tags if tag)

    def given(self) -> dict[str, str | tuple[str, ...] | None]:
        """Return the fields that were given, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def readable_by(user: User | None) -> ColumnElement[bool]:
    """Return the one rule of who may see an item: asked at every reading, by id, by service or by search."""
    if user is None:
        return items.c.access == Access.PUBLIC.value
    if user.is_administrator:
        return true()
    return or_(items.c.owner == user.name, items.c.access.in_([Access.ORG.value, Access.PUBLIC.value]))


def changeable_by(user: User) -> ColumnElement[bool]:
    """Return the one rule of who may change or delete an item: its owner and administrators."""
    return true() if user.is_administrator else items.c.owner == user.name


def safe_name(name: str) -> str:
    """Return a file name without folders, control characters or characters that headers and shells read."""
    # An allow-list: quotes end a header value, slashes leave the folder, and nobody needs either.
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    cleaned = _UNSAFE_IN_NAME.sub("_", last).strip(" .")
    stem, dot, suffix = cleaned.rpartition(".")
    return f"{stem[:100]}.{suffix[:20]}" if dot and stem else cleaned[:100] or "data"
