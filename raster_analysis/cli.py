"""The `raster-analysis` command."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from raster_analysis.progress import INTERRUPTED
from raster_analysis.rasters.gdal_environment import apply
from raster_analysis.service_cli import COMMANDS
from raster_analysis.user_errors import user_errors

Parameters = Sequence[click.Parameter]

SHARE = click.FloatRange(0, 1)

FILES: Parameters = (
    # One argument of all paths: split by click, a missing OUT would be told as a missing RASTER.
    click.Argument(["paths"], nargs=-1, required=True, metavar="RASTER... MODEL OUT"),
)
MODEL_OPTIONS: Parameters = (
    click.Option(
        ["--padding"],
        type=click.IntRange(min=0),
        help="Border of each tile that is computed and thrown away, in pixels.",
    ),
    click.Option(["--batch-size"], type=click.IntRange(min=1), help="Tiles computed at once."),
    click.Option(
        ["--tile-size"], type=click.IntRange(min=1), help="Side of a tile in pixels, for models that take any."
    ),
)
DETECTOR_OPTIONS: Parameters = (
    click.Option(["--threshold"], type=SHARE, help="Least confidence of a detection, 0 to 1."),
    click.Option(["--nms-overlap"], type=SHARE, help="Overlap above which the weaker of two boxes of a class goes."),
    click.Option(["--run-nms"], is_flag=True, default=None, help="Suppress overlaps over the whole output too."),
    click.Option(["--max-overlap-ratio"], type=SHARE, help="With --run-nms: overlap that is still kept."),
)
FEATURE_OPTIONS: Parameters = (
    click.Option(["--features"], help="A file of features to classify; without it the whole raster is one."),
    click.Option(["--filter"], help="A where clause that chooses features of a GeoPackage."),
    click.Option(["--label-field"], help="Field that the label is written to; ClassLabel by default."),
    click.Option(["--batch-size"], type=click.IntRange(min=1), help="Features computed at once."),
)
RUN_OPTIONS: Parameters = (
    click.Option(
        ["--extent"],
        callback=lambda _context, _option, text: _parse_extent(text),
        help="xmin,ymin,xmax,ymax in the raster's coordinates.",
    ),
    click.Option(
        ["--cell-size"],
        type=click.FloatRange(min=0, min_open=True),
        help="Cell size to process at, in map units of the result.",
    ),
    click.Option(["--out-sr"], type=int, help="EPSG code of the result."),
    click.Option(["--mask"], help="A file of polygons; nothing is looked for outside of them."),
    click.Option(
        ["--device"], callback=lambda _context, _option, text: _check_device(text), help="auto, cpu, cuda or cuda:N."
    ),
    click.Option(["--precision"], type=click.Choice(["auto", "fp32", "bf16", "fp16"])),
    click.Option(["--runtime"], type=click.Choice(["auto", "openvino", "onnxruntime", "torch"])),
    click.Option(["--overwrite"], is_flag=True, help="Replace outputs that exist."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print outcomes as JSON lines, and no progress."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raster-analysis")
def main() -> None:
    """Run deep learning models on imagery: from a shell, or as a geoprocessing service."""


def detect(**options: Any) -> None:
    """Detect objects and write them as features.

    RASTER is a file or a quoted pattern such as 'scenes/*.tif'; MODEL a .dlpk, a folder with an .emd, or an
    .emd; OUT a .gpkg, .parquet, .fgb or .geojson, or a folder: a .gpkg for each raster goes there.

    Ends with 0 when all went well, 1 when a raster failed, 2 when nothing could be begun, 130 after Ctrl-C.
    """
    _run_files("DetectObjectsUsingDeepLearning", ".gpkg", options)


def classify(**options: Any) -> None:
    """Classify every pixel and write a Cloud Optimized GeoTIFF.

    RASTER is a file or a quoted pattern such as 'scenes/*.tif'; MODEL a .dlpk, a folder with an .emd, or an
    .emd; OUT a .tif, or a folder: a .tif for each raster goes there.

    Ends with 0 when all went well, 1 when a raster failed, 2 when nothing could be begun, 130 after Ctrl-C.
    """
    _run_files("ClassifyPixelsUsingDeepLearning", ".tif", options)


def classify_objects(**options: Any) -> None:
    """Classify the features that a raster shows, and write them with their labels.

    RASTER is a file or a quoted pattern such as 'scenes/*.tif'; MODEL a .dlpk, a folder with an .emd, or an
    .emd; OUT a .gpkg, .parquet, .fgb or .geojson, or a folder: a .gpkg for each raster goes there.

    Ends with 0 when all went well, 1 when a raster failed, 2 when nothing could be begun, 130 after Ctrl-C.
    """
    _run_files("ClassifyObjectsUsingDeepLearning", ".gpkg", options)


def _add(name: str, function: Callable[..., None], *groups: Parameters) -> None:
    parameters = [parameter for group in groups for parameter in group]
    main.add_command(click.Command(name, params=parameters, callback=function, help=function.__doc__))


_add("detect", detect, FILES, DETECTOR_OPTIONS, MODEL_OPTIONS, RUN_OPTIONS)
_add(
    "classify", classify, FILES, MODEL_OPTIONS,
    [click.Option(["--merge"], type=click.Choice(["crop", "blend"]), help="How overlapping tiles become one raster.")],
    RUN_OPTIONS,
)  # fmt: skip
_add("classify-objects", classify_objects, FILES, FEATURE_OPTIONS, RUN_OPTIONS)
for command in COMMANDS:
    main.add_command(command)


def _run_files(tool: str, suffix: str, options: dict[str, Any]) -> None:
    paths, as_json = options.pop("paths"), options.pop("as_json")
    if len(paths) < 3:
        raise click.UsageError(f"want RASTER... MODEL OUT, three paths or more; got {len(paths)}")
    if options.get("max_overlap_ratio") is not None and not options["run_nms"]:
        raise click.UsageError("--max-overlap-ratio is for --run-nms; give both")
    apply(os.environ)  # before GDAL is imported
    batch_room = importlib.import_module("raster_analysis.batch")  # brings GDAL, which `serve` must keep out
    with user_errors():
        batch = batch_room.Batch(tool, paths[:-2], *paths[-2:], suffix, options)
        outcomes = [_print_outcome(outcome, as_json=as_json) for outcome in batch_room.run_batch(batch, quiet=as_json)]
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed and len(outcomes) > 1 and not as_json:
        click.echo(f"{len(failed)} of {len(outcomes)} rasters failed:", err=True)
        for outcome in failed:
            click.echo(f"  {outcome.raster}: {outcome.error}", err=True)
    if any(outcome.interrupted for outcome in outcomes):
        sys.exit(INTERRUPTED)
    sys.exit(1 if failed else 0)


def _print_outcome(outcome: Any, *, as_json: bool) -> Any:
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    elif outcome.error:
        click.echo(f"error: {outcome.raster}: {outcome.error}", err=True)
    else:
        click.echo(str(outcome.output))
    return outcome


def _parse_extent(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not xmin,ymin,xmax,ymax") from None
    return xmin, ymin, xmax, ymax


def _check_device(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise click.BadParameter(f"{text!r} is not auto, cpu, cuda or cuda:N")
    return text
