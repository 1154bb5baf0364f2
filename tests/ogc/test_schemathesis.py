"""Every operation of the definition, asked with generated requests: no 5xx, and no answer that it does not describe.

`RASTER_ANALYSIS_EXAMPLES=500 pytest tests/ogc/test_schemathesis.py` asks more.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from caller import Caller
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.ogc.openapi import api_document

EXAMPLES = int(os.environ.get("RASTER_ANALYSIS_EXAMPLES", "15"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(api_document("Raster Analysis", "http://localhost/ogc"))
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
KNOWN = {"processId": "Echo", "collectionId": "objects", "featureId": "1", "outputId": "stringInput"}


@pytest.fixture(scope="module")
def known(ann: Caller, rooms: Rooms) -> dict[str, str]:
    """Values of path parameters that lead somewhere."""
    job = ann.submit("Echo", inputs={"stringInput": "a"})
    rooms.dispatcher.wait(job, 20)
    return {**KNOWN, "jobId": job}


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("label", OPERATIONS)
def test_A17_answers_are_as_the_definition_says(
    client: TestClient, token: dict[str, str], known: dict[str, str], label: str, mode: GenerationMode
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode), lead=st.booleans(), user=st.booleans())
    def ask(case: Any, lead: bool, user: bool) -> None:
        if lead:
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        if (
            lead
            and label.startswith("POST")
            and isinstance(case.body, dict)
            and isinstance(case.body.get("inputs"), dict)
        ):
            case.body["inputs"].setdefault("stringInput", "a")
            case.headers = {**(case.headers or {}), "Prefer": "wait=5"}
        # Through the server that runs: the library's own transport would start another for each request.
        asked = case.as_transport_kwargs(base_url="http://localhost/ogc")
        asked["headers"] = {**asked.get("headers", {}), **({"authorization": f"Bearer {token['ann']}"} if user else {})}
        asked.pop("cookies", None)
        if isinstance(asked.get("data"), (bytes, str)):
            asked["content"] = asked.pop("data")
        case.validate_response(client.request(**asked), checks=CHECKS)

    ask()
