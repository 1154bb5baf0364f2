"""Documents of jobs in the words of the wire (contract 5.3 to 5.6)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.rest.envelope import Document
from raster_analysis.seams import Level
from raster_analysis.tool import ParameterInfo, Tool

STATUS: Mapping[JobStatus, str] = {
    JobStatus.NEW: "esriJobNew",
    JobStatus.SUBMITTED: "esriJobSubmitted",
    JobStatus.WAITING: "esriJobWaiting",
    JobStatus.EXECUTING: "esriJobExecuting",
    JobStatus.CANCELLING: "esriJobCancelling",
    JobStatus.SUCCEEDED: "esriJobSucceeded",
    JobStatus.FAILED: "esriJobFailed",
    JobStatus.CANCELLED: "esriJobCancelled",
    JobStatus.TIMED_OUT: "esriJobTimedOut",
}
"""A job's own words to those of the wire. Clients poll for ever on a word they do not know."""

_LEVELS: dict[Level, str] = {
    "info": "esriJobMessageTypeInformative",
    "warning": "esriJobMessageTypeWarning",
    "error": "esriJobMessageTypeError",
}
_SECRET = re.compile(r'(token"?\s*[=:]\s*"?)[^&"\s}]+', re.IGNORECASE)


def submitted_document(job: Job) -> Document:
    """Return the answer to submitJob."""
    return {"jobId": job.id, "jobStatus": STATUS[JobStatus.SUBMITTED]}


def job_document(job: Job, tool: Tool[Any]) -> Document:
    """Return a job as clients poll it; a finished one names a result for every declared output."""
    document: Document = {"jobId": job.id, "jobStatus": STATUS[job.status]}
    # Only now: a client that sees results reads them at once, whatever the status says.
    if job.status is JobStatus.SUCCEEDED:
        document["results"] = {output.name: {"paramUrl": f"results/{output.name}"} for output in tool.outputs}
    document["inputs"] = {info.name: {"paramUrl": f"inputs/{info.name}"} for info in tool.describe()}
    document["messages"] = message_documents(job)
    percent = int(100 * job.progress)
    document["progress"] = {"type": "step", "message": _progress_message(job), "percent": percent}
    return document


def missing_document(job_id: str) -> Document:
    """Return what is said of a job that does not exist or is another user's: clients poll on an error."""
    text = f"Job {job_id[:64]} does not exist or is inaccessible."
    return {"jobId": job_id[:64], "jobStatus": STATUS[JobStatus.FAILED], "messages": [_message_document("error", text)]}


def message_documents(job: Job) -> list[JsonValue]:
    """Return a job's messages in order; the list only grows."""
    return [_message_document(level, text) for _, level, text in job.messages]


def input_document(job: Job, tool: Tool[Any], info: ParameterInfo) -> Document:
    """Return one input as it was given, under whichever spelling, or its default; tokens inside it are left out."""
    value = tool.given(job.form).get(info.name, info.default)
    return {"paramName": info.name, "dataType": info.data_type, "value": _typed(value, info.data_type)}


def result_document(job: Job, name: str) -> Document:
    """Return one output of a finished job; its value is a JSON value, never text that holds JSON."""
    return {"paramName": name, "dataType": "GPString", "value": job.outputs.get(name)}


def _message_document(level: Level, text: str) -> Document:
    return {"type": _LEVELS[level], "description": text}


def _progress_message(job: Job) -> str:
    return job.messages[-1].text if job.messages else ""


def _typed(value: JsonValue, data_type: str) -> JsonValue:
    if not isinstance(value, str):
        return value
    # Clients write their token into URLs (contract 2.2), and administrators read other people's jobs.
    hidden = _SECRET.sub(r"\1...", value)
    if data_type == "GPString" and not hidden.lstrip().startswith(("{", "[")):
        return hidden
    try:
        parsed: JsonValue = json.loads(hidden.lower() if data_type == "GPBoolean" else hidden)
    except ValueError:
        return hidden
    return parsed
