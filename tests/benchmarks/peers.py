"""What people write without a framework of this kind: a torchgeo grid sampler loop, and a plain ONNX Runtime loop.

Both read 512 px patches that overlap by 128, keep the middle 384, and write a tiled GeoTIFF.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
import torch
from rasterio.windows import Window
from torch import nn

PATCH, OVERLAP = 512, 128
KEEP = PATCH - OVERLAP


def onnxruntime_loop(raster: Path, model: Path, out: Path) -> None:
    """Read a patch, run it, write its middle; one after the other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with rasterio.open(raster) as source, rasterio.open(out, "w", **_profile(source)) as sink:
        for row in range(0, source.height, KEEP):
            for col in range(0, source.width, KEEP):
                patch = Window(col - OVERLAP // 2, row - OVERLAP // 2, PATCH, PATCH)
                pixels = source.read(window=patch, boundless=True, fill_value=0).astype(np.float32) / 255
                (scores,) = session.run(None, {"x": pixels[np.newaxis]})
                _write_middle(sink, scores[0].argmax(0).astype(np.uint8), row, col)


def torchgeo_loop(raster: Path, network: nn.Module, out: Path, *, workers: int = 0) -> None:
    """Let torchgeo's dataset and grid sampler give the patches, four at a time, and run them in torch at fp32."""
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    class Scene(RasterDataset):
        filename_glob = raster.name

    dataset = Scene(raster.parent)
    sampler = GridGeoSampler(dataset, size=PATCH, stride=KEEP)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples, num_workers=workers)
    with rasterio.open(raster) as source:
        profile, transform = _profile(source), source.transform
    with rasterio.open(out, "w", **profile) as sink, torch.inference_mode():
        for batch in loader:
            labels = network(batch["image"] / 255).argmax(1).to(torch.uint8).numpy()
            for label, where in zip(labels, _origins(batch), strict=True):
                col, row = ~transform * where
                _write_middle(sink, label, round(row) + OVERLAP // 2, round(col) + OVERLAP // 2)


def _origins(batch: dict[str, object]) -> list[tuple[float, float]]:
    """Return the top-left corner of each sample in map units, whichever way this torchgeo gives it."""
    bounds = batch["bounds"]
    if isinstance(bounds, torch.Tensor):  # (n, 3 axes x start, stop, step), x and y first
        return [(float(b[0]), float(b[4])) for b in bounds]
    return [(float(b[0].start), float(b[1].stop)) for b in bounds]  # type: ignore[union-attr]


def _profile(source: rasterio.DatasetReader) -> dict[str, object]:
    profile = {**source.profile, "count": 1, "dtype": "uint8", "nodata": None, "compress": "deflate"}
    return {**profile, "tiled": True, "blockxsize": 512, "blockysize": 512, "photometric": "minisblack"}


def _write_middle(sink: rasterio.io.DatasetWriter, labels: np.ndarray, row: int, col: int) -> None:
    half = OVERLAP // 2
    middle = labels[half : half + KEEP, half : half + KEEP]
    top, left = max(0, -row), max(0, -col)  # torchgeo's grid starts at the bottom and may reach over the top
    middle, row, col = middle[top : max(0, sink.height - row), left : max(0, sink.width - col)], row + top, col + left
    if middle.size:
        sink.write(middle, 1, window=Window(col, row, middle.shape[1], middle.shape[0]))
