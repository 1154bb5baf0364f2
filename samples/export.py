"""Networks turned into packages: ONNX export, definition, archive."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from dlpk.build import build


def build_package(network: nn.Module, definition: dict[str, object], out: Path, *, output: str) -> None:
    """Export a network and write it with its definition; the same network gives the same bytes.

    Args:
        network: Takes `(n, bands, rows, cols)`, with as many bands as `ExtractBands` names.
        definition: The .emd; `ModelFile` names the member that the network becomes.
        out: The .dlpk to write.
        output: Name of its one output tensor: `pixels` keeps rows and columns, `classes` is `(n, classes)` of tiles of
            the definition's own size, any other has one row of `k` objects.
    """
    bands = definition["ExtractBands"]
    if not isinstance(bands, list):
        raise TypeError(f"ExtractBands must be a list of bands, not {bands!r}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        side = definition["ImageHeight"] if output == "classes" else None
        export_onnx(network, folder / str(definition["ModelFile"]), bands=len(bands), output=output, side=side)
        (folder / f"{out.stem}.emd").write_text(json.dumps(definition, indent=2) + "\n", encoding="utf-8")
        build(folder, out, replace=True)


def export_onnx(network: nn.Module, path: Path, *, bands: int, output: str, side: object = None) -> None:
    """Export with free batch and, unless a side is given, free tile size."""
    example = torch.zeros(2, bands, side, side) if isinstance(side, int) else torch.zeros(2, bands, 128, 160)
    axes = {0: "n"} if side else {0: "n", 2: "rows", 3: "cols"}
    given = axes if side or output == "pixels" else {0: "n", 2: "k"}
    with warnings.catch_warnings():
        # torch calls its tracing exporter old, but the graphs are small and every runtime takes them.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval().float(),
            (example,),
            str(path),
            input_names=["image"],
            output_names=[output],
            dynamic_axes={"image": axes, output: given},
            opset_version=17,
            dynamo=False,
        )
