"""Compare a raster of changes with the truth: `python samples/change_evaluate.py FOUND.tif TRUTH.tif`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import rasterio


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("found", type=Path)
    parser.add_argument("truth", type=Path)
    options = parser.parse_args(arguments)
    print(json.dumps(compare(options.found, options.truth), indent=2))
    return 0


def compare(found: Path, truth: Path) -> dict[str, float]:
    """Give intersection over union, F1, precision and recall of the cells with value 1."""
    with rasterio.open(found) as result, rasterio.open(truth) as labels:
        if result.shape != labels.shape:
            raise SystemExit(f"{found.name} has {result.shape} cells and {truth.name} {labels.shape}")
        mine, theirs = result.read(1) == 1, labels.read(1) == 1
    both, either = np.count_nonzero(mine & theirs), np.count_nonzero(mine | theirs)
    total = np.count_nonzero(mine) + np.count_nonzero(theirs)
    measures = {
        "IoU": both / max(1, either),
        "F1": 2 * both / max(1, total),
        "precision": both / max(1, np.count_nonzero(mine)),
        "recall": both / max(1, np.count_nonzero(theirs)),
    }
    return {name: round(float(value), 4) for name, value in measures.items()}


if __name__ == "__main__":
    sys.exit(main())
