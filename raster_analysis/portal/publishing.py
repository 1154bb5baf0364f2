"""Publishing: the outputs of a finished job become items and services of its user."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy import Connection, select

from raster_analysis.errors import AccessError, InputError, OutputExists
from raster_analysis.inputs import DataReference, ModelReference, OutputTarget
from raster_analysis.portal.database import Database, fold, items, publications
from raster_analysis.portal.document import result_value
from raster_analysis.portal.folders import Folders
from raster_analysis.portal.installations import Installations, location_of
from raster_analysis.portal.item import PACKAGE_TYPE, REPORT_TYPE, Item, changeable_by
from raster_analysis.portal.items import DataFile, Items, find
from raster_analysis.portal.packages import Packages
from raster_analysis.portal.services import ServiceKind, ServiceName, Services, clean_service_name
from raster_analysis.portal.users import User
from raster_analysis.tool import Output, Publication

logger = logging.getLogger(__name__)

_SERVICE_KINDS = {
    "features": ServiceKind.FEATURES,
    "imagery": ServiceKind.IMAGERY,
    # As portals have it: a table is a feature service whose layer has no geometry.
    "table": ServiceKind.FEATURES,
}


@dataclass(frozen=True, slots=True)
class Result:
    """One output of a job with all that decides what becomes of it."""

    publication: Publication
    output: Output
    target: OutputTarget
    user: User

    @property
    def path(self) -> Path:
        """Return the file of the output."""
        if self.output.path is None:
            raise InputError(f"output {self.output.name} of job {self.publication.job_id} has no file")
        return Path(self.output.path)

    @property
    def title(self) -> str:
        """Return what a new item is called: as the user asked, else as the tool proposes."""
        proposed = self.output.statistics.get("title")
        return self.target.name or (proposed if isinstance(proposed, str) and proposed else self.path.stem)

    @property
    def overwrite(self) -> bool:
        """Tell whether the request allows to replace an item of the same title."""
        return bool(getattr(self.publication.parameters, "overwrite_model", False))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a result goes: a draft that is in no table yet, or an item that gets new data."""

    item: Item
    is_new: bool
    service: ServiceName | None = None


