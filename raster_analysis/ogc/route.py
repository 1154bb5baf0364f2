"""Routes of the OGC dialect: endpoints that know their query parameters and refuse others."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.responses import Response

from raster_analysis.ogc.dialect import OGC
from raster_analysis.ogc.links import ROOT
from raster_analysis.ogc.problem import invalid
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint, Waiting
from raster_analysis.rest.formats import Answer, Format

Work = Callable[[Call], Answer | Response | Waiting]

BOTH = frozenset({Format.JSON, Format.HTML})
ANY = BOTH | {Format.OTHER}
"""Of resources that are more than documents."""
_EVERYWHERE = frozenset({"f", "token"})


def route(
    path: str, work: Work, policy: Policy, *, queries: Collection[str] | None = (), formats: Collection[Format] = BOTH
) -> Endpoint:
    """Return the endpoint of a resource that is only read; `queries` are None when the work checks them itself."""
    default = Format.GEOJSON if Format.GEOJSON in formats else Format.JSON
    return Endpoint(
        f"{ROOT}{path}",
        work if queries is None else checked(work, queries),
        policy,
        default_format=default,
        formats=formats,
        methods=("GET",),
        dialect=OGC,
    )


def change(path: str, work: Work, method: str) -> Endpoint:
    """Return the endpoint of a request that changes something."""
    return Endpoint(
        f"{ROOT}{path}", checked(work, ()), Policy.USER, changes=True,
        default_format=Format.JSON, methods=(method,), dialect=OGC,
    )  # fmt: skip


def checked(work: Work, queries: Collection[str]) -> Work:
    """Return work that refuses query parameters nobody knows: a misspelt filter would filter nothing."""

    def check(call: Call) -> Answer | Response | Waiting:
        unknown = [name for name in call.request.query_params if name not in queries and name not in _EVERYWHERE]
        if unknown:
            known = ", ".join(sorted({*queries, *_EVERYWHERE}))
            raise invalid(f"There is no query parameter {unknown[0][:100]!r} here; there are {known}.")
        return work(call)

    return check


def whole(call: Call, name: str, default: int, *, low: int = 0, high: int = 10**9) -> int:
    """Return a query parameter as a whole number; raises Problem."""
    text = call.fields.get(name, "")
    if not text and name not in call.fields:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
        raise invalid(f"Parameter {name} = {text[:40]!r} is not a whole number from {low} to {high}.")
    return int(text)
