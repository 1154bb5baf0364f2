"""Samples are scripts beside each other; tests import them the way Python does when one is run."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "samples"))
