"""Perform tasks with a tool: from a phase's name to the tool's function, and a whole job in one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import JsonValue

from raster_analysis.errors import JobError, NoOverlap, RasterError
from raster_analysis.handle import Handle
from raster_analysis.seams import Images, Level, Reporter, Wanted
from raster_analysis.task import Done, Phase, Task
from raster_analysis.tool import Context, Output, Parameters, Tool

T = TypeVar("T")
_PLACES = ("context.cellSize", "context.snapRaster")
"""Rasters of which only the place of the cells is wanted."""


def perform(task: Task, tools: Mapping[str, Tool[Any]], context: Context) -> Done:
    """Run the function of the tool that the task's phase asks for."""
    tool = tools[task.tool]
    parameters = tool.parse(task.parameters)
    # Before every task, not once a job: a block read from a replaced file would not fit its neighbours.
    for handle in context.handles.values():
        handle.verify_unchanged()
    context = _with_images(tool, parameters, context)
    if task.phase is Phase.RUN and tool.run:
        return Done(outputs=tool.run(parameters, context))
    if task.phase is Phase.PLAN and tool.plan:
        return Done(plan=tool.plan(parameters, context))
    plan = _require(task.plan, task)
    if task.phase is Phase.BLOCK and tool.run_block:
        return Done(result=tool.run_block(_require(task.block, task), plan, parameters, context))
    if task.phase is Phase.FINISH and tool.finish:
        return Done(outputs=tool.finish(plan, task.results, parameters, context))
    raise JobError(f"tool {tool.name} has nothing to do in phase {task.phase.value}")


def _with_images(tool: Tool[Any], parameters: Parameters, context: Context) -> Context:
    """Return the context with a local copy for each image service of another server.

    It lies beside the folders of the claims, so that another claim of the job finds what was fetched before.
    """
    remote = {name: handle for name, handle in context.handles.items() if _is_remote(handle)}
    if not remote:
        return context
    processing = tool.processing(parameters)
    local = {
        name: _fetch(handle, Wanted(name, processing, pixels=name not in _PLACES), context)
        for name, handle in remote.items()
    }
    return replace(context, handles={**context.handles, **local})


def _is_remote(handle: Handle) -> bool:
    return handle.remote is not None or any(member.remote for member in handle.members)


def _fetch(handle: Handle, wanted: Wanted, context: Context) -> Handle:
    """Return a local copy; of a collection without those that lie outside of what is processed."""
    images = _require_images(context, wanted.name)
    folder = context.folder.parent / "inputs"
    if not handle.members:
        return images.fetch(handle, wanted, folder, context.report)
    members, missed = [], None
    for number, member in enumerate(handle.members):
        try:
            members.append(
                images.fetch(member, replace(wanted, name=f"{wanted.name}-{number}"), folder, context.report)
            )
        except NoOverlap as error:
            missed = error
    if missed is not None and not members:
        raise missed
    return members[0] if len(members) == 1 else replace(handle, members=tuple(members))


def _require_images(context: Context, wire_name: str) -> Images:
    if context.images is None:
        raise RasterError(f"{wire_name}: image services of other servers cannot be read here")
    return context.images


def perform_all(tool: Tool[Any], form: dict[str, JsonValue], context: Context) -> tuple[Output, ...]:
    """Run a whole job in this thread, with no job store: plan, every block, finish."""
    tools = {tool.name: tool}
    task = Task("local", 0, tool.name, Phase.RUN, str(context.folder), form, dict(context.handles))
    if tool.run:
        return perform(task, tools, context).outputs
    plan = _require(perform(replace(task, phase=Phase.PLAN), tools, context).plan, task)
    results = []
    for done, block in enumerate(plan.blocks):
        # The last twentieth is for putting the result together (guess).
        part = replace(context, report=Share(context.report, 0.95 * done / len(plan.blocks), 0.95 / len(plan.blocks)))
        answer = perform(replace(task, phase=Phase.BLOCK, plan=plan, block=block), tools, part)
        results.append(_require(answer.result, task))
    last = replace(task, phase=Phase.FINISH, plan=plan, results=tuple(results))
    outputs = perform(last, tools, replace(context, report=Share(context.report, 0.95, 0.05))).outputs
    context.report.progress(1.0)
    return outputs


@dataclass(frozen=True, slots=True)
class Share:
    """A reporter for a part of the work that starts at `start` and is `share` of the whole."""

    whole: Reporter
    start: float
    share: float

    def message(self, text: str, level: Level = "info") -> None:
        """Pass a message on."""
        self.whole.message(text, level)

    def progress(self, fraction: float) -> None:
        """Pass progress on, scaled to the whole."""
        self.whole.progress(self.start + self.share * fraction)

    def check_cancelled(self) -> None:
        """Raise Cancelled when the whole was asked to stop."""
        self.whole.check_cancelled()


def _require(value: T | None, task: Task) -> T:
    if value is None:
        raise JobError(f"task {task.phase.value} of job {task.job_id} came without what it needs")
    return value
