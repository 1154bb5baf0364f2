"""The services directory above the services: root, folders, server info."""

from __future__ import annotations

from pydantic import JsonValue
from starlette.responses import RedirectResponse, Response

from raster_analysis.portal.database import items
from raster_analysis.portal.items import Items
from raster_analysis.portal.services import ServiceKind
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.tasks import CURRENT_VERSION
from raster_analysis.rest.urls import SERVICES, Urls

_MOST_SERVICES = 1000


class Directory:
    """Serves the listing of folders and services."""

    def __init__(self, urls: Urls, items: Items) -> None:
        self._urls = urls
        self._items = items

    def endpoints(self) -> list[Endpoint]:
        """Return every route of the directory."""
        return [
            Endpoint("/portal", self.enter, Policy.OPEN),
            Endpoint("/arcgis/rest", self.enter, Policy.OPEN),
            Endpoint("/arcgis/rest/info", self.info, Policy.OPEN),
            Endpoint(SERVICES, self.root, Policy.OPEN),
            Endpoint(f"{SERVICES}/", self.root, Policy.OPEN),
            Endpoint(f"{SERVICES}/System", self.system, Policy.OPEN),
            Endpoint(f"{SERVICES}/Hosted", self.hosted, Policy.ANYONE),
            Endpoint(f"{SERVICES}/Hosted/{{name}}/{{kind}}", self.no_service, Policy.ANYONE),
        ]

    def enter(self, _call: Call) -> Response:
        """Lead to the directory."""
        return RedirectResponse(self._urls.path + SERVICES, 302)

    def info(self, _call: Call) -> Answer:
        """Tell how clients get tokens."""
        token_url = f"{self._urls.sharing}/generateToken"
        return Answer(
            {
                "currentVersion": CURRENT_VERSION,
                "fullVersion": "11.5.0",
                "owningSystemUrl": f"{self._urls.base}/portal",
                "authInfo": {"isTokenBasedSecurity": True, "tokenServicesUrl": token_url},
            }
        )

    def root(self, _call: Call) -> Answer:
        """List the folders."""
        return _listing([], folders=["Hosted", "System"])

    def system(self, _call: Call) -> Answer:
        """List the toolbox."""
        return _listing([("System/RasterAnalysisTools", "GPServer")])

    def hosted(self, call: Call) -> Answer:
        """List the result layers that the caller can read."""
        wanted = items.c.type.in_([kind.item_type for kind in ServiceKind])
        page = self._items.select(call.visitor, wanted, page=slice(0, _MOST_SERVICES), order=items.c.title_key.asc())
        kinds = {kind.item_type: kind.value for kind in ServiceKind}
        return _listing([(f"Hosted/{item.name}", kinds[item.type]) for item in page.items])

    def no_service(self, call: Call) -> Answer:
        """Refuse a kind of service that there is not; those that there are have routes of their own."""
        kinds = " and ".join(ServiceKind)
        raise Refusal(404, f"There is no service of kind {call.path['kind'][:40]!r}; {kinds} are.")


def _listing(services: list[tuple[str, str]], folders: list[str] | None = None) -> Answer:
    rows: list[JsonValue] = [{"name": name, "type": kind} for name, kind in services]
    names: list[JsonValue] = [*(folders or [])]
    return Answer({"currentVersion": CURRENT_VERSION, "folders": names, "services": rows}, "directory.html")
