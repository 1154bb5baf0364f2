"""Train the sample classifier of objects on crops of synthetic scenes: `python samples/train_crops.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from crops import CLASSES, SIDE, Crops, draw_crops
from export import build_package
from networks import CropClassifier
from numpy.typing import NDArray
from tiles import vary_colors
from torch import Tensor
from torch.nn import functional
from train import CELL_SIZES, MEAN, PACKAGES, STD, TRAINING_SEEDS, fit

WIDER = 80
"""Side of the crops that are learned from: cutting the square out of them moves the object off the centre."""
COLORS = ((20, 120, 30), (220, 60, 40), (150, 90, 200), (250, 200, 40))


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    seeds = TRAINING_SEEDS[: options.worlds]
    crops = draw_crops(seeds, per_seed=options.chunks, most=25, cell_sizes=CELL_SIZES, side=WIDER)
    print(f"{len(crops.kinds)} crops: {dict(zip(CLASSES, np.bincount(crops.kinds), strict=True))}", flush=True)
    network = train(crops, options.steps, options.seed, options.out / "objects.pt")
    write_package(network, options.out / "objects.dlpk")
    return 0


def train(crops: Crops, steps: int, seed: int, checkpoint: Path) -> CropClassifier:
    """Teach the classifier; every kind is drawn as often as any other."""
    network = CropClassifier(4, len(CLASSES))
    rng = np.random.default_rng(seed)
    of_kind = [np.flatnonzero(crops.kinds == kind) for kind in range(len(CLASSES))]

    def loss() -> Tensor:
        chosen = np.concatenate([rng.choice(places, 16) for places in of_kind])
        tiles = np.stack([vary(crops.pixels[index], rng) for index in chosen])
        scores = network(as_batch(tiles))
        return functional.cross_entropy(scores, torch.from_numpy(crops.kinds[chosen]), label_smoothing=0.02)

    trained = fit(network, loss, steps, checkpoint, rate=2e-3)
    assert isinstance(trained, CropClassifier)
    return trained


def vary(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Move, turn and dye a crop, and black out one side now and then, as the edge of a raster does."""
    row, col = (int(k) for k in rng.integers(0, WIDER - SIDE + 1, 2))
    cut = np.rot90(pixels[:, row : row + SIDE, col : col + SIDE], int(rng.integers(4)), axes=(1, 2))
    cut = vary_colors(cut[:, :, ::-1] if rng.random() < 0.5 else cut, rng, 0.5)
    if rng.random() < 0.1:
        cut[:, : int(rng.integers(1, SIDE // 2))] = 0
    return cut


def as_batch(tiles: NDArray[np.uint8]) -> Tensor:
    """Normalise as the definition of the package tells readers to."""
    return ((torch.from_numpy(tiles).float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def write_package(network: CropClassifier, out: Path) -> None:
    """Package the classifier."""
    definition: dict[str, object] = {
        "Framework": "ONNX",
        "ModelName": "ObjectKinds",
        "ModelType": "ObjectClassification",
        "Description": "Tells trees, houses, halls and cars apart in 4-band orthophotos; trained on synthetic scenes.",
        "ModelFile": "objects.onnx",
        "ModelFormat": "NCHW",
        "ImageHeight": SIDE,
        "ImageWidth": SIDE,
        "ExtractBands": [0, 1, 2, 3],
        "ImageSpaceUsed": "MAP_SPACE",
        "IsMultispectral": True,
        "CropSizeFixed": 1,
        "BlackenAroundFeature": 0,
        "MinCellSize": {"x": CELL_SIZES[0], "y": CELL_SIZES[0], "spatialReference": {"wkid": 32616}},
        "MaxCellSize": {"x": CELL_SIZES[1], "y": CELL_SIZES[1], "spatialReference": {"wkid": 32616}},
        "Classes": [
            {"Value": value, "Name": name, "Color": list(color)}
            for value, (name, color) in enumerate(zip(CLASSES, COLORS, strict=True), start=1)
        ],
        "RasterAnalysis": {
            "Version": 1,
            "Input": {"Name": "image", "Layout": "NCHW", "DataType": "float32", "Mean": [MEAN] * 4, "Std": [STD] * 4},
            "Output": {"Decoder": "pixels", "Activation": "softmax"},
        },
    }
    build_package(network, definition, out, output="classes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PACKAGES, help="folder of the package (default: samples/packages)")
    parser.add_argument("--steps", type=int, default=700, help="training steps of 64 crops")
    parser.add_argument("--worlds", type=int, default=100, help="training worlds, at most 100")
    parser.add_argument("--chunks", type=int, default=8, help="chunks drawn from each of them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
