"""Compare results with the truth: `python samples/evaluate.py pixels ...` and `... objects ...`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from affine import Affine
from matching import Boxes, match
from numpy.typing import NDArray
from rasterio.windows import Window
from scene import LandCover

_STRIP = 2048
_CSV_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    pixels = options.what == "pixels"
    report = compare_pixels(options.found, options.truth) if pixels else compare_objects(options)
    print(json.dumps(report, indent=2))
    return 0


def compare_pixels(found: Path, truth: Path) -> dict[str, object]:
    """Give the intersection over union of every class that the truth has, and their mean."""
    table = {cover.value: np.zeros(3) for cover in LandCover}
    with rasterio.open(found) as result, rasterio.open(truth) as labels:
        if result.shape != labels.shape:
            raise SystemExit(f"{found.name} has {result.shape} cells and {truth.name} {labels.shape}")
        for row in range(0, labels.height, _STRIP):
            window = Window(0, row, labels.width, min(_STRIP, labels.height - row))
            _count(table, result.read(1, window=window), labels.read(1, window=window))
    shares = {LandCover(value).name.lower(): both / either for value, (both, either, true) in table.items() if true}
    rounded = {name: round(float(share), 4) for name, share in shares.items()}
    return {"mIoU": round(float(np.mean(list(shares.values()))), 4), "IoU": rounded}


def _count(table: dict[int, NDArray[np.float64]], found: NDArray[np.uint8], true: NDArray[np.uint8]) -> None:
    known = true > 0
    for value in table:
        mine, theirs = (found == value) & known, true == value
        table[value] += [np.count_nonzero(cells) for cells in (mine & theirs, mine | theirs, theirs)]


def compare_objects(options: argparse.Namespace) -> dict[str, object]:
    """Give precision, recall and F1 of boxes, matched greedily by score."""
    boxes, scores = read_found(options.found, options.found_class)
    true = read_truth(options.truth, options.layer, options.raster)
    kept = scores >= options.threshold
    score = match(boxes[kept], scores[kept], true, options.iou)
    measures = {name: round(getattr(score, name), 4) for name in ("precision", "recall", "f1")}
    return {**measures, "matched": score.matched, "found": score.found, "true": score.true}


def read_found(path: Path, class_name: str | None) -> tuple[Boxes, NDArray[np.float64]]:
    """Read boxes on the map and confidences (0 to 1) of detected features, of one class or all."""
    meta, _, geometry, columns = pyogrio.raw.read(path)
    fields = dict(zip(meta["fields"], columns, strict=True))
    boxes = shapely.bounds(shapely.from_wkb(geometry)).reshape(-1, 4)
    scores = np.asarray(fields.get("Confidence", np.ones(len(boxes))), float)
    # Esri's tools write per cent; so may those that imitate them.
    scores = scores / 100 if len(scores) and scores.max() > 1 else scores
    mine = np.ones(len(boxes), bool) if class_name is None else fields["Class"] == class_name
    return boxes[mine], scores[mine]


def read_truth(path: Path, layer: str | None, raster: Path | None) -> Boxes:
    """Read true boxes on the map, from features or from a CSV of cell positions in a raster."""
    if path.suffix.lower() != ".csv":
        _, _, geometry, _ = pyogrio.raw.read(path, layer=layer)
        return shapely.bounds(shapely.from_wkb(geometry)).reshape(-1, 4)
    if raster is None:
        raise SystemExit(f"{path.name} gives cells: name the raster they are counted in with --raster")
    with path.open(newline="") as file:
        cells = np.array([[float(row[key]) for key in _CSV_CORNERS] for row in csv.DictReader(file)])
    with rasterio.open(raster) as image:
        return _on_map(cells.reshape(-1, 4), image.transform)


def _on_map(cells: Boxes, transform: Affine) -> Boxes:
    cols, rows = cells[:, 0::2], cells[:, 1::2]
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    return np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    pixels = kinds.add_parser("pixels", help="a classified raster against labels of the same cells")
    objects = kinds.add_parser("objects", help="detected features against true ones")
    for part in (pixels, objects):
        part.add_argument("found", type=Path)
        part.add_argument("truth", type=Path)
    objects.add_argument("--found-class", help="count only features of this class")
    objects.add_argument("--layer", help="layer of the true features: trees or buildings")
    objects.add_argument("--raster", type=Path, help="raster whose cells a CSV of true boxes counts")
    objects.add_argument("--threshold", type=float, default=0.0, help="least confidence")
    objects.add_argument("--iou", type=float, default=0.4, help="least overlap of a match (default: 0.4)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
