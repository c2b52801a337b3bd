"""The QONNX importer against the QONNX executor."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx_networks import (
    CHANNELS_LAST,
    DOMAIN,
    MODES,
    InferShapes,
    Model,
    ModelWrapper,
    compare,
    execute_onnx,
    frames,
)

from bittern.gen.importers import IMPORTERS, qonnx, read
from bittern.gen.layers.requantize import Requantize

SHARED = Path(os.environ.get("BITTERN_SHARED", Path(__file__).parents[2] / "shared"))


def error(model, **changes):
    with pytest.raises(ValueError) as caught: # noqa: PT011
        model.network(**changes)
    return str(caught.value)


def halves(channels):
    """Values that hit every half of the quantizer, and just beside."""
    ties = np.arange(-40, 40, dtype=np.float32) / 8
    values = np.concatenate([ties, np.nextafter(ties, np.float32(9)), frames(100)])
    return np.resize(values, (-(-values.size // channels), channels))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("signed", "narrow", "zero"), [(1, 0, 0), (1, 1, 2), (0, 0, 3), (0, 1, 0)])
def test_every_rounding_mode_equals_the_reference(mode, signed, narrow, zero):
    options = {"signed": signed, "narrow": narrow, "zero": zero, "mode": mode}
    model = Model(1, 60).quant(0.25, bits=3, **options)
    model.check(halves(60))
    Model(1, 60).quant(0.125, bits=8)("Mul", np.float32(0.75)).quant(0.25, bits=3, **options).check(
        halves(60))


def test_parameters_of_a_quantizer_may_differ_by_channel():
    scale, zero = np.float32([[0.25, 0.5, 0.125]]), np.float32([1, 0, -1])
    Model(1, 3).quant(scale, zero).quant(scale / 2, zero, 3).check(halves(3))
    network = Model(1, 3).quant(0.25).quant(scale, zero, 3).check(halves(3))
    assert network.graph.nodes[-1].layer.spec.channels == 3


def test_one_signed_bit_is_bipolar():
    network = Model(1, 20).quant(0.5, bits=1).quant(0.25, bits=1).check(halves(20))
    assert network.graph.input.lo == 0
    assert network.graph.input.hi == 1


def test_integer_and_double_parameters_promote_as_in_the_reference():
    model = Model(1, 20)("Quant", np.float32(0.1), np.int64(0), np.int64(6), signed=1, narrow=0)
    model("Mul", np.float32(0.3))("IntQuant", np.float32(0.07), np.int64(1), np.int64(5), signed=0,
                                  narrow=0).check(halves(20))


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL"])
def test_trunc_equals_the_reference(mode):
    constants = np.float32(0.25), np.float32(0), np.float32(6)
    Model(1, 20).quant(0.25, bits=6)("Trunc", *constants, np.float32(3), rounding_mode=mode).check(
        halves(20) * 3)
    Model(1, 20, quantizers=2).quant(0.25, bits=6)(
        "Trunc", *constants, np.float32(1), np.float32(3), rounding_mode=mode, narrow=1,
        signed=1).check(halves(20) * 3)


def test_bipolar_layers_equal_the_reference():
    rng = np.random.default_rng(1)
    model = Model(1, 1, 4, 5)("Flatten")("Mul", np.float32(2))("BipolarQuant", np.float32(1))
    last = model.last
    weights = model("BipolarQuant", np.float32(0.5),
                    x=model.constant(rng.normal(size=(7, 20)))).last
    model("Transpose", x=weights, perm=[1, 0])
    network = model("MatMul", model.last, x=last)("BipolarQuant", np.float32(1)).check(
        frames(20, 1, 4, 5))
    assert [n.name for n in network.graph.nodes] == ["MatMul_5", "BipolarQuant_6"]
    assert network.rules[-1].rule == "thresholds"
    assert network.rules[2].rule == "host: quantizes the input"


def test_batch_normalization_with_negative_gain_equals_the_reference():
    rng = np.random.default_rng(2)
    model = Model(1, 9).quant(0.25)
    model("MatMul", model.weights(rng.normal(size=(9, 32)), scale=0.125))
    model("BatchNormalization", *(v.astype(np.float32) for v in (
        rng.normal(size=32), rng.normal(size=32), rng.normal(size=32), rng.random(32) * 9)))
    model("Relu").quant(0.125, bits=3, signed=0)
    network = model.check(frames(40, 9))
    assert [n.name for n in network.graph.nodes] == ["MatMul_2", "Quant_5"]
    assert network.rules[3].rule == "folded into the thresholds of Quant_5"


def test_decreasing_functions_after_anything_else_are_negated_by_a_layer():
    model = Model(1, 4).quant(0.25)("Mul", np.float32([1, -1, 2, -0.5])).quant(0.5, bits=3)
    network = model.check(frames(30, 4))
    assert [n.name for n in network.graph.nodes] == ["Quant_2_factors", "Quant_2"]


def test_a_dense_layer_used_twice_is_negated_once():
    model = Model(1, 4).quant(0.25)
    dense = model("MatMul", model.weights(frames(4, 4), scale=0.25)).last
    up = model.quant(0.5, x=dense).last
    down = model("Mul", np.float32(-1), x=dense).quant(0.5).last
    network = model("Add", down, x=up).check(frames(30, 4))
    assert len(network.graph.nodes) == 5


@pytest.mark.parametrize("opset", [9, 13])
def test_batch_normalization_rounds_as_the_reference(opset):
    rng = np.random.default_rng(3)
    model = Model(1, 200, opset=opset).quant(1, bits=12)
    model("BatchNormalization", *(v.astype(np.float32) for v in (
        rng.normal(size=200), rng.normal(size=200), rng.normal(size=200) * 30,
        rng.random(200) * 1000))).check(frames(10, 200, scale=500))


@pytest.mark.parametrize("options", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
def test_gemm_equals_the_reference(options):
    rng = np.random.default_rng(4)
    model = Model(1, 6).quant(0.25)
    matrix = rng.normal(size=(5, 6) if "transB" in options else (6, 5))
    weights, bias = model.weights(matrix, scale=0.25), model.weights(rng.normal(size=5),
                                                                     scale=0.0625, bits=8)
    model("Gemm", weights, bias, **options)("Relu").quant(0.25, bits=6, signed=0).check(
        frames(20, 6))


@pytest.mark.parametrize("operands", [0, 1])
def test_arithmetic_with_constants_in_either_order(operands):
    vector = np.float32([0.3, 1.7, -0.2])
    model = Model(1, 3).quant(0.125, bits=6)
    for op in ("Add", "Mul", "Sub"):
        model(op, *([vector] if operands == 0 else [model.last]),
              x=None if operands == 0 else model.constant(vector))
    model("Div", np.float32(0.7))("Clip", np.float32(-1), np.float32(1)).quant(0.25)
    model.check(halves(3))


def test_clip_and_squeeze_with_attributes():
    Model(1, 3, 1, opset=9)("Squeeze", axes=[2])("Unsqueeze", axes=[1]).quant(0.125, bits=6)(
        "Clip", min=-0.6, max=0.7)("Reshape", np.int64([0, -1])).quant(0.25).check(halves(3))


def test_relu_after_a_quantizer_stays_on_its_lattice():
    model = Model(1, 8).quant(0.25)("Relu")
    network = model("MatMul", model.weights(frames(8, 3), scale=0.5))("Softmax").network()
    assert [n.name for n in network.graph.nodes] == ["MatMul_3_input", "MatMul_3"]
    model = Model(1, 8).quant(0.25)("Relu")
    model("MatMul", model.weights(frames(8, 3), scale=0.5)).check(frames(20, 8))


def test_a_multiplication_after_a_quantizer_only_scales():
    model = Model(1, 8).quant(0.25, zero=3)("Mul", np.float32(0.5))("Sub", np.float32(0.25))
    network = model("MatMul", model.weights(frames(8, 3), scale=0.5, zero=1)).check(frames(20, 8))
    assert [n.name for n in network.graph.nodes] == ["MatMul_4"]


def test_residual_connections_add():
    model = Model(1, 6).quant(0.25)
    skip = model.last
    model("MatMul", model.weights(frames(6, 6), scale=0.25)).quant(0.25)
    network = model("Add", skip)("Relu").quant(0.5, bits=3).check(frames(30, 6))
    assert [type(n.layer).__name__ for n in network.graph.nodes] == [
        "Dense", "Requantize", "Add", "Requantize"]


def test_what_ends_a_network_runs_on_the_host():
    model = Model(1, 6).quant(0.25)
    model("MatMul", model.weights(frames(6, 5), scale=0.25))
    network = model("ArgMax", axis=1, keepdims=0).check(frames(30, 6))
    assert network.rules[-1].rule == "host: argmax"
    model = Model(1, 6).quant(0.25)
    model("MatMul", model.weights(frames(6, 5), scale=0.25))("Softmax", axis=1)
    network, x = model.network(), frames(30, 6)
    y = network.decode(network.graph.golden(network.encode(x)))
    assert np.abs(y - model.reference(x)).max() < 2**-22 # exp is the C library's there


def test_the_host_multiplies_in_the_order_of_the_reference():
    for inputs in (4, 5, 6, 7, 13):
        model = Model(1, inputs)
        model("MatMul", frames(inputs, 33))("Add", frames(33)).quant(2.0**-12, bits=16)
        model.check(frames(20, inputs, scale=0.5))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_equal_the_reference(seed):
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    power = seed % 3 > 0
    scales = [2.0**-rng.integers(0, 4) if power else float(rng.uniform(0.05, 1)) for _ in range(9)]
    sizes = rng.integers(1, 12, 4)
    model = Model(1, int(sizes[0])).quant(scales[0], bits=int(rng.integers(2, 9)))
    for layer in range(3):
        shape = sizes[layer], sizes[layer + 1]
        model("MatMul", model.weights(rng.normal(size=shape), scale=scales[layer + 1],
                                      bits=int(rng.integers(2, 9)), narrow=int(rng.integers(2))))
        if rng.integers(2):
            model("BatchNormalization", *(v.astype(np.float32) for v in (
                rng.normal(size=shape[1]), rng.normal(size=shape[1]), rng.normal(size=shape[1]),
                rng.random(shape[1]) + 0.1)))
        if rng.integers(2):
            model("Relu")
        scale = scales[layer + 4]
        model.quant(scale, bits=int(rng.integers(2, 9)), mode=str(rng.choice(MODES)),
                    zero=float(rng.integers(-2, 3)))
    x = frames(12, int(sizes[0]), seed=seed)
    if power:
        model.check(x)
    else: # all are equal as a rule
        assert model.differs_by_ties(x)


def test_wide_accumulators_are_bisected():
    model = Model(1, 64).quant(2.0**-12, bits=16)
    model("MatMul", model.weights(frames(64, 3, scale=0.01), scale=2.0**-8, bits=4))
    network = model.quant(0.25, bits=8).network()
    requantize = network.graph.nodes[-1].layer
    assert isinstance(requantize, Requantize)
    values, y = requantize.spec.values, requantize.spec.lo
    for t, level in zip(values[0], range(y + 1, y + 99), strict=False):
        q = np.array([t - 1, t], np.float32) * np.float32(2.0**-18)
        assert np.round(q[0]) < level <= np.round(q[1]) or abs(t) > 2**24


@pytest.mark.parametrize("name", ["tfc_w1a1", "tfc_w2a2", "jet_tagging_w6a6"])
def test_real_networks_equal_their_reference(name):
    path = SHARED / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there; BITTERN_SHARED names the folder")
    network, data = read(path), np.load(SHARED / "data" / f"{name}.npz")
    q = network.graph.golden(network.encode(data["x"]))
    y = network.decode(q)
    assert (y.argmax(axis=1) == data["y"].argmax(axis=1)).all()
    if name.startswith("tfc"):
        np.testing.assert_array_equal(y, data["y"])
        np.testing.assert_array_equal(network.encode(data["x"].reshape(1000, -1)),
                                      network.encode(data["x"]))
        return
    assert np.abs(y - data["y"]).max() < 2**-22
    model = onnx.load(path)
    del model.graph.node[-1]
    model.graph.output[0].name = model.graph.node[-1].output[0]
    del model.graph.value_info[:]
    cut = qonnx.read(model.SerializeToString(), "jet")
    logits = np.log(data["y"].astype(np.float64))
    mine = cut.decode(cut.graph.golden(cut.encode(data["x"]))).astype(np.float64)
    scale = 2.0**-11 # of the last accumulator
    difference = (logits - logits[:, :1] - mine + mine[:, :1]) / scale
    sure = np.abs(logits).max(axis=1) < 10 # beyond, float32 probabilities say too little
    assert sure.sum() > 900
    assert np.abs(difference[sure]).max() < 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapper = ModelWrapper(model).transform(InferShapes())
        reference = [execute_onnx(wrapper, {"global_in": x[np.newaxis]})
                     [model.graph.output[0].name] for x in data["x"][:25]]
    np.testing.assert_array_equal(np.concatenate(reference), mine[:25])


# Convolutional networks


def layers(network):
    return [type(n.layer).__name__ for n in network.graph.nodes]


def weighted(model, op, *shape, scale=0.25, bits=4, bias=None, **options):
    """Append an operator with weights of `shape`."""
    operands = [model.weights(frames(*shape, seed=len(model.nodes)), scale=scale, bits=bits)]
    return model(op, *operands, *([] if bias is None else [np.float32(bias)]), **options)


def test_a_convolutional_network_equals_the_reference():
    rng = np.random.default_rng(7)
    model = weighted(Model(1, 3, 8, 9).quant(0.25, bits=6), "Conv", 6, 3, 3, 3, pads=[1, 1, 1, 1])
    model("BatchNormalization", *rng.normal(size=(3, 6)), rng.random(6) + 0.1)
    model("Relu").quant(0.5, bits=4, signed=0)("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    network = weighted(model("Flatten"), "Gemm", 96, 5).check(frames(10, 3, 8, 9))
    assert layers(network) == ["Window", "Dense", "Requantize", "MaxPool", "Reshape", "Dense"]
    assert network.graph.input.shape == (8, 9, 3)
    assert [r.rule for r in network.rules[2:]] == [
        "convolution", "folded into the thresholds of Quant_5",
        "folded into the thresholds of Quant_5", "thresholds", "max pool", "shape only",
        "constant", "dense"]
    assert network.graph.nodes[2].layer.spec.channels == 6


@pytest.mark.parametrize("seed", range(30))
def test_random_convolutional_networks_equal_the_reference(seed):
    assert compare(seed) == "equal"


def test_a_maximum_may_come_before_the_quantizer():
    model = weighted(Model(1, 2, 6, 6).quant(0.25, zero=1), "Conv", 5, 2, 3, 3)
    model("BatchNormalization", *frames(3, 5), np.ones(5))("MaxPool", kernel_shape=[2, 2])
    network = model.quant(0.5).check(frames(20, 2, 6, 6))
    assert layers(network) == ["Window", "Dense", "MaxPool", "Requantize"]


def test_a_convolution_of_single_elements_is_a_dense_layer():
    network = weighted(Model(1, 5, 3, 4).quant(), "Conv", 7, 5, 1, 1).check(frames(9, 5, 3, 4))
    assert layers(network) == ["Dense"]
    assert network.graph.output == "Conv_2"


@pytest.mark.parametrize(("outputs", "inputs", "group", "found"), [
    (4, 1, 4, ["Depthwise"]), (12, 1, 4, ["Depthwise"]), (6, 2, 2, ["Window", "Dense"]),
    (1, 4, 1, ["Window", "Dense"])])
def test_groups_are_zeros_or_channels_by_themselves(outputs, inputs, group, found):
    model = Model(1, 4, 5, 6).quant(0.25, zero=2)
    weighted(model, "Conv", outputs, inputs, 3, 2, group=group, strides=[2, 1], dilations=[1, 2],
             pads=[0, 1, 1, 0], bias=frames(outputs))
    assert layers(model.quant(0.5).check(frames(9, 4, 5, 6))) == [*found, "Requantize"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_padding_may_be_automatic(auto_pad, strides):
    model = weighted(Model(1, 2, 6, 7).quant(), "Conv", 3, 2, 3, 4, auto_pad=auto_pad,
                     strides=strides)
    model("MaxPool", kernel_shape=[2, 2], auto_pad=auto_pad).check(frames(9, 2, 6, 7))


def test_maps_of_one_dimension_are_rows():
    model = weighted(Model(1, 3, 11).quant(), "Conv", 4, 3, 3, pads=[1, 1], strides=[2])
    model.quant(0.5)("AveragePool", kernel_shape=[2])("GlobalAveragePool").check(frames(9, 3, 11))
    assert model.network().graph.input.shape == (1, 11, 3)


def test_zero_is_a_value_of_its_own_where_padding_needs_it():
    model = Model(1, 3, 4, 5)("BipolarQuant", np.float32(0.5))
    network = weighted(model, "Conv", 4, 3, 3, 3, pads=[1, 1, 1, 1]).check(frames(20, 3, 4, 5))
    assert layers(network) == ["Requantize", "Window", "Dense"]
    assert network.formats["Conv_2_input"] == "0.5 * q"
    assert network.graph.types()["Conv_2_window"].hi == 1
    model = Model(1, 3, 4, 5).quant(0.25, np.float32([1, -2, 0]).reshape(3, 1, 1), bits=3)
    network = weighted(model, "Conv", 3, 1, 2, 2, pads=[1, 1, 0, 0], group=3).check(
        frames(20, 3, 4, 5))
    assert layers(network) == ["Requantize", "Depthwise"]
    model = Model(1, 3, 4, 5).quant(0.25, 2)
    network = weighted(model, "Conv", 3, 3, 2, 2, pads=[1, 1, 0, 0]).check(frames(20, 3, 4, 5))
    assert network.graph.nodes[0].layer.patches.fill == 2


def test_scales_of_channels_become_factors_of_weights():
    model = Model(1, 3, 4, 4).quant(np.float32([0.25, 1, 0.75]).reshape(3, 1, 1))
    network = weighted(model, "Conv", 2, 3, 2, 2).check(frames(9, 3, 4, 4))
    assert network.formats["Conv_2"] == "0.0625 * q"
    model = Model(1, 3, 4, 4).quant(np.float32([0.1, 0.3, 0.7]).reshape(3, 1, 1))
    weighted(model, "Conv", 3, 1, 2, 2, group=3).quant(0.37).check(frames(9, 3, 4, 4))


@pytest.mark.parametrize("options", [
    {}, {"count_include_pad": 1}, {"ceil_mode": 1}, {"auto_pad": "SAME_UPPER", "pads": None}])
def test_averages_divide_by_what_windows_see(options):
    options = {"pads": [1, 1, 0, 1], "strides": [2, 2], "kernel_shape": [3, 3]} | options
    options = {k: v for k, v in options.items() if v is not None}
    for zero in (0, 3):
        model = Model(1, 3, 6, 7).quant(0.25, zero)("AveragePool", **options).quant(0.125)
        assert layers(model.check(frames(20, 3, 6, 7)))[-2:] == ["Depthwise", "Requantize"]
    model = Model(1, 3, 6, 7)("BipolarQuant", np.float32(0.3))("AveragePool", **options)
    model.quant(0.1, 1).check(frames(20, 3, 6, 7))


@pytest.mark.parametrize(("op", "options"), [
    ("GlobalAveragePool", {}), ("ReduceMean", {"axes": [2, 3]}),
    ("ReduceMean", {"axes": [-1, -2], "keepdims": 0})])
def test_averages_over_the_map_are_sums(op, options):
    model = Model(1, 3, 5, 7).quant(0.25, zero=1)(op, **options).quant(0.0625)("Flatten")
    network = weighted(model, "MatMul", 3, 2).check(frames(20, 3, 5, 7))
    assert layers(network) == ["SpatialSum", "Requantize", "Dense"]
    Model(1, 5, 7, 3).quant(0.25, zero=1)("ReduceMean", axes=[1, 2]).quant(0.0625).check(
        frames(20, 5, 7, 3))
    model = Model(1, 5, 7, 3, opset=18).quant(0.25)("ReduceMean", np.array([1, 2]))
    model.quant(0.0625).check(frames(20, 5, 7, 3))


@pytest.mark.parametrize("version", [1, 2])
def test_trunc_after_an_average_equals_the_reference(version):
    model = Model(1, 3, 4, 4, quantizers=version).quant(0.25, bits=4, signed=0)
    model("AveragePool", kernel_shape=[3, 3])("Mul", np.float32(9))
    results = [np.float32(4), np.float32(4)] if version == 2 else [np.float32(4)]
    model("Trunc", np.float32(0.25), np.float32(0), np.float32(8), *results, rounding_mode="FLOOR")
    network = weighted(model, "Conv", 2, 3, 1, 1).check(frames(30, 3, 4, 4) + 2)
    assert layers(network) == ["Depthwise", "Requantize", "Dense"]


@pytest.mark.parametrize("options", [
    {}, {"pads": [1, 0, 1, 2]}, {"dilations": [2, 1]}, {"ceil_mode": 1, "strides": [2, 2]}])
def test_maxima_equal_the_reference(options):
    Model(1, 2, 6, 7).quant()("MaxPool", kernel_shape=[3, 3], **options).check(frames(9, 2, 6, 7))
    Model(1, 2, 6, 7)("MaxPool", kernel_shape=[3, 3], **options).quant().check(frames(9, 2, 6, 7))
    Model(1, 2, 6, 7).quant()("GlobalMaxPool").check(frames(9, 2, 6, 7))


def test_branches_of_any_kind_join():
    model = Model(1, 3, 4, 4).quant(0.25)
    x, names = model.last, []
    for op, options in (("Conv", {}), ("Conv", {"bias": [0.3, -0.2]})):
        model.last = x
        names.append(weighted(model, op, 2, 3, 1, 1, **options).last)
    names += [model.quant(np.float32([0.5, 1, 2]).reshape(3, 1, 1), 1, x=x).last,
              model("BipolarQuant", np.float32(0.125), x=x).last]
    for axis in (1, -3):
        network = model("Concat", *names[1:], x=names[0], axis=axis).quant(0.5).check(
            frames(20, 3, 4, 4))
        assert network.graph.nodes[-2].layer.__class__.__name__ == "Concatenate"
        assert network.graph.nodes[-1].layer.spec.channels == 10
    model("Concat", *names[1:], x=names[2], axis=1)
    weighted(model("Concat", names[2], x=names[3], axis=1), "Conv", 2, 6, 3, 3, scale=0.5,
             pads=[1, 1, 1, 1]).check(frames(20, 3, 4, 4))


def test_maps_join_along_rows_and_after_flattening():
    model = Model(1, 3, 4, 4).quant(0.25)
    x = model.last
    pooled = model("MaxPool", kernel_shape=[2, 1], x=x).last
    weighted(model("Concat", x, pooled, x=x, axis=2)("Flatten"), "MatMul", 132, 3)
    model.check(frames(20, 3, 4, 4))
    flat = model("Flatten", x=x).last
    model("Concat", flat, x=model("Flatten", x=pooled).last, axis=1)
    weighted(model, "MatMul", 84, 3).check(frames(20, 3, 4, 4))


@pytest.mark.parametrize(("scale", "factors"), [(0.25, (1, 1)), (0.5, (2, 1)), (0.75, (3, 1)),
                                                (0.375, (3, 2))])
def test_values_of_related_scales_add(scale, factors):
    model = Model(1, 3, 4, 4).quant(0.25, 1)
    x = model.last
    weighted(model, "Conv", 3, 3, 3, 3, pads=[1, 1, 1, 1]).quant(scale, -1)
    network = model("Add", x).quant(0.5).check(frames(20, 3, 4, 4))
    layer = network.graph.nodes[-2].layer
    assert (layer.factor0, layer.factor1) == factors


def test_sums_of_channels_of_several_scales_add():
    model = Model(1, 3, 4, 4).quant(0.25)
    x = model.last
    weights = model.weights(frames(3, 3, 1, 1), scale=np.float32([1, 0.5, 2]).reshape(3, 1, 1, 1))
    model("Conv", weights, x=x)("Add", x).quant(0.5).check(frames(20, 3, 4, 4))
    model("Add", model.quant(0.5, x=x).last, x=model.quant(
        np.float32([0.5, 0.25, 1]).reshape(3, 1, 1), x=x).last).check(frames(20, 3, 4, 4))


@pytest.mark.parametrize(("op", "opset", "options"), [
    ("Upsample", 9, {}), ("Resize", 10, {}), ("Resize", 13, {}), ("Resize", 13, {
        "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})])
def test_nearest_elements_are_repeated(op, opset, options):
    for factors in ([1, 1, 2, 3], [1, 1, 1, 2]):
        operands = [np.float32(factors)] if opset < 11 else [np.empty(0, np.float32),
                                                             np.float32(factors)]
        model = Model(1, 2, 3, 4, opset=opset).quant(0.25)("Mul", np.float32(
            [-1, 0.3]).reshape(2, 1, 1))(op, *operands, **options).quant(0.5)
        model.check(frames(9, 2, 3, 4))
        Model(1, 2, 3, 4, opset=opset)(op, *operands, **options).quant().check(frames(9, 2, 3, 4))


@pytest.mark.parametrize("value", [0, 0.5, -100])
def test_pads_are_windows(value):
    pads = np.array([0, 0, 1, -1, 0, 0, 0, 2])
    for model in (Model(1, 2, 3, 4).quant(0.25, 1), Model(1, 2, 3, 4)):
        model("Pad", pads, np.float32(value)).quant(0.5, 2, bits=8).check(frames(9, 2, 3, 4))
    model = Model(1, 3, 4, 2).quant()("Pad", np.array([0, 1, 0, 0, 0, 1, 2, 0]), np.float32(value))
    model.check(frames(9, 3, 4, 2))
    Model(1, 2, 3, 4, opset=9).quant()("Pad", pads=pads.tolist(), value=float(value)).check(
        frames(9, 2, 3, 4))


def test_channels_may_be_last():
    model = Model(1, 5, 6, 3).quant(0.25)
    weighted(model, "Conv", 4, 3, 2, 3, domain=CHANNELS_LAST, kernel_shape=[3, 2], group=1,
             pads=[1, 0, 1, 0], strides=[1, 1], dilations=[1, 1])
    x, weights = model.nodes[-1].input
    model.shapes = {x: (1, 5, 6, 3), weights: (4, 3, 2, 3), model.last: (1, 5, 5, 4)}
    model("BatchNormalization", *frames(3, 4), np.ones(4), domain=CHANNELS_LAST, epsilon=1e-5,
          momentum=0.9)
    model.shapes[model.last] = (1, 5, 5, 4)
    for op, domain in (("MaxPool", CHANNELS_LAST), ("MaxPoolNHWC", DOMAIN)):
        model(op, domain=domain, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 0, 0])
        model.shapes[model.last] = (1, *(4 - (op != "MaxPool"),) * 2, 4)
    network = model.quant(0.5)("Transpose", perm=[0, 3, 1, 2]).check(frames(9, 5, 6, 3))
    assert layers(network) == ["Window", "Dense", "MaxPool", "MaxPool", "Requantize"]
    assert network.graph.input.shape == (5, 6, 3)


def test_elements_in_another_order_are_reordered_by_weights():
    model = Model(1, 6, 3, 3).quant(0.25)("Reshape", np.array([1, 2, 3, 3, 3]))
    model("Transpose", perm=[0, 2, 1, 3, 4])("Reshape", np.array([0, 6, 3, 3]))
    network = weighted(model, "Conv", 6, 2, 1, 1, group=3).check(frames(9, 6, 3, 3))
    assert layers(network) == ["Dense"] # the host brings the input in any order
    weighted(model.quant(0.5)("Transpose", perm=[0, 2, 3, 1])("Reshape", np.array([1, -1])),
             "MatMul", 54, 8)
    weighted(model.quant(0.5)("Reshape", np.array([1, 2, 2, 2])), "Conv", 3, 2, 1, 1)
    network = model.check(frames(9, 6, 3, 3))
    assert layers(network)[-4:] == ["Requantize", "Dense", "Reshape", "Dense"]
    model = Model(1, 6, 3, 3).quant(0.25)("MaxPool", kernel_shape=[1, 1])
    model("Reshape", np.array([1, 2, 3, 3, 3]))("Transpose", perm=[0, 2, 1, 3, 4])
    model("Reshape", np.array([0, 6, 3, 3]))("MaxPool", kernel_shape=[2, 2])
    network = model.check(frames(9, 6, 3, 3))
    assert network.graph.nodes[1].layer.weights.shape == (6, 6)


def test_rows_of_a_matrix_are_places_of_a_map():
    model = weighted(Model(1, 3, 4, 5).quant(0.25, 1), "MatMul", 5, 6).quant(0.5)
    network = weighted(model, "MatMul", 6, 2).check(frames(9, 3, 4, 5))
    assert network.graph.types()["MatMul_2"].shape == (3, 4, 6)


def test_the_host_may_begin_with_maps():
    model = Model(1, 2, 6, 6)
    weighted(model, "Conv", 4, 1, 3, 3, group=2, pads=[1, 1, 1, 1], bias=[0.5, 1, 0, -1])
    model("AveragePool", kernel_shape=[2, 2])("ReduceMean", axes=[3]).quant(0.125, bits=8).check(
        np.round(frames(9, 2, 6, 6) * 16) / 16)


def test_what_is_added_to_sums_is_not_lost_without_a_quantizer():
    model = weighted(Model(1, 3).quant(0.25), "Gemm", 3, 4, bias=frames(4))
    assert "not a multiple" in error(weighted(model, "MatMul", 4, 2))
    model = weighted(Model(1, 3).quant(0.25), "Gemm", 3, 4, bias=[0.125, 1, 0, -3], scale=0.5)
    weighted(model, "MatMul", 4, 2).check(frames(9, 3))


# Bad input


def small():
    model = Model(1, 3).quant(0.25)
    return model("MatMul", model.weights(frames(3, 2)))("Relu").quant(0.5)


@pytest.mark.parametrize(("shape", "message"), [
    ((3,), "x[np.newaxis]"), ((2, 4), "(frames, 3)"), ((), "accepted"), ((1, 1, 3), "(frames, 3)")])
def test_inputs_of_the_wrong_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match="shape") as caught:
        small().network().encode(np.zeros(shape))
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, "1", None, 1j, 1e300])
def test_inputs_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match=r"NaN|type"):
        small().network().encode(np.array([[value, value, value]]))


def test_all_unsupported_nodes_are_listed():
    model = Model(1, 3).quant(0.25)("Erf").quant(0.25)("Relu")
    model("MatMul", frames(3, 2), x="t0")("Sin")
    lines = error(model).splitlines()
    assert lines[0] == "cannot import model: 2 nodes are not supported"
    assert lines[1].startswith("  Erf_1 (Erf): unknown operator; accepted: Abs, Add")
    assert lines[2].startswith("  MatMul_4 (MatMul): has float weights; accepted")
    assert len(lines) == 3


def gates(op, *operands, **attributes):
    return lambda: Model(1, 3).quant(0.25)(op, *operands, **attributes).quant(0.25)


FAULTS = {
    "scale must be positive, not 0": lambda: Model(1, 3).quant(0.0),
    "scale must be positive, not -1": lambda: Model(1, 3).quant(-1.0),
    "has a NaN": lambda: Model(1, 3).quant(np.nan),
    "has an infinity": lambda: Model(1, 3).quant(np.inf),
    "bit width is 17; accepted": lambda: Model(1, 3).quant(bits=17),
    "bit width is 2.5; accepted": lambda: Model(1, 3).quant(bits=2.5),
    "zero point is 0.5; accepted": lambda: Model(1, 3).quant(zero=0.5),
    "rounding mode is 'STOCHASTIC'; accepted": lambda: Model(1, 3).quant(mode="STOCHASTIC"),
    "not quantized: MatMul_0 has float weights": lambda: Model(1, 3)("MatMul", frames(3, 2)),
    "not quantized: there is no quantizer": lambda: Model(1, 3)("Relu"),
    "multiplies shapes": gates("MatMul", frames(4, 3)),
    "do not broadcast": gates("Add", frames(4)),
    "divides by zero": gates("Div", np.float32(0)),
    "repeats elements": gates("Add", frames(2, 3)),
    "reads 'later'": gates("Add", "later"),
    "attribute signed is a float": lambda: Model(1, 3).quant(signed=1.0),
    "is the second quantizer": lambda: Model(1, 3).quant(0.25).quant(0.5, x="x"),
    "comes after Softmax": lambda: Model(1, 3).quant(0.25)("Softmax").quant(0.25),
    "different scales": lambda: Model(1, 3).quant(0.25).quant(0.3)("Add", "t0"),
    "variance must not be negative": gates("BatchNormalization",
                                           *np.float32([[1] * 3, [1] * 3, [1] * 3, [-1] * 3])),
    "accepted: Quant before it": lambda: Model(1, 3).quant(0.25)("Add", np.float32(0.1))(
        "MatMul", np.ones((3, 2), np.float32)),
}


def of_map(op, *operands, **attributes):
    return lambda: Model(1, 2, 6, 6).quant(0.25)(op, *operands, **attributes).quant(0.25)


KERNEL = {"kernel_shape": [3, 3]}
FAULTS |= {
    "in 1 groups to activations": of_map("Conv", np.ones((3, 4, 1, 1), np.float32)),
    "in 2 groups to activations": of_map("Conv", np.ones((3, 1, 1, 1), np.float32), group=2),
    "has float weights": of_map("Conv", frames(3, 2, 1, 1)),
    "windows of 7 on 6 elements": of_map("Conv", np.ones((3, 2, 7, 7), np.float32)),
    "auto_pad is 'SAME'": of_map("MaxPool", auto_pad="SAME", **KERNEL),
    "attribute pads is [-1": of_map("MaxPool", pads=[-1, 0, 0, 0], **KERNEL),
    "attribute strides is [1]": of_map("MaxPool", strides=[1], **KERNEL),
    "has a kernel of 1 dimensions": of_map("MaxPool", kernel_shape=[3]),
    "see padding only": of_map("MaxPool", pads=[3, 3, 3, 3], **KERNEL),
    "accepted: (1, channels, rows, columns)": gates("GlobalAveragePool"),
    "mode is 'reflect'": of_map("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect"),
    "pads by [0, 1, 0, 0, 0, 0, 0, 1]": of_map("Pad", np.array([0, 1, 0, 0, 0, 0, 0, 1])),
    "fills with 0.1, which is no multiple": of_map(
        "Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0.1)),
    "resizes by [1.0, 1.0, 1.5, 1.0]": of_map(
        "Resize", np.empty(0, np.float32), np.float32([1, 1, 1.5, 1])),
    "repeats elements unevenly": of_map(
        "Resize", np.empty(0, np.float32), np.float32([1, 1, 3, 1]),
        coordinate_transformation_mode="asymmetric"),
    "repeats elements unevenly (as?m ?, floor)": of_map(
        "Resize", np.empty(0, np.float32), np.float32([1, 1, 3, 1]),
        coordinate_transformation_mode="as\0m\n\n\x1b", nearest_mode="floor"),
    "joins shapes": of_map("Concat", np.ones((1, 2, 5, 6), np.float32), axis=1),
    "joins streams with constants": of_map("Concat", np.ones((1, 2, 6, 6), np.float32), axis=1),
    "in an order in which they are not computed": lambda: Model(1, 3, 32, 32).quant(0.25)(
        "Flatten").quant(0.5)("Transpose", perm=[1, 0])("Reshape", np.array([1, 32, 3, 32]))(
        "MaxPool", **KERNEL),
    "differs by row or column": lambda: weighted(
        Model(1, 2, 6, 6).quant(np.float32(range(1, 7))), "Conv", 3, 2, 3, 3),
    "(0.1, 0.3); accepted: the same scale": lambda: weighted(
        Model(1, 2, 6, 6).quant(np.float32([0.1, 0.3]).reshape(2, 1, 1)), "Conv", 3, 2, 3, 3),
    "has 16384 possible values": lambda: weighted(
        Model(1, 2, 60, 60).quant(bits=14)("Add", frames(60, 60)), "Conv", 3, 2, 3, 3),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_named(message):
    assert message in error(FAULTS[message]())


@pytest.mark.parametrize(("shape", "message"), [
    (("N", 3), "dynamic shape (N, 3); export"), ((4, 3), "batch size 4"), ((0, 3), "dynamic shape"),
    (None, "dynamic"), ((1, 2**40), "accepted: 4194304 elements")])
def test_shapes_that_are_not_fixed_are_refused(shape, message):
    assert message in error(small(), shape=shape)


def test_files_that_are_no_models_are_refused(tmp_path):
    whole = small().proto().SerializeToString()
    for name, content, message in (
            ("empty.onnx", b"", "is empty"), ("text.onnx", b"hello, world", "not an ONNX model"),
            ("cut.onnx", whole[:len(whole) // 2], "truncated"),
            ("network.xyz", b"hello, world", "not a model")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="directory"):
        read(tmp_path)
    with pytest.raises(ValueError, match="there is no file"):
        read(tmp_path / "missing.onnx")
    (tmp_path / "model.bin").write_bytes(whole)
    assert read(str(tmp_path / "model.bin")).name == "model"


def test_nodes_with_too_few_inputs_or_too_many_are_refused():
    model = small()
    del model.nodes[0].input[1:]
    assert "Quant_0 (Quant): has 1 inputs, too few or too many" in error(model)
    model = small()
    model.nodes[-1].input.append("x")
    assert "Quant_4 (Quant): has 5 inputs, too few or too many" in error(model)


def test_subgraphs_external_data_and_several_outputs_are_refused():
    proto = small().proto()
    branch = helper.make_graph([], "branch", [], [])
    proto.graph.node.append(helper.make_node("If", ["x"], ["y"], "If_9", then_branch=branch))
    with pytest.raises(ValueError, match=r"If_9 \(If\): unknown operator"):
        qonnx.read(proto.SerializeToString(), "model")
    proto = small().proto()
    proto.graph.output.append(proto.graph.output[0])
    with pytest.raises(ValueError, match="2 outputs"):
        qonnx.read(proto.SerializeToString(), "model")
    proto = small().proto()
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="another file"):
        qonnx.read(proto.SerializeToString(), "model")


def test_every_importer_is_listed():
    package = Path(__import__("bittern.gen.importers", fromlist=["x"]).__file__).parent
    found = {p.parent.name for p in package.glob("*/__init__.py")}
    assert found == {i.__name__.rsplit(".", 1)[-1] for i in IMPORTERS}


def test_a_bias_in_units_of_the_sums_is_the_layers_own():
    network = read(Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx")
    layer = network.graph.nodes[-1].layer
    assert len(np.unique(layer.bias)) > 1
    q = np.random.default_rng(0).integers(0, 16, (500, 64))
    y = network.graph.golden(q)
    assert np.array_equal(y.argmax(axis=1), network.decode(y).argmax(axis=1))
    assert np.array_equal(network.decode(y), (y * 0.25).astype(np.float32))
