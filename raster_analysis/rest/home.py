"""The portal's pages for people: find items, look at one, keep one's own; changes go through the REST API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import JsonValue
from starlette.responses import RedirectResponse, Response

from raster_analysis.portal.document import item_document
from raster_analysis.portal.item import PACKAGE_TYPE, Item
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import Search, search_items
from raster_analysis.portal.services import ServiceKind
from raster_analysis.portal.users import User
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.urls import HOME, TOOLBOX, Urls

_PAGE = 24
_KINDS = {kind.item_type: kind for kind in ServiceKind}
_MODEL_TASKS = (
    ("DetectObjectsUsingDeepLearning", "model"),
    ("ClassifyPixelsUsingDeepLearning", "model"),
    ("ClassifyObjectsUsingDeepLearning", "model"),
    ("DetectChangeUsingDeepLearning", "modelDefinition"),
    ("QueryDeepLearningModelInfo", "model"),
    ("InstallDeepLearningModel", "modelPackage"),
)
_IMAGE_TASKS = (
    ("DetectObjectsUsingDeepLearning", "inputRaster"),
    ("ClassifyPixelsUsingDeepLearning", "inputRaster"),
    ("DetectChangeUsingDeepLearning", "toRaster"),
)
_FEATURE_TASKS = (
    ("ClassifyObjectsUsingDeepLearning", "inputFeatures"),
    ("ComputeAccuracyforObjectDetection", "detectedFeatures"),
)


@dataclass(frozen=True, slots=True)
class Use:
    """A task that an item can be given to, and the form that has it filled in."""

    task: str
    link: str


class Home:
    """Serves the pages under `/portal/home`; the documents behind them are those of the sharing API."""

    def __init__(self, portal: Portal, urls: Urls) -> None:
        self._portal = portal
        self._urls = urls

    def endpoints(self) -> list[Endpoint]:
        """Return the routes, by the names that links to portals have had for years."""
        return [
            Endpoint(HOME, self.enter, Policy.OPEN),
            Endpoint(f"{HOME}/", self.enter, Policy.OPEN),
            Endpoint(f"{HOME}/index.html", self.enter, Policy.OPEN),
            Endpoint(f"{HOME}/search.html", self.search, Policy.ANYONE),
            Endpoint(f"{HOME}/content.html", self.content, Policy.USER),
            Endpoint(f"{HOME}/item.html", self.item, Policy.ANYONE),
        ]

    def enter(self, _call: Call) -> Response:
        """Lead to the search page."""
        return RedirectResponse(f"{self._urls.path}{HOME}/search.html", 302)

    def search(self, call: Call) -> Answer:
        """Show what a search finds; without words, the newest that the visitor can see."""
        words = call.fields.get("q", "").strip()
        found = search_items(self._portal.items, Search(words, max(_start(call), 1), _PAGE), call.visitor)
        items = [self._document(item) for item in found.items]
        view = {"q": words, "next_page": self._page_link("search.html", found.next_start, q=words)}
        document: dict[str, JsonValue] = {"query": words, "total": found.total, "results": [*items]}
        return Answer(document, "search.html", view | {"items": items, "total": found.total})

    def content(self, call: Call) -> Answer:
        """Show the caller's own items in one folder, or in none, and the forms to add some."""
        owner, first = call.user, max(_start(call), 1) - 1
        folder = self._portal.folders.get(call.fields["folder"], owner.name) if call.fields.get("folder") else None
        window = slice(first, first + _PAGE)
        page = self._portal.items.in_folder(owner.name, folder.id if folder else None, owner, page=window)
        items = [self._document(item) for item in page.items]
        following = first + len(items) + 1 if first + len(items) < page.total else -1
        view: dict[str, Any] = {
            "items": items,
            "total": page.total,
            "folder": folder,
            "folders": self._portal.folders.list(owner.name),
            "next_page": self._page_link("content.html", following, folder=folder.id if folder else ""),
            "place": self._place(owner, folder.id if folder else None),
            "may_publish": owner.may_publish,
            "package_type": PACKAGE_TYPE,
        }
        return Answer({"username": owner.name, "total": page.total, "items": items}, "content.html", view)

    def item(self, call: Call) -> Answer:
        """Show one item: what it is, what can be done with it, and a look at it."""
        item = self._portal.items.get(call.fields.get("id", ""), call.visitor)
        visitor = call.visitor
        view: dict[str, Any] = {
            "item": self._document(item),
            "kind": _KINDS.get(item.type),
            "has_data": item.data_file is not None,
            "may_change": visitor is not None and (visitor.is_administrator or visitor.name == item.owner),
            "place": self._place(self._portal.users.get(item.owner), item.folder_id),
            "uses": self._uses(item),
        }
        return Answer(view["item"], "item.html", view)

    def _document(self, item: Item) -> Any:
        return item_document(item, self._portal.base_url)

    def _place(self, owner: User, folder_id: str | None) -> str:
        """Return the path under which an owner's items are changed."""
        place = f"{self._urls.path}/portal/sharing/rest/content/users/{owner.name}"
        return f"{place}/{folder_id}" if folder_id else place

    def _uses(self, item: Item) -> list[Use]:
        tasks: Sequence[tuple[str, str]] = _MODEL_TASKS if item.type == PACKAGE_TYPE else ()
        kind = _KINDS.get(item.type) if item.data_file else None
        if kind is not None:
            tasks = _IMAGE_TASKS if kind is ServiceKind.IMAGERY else _FEATURE_TASKS
        root = self._urls.path + TOOLBOX
        return [Use(task, f"{root}/{task}?{urlencode({name: item.id})}") for task, name in tasks]

    def _page_link(self, page: str, start: int, **fields: str) -> str | None:
        if start < 0:
            return None
        given = {name: value for name, value in fields.items() if value}
        return f"{self._urls.path}{HOME}/{page}?{urlencode({**given, 'start': start})}"


def _start(call: Call) -> int:
    return whole_number(call.fields, "start", 1)
