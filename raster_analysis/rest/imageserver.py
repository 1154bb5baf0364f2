"""Image services: results of jobs that are rasters, and rasters of stores, as layers of a map (contract 7.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.portal.users import User, Users
from raster_analysis.question import Content
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Document, Refusal
from raster_analysis.rest.formats import DOCUMENTS, Answer, Format
from raster_analysis.rest.image_document import (
    DEEPEST_LEVEL,
    TILE_PX,
    attribute_table_document,
    colormap_document,
    extent_document,
    function_documents,
    histograms_document,
    key_properties,
    service_document,
    statistics_document,
    tile_bounds,
)
from raster_analysis.rest.image_legend import legend_document
from raster_analysis.rest.image_points import identify_document, samples_document
from raster_analysis.rest.image_request import Facts, image_arguments, own_reference
from raster_analysis.rest.image_source import ImageSource, ImageSources
from raster_analysis.rest.image_ticket import ImageTicket, TicketOffice
from raster_analysis.rest.image_values import read_bounds
from raster_analysis.rest.swatch import draw_swatch
from raster_analysis.rest.urls import SERVICES, Urls

HOSTED = f"{SERVICES}/Hosted/{{name}}/ImageServer"
RENDERING = f"{SERVICES}/System/RasterRendering/ImageServer"
"""Draws rasters of stores, named by the parameter `Raster` (contract 3.3)."""

_PICTURE = "exportImage/picture"
_TICKET_FIELD = "imageToken"
"""A name that the journal knows for a secret."""
_IMAGES = DOCUMENTS | {Format.IMAGE}
_DECIDING = (
    "bbox", "bboxSR", "size", "imageSR", "format", "pixelType", "noData", "interpolation", "compression",
    "compressionQuality", "compressionTolerance", "bandIds", "renderingRule", "adjustAspectRatio", "Raster", "raster",
)  # fmt: skip
"""Parameters that decide what an image is; a ticket holds these and no other."""
_THUMBNAIL = {"size": "200,133", "format": "png", "adjustAspectRatio": "true"}
_PREVIEW = {"size": "800,600", "format": "png", "adjustAspectRatio": "true"}
_BLANK_TILE = draw_swatch((0, 0, 0, 0), TILE_PX, TILE_PX)

_About = Callable[[ImageSource, Facts], Document]


class ImageServer:
    """Serves rasters as image services."""

    def __init__(self, sources: ImageSources, users: Users, urls: Urls, office: TicketOffice) -> None:
        self._sources, self._users = sources, users
        self._urls, self._office = urls, office

    def endpoints(self) -> list[Endpoint]:
        """Return every route; each asks for the item's right, and those of stores for a publisher."""
        return [*self._routes(HOSTED, Policy.ANYONE), *self._routes(RENDERING, Policy.PUBLISHER)]

    def _routes(self, base: str, policy: Policy) -> list[Endpoint]:
        documents: dict[str, Callable[[Call], Answer]] = {}
        documents |= {"": self.service, "/info": self.service, "/identify": self.identify, "/getSamples": self.samples}
        documents |= {f"/{name}": self._about(about) for name, about in _ABOUT.items()}
        documents |= {"/computeStatisticsHistograms": self.compute, "/computeHistograms": self.compute}
        documents |= {f"/{name}": _refuse(reason) for name, reason in _REFUSED.items()}
        return [
            *(Endpoint(base + path, work, policy) for path, work in documents.items()),
            Endpoint(f"{base}/exportImage", self.export, policy, formats=_IMAGES),
            Endpoint(f"{base}/{_PICTURE}", self.picture, Policy.OPEN, default_format=Format.JSON),
            Endpoint(f"{base}/info/thumbnail", self.thumbnail, policy, formats=_IMAGES, default_format=Format.IMAGE),
            Endpoint(
                f"{base}/tile/{{level}}/{{row}}/{{col}}",
                self.tile,
                policy,
                formats=_IMAGES,
                default_format=Format.IMAGE,
            ),
        ]

    def service(self, call: Call) -> Answer:
        """Describe the service; one that no job has filled yet has an empty extent."""
        source = self._source_of(call)
        facts = self._sources.facts(source.handle) if source.handle else None
        picture = self._urls.path + self._link(call, {**call.fields, **_PREVIEW}) if facts else None
        return Answer(service_document(source, facts), "imageserver.html", {"picture": picture})

    def export(self, call: Call) -> Answer | Response:
        """Return a picture or its values: as bytes, or as a URL that is good for a few minutes."""
        source = self._source_of(call)
        if call.format is Format.IMAGE:
            return _response(self._image(source, call.fields))
        facts = self._sources.facts(source.raster)
        # All of it is looked at now: the URL should not be the first to tell what is wrong.
        frame = image_arguments(call.fields, facts)["frame"]
        placed = json.loads(self._sources.ask("image_frame", source.raster, _as_object(frame)).data)
        link = self._link(call, call.fields)
        document: Document = {
            "href": self._urls.base + link,
            "width": _as_object(frame)["width"],
            "height": _as_object(frame)["height"],
            "extent": extent_document(placed["bounds"], placed["reference"]),
            "scale": 0,
        }
        # Without the host: a page may show what comes from where it came from itself, whatever that is called.
        return Answer(document, "image.html", {"picture": self._urls.path + link})

    def picture(self, call: Call) -> Response:
        """Return the image of a ticket, with the rights that its user has now."""
        ticket = self._office.read(call.fields.get(_TICKET_FIELD, ""), _service_path(call))
        user = self._users.get(ticket.user) if ticket.user else None
        return _response(self._image(self._source(call, ticket.fields, user), ticket.fields))

    def thumbnail(self, call: Call) -> Response:
        """Return a small picture of the whole raster."""
        source = self._source_of(call)
        if source.handle is None:
            return _response(Content(draw_swatch((0, 0, 0, 0), 200, 133), "image/png"))
        return _response(self._image(source, _THUMBNAIL))

    def tile(self, call: Call) -> Response:
        """Return a tile of Web Mercator; transparent where the raster is not."""
        source = self._source_of(call)
        level, row, col = (_whole(call.path[name], name) for name in ("level", "row", "col"))
        if level > DEEPEST_LEVEL or row >= 2**level or col >= 2**level:
            raise Refusal(404, f"There is no tile {level}/{row}/{col}; levels are 0 to {DEEPEST_LEVEL}.")
        bounds = tile_bounds(level, row, col)
        if source.handle is None or not _overlap(bounds, self._sources.facts(source.handle)["mercator_bounds"]):
            return _response(Content(_BLANK_TILE, "image/png"))
        mercator: dict[str, JsonValue] = {"wkid": 3857}
        frame: dict[str, JsonValue] = {"bounds_xyxy": [*bounds], "reference": mercator}
        frame |= {"height": TILE_PX, "width": TILE_PX}
        return _response(self._sources.ask("image", source.handle, {"frame": frame, "format": "png"}))

    def identify(self, call: Call) -> Answer:
        """Return the value at a point, and its class."""
        return Answer(identify_document(self._sources, self._source_of(call), call.fields))

    def samples(self, call: Call) -> Answer:
        """Return the values at many points."""
        return Answer(samples_document(self._sources, self._source_of(call), call.fields))

    def compute(self, call: Call) -> Answer:
        """Return statistics and histograms of an envelope, or of the whole raster."""
        raster = self._source_of(call).raster
        facts = self._sources.facts(raster)
        if call.fields.get("geometry", "").strip():
            bounds, reference = read_bounds(call.fields["geometry"], "geometry")
            part: dict[str, JsonValue] = {"bounds_xyxy": [*bounds], "reference": reference or own_reference(facts)}
            facts = json.loads(self._sources.ask("image_statistics", raster, part).data)
        return Answer({**statistics_document(facts), **histograms_document(facts)})

    def _about(self, about: _About) -> Callable[[Call], Answer]:
        def work(call: Call) -> Answer:
            source = self._source_of(call)
            return Answer(about(source, self._sources.facts(source.raster)))

        return work

    def _source_of(self, call: Call) -> ImageSource:
        return self._source(call, call.fields, call.visitor)

    def _source(self, call: Call, fields: Mapping[str, str], user: User | None) -> ImageSource:
        if "name" in call.path:
            return self._sources.hosted(call.path["name"], user)
        reference = fields.get("Raster") or fields.get("raster")
        if not reference:
            return ImageSource("RasterRendering", None)
        if user is None:
            raise Refusal(499, "Token Required")
        return self._sources.stored(reference, user)

    def _image(self, source: ImageSource, fields: Mapping[str, str]) -> Content:
        facts = self._sources.facts(source.raster)
        return self._sources.ask("image", source.raster, image_arguments(fields, facts))

    def _link(self, call: Call, fields: Mapping[str, str]) -> str:
        """Return the path, below the server's own, of an image that needs no token."""
        deciding = {name: fields[name] for name in _DECIDING if fields.get(name)}
        path = _service_path(call)
        text = self._office.write(ImageTicket(call.visitor.name if call.visitor else None, path, deciding))
        return f"{path}/{_PICTURE}?{_TICKET_FIELD}={text}"


