"""Status documents of jobs, and which jobs of a list are wanted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.ogc.links import RESULTS_REL, Links
from raster_analysis.ogc.moments import ALWAYS, Interval, read_interval, spell
from raster_analysis.ogc.problem import invalid
from raster_analysis.ogc.route import whole
from raster_analysis.rest.endpoint import Call
from raster_analysis.rest.envelope import Document

STATUS: Mapping[JobStatus, str] = {
    JobStatus.NEW: "accepted",
    JobStatus.SUBMITTED: "accepted",
    JobStatus.WAITING: "accepted",
    JobStatus.EXECUTING: "running",
    JobStatus.CANCELLING: "running",
    JobStatus.SUCCEEDED: "successful",
    JobStatus.FAILED: "failed",
    JobStatus.TIMED_OUT: "failed",
    JobStatus.CANCELLED: "dismissed",
}
STATUSES = ("accepted", "running", "successful", "failed", "dismissed")
FILTERS = ("type", "processID", "status", "datetime", "minDuration", "maxDuration")


def status_document(job: Job, links: Links) -> Document:
    """Return how a job gets on."""
    own = links.of_itself("jobs", job.id, title=f"Job {job.id}")
    if job.status is JobStatus.SUCCEEDED:
        own.append(links.to(RESULTS_REL, "jobs", job.id, "results", title="Results"))
    document: Document = {
        "jobID": job.id,
        "processID": job.tool,
        "type": "process",
        "status": STATUS[job.status],
        "message": explain(job),
        "progress": int(100 * job.progress),
        "created": spell(job.submitted_at),
        "updated": spell(job.messages[-1].time if job.messages else job.submitted_at),
        "links": [*own],
    }
    document |= {"started": spell(job.started_at)} if job.started_at else {}
    return document | ({"finished": spell(job.finished_at)} if job.finished_at else {})


def explain(job: Job) -> str:
    """Return why a job failed, or the last that it said."""
    errors = [message.text for message in job.messages if message.level == "error"]
    # The last error is only that it failed, and when.
    if job.status is JobStatus.FAILED and len(errors) > 1:
        return "; ".join(errors[:-1])
    return job.messages[-1].text if job.messages else ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs of a list are wanted; None in a field: any."""

    types: tuple[str, ...] | None = None
    processes: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    created: Interval = ALWAYS
    min_s: int = 0
    max_s: int | None = None

    @classmethod
    def of(cls, call: Call) -> Filter:
        """Read the query of a job list; raises Problem."""
        return cls(
            _words(call, "type", ("process",)),
            _words(call, "processID", None),
            _words(call, "status", STATUSES),
            read_interval(call.fields.get("datetime")),
            whole(call, "minDuration", 0),
            whole(call, "maxDuration", 0) if "maxDuration" in call.fields else None,
        )

    def wants(self, job: Job, now: dt.datetime) -> bool:
        """Tell whether a job is wanted."""
        if self.processes is not None and job.tool not in self.processes:
            return False
        if self.statuses is not None and STATUS[job.status] not in self.statuses:
            return False
        return self.created.contains(job.submitted_at) and self._lasts(job, now)

    def _lasts(self, job: Job, now: dt.datetime) -> bool:
        if job.started_at is None:
            # It has no duration, so no bound can hold for it.
            return self.min_s == 0 and self.max_s is None
        duration_s = ((job.finished_at or now) - job.started_at).total_seconds()
        return self.min_s <= duration_s and (self.max_s is None or duration_s <= self.max_s)


def _words(call: Call, name: str, known: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if name not in call.fields:
        return None
    words = tuple(call.fields[name].split(","))
    wrong = [word for word in words if known is not None and word not in known]
    if wrong and known is not None:
        raise invalid(f"Parameter {name} = {wrong[0][:40]!r}: want {', '.join(known)}, or several with commas between.")
    return words
