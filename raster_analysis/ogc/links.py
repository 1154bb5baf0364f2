"""Links between resources: absolute URLs that begin with the configured base, and what they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from raster_analysis.ogc.dialect import HTML, JSON

ROOT = "/ogc"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
_REL = "http://www.opengis.net/def/rel/ogc/1.0"
PROCESSES_REL = f"{_REL}/processes"
JOBS_REL = f"{_REL}/job-list"
CONFORMANCE_REL = f"{_REL}/conformance"
EXECUTE_REL = f"{_REL}/execute"
RESULTS_REL = f"{_REL}/results"
DATA_REL = f"{_REL}/data"

Link = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Links:
    """Makes URLs and links of the OGC resources."""

    base: str
    """The server's URL, from the settings and never from a request."""

    def url(self, *parts: str, **query: str) -> str:
        """Return the URL of a resource, by the parts of its path."""
        path = "".join(f"/{quote(part, safe='')}" for part in parts)
        return f"{self.base}{ROOT}{path}{f'?{urlencode(query)}' if query else ''}"

    def to(self, rel: str, *parts: str, title: str, type: str = JSON) -> Link:
        """Return a link to one of our resources."""
        return link(self.url(*parts), rel, type, title)

    def of_itself(
        self, *parts: str, title: str, type: str = JSON, query: Mapping[str, str] | None = None
    ) -> list[Link]:
        """Return what a resource says of itself and of its page."""
        asked = {name: value for name, value in (query or {}).items() if name not in ("f", "token")}
        return [
            link(self.url(*parts, **asked), "self", type, title),
            link(self.url(*parts, **{**asked, "f": "html"}), "alternate", HTML, f"{title} as a page"),
        ]


def link(url: str, rel: str, type: str, title: str) -> Link:
    """Return a link."""
    return {"href": url, "rel": rel, "type": type, "title": title}
