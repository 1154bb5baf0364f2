"""What the store of a test's server holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from strips import write_strip
from tiny_models import write_folder, write_package

SAMPLES = Path(__file__).parents[2] / "samples"


def fill_store(store: Path) -> None:
    """Write a scene, models that work, one that is slow, and broken packages."""
    store.mkdir(parents=True)
    command = [sys.executable, str(SAMPLES / "make_scene.py"), str(store / "scene.tif"), "--size", "512"]
    subprocess.run([*command, "--seed", "2024"], check=True, stdout=subprocess.DEVNULL)
    for package in ("detector", "landcover", "objects"):
        shutil.copy2(SAMPLES / "packages" / f"{package}.dlpk", store)
    write_package(store / "tiny.dlpk", bands=4)
    write_package(store / "labels.dlpk", bands=1)
    write_package(store / "slow.dlpk", layers=2)
    write_package(store / "broken.dlpk", ModelFile="missing.onnx", Classes="none", ImageHeight=None)
    write_folder(store / "folder", bands=4, ModelName="From a folder")
    write_strip(store / "strip.tif", 3)
