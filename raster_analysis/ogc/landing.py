"""The entrance: landing page, conformance classes, and the document that describes the whole API."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.ogc.links import CONFORMANCE_REL, DATA_REL, JOBS_REL, OPENAPI, PROCESSES_REL, ROOT, Link, Links
from raster_analysis.ogc.openapi import api_document
from raster_analysis.ogc.route import ANY, route
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer

_PROCESSES = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf"
_FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
CONFORMS_TO = (
    *(
        f"{_PROCESSES}/{name}"
        for name in ("core", "ogc-process-description", "json", "html", "oas30", "job-list", "dismiss")
    ),
    *(f"{_FEATURES}/{name}" for name in ("core", "oas30", "html", "geojson")),
)
_DESCRIPTION = "Deep learning on imagery: processes that detect and classify, and what they have made."


class Landing:
    """Serves what clients read first."""

    def __init__(self, title: str, links: Links) -> None:
        self._title = title
        self._links = links

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        return [
            route("", self.root, Policy.OPEN),
            route("/conformance", self.conformance, Policy.OPEN),
            route("/api", self.api, Policy.OPEN, formats=ANY),
        ]

    def root(self, _call: Call) -> Answer:
        """Say what is here."""
        to = self._links.to
        places: list[Link] = [
            to("service-desc", "api", title="The API's definition", type=OPENAPI),
            {
                **to("service-doc", "api", title="The API's definition as a page", type="text/html"),
                "href": self._links.url("api", f="html"),
            },
            to(CONFORMANCE_REL, "conformance", title="Conformance classes"),
            to("conformance", "conformance", title="Conformance classes"),
            to(PROCESSES_REL, "processes", title="Processes"),
            to("processes", "processes", title="Processes"),
            to(JOBS_REL, "jobs", title="Your jobs"),
            to("data", "collections", title="Collections"),
            to(DATA_REL, "collections", title="Collections"),
        ]
        links: list[JsonValue] = [*self._links.of_itself(title=self._title), *places]
        rows = [(title, f"{self._path()}/{name}", "") for title, name in _PLACES.items()]
        view = {"title": self._title, "lead": _DESCRIPTION, "rows": rows}
        return Answer({"title": self._title, "description": _DESCRIPTION, "links": links}, "ogc.html", view)

    def conformance(self, _call: Call) -> Answer:
        """List the conformance classes."""
        return Answer({"conformsTo": list(CONFORMS_TO)}, "ogc.html", {"title": "Conformance classes"})

    def api(self, _call: Call) -> Answer:
        """Describe the API."""
        document = api_document(self._title, self._links.url())
        return Answer(document, "ogc.html", {"title": "API definition"}, media_type=OPENAPI)

    def _path(self) -> str:
        return "/".join(["", *self._links.base.split("/")[3:]]) + ROOT


_PLACES = {
    "Processes": "processes",
    "Your jobs": "jobs",
    "Collections": "collections",
    "Conformance classes": "conformance",
    "API definition": "api",
}
