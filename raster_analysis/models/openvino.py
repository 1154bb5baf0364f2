"""Networks on OpenVINO: normalisation, type conversion and the choice of the class run inside the graph."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from raster_analysis.errors import ModelError
from raster_analysis.models.head import Head, check_finite
from raster_analysis.models.network import Arrays, NetworkPlan, NotConvertible, OutputFacts, bytes_only, fill_batch

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
# Raster types that the graph takes as they are; others are converted to float32 before.
_ELEMENT_TYPES = {
    "uint8": openvino.Type.u8,
    "int8": openvino.Type.i8,
    "uint16": openvino.Type.u16,
    "int16": openvino.Type.i16,
    "float32": openvino.Type.f32,
}


def cpu_precisions() -> frozenset[str]:
    """Return the precisions that this CPU computes in hardware."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {"FP32": "fp32", "BF16": "bf16", "FP16": "fp16"}
    return frozenset(names[c] for c in capabilities if c in names)


class OpenVinoNetwork:
    """A network compiled for one tile shape, one raster type and one head at a time."""

    def __init__(self, source: Path | Any, plan: NetworkPlan, *, output_names: tuple[str, ...] = ()) -> None:
        """Take an ONNX file or a torch exported program, whose outputs have no names of their own."""
        self.plan = plan
        self._core = openvino.Core()
        self._graph = _read(self._core, source, plan)
        self._names = output_names or tuple(_name(output, i) for i, output in enumerate(self._graph.outputs))
        self._compiled: tuple[object, Any] = (None, None)

    def outputs(self) -> dict[str, OutputFacts]:
        """Return the outputs' shapes and types as the graph states them for static input."""
        return dict(zip(self._names, map(_facts, self._graph.outputs), strict=True))

    def tensors(self, tiles: npt.NDArray[np.generic]) -> list[Arrays]:
        """Return all outputs of the batch."""
        arrays = self._run(tiles, "", None)
        return [dict(zip(self._names, arrays, strict=True))]

    def pixels(self, tiles: npt.NDArray[np.generic], output: str, head: Head) -> npt.NDArray[np.generic]:
        """Return what the head, compiled into the graph, makes of an output's scores."""
        result, mean = self._run(tiles, output, head)
        check_finite(output, mean, (self.plan.batch, head.channels, *result.shape[-2:]))
        return result[: len(tiles)]

    def _run(self, tiles: npt.NDArray[np.generic], output: str, head: Head | None) -> list[npt.NDArray[Any]]:
        fed = fill_batch(tiles, self.plan)
        if self.plan.takes_bytes:
            fed = bytes_only(fed)
        elif self._normalises_here(fed.dtype):
            fed = self.plan.normalisation.apply(fed)
        elif fed.dtype.name not in _ELEMENT_TYPES:
            fed = fed.astype(np.float32)
        if self.plan.input_rank == 3:
            fed = fed[0]
        request = self._request(fed.dtype.name, output, head)
        try:
            request.infer([np.ascontiguousarray(fed)], share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise ModelError(f"the network failed on tiles of shape {fed.shape}: {_cause(error)}") from error
        # Copies: the tensors belong to the request and are written again by the next batch.
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def _normalises_here(self, data_type: np.dtype[Any]) -> bool:
        """Return whether pixels are normalised before the graph.

        With a reduced precision OpenVINO rounds its input to it first, which leaves 8 of the 16 bits
        of a pixel (measured: labels of 36 % of such pixels changed). Bytes survive that.
        """
        return self.plan.precision != "fp32" and data_type.itemsize > 1 and not self.plan.normalisation.is_identity

    def _request(self, data_type: str, output: str, head: Head | None) -> Any:
        """Return the compiled graph. Only the last is kept: a job has one raster type and one head."""
        key = (data_type, output, head)
        if self._compiled[0] != key:
            # Let go of the old graph first, so that two are never held at once.
            self._compiled = (None, None)
            normalise = not self.plan.takes_bytes and not self._normalises_here(np.dtype(data_type))
            graph = _feed_pixels(self._graph.clone(), self.plan, data_type, normalise=normalise)
            if head is not None:
                graph = _append_head(graph, self._names.index(output), head)
            self._compiled = (key, self._compile(graph))
        return self._compiled[1]

    def _compile(self, graph: Any) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.plan.precision],
            "PERFORMANCE_HINT": "LATENCY",
            # One batch at a time over all threads: the pipeline overlaps reading and writing, not batches.
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.plan.threads,
        }
        try:
            return self._core.compile_model(graph, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise NotConvertible(f"OpenVINO cannot compile the network: {_cause(error)}") from error


def _read(core: Any, source: Path | Any, plan: NetworkPlan) -> Any:
    try:
        graph = core.read_model(source) if isinstance(source, Path) else _convert(source)
        if plan.halves:
            graph = _join_dates(graph, plan)
        graph.reshape({graph.inputs[0]: _network_shape(plan)})
    except RuntimeError as error:
        raise NotConvertible(f"OpenVINO cannot read the network: {_cause(error)}") from error
    return graph


def _convert(program: Any) -> Any:
    try:
        return openvino.convert_model(program)
    except Exception as error:
        # Its frontend runs torch's own passes, which fail in ways of their own (assertions, type errors).
        raise NotConvertible(f"OpenVINO cannot convert the network: {error!s:.300}") from error


def _join_dates(graph: Any, plan: NetworkPlan) -> Any:
    """Return the graph with one input of all bands, whose halves go to the two that it has."""
    entries = graph.get_parameters()
    both = ops.parameter(openvino.PartialShape(_network_shape(plan)), entries[0].get_element_type())
    axis = ops.constant(np.int64(1 if plan.layout == "NCHW" else 3))
    dates = ops.split(both, axis, 2)
    for half, entry in zip(plan.halves, entries, strict=True):
        entry.output(0).replace(dates.output(half))
    joined = openvino.Model(graph.get_results(), [both], "dates")
    joined.validate_nodes_and_infer_types()
    return joined


def _network_shape(plan: NetworkPlan) -> list[int]:
    batch, bands, rows, cols = plan.tile_shape
    shape = [batch, bands, rows, cols] if plan.layout == "NCHW" else [batch, rows, cols, bands]
    return shape if plan.input_rank == 4 else shape[1:]


def _feed_pixels(graph: Any, plan: NetworkPlan, data_type: str, *, normalise: bool) -> Any:
    """Let the graph take raw pixels: type, layout and normalisation become its first operations."""
    steps = openvino.preprocess.PrePostProcessor(graph)
    entry = steps.input()
    wanted = graph.input().get_element_type()
    skipped = 4 - plan.input_rank
    entry.tensor().set_element_type(_ELEMENT_TYPES[data_type]).set_layout(openvino.Layout("NCHW"[skipped:]))
    entry.model().set_layout(openvino.Layout(plan.layout[skipped:]))
    if not plan.takes_bytes:
        work = entry.preprocess().convert_element_type(openvino.Type.f32)
        if normalise and not plan.normalisation.is_identity:
            gain = np.array(plan.normalisation.gain)
            work.mean((-np.array(plan.normalisation.bias) / gain).tolist()).scale((1 / gain).tolist())
        work.convert_element_type(wanted)
    return steps.build()


def _append_head(graph: Any, index: int, head: Head) -> Any:
    """Return the graph with the head's result and, to notice NaN, the mean of the scores as its two outputs."""
    scores = graph.outputs[index].get_node().input_value(0)
    # The head works on float32 whatever the network computes in, as the other runtimes do.
    scores = ops.convert(scores, "f32")
    axes = ops.constant(np.arange(4))
    result = _binary(scores, head) if head.channels == 1 else _several(scores, head)
    return openvino.Model([result, ops.reduce_mean(scores, axes)], graph.get_parameters())


def _several(scores: Any, head: Head) -> Any:
    axis = ops.constant(np.int64(head.channel_axis))
    if head.probabilities:
        return _probabilities(scores, head)
    first = 1 if head.skip_background else 0
    chosen = _channels(scores, head, first, head.channels) if first else scores
    best = ops.topk(chosen, ops.constant(np.int64(1)), axis=head.channel_axis, mode="max", sort="none", stable=False)
    labels = ops.squeeze(best.output(1), axis)
    if first:
        labels = ops.add(labels, ops.constant(np.int32(first)))
    return ops.convert(labels, np.dtype(head.label_type).name.replace("uint", "u"))


def _probabilities(scores: Any, head: Head) -> Any:
    if head.activation == "sigmoid":
        scores = ops.sigmoid(scores)
    first = 1 if head.skip_background else 0
    if first:
        scores = _channels(scores, head, first, head.channels)
    if head.activation == "softmax":
        scores = ops.softmax(scores, axis=head.channel_axis)
    elif first:
        total = ops.reduce_sum(scores, ops.constant(np.int64(head.channel_axis)), keep_dims=True)
        scores = ops.divide(scores, ops.maximum(total, ops.constant(np.finfo(np.float32).tiny)))
    if first:
        pads = np.zeros(4, np.int64)
        pads[head.channel_axis] = 1
        scores = ops.pad(scores, ops.constant(pads), ops.constant(np.zeros(4, np.int64)), "constant")
    return ops.transpose(scores, ops.constant([0, 3, 1, 2])) if head.channel_axis == 3 else scores


def _binary(scores: Any, head: Head) -> Any:
    axis = ops.constant(np.int64(head.channel_axis))
    if not head.probabilities:
        cut = head.cut if math.isfinite(head.cut) else math.copysign(np.finfo(np.float32).max, head.cut)
        return ops.convert(ops.squeeze(ops.greater(scores, ops.constant(np.float32(cut))), axis), "u8")
    positive = scores if head.activation == "none" else ops.sigmoid(scores)
    # Two planes, so that callers need not know of single scores.
    both = ops.concat([ops.subtract(ops.constant(np.float32(1)), positive), positive], axis=head.channel_axis)
    return ops.transpose(both, ops.constant([0, 3, 1, 2])) if head.channel_axis == 3 else both


def _channels(scores: Any, head: Head, start: int, stop: int) -> Any:
    one = ops.constant(np.array([1]))
    bounds = (ops.constant(np.array([start])), ops.constant(np.array([stop])))
    return ops.slice(scores, *bounds, one, ops.constant(np.array([head.channel_axis])))


def _facts(output: Any) -> OutputFacts:
    partial = output.partial_shape
    lengths = [] if partial.rank.is_dynamic else [d.get_length() if d.is_static else -1 for d in partial]
    return OutputFacts(tuple(lengths), output.get_element_type().is_integral())


def _name(output: Any, index: int) -> str:
    names = sorted(output.get_names())
    return names[0] if names else str(index)


def _cause(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with the place in its own source; the last line says what is wrong.
    return lines[-1][:300] if lines else "no reason given"
