"""Weights are recognised by their bytes; nothing here is ever loaded, which a canary file proves."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dlpk.pickles import UNKNOWN_NAME, harmful, imports_of
from dlpk.weights import WeightsKind, identify, identify_path, is_native_code


class Calls:
    """Pickles to a call of any function, as an attacker's object does."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def zipped(pickled: bytes) -> bytes:
    """Put a pickle into the archive that torch writes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def look(data: bytes, name: str = "m.pt"):
    return identify(io.BytesIO(data), name)


# By hand, so that the test does not depend on these modules: `cmodule\nname\n(...)R.`
RCE = {
    "w01": ("posix", "system"),
    "w02": ("builtins", "exec"),
    "w03": ("runpy", "run_path"),
    "w04": ("timeit", "timeit"),
    "w05": ("torch.utils.collect_env", "run"),
    "w06": ("numpy.testing._private.utils", "runstring"),
    "w07": ("cProfile", "run"),
}


@pytest.mark.parametrize("case", RCE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_w01_to_w07_zipped_pickles_that_call_are_found(case, protocol):
    module, name = RCE[case]
    if protocol == 4:
        texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() + b"\x94" for text in (module, name))
        body = b"\x80\x04" + texts + b"\x93\x94\x8c\x01x\x85R."
    else:
        body = b"\x80\x02" * (protocol == 2) + f"c{module}\n{name}\n".encode() + b"(Vx\ntR."
    found = look(zipped(body))
    assert (found.kind, found.runs) == (WeightsKind.PICKLE, (f"{module}.{name}",))


def test_w08_a_legacy_file_that_calls_is_found_in_any_of_its_pickles(tmp_path):
    canary = tmp_path / "canary"
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts.append(pickle.dumps({"w": Calls(Path.touch, canary)}, 2))
    found = look(b"".join(parts) + b"\0" * 100)
    assert found.kind is WeightsKind.PICKLE
    assert found.runs
    assert not canary.exists()


def test_w09_broken_and_compressed_pickles_are_refused_unread(tmp_path):
    canary = tmp_path / "canary"
    payload = pickle.dumps(Calls(Path.touch, canary))
    broken = look(payload[:-1] + b"\xff\xff")
    assert broken.kind is WeightsKind.PICKLE
    assert broken.faults
    assert look(gzip.compress(payload), "m.pkl.gz").kind is WeightsKind.COMPRESSED
    assert look(zipped(payload[:-1] + b"\xff")).faults
    assert not canary.exists()


def test_imports_whose_names_are_computed_count_as_harmful():
    strings = b"\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93."
    names = imports_of(io.BytesIO(b"\x80\x04" + strings))
    assert UNKNOWN_NAME in harmful(names)
    assert harmful(imports_of(io.BytesIO(b"\x80\x02\x82\x01."))) == (UNKNOWN_NAME,)


def test_names_are_followed_through_the_memo():
    body = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940" + b"0h\x00h\x01\x93."
    assert imports_of(io.BytesIO(body)) == ("os.system",)


def test_optimised_pickles_are_read_too():
    body = pickletools.optimize(pickle.dumps(Calls(eval, "1"), 4))
    assert imports_of(io.BytesIO(body)) == ("builtins.eval",)


@pytest.mark.parametrize(
    "name", ["torch.load", "torch.hub.load", "torch._utils_internal.x", "os.Tensor", "builtins.eval"]
)
def test_only_tensors_and_plain_containers_are_harmless(name):
    assert harmful((name,)) == (name,)


@pytest.fixture(scope="module")
def torch_files(tmp_path_factory):
    """Files that a real torch wrote, in a process of their own."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("torch")
    script = """
import os, sys, warnings, torch
warnings.simplefilter("ignore")
torch.set_num_threads(1)
class Bad:
    def __reduce__(self): return os.system, ("touch canary",)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
state = {**net.state_dict(), "half": torch.zeros(2).bfloat16(), "epoch": 3, "names": ["a"], "shape": torch.Size([1])}
torch.save(state, "state.pt")
torch.save(state, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(net, "module.pt")
torch.save({"w": torch.zeros(2), "bad": Bad()}, "bad.pt")
torch.save({"w": torch.zeros(2), "bad": Bad()}, "bad_legacy.pt", _use_new_zipfile_serialization=False)
torch.jit.script(net).save("script.pt")
torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 8, 8),)), "program.pt2")
"""
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=120, capture_output=True)
    return folder


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("state.pt", WeightsKind.STATE_DICT),
        ("legacy.pt", WeightsKind.STATE_DICT),
        ("module.pt", WeightsKind.PICKLE),
        ("bad.pt", WeightsKind.PICKLE),
        ("bad_legacy.pt", WeightsKind.PICKLE),
        ("script.pt", WeightsKind.TORCHSCRIPT),
        ("program.pt2", WeightsKind.EXPORTED_PROGRAM),
    ],
)
def test_files_of_torch_are_recognised(torch_files, name, kind):
    found = identify_path(torch_files / name)
    assert (found.kind, found.faults) == (kind, ())
    assert found.holds_module == (name == "module.pt")
    assert ("posix.system" in found.runs) == name.startswith("bad")
    assert not (torch_files / "canary").exists()


