"""The QONNX importer against the QONNX executor."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx_networks import (
    MODES,
    InferShapes,
    Model,
    ModelWrapper,
    execute_onnx,
    frames,
    fuzz,
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


def convolutional(**options):
    """Return a network of one convolution, one dense layer and what is usually between."""
    rng = np.random.default_rng(7)
    model = Model(1, 3, 8, 9).quant(0.25, bits=6)
    model("Conv", model.weights(rng.normal(size=(6, 3, 3, 3)), scale=0.25, bits=4), **options)
    model("BatchNormalization", *(v.astype(np.float32) for v in (
        rng.normal(size=6), rng.normal(size=6), rng.normal(size=6), rng.random(6) + 0.1)))
    model("Relu").quant(0.5, bits=4, signed=0)("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    model("Flatten")
    model("Gemm", model.weights(rng.normal(size=(model.reference(frames(1, 3, 8, 9)).size, 5)),
                                scale=0.5))
    return model


def layers(network):
    return [type(n.layer).__name__ for n in network.graph.nodes]


def test_a_convolutional_network_equals_the_reference():
    model = convolutional(pads=[1, 1, 1, 1])
    network = model.check(frames(10, 3, 8, 9))
    assert layers(network) == ["Window", "Dense", "Requantize", "MaxPool", "Reshape", "Dense"]
    assert [r.rule for r in network.rules[2:]] == [
        "convolution", "folded into the thresholds of Quant_5",
        "folded into the thresholds of Quant_5", "thresholds", "max pool", "shape only",
        "constant", "dense"]
    assert network.graph.input.shape == (8, 9, 3)


@pytest.mark.parametrize("seed", range(30))
def test_random_convolutional_networks_equal_the_reference(seed):
    assert not list(fuzz(1, seed))


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


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_named(message):
    assert message in error(FAULTS[message]())


@pytest.mark.parametrize(("shape", "message"), [
    (("N", 3), "dynamic shape (N, 3); export"), ((4, 3), "batch size 4"), ((0, 3), "dynamic shape"),
    (None, "dynamic"), ((1, 2**40), "too large")])
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


def test_damaged_files_never_fail_otherwise():
    seed = 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    model = small()
    whole = model("Reshape", np.int64([1, -1]))("Softmax").proto().SerializeToString()
    for attempt in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if attempt % 2:
            del data[rng.randrange(len(data)):]
        try:
            network = qonnx.read(bytes(data), "damaged")
        except ValueError:
            continue
        assert network.graph.nodes


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
