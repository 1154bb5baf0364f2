"""Batch runs from Python, with no server: one raster, one model, one output file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from raster_analysis.errors import OutputExists, ParameterError
from raster_analysis.handle import Handle
from raster_analysis.perform import perform_all
from raster_analysis.rasters.resolver import resolve_features, resolve_package, resolve_raster
from raster_analysis.seams import Level, Reporter
from raster_analysis.settings import Settings
from raster_analysis.tool import Context, Output
from raster_analysis.tools import TOOLS
from raster_analysis.worker import Bench, make_bench

ArgumentValue = str | int | float | bool | Mapping[str, JsonValue] | None

CONTEXT_ARGUMENTS = {
    "extent": "extent",
    "cell_size": "cellSize",
    "out_sr": "outSR",
    "device": "device",
    "precision": "precision",
    "runtime": "runtime",
    "merge": "merge",
}
TOOL_ARGUMENTS = {
    "run_nms": "runNMS",
    "max_overlap_ratio": "maxOverlapRatio",
    "class_value_field": "classValueField",
}


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    path: Path
    statistics: Mapping[str, JsonValue]
    messages: tuple[str, ...]


@dataclass(slots=True)
class Collector:
    """A reporter that keeps messages and passes everything on to another, when there is one."""

    also: Reporter | None = None
    messages: list[str] = field(default_factory=list)

    def message(self, text: str, level: Level = "info") -> None:
        """Keep a message."""
        self.messages.append(text)
        if self.also:
            self.also.message(text, level)

    def progress(self, fraction: float) -> None:
        """Pass progress on."""
        if self.also:
            self.also.progress(fraction)

    def check_cancelled(self) -> None:
        """Raise Cancelled when the other reporter was asked to stop."""
        if self.also:
            self.also.check_cancelled()


def detect_objects(
    raster: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Detect objects and write them as features; the suffix of `output` names the format.

    Args:
        raster: a raster file.
        model: a .dlpk, a folder with an .emd, or an .emd.
        output: .gpkg, .parquet, .fgb or .geojson; refused when it exists, unless `overwrite=True`.
        report: told of messages and progress.
        arguments: the model's own (`threshold`, `padding`, `batch_size`, `tile_size`, `nms_overlap`, ...);
            `run_nms`, `max_overlap_ratio`, `class_value_field` to thin out the whole output; `extent`,
            `cell_size`, `out_sr`, `mask` for where; `device`, `precision`, `runtime` for how.

    Raises:
        InputError, OutputError, BudgetError: nothing is left behind.
    """
    return run_file_tool("DetectObjectsUsingDeepLearning", Files(raster, model, output), arguments, report=report)


def classify_pixels(
    raster: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Classify every pixel and write a Cloud Optimized GeoTIFF.

    Arguments and errors are those of `detect_objects`, less what thins out features; `merge="blend"`
    averages probabilities where tiles overlap.
    """
    return run_file_tool("ClassifyPixelsUsingDeepLearning", Files(raster, model, output), arguments, report=report)


@dataclass(frozen=True, slots=True)
class Files:
    """The three paths of a run."""

    raster: str | Path
    model: str | Path
    output: str | Path


@contextmanager
def local_bench() -> Iterator[Bench]:
    """Keep loaded models warm over many runs; unpacked packages are removed at the end."""
    settings = Settings()
    with tempfile.TemporaryDirectory(prefix="raster-analysis-packages-") as packages:
        yield make_bench(settings.memory_limit, Path(packages), threads=settings.threads)


def run_file_tool(
    name: str,
    files: Files,
    arguments: Mapping[str, ArgumentValue],
    *,
    report: Reporter | None = None,
    bench: Bench | None = None,
) -> Result:
    """Run one of the tools that turn a raster and a model into a file."""
    if bench is None:
        with local_bench() as own:
            return run_file_tool(name, files, arguments, report=report, bench=own)
    given = {key: value for key, value in arguments.items() if value is not None}
    output, overwrite = Path(files.output), bool(given.pop("overwrite", False))
    _check_output(output, overwrite=overwrite)
    collector = Collector(report)
    handles = _resolve(files, given.pop("mask", None))
    with tempfile.TemporaryDirectory(prefix=".raster-analysis-", dir=output.parent) as text:
        folder = Path(text)
        (folder / "result").mkdir()
        context = Context(
            folder=folder, handles=handles, report=collector, result=folder / "result" / output.name,
            rasters=bench.rasters, models=bench.models, features=bench.features, memory_limit=bench.memory_limit,
        )  # fmt: skip
        (produced,) = perform_all(TOOLS[name], _form(files, given), context)
        _move_into_place(produced, output, overwrite=overwrite)
    return Result(output, produced.statistics, tuple(collector.messages))


def _check_output(output: Path, *, overwrite: bool) -> None:
    if not output.parent.is_dir():
        raise ParameterError([f"output folder {str(output.parent)!r} does not exist; create it first"])
    if output.exists() and not overwrite:
        raise OutputExists(f"output {str(output)!r} exists; choose another name or ask to overwrite it")


def _resolve(files: Files, mask: ArgumentValue) -> dict[str, Handle]:
    handles = {"inputRaster": resolve_raster(str(files.raster)), "model": resolve_package(str(files.model))}
    if mask is not None:
        handles["context.mask"] = resolve_features(str(mask))
    return handles


def _form(files: Files, given: Mapping[str, ArgumentValue]) -> dict[str, JsonValue]:
    """Write the run down the way a client of the server would."""
    where = {CONTEXT_ARGUMENTS[key]: value for key, value in given.items() if key in CONTEXT_ARGUMENTS}
    chosen = {TOOL_ARGUMENTS[key]: value for key, value in given.items() if key in TOOL_ARGUMENTS}
    model = {k: str(v) for k, v in given.items() if k not in CONTEXT_ARGUMENTS and k not in TOOL_ARGUMENTS}
    target: dict[str, JsonValue] = {"name": Path(files.output).stem}
    form: dict[str, object] = {
        "inputRaster": {"uri": str(files.raster)},
        "model": {"uri": str(files.model)},
        "outputObjects": target,
        "outputClassifiedRaster": target,
        "modelArguments": model,
        "context": where,
        **chosen,
    }
    return form  # type: ignore[return-value]


def _move_into_place(produced: Output, output: Path, *, overwrite: bool) -> None:
    """Rename the result and its side files to where they were asked for: same folder, so no copy."""
    made = Path(produced.path or "")
    if output.exists() and not overwrite:
        raise OutputExists(f"output {str(output)!r} appeared while the job ran; it was left as it is")
    for side in sorted(made.parent.glob(f"{made.name}.*")):
        shutil.move(side, output.parent / side.name)
    made.replace(output)
