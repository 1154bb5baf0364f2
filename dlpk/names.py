"""Rules for names of members and references between them: safe on every operating system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

MAX_NAME_CHARACTERS = 240
MAX_DEPTH = 12

_DRIVE_OR_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_DEVICE = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)$", re.IGNORECASE)
# Windows refuses these in file names; ':' is also its alternate data streams.
_FORBIDDEN = frozenset('<>:"|?*\\')
# Control, format (bidi overrides, zero width), surrogate, private use, line and paragraph separator.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Never needed, never to be run.
_DEBRIS_FOLDERS = frozenset({"__pycache__", "__macosx", ".git"})
_DEBRIS_FILES = frozenset({".gitattributes", ".gitignore", ".ds_store", "thumbs.db", "desktop.ini"})


def fault_of_name(name: str) -> str | None:
    """Say what is wrong with the name of a member, or None when it is safe everywhere."""
    if len(name) > MAX_NAME_CHARACTERS:
        return f"the name has {len(name)} characters; {MAX_NAME_CHARACTERS} are allowed"
    if name.startswith(("/", "\\")) or _DRIVE_OR_URL.match(name):
        return "the name is absolute"
    parts = name.split("/")
    if len(parts) > MAX_DEPTH:
        return f"the name is {len(parts)} levels deep; {MAX_DEPTH} are allowed"
    if unicodedata.normalize("NFC", name) != name:
        return "the name is not in Unicode form NFC"
    return next((fault for fault in map(_fault_of_part, parts) if fault), None)


def _fault_of_part(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return f"the name holds {part!r} as a folder"
    # Windows drops these silently, so two names would become one.
    if part[-1] in ". ":
        return "a part of the name ends in a dot or a space"
    # Windows takes CON.txt for the device as well.
    if _DEVICE.match(part.split(".", maxsplit=1)[0].rstrip()):
        return f"{part!r} is a device on Windows"
    bad = sorted({c for c in part if c in _FORBIDDEN or unicodedata.category(c) in _FORBIDDEN_CATEGORIES})
    if bad:
        return "the name holds " + ", ".join(ascii(character) for character in bad)
    return None


def fold(name: str) -> str:
    """Give the form under which two names are the same file on some operating system."""
    # Folding can leave the composed form, hence the second round.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def find_collisions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give each name that is another member's on some operating system, with the reason; folders end in `/`."""
    entries: dict[str, str] = {}
    folders: dict[str, str] = {}
    files: dict[str, str] = {}
    for name in names:
        path = name.removesuffix("/")
        key = fold(path)
        above = [path[: match.start()] for match in re.finditer("/", path)] + [path] * name.endswith("/")
        clashes = [files.get(fold(folder)) or folders.setdefault(fold(folder), folder) for folder in above]
        clash = next((known for known, folder in zip(clashes, above, strict=True) if known != folder), None)
        clash = clash or entries.get(key) or (None if name.endswith("/") else folders.get(key))
        if clash is not None:
            yield name, f"it is the same as {clash!r} on some systems"
        entries[key] = path
        if not name.endswith("/"):
            files[key] = path + " (a file)"


def is_debris(name: str) -> bool:
    """Tell whether a member is left over from a tool; such members are neither unpacked nor digested."""
    *folders, last = name.lower().split("/")
    return not _DEBRIS_FOLDERS.isdisjoint(folders) or last in _DEBRIS_FILES or last.endswith((".log", ".pyc"))


def normalize_reference(text: str) -> str:
    """Turn a reference of a definition into a member name: `/` as separator, no leading `./`."""
    name = text.strip().replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name
