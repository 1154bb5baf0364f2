from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine

RUNTIMES = ["onnxruntime", "openvino"]
WEIGHTS = np.random.default_rng(1).normal(size=(3, 3))
BIAS = np.random.default_rng(2).normal(size=3)


def scores(tiles, weights=WEIGHTS, bias=BIAS):
    return np.einsum("kc,nchw->nkhw", weights, tiles.astype(np.float64)) + bias[:, None, None]


def fp32(runtime, **changes):
    return Engine(device="cpu", runtime=runtime, precision="fp32", **changes)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "int32"])
def test_labels_are_those_of_plain_numpy_for_every_raster_type(models, make_package, networks, noise, runtime, dtype):
    handle = make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, "h", "w"]))
    tiles = noise(4, 3, 32, 32, dtype=dtype)
    labels = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, scores(tiles).argmax(axis=1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_with_a_fixed_batch_gets_batches_filled_up_and_split(models, make_package, networks, noise, runtime):
    handle = make_package(networks.mixing(WEIGHTS, BIAS, shape=[2, 3, 32, 32]))
    info = models.describe(handle)
    assert (info.fixed_batch, info.batch_size) == (2, 2)
    assert "batch_size" not in [argument.name for argument in info.arguments]
    tiles = noise(5, 3, 32, 32)
    labels = models.load(handle, fp32(runtime, batch_size=5)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(labels, scores(tiles).argmax(axis=1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_model_padding_gives_the_inner_pixels_only(models, make_package, networks, noise, runtime):
    handle = make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32], crop=8), ModelPadding=8)
    info = models.describe(handle)
    assert (info.model_padding, info.padding) == (8, 8)
    assert "padding" not in [argument.name for argument in info.arguments]
    tiles = noise(2, 3, 32, 32)
    labels = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(labels, scores(tiles).argmax(axis=1)[:, 8:-8, 8:-8])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_output_that_does_not_fit_model_padding_is_refused_at_load(models, make_package, networks, runtime):
    handle = make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32], crop=8))
    with pytest.raises(ModelError, match=r"'cropped' \(4, 3, 16, 16\) does not fit .* 32 x 32 pixels were expected"):
        models.load(handle, fp32(runtime))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_tile_sizes_work_only_when_the_model_takes_them(models, make_package, networks, noise, runtime):
    network = networks.mixing(WEIGHTS, BIAS, shape=["n", 3, "h", "w"])
    extension = {"Version": 1, "TileMultiple": 16}
    handle = make_package(network, SupportsVariableTileSize=True, RasterAnalysis=extension)
    tiles = noise(2, 3, 48, 64)
    labels = models.load(handle, fp32(runtime, tile_height=48, tile_width=64)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(labels, scores(tiles).argmax(axis=1))
    with pytest.raises(ModelError, match="not a multiple of 16"):
        models.load(handle, fp32(runtime, tile_height=40, tile_width=40))
    with pytest.raises(ModelError, match="takes 32 x 32 only"):
        models.load(make_package(network), fp32(runtime, tile_height=48, tile_width=48))
    with pytest.raises(ModelError, match=r"do not fit the network, which is set up for \(n, 3 bands, 32 rows"):
        models.load(handle, fp32(runtime)).classify(tiles, (0, 255))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_data_range_stretches_from_the_rasters_range_and_clips(models, make_package, networks, noise, runtime):
    handle = make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32]), DataRange=[-1.0, 1.0])
    tiles = noise(2, 3, 32, 32, dtype="uint16", high=4000)
    stretched = np.clip((tiles - 100.0) / (3000 - 100) * 2 - 1, -1, 1)
    labels = models.load(handle, fp32(runtime)).classify(tiles, (100, 3000))
    assert (labels == scores(stretched).argmax(axis=1)).mean() > 0.9999
    with pytest.raises(ModelError, match=r"value range 5\.\.5 is empty"):
        models.load(handle, fp32(runtime)).classify(tiles, (5, 5))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("tail", "activation"), [("", "softmax"), ("", None), ("Softmax", None)])
def test_probabilities_are_the_softmax_of_the_scores_once(
    models, make_package, networks, noise, runtime, tail, activation
):
    output = {"Version": 1, "Output": {"Decoder": "pixels", "Activation": activation}} if activation else None
    network = networks.mixing(WEIGHTS / 64, BIAS, shape=["n", 3, 32, 32], tail=tail)
    tiles = noise(2, 3, 32, 32)
    model = models.load(make_package(network, RasterAnalysis=output), fp32(runtime, probabilities=True))
    raised = np.exp(scores(tiles, WEIGHTS / 64))
    np.testing.assert_allclose(model.classify(tiles, (0, 255)), raised / raised.sum(axis=1, keepdims=True), atol=1e-5)
    assert any("activation softmax" in reason for reason in model.reasons) == (not tail and activation is None)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("tail", ["", "Sigmoid"])