def _service_path(call: Call) -> str:
    return HOSTED.replace("{name}", call.path["name"]) if "name" in call.path else RENDERING


def _response(content: Content) -> Response:
    return Response(content.data, media_type=content.media_type)


def _as_object(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise Refusal(404, f"{name} {text[:40]!r} is no whole number.")
    return int(text)


def _overlap(bounds: tuple[float, float, float, float], others: list[float] | None) -> bool:
    if others is None:
        return False
    xmin, ymin, xmax, ymax = others
    return bounds[0] < xmax and bounds[2] > xmin and bounds[1] < ymax and bounds[3] > ymin


def _refuse(reason: str) -> Callable[[Call], Answer]:
    def work(_call: Call) -> Answer:
        raise Refusal(400, reason)

    return work


_ABOUT: Mapping[str, _About] = {
    "legend": lambda source, facts: legend_document(source.name, facts),
    "keyProperties": lambda _, facts: key_properties(facts),
    "rasterAttributeTable": lambda _, facts: attribute_table_document(facts),
    "colormap": lambda _, facts: colormap_document(facts),
    "statistics": lambda _, facts: statistics_document(facts),
    "histograms": lambda _, facts: histograms_document(facts),
    "rasterFunctionInfos": lambda *_: {"rasterFunctionInfos": function_documents()},
    "info/iteminfo": lambda source, _: {"name": source.name, "title": source.name, "description": source.description},
    "info/metadata": lambda source, facts: {"title": source.name, "sampled": facts["sampled"]},
}
_NO_CATALOG = "This image service is one raster and has no catalog of rasters."
_NO_DIMENSIONS = "This image service has no dimensions but its two."
_REFUSED: Mapping[str, str] = {
    "query": _NO_CATALOG,
    "download": _NO_CATALOG,
    "measure": "Measuring is not supported by this image service.",
    "multidimensionalInfo": _NO_DIMENSIONS,
    "multiDimensionalInfo": _NO_DIMENSIONS,
    "slices": _NO_DIMENSIONS,
}
