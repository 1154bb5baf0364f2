"""Synthetic canopies in the colours of real ones: ground and crowns of a tile are dyed apart from each other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scene import CANOPY, LandCover
from tiles import Sample, draw_samples
from torch.nn import functional

CELL_SIZES = (0.09, 0.22)
# How often, red and blue relative to green, and the range of brightness. Crowns are mostly the greener part.
_CROWNS = (
    (6, (0.72, 1.0), (0.45, 0.8), (70, 180)),
    (1, (1.0, 1.12), (0.68, 0.9), (90, 190)),
    (1, (0.97, 1.05), (0.92, 1.05), (110, 200)),
)
_GROUNDS = (
    (3, (1.03, 1.2), (0.75, 0.95), (120, 230)),
    (3, (1.05, 1.25), (0.7, 0.9), (70, 150)),
    (2, (0.75, 0.95), (0.5, 0.75), (80, 200)),
    (2, (0.97, 1.03), (0.92, 1.03), (90, 220)),
)
Tints = tuple[tuple[float, tuple[float, float], tuple[float, float], tuple[float, float]], ...]


def draw_canopies(seeds: range, per_seed: int) -> list[Sample]:
    """Make synthetic canopies: three bands, trees only, labels kept for the dyeing."""
    kept = []
    for sample in draw_samples(seeds, per_seed=per_seed, cell_sizes=CELL_SIZES, theme=CANOPY):
        trees = sample.classes == 0
        kept.append(Sample(sample.pixels[:3], sample.labels, sample.boxes[trees], sample.classes[trees]))
    return [sample for sample in kept if len(sample.boxes) >= 3]


def dye(sample: Sample, rng: np.random.Generator) -> Sample:
    """Give ground and crowns new colours; light and shadow stay, leaves get rougher."""
    light, labels = _ruffle(sample, rng)
    crown = labels == LandCover.TREE
    ground = _relative(light, ~crown) ** np.float32(rng.uniform(0.4, 1.6)) * _roughen(light.shape, rng)
    # Seen at noon, or with leaves that let light through, a crown is no dome of light but flat and rough.
    leaves = _relative(light, crown) ** np.float32(rng.uniform(0.0, 1.5)) * _roughen(light.shape, rng)
    patches = _patchwork(light.shape, rng, coarse=24) > rng.normal(0, 0.8)
    tufts = _patchwork(light.shape, rng, coarse=7) > rng.uniform(1.4, 4.0)
    second = _stands(sample, light.shape, rng)
    bare = np.where(patches, _tint(_GROUNDS, rng), _tint(_GROUNDS, rng))
    colors = np.where(tufts, _tint(_CROWNS, rng), bare) * ground
    crowns = np.where(second, _tint(_CROWNS, rng), _tint(_CROWNS, rng)) * leaves
    pixels = np.where(crown, crowns, colors).clip(0, 255).astype(np.uint8)
    return Sample(pixels, labels, sample.boxes, sample.classes)


def _ruffle(sample: Sample, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Fray the outlines of crowns and shadows: every cell is taken from a few cells away."""
    if sample.labels is None:
        raise ValueError("a sample to be dyed needs labels")
    shape = sample.labels.shape
    places = []
    for axis, size in enumerate(shape):
        away = rng.uniform(0, 1.5) * _patchwork(shape, rng, coarse=2) + rng.uniform(0, 2.5) * _patchwork(
            shape, rng, coarse=6
        )
        index = np.arange(size).reshape((-1, 1) if axis == 0 else (1, -1))
        places.append((index + away.round().astype(np.int64)).clip(0, size - 1))
    rows, cols = places
    light = sample.pixels.mean(axis=0, dtype=np.float32)
    return light[rows, cols], sample.labels[rows, cols]


def _roughen(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Factors of brightness about 1: leaves, twigs or litter of three sizes."""
    rough = sum(rng.uniform(0.02, 0.3) * _patchwork(shape, rng, coarse=coarse) for coarse in (2, 4, 9))
    return np.asarray(np.exp(rough).clip(0.15, 2.2).astype(np.float32))


def turn_hue(pixels: NDArray[np.uint8], angle: float) -> NDArray[np.uint8]:
    """Turn colours about the gray axis; brightness stays."""
    cos, sin = np.cos(angle), np.sin(angle) / np.sqrt(3)
    even = (1 - cos) / 3
    matrix = np.array([[cos, -sin, sin], [sin, cos, -sin], [-sin, sin, cos]]) + even
    turned = np.tensordot(matrix.astype(np.float32), pixels.astype(np.float32), axes=1)
    return np.asarray(turned.clip(0, 255).astype(np.uint8))


def _relative(light: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Light as a share of its upper quartile there: about 1 in the sun."""
    level = np.percentile(light[where], 75) if where.any() else 128.0
    return np.asarray((light / np.float32(max(level, 1.0))).clip(0.05, 2))


def _tint(choices: Tints, rng: np.random.Generator) -> NDArray[np.float32]:
    weights = np.array([choice[0] for choice in choices])
    _, red, blue, brightness = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
    color = np.array([rng.uniform(*red), 1.0, rng.uniform(*blue)]) * rng.uniform(*brightness)
    return np.asarray(color.astype(np.float32)[:, None, None])


def _patchwork(shape: tuple[int, ...], rng: np.random.Generator, coarse: int) -> NDArray[np.float32]:
    """Smooth noise with features of some cells, about zero mean and unit variance."""
    rows, cols = (-(-size // coarse) + 2 for size in shape)
    noise = torch.from_numpy(1.5 * rng.standard_normal((1, 1, rows, cols)).astype(np.float32))
    smooth = functional.interpolate(noise, scale_factor=coarse, mode="bilinear")[0, 0].numpy()
    down, right = (int(k) for k in rng.integers(0, coarse, 2))
    return np.asarray(smooth[down : down + shape[0], right : right + shape[1]])


def _stands(sample: Sample, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Trees of a second kind, here and there among the others."""
    share = rng.choice([0.0, 0.15, 0.5])
    second = np.zeros(shape, dtype=bool)
    sizes = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
    for x0, y0, x1, y1 in sample.boxes[np.argsort(-sizes)].clip(0, None).astype(int):
        second[y0:y1, x0:x1] = rng.random() < share
    return second
