"""/req/core of OGC API - Processes 1.0 about execute requests; each test is named after its requirement."""

from __future__ import annotations

import email
from email.message import Message
from typing import Any

import httpx
import pytest
from caller import Caller

BBOX = {"bbox": [51.9, 7, 52, 7.1], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
VALUE, REFERENCE = {"transmissionMode": "value"}, {"transmissionMode": "reference"}
OBJECT = {"property1": "a", "property5": True}
PNG = "iVBORw0KGgo="


def echo(ann: Caller, **inputs: Any) -> dict[str, Any]:
    """Execute with a document as the answer; return the outputs."""
    answer = ann.execute("Echo", inputs={"stringInput": "teststring", **inputs}, response="document")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def parts(answer: httpx.Response) -> dict[str, Message]:
    """Read a multipart answer with the standard library."""
    assert answer.headers["content-type"].startswith("multipart/related")
    text = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode() + answer.content
    message = email.message_from_bytes(text)
    assert message.is_multipart()
    return {part["content-id"].strip("<>"): part for part in message.get_payload()}  # type: ignore[union-attr, misc]


def test_req_core_job_creation_op(ann: Caller) -> None:
    assert ann.execute("Echo", inputs={"stringInput": "teststring"}).status_code == 200


def test_req_core_job_creation_auto_execution_mode(ann: Caller) -> None:
    answer = ann.execute("Echo", prefer="respond-async", inputs={"stringInput": "teststring"})

    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "respond-async"


def test_req_core_job_creation_default_execution_mode(ann: Caller) -> None:
    both = ann.execute("Echo", inputs={"stringInput": "teststring"})
    only_async = ann.execute("CopyRaster", inputs={"inputRaster": "/rasterStores/s/scene.tif"})

    assert both.status_code == 200
    assert only_async.status_code == 201
    assert "preference-applied" not in only_async.headers


def test_req_core_job_creation_request(ann: Caller) -> None:
    for body in (b"[]", b'"text"', b"{", b"", b'{"inputs": []}', b'{"inputs": {}, "outputs": 5}', b'{"response": "x"}'):
        answer = ann.send(
            "POST", "/processes/Echo/execution", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, body
        assert answer.json()["type"] == "InvalidParameterValue"


def test_req_core_job_creation_inputs(ann: Caller) -> None:
    assert echo(ann, doubleInput=2.5)["doubleInput"] == 2.5
    assert echo(ann, doubleInput={"href": "data:application/json,2.5"})["doubleInput"] == 2.5


def test_req_core_job_creation_input_inline(ann: Caller) -> None:
    answer = echo(ann, doubleInput=2.5, arrayInput=[1, 2, 3])

    assert (answer["stringInput"], answer["doubleInput"], answer["arrayInput"]) == ("teststring", 2.5, [1, 2, 3])


def test_req_core_job_creation_input_ref(ann: Caller, rooms: Any) -> None:
    job = ann.submit("CopyRaster", inputs={"inputRaster": "/rasterStores/s/scene.tif", "outputName": "by_reference"})
    rooms.dispatcher.wait(job, 20)
    item = ann.get(f"/jobs/{job}/results").json()["outRaster"]["href"]
    again = ann.submit("CopyRaster", inputs={"inputRaster": {"href": item, "type": "image/tiff"}})

    assert rooms.dispatcher.wait(again, 20).status == "succeeded"


def test_req_core_job_creation_input_array(ann: Caller) -> None:
    assert echo(ann, arrayInput=[1, 2, 3])["arrayInput"] == [1, 2, 3]


def test_req_core_job_creation_input_inline_object(ann: Caller) -> None:
    assert echo(ann, complexObjectInput={"value": OBJECT})["complexObjectInput"] == {"value": OBJECT}


def test_req_core_job_creation_input_inline_mixed(ann: Caller) -> None:
    assert echo(ann, complexObjectInput="text")["complexObjectInput"] == "text"
    assert echo(ann, complexObjectInput={"value": "teststring"})["complexObjectInput"] == "teststring"


def test_req_core_job_creation_input_inline_binary(ann: Caller) -> None:
    assert echo(ann, imageInput=PNG)["imageInput"] == PNG
    assert echo(ann, imageInput={"value": PNG, "encoding": "base64", "mediaType": "image/png"})["imageInput"] == PNG


def test_req_core_job_creation_input_inline_bbox(ann: Caller) -> None:
    assert echo(ann, boundingBoxInput=BBOX)["boundingBoxInput"] == BBOX


@pytest.mark.parametrize(
    "wrong",
    [
        {"stringInput": 5},
        {"stringInput": None},
        {"doubleInput": "2.5"},
        {"doubleInput": True},
        {"arrayInput": "1,2"},
        {"arrayInput": [1, "x"]},
        {"boundingBoxInput": [1, 2, 3, 4]},
        {"imageInput": {"type": "wrong/type_1234"}},
        {"imageInput": {"value": PNG, "mediaType": "wrong/type_1234"}},
        {"imageInput": {"href": "http://127.0.0.1:9/image.png"}},
        {"imageInput": {"href": "data:image/png;base64,%%%"}},
        {"imageInput": {"href": "data:application/json,{"}},
        {"unknownInput": 1},
    ],
)
def test_req_core_job_creation_input_validation(ann: Caller, wrong: dict[str, Any]) -> None:
    answer = ann.execute("Echo", inputs={"stringInput": "teststring", **wrong})

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["type"] == "InvalidParameterValue"
    assert next(iter(wrong)) in answer.json()["detail"]


def test_every_fault_of_the_inputs_is_told_at_once(ann: Caller) -> None:
    faults = ann.execute("Echo", inputs={"doubleInput": "x", "pause": 1.5}).json()["details"]

    assert [fault for fault in faults if "stringInput is missing" in fault]
    assert [fault for fault in faults if fault.startswith("input doubleInput")]
    assert [fault for fault in faults if fault.startswith("input pause")]
    assert len(faults) == 3


def test_req_core_job_creation_default_outputs(ann: Caller) -> None:
    described = ann.get("/processes/Echo").json()["outputs"]

    assert echo(ann).keys() == described.keys()


def test_outputs_that_are_not_asked_for_do_not_come(ann: Caller) -> None:
    answer = ann.execute(
        "Echo", inputs={"stringInput": "a"}, outputs={"stringInput": VALUE, "doubleInput": {}}, response="document"
    )

    assert answer.json().keys() == {"stringInput", "doubleInput"}


@pytest.mark.parametrize(
    "outputs", [{"nothing": VALUE}, {"stringInput": "value"}, {"stringInput": {"transmissionMode": "x"}}]
)
def test_outputs_that_there_are_not_are_refused(ann: Caller, outputs: dict[str, Any]) -> None:
    answer = ann.execute("Echo", inputs={"stringInput": "a"}, outputs=outputs)

    assert answer.status_code == 400
    assert next(iter(outputs)) in answer.json()["detail"]


def test_an_item_is_not_given_by_value(ann: Caller) -> None:
    answer = ann.execute("CopyRaster", inputs={"inputRaster": "x"}, outputs={"outRaster": VALUE})

    assert answer.status_code == 400
    assert "by reference only" in answer.json()["detail"]


@pytest.mark.parametrize("accept", ["*/*", "text/plain"])
def test_req_core_job_creation_sync_raw_value_one(ann: Caller, accept: str) -> None:
    answer = ann.execute(
        "Echo", accept=accept, inputs={"stringInput": "teststring"}, outputs={"stringInput": VALUE}, response="raw"
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "teststring"


@pytest.mark.parametrize(
    ("output", "media_type", "content"),
    [("imageInput", "image/png", b"\x89PNG\r\n\x1a\n"), ("arrayInput", "application/json", b"[1, 2]")],
)
def test_a_raw_value_is_what_its_schema_says(ann: Caller, output: str, media_type: str, content: bytes) -> None:
    inputs = {"stringInput": "a", "imageInput": PNG, "arrayInput": [1, 2]}
    answer = ann.execute("Echo", accept="*/*", inputs=inputs, outputs={output: VALUE}, response="raw")

    assert answer.headers["content-type"] == media_type
    assert answer.content == content


def test_a_raw_value_that_is_not_what_its_schema_says_is_passed_on(ann: Caller) -> None:
    answer = ann.execute(
        "Echo",
        accept="*/*",
        inputs={"stringInput": "a", "imageInput": "not base64!"},
        outputs={"imageInput": VALUE},
        response="raw",
    )

    assert answer.content == b"not base64!"


def test_req_core_job_creation_sync_raw_value_multi(ann: Caller) -> None:
    answer = ann.execute(
        "Echo",
        accept="*/*",
        inputs={"stringInput": "teststring", "arrayInput": [1, 2]},
        outputs={"stringInput": VALUE, "arrayInput": VALUE},
    )
    found = parts(answer)

    assert found["stringInput"].get_payload(decode=True) == b"teststring"
    assert found["arrayInput"].get_payload(decode=True) == b"[1, 2]"
    assert found["arrayInput"].get_content_type() == "application/json"


def test_req_core_job_creation_sync_raw_ref(ann: Caller) -> None:
    outputs = {"stringInput": REFERENCE, "arrayInput": REFERENCE}
    answer = ann.execute("Echo", inputs={"stringInput": "teststring"}, outputs=outputs, response="raw")

    assert answer.status_code == 204
    assert not answer.content
    links = dict(reversed(link.split("; ")[:2]) for link in answer.headers["link"].split(", "))
    target = links['rel="stringInput"'].strip("<>").partition("/ogc")[2]
    assert ann.get(target, accept="text/plain").text == "teststring"


def test_req_core_job_creation_sync_raw_mixed_multi(ann: Caller) -> None:
    outputs = {"stringInput": VALUE, "arrayInput": REFERENCE}
    found = parts(
        ann.execute("Echo", inputs={"stringInput": "a", "arrayInput": [1, 2]}, outputs=outputs, response="raw")
    )

    assert b"a" in found["stringInput"].get_payload(decode=True)
    assert found["arrayInput"].get_payload(decode=True).strip() == b""
    assert ann.get(found["arrayInput"]["content-location"].partition("/ogc")[2]).json() == [1, 2]


def test_req_core_job_creation_sync_document(ann: Caller) -> None:
    answer = ann.execute("Echo", inputs={"stringInput": "teststring"}, response="document")

    assert answer.headers["content-type"] == "application/json"
    ann.validate(answer.json(), {"$ref": "#/components/schemas/results"})


def test_a_client_that_takes_json_only_gets_a_document_where_raw_would_have_parts(ann: Caller) -> None:
    assert ann.execute("Echo", inputs={"stringInput": "a"}).headers["content-type"] == "application/json"
    assert (
        ann.execute("Echo", accept="*/*", inputs={"stringInput": "a"}).headers["content-type"].startswith("multipart/")
    )


def test_req_core_job_creation_success_async(ann: Caller) -> None:
    answer = ann.execute("Echo", prefer="respond-async", inputs={"stringInput": "teststring"})

    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/ogc/jobs/{answer.json()['jobID']}")
    assert ann.get(f"/jobs/{answer.json()['jobID']}").status_code == 200


def test_a_client_that_waits_in_vain_gets_the_job_instead(ann: Caller, rooms: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    answer = ann.execute("Echo", prefer="wait=0, wait=1", inputs={"stringInput": "a", "waitFor": str(gate)})
    gate.unlink()

    assert answer.status_code == 201
    assert rooms.dispatcher.wait(answer.json()["jobID"], 20).status == "succeeded"


def test_a_sync_execution_that_fails_says_why(ann: Caller) -> None:
    answer = ann.execute("Echo", inputs={"stringInput": "fail"})

    assert answer.status_code == 422
    assert "this raster cannot be read" in answer.json()["detail"]
