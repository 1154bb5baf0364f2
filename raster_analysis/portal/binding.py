"""Binding: the references in a tool's parameters become handles, with the rights of the job's user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from raster_analysis.errors import InputError, NotPermitted, ParameterError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.inputs import (
    DataReference,
    FeatureReference,
    ModelReference,
    OutputTarget,
    ProcessingContext,
    RasterReference,
)
from raster_analysis.portal.definitions import Definitions, title_of
from raster_analysis.portal.folders import Folders
from raster_analysis.portal.installations import Installations
from raster_analysis.portal.item import PACKAGE_TYPE, Item
from raster_analysis.portal.items import Items
from raster_analysis.portal.packages import Packages
from raster_analysis.portal.references import Reference, References, without_query
from raster_analysis.portal.users import User
from raster_analysis.rasters.resolver import join_rasters
from raster_analysis.tool import Kind, Parameters, Tool

FileResolver = Callable[[Path, str, Literal["raster", "features", "mask"]], Handle]
"""Makes a handle of a file that was found for a user: (path, title for messages, kind)."""

_INPUTS = (Kind.RASTER, Kind.FEATURES, Kind.MODEL, Kind.PACKAGE)


@dataclass(frozen=True, slots=True)
class Asked:
    """One reference that a request holds."""

    wire_name: str
    kind: Kind
    reference: Reference
    is_mask: bool = False
    """Whether it may be a raster as well as features (contract 9.4)."""


class Binder:
    """Makes handles of references."""

    def __init__(
        self,
        references: References,
        items: Items,
        folders: Folders,
        *,
        packages: Packages,
        definitions: Definitions,
        installations: Installations,
        resolve: FileResolver,
    ) -> None:
        self._references = references
        self._items = items
        self._folders = folders
        self._packages = packages
        self._definitions = definitions
        self._installations = installations
        self._resolve = resolve

    def pin(self, tool: Tool[Any], parameters: Parameters, user: User) -> dict[str, Handle]:
        """Return handles by wire name of what has to be settled while the request is at hand; raises InputError.

        These are model items whose package is kept, and what only a token in the request opens: the
        token is not stored with the job, what it opened is.
        """
        pinned: dict[str, Handle] = {}
        for asked in _asked(tool, parameters):
            if any(self._needs_its_token(part, user) for part in _parts(asked)):
                pinned[asked.wire_name] = self._handle(asked, user)
            # A file in a store has to be read first, which takes longer than a client waits at submit.
            elif asked.kind is Kind.MODEL and (asked.reference.item_id or asked.reference.url):
                found = self._references.find(asked.reference, user)
                if isinstance(found, Item) and found.package_digest and self._packages.has(found.package_digest):
                    pinned[asked.wire_name] = self._package_handle(found, found.title)
        return pinned

    def _needs_its_token(self, asked: Asked, user: User) -> bool:
        return self._references.is_passed_on(asked.reference, user) or self._goes_elsewhere(asked)

    def _goes_elsewhere(self, asked: Asked) -> bool:
        """Tell whether a reference carries a token for another server, which only the handle will know."""
        remote = self._references.find_remote(asked.reference) if asked.kind is Kind.RASTER else None
        return remote is not None and remote.token is not None

    def bind(
        self, tool: Tool[Any], parameters: Parameters, user: User, pinned: Mapping[str, Handle]
    ) -> dict[str, Handle]:
        """Return a handle for each reference, by wire name; raises ParameterError with every fault.

        What is `pinned` stays as it was when its user was asked about.
        """
        handles = dict(pinned)
        faults: list[str] = []
        for asked in _asked(tool, parameters):
            if asked.wire_name in pinned:
                continue
            try:
                handles[asked.wire_name] = self._handle(asked, user)
            except InputError as error:
                faults.append(f"{asked.wire_name}: {error}")
        for wire_name, target in _targets(tool, parameters):
            try:
                self._check_target(target, user)
            except InputError as error:
                faults.append(f"{wire_name}: {error}")
        if faults:
            raise ParameterError(faults)
        return handles

    def bind_raster(self, tool: Tool[Any], parameters: Parameters, user: User) -> Handle | None:
        """Return a handle for the first raster given, None for a tool that takes none; raises InputError."""
        rasters = (asked for asked in _asked(tool, parameters) if asked.kind is Kind.RASTER)
        asked = next(rasters, None)
        return self._handle(asked, user) if asked else None

    def _handle(self, asked: Asked, user: User) -> Handle:
        parts = _parts(asked)
        return self._single(asked, user) if parts == (asked,) else self._collection(parts, user)

    def _collection(self, parts: Sequence[Asked], user: User) -> Handle:
        """Return several rasters as one mosaic, in the order in which they are named."""
        members: list[Handle] = []
        for number, part in enumerate(parts, start=1):
            try:
                found = self._single(part, user)
            except InputError as error:
                raise InputError(f"raster {number} of {len(parts)}, {_label(part.reference)}: {error}") from None
            # A folder is a collection itself; its rasters take its place.
            members += found.members or (found,)
        return join_rasters(members, f"{members[0].title} and {len(members) - 1} more")

    def _single(self, asked: Asked, user: User) -> Handle:
        if asked.kind is Kind.MODEL and isinstance(asked.reference, ModelReference) and asked.reference.definition:
            return self._written_handle(asked.reference.definition, user)
        remote = self._references.find_remote(asked.reference) if asked.kind is Kind.RASTER else None
        if remote:
            return Handle("raster", "", remote.url, remote=remote)
        found = self._references.find(asked.reference, user)
        title = _title(found, asked.reference)
        if asked.kind is Kind.MODEL:
            return self._package_handle(found, title)
        if asked.kind is Kind.PACKAGE:
            return _source_handle(self._path(found), title)
        if asked.is_mask:
            return self._resolve(self._path(found), title, "mask")
        return self._resolve(self._path(found), title, "features" if asked.kind is Kind.FEATURES else "raster")

    def _package_handle(self, found: Item | Path, title: str) -> Handle:
        """Return the read-only copy by digest: what happens to item or file later does not touch the job."""
        if isinstance(found, Item) and found.type != PACKAGE_TYPE:
            raise InputError(f"item {title!r} has type {found.type}; a model has type {PACKAGE_TYPE}")
        digest = found.package_digest if isinstance(found, Item) else None
        # A file in a store has no digest on record, and may have changed since it was last read.
        if digest is None or not self._packages.has(digest):
            digest = self._packages.keep(self._path(found), title)
        installed = isinstance(found, Item) and self._installations.is_installed(found)
        return Handle("package", str(self._packages.path(digest)), title, digest=digest, installed=installed)

    def _written_handle(self, definition: Mapping[str, JsonValue], user: User) -> Handle:
        digest = self._definitions.keep(definition, user)
        return Handle("package", str(self._packages.path(digest)), title_of(definition), digest=digest)

    def _path(self, found: Item | Path) -> Path:
        path = self._items.data_path(found) if isinstance(found, Item) else found
        if path is None:
            raise InputError(f"item {_title(found, None)!r} holds no data yet")
        return path

    def _check_target(self, target: OutputTarget, user: User) -> None:
        if not user.may_publish:
            raise NotPermitted(
                f"user {user.name!r} is a {user.role.value} and may not add items; ask for a publisher's role"
            )
        if target.uri:
            raise InputError("stores are only read here; give a name, and the result becomes an item")
        # Told now rather than after hours of work; publishing asks again, but never for room.
        self._items.quota.check_begin(user.name)
        if target.item_id:
            self._items.get_own(target.item_id, user)
        if target.folder_id:
            self._folders.get(target.folder_id, user.name)


def _asked(tool: Tool[Any], parameters: Parameters) -> Iterator[Asked]:
    for info, value in _values(tool, parameters):
        if isinstance(value, FeatureReference) and value.collection is not None:
            continue  # written out: there is nothing to find
        if info.kind in _INPUTS and value is not None:
            yield Asked(info.name, info.kind, value)
        elif info.kind is Kind.CONTEXT and isinstance(value, ProcessingContext):
            yield from _asked_by_context(info.name, value)


def _parts(asked: Asked) -> tuple[Asked, ...]:
    """Return the single references that one of a collection stands for; itself when it is none."""
    several = asked.reference.several if isinstance(asked.reference, RasterReference) else ()
    return tuple(Asked(asked.wire_name, asked.kind, one) for one in several) or (asked,)


def _label(reference: Reference) -> str:
    named = reference.item_id or reference.url or reference.uri or ", ".join(reference.upload_ids)
    return repr(without_query(named))


def _asked_by_context(wire_name: str, context: ProcessingContext) -> Iterator[Asked]:
    """Yield the layers that a context names, as `context.mask` and so on."""
    if isinstance(context.mask, DataReference):
        yield Asked(f"{wire_name}.mask", Kind.FEATURES, context.mask, is_mask=True)
    if isinstance(context.cell_size, DataReference):
        yield Asked(f"{wire_name}.cellSize", Kind.RASTER, context.cell_size)
    if context.snap_raster is not None:
        yield Asked(f"{wire_name}.snapRaster", Kind.RASTER, context.snap_raster)


def _targets(tool: Tool[Any], parameters: Parameters) -> Iterator[tuple[str, OutputTarget]]:
    for info, value in _values(tool, parameters):
        if info.kind is Kind.OUTPUT and isinstance(value, OutputTarget):
            yield info.name, value


def _values(tool: Tool[Any], parameters: Parameters) -> Iterator[tuple[Any, Any]]:
    for field, info in zip(type(parameters).model_fields, tool.describe(), strict=True):
        yield info, getattr(parameters, field)


def _source_handle(path: Path, title: str) -> Handle:
    stamp = Stamp.of(path) if path.is_file() else None
    return Handle("package", str(path), title, stamp=stamp)


def _title(found: Item | Path, reference: Reference | None) -> str:
    if isinstance(found, Item):
        return found.title
    return without_query((reference and reference.uri) or found.name)
