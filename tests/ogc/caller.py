"""A client that checks every answer against the API's own definition."""

from __future__ import annotations

from typing import Any

import httpx
from openapi_schema_validator import OAS30ReadValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from starlette.testclient import TestClient

JSON_TYPES = ("application/json", "application/problem+json", "application/geo+json")


class Caller:
    """Asks as one user, or as nobody."""

    def __init__(self, client: TestClient, api: dict[str, Any], token: str | None) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._api = api
        self._registry = Registry().with_resource("api", Resource(api, DRAFT4))

    def get(self, path: str, accept: str = "application/json", **query: str) -> httpx.Response:
        return self.send("GET", path, accept=accept, params=query)

    def send(self, method: str, path: str, *, accept: str = "application/json", **options: Any) -> httpx.Response:
        headers = {**self._headers, "accept": accept, **options.pop("headers", {})}
        answer = self._client.request(method, f"/ogc{path}", headers=headers, **options)
        self.check(method, path, answer)
        return answer

    def execute(
        self, process: str, *, accept: str = "application/json", prefer: str = "", **body: Any
    ) -> httpx.Response:
        headers = {"prefer": prefer} if prefer else {}
        return self.send("POST", f"/processes/{process}/execution", accept=accept, json=body, headers=headers)

    def submit(self, process: str, **body: Any) -> str:
        """Execute without waiting; return the job's id."""
        answer = self.execute(process, prefer="respond-async", **body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        """The definition knows the status, and its schema fits the document."""
        operation = self._operation(method, path)
        if operation is None:
            return
        described = operation["responses"].get(str(answer.status_code))
        assert described, f"{method} {path}: {answer.status_code} is not in the definition: {answer.text}"
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if not answer.content:
            return
        content = {name.partition(";")[0]: value for name, value in described["content"].items()}
        assert media_type in content or "*/*" in content, f"{method} {path}: {media_type} is not in the definition"
        if media_type in JSON_TYPES and media_type in content:
            self.validate(answer.json(), content[media_type]["schema"])

    def validate(self, document: Any, schema: dict[str, Any]) -> None:
        """Check a document against a schema of the definition."""
        absolute = _absolute(schema)
        OAS30ReadValidator(absolute, registry=self._registry).validate(document)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        parts = path.strip("/").split("/")
        for template, item in self._api["paths"].items():
            wanted = template.strip("/").split("/")
            if len(wanted) == len(parts) and all(
                a.startswith("{") or a == b for a, b in zip(wanted, parts, strict=True)
            ):
                return item.get(method.lower())
        return None


def _absolute(schema: Any) -> Any:
    """Point references to the whole definition."""
    if isinstance(schema, dict):
        return {k: f"api{v}" if k == "$ref" else _absolute(v) for k, v in schema.items()}
    return [_absolute(each) for each in schema] if isinstance(schema, list) else schema
