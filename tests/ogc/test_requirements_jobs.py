"""/req/core about jobs and results, /req/job-list and /req/dismiss; each test is named after its requirement."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from caller import Caller

from raster_analysis.app import Rooms
from raster_analysis.jobs.job import new_job
from raster_analysis.ogc.links import Links
from raster_analysis.ogc.problem import NO_SUCH_JOB, NOT_READY
from raster_analysis.ogc.results import Results

VALUE, REFERENCE = {"transmissionMode": "value"}, {"transmissionMode": "reference"}
UNKNOWN = "j" + "0" * 32


def run(ann: Caller, rooms: Rooms, **body: Any) -> str:
    job = ann.submit("Echo", **{"inputs": {"stringInput": "teststring", "arrayInput": [1, 2]}, **body})
    rooms.dispatcher.wait(job, 20)
    return job


@pytest.fixture
def waiting(ann: Caller, rooms: Rooms, tmp_path: Path) -> Any:
    """A job that runs until its test is over."""
    gate = tmp_path / "gate"
    gate.touch()
    job = ann.submit("Echo", inputs={"stringInput": "teststring", "waitFor": str(gate)})
    yield job
    gate.unlink()
    rooms.dispatcher.wait(job, 20)


def ids(caller: Caller, **query: str) -> list[str]:
    return [job["jobID"] for job in caller.get("/jobs", **query).json()["jobs"]]


def test_req_core_job_op(ann: Caller, rooms: Rooms) -> None:
    assert ann.get(f"/jobs/{run(ann, rooms)}").status_code == 200


def test_req_core_job_success(ann: Caller, rooms: Rooms) -> None:
    job = ann.get(f"/jobs/{run(ann, rooms)}").json()

    assert (job["status"], job["progress"], job["processID"], job["type"]) == ("successful", 100, "Echo", "process")
    assert job["created"] <= job["started"] <= job["finished"] <= job["updated"]
    assert "http://www.opengis.net/def/rel/ogc/1.0/results" in {link["rel"] for link in job["links"]}


def test_a_job_that_runs_has_no_results_link(ann: Caller, waiting: str) -> None:
    job = ann.get(f"/jobs/{waiting}").json()

    assert job["status"] in ("accepted", "running")
    assert "finished" not in job
    assert {link["rel"] for link in job["links"]} == {"self", "alternate"}


def test_req_core_job_exception_no_such_job(ann: Caller) -> None:
    answer = ann.get(f"/jobs/{UNKNOWN}")

    assert (answer.status_code, answer.json()["type"]) == (404, NO_SUCH_JOB)


def test_req_core_job_results(ann: Caller, rooms: Rooms) -> None:
    assert ann.get(f"/jobs/{run(ann, rooms)}/results").status_code == 200


def test_req_core_job_results_sync(ann: Caller) -> None:
    link = ann.execute("Echo", inputs={"stringInput": "a"}).headers["link"]
    target, rel = link.split("; ")

    assert rel == "rel=monitor"
    assert ann.get(target.strip("<>").partition("/ogc")[2]).json()["status"] == "successful"


def test_req_core_job_results_async_raw_value_one(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, outputs={"stringInput": VALUE}, response="raw")

    assert ann.get(f"/jobs/{job}/results", accept="*/*").text == "teststring"
    assert ann.get(f"/jobs/{job}/results").json() == "teststring"


def test_req_core_job_results_async_raw_value_multi(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, outputs={"stringInput": VALUE, "arrayInput": VALUE}, response="raw")

    assert ann.get(f"/jobs/{job}/results", accept="*/*").headers["content-type"].startswith("multipart/related")


def test_req_core_job_results_async_raw_ref(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, outputs={"stringInput": REFERENCE}, response="raw")
    answer = ann.get(f"/jobs/{job}/results")

    assert answer.status_code == 204
    assert f'/ogc/jobs/{job}/results/stringInput>; rel="stringInput"' in answer.headers["link"]


def test_req_core_job_results_async_raw_mixed_multi(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, outputs={"stringInput": VALUE, "arrayInput": REFERENCE}, response="raw")

    assert "Content-Location" in ann.get(f"/jobs/{job}/results", accept="*/*").text


def test_req_core_job_results_async_document(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, outputs={"stringInput": VALUE, "arrayInput": REFERENCE}, response="document")
    results = ann.get(f"/jobs/{job}/results").json()

    assert results["stringInput"] == "teststring"
    assert results["arrayInput"]["href"].endswith(f"/jobs/{job}/results/arrayInput")


def test_an_image_is_referred_to_by_its_data(ann: Caller, rooms: Rooms, client: Any, token: dict[str, str]) -> None:
    job = ann.submit("CopyRaster", inputs={"inputRaster": "/rasterStores/s/scene.tif", "outputName": "image"})
    rooms.dispatcher.wait(job, 20)
    link = ann.get(f"/jobs/{job}/results").json()["outRaster"]
    data = client.get(link["href"], params={"token": token["ann"]})

    assert link["type"].startswith("image/tiff")
    assert data.content[:4] in (b"II*\0", b"MM\0*")
    assert ann.get(f"/jobs/{job}/results/outRaster").headers["location"] == link["href"]


@pytest.mark.parametrize(
    ("tool", "url", "target", "kind"),
    [
        (
            "DetectObjectsUsingDeepLearning",
            "/Hosted/trees/FeatureServer",
            "/ogc/collections/trees/items",
            "application/geo+json",
        ),
        ("PublishDeepLearningModel", None, "/content/items/0123/data", "application/octet-stream"),
    ],
)
def test_results_that_are_items_are_linked_where_they_can_be_read(
    rooms: Rooms, tool: str, url: str | None, target: str, kind: str
) -> None:
    declared = rooms.dispatcher.tools[tool]
    name = declared.outputs[0].name
    job = replace(new_job(tool, {}, "ann", dt.datetime.now(dt.UTC)), outputs={name: {"itemId": "0123", "url": url}})
    link = Results(Links("https://gis.example.org")).one(job, declared, name).link

    assert str(link["href"]).endswith(target)
    assert link["type"] == kind


def test_req_core_job_results_exception_no_such_job(ann: Caller) -> None:
    for path in (f"/jobs/{UNKNOWN}/results", f"/jobs/{UNKNOWN}/results/stringInput"):
        answer = ann.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, NO_SUCH_JOB)


def test_an_output_that_there_is_not_is_not_found(ann: Caller, rooms: Rooms) -> None:
    assert ann.get(f"/jobs/{run(ann, rooms)}/results/nothing").status_code == 404


def test_req_core_job_results_exception_results_not_ready(ann: Caller, waiting: str) -> None:
    answer = ann.get(f"/jobs/{waiting}/results")

    assert (answer.status_code, answer.json()["type"]) == (404, NOT_READY)


def test_req_core_job_results_failed(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms, inputs={"stringInput": "fail"})
    answer = ann.get(f"/jobs/{job}/results")

    assert answer.status_code == 422
    assert answer.json()["detail"] == "this raster cannot be read; give another"
    assert ann.get(f"/jobs/{job}").json()["status"] == "failed"


def test_req_job_list_job_list_op(ann: Caller, rooms: Rooms) -> None:
    assert run(ann, rooms) == ids(ann)[0]


def test_req_job_list_job_list_success(ann: Caller) -> None:
    for job in ann.get("/jobs").json()["jobs"]:
        ann.validate(job, {"$ref": "#/components/schemas/statusInfo"})


@pytest.mark.parametrize("name", ["type", "processID", "status", "datetime", "minDuration", "maxDuration", "limit"])
def test_req_job_list_definition(api: dict[str, Any], name: str) -> None:
    parameters = {p["name"]: p for p in api["paths"]["/jobs"]["get"]["parameters"]}

    assert parameters[name]["in"] == "query"
    assert not parameters[name]["required"]


def test_req_job_list_type_response(ann: Caller, rooms: Rooms) -> None:
    run(ann, rooms)

    assert ids(ann, type="process") == ids(ann)
    assert ann.get("/jobs", type="wps").status_code == 400


def test_req_job_list_processid_mandatory(ann: Caller, rooms: Rooms) -> None:
    run(ann, rooms)

    assert all(job["processID"] for job in ann.get("/jobs").json()["jobs"])


def test_req_job_list_processid_response(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms)

    assert job in ids(ann, processID="Echo")
    assert job in ids(ann, processID="CopyRaster,Echo")
    assert job not in ids(ann, processID="CopyRaster")


def test_req_job_list_status_response(ann: Caller, rooms: Rooms, request: pytest.FixtureRequest) -> None:
    job = run(ann, rooms)
    waiting = request.getfixturevalue("waiting")

    assert job in ids(ann, status="successful")
    assert waiting not in ids(ann, status="successful")
    assert waiting in ids(ann, status="accepted,running")
    assert ann.get("/jobs", status="done").status_code == 400


def test_req_job_list_datetime_response(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms)
    now = dt.datetime.now(dt.UTC)
    later, before = (now + dt.timedelta(hours=1)).isoformat(), (now - dt.timedelta(hours=1)).isoformat()

    assert job in ids(ann, datetime=f"{before}/{later}")
    assert job in ids(ann, datetime=f"{before}/..")
    assert job in ids(ann, datetime=f"../{later}")
    assert job in ids(ann, datetime=f"{now:%Y-%m-%d}")
    assert job not in ids(ann, datetime=f"../{before}")
    assert job not in ids(ann, datetime=f"{later}/..")


@pytest.mark.parametrize(
    "text", ["", "yesterday", "../..", "/", "2026-13-01", "2026-01-02/2026-01-01", "2026-01-01T25:00:00Z"]
)
def test_a_datetime_that_is_none_is_refused(ann: Caller, text: str) -> None:
    assert ann.get("/jobs", datetime=text).status_code == 400


def test_req_job_list_duration_response(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms)

    assert job in ids(ann, minDuration="0", maxDuration="600")
    assert job not in ids(ann, minDuration="600")


def test_req_job_list_limit_response(ann: Caller, rooms: Rooms) -> None:
    newest = [run(ann, rooms) for _ in range(3)][::-1]
    first = ann.get("/jobs", limit="2", processID="Echo").json()
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    second = ann.send("GET", "/jobs", params=following.partition("?")[2]).json()

    assert [job["jobID"] for job in first["jobs"]] == newest[:2]
    assert second["jobs"][0]["jobID"] == newest[2]


def test_req_job_list_links(ann: Caller) -> None:
    assert {"self", "alternate"} <= {link["rel"] for link in ann.get("/jobs").json()["links"]}


def test_req_dismiss_job_dismiss_op(ann: Caller, waiting: str) -> None:
    assert ann.send("DELETE", f"/jobs/{waiting}").status_code == 200


def test_req_dismiss_job_dismiss_success(ann: Caller, rooms: Rooms, waiting: str) -> None:
    dismissed = ann.send("DELETE", f"/jobs/{waiting}").json()
    rooms.dispatcher.wait(waiting, 20)

    assert dismissed["status"] == "dismissed"
    assert ann.get(f"/jobs/{waiting}").json()["status"] == "dismissed"
    assert ann.get(f"/jobs/{waiting}/results").status_code == 410
    assert ann.send("DELETE", f"/jobs/{waiting}").json()["status"] == "dismissed"


def test_dismissing_what_there_is_not_is_not_found(ann: Caller) -> None:
    assert ann.send("DELETE", f"/jobs/{UNKNOWN}").json()["type"] == NO_SUCH_JOB


def test_a_job_that_is_over_is_not_dismissed(ann: Caller, rooms: Rooms) -> None:
    job = run(ann, rooms)

    assert ann.send("DELETE", f"/jobs/{job}").status_code == 409
    assert ann.get(f"/jobs/{job}").json()["status"] == "successful"


def test_jobs_of_the_other_dialect_are_listed_and_answer_as_documents(ann: Caller, rooms: Rooms) -> None:
    job = rooms.dispatcher.submit("Echo", {"stringInput": "a"}, "ann")
    rooms.dispatcher.wait(job.id, 20)

    assert job.id in ids(ann)
    assert ann.get(f"/jobs/{job.id}/results", accept="*/*").json()["stringInput"] == "a"
