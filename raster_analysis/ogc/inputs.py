"""Inputs of an execute request: inline, as qualified values or by reference, to the parameters of a tool."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import JsonValue

from dlpk.strict_json import JsonFault, parse
from raster_analysis.errors import ParameterError
from raster_analysis.ogc.dialect import JSON
from raster_analysis.ogc.schemas import Schema, fits, input_schemas, media_types
from raster_analysis.tool import Kind, Tool

_QUALIFIED = frozenset({"value", "mediaType", "encoding", "schema", "format"})
_REFERENCES = (Kind.RASTER, Kind.FEATURES, Kind.MODEL, Kind.PACKAGE)


def read_inputs(tool: Tool[Any], given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the form of a job; raises ParameterError with every fault, the tool's own included."""
    schemas = input_schemas(tool)
    kinds = {info.name: info.kind for info in tool.describe()}
    faults = [
        f"there is no input {name[:100]!r}; the inputs are {_list(schemas)}" for name in given if name not in kinds
    ]
    form: dict[str, JsonValue] = {}
    for name in kinds.keys() & given.keys():
        try:
            form[name] = _Input(name, kinds[name], schemas[name]).read(given[name])
        except ValueError as error:
            faults.append(f"input {name}: {error}")
    try:
        tool.parse(form)
    except ParameterError as error:
        faults += [fault for fault in error.faults if not _follows(fault, given)]
    if faults:
        raise ParameterError(faults)
    return form


class _Input:
    """One declared input."""

    def __init__(self, name: str, kind: Kind, schema: Schema) -> None:
        self._name, self._kind, self._schema = name, kind, schema

    def read(self, given: JsonValue) -> JsonValue:
        """Return the value; raises ValueError."""
        value = [self._resolve(each) for each in given] if isinstance(given, list) else self._resolve(given)
        if value is None or not fits(value, self._schema):
            raise ValueError(f"{_shorten(value)} does not fit its schema; the process description has it")
        return value

    def _resolve(self, given: JsonValue) -> JsonValue:
        if not isinstance(given, dict):
            return given
        if isinstance(given.get("href"), str):
            return self._follow(str(given["href"]))
        if "value" in given and given.keys() <= _QUALIFIED:
            self._check_format(given)
            return given["value"]
        return given

    def _follow(self, href: str) -> JsonValue:
        if href.lower().startswith("data:"):
            return _content(href)
        if self._kind in _REFERENCES:
            return {"url": href}
        raise ValueError(f"{href[:80]!r} is not fetched; give the value itself, or a data: URL")

    def _check_format(self, given: Mapping[str, JsonValue]) -> None:
        told_format = given.get("format")
        told = given.get("mediaType") or (told_format.get("mediaType") if isinstance(told_format, dict) else None)
        known = media_types(self._schema) | {JSON}
        if told is not None and told not in known:
            raise ValueError(f"media type {_shorten(told)} is not supported; {_list(known)} is")


def _content(url: str) -> JsonValue:
    """Return what a data: URL holds: parsed when it is JSON, else as text."""
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise ValueError("the data: URL has no comma before its data")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data: URL is not base64: {error}") from None
    try:
        return parse(data) if head.partition(";")[0].lower() == JSON else data.decode()
    except JsonFault as fault:
        raise ValueError(f"the data: URL cannot be read: {fault.message}") from None


def _follows(fault: str, given: Mapping[str, JsonValue]) -> bool:
    """Tell whether a parameter is only called missing because its value was refused before."""
    return fault.endswith("is missing") and any(f"parameter {name} " in fault for name in given)


def _list(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _shorten(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
