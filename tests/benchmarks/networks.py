"""The networks that the benchmarks run: random weights, real sizes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn


class _Twice(nn.Sequential):
    """Two 3 x 3 convolutions with normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        layers: list[nn.Module] = []
        for before in (channels_in, channels_out):
            layers += [
                nn.Conv2d(before, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.ReLU(),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """The U-Net of the performance tables: 16 to 256 channels, four steps down."""

    def __init__(self, bands: int = 3, classes: int = 6, channels: tuple[int, ...] = (16, 32, 64, 128, 256)) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(_Twice, (bands, *channels), channels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(channels))
        self.join = nn.ModuleList(_Twice(2 * a, a) for a in channels[:-1])
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores `(n, classes, rows, cols)`."""
        levels = []
        for depth, step in enumerate(self.down):
            x = step(x if depth == 0 else nn.functional.max_pool2d(x, 2))
            levels.append(x)
        for depth in reversed(range(len(self.join))):
            x = self.join[depth](torch.cat([levels[depth], self.up[depth](x)], 1))
        return self.head(x)


def make_unet(sample: torch.Tensor) -> UNet:
    """Return a U-Net of random weights whose classes are about equally common on `sample` `(n, bands, rows, cols)`."""
    torch.manual_seed(0)
    network = UNet(sample.shape[1]).eval()
    with torch.inference_mode():
        scores = network(sample)
        network.head.weight /= scores.std((0, 2, 3))[:, None, None, None]
        network.head.bias[:] = 0
        network.head.bias -= network(sample).mean((0, 2, 3))
    return network


class Threshold(nn.Module):
    """A network that costs nothing: two classes by brightness. What is left is the pipeline."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores `(n, 2, rows, cols)`."""
        bright = x[:, :1]
        return torch.cat([128.0 - bright, bright - 128.0], 1)


CLASSES = [
    {"Value": value, "Name": f"class {value}", "Color": [40 * value, 255 - 40 * value, 90]} for value in range(1, 7)
]


def make_package(folder: Path, network: nn.Module, *, classes: int, context: int, multiple: int) -> Path:
    """Write `network` as an ONNX model with its definition into `folder`; values 0..255 are fed as 0..1."""
    folder.mkdir(parents=True)
    axes = {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        network.eval(), (torch.rand(1, 3, 256, 256),), folder / "model.onnx", dynamo=False,
        input_names=["x"], output_names=["y"], dynamic_axes=axes,
    )  # fmt: skip
    definition = {
        "Framework": "ONNX", "ModelType": "ImageClassification", "ModelName": "benchmark", "ModelFile": "model.onnx",
        "ImageHeight": 512, "ImageWidth": 512, "ExtractBands": [0, 1, 2], "SupportsVariableTileSize": True,
        "Classes": CLASSES[:classes],
        "RasterAnalysis": {
            "Version": 1, "Input": {"Scale": 1 / 255}, "Output": {"Decoder": "pixels"},
            "TileMultiple": multiple, "Context": context,
        },
    }  # fmt: skip
    (folder / "model.emd").write_text(json.dumps(definition, indent=2))
    return folder
