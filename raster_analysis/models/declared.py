"""What a definition declares about its network, with the conventions of named architectures filled in."""

from __future__ import annotations

from dlpk.definition import Definition
from dlpk.extension import Decoder, NetworkOutput

# torchvision's detectors count classes from 1 (0 is background) and give dictionaries with these names.
_TORCHVISION_DETECTORS = ("rcnn", "ssd", "retinanet", "fcos")
_TORCHVISION_TENSORS = {"boxes": "boxes", "scores": "scores", "labels": "labels"}


def declared_output(definition: Definition) -> NetworkOutput | None:
    """Return how outputs are to be read; None where neither the definition nor the architecture says so."""
    if definition.extension and definition.extension.output:
        return definition.extension.output
    if not is_torchvision_detector(definition):
        return None
    if definition.extension and definition.extension.architecture and "mask" in definition.extension.architecture.name:
        tensors = {**_TORCHVISION_TENSORS, "masks": "masks"}
        return NetworkOutput(decoder=Decoder.MASKS, tensors=tensors, label_offset=1)
    return NetworkOutput(decoder=Decoder.BOXES, tensors=_TORCHVISION_TENSORS, label_offset=1)


def is_torchvision_detector(definition: Definition) -> bool:
    """Return whether the network is one of torchvision's detectors, which scale and normalise images themselves."""
    architecture = definition.extension.architecture if definition.extension else None
    if architecture is None or architecture.library != "torchvision":
        return False
    return any(part in architecture.name for part in _TORCHVISION_DETECTORS)
