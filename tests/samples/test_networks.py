from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from centers import detection_loss, stack_targets  # noqa: E402
from export import export_onnx  # noqa: E402
from networks import STRIDE, Detector, DetectorExport, Segmenter, decode_boxes  # noqa: E402


def test_targets_decode_to_the_boxes_they_were_drawn_from() -> None:
    boxes = np.array([[10.0, 20.0, 30.0, 50.0], [70.0, 66.0, 90.0, 80.0]])
    targets = stack_targets([(boxes, np.array([0, 1]))], classes=2, side=96)
    assert targets.heat.eq(1).sum() == 2
    for kind, box in enumerate(boxes):
        row, col = np.argwhere(targets.heat[0, kind].numpy() == 1)[0]
        cx, cy, width, height = targets.boxes[0, :, row, col].tolist()
        assert [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2] == pytest.approx(box.tolist())


def test_a_perfect_answer_costs_far_less_than_an_empty_one() -> None:
    boxes = np.array([[10.0, 20.0, 30.0, 50.0]])
    targets = stack_targets([(boxes, np.array([0]))], classes=1, side=64)
    logits = torch.where(targets.heat.eq(1), 8.0, -8.0)
    cells = 64 // STRIDE
    steps = torch.arange(cells) + 0.5
    offsets = torch.stack([targets.boxes[:, 0] / STRIDE - steps, targets.boxes[:, 1] / STRIDE - steps[:, None]], dim=1)
    sizes = (targets.boxes[:, 2:].clamp(min=1) / STRIDE).log()
    perfect = detection_loss(logits, torch.cat([offsets, sizes], dim=1), targets)
    empty = detection_loss(torch.full_like(logits, -8.0), torch.zeros(1, 4, cells, cells), targets)
    assert perfect < 0.05
    assert empty > 2


def test_decoded_boxes_sit_on_their_cells() -> None:
    decoded = decode_boxes(torch.zeros(1, 4, 3, 5))
    assert decoded[0, :, 2, 4].tolist() == [4.5 * STRIDE, 2.5 * STRIDE, STRIDE, STRIDE]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 160)])
def test_exports_give_the_networks_answer_for_any_batch_and_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    count, rows, cols = shape
    picture = torch.randn(count, 4, rows, cols)
    for network, output in ((Segmenter(4, 7).eval(), "pixels"), (DetectorExport(Detector(4, 2)).eval(), "objects")):
        path = tmp_path / "model.onnx"
        export_onnx(network, path, bands=4, output=output)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,) = session.run([output], {"image": picture.numpy()})
        with torch.inference_mode():
            expected = network(picture).numpy()
        assert given.shape == expected.shape
        np.testing.assert_allclose(given, expected, atol=2e-4)
