"""Networks on torch: what OpenVINO cannot take, and everything on CUDA."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from raster_analysis.errors import ModelError
from raster_analysis.models.head import Head, check_finite
from raster_analysis.models.network import Arrays, NetworkPlan, OutOfMemory, OutputFacts, bytes_only, fill_batch

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What torch converts on the device; the rest becomes float32 before it is copied there.
_DEVICE_TYPES = ("uint8", "int8", "int16", "int32", "uint16", "float32")


def has_cuda() -> bool:
    """Return whether torch sees a CUDA device."""
    return torch.cuda.is_available()


def cuda_has_bf16() -> bool:
    """Return whether the CUDA device computes bf16 in hardware."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


class TorchNetwork:
    """A torch module on a device; channels last, and autocast for reduced precision."""

    def __init__(self, module: Any, plan: NetworkPlan, *, takes_images: bool = False) -> None:
        """Take a module in inference mode; `takes_images` for torchvision's detectors, which take a list of images."""
        self.plan = plan
        self._device = torch.device(plan.device)
        self._takes_images = takes_images
        memory_format = torch.contiguous_format if takes_images else torch.channels_last
        self._module = module.to(device=self._device, memory_format=memory_format)
        self._gain = torch.tensor(plan.normalisation.gain, device=self._device)[:, None, None]
        self._bias = torch.tensor(plan.normalisation.bias, device=self._device)[:, None, None]

    def outputs(self) -> dict[str, OutputFacts]:
        """Return the outputs' shapes and types, seen by running empty tiles; none for a list of images."""
        if self._takes_images:
            return {}
        with self._running():
            named = _named(self._forward(np.zeros(self.plan.tile_shape, np.uint8)))
        return {n: OutputFacts(tuple(t.shape), not t.is_floating_point()) for n, t in named.items()}

    def tensors(self, tiles: npt.NDArray[np.generic]) -> list[Arrays]:
        """Return all outputs, on the host."""
        with self._running():
            result = self._forward(tiles)
            if self._takes_images:
                return [{name: _to_host(tensor) for name, tensor in image.items()} for image in result]
            return [{name: _to_host(tensor) for name, tensor in _named(result).items()}]

    def pixels(self, tiles: npt.NDArray[np.generic], output: str, head: Head) -> npt.NDArray[np.generic]:
        """Return what the head, computed on the device, makes of an output's scores."""
        with self._running():
            scores = _named(self._forward(tiles))[output].float()
            check_finite(output, _to_host(scores.mean()), tuple(scores.shape))
            result = _to_host(apply_head(scores, head))[: len(tiles)]
        return result if head.probabilities else result.astype(head.label_type, copy=False)

    def _forward(self, tiles: npt.NDArray[np.generic]) -> Any:
        fed = self._normalise(fill_batch(tiles, self.plan))
        try:
            return self._module(*self._arguments(fed))
        except torch.cuda.OutOfMemoryError as error:
            # What the failed batch left in torch's cache is needed for the smaller one.
            torch.cuda.empty_cache()
            raise OutOfMemory(f"the device has no memory for {len(fed)} tiles of {tuple(fed.shape[1:])}") from error
        except (RuntimeError, ValueError, AssertionError) as error:
            shape = tuple(fed.shape)
            raise ModelError(f"the network failed on tiles of shape {shape}: {_first_line(error)}") from error

    def _arguments(self, fed: torch.Tensor) -> tuple[Any, ...]:
        """Return what the module is called with: a batch, a list of images, or one batch for each of two dates."""
        if self._takes_images:
            return (list(fed),)
        if not self.plan.halves:
            return (fed,)
        dates = torch.chunk(fed, 2, dim=3 if self.plan.layout == "NHWC" else 1)
        return tuple(dates[half] for half in self.plan.halves)

    def _normalise(self, tiles: npt.NDArray[np.generic]) -> torch.Tensor:
        if self.plan.takes_bytes:
            fed = self._to_device(bytes_only(tiles))
        else:
            fed = self._to_device(tiles).float()
            if not self.plan.normalisation.is_identity:
                fed = fed * self._gain + self._bias
        if self.plan.layout == "NHWC":
            return fed.permute(0, 2, 3, 1).contiguous()
        return fed if self._takes_images else fed.contiguous(memory_format=torch.channels_last)

    def _to_device(self, tiles: npt.NDArray[np.generic]) -> torch.Tensor:
        usable = tiles if tiles.dtype.name in _DEVICE_TYPES else tiles.astype(np.float32)
        host = torch.from_numpy(np.require(usable, requirements=["C", "W"]))
        return host.to(self._device)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        if self.plan.threads:
            torch.set_num_threads(self.plan.threads)
        kind = _AUTOCAST.get(self.plan.precision)
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            yield


def apply_head(scores: torch.Tensor, head: Head) -> torch.Tensor:
    """Return labels or probabilities of float scores, as `Head.apply` does."""
    planes = scores.movedim(head.channel_axis, 1)
    if head.channels == 1:
        return _binary(planes, head)
    first = 1 if head.skip_background else 0
    chosen = planes[:, first:]
    if not head.probabilities:
        labels = chosen.argmax(dim=1) + first
        return labels.to(torch.uint8 if head.channels <= 256 else torch.int32)
    if head.activation == "softmax":
        chosen = chosen.softmax(dim=1)
    elif head.activation == "sigmoid":
        chosen = chosen.sigmoid()
    if not first:
        return chosen
    total = chosen.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.cat([torch.zeros_like(chosen[:, :1]), chosen / total], dim=1)


def _binary(planes: torch.Tensor, head: Head) -> torch.Tensor:
    if not head.probabilities:
        return (planes[:, 0] > head.cut).to(torch.uint8)
    positive = planes if head.activation == "none" else planes.sigmoid()
    return torch.cat([1 - positive, positive], dim=1)


def _named(result: Any) -> dict[str, torch.Tensor]:
    """Return a network's result by name; plain tensors are called `output`, those of a tuple by position."""
    if isinstance(result, torch.Tensor):
        return {"output": result}
    items = result.items() if isinstance(result, dict) else enumerate(result)
    named = {str(name): value for name, value in items if isinstance(value, torch.Tensor)}
    if not named:
        raise ModelError(f"the network gives a {type(result).__name__} without tensors")
    return named


def _to_host(tensor: torch.Tensor) -> npt.NDArray[np.generic]:
    kept = tensor.float() if tensor.dtype in _AUTOCAST.values() else tensor
    array: npt.NDArray[np.generic] = kept.cpu().numpy()
    return array


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
