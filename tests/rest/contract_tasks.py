"""The tasks of contract 8 as a table: what clients call each parameter, its type, and whether it is required.

A name alone is an optional GPString; `!` marks a required one, `?` one where documents and clients disagree.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContractTask:
    parameters: dict[str, str]
    """Types by name on the wire."""
    required: frozenset[str]
    undecided: frozenset[str]
    outputs: tuple[str, ...]


def _task(inputs: str, outputs: str) -> ContractTask:
    words = [word.partition(":") for word in inputs.split()]
    names = {name.rstrip("!?"): f"GP{kind or 'String'}" for name, _, kind in words}
    required = frozenset(name[:-1] for name, _, _ in words if name.endswith("!"))
    undecided = frozenset(name[:-1] for name, _, _ in words if name.endswith("?"))
    return ContractTask(names, required, undecided, tuple(outputs.split()))


TASKS = {
    "ListDeepLearningModels": _task("", "deepLearningModels"),
    "QueryDeepLearningModelInfo": _task("model!", "outModelInfo"),
    "InstallDeepLearningModel": _task("modelPackage!", "installSucceed"),
    "UninstallDeepLearningModel": _task("modelItemId!", "uninstallSucceed"),
    "PublishDeepLearningModel": _task("modelLocation! outputName!", "outItem"),
    "DetectObjectsUsingDeepLearning": _task(
        "inputRaster! outputObjects! model! modelArguments runNMS:Boolean confidenceScoreField classValueField "
        "maxOverlapRatio:Double processAllRasterItems:Boolean context",
        "outObjects",
    ),
    "ClassifyPixelsUsingDeepLearning": _task(
        "inputRaster! outputClassifiedRaster! model! modelArguments processAllRasterItems:Boolean context", "outRaster"
    ),
    "ClassifyObjectsUsingDeepLearning": _task(
        "inputRaster! inputFeatures outputFeatureClass! model! modelArguments classLabelField "
        "processAllRasterItems:Boolean context",
        "outObjects",
    ),
    "ExportTrainingDataforDeepLearning": _task(
        "inputRaster! outputLocation! inputClassData? chipFormat tileSize strideSize metadataFormat classValueField "
        "bufferRadius:Double inputMaskPolygons rotationAngle:Double referenceSystem processAllRasterItems:Boolean "
        "blackenAroundFeature:Boolean fixChipSize:Boolean additionalInputRaster inputInstanceData "
        "instanceClassValueField minPolygonOverlapRatio:Double context",
        "outLocation",
    ),
    "TrainDeepLearningModel": _task(
        "inFolder! outputName! modelType! arguments batchSize:Long maxEpochs:Long learningRate:Double backboneModel "
        "validationPercent:Double pretrainedModel stopTraining:Boolean freezeModel:Boolean overwriteModel:Boolean "
        "context dataAugmentation augmentationParameters chipSize:Long resizeTo weightInitScheme monitor",
        "outItem",
    ),
    "DetectChangeUsingDeepLearning": _task(
        "fromRaster! toRaster! outputClassifiedRasterName! modelDefinition! modelArguments context", "outputRaster"
    ),
    "ComputeAccuracyforObjectDetection": _task(
        "detectedFeatures! groundTruthFeatures! outAccuracyTableName! outAccuracyReportName detectedClassValueField "
        "groundTruthClassValueField minIoU:Double maskFeatures context",
        "outAccuracyTable outAccuracyReport",
    ),
    "CopyRaster": _task(
        "inputRaster! outputName! outputCellsize resamplingMethod clipSetting? context", "outputRaster"
    ),
    "GenerateRaster": _task(
        "rasterFunction! outputName! functionArguments? outputRasterProperties context", "outputRaster"
    ),
    "ListDatastoreContent": _task("dataStoreName! filter", "contentList"),
}  # fmt: skip
"""Tasks that clients know. Defining more parameters than these is fine, naming one otherwise is not."""
