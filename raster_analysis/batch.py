"""Many rasters through one tool: a bad file does not stop the others, and the end says what failed."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from raster_analysis.api import (
    ArgumentValue,
    Files,
    Result,
    check_output,
    check_run,
    local_bench,
    run_file_tool,
)
from raster_analysis.errors import ParameterError, RasterAnalysisError
from raster_analysis.inference.preparation import TASK_OF_TOOL
from raster_analysis.progress import show_progress
from raster_analysis.rasters.staging import disk_errors
from raster_analysis.worker import Bench


@dataclass(frozen=True, slots=True)
class Batch:
    """What the command line asked for."""

    tool: str
    rasters: tuple[str, ...]
    """Paths and patterns."""
    model: str
    out: str
    """A file for one raster, when it ends like one; else a folder, made when it is not there."""
    suffix: str
    """Of the files in that folder."""
    arguments: Mapping[str, ArgumentValue]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one raster."""

    raster: str
    output: Path
    result: Result | None = None
    error: RasterAnalysisError | None = None
    interrupted: bool = False
    """Whether the user asked to stop; no raster is begun after that."""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the outcome for `--json`."""
        if self.result is None:
            return {"raster": self.raster, "error": str(self.error)}
        return {"raster": self.raster, "output": str(self.output), "statistics": dict(self.result.statistics)}


def run_batch(batch: Batch, *, quiet: bool) -> Iterator[Outcome]:
    """Yield an outcome for each raster, in order, up to the one at which the user asked to stop.

    Raises InputError, before anything is written, for what is wrong whatever the raster.
    """
    rasters = expand(batch.rasters)
    outputs = _outputs(batch, rasters)
    # One bench for all: the model is loaded once, not for every raster.
    with local_bench() as bench:
        check_run(batch.tool, batch.model, batch.arguments, bench)
        with _folder(outputs[0].parent):
            for raster, output in zip(rasters, outputs, strict=True):
                outcome = _run_one(batch, Files(raster, batch.model, output), bench, quiet=quiet)
                yield outcome
                if outcome.interrupted:
                    return


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make the folder of the outputs when it is not there, and remove it again when none came."""
    there = folder.exists()
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):  # it holds results
                folder.rmdir()


def expand(patterns: tuple[str, ...]) -> list[str]:
    """Return the files that the patterns name, each once, in order; a plain path stands for itself."""
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        if not matches:
            raise ParameterError([f"no file matches {pattern!r}"])
        found.update(dict.fromkeys(matches))
    return list(found)


def _outputs(batch: Batch, rasters: list[str]) -> list[Path]:
    out = Path(batch.out)
    if _is_folder(batch):
        return _outputs_in(out, batch, rasters)
    if len(rasters) > 1:
        raise ParameterError([f"output {batch.out!r} is one file for {len(rasters)} rasters; name a folder"])
    check_output(out, TASK_OF_TOOL[batch.tool])
    return [out]


def _is_folder(batch: Batch) -> bool:
    out = Path(batch.out)
    if out.is_dir() or batch.out.endswith(("/", os.sep)):
        return True
    return not out.suffix


def _outputs_in(folder: Path, batch: Batch, rasters: list[str]) -> list[Path]:
    if not folder.parent.is_dir():
        raise ParameterError([f"output folder {str(folder.parent)!r} does not exist; create it first"])
    if folder.exists() and not folder.is_dir():
        raise ParameterError([f"output {batch.out!r} is a file, not a folder"])
    outputs = [folder / f"{Path(raster).stem}{batch.suffix}" for raster in rasters]
    # File systems that ignore case would write one over the other.
    names = Counter(str(output).lower() for output in outputs)
    twice = sorted({str(output) for output in outputs if names[str(output).lower()] > 1})
    if twice:
        raise ParameterError([f"more than one raster would be written to {', '.join(twice)}"])
    return outputs


def _run_one(batch: Batch, files: Files, bench: Bench, *, quiet: bool) -> Outcome:
    raster, output = str(files.raster), Path(files.output)
    with show_progress(Path(raster).name, quiet=quiet) as reporter:
        try:
            result = run_file_tool(batch.tool, files, batch.arguments, report=reporter, bench=bench)
        except RasterAnalysisError as error:
            return Outcome(raster, output, error=error, interrupted=reporter.interrupted)
        reporter.progress(1.0)
        return Outcome(raster, output, result, interrupted=reporter.interrupted)
