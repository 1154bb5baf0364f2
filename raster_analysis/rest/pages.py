"""Pages: the browsable directory, rendered on the server and useful without JavaScript."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from raster_analysis.rest.formats import Answer
from raster_analysis.rest.tasks import display_name
from raster_analysis.rest.urls import LOGIN, SERVICES, Urls

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_NO_PAGE = ("RasterAnalysisTools", "jobs", "results", "inputs")
"""Parts of a path that have no page of their own, or one that is no step on the way."""
_LABELS = {"GPServer": "Raster Analysis Tools"}


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at a page, and where."""

    path: str
    user: str | None = None
    csrf_token: str = ""
    has_json: bool = False
    """Whether the page's JSON can be read without a token, so that a link to it works."""


class Pages:
    """Renders answers as HTML; every value is escaped by the template engine."""

    def __init__(self, urls: Urls, title: str) -> None:
        self.urls = urls
        self._title = title
        self._environment = Environment(
            loader=PackageLoader("raster_analysis.rest"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["pretty"] = _pretty
        self._environment.filters["words"] = display_name
        self._environment.filters["iso_time"] = _iso_time
        self._environment.filters["day"] = lambda ms: _iso_time(ms)[:10]

    def show(self, answer: Answer, visit: Visit) -> HTMLResponse:
        """Return the page of an answer."""
        root = self.urls.path
        html = self._environment.get_template(answer.page).render(
            document=answer.document,
            visit=visit,
            site=self._title,
            root=root,
            crumbs=_crumbs(root, visit.path),
            sign_in=self.sign_in_url(visit.path),
            **answer.view,
        )
        return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    def sign_in_url(self, path: str) -> str:
        """Return where to sign in, coming back to `path` afterwards."""
        return f"{self.urls.path}{LOGIN}?next={quote(path)}"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _iso_time(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="seconds")


def _crumbs(root: str, path: str) -> list[tuple[str, str]]:
    """Return (label, link) for each directory above and including a page of the services directory."""
    inner = path.removeprefix(root)
    if not inner.startswith(SERVICES):
        return []
    parts = [part for part in inner.removeprefix(SERVICES).split("/") if part]
    crumbs = [("Services", root + SERVICES)]
    link = root + SERVICES
    for place, part in enumerate(parts):
        link = f"{link}/{quote(part)}"
        is_hosted = parts[0] == "Hosted"
        # The name of a hosted service has no page of its own; that of its kind comes next and bears the name.
        if part not in _NO_PAGE and not (place == 1 and is_hosted and len(parts) > 2):
            label = f"{parts[1]} ({part})" if place == 2 and is_hosted else part
            crumbs.append((_LABELS.get(part, label), link))
    return crumbs