@pytest.mark.parametrize("threshold", [None, 0.8])
def test_a_single_score_is_cut_at_the_threshold(models, make_package, networks, noise, runtime, tail, threshold):
    weights, bias = WEIGHTS[:1] / 64, BIAS[:1] * 0
    network = networks.mixing(weights, bias, shape=["n", 3, 32, 32], tail=tail)
    handle = make_package(network, Classes=[{"Value": 7, "Name": "roof"}])
    info = models.describe(handle)
    assert info.values == (0, 7)
    assert "threshold" in [argument.name for argument in info.arguments]
    tiles = noise(2, 3, 32, 32)
    wanted = 1 / (1 + np.exp(-scores(tiles, weights, bias)))
    labels = models.load(handle, fp32(runtime, threshold=threshold)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(labels, wanted[:, 0] > (threshold or 0.5))
    shares = models.load(handle, fp32(runtime, probabilities=True)).classify(tiles, (0, 255))
    np.testing.assert_allclose(shares, np.concatenate([1 - wanted, wanted], axis=1), atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_background_is_skipped_by_default_only_for_several_classes_without_value_0(
    models, make_package, networks, noise, runtime
):
    network = networks.mixing(WEIGHTS, BIAS + np.array([4000, 0, 0]), shape=["n", 3, 32, 32])
    handle = make_package(network, Classes=[{"Value": v, "Name": str(v)} for v in (11, 12)])
    info = models.describe(handle)
    assert info.values == (0, 11, 12)
    assert {a.name: a.default for a in info.arguments}["predict_background"] == "False"
    tiles = noise(2, 3, 32, 32)
    expected = scores(tiles)[:, 1:].argmax(axis=1) + 1
    np.testing.assert_array_equal(models.load(handle, fp32(runtime)).classify(tiles, (0, 255)), expected)
    with_background = models.load(handle, fp32(runtime, predict_background=True))
    assert (with_background.classify(tiles, (0, 255)) == 0).all()
    shares = models.load(handle, fp32(runtime, probabilities=True)).classify(tiles, (0, 255))
    assert (shares[:, 0] == 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("probabilities", [False, True])
def test_a_network_with_channels_last_is_fed_and_read_that_way(
    models, make_package, networks, noise, runtime, probabilities
):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["mixed"]), helper.make_node("Add", ["mixed", "b"], ["y"])]
    initial = [
        numpy_helper.from_array((WEIGHTS.T / 64).astype(np.float32), "w"),
        numpy_helper.from_array(BIAS.astype(np.float32), "b"),
    ]
    shape = ["n", 32, 32, 3]
    network = networks.finish(nodes, initial, ("x", TensorProto.FLOAT, shape), [("y", TensorProto.FLOAT, shape)])
    handle = make_package(network, RasterAnalysis={"Version": 1, "Input": {"Layout": "NHWC", "Mean": [9, 8, 7]}})
    tiles = noise(3, 3, 32, 32)
    wanted = scores(tiles - np.array([9.0, 8, 7])[:, None, None], WEIGHTS / 64)
    result = models.load(handle, fp32(runtime, probabilities=probabilities)).classify(tiles, (0, 255))
    if probabilities:
        raised = np.exp(wanted)
        np.testing.assert_allclose(result, raised / raised.sum(axis=1, keepdims=True), atol=1e-4)
    else:
        np.testing.assert_array_equal(result, wanted.argmax(axis=1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_that_takes_bytes_refuses_pixels_that_would_wrap(models, make_package, networks, noise, runtime):
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Neg", ["f"], ["y"])]
    shape = ["n", 3, 32, 32]
    network = networks.finish(nodes, [], ("x", TensorProto.UINT8, shape), [("y", TensorProto.FLOAT, shape)])
    handle = make_package(network, RasterAnalysis={"Version": 1, "Input": {"DataType": "uint8"}})
    model = models.load(handle, fp32(runtime))
    tiles = noise(2, 3, 32, 32, dtype="int16")
    np.testing.assert_array_equal(model.classify(tiles, (0, 255)), tiles.argmin(axis=1))
    with pytest.raises(ModelError, match="takes bytes and the raster holds int16 values up to 264"):
        model.classify(tiles + np.int16(9), (0, 255))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_class_indexes_from_the_network_itself_are_checked(models, make_package, networks, noise, runtime):
    network = networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32], tail="ArgMax")
    tiles = noise(2, 3, 32, 32)
    model = models.load(make_package(network), fp32(runtime))
    np.testing.assert_array_equal(model.classify(tiles, (0, 255)), scores(tiles).argmax(axis=1))
    network = networks.mixing(np.eye(3), BIAS, shape=["n", 3, 32, 32], tail="ArgMax")
    with pytest.raises(ModelError, match=r"class indexes 0\.\.2 and the definition has 2"):
        models.load(make_package(network, Classes=[{"Value": v, "Name": str(v)} for v in (0, 1)]), fp32(runtime))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nan_from_the_network_is_an_error_that_names_the_tensor(models, make_package, networks, noise, runtime):
    model = models.load(make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32])), fp32(runtime))
    tiles = noise(2, 3, 32, 32, dtype="float32")
    tiles[1, 0, 5, 5] = np.nan
    with pytest.raises(ModelError, match=r"'mixed' \(.*3, 32, 32\) holds NaN or infinite"):
        model.classify(tiles, (0, 255))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_scores_of_a_crop_may_have_axes_of_one_row_and_column(models, make_package, networks, noise, runtime):
    shape = ["n", 3, 32, 32]
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    network = networks.finish(nodes, [], ("x", TensorProto.FLOAT, shape), [("y", TensorProto.FLOAT, ["n", 3, 1, 1])])
    handle = make_package(network, ModelType="ObjectClassification", CropSizeFixed=0)
    info = models.describe(handle)
    assert (info.crop_size_fixed, info.blacken_around_feature) == (False, True)
    shares = models.load(handle, fp32(runtime, probabilities=True)).classify(noise(3, 3, 32, 32), (0, 255))
    assert shares.shape == (3, 3, 1, 1)


