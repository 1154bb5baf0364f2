from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pytest

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
RUNTIMES = ["openvino", "torch"]


class Tiny(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.last = torch.nn.Conv2d(8, classes, 1)

    def forward(self, tiles):
        return self.last(torch.relu(self.first(tiles)))


@pytest.fixture
def tiny():
    torch.manual_seed(5)
    return Tiny().eval()


def exported(module, *, batch=2, dynamic=True):
    axes = {0: torch.export.Dim("n", min=1, max=64)} if dynamic else None
    program = torch.export.export(module, (torch.zeros(batch, 3, 32, 32),), dynamic_shapes=(axes,) if axes else None)
    data = io.BytesIO()
    torch.export.save(program, data)
    return data.getvalue()


def state_dict(module):
    data = io.BytesIO()
    torch.save(module.state_dict(), data)
    return data.getvalue()


def safetensors(module):
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})


def plain_labels(module, tiles, *, scale=1.0):
    with torch.no_grad():
        return module(torch.from_numpy(tiles.astype(np.float32)) * scale).argmax(dim=1).numpy()


def agreement(a, b):
    return float((a == b).mean())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_an_exported_program_gives_the_labels_of_plain_torch(models, make_package, noise, tiny, runtime, dtype):
    scaled = {"Version": 1, "Input": {"Scale": 1 / 255}}
    handle = make_package(exported(tiny), "model.pt2", RasterAnalysis=scaled)
    info = models.describe(handle)
    assert (info.fixed_batch, info.values) == (None, (0, 1, 2))
    tiles = noise(3, 3, 32, 32, dtype=dtype)
    model = models.load(handle, Engine(device="cpu", runtime=runtime, precision="fp32"))
    assert agreement(model.classify(tiles, (0, 255)), plain_labels(tiny, tiles, scale=1 / 255)) > 0.999


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_exported_program_with_a_fixed_batch_is_filled_up(models, make_package, noise, tiny, runtime):
    handle = make_package(exported(tiny, dynamic=False), "model.pt2")
    assert models.describe(handle).fixed_batch == 2
    tiles = noise(3, 3, 32, 32)
    model = models.load(handle, Engine(device="cpu", runtime=runtime, precision="fp32", batch_size=3))
    assert agreement(model.classify(tiles, (0, 255)), plain_labels(tiny, tiles)) > 0.999


@pytest.mark.torchvision
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_unet_from_its_weights_gives_the_labels_of_the_library_itself(models, make_package, noise, runtime):
    library = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(6)
    arguments = {"encoder_name": "resnet18", "classes": 4, "in_channels": 3, "decoder_channels": [32, 16, 8, 8, 8]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = library.create_model("unet", encoder_weights=None, **arguments).eval()
    architecture = {"Library": "segmentation_models_pytorch", "Name": "unet", "Arguments": arguments}
    handle = make_package(
        safetensors(network),
        "model.safetensors",
        ImageHeight=64,
        ImageWidth=64,
        SupportsVariableTileSize=True,
        Classes=[{"Value": v, "Name": str(v)} for v in (0, 3, 5, 9)],
        RasterAnalysis={"Version": 1, "Architecture": architecture, "TileMultiple": 32, "Input": {"Scale": 1 / 255}},
    )
    tiles = noise(2, 3, 96, 64)
    engine = Engine(device="cpu", runtime=runtime, precision="fp32", tile_height=96, tile_width=64, batch_size=2)
    labels = models.load(handle, engine).classify(tiles, (0, 255))
    assert models.describe(handle).values == (0, 3, 5, 9)
    assert agreement(labels, plain_labels(network, tiles, scale=1 / 255)) > 0.999


@pytest.mark.torchvision
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_segmentation_network_of_torchvision_runs_from_a_state_dict(models, make_package, noise, runtime):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(7)
    name, arguments = "lraspp_mobilenet_v3_large", {"num_classes": 3}
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, **arguments).eval()
    architecture = {"Library": "torchvision", "Name": name, "Arguments": arguments}
    handle = make_package(
        state_dict(network),
        "model.pth",
        ImageHeight=64,
        ImageWidth=64,
        RasterAnalysis={"Version": 1, "Architecture": architecture, "Input": {"Scale": 1 / 255}},
    )
    tiles = noise(2, 3, 64, 64)
    model = models.load(handle, Engine(device="cpu", runtime=runtime, precision="fp32", batch_size=2))
    with torch.no_grad():
        expected = network(torch.from_numpy(tiles).float() / 255)["out"].argmax(dim=1).numpy()
    assert agreement(model.classify(tiles, (0, 255)), expected) > 0.999


def detector_package(make_package, name, **changes):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(8)
    arguments = {"num_classes": 3, "min_size": 64, "max_size": 64, "box_score_thresh": 0.0, "box_detections_per_img": 8}
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, **arguments).eval()
    architecture = {"Library": "torchvision", "Name": name, "Arguments": arguments}
    keys = {
        "ModelType": "ObjectDetection",
        "ImageHeight": 64,
        "ImageWidth": 64,
        "Classes": [{"Value": v, "Name": str(v)} for v in (1, 2)],
        "RasterAnalysis": {"Version": 1, "Architecture": architecture},
    }
    return network, make_package(safetensors(network), "model.safetensors", **(keys | changes))


