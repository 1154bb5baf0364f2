"""The documents say what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlpk.extension import Decoder, Extension
from dlpk.findings import CODES
from dlpk.limits import DEFAULT_LIMITS

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "docs" / "packages.md").read_text()
EXTENSION = (ROOT / "docs" / "extension.md").read_text()


def test_every_code_is_in_the_table_with_its_meaning():
    rows = dict(re.findall(r"^\| `([a-z0-9_]+\.[a-z0-9_]+)` \| (.+) \|$", PACKAGES, re.MULTILINE))
    assert rows == CODES


def test_every_code_is_used():
    source = "".join(path.read_text() for path in (ROOT / "dlpk").glob("*.py") if path.name != "findings.py")
    families = {"model_file.path", "model_file.missing", "function.path", "function.missing"}  # f"{family}.path"
    assert {code for code in CODES if f'"{code}"' not in source} <= families


def test_the_limits_are_those_of_the_code():
    assert f"{DEFAULT_LIMITS.entries:,} members" in PACKAGES
    assert f"{DEFAULT_LIMITS.member_ratio}:1" in PACKAGES
    assert f"{DEFAULT_LIMITS.total_ratio}:1" in PACKAGES
    assert f"{DEFAULT_LIMITS.total_bytes >> 30} GB" in PACKAGES


EXAMPLES = re.findall(r"```json\n(.*?)```", EXTENSION, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_extension_are_valid(example):
    Extension.model_validate(json.loads(example)["RasterAnalysis"])


def test_every_decoder_has_an_example():
    decoders = [json.loads(example)["RasterAnalysis"].get("Output", {}).get("Decoder") for example in EXAMPLES]
    assert set(Decoder) <= set(decoders)


def test_every_key_of_the_extension_is_described():
    def keys(schema):
        for part in [schema, *schema.get("$defs", {}).values()]:
            yield from part.get("properties", {})

    missing = [key for key in keys(Extension.model_json_schema()) if f"`{key}`" not in EXTENSION]
    assert missing == []


def test_the_library_needs_neither_torch_nor_the_server():
    script = "import sys, dlpk, dlpk.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "onnx", "onnxruntime", "numpy", "rasterio", "raster_analysis"}.isdisjoint(loaded)
