"""Model definitions written out in a request: packages that are put together here from the files they name."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import JsonValue, ValidationError

from dlpk.errors import DlpkError
from dlpk.extraction import PARTIAL_PREFIX
from dlpk.weights import identify_path
from raster_analysis.composite import parse_composite
from raster_analysis.errors import InputError, ModelError
from raster_analysis.inputs import DataReference
from raster_analysis.portal.item import PACKAGE_TYPE, Item, safe_name
from raster_analysis.portal.items import Items
from raster_analysis.portal.packages import Packages
from raster_analysis.portal.references import References
from raster_analysis.portal.users import User

_WANTED = "ModelFile names a network file: /rasterStores/<store>/<path>, or an item that holds one"
_EXTENSION = "RasterAnalysis"


class Definitions:
    """Makes packages of definitions; the copy is kept by the digest of its content, as of any package."""

    def __init__(self, references: References, items: Items, packages: Packages, folder: Path) -> None:
        """Put packages together in `folder`, which must be swept for what a crash leaves."""
        self._references = references
        self._items = items
        self._packages = packages
        self._folder = folder

    def keep(self, definition: Mapping[str, JsonValue], user: User) -> str:
        """Return the digest of the package that a definition describes; raises InputError, ModelError."""
        _refuse_code(definition)
        network, name = self._network(definition.get("ModelFile"), user)
        with self._scratch() as folder:
            # In ASCII: a request may hold halves of characters, which no file can.
            text = json.dumps({**definition, "ModelFile": name})
            (folder / "model.emd").write_text(text, encoding="ascii")
            for part, own_name in _parts(network, name):
                _link_or_copy(part, folder / own_name)
            return self._packages.keep(folder, title_of(definition))

    def _network(self, written: JsonValue, user: User) -> tuple[Path, str]:
        """Return the network's file and what it is called in the package."""
        found = self._references.find(_reference(written), user)
        if _is_package(found):
            raise InputError(f"ModelFile {str(written)[:200]!r} is a package; give it as the model itself")
        path = self._items.data_path(found) if isinstance(found, Item) else found
        if path is None or not path.is_file():
            raise InputError(f"ModelFile {str(written)[:200]!r} is no file; {_WANTED}")
        # An item's file has a name of ours on the disk; its author's one ends as the format wants.
        return path, safe_name((found.name or found.title) if isinstance(found, Item) else path.name)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self._folder / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def title_of(definition: Mapping[str, JsonValue]) -> str:
    """Return what a definition is called in messages."""
    name = definition.get("ModelName") or definition.get("ModelConfiguration")
    return name[:100] if isinstance(name, str) else "model definition"


def _is_package(found: Item | Path) -> bool:
    if isinstance(found, Item):
        return found.type == PACKAGE_TYPE
    return found.suffix.lower() in (".dlpk", ".emd")


def _refuse_code(definition: Mapping[str, JsonValue]) -> None:
    function = definition.get("InferenceFunction")
    if not isinstance(function, str) or re.match(r"\[functions\]", function, re.IGNORECASE):
        return
    raise InputError(
        f"InferenceFunction {function[:100]!r} is a Python raster function, which is not run here; leave it out, and "
        f"declare how the network's output is read ({_EXTENSION}.Output in the definition)"
    )


def _reference(written: JsonValue) -> DataReference:
    parsed = parse_composite(written) if isinstance(written, (str, dict)) else None
    if isinstance(parsed, dict) and isinstance(parsed.get("uri"), str) and not parsed["uri"].startswith("/"):
        # Relative to what? In a package it is the folder of the definition, and here there is none.
        raise InputError(f"ModelFile {parsed['uri'][:200]!r} is relative, but there is no package; {_WANTED}")
    try:
        return DataReference.model_validate(parsed)
    except ValidationError:
        raise InputError(f"ModelFile {str(written)[:200]!r} cannot be used; {_WANTED}") from None


def _parts(network: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the network's file, and for ONNX the files beside it in which its tensors lie."""
    yield network, name
    try:
        locations = identify_path(network).external_files
    except DlpkError as error:
        raise ModelError(f"ModelFile {name!r} is no usable network: {error}") from None
    for location in locations:
        part = network.parent / location
        # Plain neighbours only: what leads elsewhere is missing then, and the check of the package says so.
        if PurePosixPath(location).name == location and part.is_file() and not part.is_symlink():
            yield part, location


def _link_or_copy(source: Path, target: Path) -> None:
    # What is there may be a link to the user's own file, which a copy would overwrite.
    if target.exists():
        raise InputError(f"two files of the model would both be called {target.name!r}; rename one")
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or a file of somebody else's
        shutil.copyfile(source, target)