def test_onnx_is_recognised_whatever_its_name(onnx_bytes):
    found = look(onnx_bytes, "model.bin")
    assert (found.kind, found.faults) == (WeightsKind.ONNX, ())


def test_onnx_that_is_cut_off_is_damaged(onnx_bytes):
    found = look(onnx_bytes[:-3], "net.onnx")
    assert found.kind is WeightsKind.ONNX
    assert found.faults


@pytest.mark.parametrize("location", ["net.onnx.data", "../../etc/passwd", "/proc/self/environ", "/dev/zero"])
def test_w14_external_data_of_onnx_is_found(onnx_bytes, location):
    import onnx

    model = onnx.load_from_string(onnx_bytes)
    (tensor,) = model.graph.initializer
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    tensor.data_location = onnx.TensorProto.EXTERNAL
    assert look(model.SerializeToString(), "net.onnx").external_files == (location,)


def safetensors(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_sound_safetensors_are_recognised():
    found = look(safetensors({"__metadata__": {"a": "b"}, "x": tensor(0, 8), "y": tensor(8, 9, (1,), "U8")}, b"x" * 9))
    assert (found.kind, found.faults) == (WeightsKind.SAFETENSORS, ())


@pytest.mark.torch
def test_safetensors_as_their_library_writes_them_are_sound(tmp_path):
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    arrays = {
        "a": numpy.zeros((2, 3), "float16"),
        "b": numpy.zeros((), "int64"),
        "empty": numpy.zeros((0, 4), "float32"),
    }
    library.save_file(arrays, tmp_path / "m.safetensors")
    assert identify_path(tmp_path / "m.safetensors").faults == ()


@pytest.mark.parametrize(
    "data",
    [
        safetensors({}, length=100 * 2**20),
        safetensors({"x": tensor(0, 8), "y": tensor(4, 12)}, bytes(12)),
        safetensors({"x": tensor(0, 8), "y": tensor(12, 20)}, bytes(20)),
        safetensors({"x": tensor(0, 8)}, bytes(4)),
        safetensors({"x": tensor(0, 8)}, bytes(12)),
        safetensors({"x": tensor(0, 8, (10**12,))}, bytes(8)),
        safetensors({"x": tensor(8, 0)}, bytes(8)),
        safetensors({"x": tensor(0, 8, (-2,))}, bytes(8)),
        safetensors({"x": tensor(0, 8, dtype="F33")}, bytes(8)),
        safetensors(b'{"x": {}, "x": {}}'),
        safetensors(b"{"),
        b"short",
    ],
)
def test_w13_headers_of_safetensors_that_lie_are_refused(data):
    found = look(data, "m.safetensors")
    assert found.kind is WeightsKind.SAFETENSORS
    assert found.faults


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "m.h5", WeightsKind.HDF5),
        (b"\x7fELF" + bytes(50), "weights.bin", WeightsKind.NATIVE_LIBRARY),
        (b"ptrt" + bytes(50), "m.bin", WeightsKind.TENSORRT),
        (b"version https://git-lfs.github.com/spec/v1\n", "m.onnx", WeightsKind.GIT_LFS),
        (b"no weights at all", "m.weights", WeightsKind.UNKNOWN),
        (b"", "m.pt", WeightsKind.UNKNOWN),
    ],
)
def test_w17_other_files_are_recognised(data, name, kind):
    assert look(data, name).kind is kind


def test_keras_archives_and_saved_models_are_recognised(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    assert look(out.getvalue(), "m.keras").kind is WeightsKind.KERAS
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert identify_path(tmp_path).kind is WeightsKind.SAVED_MODEL


@pytest.mark.parametrize("name", ["a.so", "a.so.1", "A.DLL", "x/y.pyd", "m.plan", "m.engine"])
def test_machine_code_is_known_by_its_name(name):
    assert is_native_code(name)
    assert not is_native_code("solar.onnx")
