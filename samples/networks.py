"""The small networks of the samples: a segmenter and an anchor-free detector on one backbone, and a crop classifier."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4
"""Cells of the picture for one cell of the detector's map."""


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut where the shape allows."""

    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(taken, given, 3, stride, 1, bias=False),
            nn.BatchNorm2d(given),
            nn.ReLU(inplace=True),
            nn.Conv2d(given, given, 3, 1, 1, bias=False),
            nn.BatchNorm2d(given),
        )
        self.same = taken == given and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Give `(n, given, rows / stride, cols / stride)`."""
        y = self.body(x)
        return functional.relu(y + x if self.same else y)


class Backbone(nn.Module):
    """A U-Net of five levels whose first works at half the resolution of the picture."""

    def __init__(self, bands: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(bands, widths[0], 4, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        self.down = nn.ModuleList(Block(a, b, 2) for a, b in pairwise(widths))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Block(a, a) for a in widths[:-1])

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Give features at 1 / 2**(level + 1) of the resolution."""
        features = [self.stem(x)]
        for down in self.down:
            features.append(down(features[-1]))
        y = features[-1]
        for index in range(len(self.up) - 1, level - 1, -1):
            y = functional.interpolate(self.narrow[index](y), scale_factor=2.0, mode="nearest")
            y = self.up[index](y + features[index])
        return y


class Segmenter(nn.Module):
    """Scores of land-cover classes; index 0 is 'no picture here'."""

    def __init__(self, bands: int, classes: int, widths: tuple[int, ...] = (16, 32, 48, 64, 96)) -> None:
        super().__init__()
        self.backbone = Backbone(bands, widths)
        self.fine = nn.Sequential(nn.Conv2d(bands, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.spread = nn.Conv2d(widths[0], 8, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 12, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(12, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Give `(n, classes, rows, cols)` of a normalised picture whose sides are multiples of 32."""
        coarse = self.spread(self.backbone(x, 0))
        coarse = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(torch.cat([coarse, self.fine(x)], dim=1))


class Detector(nn.Module):
    """Peaks of object centres and the box around each, on a map of a quarter of the resolution."""

    def __init__(self, bands: int, classes: int, widths: tuple[int, ...] = (24, 32, 48, 72, 96)) -> None:
        super().__init__()
        self.backbone = Backbone(bands, widths)
        self.centers = nn.Sequential(Block(widths[1], widths[1]), nn.Conv2d(widths[1], classes, 1))
        self.boxes = nn.Sequential(Block(widths[1], widths[1]), nn.Conv2d(widths[1], 4, 1))
        # Start from 'almost nowhere is a centre', so that the first steps are not spent on learning it.
        nn.init.constant_(self.centers[-1].bias, -3.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give centre logits `(n, classes, rows / 4, cols / 4)` and offsets with log sizes `(n, 4, ...)`."""
        features = self.backbone(x, 1)
        return self.centers(features), self.boxes(features)


class CropClassifier(nn.Module):
    """Scores of the classes of one crop, from the mean over what four levels see of it."""

    def __init__(self, bands: int, classes: int, widths: tuple[int, ...] = (24, 48, 72, 96)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(bands, widths[0], 4, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        self.down = nn.Sequential(*(Block(a, b, 2) for a, b in pairwise(widths)))
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Give `(n, classes)`; the centre counts once more, since the object is there."""
        y = self.down(self.stem(x))
        centre = y[:, :, y.shape[2] // 4 : -(y.shape[2] // 4), y.shape[3] // 4 : -(y.shape[3] // 4)]
        return self.head(torch.cat([y.mean((2, 3)), centre.mean((2, 3))], dim=1))  # type: ignore[no-any-return]


class DetectorExport(nn.Module):
    """The detector with its decoding: `(n, 4 + classes, k)` of cx, cy, w, h and scores in cells of the tile."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Tensor:
        """Decode; only cells that are the peak of their 3 x 3 neighbours keep their score."""
        logits, boxes = self.detector(x)
        scores = torch.sigmoid(logits)
        peak = functional.max_pool2d(scores, 3, 1, 1)
        scores = scores * (scores >= peak).to(scores.dtype)
        decoded = decode_boxes(boxes)
        return torch.cat([decoded, scores], dim=1).flatten(2)


def decode_boxes(boxes: Tensor) -> Tensor:
    """Turn offsets and log sizes into cx, cy, w, h in cells of the picture, `(n, 4, rows, cols)`."""
    ones = torch.ones_like(boxes[:, :1])
    col = torch.cumsum(ones, 3) - 0.5
    row = torch.cumsum(ones, 2) - 0.5
    cx = (col + boxes[:, 0:1]) * STRIDE
    cy = (row + boxes[:, 1:2]) * STRIDE
    size = torch.exp(boxes[:, 2:4].clamp(-2.0, 5.0)) * STRIDE
    return torch.cat([cx, cy, size], dim=1)
