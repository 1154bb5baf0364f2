"""What the loop itself costs: a network that does nothing, a raster in memory, one table.

    python tests/benchmarks/pipeline_overhead.py [--size 8192] [--rounds 5]

Each configuration runs once a round, in turn; the medians and the spread over the rounds are printed.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from raster_analysis.inference.in_memory import ArrayReader, ListReporter, NullClassifier, tiny_info
from raster_analysis.inference.pipeline import Inference, classify_block
from raster_analysis.inference.tiling import Tiling, blocks_of, choose_tiling
from raster_analysis.model_info import ModelInfo, Task


class NullProbabilities(NullClassifier):
    """Gives the same probability to every class."""

    def classify(self, tiles, value_range):  # type: ignore[no-untyped-def]
        shape = (len(tiles), len(self.info.values), *tiles.shape[2:])
        return np.broadcast_to(np.float32(1 / len(self.info.values)), shape)


@dataclass(frozen=True)
class Configuration:
    """One line of the table."""

    name: str
    info: ModelInfo
    tiling: Tiling
    merge: str = "crop"

    def run(self, reader: ArrayReader) -> float:
        """Classify the whole raster and return megapixels per second."""
        model = (NullProbabilities if self.merge == "blend" else NullClassifier)(self.info)
        inference = Inference(reader, model, self.tiling, (0, 255), merge=self.merge)
        started = time.perf_counter()
        for block in blocks_of(self.tiling):
            classify_block(block, inference, ListReporter())
        return self.tiling.grid_height * self.tiling.grid_width / (time.perf_counter() - started) / 1e6


def configurations(size: int) -> list[Configuration]:
    """Return what is compared: tile sizes with 64 px of padding, and blending."""
    info = replace(tiny_info(Task.PIXELS, class_count=5, tile_size=256, padding=64), bands=(0, 1, 2), batch_size=16)

    def tiling(tile_size: int | None) -> Tiling:
        return choose_tiling(info, (size, size), tile_size=tile_size, memory_limit=3 << 30)

    sizes = [Configuration(f"crop, {side} px tiles", info, tiling(side)) for side in (256, 512, 1024)]
    chosen = Configuration("crop, chosen tile", info, tiling(None))
    return [*sizes, chosen, Configuration("blend, 512 px tiles, 5 classes", info, tiling(512), "blend")]


def main() -> None:
    """Run all configurations in turn and print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--size", type=int, default=8192)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    data = np.random.default_rng(0).integers(0, 256, (3, given.size, given.size), np.uint8)
    reader = ArrayReader(data)
    compared = configurations(given.size)
    speeds: dict[str, list[float]] = {c.name: [] for c in compared}
    for _ in range(given.rounds):
        for configuration in compared:
            speeds[configuration.name].append(configuration.run(reader))
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}, {given.size} px, RGB")
    print("| configuration | tile | computed / wanted | MP/s (min - max) | s/MP |\n|---|--:|--:|--:|--:|")
    for c in compared:
        values = speeds[c.name]
        middle = statistics.median(values)
        print(
            f"| {c.name} | {c.tiling.tile_height} | {c.tiling.waste:.2f} "
            f"| {middle:.0f} ({min(values):.0f} - {max(values):.0f}) | {1 / middle:.4f} |"
        )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak RSS {peak_mb:.0f} MB, of which the raster takes {data.nbytes / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
