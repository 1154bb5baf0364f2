from __future__ import annotations

import pytest

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine
from raster_analysis.models.choose import Choice, Subject, choose_precision, choose_runtime
from raster_analysis.models.machine import Machine
from raster_analysis.models.package import FileKind

BARE = Machine(openvino=False, torch=False, torch_cuda=False, onnx_cuda=False, cpu_bf16=None, cuda_bf16=False)
CPU = Machine(openvino=True, torch=True, torch_cuda=False, onnx_cuda=False, cpu_bf16="AMX", cuda_bf16=False)
GPU = Machine(openvino=True, torch=True, torch_cuda=True, onnx_cuda=True, cpu_bf16="AMX", cuda_bf16=True)
ONNX = Subject(FileKind.ONNX, is_detector=False)
TORCH = Subject(FileKind.EXPORTED, is_detector=False)
DETECTOR = Subject(FileKind.STATE_DICT, is_detector=True)


@pytest.mark.parametrize(
    ("subject", "machine", "device", "runtimes"),
    [
        (ONNX, BARE, "cpu", ("onnxruntime",)),
        (ONNX, CPU, "cpu", ("openvino", "onnxruntime")),
        (ONNX, GPU, "cuda", ("onnxruntime",)),
        (TORCH, CPU, "cpu", ("openvino", "torch")),
        (TORCH, GPU, "cuda", ("torch",)),
        (DETECTOR, CPU, "cpu", ("torch",)),
    ],
)
def test_auto_takes_the_fastest_runtime_that_is_there(subject, machine, device, runtimes):
    choice = choose_runtime(subject, Engine(), machine)
    assert (choice.device, choice.runtimes) == (device, runtimes)
    assert [reason.split(":")[0] for reason in choice.reasons] == [f"device {device}", f"runtime {runtimes[0]}"]


@pytest.mark.parametrize(
    ("runtime", "device", "machine", "precision"),
    [
        ("onnxruntime", "cpu", CPU, "fp32"),
        ("openvino", "cpu", CPU, "bf16"),
        ("openvino", "cpu", BARE, "fp32"),
        ("torch", "cuda", GPU, "bf16"),
        ("torch", "cuda:1", Machine(True, True, True, False, None, cuda_bf16=False), "fp16"),
    ],
)
def test_auto_takes_the_fastest_precision_in_hardware(runtime, device, machine, precision):
    found, reason = choose_precision(Engine(), runtime, Choice(device, (runtime,), ()), machine)
    assert found == precision
    assert reason.startswith(f"precision {precision}: ")


@pytest.mark.parametrize(
    ("subject", "engine", "message"),
    [
        (ONNX, Engine(device="cuda"), "ONNX Runtime finds no CUDA device here; use cpu or auto"),
        (TORCH, Engine(device="cuda:0"), "torch finds no CUDA device"),
        (ONNX, Engine(device="tpu"), "device 'tpu' is unknown"),
        (ONNX, Engine(device="cpu:1"), "device 'cpu:1' is unknown"),
        (ONNX, Engine(runtime="torch"), "torch cannot run a network of kind onnx on cpu; openvino or onnxruntime can"),
        (DETECTOR, Engine(runtime="openvino"), "cannot run a torchvision detector"),
        (ONNX, Engine(runtime="tensorrt"), "runtime 'tensorrt' cannot be used"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(subject, engine, message):
    with pytest.raises(ModelError, match=message):
        choose_runtime(subject, engine, CPU)


def test_a_precision_that_the_hardware_lacks_is_refused():
    with pytest.raises(ModelError, match="bf16 is not to be had from openvino on cpu; fp32 is"):
        choose_precision(Engine(precision="bf16"), "openvino", Choice("cpu", (), ()), BARE)
    with pytest.raises(ModelError, match="precision 'int8' is unknown"):
        choose_precision(Engine(precision="int8"), "openvino", Choice("cpu", (), ()), CPU)