@pytest.mark.torchvision
def test_a_faster_rcnn_gives_the_boxes_of_torchvision_itself(models, make_package, noise):
    network, handle = detector_package(make_package, "fasterrcnn_mobilenet_v3_large_320_fpn")
    info = models.describe(handle)
    assert [a.name for a in info.arguments] == [
        "padding", "batch_size", "threshold", "nms_overlap", "exclude_pad_detections"
    ]  # fmt: skip
    tiles = noise(2, 3, 64, 64)
    model = models.load(handle, Engine(threshold=0.3, nms_overlap=1.0))
    assert (model.engine.runtime, model.engine.precision) == ("torch", "fp32")
    with torch.no_grad():
        expected = network([torch.from_numpy(tile).float() / 255 for tile in tiles])
    found = model.detect(tiles, (0, 255))
    assert sum(len(part) for part in found)
    for ours, theirs in zip(found, expected, strict=True):
        strong = theirs["scores"] > 0.3
        np.testing.assert_allclose(ours.scores, theirs["scores"][strong].numpy(), atol=1e-5)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs["boxes"][strong].numpy(), atol=1e-2)
        np.testing.assert_array_equal(ours.labels, theirs["labels"][strong].numpy() - 1)


@pytest.mark.torchvision
def test_a_mask_rcnn_gives_an_outline_for_each_box(models, make_package, noise):
    _, handle = detector_package(make_package, "maskrcnn_resnet50_fpn", ModelType="InstanceDetection")
    info = models.describe(handle)
    assert info.instances
    assert "return_bboxes" in [argument.name for argument in info.arguments]
    (found,) = models.load(handle, Engine(threshold=0.0, nms_overlap=0.5)).detect(noise(1, 3, 64, 64), (0, 255))
    assert len(found.outlines) == len(found)


def test_settling_says_what_was_compared(models, make_package, noise, tiny):
    handle = make_package(exported(tiny), "model.pt2")
    engine, reasons = models.settle(handle, Engine(device="cpu"), noise(4, 3, 32, 32), (0, 255))
    assert engine.runtime == "openvino"
    assert engine.precision in ("fp32", "bf16")
    assert any(reason.startswith(f"precision {engine.precision}: ") for reason in reasons)
    assert models.load(handle, engine) is models.load(handle, engine)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda net: {}, r"4 tensors missing \(first: first.bias\)"),
        (lambda net: net | {"other": torch.zeros(2)}, r"1 tensors too many \(first: other\)"),
        (lambda net: net | {"last.bias": torch.zeros(9)}, r"1 tensors of another shape \(first: last.bias\)"),
        (lambda net: net | {"last.bias": torch.full((3,), torch.nan)}, "last.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_first_fault(tiny, weights, message):
    from raster_analysis.models.torch_weights import fill

    with pytest.raises(ModelError, match=message):
        fill(tiny, weights(dict(tiny.state_dict())), "model.pth")


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (None, "Name the network in RasterAnalysis.Architecture"),
        ({"Library": "torchvision", "Name": "no_such_network"}, "torchvision cannot build 'no_such_network'"),
        (
            {"Library": "torchvision", "Name": "resnet18", "Arguments": {"weights": "DEFAULT"}},
            "asks for weights: weights come from the package only",
        ),
        (
            {"Library": "torchvision", "Name": "resnet18", "Arguments": {"num_classes": 10**9}},
            "num_classes 1000000000 is more than 65536",
        ),
    ],
)
def test_architectures_that_cannot_be_built_are_refused(models, make_package, tiny, architecture, message):
    extension = {"Version": 1, "Architecture": architecture} if architecture else None
    handle = make_package(
        state_dict(tiny), "model.pth", RasterAnalysis=extension, ModelType="ObjectClassification",
        CropSizeFixed=1, BlackenAroundFeature=0,
    )  # fmt: skip
    with pytest.raises(ModelError, match=message):
        models.load(handle, Engine(device="cpu"))


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


def test_a_pickle_that_would_run_code_does_not(models, make_package, tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    data = io.BytesIO()
    torch.save({"state_dict": dict(tiny.state_dict()), "trap": Trap()}, data)
    architecture = {"Library": "torchvision", "Name": "resnet18", "Arguments": {}}
    for content in (data.getvalue(), pickle.dumps(Trap())):
        handle = make_package(content, "model.pth", RasterAnalysis={"Version": 1, "Architecture": architecture})
        with pytest.raises(ModelError):
            models.load(handle, Engine(device="cpu"))
    assert not (tmp_path / "trap-was-sprung").exists()


def test_torchscript_is_refused_with_the_way_out(models, make_package, tiny):
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(tiny), data)
    with pytest.raises(ModelError, match=r"TorchScript|code"):
        models.describe(make_package(data.getvalue(), "model.pt"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_cuda_gives_the_labels_of_the_cpu(models, make_package, noise, tiny, precision):
    handle = make_package(exported(tiny), "model.pt2", RasterAnalysis={"Version": 1, "Input": {"Scale": 1 / 255}})
    tiles = noise(4, 3, 32, 32)
    model = models.load(handle, Engine(device="cuda", precision=precision))
    assert agreement(model.classify(tiles, (0, 255)), plain_labels(tiny, tiles, scale=1 / 255)) > 0.97
