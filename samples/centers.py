"""What a centre-point detector is taught: heat around object centres, and a box near each centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from networks import STRIDE, decode_boxes
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_NEAR = 1
"""Cells around the one with the centre that also learn the box."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the maps should show."""

    heat: Tensor
    """`(n, classes, rows, cols)`: 1 at centres, falling off around them."""
    boxes: Tensor
    """cx, cy, w, h in cells of the picture, `(n, 4, rows, cols)`."""
    learned: Tensor
    """How much a cell counts for the boxes, `(n, rows, cols)`."""
    ignored: Tensor
    """1 where nothing is taught about centres, `(n, rows, cols)`."""


def stack_targets(objects: list[tuple[NDArray[np.float64], NDArray[np.int64]]], *, classes: int, side: int) -> Targets:
    """Draw the targets of several square tiles; boxes are x0, y0, x1, y1."""
    cells = side // STRIDE
    heat = np.zeros((len(objects), classes, cells, cells), np.float32)
    boxes = np.zeros((len(objects), 4, cells, cells), np.float32)
    learned = np.zeros((len(objects), cells, cells), np.float32)
    for number, (corners, kinds) in enumerate(objects):
        # Large first, so that small ones are not painted over.
        for index in np.argsort(-np.prod(corners[:, 2:] - corners[:, :2], axis=1)):
            _draw(heat[number, kinds[index]], boxes[number], learned[number], corners[index])
    ignored = np.zeros_like(learned)
    return Targets(*(torch.from_numpy(array) for array in (heat, boxes, learned, ignored)))


def _draw(
    heat: NDArray[np.float32], boxes: NDArray[np.float32], learned: NDArray[np.float32], corners: NDArray[np.float64]
) -> None:
    cells = heat.shape[0]
    cx, cy = (corners[:2] + corners[2:]) / 2
    width, height = np.maximum(corners[2:] - corners[:2], 2.0)
    col, row = int(cx / STRIDE), int(cy / STRIDE)
    if not (0 <= row < cells and 0 <= col < cells):
        return
    # One sigma is a tenth of the side: neighbours that would still overlap the box well are punished little.
    sigma = max(0.45, 0.1 * float(np.sqrt(width * height)) / STRIDE)
    reach = int(np.ceil(3 * sigma))
    rows = np.arange(max(0, row - reach), min(cells, row + reach + 1))
    cols = np.arange(max(0, col - reach), min(cells, col + reach + 1))
    away = (rows[:, None] - row) ** 2 + (cols[None, :] - col) ** 2
    patch = heat[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    np.maximum(patch, np.exp(-away / (2 * sigma**2)), out=patch)
    near = (slice(max(0, row - _NEAR), row + _NEAR + 1), slice(max(0, col - _NEAR), col + _NEAR + 1))
    boxes[(slice(None), *near)] = np.array([cx, cy, width, height], np.float32)[:, None, None]
    learned[near] = 0.4
    learned[row, col] = 1.0


def detection_loss(logits: Tensor, boxes: Tensor, targets: Targets) -> Tensor:
    """Focal loss on centres plus generalised IoU and size errors on boxes."""
    return focal_loss(logits, targets) + box_loss(boxes, targets)


def focal_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Penalty-reduced focal loss of CornerNet: cells near a centre count less as 'no centre'."""
    centre = targets.heat.eq(1).float()
    sure, unsure = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    chance = logits.sigmoid()
    found = centre * (1 - chance) ** 2 * sure
    quiet = (1 - centre) * (1 - targets.heat) ** 4 * chance**2 * unsure * (1 - targets.ignored[:, None])
    return -(found + quiet).sum() / centre.sum().clamp(min=1)


def box_loss(boxes: Tensor, targets: Targets) -> Tensor:
    """1 - GIoU plus the error of the log sizes, averaged over the cells that learn."""
    given, wanted = decode_boxes(boxes), targets.boxes.clamp(min=0)
    overlap = _giou(given, wanted.clamp(min=1e-3))
    sizes = (given[:, 2:].log() - wanted[:, 2:].clamp(min=2).log()).abs().sum(1)
    weight = targets.learned
    return ((1 - overlap + 0.3 * sizes) * weight).sum() / weight.sum().clamp(min=1)


def _giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes cx, cy, w, h along axis 1."""
    a_low, a_high = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2
    b_low, b_high = b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    both = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(min=0).prod(1)
    hull = (torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)).prod(1).clamp(min=1e-6)
    union = (a[:, 2:].prod(1) + b[:, 2:].prod(1) - both).clamp(min=1e-6)
    return both / union - (hull - union) / hull
