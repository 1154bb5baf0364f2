"""The `raster-analysis` command."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from raster_analysis.rasters.gdal_environment import apply
from raster_analysis.service_cli import COMMANDS
from raster_analysis.user_errors import user_errors

Parameters = Sequence[click.Parameter]

FILES: Parameters = (
    click.Argument(["rasters"], nargs=-1, required=True, metavar="RASTER..."),
    click.Argument(["model"], metavar="MODEL"),
    click.Argument(["out"], metavar="OUT", type=click.Path(path_type=Path)),
)
MODEL_OPTIONS: Parameters = (
    click.Option(["--padding"], type=int, help="Border of each tile that is computed and thrown away, in pixels."),
    click.Option(["--batch-size"], type=int, help="Tiles computed at once."),
    click.Option(["--tile-size"], type=int, help="Side of a tile in pixels, for models that take any."),
)
DETECTOR_OPTIONS: Parameters = (
    click.Option(["--threshold"], type=float, help="Least confidence of a detection, 0 to 1."),
    click.Option(["--nms-overlap"], type=float, help="Overlap above which the weaker of two boxes of a class goes."),
    click.Option(["--run-nms"], is_flag=True, default=None, help="Suppress overlaps over the whole output too."),
    click.Option(["--max-overlap-ratio"], type=float, help="With --run-nms: overlap that is still kept."),
)
RUN_OPTIONS: Parameters = (
    click.Option(["--extent"], help="xmin,ymin,xmax,ymax in the raster's coordinates."),
    click.Option(["--cell-size"], type=float, help="Cell size to process at, in map units of the result."),
    click.Option(["--out-sr"], type=int, help="EPSG code of the result."),
    click.Option(["--mask"], help="A file of polygons; nothing is looked for outside of them."),
    click.Option(["--device"], help="auto, cpu, cuda or cuda:N."),
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
    .emd; OUT a .gpkg, .parquet, .fgb or .geojson, or a folder when there are several rasters.
    """
    _run_files("DetectObjectsUsingDeepLearning", ".gpkg", options)


def classify(**options: Any) -> None:
    """Classify every pixel and write a Cloud Optimized GeoTIFF.

    RASTER is a file or a quoted pattern such as 'scenes/*.tif'; MODEL a .dlpk, a folder with an .emd, or an
    .emd; OUT a .tif, or a folder when there are several rasters.
    """
    _run_files("ClassifyPixelsUsingDeepLearning", ".tif", options)


def _add(name: str, function: Callable[..., None], *groups: Parameters) -> None:
    parameters = [parameter for group in groups for parameter in group]
    main.add_command(click.Command(name, params=parameters, callback=function, help=function.__doc__))


_add("detect", detect, FILES, DETECTOR_OPTIONS, MODEL_OPTIONS, RUN_OPTIONS)
_add(
    "classify", classify, FILES, MODEL_OPTIONS,
    [click.Option(["--merge"], type=click.Choice(["crop", "blend"]), help="How overlapping tiles become one raster.")],
    RUN_OPTIONS,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)


def _run_files(tool: str, suffix: str, options: dict[str, Any]) -> None:
    apply(os.environ)
    batch_room = importlib.import_module("raster_analysis.batch")  # brings GDAL, which `serve` must keep out
    files = tuple(options.pop(name) for name in ("rasters", "model", "out"))
    as_json = options.pop("as_json")
    with user_errors():
        options["extent"] = _parse_extent(options["extent"])
        batch = batch_room.Batch(tool, *files, suffix, options)
        outcomes = [_print_outcome(outcome, as_json=as_json) for outcome in batch_room.run_batch(batch, quiet=as_json)]
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed and len(outcomes) > 1 and not as_json:
        click.echo(f"{len(failed)} of {len(outcomes)} rasters failed:", err=True)
        for outcome in failed:
            click.echo(f"  {outcome.raster}: {outcome.error}", err=True)
    sys.exit(1 if failed else 0)


def _print_outcome(outcome: Any, *, as_json: bool) -> Any:
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
    elif outcome.error:
        click.echo(f"error: {outcome.raster}: {outcome.error}", err=True)
    else:
        click.echo(str(outcome.output))
    return outcome


def _parse_extent(text: str | None) -> dict[str, float] | None:
    if not text:
        return None
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not xmin,ymin,xmax,ymax", param_hint="--extent") from None
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
