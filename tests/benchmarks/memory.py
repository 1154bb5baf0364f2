"""Memory of a classification job above its loaded model, for growing rasters: it must not grow with them.

    python tests/benchmarks/memory.py [--sizes 5000 10000 20000] [--network unet|null]

The model counts as loaded when the job has planned: from then on the peak of resident memory is watched (Linux).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from networks import Threshold, make_package, make_unet
from speed import make_raster, read_sample

from raster_analysis.api import Files, run_file_tool

MIB = 2**20


class Watch:
    """A reporter that starts to watch the peak when the plan is made."""

    def __init__(self) -> None:
        self.loaded = 0

    def message(self, text: str, level: str = "info") -> None:
        """Take the resident memory at the plan as that of the loaded model."""
        if text.startswith("Plan:"):
            print(f"  {text}")
            self.loaded = read_status("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS

    def progress(self, fraction: float) -> None:
        """Ignore progress."""

    def check_cancelled(self) -> None:
        """Never cancel."""


def read_status(key: str) -> int:
    """Return a figure of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def main() -> None:
    """Run each size and print a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 10000, 20000])
    parser.add_argument("--network", choices=("unet", "null"), default="unet")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="memory-") as text:
        folder = Path(text)
        for size in options.sizes:
            raster = folder / f"{size}.tif"
            make_raster(raster, size)
            if not (folder / "package").exists():
                network = make_unet(read_sample(raster)) if options.network == "unet" else Threshold()
                unet = options.network == "unet"
                make_package(
                    folder / "package", network, classes=6 if unet else 2, context=64 if unet else 0, multiple=16
                )
            watch, started = Watch(), time.perf_counter()
            files = Files(raster, folder / "package", folder / f"{size}-out.tif")
            run_file_tool("ClassifyPixelsUsingDeepLearning", files, {"precision": "bf16"}, report=watch)
            rows.append((size, watch.loaded, read_status("VmHWM"), time.perf_counter() - started))
            raster.unlink()
    print("\n| raster | loaded, MiB | peak, MiB | above the loaded model, MiB | s |\n|---|--:|--:|--:|--:|")
    for size, loaded, peak, seconds in rows:
        above = (peak - loaded) / MIB
        print(f"| {size} x {size} | {loaded / MIB:.0f} | {peak / MIB:.0f} | {above:.0f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
