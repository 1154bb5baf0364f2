"""Collections: the hosted feature layers that a caller can read, as OGC API - Features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.errors import InputError
from raster_analysis.layers.feature_query import FeatureQuery, Shapes
from raster_analysis.ogc.dialect import GEOJSON, HTML
from raster_analysis.ogc.item_query import LONGITUDE_LATITUDE, Bounds, read_query
from raster_analysis.ogc.links import Link, Links, link
from raster_analysis.ogc.moments import spell_ms
from raster_analysis.ogc.problem import Problem
from raster_analysis.ogc.route import ANY, route
from raster_analysis.ogc.schemas import GEOPACKAGE, GEOPARQUET, GEOTIFF
from raster_analysis.portal.database import items
from raster_analysis.portal.item import Item, safe_name
from raster_analysis.portal.items import Items
from raster_analysis.portal.moment import now_ms
from raster_analysis.portal.services import ServiceKind
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Document, Refusal
from raster_analysis.rest.feature_request import FeatureRequest
from raster_analysis.rest.feature_source import FeatureSource, FeatureSources, LayerFacts
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.geojson import MORE

_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_MOST_COLLECTIONS = 1000
_SHOWN = "20"
"""Features on a page for people, unless they ask for more."""


@dataclass(frozen=True, slots=True)
class Collection:
    """One layer of a feature service."""

    id: str
    source: FeatureSource
    layer: LayerFacts


class Collections:
    """Serves features; the caller's rights on the item decide."""

    def __init__(self, stored: Items, sources: FeatureSources, links: Links) -> None:
        self._items = stored
        self._sources = sources
        self._links = links

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        one = "/collections/{collection}"
        features = frozenset({Format.GEOJSON, Format.HTML})
        return [
            route("/collections", self.index, Policy.ANYONE),
            route(one, self.collection, Policy.ANYONE),
            route(f"{one}/data.parquet", self.parquet, Policy.ANYONE, formats=ANY),
            route(f"{one}/items", self.items, Policy.ANYONE, queries=None, formats=features),
            route(f"{one}/items/{{feature}}", self.feature, Policy.ANYONE, formats=features),
        ]

    def index(self, call: Call) -> Answer:
        """List the collections, and links to rasters, which have no items."""
        vectors = [item for item in self._filled(call, ServiceKind.FEATURES) if _is_geopackage(item)]
        rasters = self._filled(call, ServiceKind.IMAGERY)
        links = self._links.of_itself("collections", title="Collections")
        links += [self._data(item.id, GEOTIFF, item.title) for item in rasters]
        rows: Sequence[JsonValue] = [
            self._summary(item.name or "", item.title, item.snippet, item.id) for item in vectors
        ]
        path = call.request.url.path
        shown = [(item.title, f"{path}/{item.name}", item.snippet or "") for item in vectors]
        view = {"title": "Collections", "rows": shown}
        return Answer({"links": [*links], "collections": [*rows]}, "ogc.html", view)

    def _filled(self, call: Call, kind: ServiceKind) -> Sequence[Item]:
        """Return the items of services that a job has filled."""
        wanted, page = items.c.type == kind.item_type, slice(0, _MOST_COLLECTIONS)
        found = self._items.select(call.visitor, wanted, page=page, order=items.c.title_key.asc()).items
        return [item for item in found if item.name and item.data_file]

    def collection(self, call: Call) -> Answer:
        """Describe one collection."""
        found = self._find(call)
        source, layer = found.source, found.layer
        document = self._summary(found.id, str(layer["name"]), source.description, source.item_id)
        extent = self._extent(found)
        if extent is not None:
            document["extent"] = {"spatial": {"bbox": [[*extent]], "crs": _CRS84}}
        return Answer(document, "ogc.html", {"title": str(layer["name"]), "lead": source.description})

    def items(self, call: Call) -> Answer | Response:
        """Return a page of features."""
        found = self._find(call)
        query = read_query(call, found.layer, lambda: self._extent(found))
        if call.format is Format.HTML and "limit" not in call.fields:
            query = replace(query, limit=int(_SHOWN))
        matched = self._count(found, query)
        content = self._ask(found, query)
        told: Document = {
            "timeStamp": spell_ms(now_ms()),
            "numberMatched": matched,
            "numberReturned": max(min(query.limit or 0, matched - query.offset), 0),
            "links": [*self._page_links(call, found, query, matched)],
        }
        return self._answer(call, found, content, told)

    def parquet(self, call: Call) -> Response:
        """Return all features of a collection as GeoParquet, in the layer's own reference."""
        found = self._find(call)
        if found.layer["id"] != 0:
            raise Problem(404, f"Collection {found.id} is no first layer; GeoParquet is made of those.")
        content = self._sources.as_parquet(found.source)
        name = safe_name(f"{found.source.name}.parquet")
        return Response(
            content.data, media_type=GEOPARQUET, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    def feature(self, call: Call) -> Answer | Response:
        """Return one feature."""
        found = self._find(call)
        number = call.path["feature"]
        ids = (int(number),) if number.isascii() and number.isdigit() and len(number) < 19 else ()
        collection = json.loads(self._ask(found, FeatureQuery(ids=ids, limit=1, shapes=Shapes(LONGITUDE_LATITUDE))))
        if not collection["features"]:
            raise Problem(404, f"Collection {found.id} has no feature {number[:40]!r}.")
        own = self._links.of_itself("collections", found.id, "items", number, title=number, type=GEOJSON)
        links = [*own, self._links.to("collection", "collections", found.id, title=found.id)]
        document = {**collection["features"][0], "links": links}
        return Answer(document, "ogc.html", {"title": f"{found.id} {number}"}, media_type=GEOJSON)

    def _answer(self, call: Call, found: Collection, content: bytes, told: Document) -> Answer | Response:
        if call.format is Format.HTML:
            return Answer({**json.loads(content), **told}, "ogc.html", {"title": f"{found.id}: features"})
        # GDAL reads no feature of a page that is marked so: it takes it for an Esri service, and here links lead on.
        content = content.replace(MORE.encode(), b"", 1)
        # What the reader wrote ends with the collection's brace: the features are not parsed and written again.
        return Response(content[:-1] + b"," + json.dumps(told).encode()[1:], media_type=GEOJSON)

    def _page_links(self, call: Call, found: Collection, query: FeatureQuery, matched: int) -> Sequence[Link]:
        path = ("collections", found.id, "items")
        links = self._links.of_itself(*path, title=found.id, type=GEOJSON, query=call.fields)
        links.append(self._links.to("collection", "collections", found.id, title=found.id))
        following = query.offset + (query.limit or 0)
        if following < matched:
            # A token that came in the query is needed again: GDAL and QGIS follow the link as it stands.
            asked = dict(call.request.query_params.items())
            url = self._links.url(*path, **{**asked, "limit": str(query.limit), "offset": str(following)})
            links.append(link(url, "next", GEOJSON, "Next page"))
        return links

    def _find(self, call: Call) -> Collection:
        name, dot, number = call.path["collection"].partition(".")
        try:
            source = self._sources.find(name, call.visitor)
        except (Refusal, InputError) as error:
            raise Problem(404, str(error)) from None
        layers = self._sources.facts(source)
        found = next((layer for layer in layers if str(layer["id"]) == (number if dot else "0")), None)
        if found is None:
            raise _missing(call)
        return Collection(call.path["collection"], source, found)

    def _ask(self, found: Collection, query: FeatureQuery) -> bytes:
        return self._sources.ask(found.source, FeatureRequest(found.layer["id"], query=query, format="geojson")).data

    def _count(self, found: Collection, query: FeatureQuery) -> int:
        every = replace(query, offset=0, limit=None, shapes=None)
        request = FeatureRequest(found.layer["id"], "count", every)
        return int(json.loads(self._sources.ask(found.source, request).data)["count"])

    def _extent(self, found: Collection) -> Bounds | None:
        if not found.layer["geometry"] or not found.layer["count"]:
            return None
        request = FeatureRequest(found.layer["id"], "extent", FeatureQuery(shapes=Shapes(LONGITUDE_LATITUDE)))
        extent = json.loads(self._sources.ask(found.source, request).data)["extent"]
        sides = [extent.get(side) for side in ("xmin", "ymin", "xmax", "ymax")]
        if not all(isinstance(side, (int, float)) for side in sides):
            return None
        west, south, east, north = sides
        return west, south, east, north

    def _summary(self, id: str, title: str, description: str | None, item_id: str) -> Document:
        links = [
            *self._links.of_itself("collections", id, title=title),
            self._links.to("items", "collections", id, "items", title=title, type=GEOJSON),
            {**self._links.to("items", "collections", id, "items", title=title, type=HTML),
             "href": self._links.url("collections", id, "items", f="html")},
            self._data(item_id, GEOPACKAGE, title),
            *self._parquet_links(id, title),
        ]  # fmt: skip
        return {
            "id": id,
            "title": title,
            "description": description or "",
            "itemType": "feature",
            "crs": [_CRS84],
            "links": [*links],
        }

    def _parquet_links(self, id: str, title: str) -> Sequence[Link]:
        # pyarrow is an extra; a link that leads to a refusal helps nobody.
        if "." in id or find_spec("pyarrow") is None:
            return ()
        return (link(self._links.url("collections", id, "data.parquet"), "enclosure", GEOPARQUET, title),)

    def _data(self, item_id: str, type: str, title: str) -> Link:
        return link(f"{self._links.base}/portal/sharing/rest/content/items/{item_id}/data", "enclosure", type, title)


def _is_geopackage(item: Item) -> bool:
    return str(item.data_file).lower().endswith(".gpkg")


def _missing(call: Call) -> Problem:
    return Problem(404, f"Collection {call.path['collection'][:100]!r} does not exist or is inaccessible.")
