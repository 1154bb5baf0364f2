"""Networks on ONNX Runtime: the runtime that is always there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from raster_analysis.errors import ModelError
from raster_analysis.models.head import Head, check_finite
from raster_analysis.models.network import Arrays, NetworkPlan, NotConvertible, OutputFacts, bytes_only, fill_batch

_DEVICE_FILES = ("nvidia[0-9]*", "dxg")  # plain Linux; Windows' Linux
_FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def has_cuda() -> bool:
    """Return whether this build of ONNX Runtime can use a CUDA device and there is one."""
    # The build alone says nothing of the machine, and without a device ONNX Runtime falls back to the CPU in silence.
    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return built and any(any(Path("/dev").glob(pattern)) for pattern in _DEVICE_FILES)


class OnnxNetwork:
    """An ONNX file in ONNX Runtime, always in the precision of the file."""

    def __init__(self, path: Path, plan: NetworkPlan) -> None:
        self.plan = plan
        self._session = _open_session(path, plan)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        name = plan.input_name or self._inputs[0]
        kind = next(i.type for i in self._session.get_inputs() if i.name == name)
        if not plan.takes_bytes and kind not in _FLOAT_TYPES:
            raise ModelError(f"input {name!r} of the network is a {kind}; pixels can be given as float or uint8")
        self._input_type = np.uint8 if plan.takes_bytes else _FLOAT_TYPES[kind]
        self._names = [output.name for output in self._session.get_outputs()]

    def outputs(self) -> dict[str, OutputFacts]:
        """Return the outputs' shapes and types, seen by running empty tiles."""
        arrays = self._run(np.zeros(self.plan.tile_shape, np.uint8))
        return {n: OutputFacts(a.shape, a.dtype.kind in "iu") for n, a in zip(self._names, arrays, strict=True)}

    def tensors(self, tiles: npt.NDArray[np.generic]) -> list[Arrays]:
        """Return all outputs of the batch."""
        return [dict(zip(self._names, self._run(tiles), strict=True))]

    def pixels(self, tiles: npt.NDArray[np.generic], output: str, head: Head) -> npt.NDArray[np.generic]:
        """Return what the head makes of an output's scores."""
        scores = self._run(tiles)[self._names.index(output)]
        check_finite(output, scores)
        return head.apply(scores)[: len(tiles)]

    def _run(self, tiles: npt.NDArray[np.generic]) -> list[npt.NDArray[Any]]:
        filled = fill_batch(tiles, self.plan)
        fed: npt.NDArray[Any] = bytes_only(filled) if self.plan.takes_bytes else self.plan.normalisation.apply(filled)
        fed = fed.astype(self._input_type, copy=False)
        given = self._share_out(fed)
        try:
            arrays: list[npt.NDArray[Any]] = self._session.run(None, given)
        except Exception as error:
            raise ModelError(f"the network failed on tiles of shape {fed.shape}: {_first_line(error)}") from error
        return arrays

    def _share_out(self, fed: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return what each input is given: one takes all bands, two of two dates a half of them each."""
        if not self.plan.halves:
            return {self.plan.input_name or self._inputs[0]: self._arrange(fed)}
        dates = [self._arrange(half) for half in np.split(fed, 2, axis=1)]
        return {name: dates[half] for name, half in zip(self._inputs, self.plan.halves, strict=True)}

    def _arrange(self, fed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.plan.layout == "NHWC":
            fed = np.moveaxis(fed, 1, 3)
        return np.ascontiguousarray(fed[0] if self.plan.input_rank == 3 else fed)


def _open_session(path: Path, plan: NetworkPlan) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = plan.threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    # A resumed job must give the same bytes as an undisturbed one.
    options.use_deterministic_compute = True
    # Errors come as exceptions; the library's warnings are for authors of networks.
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_providers(plan.device))
    except Exception as error:
        raise NotConvertible(f"ONNX Runtime cannot open {path.name!r}: {_first_line(error)}") from error


def _providers(device: str) -> list[Any]:
    if not device.startswith("cuda"):
        return ["CPUExecutionProvider"]
    index = int(device.partition(":")[2] or 0)
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
