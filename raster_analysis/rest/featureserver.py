"""Feature services: results of jobs that are features or tables, as layers to query (contract 7.1)."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.responses import Response

from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Document, Refusal
from raster_analysis.rest.feature_document import layer_document, service_document
from raster_analysis.rest.feature_request import read_request
from raster_analysis.rest.feature_source import FeatureSource, FeatureSources, LayerFacts
from raster_analysis.rest.formats import DOCUMENTS, Answer, Format, json_response
from raster_analysis.rest.urls import SERVICES

HOSTED = f"{SERVICES}/Hosted/{{name}}/FeatureServer"

_QUERIES = DOCUMENTS | {Format.GEOJSON}
_SHOWN = "20"
"""Features on a page for people, unless they ask for more."""


class FeatureServer:
    """Serves GeoPackages as feature services."""

    def __init__(self, sources: FeatureSources) -> None:
        self._sources = sources

    def endpoints(self) -> list[Endpoint]:
        """Return every route; each asks for the item's right on its row."""
        layer = f"{HOSTED}/{{layer}}"
        return [
            Endpoint(HOSTED, self.service, Policy.ANYONE),
            Endpoint(f"{HOSTED}/layers", self.layers, Policy.ANYONE),
            Endpoint(f"{HOSTED}/query", self.query_all, Policy.ANYONE),
            Endpoint(layer, self.layer, Policy.ANYONE),
            Endpoint(f"{layer}/query", self.query, Policy.ANYONE, formats=_QUERIES),
            *(Endpoint(f"{layer}/{name}", _refuse(reason), Policy.ANYONE) for name, reason in _REFUSED.items()),
            Endpoint(f"{layer}/{{object_id}}", self.feature, Policy.ANYONE),
        ]

    def service(self, call: Call) -> Answer:
        """Describe the service; one that no job has filled yet has no layers."""
        source = self._source_of(call)
        facts = self._sources.facts(source)
        return Answer(
            service_document(source, facts), "featureserver.html", {"counts": {f["id"]: f["count"] for f in facts}}
        )

    def layers(self, call: Call) -> Answer:
        """Describe all layers and tables."""
        source = self._source_of(call)
        facts = self._sources.facts(source)
        return Answer(
            {
                "layers": [layer_document(source, layer) for layer in facts if layer["geometry"]],
                "tables": [layer_document(source, layer) for layer in facts if not layer["geometry"]],
            }
        )

    def layer(self, call: Call) -> Answer:
        """Describe one layer or table."""
        source = self._source_of(call)
        facts = self._layer_of(call, source)
        return Answer(layer_document(source, facts), "layer.html", {"count": facts["count"]})

    def query(self, call: Call) -> Answer | Response:
        """Answer a query about one layer."""
        source = self._source_of(call)
        number = self._layer_of(call, source)["id"]
        is_page = call.format is Format.HTML
        words = {"resultRecordCount": _SHOWN, **call.fields} if is_page else call.fields
        content = self._sources.ask(source, read_request(words, number, geojson=call.format is Format.GEOJSON))
        if call.format in (Format.JSON, Format.GEOJSON):
            return Response(content.data, media_type=content.media_type)
        document = json.loads(content.data)
        return (
            Answer(document, "features.html", {"asked": call.fields})
            if is_page
            else json_response(document, pretty=True)
        )

    def query_all(self, call: Call) -> Answer:
        """Answer a query about several layers: `layerDefs` says which, and the condition of each."""
        source = self._source_of(call)
        answers: list[Document] = []
        for number, definition in _definitions(call.fields.get("layerDefs", "")).items():
            layer = self._find_layer(source, number)
            words = {**call.fields, **definition}
            answer = json.loads(self._sources.ask(source, read_request(words, layer["id"])).data)
            answers.append({"id": layer["id"], **answer})
        return Answer({"layers": [*answers]})

    def feature(self, call: Call) -> Answer:
        """Return one feature by its id."""
        source = self._source_of(call)
        number = self._layer_of(call, source)["id"]
        object_id = call.path["object_id"]
        if not object_id.isdigit():
            raise Refusal(400, f"Invalid URL: a layer has no operation {object_id[:40]!r}.")
        words = {**_only(call, "outSR", "returnGeometry"), "objectIds": object_id, "outFields": "*"}
        found = json.loads(self._sources.ask(source, read_request(words, number)).data)["features"]
        if not found:
            raise Refusal(404, f"There is no feature {object_id[:20]}.")
        return Answer({"feature": found[0]})

    def _source_of(self, call: Call) -> FeatureSource:
        return self._sources.find(call.path["name"], call.visitor)

    def _layer_of(self, call: Call, source: FeatureSource) -> LayerFacts:
        return self._find_layer(source, call.path["layer"])

    def _find_layer(self, source: FeatureSource, number: str) -> LayerFacts:
        facts = self._sources.facts(source)
        found = next((layer for layer in facts if str(layer["id"]) == number), None)
        if found is None:
            raise Refusal(400, f"Service {source.name!r} has no layer {number[:40]!r}; it has {len(facts)}, from 0.")
        return found


def _definitions(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each layer: `0:where;1:where` or JSON by number, of texts or objects."""
    if not text.strip():
        return {"0": {}}
    if not text.strip().startswith(("{", "[")):
        pairs = [part.partition(":") for part in text.split(";") if part.strip()]
        return {number.strip(): {"where": where} for number, _, where in pairs}
    try:
        value = json.loads(text)
        rows = {str(row["layerId"]): row for row in value} if isinstance(value, list) else value
        return {str(number): _definition(row) for number, row in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Refusal(400, f'layerDefs {text[:80]!r}: want {{"0": "<where>"}} or 0:<where>.') from None


def _definition(row: object) -> dict[str, str]:
    if isinstance(row, dict):
        return {name: str(row[name]) for name in ("where", "outFields") if row.get(name)}
    return {"where": str(row)}


def _only(call: Call, *names: str) -> dict[str, str]:
    return {name: call.fields[name] for name in names if name in call.fields}


def _refuse(reason: str) -> Callable[[Call], Answer]:
    def refuse(_call: Call) -> Answer:
        raise Refusal(400, reason)

    return refuse


_REFUSED = {
    "queryRelatedRecords": "Layers of results have no related records.",
    "queryAttachments": "Layers of results have no attachments.",
    "generateRenderer": "Renderers are not computed; the layer's drawingInfo has one.",
    **dict.fromkeys(
        ("addFeatures", "updateFeatures", "deleteFeatures", "applyEdits", "calculate", "append"),
        "Layers of results cannot be edited.",
    ),
}
