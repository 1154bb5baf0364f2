"""/req/core of OGC API - Processes 1.0 as far as it needs no job; each test is named after its requirement."""

from __future__ import annotations

from typing import Any

import pytest
from caller import Caller

from raster_analysis.ogc.problem import NO_SUCH_PROCESS

REL = "http://www.opengis.net/def/rel/ogc/1.0"


def rels(document: dict[str, Any]) -> set[str]:
    return {link["rel"] for link in document["links"]}


def test_req_core_landingpage_op(nobody: Caller) -> None:
    assert nobody.get("/").status_code == 200


def test_req_core_landingpage_success(nobody: Caller) -> None:
    found = rels(nobody.get("/").json())

    assert {"self", "alternate", "service-desc", "service-doc"} <= found
    assert {f"{REL}/conformance", f"{REL}/processes", f"{REL}/job-list"} <= found


def test_every_link_of_the_landing_page_leads_somewhere(ann: Caller) -> None:
    for link in ann.get("/").json()["links"]:
        path, _, query = link["href"].partition("/ogc")[2].partition("?")
        answer = ann.get(path, accept=link["type"], **dict(pair.split("=") for pair in query.split("&") if pair))
        assert answer.status_code == 200, link
        assert answer.headers["content-type"].replace(" ", "").startswith(link["type"]), link


def test_req_core_api_definition_op(nobody: Caller) -> None:
    assert nobody.get("/api").status_code == 200


def test_req_core_api_definition_success(nobody: Caller) -> None:
    answer = nobody.get("/api", accept="application/vnd.oai.openapi+json;version=3.0")

    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert answer.json()["openapi"].startswith("3.0.")


def test_req_core_conformance_op(nobody: Caller) -> None:
    assert nobody.get("/conformance").status_code == 200


def test_req_core_conformance_success(nobody: Caller) -> None:
    declared = nobody.get("/conformance").json()["conformsTo"]
    classes = {uri.rpartition("/")[2] for uri in declared if "ogcapi-processes-1/1.0/conf" in uri}

    assert classes == {"core", "ogc-process-description", "json", "html", "oas30", "job-list", "dismiss"}


@pytest.mark.parametrize(("method", "path"), [("PUT", "/processes"), ("POST", "/jobs"), ("PATCH", "/jobs/x")])
def test_req_core_http(nobody: Caller, method: str, path: str) -> None:
    answer = nobody.send(method, path)

    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_the_methods_of_a_path_are_told_together(ann: Caller) -> None:
    assert ann.send("PUT", "/jobs/x").headers["allow"] == "DELETE, GET, HEAD"


def test_req_core_process_list(nobody: Caller) -> None:
    ids = [process["id"] for process in nobody.get("/processes").json()["processes"]]

    assert "Echo" in ids
    assert "DetectObjectsUsingDeepLearning" in ids


def test_req_core_pl_limit_definition(nobody: Caller, api: dict[str, Any]) -> None:
    parameters = {p["name"]: p["schema"] for p in api["paths"]["/processes"]["get"]["parameters"]}

    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 1000}
    assert nobody.get("/processes", limit="10").status_code == 200


@pytest.mark.parametrize("limit", ["1", "2", "1000"])
def test_req_core_pl_limit_response(nobody: Caller, limit: str) -> None:
    every = len(nobody.get("/processes").json()["processes"])

    assert len(nobody.get("/processes", limit=limit).json()["processes"]) == min(int(limit), every)


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1.5", "9" * 5000, "²"])
def test_a_limit_that_is_no_number_is_refused(nobody: Caller, limit: str) -> None:
    answer = nobody.get("/processes", limit=limit)

    assert answer.status_code == 400
    assert "limit" in answer.json()["detail"]


def test_req_core_pl_links(nobody: Caller) -> None:
    assert {"self", "alternate"} <= rels(nobody.get("/processes").json())


def test_pages_of_processes_hold_each_of_them_once(nobody: Caller) -> None:
    every = [process["id"] for process in nobody.get("/processes").json()["processes"]]
    found: list[str] = []
    query = {"limit": "3"}
    while query:
        page = nobody.get("/processes", **query).json()
        found += [process["id"] for process in page["processes"]]
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
        query = dict(pair.split("=") for pair in following.partition("?")[2].split("&") if pair)

    assert found == every


def test_req_core_process_list_success(nobody: Caller) -> None:
    for process in nobody.get("/processes").json()["processes"]:
        nobody.validate(process, {"$ref": "#/components/schemas/processSummary"})
        assert "async-execute" in process["jobControlOptions"]


def test_req_core_process(nobody: Caller) -> None:
    assert nobody.get("/processes/Echo").json()["id"] == "Echo"


def test_req_core_process_success(nobody: Caller) -> None:
    for process in nobody.get("/processes").json()["processes"]:
        described = nobody.get(f"/processes/{process['id']}").json()
        assert f"{REL}/execute" in rels(described)


def test_what_works_in_blocks_is_executed_asynchronously_only(nobody: Caller) -> None:
    assert nobody.get("/processes/Echo").json()["jobControlOptions"] == ["sync-execute", "async-execute"]
    detect = nobody.get("/processes/DetectObjectsUsingDeepLearning").json()
    assert detect["jobControlOptions"] == ["async-execute"]
    assert detect["outputTransmission"] == ["reference"]


def test_req_core_process_exception_no_such_process(nobody: Caller) -> None:
    answer = nobody.get("/processes/Nothing")

    assert answer.status_code == 404
    assert answer.json()["type"] == NO_SUCH_PROCESS


def test_executing_what_is_no_process_is_the_same_error(ann: Caller) -> None:
    answer = ann.execute("Nothing", inputs={})

    assert answer.status_code == 404
    assert answer.json()["type"] == NO_SUCH_PROCESS
