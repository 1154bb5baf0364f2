"""A tool without pixels for these tests: its blocks are text files, and each start of a block leaves a mark.

Imported by the tests and, by name, by slots. What a block does besides is said by files in a folder of the test:
`hold` keeps every block waiting, `hold-3` block 3, `kill-3` ends the process of block 3 (once when it says so),
`fail-3` raises, `refuse-3` raises an error that is not worth another try, `stray` has the tool name a file that is not
the job's as its result.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from raster_analysis.errors import RasterError
from raster_analysis.grid import Window
from raster_analysis.perform import perform
from raster_analysis.seams import Reporter
from raster_analysis.task import Done, Task
from raster_analysis.tool import (
    Block,
    BlockResult,
    Catalog,
    Context,
    Kind,
    Output,
    OutputInfo,
    Parameters,
    Plan,
    Tool,
    parameter,
)


class CountParameters(Parameters):
    count: int = parameter("count", "How many blocks.")
    stage: str = parameter("stage", "The test's folder.", default="")
    raster: str | None = parameter("inputRaster", "Unused.", kind=Kind.RASTER, default=None)


class NoParameters(Parameters):
    pass


def plan(parameters: CountParameters, context: Context) -> Plan:
    context.report.message(f"{parameters.count} blocks")
    return Plan(tuple(Block(i, Window(i, 0, 1, 1)) for i in range(parameters.count)), {"seed": 7}, memory_bytes=0)


def run_block(block: Block, plan: Plan, parameters: CountParameters, context: Context) -> BlockResult:
    stage = Path(parameters.stage)
    mark(stage, f"start-{block.index}")
    context.report.progress(0.5)
    obey(stage, block.index, context)
    data = f"{block.index}:{plan.state['seed']}\n".encode() * 100
    file = context.folder / f"block-{block.index}.txt"
    part = file.with_suffix(".part")
    part.write_bytes(data)
    part.rename(file)
    mark(stage, f"end-{block.index}")
    return BlockResult(block.index, file.name, hashlib.sha256(data).hexdigest(), {"lines": 100.0})


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: CountParameters, context: Context
) -> tuple[Output, ...]:
    mark(Path(parameters.stage), "start-finish")
    wait_while(Path(parameters.stage) / "hold-finish", context)
    stray = Path(parameters.stage) / "stray"
    if stray.exists():
        return (Output("result", "features", path=stray.read_text()),)
    path = context.folder / "result.txt"
    path.write_bytes(b"".join((context.folder / result.file).read_bytes() for result in results))
    return (Output("result", "features", path=path.name),)


def answer(parameters: NoParameters, catalog: Catalog) -> tuple[Output, ...]:
    return (Output("models", "value", value=list(catalog.models())),)


def echo(parameters: CountParameters, context: Context) -> tuple[Output, ...]:
    return (Output("count", "value", value=parameters.count),)


def obey(stage: Path, index: int, context: Context) -> None:
    wait_while(stage / "hold", context)
    wait_while(stage / f"hold-{index}", context)
    kill = stage / f"kill-{index}"
    if kill.exists():
        if kill.read_text() == "once":
            kill.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (stage / f"fail-{index}").exists():
        raise ZeroDivisionError(str(stage))
    if (stage / f"refuse-{index}").exists():
        raise RasterError(f"block {index} is not to be had")


def wait_while(file: Path, context: Context) -> None:
    while file.exists():
        if not (file.parent / "deaf").exists():
            context.report.check_cancelled()
        time.sleep(0.002)


def mark(stage: Path, what: str) -> None:
    (stage / "marks").mkdir(exist_ok=True)
    (stage / "marks" / f"{what}.{os.getpid()}.{secrets.token_hex(4)}").touch()


def marks(stage: Path, what: str) -> list[str]:
    """Return the names of the marks of one kind, e.g. `start-3`."""
    return [path.name for path in stage.glob(f"marks/{what}.*")]


COUNT = Tool(
    "Count",
    "Count",
    "Count in blocks.",
    CountParameters,
    (OutputInfo("result", "Lines."),),
    plan=plan,
    run_block=run_block,
    finish=finish,
)
LIST = Tool("List", "List", "List models.", NoParameters, (OutputInfo("models", "Models."),), answer=answer)
ECHO = Tool("Echo", "Echo", "Say the count.", CountParameters, (OutputInfo("count", "The count."),), run=echo)
TOOLS = {tool.name: tool for tool in (COUNT, LIST, ECHO)}


def open_bench() -> Callable[[Task, Reporter], Done]:
    return run


def run(task: Task, report: Reporter) -> Done:
    nothing = object()
    context = Context(
        folder=Path(task.folder),
        handles=task.handles,
        report=report,
        rasters=nothing,  # type: ignore[arg-type]
        models=nothing,  # type: ignore[arg-type]
        features=nothing,  # type: ignore[arg-type]
        memory_limit=0,
    )
    return perform(task, TOOLS, context)
