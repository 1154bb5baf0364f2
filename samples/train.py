"""Train the two sample packages on synthetic scenes: `python samples/train.py landcover` and `... detector`."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from centers import detection_loss, stack_targets
from export import build_package
from networks import Detector, DetectorExport, Segmenter
from scene import LandCover
from tiles import Sample, crop, draw_samples, punch_hole, turn, vary_colors
from torch import Tensor, nn
from torch.nn import functional

SIDE = 256
CELL_SIZES = (0.25, 0.5)
MEAN, STD = 110.0, 55.0
TRAINING_SEEDS = range(10_000, 10_100)
COLORS = ((40, 80, 200), (90, 90, 90), (220, 60, 40), (20, 120, 30), (230, 210, 90), (150, 220, 130))
PACKAGES = Path(__file__).parent / "packages"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.weights:
        WRITERS[options.package](load(options.package, options.weights), options.out / f"{options.package}.dlpk")
        return 0
    samples = draw_samples(TRAINING_SEEDS, per_seed=options.chunks, cell_sizes=CELL_SIZES)
    print(f"{len(samples)} chunks", flush=True)
    train = {"landcover": train_landcover, "detector": train_detector}[options.package]
    network = train(samples, options.steps, options.seed, options.out / f"{options.package}.pt")
    WRITERS[options.package](network, options.out / f"{options.package}.dlpk")
    return 0


def load(package: str, weights: Path) -> nn.Module:
    """Give the network of a package with the weights of a checkpoint."""
    network = Segmenter(4, len(LandCover) + 1) if package == "landcover" else Detector(4, 2)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def train_landcover(samples: list[Sample], steps: int, seed: int, checkpoint: Path) -> nn.Module:
    """Teach the segmenter."""
    network = Segmenter(4, len(LandCover) + 1)
    weights = torch.tensor([1.0, 1.0, 1.5, 1.5, 1.0, 1.0, 1.0])
    rng = np.random.default_rng(seed)

    def loss() -> Tensor:
        tiles = [draw_tile(samples, rng, strength=0.35) for _ in range(8)]
        tiles = [punch_hole(tile, rng) if rng.random() < 0.08 else tile for tile in tiles]
        labels = torch.from_numpy(np.stack([tile.labels for tile in tiles])).long()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = network(as_batch(tiles))
        return functional.cross_entropy(scores.float(), labels, weights, label_smoothing=0.02)

    return fit(network, loss, steps, checkpoint)


def train_detector(samples: list[Sample], steps: int, seed: int, checkpoint: Path) -> nn.Module:
    """Teach the detector of trees and buildings."""
    network = Detector(4, 2)
    rng = np.random.default_rng(seed)

    def loss() -> Tensor:
        tiles = [draw_tile(samples, rng, strength=0.5) for _ in range(12)]
        targets = stack_targets([(tile.boxes, tile.classes) for tile in tiles], classes=2, side=SIDE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, boxes = network(as_batch(tiles))
        return detection_loss(logits.float(), boxes.float(), targets)

    return fit(network, loss, steps, checkpoint)


def fit(network: nn.Module, loss: Callable[[], Tensor], steps: int, checkpoint: Path, rate: float = 2e-3) -> nn.Module:
    """Take training steps under a one-cycle rate, with a checkpoint now and then.

    Weights of the last steps are averaged exponentially: the average is steadier than any one of them.
    """
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    started, recent = time.monotonic(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * _rate_share(step, steps)
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(network)
        recent = value.item() if not step else 0.98 * recent + 0.02 * value.item()
        if step % 50 == 49 or step == steps - 1:
            print(f"step {step + 1}/{steps} loss {recent:.4f} {time.monotonic() - started:.0f} s", flush=True)
            torch.save(average.module.state_dict(), checkpoint)
    return average.module.eval()


def _rate_share(step: int, steps: int) -> float:
    warm = min(200, steps // 10 + 1)
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.005)


def draw_tile(samples: list[Sample], rng: np.random.Generator, strength: float) -> Sample:
    """Cut a tile at random, turn it and change its colours."""
    sample = samples[int(rng.integers(len(samples)))]
    room = sample.pixels.shape[1] - SIDE
    tile = turn(crop(sample, *(int(k) for k in rng.integers(0, room + 1, 2)), SIDE), int(rng.integers(8)))
    return Sample(vary_colors(tile.pixels, rng, strength), tile.labels, tile.boxes, tile.classes)


def as_batch(tiles: list[Sample]) -> Tensor:
    """Stack and normalise as the definition of the packages tells readers to."""
    pixels = torch.from_numpy(np.stack([tile.pixels for tile in tiles])).float()
    return ((pixels - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def write_landcover(network: nn.Module, out: Path) -> None:
    """Package the segmenter."""
    names = [cover.name.capitalize() for cover in LandCover]
    classes = [
        {"Value": int(cover), "Name": name, "Color": list(color)}
        for cover, name, color in zip(LandCover, names, COLORS, strict=True)
    ]
    output = {"Decoder": "pixels", "Activation": "softmax"}
    definition = _definition("LandCover", "ImageClassification", "landcover.onnx", classes, output)
    definition["Description"] = "Six land-cover classes from 4-band orthophotos; trained on synthetic scenes."
    build_package(network, definition, out, output="pixels")


def write_detector(network: nn.Module, out: Path) -> None:
    """Package the detector of trees and buildings."""
    classes = [
        {"Value": 1, "Name": "Tree", "Color": [20, 120, 30]},
        {"Value": 2, "Name": "Building", "Color": [220, 60, 40]},
    ]
    definition = _definition("TreesAndBuildings", "ObjectDetection", "detector.onnx", classes, {"Decoder": "yolov8"})
    definition["Description"] = "Tree crowns and buildings from 4-band orthophotos; trained on synthetic scenes."
    definition["Threshold"] = 0.35
    build_package(DetectorExport(network), definition, out, output="objects")


def _definition(
    name: str, model_type: str, model_file: str, classes: list[dict[str, object]], output: dict[str, str]
) -> dict[str, object]:
    return {
        "Framework": "ONNX",
        "ModelName": name,
        "ModelType": model_type,
        "ModelFile": model_file,
        "ModelFormat": "NCHW",
        "ImageHeight": SIDE,
        "ImageWidth": SIDE,
        "ExtractBands": [0, 1, 2, 3],
        "ImageSpaceUsed": "MAP_SPACE",
        "IsMultispectral": True,
        "SupportsVariableTileSize": True,
        "MinCellSize": {"x": CELL_SIZES[0], "y": CELL_SIZES[0], "spatialReference": {"wkid": 32616}},
        "MaxCellSize": {"x": CELL_SIZES[1], "y": CELL_SIZES[1], "spatialReference": {"wkid": 32616}},
        "Classes": classes,
        "RasterAnalysis": {
            "Version": 1,
            "Input": {"Name": "image", "Layout": "NCHW", "DataType": "float32", "Mean": [MEAN] * 4, "Std": [STD] * 4},
            "Output": output,
            "TileMultiple": 32,
            "Context": 64,
        },
    }


WRITERS: dict[str, Callable[[nn.Module, Path], None]] = {"landcover": write_landcover, "detector": write_detector}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", choices=sorted(WRITERS))
    parser.add_argument("--out", type=Path, default=PACKAGES, help="folder of the package (default: samples/packages)")
    parser.add_argument("--weights", type=Path, help="package this checkpoint and train nothing")
    parser.add_argument("--steps", type=int, default=2200, help="training steps of 8 or 12 tiles")
    parser.add_argument("--chunks", type=int, default=7, help="chunks drawn from each of the 100 training worlds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
