"""Addresses with and without a context: the portal answers below `/portal` and at the root (contract 2.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raster_analysis.rest.endpoint import Endpoint

CONTEXT = "/portal"


def at_root(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the same endpoints without the portal's context in their paths."""
    return [replace(endpoint, path=endpoint.path.removeprefix(CONTEXT)) for endpoint in endpoints]
