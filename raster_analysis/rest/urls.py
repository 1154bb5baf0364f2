"""URLs of the server: paths in one place, and absolute URLs that begin with the configured base."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

SERVICES = "/arcgis/rest/services"
TOOLBOX = f"{SERVICES}/System/RasterAnalysisTools/GPServer"
SHARING = "/portal/sharing"
LOGIN = "/arcgis/rest/login"
LOGOUT = "/arcgis/rest/logout"
STATIC = "/arcgis/rest/static"
HOME = "/portal/home"


@dataclass(frozen=True, slots=True)
class Urls:
    """Absolute URLs for answers. They come from the settings, never from a Host or X-Forwarded header."""

    base: str

    @property
    def path(self) -> str:
        """Return the path under which a proxy shows the server, empty for none."""
        return urlsplit(self.base).path.rstrip("/")

    @property
    def services(self) -> str:
        """Return the root of the services directory."""
        return self.base + SERVICES

    @property
    def toolbox(self) -> str:
        """Return the raster analysis service."""
        return self.base + TOOLBOX

    @property
    def sharing(self) -> str:
        """Return the portal's REST root, with a trailing slash missing."""
        return f"{self.base}{SHARING}/rest"

    def hosted(self, name: str, kind: str) -> str:
        """Return a hosted layer service; `kind` is FeatureServer or ImageServer."""
        return f"{self.services}/Hosted/{name}/{kind}"


def safe_target(wanted: str, urls: Urls) -> str:
    """Return the page that a form wants to go to next: one of ours, whatever the request says."""
    ours = wanted.startswith(tuple(f"{urls.path}{root}/" for root in ("/arcgis/rest", HOME, SHARING, "/ogc")))
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and "//" not in wanted
    return wanted if ours and plain else urls.path + SERVICES
