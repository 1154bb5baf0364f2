"""Health and metrics, for whoever keeps the server running. Plain text; nothing in it names a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import PlainTextResponse, Response

from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Format

Checks = Mapping[str, Callable[[], bool]]
"""What must work before requests are welcome, by name."""
Gauges = Callable[[], Mapping[str, float]]
"""Gives the figures by metric name, labels included."""


class Health:
    """Serves `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, checks: Checks, gauges: Gauges) -> None:
        self._checks = checks
        self._gauges = gauges

    def endpoints(self) -> list[Endpoint]:
        """Return the routes, none of which looks at the user."""
        works = {"/livez": self.live, "/readyz": self.ready, "/metrics": self.metrics}
        return [
            Endpoint(path, work, Policy.OPEN, default_format=Format.JSON, methods=("GET",))
            for path, work in works.items()
        ]

    def live(self, _call: Call) -> Response:
        """Say that the process answers."""
        return PlainTextResponse("ok\n")

    def ready(self, _call: Call) -> Response:
        """Say whether everything works that a job needs; 503 is meant for load balancers, not for ArcGIS clients."""
        states = {name: _works(check) for name, check in self._checks.items()}
        text = "".join(f"{name}: {'ok' if works else 'failed'}\n" for name, works in states.items())
        return PlainTextResponse(text, 200 if all(states.values()) else 503)

    def metrics(self, _call: Call) -> Response:
        """Give the figures in the text format of Prometheus."""
        lines = (f"raster_analysis_{name} {value:g}\n" for name, value in self._gauges().items())
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")


def _works(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:  # noqa: BLE001 (any failure of a check is its answer)
        return False
