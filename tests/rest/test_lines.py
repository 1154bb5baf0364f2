"""Lines: what takes seconds does not keep what takes milliseconds waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event
from typing import Any, cast

import httpx
from starlette.applications import Starlette
from starlette.testclient import TestClient

from raster_analysis.errors import InputChanged
from raster_analysis.portal.uploads import Uploads
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Desk, Endpoint, reading
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.pages import Pages
from raster_analysis.rest.site import make_site
from raster_analysis.rest.urls import Urls

_MANY = 60
"""More than the forty threads that serve everything."""


def _site(folder: Path, released: Event) -> Starlette:
    def read_layer(_call: Call) -> Answer:
        released.wait()
        return Answer({"is": "slow"})

    urls = Urls("http://localhost")
    nobody: Any = None
    desk = Desk(nobody, Pages(urls, "site"), 1000, Uploads(folder, 1000))
    slow = reading([Endpoint("/layer", read_layer, Policy.OPEN)])
    return make_site(desk, [*slow, Endpoint("/poll", lambda _: Answer({"is": "quick"}), Policy.OPEN)])


def test_polls_are_answered_while_readers_are_busy(tmp_path: Path) -> None:
    released = Event()

    async def ask() -> list[dict[str, str]]:
        transport = httpx.ASGITransport(_site(tmp_path, released))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            slow = [asyncio.create_task(client.get("/layer?f=json")) for _ in range(_MANY)]
            try:
                quick = [(await asyncio.wait_for(client.get("/poll?f=json"), 20)).json() for _ in range(3)]
            finally:
                released.set()
            return quick + [(await each).json() for each in slow]

    answers = asyncio.run(ask())

    assert answers == [{"is": "quick"}] * 3 + [{"is": "slow"}] * _MANY


def test_a_layer_whose_file_was_just_replaced_is_read_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def read_layer(call: Call) -> Answer:
        asked.append(call.request.url.path)
        if len(asked) % 2:
            raise InputChanged("input 'trees' was changed")
        return Answer({"is": "new"})

    urls, nobody = Urls("http://localhost"), cast(Any, None)
    desk = Desk(nobody, Pages(urls, "site"), 1000, Uploads(tmp_path, 1000))
    once = Endpoint("/arcgis/other", read_layer, Policy.OPEN)
    client = TestClient(make_site(desk, [*reading([Endpoint("/arcgis/layer", read_layer, Policy.OPEN)]), once]))

    assert client.get("/arcgis/layer?f=json").json() == {"is": "new"}
    assert client.get("/arcgis/other?f=json").json()["error"]["code"] == 400
    assert asked == ["/arcgis/layer", "/arcgis/layer", "/arcgis/other"]


def test_every_route_of_layers_waits_in_a_line_of_its_own(client: Any) -> None:
    endpoints: list[Endpoint] = client.app.state.endpoints
    kinds = ("/FeatureServer", "/ImageServer", "/preview", "/ogc/collections")

    outside = {each.path for each in endpoints if not each.reads and any(kind in each.path for kind in kinds)}

    assert not outside
