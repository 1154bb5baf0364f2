"""What clients ask about the toolbox besides its tasks: item information, metadata, thumbnail (contract 5.6)."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, Response

from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.urls import TOOLBOX

_INFO = f"{TOOLBOX}/info"
_ICON = Path(__file__).parent / "static" / "icon.svg"
_TITLE = "Raster Analysis Tools"
_METADATA = f"<?xml version='1.0' encoding='UTF-8'?>\n<metadata><dataIdInfo><idCitation><resTitle>{_TITLE}</resTitle></idCitation></dataIdInfo></metadata>\n"  # noqa: E501


class ToolboxInfo:
    """Serves the little that is to say."""

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        return [
            Endpoint(f"{_INFO}/iteminfo", self.item_info, Policy.OPEN),
            Endpoint(f"{_INFO}/metadata", self.metadata, Policy.OPEN),
            Endpoint(f"{_INFO}/thumbnail", self.thumbnail, Policy.OPEN),
        ]

    def item_info(self, _call: Call) -> Answer:
        """Describe the toolbox as an item."""
        return Answer(
            {
                "name": "RasterAnalysisTools",
                "title": _TITLE,
                "type": "Geoprocessing Service",
                "typeKeywords": ["Geoprocessing Service"],
                "snippet": "Deep learning on imagery.",
                "description": "",
                "summary": "Deep learning on imagery.",
                "tags": ["deep learning", "imagery"],
                "thumbnail": "thumbnail",
                "extent": [],
                "culture": "en-US",
                "accessInformation": "",
                "licenseInfo": "",
            }
        )

    def metadata(self, _call: Call) -> Response:
        """Give the title as metadata."""
        return Response(_METADATA, media_type="text/xml")

    def thumbnail(self, _call: Call) -> Response:
        """Give the server's own icon."""
        return FileResponse(_ICON, media_type="image/svg+xml")
