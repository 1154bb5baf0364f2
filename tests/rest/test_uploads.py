"""Files that clients send to the toolbox for a job (contract 5.6)."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from portal_client import TOOLBOX, Asker, make_package
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.errors import ParameterError
from raster_analysis.inputs import ModelInput, RasterInput
from raster_analysis.tool import Kind, Parameters, Tool, parameter

UPLOADS = f"{TOOLBOX}/uploads"
GONE = (400, "Upload does not exist or is inaccessible.")


class Inputs(Parameters):
    raster: RasterInput | None = parameter("inputRaster", "", kind=Kind.RASTER, default=None)
    package: RasterInput | None = parameter("modelLocation", "", kind=Kind.PACKAGE, default=None)
    model: ModelInput | None = parameter("model", "", kind=Kind.MODEL, default=None)


TOOL: Tool[Any] = Tool("Bind", "Bind", "", Inputs, ())


def picture() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(content, format="TIFF")
    return content.getvalue()


def send(ask: Asker, data: bytes, name: str = "x.tif") -> str:
    answer = ask(f"{UPLOADS}/upload", {"file": (name, data)}, filename=name, overwrite="true")
    assert answer["success"] is True, answer
    assert answer["item"]["itemName"] == name
    assert re.fullmatch("i[0-9a-f]{32}", answer["item"]["itemID"])
    return str(answer["item"]["itemID"])


def reference(upload_id: str) -> str:
    return json.dumps({"itemIds": [upload_id], "itemsOnServer": True, "folderId": ""})


def bind(rooms: Rooms, user: str, **form: str) -> dict[str, Any]:
    return rooms.portal.bind(TOOL, TOOL.parse(form), user)


def test_the_toolbox_says_that_it_takes_uploads(nobody: Asker, as_alice: Asker, rooms: Rooms) -> None:
    assert nobody(TOOLBOX)["capabilities"] == "Uploads"
    assert as_alice(UPLOADS)["maxUploadFileSize"] == rooms.portal.uploads.limit


def test_an_uploaded_raster_is_the_input_of_a_job(as_alice: Asker, rooms: Rooms) -> None:
    upload = send(as_alice, picture())
    handle = bind(rooms, "alice", inputRaster=reference(upload))["inputRaster"]
    assert (handle.kind, handle.title, handle.driver) == ("raster", "x.tif", "GTiff")


@pytest.mark.parametrize("parameter_name", ["model", "modelLocation"])
def test_an_uploaded_package_is_the_input_of_a_job(as_alice: Asker, rooms: Rooms, parameter_name: str) -> None:
    upload = send(as_alice, make_package("sent"), "trees.dlpk")
    handle = bind(rooms, "alice", **{parameter_name: reference(upload)})[parameter_name]
    assert (handle.kind, handle.title) == ("package", "trees.dlpk")


def test_a_large_file_comes_in_parts(as_alice: Asker, rooms: Rooms) -> None:
    data = picture()
    registered = as_alice(f"{UPLOADS}/register", itemName="large.tif")
    upload = registered["item"]["itemID"]
    assert (registered["success"], registered["item"]["committed"]) == (True, False)
    url = f"{UPLOADS}/{upload}"
    with pytest.raises(ParameterError, match="not complete"):
        bind(rooms, "alice", inputRaster=reference(upload))
    for number, part in ((2, data[100:]), (1, data[:100])):
        assert as_alice(f"{url}/uploadPart", {"file": ("part", part)}, partId=number)["success"] is True
    assert as_alice(f"{url}/parts") == {"parts": ["1", "2"]}
    committed = as_alice(f"{url}/commit", parts="1,2")
    assert committed["item"]["itemID"] == upload
    shown = as_alice.get(url).json()
    assert (shown["itemID"], shown["itemName"], shown["committed"], shown["size"]) == (
        upload, "large.tif", True, len(data),
    )  # fmt: skip
    assert bind(rooms, "alice", inputRaster=reference(upload))["inputRaster"].title == "large.tif"


@pytest.mark.parametrize("parts", ["1,3", "", "0", "x", "1,2,3"])
def test_a_commit_without_all_parts_fails(as_alice: Asker, parts: str) -> None:
    upload = as_alice(f"{UPLOADS}/register", itemName="gap.tif")["item"]["itemID"]
    for number in (1, 3):
        as_alice(f"{UPLOADS}/{upload}/uploadPart", {"file": ("part", b"x")}, partId=number)
    assert as_alice.error(f"{UPLOADS}/{upload}/commit", parts=parts)[0] == 400
    assert as_alice(f"{UPLOADS}/{upload}")["committed"] is False


def test_an_upload_is_its_owners_alone(as_alice: Asker, as_carol: Asker, as_admin: Asker, rooms: Rooms) -> None:
    upload = send(as_alice, picture())
    for each in (upload, "i" + "0" * 32, "0" * 32, "x"):
        url = f"{UPLOADS}/{each}"
        part = {"file": ("part", b"x")}
        refused = [as_carol.error(url), as_carol.error(f"{url}/uploadPart", part, partId=1)]
        refused += [as_carol.error(f"{url}/{action}") for action in ("parts", "commit", "delete")]
        assert refused == [GONE] * 5
        with pytest.raises(ParameterError, match="does not exist or is inaccessible"):
            bind(rooms, "carol", inputRaster=reference(each))
    assert as_admin(f"{UPLOADS}/{upload}")["itemID"] == upload


def test_a_deleted_upload_is_gone_with_its_file(as_alice: Asker, rooms: Rooms) -> None:
    upload = send(as_alice, picture())
    folder = rooms.settings.data / "arrivals" / upload
    assert folder.exists()
    assert as_alice(f"{UPLOADS}/{upload}/delete") == {"success": True}
    assert as_alice.error(f"{UPLOADS}/{upload}") == GONE
    assert not folder.exists()


def test_a_viewer_uploads_nothing(as_bob: Asker) -> None:
    assert as_bob.error(f"{UPLOADS}/upload", {"file": ("x.tif", b"x")})[0] == 403
    assert as_bob.error(f"{UPLOADS}/register", itemName="x.tif")[0] == 403


def test_an_upload_needs_a_file(as_alice: Asker) -> None:
    assert as_alice.error(f"{UPLOADS}/upload", filename="x.tif")[0] == 400


def test_two_uploads_are_one_raster_for_their_owner_only(as_alice: Asker, rooms: Rooms) -> None:
    both = json.dumps({"itemIds": [send(as_alice, picture()), send(as_alice, picture())]})
    assert len(bind(rooms, "alice", inputRaster=both)["inputRaster"].members) == 2
    with pytest.raises(ParameterError, match=r"raster 1 of 2.*Upload does not exist"):
        bind(rooms, "carol", inputRaster=both)


@pytest.mark.parametrize("name", ["../../portal.sqlite", "a\r\nX-Evil: 1", "whole", "1", "", "x" * 500])
def test_hostile_names_of_uploads_become_harmless(as_alice: Asker, rooms: Rooms, name: str) -> None:
    answer = as_alice(f"{UPLOADS}/register", itemName=name)["item"]
    assert "/" not in answer["itemName"]
    as_alice(f"{UPLOADS}/{answer['itemID']}/uploadPart", {"file": ("part", picture())}, partId=1)
    assert as_alice(f"{UPLOADS}/{answer['itemID']}/commit")["success"] is True
    handle = bind(rooms, "alice", inputRaster=reference(answer["itemID"]))["inputRaster"]
    assert str(rooms.settings.data / "arrivals") in handle.path
    assert handle.title == answer["itemName"]


def test_the_toolbox_has_information_metadata_and_a_thumbnail(client: TestClient, nobody: Asker) -> None:
    assert nobody(f"{TOOLBOX}/info/iteminfo")["title"] == "Raster Analysis Tools"
    assert client.get(f"{TOOLBOX}/info/metadata").text.startswith("<?xml")
    assert client.get(f"{TOOLBOX}/info/thumbnail").headers["content-type"] == "image/svg+xml"