def test_an_object_classifier_that_gives_a_map_is_refused(models, make_package, networks):
    network = networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32])
    with pytest.raises(ModelError, match=r"no list of scores for each crop"):
        models.load(make_package(network, ModelType="ObjectClassification"), fp32("onnxruntime"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_object_classifier_gives_one_class_a_crop(models, make_package, networks, noise, runtime):
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    shape = ["n", 3, 32, 32]
    network = networks.finish(nodes, [], ("x", TensorProto.FLOAT, shape), [("y", TensorProto.FLOAT, ["n", 3])])
    handle = make_package(network, ModelType="ObjectClassification", CropSizeFixed=1, BlackenAroundFeature=0)
    tiles = noise(6, 3, 32, 32)
    model = models.load(handle, fp32(runtime))
    expected = tiles.mean(axis=(2, 3)).argmax(axis=1)
    np.testing.assert_array_equal(model.classify(tiles, (0, 255)), expected[:, None, None])
    shares = models.load(handle, fp32(runtime, probabilities=True)).classify(tiles, (0, 255))
    assert shares.shape == (6, 3, 1, 1)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_normalisation_of_16_bit_pixels_keeps_its_digits_in_bf16(models, make_package, networks, noise):
    """Pixels about 10000 differ by less than bf16 can hold; normalised, they do not."""
    handle = make_package(
        networks.mixing(np.eye(3), np.zeros(3), shape=["n", 3, 32, 32]),
        RasterAnalysis={"Version": 1, "Input": {"Mean": [10000, 10000, 10000], "Std": [16, 16, 16]}},
    )
    tiles = noise(4, 3, 32, 32, dtype="uint16", high=64) + np.uint16(10000)
    engine = Engine(device="cpu", runtime="openvino", precision="auto")
    settled, reasons = models.settle(handle, engine, tiles, (0, 65535))
    if settled.precision != "bf16":
        pytest.skip(f"no bf16 here: {reasons}")
    labels = models.load(handle, settled).classify(tiles, (0, 65535))
    # argmax of ties is the first in every runtime.
    np.testing.assert_array_equal(labels, tiles.argmax(axis=1))


def test_a_detector_cannot_be_asked_of_a_classifier(models, make_package, networks, noise):
    model = models.load(make_package(networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32])), fp32("onnxruntime"))
    with pytest.raises(ModelError, match="cannot detect objects"):
        model.detect(noise(1, 3, 32, 32), (0, 255))


def test_classes_that_do_not_fit_the_scores_are_refused(models, make_package, networks):
    network = networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32])
    with pytest.raises(ModelError, match="3 scores per pixel and the definition lists 5 classes; 5 scores would fit"):
        models.describe(make_package(network, Classes=[{"Value": v, "Name": str(v)} for v in range(5)]))


def test_all_faults_of_a_definition_come_in_one_error(models, make_package, networks):
    network = networks.mixing(WEIGHTS, BIAS, shape=["n", 3, 32, 32])
    with pytest.raises(ModelError) as caught:
        models.describe(make_package(network, ExtractBands=[0, 1], ImageHeight=64))
    assert "the network takes 3 bands and ExtractBands names 2: [0, 1]" in str(caught.value)
    assert "takes tiles of 32 x 32 pixels and the definition says 64 x 32" in str(caught.value)
