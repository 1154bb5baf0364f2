"""Train the sample package that finds changes between two synthetic scenes: `python samples/change_train.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from change_pairs import BANDS, draw_pairs, draw_tile
from export import build_package
from networks import Segmenter
from numpy.typing import NDArray
from tiles import Sample
from torch import Tensor, nn
from torch.nn import functional
from train import CELL_SIZES, MEAN, PACKAGES, STD, TRAINING_SEEDS, as_batch, fit

SIDE = 128
"""Side of the tiles that are learned from."""
TILE = 256
WIDTHS = (12, 24, 36, 48, 64)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    network = Segmenter(2 * BANDS, 2, WIDTHS).eval()
    if options.weights or options.start:
        network.load_state_dict(torch.load(options.weights or options.start, weights_only=True))
    if not options.weights:
        samples = draw_pairs(TRAINING_SEEDS[: options.worlds], per_seed=options.chunks, cell_sizes=CELL_SIZES)
        share = np.mean([sample.labels.mean() for sample in samples if sample.labels is not None])
        print(f"{len(samples)} pairs, {share:.3f} of the cells changed", flush=True)
        network = train(network, samples, options.steps, seed=options.seed, checkpoint=options.out / "change.pt")
    others = draw_pairs(TRAINING_SEEDS[-4:], per_seed=2, cell_sizes=CELL_SIZES)
    print(f"offset {calibrate(network, others):.2f}", flush=True)
    write_package(network, options.out / "change.dlpk")
    return 0


def train(network: Segmenter, samples: list[Sample], steps: int, *, seed: int, checkpoint: Path) -> Segmenter:
    """Teach the network, which sees both dates as eight bands."""
    weights = torch.tensor([1.0, 2.0])
    rng = np.random.default_rng(seed)

    def loss() -> Tensor:
        tiles = [draw_tile(samples, rng, SIDE) for _ in range(10)]
        labels = torch.from_numpy(np.stack([tile.labels for tile in tiles])).long()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = network(as_batch(tiles))
        return functional.cross_entropy(scores.float(), labels, weights, label_smoothing=0.02)

    trained = fit(network, loss, steps, checkpoint, rate=3e-3)
    assert isinstance(trained, Segmenter)
    return trained


def calibrate(network: Segmenter, samples: list[Sample]) -> float:
    """Add to the score of change what makes F1 largest on pairs that were not learned from; gives what was added.

    Few cells change, so a network that is not sure of small things leaves them out.
    """
    with torch.no_grad():
        scores = torch.cat([network(as_batch([sample])) for sample in samples])
        lead = (scores[:, 1] - scores[:, 0]).numpy()
        true = np.stack([sample.labels for sample in samples]) == 1
        offsets = np.arange(-1.0, 4.01, 0.25)
        best = max(offsets, key=lambda offset: _f1(lead + offset > 0, true))
        network.head[-1].bias[1] += float(best)
    return float(best)


def _f1(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return 2 * np.count_nonzero(found & true) / max(1, np.count_nonzero(found) + np.count_nonzero(true))


def write_package(network: nn.Module, out: Path) -> None:
    """Package the network."""
    definition: dict[str, object] = {
        "Framework": "ONNX",
        "ModelName": "ChangeDetector",
        "ModelType": "ImageClassification",
        "Description": "Finds what came, went or was worked between two 4-band orthophotos of one place; "
        "trained on synthetic scenes.",
        "ModelFile": "change.onnx",
        "ModelFormat": "NCHW",
        "ImageHeight": TILE,
        "ImageWidth": TILE,
        "ExtractBands": list(range(2 * BANDS)),
        "ImageSpaceUsed": "MAP_SPACE",
        "IsMultispectral": True,
        "SupportsVariableTileSize": True,
        "MinCellSize": {"x": CELL_SIZES[0], "y": CELL_SIZES[0], "spatialReference": {"wkid": 32616}},
        "MaxCellSize": {"x": CELL_SIZES[1], "y": CELL_SIZES[1], "spatialReference": {"wkid": 32616}},
        "Classes": [
            {"Value": 0, "Name": "No change", "Color": [235, 235, 235]},
            {"Value": 1, "Name": "Change", "Color": [215, 25, 60]},
        ],
        "RasterAnalysis": {
            "Version": 1,
            "Input": {
                "Name": "image",
                "Layout": "NCHW",
                "DataType": "float32",
                "Mean": [MEAN] * 2 * BANDS,
                "Std": [STD] * 2 * BANDS,
            },
            "Output": {"Decoder": "pixels", "Activation": "softmax"},
            "TileMultiple": 32,
            "Context": 64,
        },
    }
    build_package(network, definition, out, output="pixels")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PACKAGES, help="folder of the package (default: samples/packages)")
    parser.add_argument("--weights", type=Path, help="package this checkpoint and train nothing")
    parser.add_argument("--start", type=Path, help="go on from this checkpoint")
    parser.add_argument("--steps", type=int, default=600, help="training steps of 10 tiles")
    parser.add_argument("--worlds", type=int, default=40, help="training worlds, at most 100")
    parser.add_argument("--chunks", type=int, default=6, help="pairs drawn from each of them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
