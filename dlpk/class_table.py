"""The class table of a definition: `Classes`, its old spelling and its gaps."""

from __future__ import annotations

import unicodedata
from collections import Counter

from pydantic import JsonValue

from dlpk.definition import ClassEntry
from dlpk.findings import Finding, error, warning

# A guess that is ten times the largest table seen; a million would only be an attack.
MAX_CLASSES = 10_000
MAX_NAME = 256
_VALUE_RANGE = range(-(2**31), 2**31)
_SHOWN_FAULTS = 10


def read_classes(value: JsonValue, file: str) -> tuple[tuple[ClassEntry, ...], list[Finding]]:
    """Read the table in its order; entries that cannot be read are left out and reported."""
    where = f"{file}: Classes"
    if value is None:
        return (), []
    if not isinstance(value, list):
        return (), [error("emd.classes", where, "Classes is not a list.", "Write [{Value, Name, Color}, ...].")]
    if len(value) > MAX_CLASSES:
        return (), [error("emd.classes", where, f"Classes has {len(value)} entries; {MAX_CLASSES} are allowed.")]
    entries: list[ClassEntry] = []
    findings: list[Finding] = []
    for position, item in enumerate(value):
        entry, fault = _read_entry(item)
        if entry is not None:
            entries.append(entry)
        else:
            findings.append(error("emd.classes", f"{where}[{position}]", fault))
    findings = findings[:_SHOWN_FAULTS] + _duplicates(entries, where)
    return tuple(entries), findings + _oddities(value, entries, where)


def _read_entry(item: JsonValue) -> tuple[ClassEntry | None, str]:
    if not isinstance(item, dict):
        return None, "the entry is not an object."
    # Old spelling, still copied around (Esri/raster-deep-learning#20).
    value = item.get("Value", item.get("ClassValue"))
    name = item.get("Name", item.get("ClassName"))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _VALUE_RANGE:
        return None, f"Value is {ascii(value)[:60]}; a whole number is expected."
    if not isinstance(name, str) or not name.strip():
        return None, f"Name of Value {value} is missing."
    if len(name) > MAX_NAME or any(unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} for c in name):
        return None, f"Name of Value {value} is longer than {MAX_NAME} or holds control characters."
    return ClassEntry(value, name, _read_color(item.get("Color"))), ""


def _read_color(value: JsonValue) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or len(value) < 3:
        return None
    # Export templates write -1 three times for no colour.
    parts = [part for part in value[:3] if isinstance(part, (int, float)) and 0 <= part <= 255]
    return (int(parts[0]), int(parts[1]), int(parts[2])) if len(parts) == 3 else None


def _duplicates(entries: list[ClassEntry], where: str) -> list[Finding]:
    counts = Counter(entry.value for entry in entries)
    repeated = [value for value, count in counts.items() if count > 1]
    hint = "Give each class its own Value."
    return [error("emd.classes", where, f"Value {value} occurs twice.", hint) for value in repeated[:_SHOWN_FAULTS]]


def _oddities(items: list[JsonValue], entries: list[ClassEntry], where: str) -> list[Finding]:
    findings = []
    if any(isinstance(item, dict) and not {"ClassValue", "ClassName"}.isdisjoint(item) for item in items):
        message = "ClassValue and ClassName are read as Value and Name."
        findings.append(warning("emd.class_alias", where, message, "Other readers want Value and Name."))
    colourless = [entry.name for entry in entries if entry.color is None]
    if colourless:
        message = f"{len(colourless)} classes have no usable Color, the first is {ascii(colourless[0])[:60]}."
        findings.append(warning("emd.class_color", where, message, "Colours are chosen for them."))
    names = Counter(entry.name for entry in entries)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        message = f"{len(repeated)} names occur more than once, the first is {ascii(repeated[0])[:60]}."
        findings.append(warning("emd.class_name", where, message))
    return findings
