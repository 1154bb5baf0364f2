"""Schemas of inputs and outputs, made from the tools' declarations, in the words of OpenAPI 3.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema

from raster_analysis.tool import Kind, OutputInfo, ParameterInfo, Tool

Schema = dict[str, Any]

GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOPACKAGE = "application/geopackage+sqlite3"
GEOPARQUET = "application/vnd.apache.parquet"
_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}
_URI: Schema = {"type": "string", "format": "uri"}
_IDS: Schema = {"type": "array", "items": _TEXT}
_NAMED: Mapping[str, Schema] = {"itemId": _TEXT, "url": _URI, "uri": _TEXT, "itemIds": _IDS}
_TYPES = {"GPString": "string", "GPBoolean": "boolean", "GPDouble": "number", "GPLong": "integer"}
_LINK: Schema = {
    "type": "object",
    "required": ["href"],
    "properties": {"href": _URI, "rel": _TEXT, "type": _TEXT, "title": _TEXT},
}
_DROPPED = ("kind", "choices", "title", "description", "default")

_BY_KIND: Mapping[Kind, Schema] = {
    Kind.OUTPUT: {
        "oneOf": [
            {"type": "string", "minLength": 1},
            {"type": "object", "properties": {"name": _TEXT, "itemId": _TEXT}},
        ]
    },
    Kind.CONTEXT: {
        "type": "object",
        "properties": {
            "extent": {
                "type": "object",
                "required": ["xmin", "ymin", "xmax", "ymax"],
                "properties": {name: {"type": "number"} for name in ("xmin", "ymin", "xmax", "ymax")},
            },
            "cellSize": {"oneOf": [{"type": "number"}, _TEXT, _OBJECT]},
            "mask": {"oneOf": [_TEXT, {"type": "object", "format": "geojson-feature-collection"}]},
        },
    },
    Kind.ARGUMENTS: {
        "type": "object",
        "additionalProperties": {"oneOf": [_TEXT, {"type": "number"}, {"type": "boolean"}]},
    },
}
"""Raster, features, model and package: see `_reference`."""


def input_schemas(tool: Tool[Any]) -> dict[str, Schema]:
    """Return the schema of each input by name."""
    declared = tool.parameters.model_json_schema(by_alias=True, schema_generator=_Plain).get("properties", {})
    return {info.name: _input_schema(info, declared.get(info.name, {})) for info in tool.describe()}


def output_schema(tool: Tool[Any], output: OutputInfo) -> Schema:
    """Return the schema of an output: what it says of itself, any JSON, or a link when it becomes an item."""
    if output.schema is not None:
        return dict(output.schema)
    return dict(_LINK) if is_item(tool, output) else {"nullable": True}


def is_item(tool: Tool[Any], output: OutputInfo) -> bool:
    """Tell whether an output becomes an item: then it goes where a parameter says, and is given by reference."""
    kinds = {info.name: info.kind for info in tool.describe()}
    return kinds.get(output.source or "") is Kind.OUTPUT


def fits(value: JsonValue, schema: Mapping[str, Any]) -> bool:
    """Tell whether a value is of a schema's types and among its choices; the tool itself checks the rest."""
    for word, wanted in (("oneOf", any), ("anyOf", any), ("allOf", all)):
        if word in schema and not wanted(fits(value, part) for part in schema[word]):
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    wanted_type = schema.get("type")
    return wanted_type is None or _is(value, wanted_type)


def media_types(schema: Mapping[str, Any]) -> set[str]:
    """Return the media types that a schema names."""
    found = {schema["contentMediaType"]} if "contentMediaType" in schema else set()
    parts = [part for word in ("oneOf", "anyOf", "allOf") for part in schema.get(word, ())]
    return found.union(*(media_types(part) for part in parts))


def _input_schema(info: ParameterInfo, declared: Schema) -> Schema:
    if info.kind in (Kind.RASTER, Kind.FEATURES, Kind.MODEL, Kind.PACKAGE):
        return _reference(with_definition=info.kind is Kind.MODEL)
    if info.kind is not Kind.VALUE:
        return dict(_BY_KIND[info.kind])
    schema = {name: value for name, value in declared.items() if name not in _DROPPED}
    if not schema or "anyOf" in schema:
        schema = {"type": _TYPES[info.data_type]}
    schema |= {"enum": list(info.choices)} if info.choices else {}
    return schema | ({"default": info.default} if info.default is not None else {})


def _reference(*, with_definition: bool) -> Schema:
    named: Schema = {"type": "object", "properties": dict(_NAMED)}
    if not with_definition:
        # What names nothing is refused; a model may be any object, its definition.
        named["minProperties"] = 1
    return {"oneOf": [{"type": "string", "format": "uri-reference", "minLength": 1}, named]}


def _is(value: JsonValue, type: str) -> bool:
    if type in ("integer", "number"):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return not isinstance(value, bool) and (whole if type == "integer" else isinstance(value, (int, float)))
    kinds: Mapping[str, Any] = {"string": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, kinds[type])


class _Plain(GenerateJsonSchema):
    """Writes defaults that are objects as nothing, instead of warning about them."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 (pydantic declares it so)
