"""Write docs/routes.md from the routes of a server: `python tests/rest/write_routes.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from raster_analysis.app import create_app
from raster_analysis.rest.routes import routes_table
from raster_analysis.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "routes.md"


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder)))
        PAGE.write_text(routes_table(app.state.endpoints))
        app.state.rooms.close()


if __name__ == "__main__":
    main()