class Publisher:
    """Makes items of outputs, once for each job and output."""

    def __init__(
        self,
        database: Database,
        items: Items,
        folders: Folders,
        *,
        packages: Packages,
        services: Services,
        installations: Installations,
    ) -> None:
        self._database = database
        self._items = items
        self._folders = folders
        self._packages = packages
        self._services = services
        self._installations = installations

    def publish(self, publication: Publication, user: User, base_url: str) -> dict[str, JsonValue]:
        """Return the wire value of each output by name; a second call finds what the first one made."""
        return {output.name: self._publish(publication, output, user, base_url) for output in publication.outputs}

    def _publish(self, publication: Publication, output: Output, user: User, base_url: str) -> JsonValue:
        if output.kind == "value":
            return output.value
        if output.kind == "installation":
            return self._install(publication, output, user)
        if output.kind == "uninstallation":
            return self._uninstall(publication, output, user)
        published = self._published(publication.job_id, output.name)
        if published:
            return self._value_of(published, user, base_url)
        result = Result(publication, output, _target(publication, output), user)
        item = self._store(result)
        logger.info("job %s: output %s became item %s", publication.job_id, output.name, item.id)
        return result_value(item, base_url)

    def _install(self, publication: Publication, output: Output, user: User) -> str:
        """Record an installation; once more changes nothing. Its location is text (contract 8.1)."""
        proved = output.value if isinstance(output.value, dict) else {}
        model = _source(publication, output)
        if not isinstance(model, ModelReference):
            raise InputError(f"output {output.name} of job {publication.job_id} names no model")
        item = self._installations.install(model, user, digest=str(proved.get("digest")))
        return location_of(item, str(proved.get("definition")))

    def _uninstall(self, publication: Publication, output: Output, user: User) -> str:
        done = self._published(publication.job_id, output.name)
        if done:
            return done
        model = _source(publication, output)
        if not isinstance(model, DataReference):
            raise InputError(f"output {output.name} of job {publication.job_id} names no model")
        item_id = self._installations.find_id(model, user)
        with self._database.write() as connection:
            self._installations.remove(connection, item_id, user)
            _note(connection, publication, output, item_id)
        return item_id

    def _published(self, job_id: str, output: str) -> str | None:
        wanted = select(publications.c.item_id).where(publications.c.job_id == job_id, publications.c.output == output)
        with self._database.read() as connection:
            return connection.scalar(wanted)

    def _value_of(self, item_id: str, user: User, base_url: str) -> JsonValue:
        try:
            return result_value(self._items.get(item_id, user), base_url)
        except AccessError:  # deleted since: the job's answer stays what it was
            return {"itemId": item_id}

    def _store(self, result: Result) -> Item:
        digest = self._packages.keep(result.path, result.title) if result.output.kind == "package" else None
        with self._database.read() as connection:
            place = self._find_place(connection, result)
        # Outside the transaction: on another file system this copies, and holds up no other writer.
        data = self._items.place(place.item.id, result.path, f"{result.title}{result.path.suffix}")
        try:
            with self._database.write() as connection:
                before = self._present(connection, result, place)
                item = self._record(
                    connection, result, replace(place, item=replace(before, package_digest=digest)), data
                )
        except Exception:
            self._items.discard(data)
            raise
        self._items.drop_data(before)
        return item

    def _present(self, connection: Connection, result: Result, place: _Place) -> Item:
        """Return an item as it is now: its owner may have changed, unshared or deleted it while the file was copied."""
        # Clients delete it when a job is cancelled (contract 5.6).
        return place.item if place.is_new else find(connection, place.item.id, changeable_by(result.user))

    def _record(self, connection: Connection, result: Result, place: _Place, data: DataFile) -> Item:
        """Write item and publication in one transaction: either both are there or neither."""
        if not place.is_new:
            item = self._items.save(connection, place.item, data)
        elif place.service:
            service = self._services.free_name(connection, place.service)
            draft = self._services.insert(connection, service, place.item)
            item = self._items.save(connection, draft, data)
        else:
            # Another job may have taken the title since the place was chosen.
            if result.output.kind == "package" and _same_title(connection, result):
                raise _exists(result)
            item = self._items.insert(connection, place.item, data)
        _note(connection, result.publication, result.output, item.id)
        return item

    def _find_place(self, connection: Connection, result: Result) -> _Place:
        if result.output.kind == "package":
            return self._place_of_package(connection, result)
        if result.output.kind == "report":
            return self._place_of_report(connection, result)
        return self._place_of_layer(connection, result, _SERVICE_KINDS[result.output.kind])

    def _place_of_package(self, connection: Connection, result: Result) -> _Place:
        if result.target.item_id:
            return _Place(_own(connection, result, PACKAGE_TYPE), is_new=False)
        same = _same_title(connection, result)
        if same and not result.overwrite:
            raise _exists(result)
        return _Place(same or self._draft(result, PACKAGE_TYPE), is_new=same is None)

    def _place_of_report(self, connection: Connection, result: Result) -> _Place:
        if result.target.item_id:
            return _Place(_own(connection, result, REPORT_TYPE), is_new=False)
        return _Place(self._draft(result, REPORT_TYPE), is_new=True)

    def _place_of_layer(self, connection: Connection, result: Result, kind: ServiceKind) -> _Place:
        if result.target.item_id:
            return _Place(_own(connection, result, kind.item_type), is_new=False)
        service = ServiceName(kind, clean_service_name(result.title))
        waiting = self._services.unfilled(connection, service, result.user)
        if waiting:
            return _Place(waiting, is_new=False)
        return _Place(self._draft(result, kind.item_type), is_new=True, service=service)

    def _draft(self, result: Result, type: str) -> Item:
        tool = result.publication.tool.title
        folder = result.target.folder_id
        return replace(
            self._items.draft(result.user.name, type, result.title),
            folder_id=self._folders.get(folder, result.user.name).id if folder else None,
            tags=("Analysis Result", tool),
            snippet=f"Result of {tool}",
        )


def _note(connection: Connection, publication: Publication, output: Output, item_id: str) -> None:
    row = {"job_id": publication.job_id, "output": output.name, "item_id": item_id}
    connection.execute(publications.insert().values(row))


def _source(publication: Publication, output: Output) -> object:
    """Return the value of the parameter that the tool declares as an output's source."""
    source = next((info.source for info in publication.tool.outputs if info.name == output.name), None)
    parameters = publication.parameters
    names: Sequence[str] = [info.name for info in publication.tool.describe()]
    fields = dict(zip(names, type(parameters).model_fields, strict=True))
    return getattr(parameters, fields[source]) if source else None


def _target(publication: Publication, output: Output) -> OutputTarget:
    """Return where the user wants an output."""
    target = _source(publication, output)
    return target if isinstance(target, OutputTarget) else OutputTarget()


def _own(connection: Connection, result: Result, type: str) -> Item:
    """Return the item that the user named to be filled or updated."""
    item = find(connection, result.target.item_id or "", changeable_by(result.user))
    if item.type != type:
        raise InputError(f"item {item.id} has type {item.type}; the result needs {type}")
    return item


def _same_title(connection: Connection, result: Result) -> Item | None:
    wanted = select(items).where(
        items.c.owner == result.user.name, items.c.type == PACKAGE_TYPE, items.c.title_key == fold(result.title)
    )
    row = connection.execute(wanted).mappings().first()
    return Item.of(row) if row else None


def _exists(result: Result) -> OutputExists:
    return OutputExists(
        f"you have a package titled {result.title!r} already; choose another name, or set overwriteModel to replace it"
    )
