"""The definition of the API in OpenAPI 3.0: every path, its parameters, its answers. It refers to nothing outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from raster_analysis.ogc.components import SCHEMAS, ref
from raster_analysis.ogc.descriptions import VERSION
from raster_analysis.ogc.dialect import GEOJSON, HTML, JSON
from raster_analysis.ogc.links import OPENAPI
from raster_analysis.ogc.problem import PROBLEM_TYPE
from raster_analysis.ogc.schemas import GEOPARQUET
from raster_analysis.ogc.status import STATUSES

Part = dict[str, Any]

_ERRORS = {
    400: "A parameter cannot be used.",
    401: "Sign in first: a token is needed, and it has to be valid.",
    403: "Your role does not allow this.",
    404: "There is no such resource, or not for you.",
    405: "The method is not allowed here.",
    406: "Given as JSON or HTML only.",
    408: "The body came too slowly.",
    409: "The job is over.",
    410: "The job was dismissed.",
    413: "The request is too large.",
    415: "The body is not JSON.",
    422: "The job failed.",
    500: "An error of the server.",
}
_TAKEN = (400, 404, 405, 406, 500)
"""What any resource may answer."""
_KNOWN = (401, 403)
"""What those for users may answer besides."""
_SENT = (408, 413, 415)


def api_document(title: str, url: str) -> dict[str, JsonValue]:
    """Return the definition; `url` is where the API is served."""
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "version": VERSION, "description": "OGC API - Processes and OGC API - Features."},
        "servers": [{"url": url}],
        "tags": [{"name": name} for name in ("Capabilities", "Processes", "Jobs", "Data")],
        "paths": {**_capabilities(), **_processes(), **_jobs(), **_data()},
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _capabilities() -> Part:
    return {
        "/": {"get": _read("getLandingPage", "Capabilities", "The landing page", _document("landingPage"))},
        "/conformance": {
            "get": _read("getConformanceDeclaration", "Capabilities", "Conformance classes", _document("confClasses"))
        },
        "/api": {
            "get": _read(
                "getApi",
                "Capabilities",
                "This document",
                {OPENAPI: {"schema": {"type": "object"}}, HTML: {"schema": {"type": "string"}}},
            )
        },
    }


def _processes() -> Part:
    listed = _read(
        "getProcesses",
        "Processes",
        "The processes",
        _document("processList"),
        _whole("limit", 1, 1000),
        _whole("offset"),
    )
    described = _read("getProcessDescription", "Processes", "One process", _document("process"), _in_path("processId"))
    return {
        "/processes": {"get": listed},
        "/processes/{processId}": {"get": described},
        "/processes/{processId}/execution": {"post": _execution()},
    }


def _execution() -> Part:
    made = _answer("The job was created.", _document("statusInfo", page=False), Location={"type": "string"})
    return {
        "operationId": "execute",
        "tags": ["Processes"],
        "summary": "Execute a process",
        "security": [{"bearer": []}, {"query": []}],
        "parameters": [_in_path("processId"), _header("Prefer", "respond-async, or wait= and seconds.")],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("execute")}}},
        "responses": {
            "200": _answer("The results.", _any_result()),
            "201": made,
            "204": _answer("Links to the results in the headers.", None, Link={"type": "string"}),
            **_errors(*_TAKEN, *_KNOWN, *_SENT, 410, 422),
        },
    }


def _jobs() -> Part:
    job = _in_path("jobId")
    results = _read("getResult", "Jobs", "The results of a job", _any_result(), job, user=True)
    results["responses"] |= {"204": _answer("Links to the results.", None), **_errors(410, 422)}
    one = _read("getOneResult", "Jobs", "One result of a job", _any_result(), job, _in_path("outputId"), user=True)
    one["responses"] |= {"303": _answer("Where the result is.", None, Location={"type": "string"}), **_errors(410, 422)}
    dismiss = _read("dismiss", "Jobs", "Stop a job", _document("statusInfo", page=False), job, user=True, formats=False)
    dismiss["responses"] |= _errors(409)
    return {
        "/jobs": {"get": _job_list()},
        "/jobs/{jobId}": {
            "get": _read("getStatus", "Jobs", "How a job gets on", _document("statusInfo"), job, user=True),
            "delete": dismiss,
        },
        "/jobs/{jobId}/results": {"get": results},
        "/jobs/{jobId}/results/{outputId}": {"get": one},
    }


def _job_list() -> Part:
    return _read(
        "getJobs",
        "Jobs",
        "Your jobs",
        _document("jobList"),
        _words("type", ("process",)),
        _words("processID"),
        _words("status", STATUSES),
        _datetime(),
        _whole("minDuration"),
        _whole("maxDuration"),
        _whole("limit", 1, 1000),
        _query("before", {"type": "string"}),
        user=True,
    )


def _data() -> Part:
    collection = _in_path("collectionId")
    box: Part = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
    items = _read(
        "getFeatures",
        "Data",
        "The features of a collection",
        _document("featureCollection", GEOJSON),
        collection,
        {**_query("bbox", box), "style": "form", "explode": False},
        _datetime(),
        _whole("limit", 1, 10_000),
        _whole("offset"),
        _properties(),
    )
    feature = _read(
        "getFeature", "Data", "One feature", _document("feature", GEOJSON), collection, _in_path("featureId")
    )
    return {
        "/collections": {"get": _read("getCollections", "Data", "The collections", _document("collections"))},
        "/collections/{collectionId}": {
            "get": _read("describeCollection", "Data", "One collection", _document("collection"), collection)
        },
        "/collections/{collectionId}/data.parquet": {
            "get": _read(
                "getParquet", "Data", "All features of a collection as GeoParquet", _binary(GEOPARQUET), collection
            )
        },
        "/collections/{collectionId}/items": {"get": items},
        "/collections/{collectionId}/items/{featureId}": {"get": feature},
    }


def _read(
    name: str, tag: str, summary: str, content: Part, *parameters: Part, user: bool = False, formats: bool = True
) -> Part:
    """Return the operation that reads a resource."""
    given = [*parameters, _query("f", {"type": "string", "enum": ["json", "html"]})] if formats else [*parameters]
    operation: Part = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": given,
        "responses": {"200": _answer(f"{summary}.", content), **_errors(*_TAKEN, *_KNOWN)},
    }
    if user and formats:
        operation["responses"]["303"] = _answer(
            "People are led to the sign-in page.", None, Location={"type": "string"}
        )
    # An empty requirement: what a visitor may see is shown without a token.
    operation["security"] = [{"bearer": []}, {"query": []}] if user else [{}, {"bearer": []}, {"query": []}]
    return operation


def _document(schema: str, media_type: str = JSON, *, page: bool = True) -> Part:
    content: Part = {media_type: {"schema": ref(schema)}}
    return content | {HTML: {"schema": {"type": "string"}}} if page else content


def _binary(media_type: str) -> Part:
    return {media_type: {"schema": {"type": "string", "format": "binary"}}}


def _any_result() -> Part:
    """Return what results come as: a document, a value of any JSON, or whatever an output is."""
    text: Part = {"schema": {"type": "string"}}
    value: Part = {"schema": {"nullable": True}}
    return {JSON: value, HTML: text, "*/*": text}


def _answer(description: str, content: Part | None, **headers: Mapping[str, Any]) -> Part:
    answer: Part = {"description": description}
    if content is not None:
        answer["content"] = content
    return answer | {"headers": {name: {"schema": schema} for name, schema in headers.items()}} if headers else answer


def _errors(*statuses: int) -> Part:
    content = {
        JSON: {"schema": ref("exception")},
        PROBLEM_TYPE: {"schema": ref("exception")},
        HTML: {"schema": {"type": "string"}},
    }
    return {str(status): _answer(_ERRORS[status], content) for status in sorted(statuses)}


def _in_path(name: str) -> Part:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _header(name: str, description: str) -> Part:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _query(name: str, schema: Part) -> Part:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _whole(name: str, low: int = 0, high: int = 10**9) -> Part:
    return _query(name, {"type": "integer", "minimum": low, "maximum": high})


def _words(name: str, choices: tuple[str, ...] = ()) -> Part:
    word: Part = {"type": "string", "enum": list(choices)} if choices else {"type": "string"}
    return {**_query(name, {"type": "array", "items": word, "minItems": 1}), "style": "form", "explode": False}


def _datetime() -> Part:
    return _query("datetime", {"type": "string", "description": "A moment, or an interval such as a/b, ../b or a/.."})


def _properties() -> Part:
    """Return the filters by a field's value: their names differ from collection to collection."""
    schema: Part = {"type": "object", "additionalProperties": {"type": "string"}}
    return {**_query("properties", schema), "style": "form", "explode": True}
