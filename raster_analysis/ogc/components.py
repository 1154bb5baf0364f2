"""The schemas of the API's documents, in OpenAPI 3.0, with nothing outside of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raster_analysis.ogc.status import STATUSES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_ANY: Schema = {"nullable": True}
_BOX: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}


def ref(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _record(required: str, **properties: Schema) -> Schema:
    """Return an object's schema; `required` names properties with spaces between."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": required.split()} if required else schema


_LINKS = _list(ref("link"))
_DESCRIPTION = {"title": _TEXT, "description": _TEXT}

SCHEMAS: Mapping[str, Schema] = {
    "link": _record("href", href=_TEXT, rel=_TEXT, type=_TEXT, hreflang=_TEXT, title=_TEXT),
    "exception": _record(
        "type", type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT, instance=_TEXT, details=_list(_TEXT)
    ),
    "landingPage": _record("links", **_DESCRIPTION, links=_LINKS),
    "confClasses": _record("conformsTo", conformsTo=_list(_TEXT)),
    "processSummary": _record(
        "id version",
        **_DESCRIPTION,
        id=_TEXT,
        version=_TEXT,
        jobControlOptions=_list({"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]}),
        outputTransmission=_list({"type": "string", "enum": ["value", "reference"]}),
        links=_LINKS,
    ),
    "processList": _record("processes links", processes=_list(ref("processSummary")), links=_LINKS),
    "inputDescription": _record(
        "schema",
        **_DESCRIPTION,
        minOccurs={"type": "integer", "minimum": 0},
        maxOccurs={"type": "integer", "minimum": 1},
        schema=ref("schema"),
    ),
    "outputDescription": _record("schema", **_DESCRIPTION, schema=ref("schema")),
    "schema": {"type": "object", "description": "A schema as OpenAPI 3.0 has it."},
    "process": {
        "allOf": [
            ref("processSummary"),
            _record(
                "inputs outputs",
                inputs={"type": "object", "additionalProperties": ref("inputDescription")},
                outputs={"type": "object", "additionalProperties": ref("outputDescription")},
            ),
        ]
    },
    "execute": _record(
        "",
        inputs={
            "type": "object",
            "additionalProperties": {**_ANY, "description": "Inline, qualified, or by reference."},
        },
        outputs={"type": "object", "additionalProperties": ref("output")},
        response={"type": "string", "enum": ["raw", "document"], "default": "raw"},
    ),
    "output": _record(
        "", transmissionMode={"type": "string", "enum": ["value", "reference"]}, format={"type": "object"}
    ),
    "statusInfo": _record(
        "jobID status type",
        processID=_TEXT,
        type={"type": "string", "enum": ["process"]},
        jobID=_TEXT,
        status={"type": "string", "enum": list(STATUSES)},
        message=_TEXT,
        created=_MOMENT,
        started=_MOMENT,
        finished=_MOMENT,
        updated=_MOMENT,
        progress={"type": "integer", "minimum": 0, "maximum": 100},
        links=_LINKS,
    ),
    "jobList": _record("jobs links", jobs=_list(ref("statusInfo")), links=_LINKS),
    "results": {"type": "object", "additionalProperties": _ANY},
    "extent": _record(
        "",
        spatial=_record("", bbox=_list(_BOX), crs=_TEXT),
        temporal=_record(
            "", interval=_list(_list({"type": "string", "format": "date-time", "nullable": True})), trs=_TEXT
        ),
    ),
    "collection": _record(
        "id links", **_DESCRIPTION, id=_TEXT, links=_LINKS, extent=ref("extent"), itemType=_TEXT, crs=_list(_TEXT)
    ),
    "collections": _record("links collections", links=_LINKS, collections=_list(ref("collection"))),
    "geometry": _record("type", type=_TEXT),
    "feature": _record(
        "type geometry properties",
        type={"type": "string", "enum": ["Feature"]},
        id={"oneOf": [_TEXT, {"type": "integer"}]},
        geometry={"nullable": True, "allOf": [ref("geometry")]},
        properties={"type": "object", "nullable": True},
        links=_LINKS,
    ),
    "featureCollection": _record(
        "type features",
        type={"type": "string", "enum": ["FeatureCollection"]},
        features=_list(ref("feature")),
        links=_LINKS,
        timeStamp=_MOMENT,
        numberMatched={"type": "integer", "minimum": 0},
        numberReturned={"type": "integer", "minimum": 0},
    ),
}
