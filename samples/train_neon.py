"""Train a tree-crown detector for 0.1 m pictures on a folder of NEON tree samples: `python samples/train_neon.py DIR`.

Two pictures with drawn crowns are little, so the network first learns crowns from synthetic canopies.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import torch
from canopies import draw_canopies, dye, turn_hue
from centers import detection_loss, stack_targets
from export import build_package
from matching import Boxes, match, suppress
from networks import Detector, DetectorExport
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from tiles import Sample, crop, turn, vary_colors
from torch import Tensor
from torch.nn import functional
from train import MEAN, PACKAGES, STD, as_batch, fit

SIDE = 320
TRAINING = ("2019_YELL_2_541000_4977000_image_crop", "SOAP_061")
HELD_OUT = (slice(635, 1035), slice(849, 1249))
"""Rows and columns of the first picture that are not learned from: they choose the threshold."""
CANOPY_SEEDS = range(20_000, 20_050)
NMS_OVERLAP = 0.3


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    real, held_out = read_training(options.folder)
    network = Detector(3, 1)
    if options.start:
        network.load_state_dict(torch.load(options.start, weights_only=True))
    else:
        network = learn_canopies(network, options.canopy_steps, rng, options.out)
    if options.steps:
        synthetic = draw_canopies(range(21_000, 21_030), per_seed=4)
        network = learn_crowns(network, real, synthetic, rng, options)
    threshold = choose_threshold(network, held_out)
    write_package(network, threshold, options.out / "neon_trees.dlpk")
    return 0


def learn_canopies(network: Detector, steps: int, rng: np.random.Generator, out: Path) -> Detector:
    """First lesson: crowns as such, from synthetic canopies in any colour."""
    samples = draw_canopies(CANOPY_SEEDS, per_seed=5)
    print(f"{len(samples)} synthetic canopies", flush=True)

    def loss() -> Tensor:
        return tile_loss(network, [draw_canopy_tile(samples, rng) for _ in range(8)])

    fit(network, loss, steps, out / "neon_canopies.pt")
    network.load_state_dict(torch.load(out / "neon_canopies.pt", weights_only=True))
    return network


def learn_crowns(
    network: Detector,
    real: list[Sample],
    synthetic: list[Sample],
    rng: np.random.Generator,
    options: argparse.Namespace,
) -> Detector:
    """Second lesson: real tiles, with enough synthetic ones that little is forgotten."""

    def loss() -> Tensor:
        tiles = [draw_real_tile(real, rng) for _ in range(3)] + [draw_canopy_tile(synthetic, rng) for _ in range(5)]
        return tile_loss(network, tiles)

    path = options.out / "neon_trees.pt"
    fit(network, loss, options.steps, path, rate=8e-4)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def tile_loss(network: Detector, tiles: list[Sample]) -> Tensor:
    """Loss of a batch."""
    targets = stack_targets([(tile.boxes, tile.classes) for tile in tiles], classes=1, side=SIDE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, boxes = network(as_batch(tiles))
    return detection_loss(logits.float(), boxes.float(), targets)


def draw_canopy_tile(samples: list[Sample], rng: np.random.Generator) -> Sample:
    """Cut a synthetic tile and dye it."""
    sample = samples[int(rng.integers(len(samples)))]
    room = sample.pixels.shape[1] - SIDE
    row, col = (int(k) for k in rng.integers(0, room + 1, 2))
    return finish_tile(dye(crop(sample, row, col, SIDE), rng), rng, strength=0.4)


def draw_real_tile(samples: list[Sample], rng: np.random.Generator) -> Sample:
    """Cut a tile of any scale, or a mosaic of four."""
    weights = np.array([sample.pixels[0].size for sample in samples], float) ** 0.7
    if rng.random() < 0.6:
        return finish_real(draw_scaled(samples, weights, rng, SIDE), rng)
    half = SIDE // 2
    parts = [draw_scaled(samples, weights, rng, half) for _ in range(4)]
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    pixels = np.zeros((3, SIDE, SIDE), np.uint8)
    boxes = []
    for part, (row, col) in zip(parts, corners, strict=True):
        pixels[:, row : row + half, col : col + half] = vary_colors(part.pixels, rng, 0.4)
        boxes.append(part.boxes.clip(0, half) + np.array([col, row, col, row]))
    together = np.concatenate(boxes)
    return finish_real(Sample(pixels, None, together, np.zeros(len(together), np.int64)), rng)


def finish_real(tile: Sample, rng: np.random.Generator) -> Sample:
    """Vary a real tile, mostly with a turned hue.

    On both plots the crowns are greyer than the ground, which is no rule of nature: colour must not give them away.
    """
    if rng.random() < 0.7:
        tile = Sample(turn_hue(tile.pixels, float(rng.uniform(-0.7, 0.7))), None, tile.boxes, tile.classes)
    return finish_tile(tile, rng, strength=1.0)


def draw_scaled(samples: list[Sample], weights: NDArray[np.float64], rng: np.random.Generator, side: int) -> Sample:
    """Cut a square of random extent and bring it to `side` cells."""
    sample = samples[int(rng.choice(len(samples), p=weights / weights.sum()))]
    extent = min(int(side / np.exp(rng.uniform(np.log(0.6), np.log(1.7)))), *sample.pixels.shape[1:])
    row, col = (int(rng.integers(0, size - extent + 1)) for size in sample.pixels.shape[1:])
    cut = crop(sample, row, col, extent)
    pixels = torch.from_numpy(np.ascontiguousarray(cut.pixels)).float()[None]
    scaled = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0]
    return Sample(scaled.round().byte().numpy(), None, cut.boxes * (side / extent), cut.classes)


def finish_tile(tile: Sample, rng: np.random.Generator, strength: float) -> Sample:
    """Turn a tile, change its colours, sometimes add noise or blur it."""
    tile = turn(Sample(tile.pixels, None, tile.boxes, tile.classes), int(rng.integers(8)))
    pixels = vary_colors(tile.pixels, rng, strength)
    if rng.random() < 0.3:
        noisy = pixels + rng.normal(0, rng.uniform(2, 12), pixels.shape)
        pixels = noisy.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        pixels = soften(pixels, float(rng.uniform(1.3, 2.2)))
    return Sample(pixels, None, tile.boxes, tile.classes)


def soften(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Blur as if the picture had been taken with larger cells."""
    picture = torch.from_numpy(np.ascontiguousarray(pixels)).float()[None]
    small = functional.interpolate(picture, scale_factor=1 / factor, mode="bilinear", antialias=True)
    back = functional.interpolate(small, pixels.shape[1:], mode="bilinear")
    return np.asarray(back[0].round().clamp(0, 255).byte().numpy())


