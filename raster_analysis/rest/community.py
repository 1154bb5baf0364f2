"""Who is in the portal, over REST: users, their roles and privileges; there are no groups."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import LARGEST_PAGE
from raster_analysis.portal.user_search import search_users
from raster_analysis.portal.users import Role, User
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.urls import SHARING

_VIEWER = ("portal:user:viewOrgItems", "portal:user:viewOrgUsers")
_PUBLISHER = (
    *_VIEWER,
    "portal:user:createItem",
    "portal:user:shareToOrg",
    "portal:user:shareToPublic",
    "portal:publisher:publishFeatures",
    "portal:publisher:publishServerServices",
    "premium:publisher:rasteranalysis",
)
_PRIVILEGES = {
    Role.VIEWER: _VIEWER,
    Role.PUBLISHER: _PUBLISHER,
    Role.ADMINISTRATOR: (*_PUBLISHER, "portal:admin:viewItems", "portal:admin:updateItems", "portal:admin:deleteItems"),
}
_ROLE_NAMES = {Role.VIEWER: "org_user", Role.PUBLISHER: "org_publisher", Role.ADMINISTRATOR: "org_admin"}


class Community:
    """Serves users."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        rest = f"{SHARING}/rest"
        user = f"{rest}/community/users/{{user}}"
        return [
            Endpoint(f"{rest}/portals/{{id}}/users", self.users, Policy.USER),
            Endpoint(f"{rest}/portals/{{id}}/roles", self.roles, Policy.USER),
            Endpoint(f"{rest}/community/self", self.self_, Policy.USER),
            Endpoint(f"{rest}/community/users", self.users, Policy.USER),
            Endpoint(user, self.user, Policy.USER),
            Endpoint(f"{user}/groups", self.groups, Policy.USER),
            Endpoint(f"{rest}/community/groups", self.groups, Policy.ANYONE),
        ]

    def self_(self, call: Call) -> Answer:
        """Describe the caller."""
        return Answer(user_document(call.user, self._portal.organisation))

    def user(self, call: Call) -> Answer:
        """Describe a user."""
        return Answer(user_document(self._portal.users.get(call.path["user"]), self._portal.organisation))

    def users(self, call: Call) -> Answer:
        """Find users by `q`, page by page."""
        found = search_users(self._portal.users.list(), call.fields.get("q", ""))
        start, num = whole_number(call.fields, "start", 1), min(whole_number(call.fields, "num", 10), LARGEST_PAGE)
        page = found[max(start, 1) - 1 :][: max(num, 0)] if start >= 1 else []
        documents: list[JsonValue] = [user_document(user, self._portal.organisation) for user in page]
        following = start + len(page)
        return Answer(
            {
                "query": call.fields.get("q", ""),
                "total": len(found),
                "start": start,
                "num": num,
                "nextStart": following if page and following <= len(found) else -1,
                # The portal's list calls them users, the community's search results.
                "users" if call.path.get("id") else "results": documents,
            }
        )

    def roles(self, call: Call) -> Answer:
        """List the roles that somebody made up: there are none besides the three of every portal."""
        return Answer(
            {"total": 0, "start": 1, "num": whole_number(call.fields, "num", 10), "nextStart": -1, "roles": []}
        )

    def groups(self, call: Call) -> Answer:
        """Find groups: there are none."""
        page = {"start": 1, "num": whole_number(call.fields, "num", 10), "nextStart": -1}
        return Answer({"query": call.fields.get("q", ""), "total": 0, **page, "results": [], "groups": []})


def user_document(user: User, organisation: str) -> dict[str, JsonValue]:
    """Return a user as the portal shows it; a privilege with `:admin:` in it makes an administrator of one."""
    return {
        "username": user.name,
        "fullName": user.name,
        "firstName": user.name,
        "lastName": "",
        "email": None,
        "description": None,
        "tags": [],
        "culture": "en",
        "units": "metric",
        "role": _ROLE_NAMES[user.role],
        "roleId": _ROLE_NAMES[user.role],
        "level": "2",
        "userLicenseTypeId": "creatorUT" if user.may_publish else "viewerUT",
        "privileges": [*_PRIVILEGES[user.role]],
        "orgId": organisation,
        "access": "org",
        "disabled": False,
        "provider": "arcgis",
        "groups": [],
        "created": user.created_ms,
        "modified": user.created_ms,
        "thumbnail": None,
    }
