"""Hosted services: their names, and the item behind each. What they serve is the item's data file."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, select

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.database import Database, fold, items, services
from raster_analysis.portal.item import FEATURE_TYPE, IMAGE_TYPE, Item, changeable_by, readable_by
from raster_analysis.portal.items import Items
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.users import User

logger = logging.getLogger(__name__)

LONGEST_NAME = 120
UNFILLED_MS = 24 * 3600 * 1000
"""How long a service waits for its job (contract 10: a day)."""
_NAME = re.compile(r"\w+", re.ASCII)
_NOT_IN_NAME = re.compile(r"\W+", re.ASCII)
_PATH = re.compile(r"/arcgis/rest/services/Hosted/(\w+)/(FeatureServer|ImageServer)(?:/0)?/?", re.ASCII)


class ServiceKind(StrEnum):
    """What a service serves, as the last part of its URL says it."""

    FEATURES = "FeatureServer"
    IMAGERY = "ImageServer"

    @property
    def item_type(self) -> str:
        """Return the type of the service's item."""
        return FEATURE_TYPE if self is ServiceKind.FEATURES else IMAGE_TYPE


@dataclass(frozen=True, slots=True)
class ServiceName:
    """A kind and a name: what makes a service unique."""

    kind: ServiceKind
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > LONGEST_NAME:
            raise InputError(
                f"service name {self.name[:80]!r} is not usable; "
                f"take 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 and _"
            )

    @property
    def path(self) -> str:
        """Return the service's path below the server's base URL."""
        return f"/arcgis/rest/services/Hosted/{self.name}/{self.kind}"

    @classmethod
    def of_path(cls, path: str) -> ServiceName | None:
        """Return the service that a path (perhaps of its one layer, 0) names, None for any other path."""
        match = _PATH.fullmatch(path)
        return cls(ServiceKind(match[2]), match[1]) if match else None


class Services:
    """The hosted services of a portal."""

    def __init__(self, database: Database, items: Items, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._items = items
        self._clock = clock

    def find(self, service: ServiceName, user: User | None) -> Item:
        """Return the item of a service; raises AccessError when it is missing or not for this user."""
        with self._database.read() as connection:
            item = _find(connection, service, readable_by(user))
        if item is None:
            raise AccessError(f"Service Hosted/{service.name}/{service.kind} does not exist or is inaccessible.")
        return item

    def list(self, user: User | None) -> list[ServiceName]:
        """Return the services that a user can read, by name."""
        wanted = select(services.c.kind, services.c.name).join(items, services.c.item_id == items.c.id)
        wanted = wanted.where(readable_by(user)).order_by(services.c.name_key, services.c.kind)
        with self._database.read() as connection:
            return [ServiceName(ServiceKind(kind), name) for kind, name in connection.execute(wanted)]

    def is_available(self, service: ServiceName, user: User) -> bool:
        """Tell whether `create` would succeed."""
        with self._database.read() as connection:
            return not _is_taken(connection, service) or self.unfilled(connection, service, user) is not None

    def create(self, service: ServiceName, owner: User, draft: Item) -> Item:
        """Add an empty service that a job will fill.

        An own service that was never filled is given again: clients leave those behind when a job
        could not be submitted (contract 10).
        """
        with self._database.write() as connection:
            left_behind = self.unfilled(connection, service, owner)
            if left_behind is not None:
                return self._items.save(connection, replace(left_behind, folder_id=draft.folder_id))
            if _is_taken(connection, service):
                raise InputError(f"Service name '{service.name}' already exists for '{service.kind.item_type}'.")
            return self.insert(connection, service, draft)

    def insert(self, connection: Connection, service: ServiceName, draft: Item) -> Item:
        """Add a service and its item to the tables; the name must be free."""
        item = replace(draft, type=service.kind.item_type, name=service.name, url=service.path)
        item = self._items.insert(connection, item)
        row = {"kind": service.kind.value, "name": service.name, "name_key": fold(service.name), "item_id": item.id}
        connection.execute(services.insert().values(row))
        return item

    def free_name(self, connection: Connection, wanted: ServiceName) -> ServiceName:
        """Return the wanted name, or the first of name_1, name_2 and so on that is free."""
        # A job that worked for hours does not fail for its name.
        candidate, number = wanted, 0
        while _is_taken(connection, candidate):
            number += 1
            candidate = ServiceName(wanted.kind, f"{wanted.name[: LONGEST_NAME - 8]}_{number}")
        return candidate

    def unfilled(self, connection: Connection, service: ServiceName, owner: User) -> Item | None:
        """Return the owner's service of that name when no job has filled it yet."""
        item = _find(connection, service, changeable_by(owner))
        return item if item is not None and item.owner == owner.name and item.data_file is None else None

    def expire(self, wanted: Collection[str] = ()) -> None:
        """Delete services that no job filled for a day, but those `wanted` by jobs and those that are protected.

        Clients that fail leave them behind, named after the call that failed (contract 10).
        """
        empty = items.c.data_file.is_(None) & items.c.protected.is_(False)
        old = empty & (items.c.modified_ms < self._clock() - UNFILLED_MS)
        named = select(services.c.item_id)
        with self._database.write() as connection:
            found = connection.scalars(select(items.c.id).where(items.c.id.in_(named), old)).all()
            left_behind = [item_id for item_id in found if item_id not in wanted]
            connection.execute(delete(items).where(items.c.id.in_(left_behind)))
        for item_id in left_behind:
            logger.info("service item %s was never filled and is deleted", item_id)


def clean_service_name(text: str) -> str:
    """Return a usable service name that resembles a text."""
    return _NOT_IN_NAME.sub("_", text).strip("_")[:LONGEST_NAME] or "result"


def _is_taken(connection: Connection, service: ServiceName) -> bool:
    return connection.execute(select(services.c.item_id).where(*_same(service))).first() is not None


def _find(connection: Connection, service: ServiceName, right: ColumnElement[bool]) -> Item | None:
    wanted = select(items).join(services, services.c.item_id == items.c.id).where(*_same(service), right)
    row = connection.execute(wanted).mappings().first()
    return Item.of(row) if row else None


def _same(service: ServiceName) -> tuple[ColumnElement[bool], ...]:
    return services.c.kind == service.kind.value, services.c.name_key == fold(service.name)
