"""An execute request as a value: inputs, which outputs are wanted, and how they are to come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import JsonValue
from starlette.requests import Request

from raster_analysis.errors import ParameterError
from raster_analysis.jobs.job import Job
from raster_analysis.ogc.descriptions import may_wait
from raster_analysis.ogc.inputs import read_inputs
from raster_analysis.ogc.problem import invalid
from raster_analysis.ogc.schemas import is_item
from raster_analysis.tool import Tool

Transmission = Literal["value", "reference"]
Response = Literal["raw", "document"]

_KEPT = "ogc:execute"
"""Where a job's form keeps how its results are to come; no parameter has such a name."""
LONGEST_WAIT_S = 60
_WAIT_S = 20
"""What a client that does not say waits for a result before it gets a job instead (guess: below usual timeouts)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which outputs of a job are wanted, and how they are to come."""

    transmissions: Mapping[str, Transmission]
    response: Response | None = None
    """None: nobody said; the standard means `raw` then, and clients that take JSON only get a document."""

    @classmethod
    def of(cls, job: Job, tool: Tool[Any]) -> Wanted:
        """Return what the job was submitted with; all outputs when it came by another dialect."""
        kept = job.form.get(_KEPT)
        if not isinstance(kept, dict):
            return cls(_all_outputs(tool), "document")
        return cls(cast(Any, kept["outputs"]), cast(Any, kept["response"]))

    def keep(self) -> dict[str, JsonValue]:
        """Return what a job's form has to hold besides its parameters."""
        return {_KEPT: {"response": self.response, "outputs": cast(JsonValue, dict(self.transmissions))}}


def read_execution(tool: Tool[Any], body: Mapping[str, Any]) -> tuple[dict[str, JsonValue], Wanted]:
    """Return the form of a job and how its results are to come; raises Problem and ParameterError."""
    response = body.get("response")
    if response not in (None, "raw", "document"):
        raise invalid(f"response = {str(response)[:40]!r} is neither 'raw' nor 'document'.")
    if "subscriber" in body:
        raise invalid("subscriber: callbacks are not supported; ask for the job's status instead.")
    inputs = body.get("inputs", {})
    if not isinstance(inputs, dict):
        raise invalid("inputs is not an object with a value for each input's name.")
    wanted = Wanted(_read_outputs(tool, body.get("outputs")), response)
    return read_inputs(tool, inputs) | wanted.keep(), wanted


def preferences(request: Request) -> list[str]:
    """Return the words of the Prefer header (RFC 7240)."""
    return [part.strip().lower() for part in ",".join(request.headers.getlist("prefer")).split(",")]


def wait_s(tool: Tool[Any], request: Request) -> float:
    """Return how long the client wants to wait for the end, 0 for not at all: as it prefers."""
    if not may_wait(tool):
        return 0
    asked = preferences(request)
    if "respond-async" in asked:
        return 0
    waits = [match[1] for part in asked if (match := re.fullmatch(r"wait=(\d{1,9})", part))]
    return min(int(waits[0]), LONGEST_WAIT_S) if waits else _WAIT_S


def _read_outputs(tool: Tool[Any], given: Any) -> dict[str, Transmission]:
    if given is None or given == {}:
        return _all_outputs(tool)
    if not isinstance(given, dict):
        raise invalid('outputs is not an object such as {"name": {"transmissionMode": "value"}}.')
    known = {output.name: output for output in tool.outputs}
    faults = [
        f"there is no output {name[:100]!r}; the outputs are {', '.join(known)}" for name in given if name not in known
    ]
    faults += [fault for name, how in given.items() if name in known and (fault := _fault(tool, name, how))]
    if faults:
        raise ParameterError(faults)
    everything = _all_outputs(tool)
    return {name: how.get("transmissionMode", everything[name]) for name, how in given.items()}


def _fault(tool: Tool[Any], name: str, how: object) -> str | None:
    mode = how.get("transmissionMode") if isinstance(how, dict) else how
    if not isinstance(how, dict) or mode not in (None, "value", "reference"):
        return f"output {name}: want an object whose transmissionMode is 'value' or 'reference'"
    if mode == "value" and _all_outputs(tool)[name] == "reference":
        return f"output {name} becomes an item and is given by reference only"
    return None


def _all_outputs(tool: Tool[Any]) -> dict[str, Transmission]:
    """Return every output as it comes when nothing else is asked for."""
    return {output.name: "reference" if is_item(tool, output) else "value" for output in tool.outputs}
