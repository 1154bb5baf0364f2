"""Speed of a whole classification job, over the compute floor and beside peers, in interleaved rounds.

    python tests/benchmarks/speed.py [--size 4096] [--rounds 5] [--without torchgeo]

All contestants run the same U-Net (16 to 256 channels, random weights, fp32 file) over the same tiled deflate GeoTIFF
and write a classified GeoTIFF. Prints one table: medians, and the spread of each ratio over the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import rasterio
import torch

sys.path.insert(0, str(Path(__file__).parent))
from networks import Threshold, make_package, make_unet
from peers import onnxruntime_loop, torchgeo_loop

from raster_analysis.api import Files, local_bench, run_file_tool
from raster_analysis.model_info import Engine
from raster_analysis.worker import Bench

# Random weights put classes on a knife's edge: bf16 is asked for, as no trained network would need it to be.
JOB = {"overwrite": True, "precision": "bf16"}


@dataclass
class Contestant:
    """Somebody who does the job, and the seconds of each round."""

    name: str
    run: Callable[[Path], None]
    megapixels: float
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def speeds(self) -> list[float]:
        """Megapixels of output per second, by round."""
        return [self.megapixels / s for s in self.seconds]


def make_raster(path: Path, size: int) -> None:
    """Write an RGB raster that is neither noise nor flat: smooth fields with grain, so that deflate has work to do."""
    random = np.random.default_rng(1)
    coarse = random.integers(40, 216, (3, size // 64 + 1, size // 64 + 1))
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8", "crs": "EPSG:32616",
        "transform": rasterio.Affine(0.5, 0, 500000, 0, -0.5, 4000000), "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as sink:
        for _, window in sink.block_windows(1):
            rows, cols = (
                np.arange(a, a + b) // 64 for a, b in ((window.row_off, window.height), (window.col_off, window.width))
            )
            block = coarse[:, rows][:, :, cols] + random.integers(-6, 7, (3, window.height, window.width))
            sink.write(block.astype(np.uint8), window=window)


def read_sample(raster: Path) -> torch.Tensor:
    """Return a corner of a raster as a network sees it, `(1, bands, 512, 512)`."""
    with rasterio.open(raster) as source:
        return torch.from_numpy(source.read(window=((0, 512), (0, 512)))[np.newaxis].astype(np.float32) / 255)


def floor(bench: Bench, package: Path, raster: Path, out: Path) -> Contestant:
    """Return the compute floor: the job's own engine on tiles in memory, nothing read and nothing written."""
    made = run_file_tool("ClassifyPixelsUsingDeepLearning", Files(raster, package, out), JOB, bench=bench)
    print("\n".join(made.messages))
    model = bench.models.warm[-1]
    engine: Engine = model.engine
    shape = (engine.batch_size, 3, engine.tile_height, engine.tile_width)
    tiles = np.random.default_rng(2).integers(0, 255, shape, dtype=np.uint8)

    def run(_: Path) -> None:
        for _repeat in range(repeats):
            model.classify(tiles, (0.0, 255.0))

    once = tiles.size / 3e6
    repeats = max(1, round(12 / once))
    return Contestant(
        f"floor: {engine.runtime} {engine.precision}, tiles {engine.tile_height}, batch {engine.batch_size}",
        run,
        once * repeats,
    )


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=("unet", "null"), default="unet")
    parser.add_argument("--without", nargs="*", default=[], choices=("torchgeo", "onnxruntime"))
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="speed-") as text, local_bench() as bench:
        contestants = _enter(Path(text), bench, options)
        for round_number in range(options.rounds):
            for contestant in contestants:
                started, cpu_started = time.perf_counter(), time.process_time()
                contestant.run(Path(text) / f"out-{round_number}.tif")
                contestant.seconds.append(time.perf_counter() - started)
                contestant.cpu_seconds.append(time.process_time() - cpu_started)
                (Path(text) / f"out-{round_number}.tif").unlink(missing_ok=True)
    _print_table(contestants)


def _enter(folder: Path, bench: Bench, options: argparse.Namespace) -> list[Contestant]:
    raster = folder / "scene" / "scene.tif"
    raster.parent.mkdir()
    make_raster(raster, options.size)
    network = make_unet(read_sample(raster)) if options.network == "unet" else Threshold()
    context, multiple, classes = (64, 16, 6) if options.network == "unet" else (0, 1, 2)
    package = make_package(folder / "package", network, classes=classes, context=context, multiple=multiple)
    megapixels = options.size**2 / 1e6

    def ours(out: Path) -> None:
        run_file_tool("ClassifyPixelsUsingDeepLearning", Files(raster, package, out), JOB, bench=bench)

    contestants = [
        floor(bench, package, raster, folder / "first.tif"),
        Contestant("raster-analysis, whole job", ours, megapixels),
    ]
    if "onnxruntime" not in options.without:
        run = lambda out: onnxruntime_loop(raster, package / "model.onnx", out)  # noqa: E731
        contestants.append(Contestant("plain ONNX Runtime loop", run, megapixels))
    if "torchgeo" not in options.without:
        run = lambda out: torchgeo_loop(raster, network.eval(), out)  # noqa: E731
        contestants.append(Contestant("torchgeo grid sampler loop", run, megapixels))
    return contestants


def _print_table(contestants: list[Contestant]) -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    seen = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, {' '.join(seen)}; load {os.getloadavg()[0]:.1f}")
    print(", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "torch", "torchgeo", "rasterio")))
    ours = contestants[1]
    print("\n| contestant | MP/s | whole job over it | CPU s/MP | rounds, MP/s |\n|---|--:|--:|--:|---|")
    for contestant in contestants:
        ratios = [a / b for a, b in zip(ours.speeds, contestant.speeds, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cpu = statistics.median(contestant.cpu_seconds) / contestant.megapixels
        rounds = " ".join(f"{speed:.2f}" for speed in contestant.speeds)
        print(f"| {contestant.name} | {statistics.median(contestant.speeds):.2f} | {spread} | {cpu:.3f} | {rounds} |")


if __name__ == "__main__":
    main()
