from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine
from raster_analysis.models.exported_archive import copy_safely

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
CANARY = "canary-was-here"


class Rich(torch.nn.Module):
    """Uses what real networks use: dynamic shapes, resampling, padding, constants, texts as arguments."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.register_buffer("offset", torch.ones(4, 1, 1))

    def forward(self, tiles):
        down = torch.nn.functional.gelu(self.conv(tiles)[:, :, ::2, ::2], approximate="tanh")
        up = torch.nn.functional.interpolate(down, size=tiles.shape[2:], mode="bilinear")
        mixed = torch.einsum("nchw,cd->ndhw", up, torch.eye(4)[:, :3])
        return mixed + self.offset[:3] + torch.div(tiles, 2, rounding_mode="floor")


@pytest.fixture(scope="module")
def archive():
    return export_rich(torch.export.Dim("rows", min=8, max=128), torch.export.Dim("cols", min=8, max=128))


def export_rich(rows, cols):
    torch.manual_seed(1)
    network = Rich().eval()
    shapes = ({0: torch.export.Dim("n", min=1, max=16), 2: rows, 3: cols},)
    program = torch.export.export(network, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=shapes)
    data = io.BytesIO()
    torch.export.save(program, data)
    return network, data.getvalue()


def rewrite(data, path, change):
    """Write the archive with `change(name, content)` applied to every member; None leaves it out."""
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return path


def in_json(suffix, edit):
    def change(name, content):
        if not name.endswith(suffix):
            return content
        value = json.loads(content)
        edit(value)
        return json.dumps(value)

    return change


class Trap:
    def __reduce__(self):
        return (open, (CANARY, "w"))


def set_pickle(value):
    next(iter(value["config"].values()))["use_pickle"] = True


def first_node(program):
    return program["graph_module"]["graph"]["nodes"][0]


def first_expression(program):
    values = program["graph_module"]["graph"]["tensor_values"].values()
    return next(size["as_expr"] for value in values for size in value["sizes"] if "as_expr" in size)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_real_program_with_dynamic_sides_runs(archive, models, make_package, noise, runtime):
    network, data = archive
    handle = make_package(
        data, "model.pt2", SupportsVariableTileSize=True, RasterAnalysis={"Version": 1, "TileMultiple": 2}
    )
    engine = Engine(device="cpu", precision="fp32", runtime=runtime, tile_height=48, tile_width=40, batch_size=3)
    tiles = noise(3, 3, 48, 40)
    with torch.no_grad():
        expected = network(torch.from_numpy(tiles).float()).argmax(dim=1).numpy()
    assert (models.load(handle, engine).classify(tiles, (0, 255)) == expected).mean() > 0.999


def test_a_program_with_sides_tied_to_each_other_runs_on_whatever_takes_it(models, make_package, noise):
    side = torch.export.Dim("half", min=4, max=64) * 2
    network, data = export_rich(side, side)
    handle = make_package(data, "model.pt2", SupportsVariableTileSize=True)
    engine = Engine(device="cpu", precision="fp32", tile_height=48, tile_width=48, batch_size=2)
    tiles = noise(2, 3, 48, 48)
    with torch.no_grad():
        expected = network(torch.from_numpy(tiles).float()).argmax(dim=1).numpy()
    assert (models.load(handle, engine).classify(tiles, (0, 255)) == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("suffix", "edit", "message"),
    [
        ("weights_config.json", set_pickle, "is a pickle"),
        (
            "models/model.json",
            lambda p: first_node(p).update(target="torch.serialization.os.system"),
            "calls 'torch.serialization.os.system'",
        ),
        ("models/model.json", lambda p: first_node(p).update(target="torch.ops.aten.from_file.default"), "calls"),
        ("models/model.json", lambda p: first_node(p).update(target="_operator.methodcaller"), "calls"),
        ("models/model.json", lambda p: first_node(p).update(target="torch.ops.aten.__class__.__new__"), "calls"),
        ("models/model.json", lambda p: first_node(p).update(target="math.__loader__"), "calls"),
        (
            "models/model.json",
            lambda p: first_node(p)["inputs"].append({"name": "f", "arg": {"as_string": "/etc/passwd"}, "kind": 1}),
            "holds the text",
        ),
        *(
            (
                "models/model.json",
                lambda p, text=text: first_expression(p).update(expr_str=text),
                "more than arithmetic",
            )
            for text in (
                f"__import__('os').system('touch {CANARY}')",
                f"open('{CANARY}', 'w')",
                "().__class__",
                f"Symbol(\"open('{CANARY}','w')\")",
                "(lambda: 1)()",
                "s0 +",
            )
        ),
    ],
)
def test_what_is_not_data_is_refused_before_torch_sees_it(
    archive, models, make_package, tmp_path, monkeypatch, suffix, edit, message
):
    monkeypatch.chdir(tmp_path)
    path = rewrite(archive[1], tmp_path / "model.pt2", in_json(suffix, edit))
    handle = make_package(path, "model.pt2")
    with pytest.raises(ModelError, match=message):
        models.load(handle, Engine(device="cpu", precision="fp32"))
    assert not (tmp_path / CANARY).exists()


def test_sample_inputs_that_would_run_code_do_not(archive, models, make_package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = io.BytesIO()
    torch.save(((Trap(),), {}), trap)
    for content in (trap.getvalue(), pickle.dumps(Trap())):
        path = rewrite(archive[1], tmp_path / "model.pt2", lambda n, c, new=content: new if "sample_inputs" in n else c)
        with pytest.raises(ModelError):
            models.load(make_package(path, "model.pt2"), Engine(device="cpu", precision="fp32"))
    assert not (tmp_path / CANARY).exists()


def test_members_that_are_not_known_are_refused(archive, tmp_path):
    path = rewrite(archive[1], tmp_path / "model.pt2", lambda _, content: content)
    with zipfile.ZipFile(path, "a") as target:
        target.writestr("archive/data/constants/custom_obj_0", b"")
    with pytest.raises(ModelError, match="holds 'archive/data/constants/custom_obj_0'"):
        copy_safely(path)


def test_guards_are_left_out_of_the_copy(archive, tmp_path):
    path = rewrite(
        archive[1],
        tmp_path / "model.pt2",
        in_json("models/model.json", lambda p: p.update(guards_code=[f"open('{CANARY}', 'w')"])),
    )
    with zipfile.ZipFile(copy_safely(path)) as copy:
        (name,) = [n for n in copy.namelist() if n.endswith("models/model.json")]
        assert json.loads(copy.read(name))["guards_code"] == []
    np.testing.assert_equal((tmp_path / CANARY).exists(), False)
