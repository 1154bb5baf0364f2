"""Results of a job: a document, one value, several parts, or links, as the execute request wanted them."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.jobs.job import Job
from raster_analysis.ogc.dialect import GEOJSON, JSON
from raster_analysis.ogc.execution import Wanted
from raster_analysis.ogc.links import Link, Links, link
from raster_analysis.ogc.negotiation import Accepted
from raster_analysis.ogc.schemas import GEOTIFF, is_item, media_types, output_schema
from raster_analysis.portal.services import ServiceKind
from raster_analysis.rest.envelope import Document
from raster_analysis.rest.formats import Answer
from raster_analysis.tool import Tool

MULTIPART = "multipart/related"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Result:
    """One output of a job that succeeded."""

    name: str
    value: JsonValue
    link: Link
    by_reference: bool
    media_type: str | None
    """Of text that is no JSON: what the output's schema says it is."""
    is_base64: bool = False
    """Whether that text stands for bytes."""

    def inline(self) -> JsonValue:
        """Return it as a part of a document: objects are wrapped, so that they cannot be taken for links."""
        if self.by_reference:
            return {name: value for name, value in self.link.items() if name != "rel"}
        wrapped = self.value is None or isinstance(self.value, dict)
        return {"value": self.value} if wrapped and not _is_bbox(self.value) else self.value

    def body(self, accepted: Accepted) -> tuple[bytes, str]:
        """Return the value alone, and its media type."""
        text_type = self.media_type or TEXT
        if isinstance(self.value, str) and (accepted.weight(text_type) or not accepted.weight(JSON)):
            data = self.value.encode("utf-8", "replace")
            return _decoded(data) if self.is_base64 else data, text_type
        return json.dumps(self.value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"), JSON


class Results:
    """Makes answers of the results of one server's jobs."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def of(self, job: Job, tool: Tool[Any]) -> list[Result]:
        """Return the wanted outputs of a job, in the order of their declaration."""
        wanted = Wanted.of(job, tool).transmissions
        return [self.one(job, tool, output.name) for output in tool.outputs if output.name in wanted]

    def one(self, job: Job, tool: Tool[Any], name: str) -> Result:
        """Return one output of a job."""
        output = next(output for output in tool.outputs if output.name == name)
        value = job.outputs.get(name)
        becomes_item = is_item(tool, output)
        to = self._to_item(name, value) if becomes_item and isinstance(value, dict) else self._to_value(job, name)
        by_reference = Wanted.of(job, tool).transmissions.get(name) == "reference"
        schema = output_schema(tool, output)
        types = media_types(schema)
        return Result(
            name,
            value,
            to,
            by_reference or becomes_item,
            media_type=next(iter(types)) if len(types) == 1 else None,
            is_base64=schema.get("contentEncoding") in ("base64", "binary"),
        )

    def respond(self, job: Job, tool: Tool[Any], accepted: Accepted) -> Answer | Response:
        """Return the answer that the execute request asked for, as far as the client takes it."""
        results = self.of(job, tool)
        response = Wanted.of(job, tool).response
        raw_type = MULTIPART if len(results) > 1 else JSON
        # Nobody said: the standard means raw, which those who take JSON only could not read when it has parts.
        if response == "document" or (response is None and not _takes_raw(results, raw_type, accepted)):
            return Answer(results_document(results), "ogc.html")
        if all(result.by_reference for result in results):
            return Response(status_code=204, headers={"link": ", ".join(map(_link_header, results))})
        if len(results) == 1:
            content, media_type = results[0].body(accepted)
            return Response(content, media_type=media_type)
        return _multipart(results, accepted)

    def _to_value(self, job: Job, name: str) -> Link:
        return link(self._links.url("jobs", job.id, "results", name), name, JSON, name)

    def _to_item(self, name: str, value: Mapping[str, JsonValue]) -> Link:
        service = str(value.get("url", "")).rstrip("/").split("/")
        data = f"{self._links.base}/portal/sharing/rest/content/items/{value.get('itemId')}/data"
        if service[-1] == ServiceKind.FEATURES:
            return link(self._links.url("collections", service[-2], "items"), name, GEOJSON, name)
        return link(data, name, GEOTIFF if service[-1] == ServiceKind.IMAGERY else "application/octet-stream", name)


def results_document(results: list[Result]) -> Document:
    """Return all results as one document."""
    return {result.name: result.inline() for result in results}


def _takes_raw(results: list[Result], raw_type: str, accepted: Accepted) -> bool:
    if all(result.by_reference for result in results):
        return not accepted.names(JSON)
    return accepted.weight(raw_type) > 0


def _multipart(results: list[Result], accepted: Accepted) -> Response:
    boundary = secrets.token_hex(16)
    parts = [_part(result, accepted) for result in results]
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return Response(body + b"--%b--\r\n" % boundary.encode(), media_type=f"{MULTIPART}; boundary={boundary}")


def _part(result: Result, accepted: Accepted) -> bytes:
    if result.by_reference:
        head, content = {"Content-Location": result.link["href"], "Content-Type": result.link["type"]}, b""
    else:
        content, media_type = result.body(accepted)
        head = {"Content-Type": media_type}
    lines = [f"{name}: {value}\r\n" for name, value in {"Content-ID": f"<{result.name}>", **head}.items()]
    return "".join(lines).encode() + b"\r\n" + content


def _link_header(result: Result) -> str:
    return f'<{result.link["href"]}>; rel="{result.name}"; type="{result.link["type"]}"'


def _decoded(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        # Not what the tool has promised; it is passed on as it is.
        return data


def _is_bbox(value: JsonValue) -> bool:
    return isinstance(value, dict) and "bbox" in value and value.keys() <= {"bbox", "crs"}
