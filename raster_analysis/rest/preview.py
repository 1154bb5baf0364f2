"""Previews: small pictures of layers, and of what a job made over what it was given, for the pages that people read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.errors import RasterAnalysisError
from raster_analysis.handle import Handle
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User
from raster_analysis.question import Content, Question, Readers
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.image_request import own_reference
from raster_analysis.rest.urls import SERVICES, TOOLBOX

LONGEST_PX = 900
"""Longer side of a preview."""

_FRESH_S = 60
_MOST_DIGITS = 6

FindService = Callable[[ServiceName, User | None], Handle | None]
"""The file of a service with a visitor's rights; None when no job has filled it."""
FindInput = Callable[[Job], Handle | None]
"""The raster that a job was given, None for a job without one."""
FindJob = Callable[[str], Job | None]


@dataclass(frozen=True, slots=True)
class View:
    """The rectangle that a preview shows."""

    bounds: tuple[float, float, float, float]
    reference: Mapping[str, JsonValue]
    height: int
    width: int

    def arguments(self) -> dict[str, JsonValue]:
        """Return the frame as readers understand it."""
        return {
            "bounds_xyxy": [*self.bounds],
            "bounds_reference": dict(self.reference),
            "reference": dict(self.reference),
            "height": self.height,
            "width": self.width,
        }


class Previews:
    """Serves previews. They are for pages: a browser's session opens them, and their URLs have no `f`."""

    def __init__(self, readers: Readers, find_service: FindService, find_input: FindInput, find_job: FindJob) -> None:
        self._readers = readers
        self._find_service = find_service
        self._find_input = find_input
        self._find_job = find_job

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; they come before those of the services, which take more words."""
        service, job = f"{SERVICES}/Hosted/{{name}}", f"{TOOLBOX}/{{task}}/jobs/{{job}}"
        return [
            *(Endpoint(f"{service}/{kind}/preview", self._service(kind), Policy.ANYONE) for kind in ServiceKind),
            Endpoint(f"{job}/preview", self.job, Policy.USER),
            Endpoint(f"{job}/preview/{{output}}", self.output, Policy.USER),
        ]

    def job(self, call: Call) -> Response:
        """Draw the raster that a job was given."""
        raster = self._input_of(self._job_of(call))
        return _picture(self._draw_image(raster, self._view_of_image(raster)))

    def output(self, call: Call) -> Response:
        """Draw one result of a job, in the frame of the raster that it was given."""
        job = self._job_of(call)
        value = job.outputs.get(call.path["output"]) if job.status is JobStatus.SUCCEEDED else None
        service = _service_of(value)
        handle = self._find_service(service, call.user) if service else None
        if service is None or handle is None:
            raise Refusal(404, f"There is no picture of {call.path['output'][:80]!r}.")
        view = self._view_of_image(self._input_of(job))
        draw = self._draw_image if service.kind is ServiceKind.IMAGERY else self._draw_features
        return _picture(draw(handle, view))

    def _service(self, kind: ServiceKind) -> Callable[[Call], Response]:
        def show(call: Call) -> Response:
            handle = self._find_service(ServiceName(kind, call.path["name"]), call.visitor)
            if handle is None:
                raise Refusal(404, "No job has filled this service yet.")
            if kind is ServiceKind.IMAGERY:
                return _picture(self._draw_image(handle, self._view_of_image(handle)))
            return _picture(self._draw_features(handle, None, layer=_layer_of(call)))

        return show

    def _job_of(self, call: Call) -> Job:
        job = self._find_job(call.path["job"])
        is_seen = job is not None and (call.user.is_administrator or call.user.name == job.user)
        if job is None or not is_seen or job.tool != call.path["task"]:
            raise Refusal(404, f"Job {call.path['job'][:64]} does not exist or is inaccessible.")
        return job

    def _input_of(self, job: Job) -> Handle:
        raster = self._find_input(job)
        if raster is None:
            raise Refusal(404, f"Job {job.id} was given no raster.")
        return raster

    def _view_of_image(self, handle: Handle) -> View:
        facts = json.loads(self._readers.ask(Question("image_facts", handle)).data)
        scale = LONGEST_PX / max(facts["height"], facts["width"])
        height, width = (max(1, round(scale * facts[side])) for side in ("height", "width"))
        return View(tuple(facts["bounds"]), own_reference(facts), height, width)

    def _draw_image(self, handle: Handle, view: View) -> Content:
        return self._readers.ask(Question("image", handle, {"frame": view.arguments(), "format": "png"}))

    def _draw_features(self, handle: Handle, view: View | None, *, layer: int = 0) -> Content:
        arguments: dict[str, JsonValue] = {"longest_px": LONGEST_PX, "layer": layer}
        if view:
            arguments["frame"] = view.arguments()
        return self._readers.ask(Question("feature_drawing", handle, arguments))


def previewed_outputs(job: Job, find_input: FindInput) -> list[str]:
    """Return the outputs that can be drawn over what the job was given; none when that is gone, or no single file."""
    drawn = [name for name, value in job.outputs.items() if _service_of(value)]
    try:
        raster = find_input(job) if drawn else None
    except RasterAnalysisError:
        return []
    # Readers open files: neither a mosaic of several nor what lies on another server is one.
    return drawn if raster and raster.driver else []


def _layer_of(call: Call) -> int:
    text = call.fields.get("layer", "0")
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise Refusal(400, f"layer {text[:40]!r}: want the number of a layer, from 0.")
    return int(text)


def _service_of(value: Any) -> ServiceName | None:
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str) or SERVICES not in url:
        return None
    return ServiceName.of_path(SERVICES + url.partition(SERVICES)[2])


def _picture(content: Content) -> Response:
    headers = {"Cache-Control": f"private, max-age={_FRESH_S}", "X-Content-Type-Options": "nosniff"}
    if content.media_type == "image/svg+xml":
        # Opened by itself it runs nothing, whatever a class is called.
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return Response(content.data, media_type=content.media_type, headers=headers)