def read_training(folder: Path) -> tuple[list[Sample], Sample]:
    """Read the two training pictures; a corner of the first is held out."""
    first, second = (read_picture(folder / f"{name}.png") for name in TRAINING)
    rows, cols = HELD_OUT
    above = cut_region(first, slice(0, rows.start), slice(0, first.pixels.shape[2]))
    beside = cut_region(first, rows, slice(0, cols.start))
    return [above, beside, second], cut_region(first, rows, cols)


def read_picture(path: Path) -> Sample:
    """Read a picture and the PASCAL VOC file beside it; every label counts as a tree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            pixels = image.read([1, 2, 3])
    # The files come with the training data, which the caller trusts.
    root = ET.parse(path.with_suffix(".xml"))  # noqa: S314
    corners = [[float(node.findtext(f"bndbox/{key}") or 0) for key in _CORNERS] for node in root.iter("object")]
    boxes = np.array(corners, float).reshape(-1, 4)
    return Sample(pixels, None, boxes, np.zeros(len(boxes), np.int64))


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def cut_region(sample: Sample, rows: slice, cols: slice) -> Sample:
    """Cut a rectangle; boxes stay when their middle is inside, clipped to it."""
    boxes = sample.boxes - [cols.start, rows.start, cols.start, rows.start]
    limits = np.array([cols.stop - cols.start, rows.stop - rows.start] * 2, float)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle >= 0) & (middle < limits[:2])).all(axis=1)
    return Sample(sample.pixels[:, rows, cols], None, boxes[inside].clip(0, limits), sample.classes[inside])


def choose_threshold(network: Detector, held_out: Sample) -> float:
    """Take the threshold with the best F1 on the held-out corner."""
    boxes, scores = find_boxes(network, held_out.pixels)
    best, best_f1 = 0.3, -1.0
    for threshold in np.arange(0.1, 0.61, 0.02):
        kept = scores >= threshold
        score = match(boxes[kept], scores[kept], held_out.boxes)
        if score.f1 > best_f1:
            best, best_f1 = float(threshold), score.f1
            print(f"threshold {threshold:.2f} on the held-out corner: {score}", flush=True)
    return round(best, 2)


def find_boxes(network: Detector, pixels: NDArray[np.uint8]) -> tuple[Boxes, NDArray[np.float64]]:
    """Run the network over a whole picture; gives boxes x0, y0, x1, y1 and scores."""
    height, width = pixels.shape[1:]
    padded = np.pad(pixels, ((0, 0), (0, -height % 32), (0, -width % 32)))
    with torch.inference_mode():
        batch = (torch.from_numpy(padded).float()[None] - MEAN) / STD
        raw = DetectorExport(network.eval())(batch)[0].double().numpy()
    cx, cy, w, h, scores = raw
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1).clip(0, [width, height] * 2)
    likely = scores > 0.05
    boxes, scores = boxes[likely], scores[likely]
    kept = suppress(boxes, scores, NMS_OVERLAP)
    return boxes[kept], scores[kept]


def write_package(network: Detector, threshold: float, out: Path) -> None:
    """Package the detector with the chosen threshold."""
    definition: dict[str, object] = {
        "Framework": "ONNX",
        "ModelName": "NeonTrees",
        "ModelType": "ObjectDetection",
        "ModelFile": "neon_trees.onnx",
        "Description": "Tree crowns from RGB pictures of about 0.1 m; from synthetic canopies and two NEON plots.",
        "ImageHeight": 512,
        "ImageWidth": 512,
        "ExtractBands": [0, 1, 2],
        "ImageSpaceUsed": "MAP_SPACE",
        "SupportsVariableTileSize": True,
        "Threshold": threshold,
        "Classes": [{"Value": 1, "Name": "Tree", "Color": [20, 120, 30]}],
        "RasterAnalysis": {
            "Version": 1,
            "Input": {"Name": "image", "Layout": "NCHW", "DataType": "float32", "Mean": [MEAN] * 3, "Std": [STD] * 3},
            "Output": {"Decoder": "yolov8"},
            "TileMultiple": 32,
            "Context": 96,
        },
    }
    build_package(DetectorExport(network), definition, out, output="objects")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with the two training pictures and their .xml files")
    parser.add_argument("--out", type=Path, default=PACKAGES, help="folder of the package (default: samples/packages)")
    parser.add_argument("--canopy-steps", type=int, default=700, help="steps of 8 tiles on synthetic canopies")
    parser.add_argument("--steps", type=int, default=450, help="steps of 3 real and 5 synthetic tiles")
    parser.add_argument("--start", type=Path, help="checkpoint to start from instead of the canopy steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
