"""`ModelType`: its spellings, its foreign families, and what it must be when the key is missing."""

from __future__ import annotations

import difflib

from pydantic import JsonValue

from dlpk.definition import Definition, ModelType
from dlpk.findings import Finding, error, warning
from dlpk.functions import FunctionFacts

# Lower-case spelling -> the type, and whether Esri documents the spelling.
_ALIASES = {
    "classifypixels": (ModelType.IMAGE_CLASSIFICATION, True),
    "pixelclassification": (ModelType.IMAGE_CLASSIFICATION, False),
    "objectiondetection": (ModelType.OBJECT_DETECTION, False),
    "panopticsegmentation": (ModelType.PANOPTIC_SEGMENTER, False),
}

_FOREIGN = {
    "PointCloudClassification": "point clouds",
    "PointCloudDetection": "point clouds",
    "PointCloudObjectDetection": "point clouds",
    "ObjectTracking": "video",
    "TimeSeriesModel": "tables",
    "FullyConnectedNetwork": "tables",
    "MLModel": "tables",
    "TextClassifier": "text",
    "EntityRecognizer": "text",
    "SequenceToSequence": "text",
    "llm": "text",
    "ImageCaptioner": "captions of images",
    "CycleGAN": "translation between images",
    "Pix2Pix": "translation between images",
    "Pix2PixHD": "translation between images",
    "SuperResolution": "sharpening of images",
}

_BY_FUNCTION = {
    "arcgisobjectdetector": ModelType.OBJECT_DETECTION,
    "objectdetector": ModelType.OBJECT_DETECTION,
    "arcgisinstancedetector": ModelType.INSTANCE_DETECTION,
    "arcgisimageclassifier": ModelType.IMAGE_CLASSIFICATION,
    "imageclassifier": ModelType.IMAGE_CLASSIFICATION,
    "arcgisimagetsclassifier": ModelType.IMAGE_CLASSIFICATION,
    "arcgisobjectclassifier": ModelType.OBJECT_CLASSIFICATION,
    "objectclassifier": ModelType.OBJECT_CLASSIFICATION,
    "arcgispanopticsegmenter": ModelType.PANOPTIC_SEGMENTER,
}

_BY_CONFIGURATION = {
    "ObjectDetectionAPI": ModelType.OBJECT_DETECTION,
    "FasterRCNN": ModelType.OBJECT_DETECTION,
    "FastaiSSD": ModelType.OBJECT_DETECTION,
    "MaskRCNN": ModelType.OBJECT_DETECTION,
    "_DynamicSSD": ModelType.OBJECT_DETECTION,
    "_RetinaNet_Inference": ModelType.OBJECT_DETECTION,
    "_yolov3_inference": ModelType.OBJECT_DETECTION,
    "_maskrcnn_inferencing": ModelType.INSTANCE_DETECTION,
    "DeepLab": ModelType.IMAGE_CLASSIFICATION,
    "AzurePixelLevelLandClassification": ModelType.IMAGE_CLASSIFICATION,
    "CntkLandClassification": ModelType.IMAGE_CLASSIFICATION,
    "_unet": ModelType.IMAGE_CLASSIFICATION,
    "_psp": ModelType.IMAGE_CLASSIFICATION,
    "_tiny_unet": ModelType.IMAGE_CLASSIFICATION,
    "_deeplab_infrencing": ModelType.IMAGE_CLASSIFICATION,
    "_road_infrencing": ModelType.IMAGE_CLASSIFICATION,
    "change_detection": ModelType.IMAGE_CLASSIFICATION,
    "_panoptic_inferencing": ModelType.PANOPTIC_SEGMENTER,
    "KerasClassifier": ModelType.OBJECT_CLASSIFICATION,
    "FeatureClassifier": ModelType.OBJECT_CLASSIFICATION,
    "_FeatureClassifier": ModelType.OBJECT_CLASSIFICATION,
}

_KNOWN = ", ".join(ModelType)


def read_model_type(value: JsonValue, file: str) -> tuple[ModelType | None, list[Finding]]:
    """Read the key; an absent one gives None and no finding, since it may be inferred later."""
    where = f"{file}: ModelType"
    if value is None:
        return None, []
    if not isinstance(value, str):
        return None, [error("emd.model_type", where, "ModelType is not a text.", f"Known types: {_KNOWN}.")]
    name = value.strip()
    if name in set(ModelType):
        return ModelType(name), []
    lower = name.lower()
    # Another case is a slip, not another type.
    by_case = {str(kind).lower(): (kind, False) for kind in ModelType}
    if known := (_ALIASES | by_case).get(lower):
        kind, documented = known
        message = f"{name!a} is read as {kind}."
        return kind, [] if documented else [warning("emd.model_type", where, message, f"Write {kind}.")]
    return None, [_unknown_type(name, where)]


def _unknown_type(name: str, where: str) -> Finding:
    family = next((family for known, family in _FOREIGN.items() if known.lower() == name.lower()), None)
    if family:
        return error("emd.model_type", where, f"{name} is for {family}, not for finding things in rasters.")
    near = difflib.get_close_matches(name[:60], list(ModelType), 1)
    hint = f"Is {near[0]} meant?" if near else f"Known types: {_KNOWN}."
    return error("emd.model_type", where, f"{name[:60]!a} is not a known ModelType.", hint)


def infer_model_type(definition: Definition, function: FunctionFacts | None) -> ModelType | None:
    """Find the type of a definition that does not state it; None when nothing tells."""
    # First the name of the function, then the configuration, then the methods.
    if definition.inference_function:
        stem = definition.inference_function.rsplit("/", 1)[-1].removesuffix(".py").lower()
        if stem in _BY_FUNCTION:
            return _BY_FUNCTION[stem]
    if definition.model_configuration in _BY_CONFIGURATION:
        return _BY_CONFIGURATION[definition.model_configuration]
    if function is None:
        return None
    if "vectorize" in function.methods:
        return ModelType.OBJECT_CLASSIFICATION if function.takes_rasters else ModelType.OBJECT_DETECTION
    return ModelType.IMAGE_CLASSIFICATION if "updatePixels" in function.methods else None
