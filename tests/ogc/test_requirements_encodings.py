"""/req/ogc-process-description, /req/json, /req/html and /req/oas30; each test is named after its requirement."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from caller import Caller
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from raster_analysis.app import Rooms

PAGES = ["/", "/conformance", "/api", "/processes", "/processes/Echo", "/jobs", "/collections"]


def processes(nobody: Caller) -> list[dict[str, Any]]:
    return [nobody.get(f"/processes/{p['id']}").json() for p in nobody.get("/processes").json()["processes"]]


def test_req_ogc_process_description_json_encoding(nobody: Caller) -> None:
    for process in processes(nobody):
        nobody.validate(process, {"$ref": "#/components/schemas/process"})


def test_req_ogc_process_description_inputs_def(nobody: Caller) -> None:
    for process in processes(nobody):
        for described in process["inputs"].values():
            nobody.validate(described, {"$ref": "#/components/schemas/inputDescription"})
            assert described["minOccurs"] in (0, 1)


def test_req_ogc_process_description_input_def(nobody: Caller) -> None:
    for process in processes(nobody):
        for described in process["inputs"].values():
            OAS30Validator.check_schema(described["schema"])
            assert described["schema"]


def test_req_ogc_process_description_input_mixed_type(nobody: Caller) -> None:
    mixed = nobody.get("/processes/Echo").json()["inputs"]["complexObjectInput"]["schema"]["oneOf"]

    assert [part["type"] for part in mixed] == ["object", "string"]


def test_req_ogc_process_description_outputs_def(nobody: Caller) -> None:
    for process in processes(nobody):
        assert process["outputs"]
        for described in process["outputs"].values():
            nobody.validate(described, {"$ref": "#/components/schemas/outputDescription"})


def test_req_ogc_process_description_output_def(nobody: Caller) -> None:
    for process in processes(nobody):
        for described in process["outputs"].values():
            OAS30Validator.check_schema(described["schema"])


def test_req_ogc_process_description_output_mixed_type(nobody: Caller) -> None:
    assert "oneOf" in nobody.get("/processes/Echo").json()["outputs"]["complexObjectInput"]["schema"]


@pytest.mark.parametrize("path", PAGES)
def test_req_json_definition(ann: Caller, path: str) -> None:
    assert "json" in ann.get(path).headers["content-type"]
    assert "json" in ann.get(path, accept="*/*").headers["content-type"]
    assert "json" in ann.get(path, accept="text/html", f="json").headers["content-type"]


class Page(HTMLParser):
    """What a page holds that people without eyes depend on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", PAGES)
def test_req_html_definition(ann: Caller, path: str) -> None:
    for answer in (ann.get(path, accept="text/html"), ann.get(path, f="html")):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", PAGES)
def test_req_html_content(ann: Caller, path: str) -> None:
    text = ann.get(path, accept="text/html").text
    tags = Page(text).tags

    assert [tag for tag, _ in tags].count("h1") == 1
    assert ("html", {"lang": "en"}) in tags
    assert {"title", "main", "nav"} <= {tag for tag, _ in tags}
    assert not re.search(r"\{\{|Undefined", text)


def test_pages_of_jobs_and_results_are_shown(ann: Caller, rooms: Rooms) -> None:
    job = ann.submit("Echo", inputs={"stringInput": "<b>text</b>"})
    rooms.dispatcher.wait(job, 20)

    assert "successful" in ann.get(f"/jobs/{job}", accept="text/html").text
    assert "&lt;b&gt;text" in ann.get(f"/jobs/{job}/results", accept="text/html").text


def test_req_oas30_completeness(client: Any, api: dict[str, Any]) -> None:
    """Every route is described, and nothing that is no route."""
    served = {
        (re.sub(r"\{\w+\}", "{}", endpoint.path.removeprefix("/ogc")) or "/", method)
        for endpoint in client.app.state.endpoints
        if endpoint.path.startswith("/ogc")
        for method in endpoint.methods
    }
    described = {
        (re.sub(r"\{\w+\}", "{}", path), method.upper()) for path, item in api["paths"].items() for method in item
    }
    assert described == served


def test_req_oas30_exceptions_codes(api: dict[str, Any]) -> None:
    for item in api["paths"].values():
        for operation in item.values():
            assert {"400", "404", "500"} <= operation["responses"].keys()


def test_req_oas30_oas_definition_1(nobody: Caller) -> None:
    assert nobody.get("/").json()["links"][2]["type"] == nobody.get("/api").headers["content-type"]


def test_req_oas30_oas_definition_2(api: dict[str, Any]) -> None:
    validate(api)


def test_the_definition_refers_to_nothing_outside(api: dict[str, Any]) -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            return [v for k, v in part.items() if k == "$ref"] + [r for v in part.values() for r in references(v)]
        return [r for each in part for r in references(each)] if isinstance(part, list) else []

    assert references(api)
    assert all(reference.startswith("#/components/schemas/") for reference in references(api))


def test_req_oas30_oas_impl(api: dict[str, Any]) -> None:
    """The operations have the names by which the executable test suite looks for them."""
    names = {operation["operationId"] for item in api["paths"].values() for operation in item.values()}

    assert {"getLandingPage", "getProcesses", "getProcessDescription", "getJobs", "execute", "getStatus"} <= names
    assert "getResult" in names


def test_req_oas30_security(api: dict[str, Any]) -> None:
    assert api["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert api["paths"]["/jobs"]["get"]["security"] == [{"bearer": []}, {"query": []}]
    assert {} in api["paths"]["/processes"]["get"]["security"]
