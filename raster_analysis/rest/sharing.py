"""The portal's REST interface: what it is, who is who, tokens and search. Items are in `content`."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import JsonValue

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.document import item_document
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import LARGEST_PAGE, Search, search_items
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.tokens import Token
from raster_analysis.rest.access import Policy
from raster_analysis.rest.community import Community, user_document
from raster_analysis.rest.content import content_endpoints
from raster_analysis.rest.context import at_root
from raster_analysis.rest.doors import Doors
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.servers import PortalServers
from raster_analysis.rest.urls import SHARING, Urls

PORTAL_VERSION = "2024.1"
"""Text of dotted whole numbers; above 7.1 clients may choose item ids (contract 3.3)."""
_DEFAULT_LIFETIME_MIN = 60

_OTHER_NAMES = (f"{SHARING}/info", f"{SHARING}/sharing/rest/info")
"""Where clients look for the portal's information when its address has no context (contract 2.1)."""


def sharing_endpoints(portal: Portal, urls: Urls) -> list[Endpoint]:
    """Return every route of the portal, each below `/portal` and at the root.

    Clients are given both kinds of address (contract 2.1); the URLs in answers are those below `/portal`.
    """
    services = (Sharing(portal, urls), Community(portal), PortalServers(portal.organisation, urls))
    below = [endpoint for service in services for endpoint in service.endpoints()]
    below += content_endpoints(portal)
    return [*below, *at_root(below)]


class Sharing:
    """Serves the portal's description, its users, tokens and search."""

    def __init__(self, portal: Portal, urls: Urls) -> None:
        self._portal = portal
        self._urls = urls
        self._doors = Doors(portal.users, portal.tokens, portal.throttle)

    def endpoints(self) -> list[Endpoint]:
        """Return the routes. Clients read the description before they sign in."""
        rest = f"{SHARING}/rest"
        return [
            Endpoint(rest, self.root, Policy.OPEN),
            Endpoint(f"{rest}/", self.root, Policy.OPEN),
            *(Endpoint(path, self.info, Policy.OPEN) for path in (f"{rest}/info", *_OTHER_NAMES)),
            Endpoint(f"{rest}/generateToken", self.generate_token, Policy.OPEN, signs_in=True),
            Endpoint(f"{rest}/portals/self/isServiceNameAvailable", self.is_service_name_available, Policy.USER),
            Endpoint(f"{rest}/portals/{{id}}", self.self_, Policy.ANYONE),
            Endpoint(f"{rest}/search", self.search, Policy.ANYONE),
        ]

    def root(self, _call: Call) -> Answer:
        """Tell the version."""
        return Answer({"currentVersion": PORTAL_VERSION})

    def info(self, _call: Call) -> Answer:
        """Tell how to get tokens; both keys are needed."""
        token_url = f"{self._urls.sharing}/generateToken"
        return Answer(
            {
                "owningSystemUrl": f"{self._urls.base}/portal",
                "authInfo": {"isTokenBasedSecurity": True, "tokenServicesUrl": token_url},
            }
        )

    def self_(self, call: Call) -> Answer:
        """Describe the portal, and the caller when there is one."""
        portal = self._portal
        if call.path["id"] not in ("self", portal.organisation):
            raise AccessError("Portal does not exist or is inaccessible.")
        document = self._portal_document()
        return Answer(document | ({"user": user_document(call.visitor, portal.organisation)} if call.visitor else {}))

    def generate_token(self, call: Call) -> Answer:
        """Give a token for a name and a password, or for a token that a federated server shows."""
        # Federated servers show a token instead of a password (contract 3.3).
        if "username" not in call.fields and call.credentials.token:
            return Answer(self._exchanged(call.credentials.token))
        # A password in a URL stays in histories and in the logs of proxies.
        if call.request.method != "POST" or "password" in call.request.query_params:
            raise Refusal(405, "Send username and password in the body of a POST request, not in the URL.")
        token = self._doors.sign_in(
            call.fields.get("username", ""),
            call.fields.get("password", ""),
            client=call.request.client.host if call.request.client else "",
            lifetime_s=60 * whole_number(call.fields, "expiration", _DEFAULT_LIFETIME_MIN),
        )
        return Answer(self._token_document(token))

    def is_service_name_available(self, call: Call) -> Answer:
        """Tell whether createService would take a name."""
        wanted = call.fields.get("type", "").lower()
        kind = next((kind for kind in ServiceKind if kind.item_type.lower() == wanted), ServiceKind.FEATURES)
        try:
            service = ServiceName(kind, call.fields.get("name", ""))
        except InputError:
            # An unusable name is never free: clients know what to say then (contract 2.3).
            return Answer({"available": False})
        return Answer({"available": self._portal.services.is_available(service, call.user)})

    def search(self, call: Call) -> Answer:
        """Find items; `num` repeats the page size that was asked for, whatever was found (contract 4.3)."""
        search = Search(
            query=call.fields.get("q", ""),
            start=whole_number(call.fields, "start", 1),
            num=min(whole_number(call.fields, "num", 10), LARGEST_PAGE),
            sort_field=call.fields.get("sortField", ""),
            sort_order="desc" if call.fields.get("sortOrder") == "desc" else "asc",
        )
        found = search_items(self._portal.items, search, call.visitor)
        return Answer(
            {
                "query": search.query,
                "total": found.total,
                "start": search.start,
                "num": search.num,
                "nextStart": found.next_start,
                "results": [item_document(item, self._portal.base_url) for item in found.items],
            }
        )

    def _exchanged(self, value: str) -> dict[str, JsonValue]:
        """Return the same token again: one portal, one kind of token (contract 3.3)."""
        tokens = self._portal.tokens
        return self._token_document(Token(value, tokens.user_of(value).name, tokens.expires_ms(value)))

    def _portal_document(self) -> dict[str, JsonValue]:
        portal, base = self._portal, urlsplit(self._urls.base)
        return {
            "id": portal.organisation,
            "name": portal.settings.name,
            "description": "Raster analysis with deep learning",
            "portalName": portal.settings.name,
            # Not "multitenant": clients would take us for ArcGIS Online (contract 2.1).
            "portalMode": "singletenant",
            "isPortal": True,
            "isReadOnly": False,
            "currentVersion": PORTAL_VERSION,
            "access": "public",
            "allSSL": base.scheme == "https",
            "portalHostname": f"{base.netloc}{base.path}/portal",
            "portalLocalHostname": f"{base.netloc}{base.path}/portal",
            "portalProtocol": base.scheme,
            "httpsPort": base.port or 443,
            "supportsOAuth": True,
            "supportsHostedServices": True,
            "canSearchPublic": True,
            "canSharePublic": True,
            "culture": "en",
            "units": "metric",
            "helperServices": {"rasterAnalytics": {"url": self._urls.toolbox}},
        }

    def _token_document(self, token: Token) -> dict[str, JsonValue]:
        return {"token": token.value, "expires": token.expires_ms, "ssl": self._urls.base.startswith("https:")}
