"""Training tiles: cut from synthetic scenes or given pictures, and varied so that a network cannot learn by heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scene import COUNTRY, Scene, Theme, Window
from scene.outlines import object_boxes

_WORLD = 400
"""Chunks are drawn from this many chunks around the origin of each world."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with everything known about it."""

    pixels: NDArray[np.uint8]
    """`(bands, rows, cols)`."""
    labels: NDArray[np.uint8] | None
    boxes: NDArray[np.float64]
    """x0, y0, x1, y1 in cells, `(n, 4)`."""
    classes: NDArray[np.int64]


def draw_samples(
    seeds: range, *, per_seed: int, cell_sizes: tuple[float, float], theme: Theme = COUNTRY, side: int = 512
) -> list[Sample]:
    """Make chunks at random places of several worlds."""
    samples = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = Scene(seed, float(rng.uniform(*cell_sizes)), theme, chunk=side)
        for _ in range(per_seed):
            row, col = (int(k) * side for k in rng.integers(-_WORLD, _WORLD, 2))
            window = Window(row, col, side, side)
            picture = scene.read(window)
            samples.append(Sample(picture.pixels, picture.labels, *object_boxes(scene, window)))
    return samples


def crop(sample: Sample, row: int, col: int, side: int) -> Sample:
    """Cut a square; boxes stay when their middle is inside, and keep their full size."""
    rows, cols = slice(row, row + side), slice(col, col + side)
    boxes = sample.boxes - [col, row, col, row]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle >= 0) & (middle < side)).all(axis=1)
    labels = None if sample.labels is None else sample.labels[rows, cols]
    return Sample(sample.pixels[:, rows, cols], labels, boxes[inside], sample.classes[inside])


def turn(sample: Sample, way: int) -> Sample:
    """Apply one of the eight dihedral moves to a square sample."""
    pixels, labels, boxes = sample.pixels, sample.labels, sample.boxes
    side = pixels.shape[1]
    for _ in range(way % 4):
        pixels = np.rot90(pixels, axes=(1, 2))
        labels = None if labels is None else np.rot90(labels)
        # A quarter turn to the left: (x, y) goes to (y, side - x).
        boxes = np.stack([boxes[:, 1], side - boxes[:, 2], boxes[:, 3], side - boxes[:, 0]], axis=1)
    if way >= 4:
        pixels = pixels[:, :, ::-1]
        labels = None if labels is None else labels[:, ::-1]
        boxes = np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], axis=1)
    return Sample(pixels, labels, boxes, sample.classes)


def vary_colors(pixels: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Change brightness, contrast, gamma and the balance of the bands; `strength` 1 is a strong change."""
    bands = pixels.shape[0]
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(strength * rng.normal(0, 0.25))
    gain = np.exp(strength * (rng.normal(0, 0.15) + rng.normal(0, 0.10, (bands, 1))))
    offset = strength * (rng.normal(0, 0.05) + rng.normal(0, 0.03, (bands, 1)))
    tables = levels**gamma * gain + offset
    tables = (tables * 255).clip(0, 255)
    varied = np.stack([table.astype(np.uint8)[band] for table, band in zip(tables, pixels, strict=True)])
    if rng.random() < 0.5 * strength:
        varied = _fade(varied, float(rng.uniform(-0.3, 0.8)))
    return varied


def _fade(pixels: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Move the colours towards their mean (or away, when negative)."""
    gray = pixels.mean(axis=0, keepdims=True, dtype=np.float32)
    faded: NDArray[np.uint8] = (pixels + (gray - pixels) * np.float32(amount)).clip(0, 255).astype(np.uint8)
    return faded


def punch_hole(sample: Sample, rng: np.random.Generator) -> Sample:
    """Blank one side or corner, as the edge of a survey does; labels become 0 there."""
    if sample.labels is None:
        return sample
    side = sample.labels.shape[0]
    rows = np.arange(side)[:, None] - rng.uniform(0, side)
    cols = np.arange(side)[None, :] - rng.uniform(0, side)
    angle = rng.uniform(0, 2 * np.pi)
    hole = rows * np.cos(angle) + cols * np.sin(angle) > side * 0.25
    pixels, labels = sample.pixels.copy(), sample.labels.copy()
    pixels[:, hole] = 0
    labels[hole] = 0
    return Sample(pixels, labels, sample.boxes, sample.classes)
