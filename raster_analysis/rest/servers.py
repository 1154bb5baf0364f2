"""The portal's one federated server, which is this one (contract 3.3)."""

from __future__ import annotations

from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.urls import SHARING, Urls


class PortalServers:
    """Tells where services are hosted and raster analysis runs."""

    def __init__(self, organisation: str, urls: Urls) -> None:
        self._organisation = organisation
        self._urls = urls

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        return [
            Endpoint(f"{SHARING}/rest/portals/{{id}}/servers", self.servers, Policy.USER),
            Endpoint(f"{SHARING}/rest/portals/{{id}}/urls", self.urls, Policy.ANYONE),
        ]

    def servers(self, _call: Call) -> Answer:
        """List the server; its function is what makes clients read rasters in stores from it."""
        url = f"{self._urls.base}/arcgis"
        return Answer(
            {
                "servers": [
                    {
                        "id": self._organisation,
                        "name": self._urls.base.partition("://")[2],
                        "adminUrl": url,
                        "url": url,
                        "isHosted": True,
                        "serverType": "ArcGIS",
                        "serverRole": "HOSTING_SERVER",
                        "serverFunction": "RasterAnalytics,ImageHosting",
                    }
                ]
            }
        )

    def urls(self, _call: Call) -> Answer:
        """Tell where hosted services are."""
        host = f"{self._urls.base}/arcgis".partition("://")[2]
        return Answer({"urls": {"features": {"https": [host]}, "images": {"https": [host]}}})
