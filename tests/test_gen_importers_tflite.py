"""The TFLite importer against LiteRT's reference kernels."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tflite_networks
from ai_edge_litert import schema_py_generated as schema
from tflite_networks import Model

from bittern.gen.importers import read, tflite
from bittern.gen.importers.errors import UnsupportedError
from bittern.gen.layers.add import Add
from bittern.hw.table import Table

SHARED = Path(os.environ.get("BITTERN_SHARED", Path(__file__).parents[2] / "shared"))
BYTES = np.arange(-128, 128, dtype=np.int8)
PAIRS = np.concatenate([np.repeat(BYTES, 256), np.tile(BYTES, 256)])[np.newaxis]
BATCH = 25
"""Frames at a time: golden models of images take memory."""


def parameters(rng, about=0.05):
    """A scale and a zero point."""
    return {"scale": float(np.float32(about * 2 ** rng.uniform(-3, 3))),
            "zero": int(rng.integers(-128, 128))}


def layers(network):
    return [type(n.layer).__name__ for n in network.graph.nodes]


@pytest.mark.parametrize("name", ["mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws"])
def test_real_networks_equal_their_reference(name):
    path = SHARED / "models" / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there; BITTERN_SHARED names the folder")
    network, data = read(path), np.load(SHARED / "data" / f"{name}.npz")
    assert network.input_shape == data["x"].shape[1:]
    for start in range(0, len(data["x"]), BATCH):
        part = slice(start, start + BATCH)
        y = network.decode(network.graph.golden(network.encode(data["x"][part])))
        assert y.dtype == data["y"].dtype
        np.testing.assert_array_equal(y, data["y"][part])


@pytest.mark.parametrize("kind", ["INT8", "INT16"])
def test_random_networks_equal_the_reference(kind):
    seed = 100
    print(f"seed {seed}")
    for k in range(40 if kind == "INT8" else 10):
        assert tflite_networks.compare(seed + k, kind) == "equal", seed + k


# Of operators with one or two operands, all integers


@pytest.mark.parametrize(("op", "options"), [
    ("HARD_SWISH", {}), ("LEAKY_RELU", {"alpha": 0.3}), ("LEAKY_RELU", {"alpha": -0.2}),
    ("LOGISTIC", {"scale": 1 / 256, "zero": -128}), ("QUANTIZE", {}), ("RELU", {}), ("RELU6", {}),
    ("RELU_N1_TO_1", {}), ("SOFTMAX", {"scale": 1 / 256, "zero": -128, "beta": 1.0}),
    ("TANH", {}), ("TANH", {"scale": 1 / 128, "zero": 0})])
def test_functions_of_one_integer_equal_the_reference(op, options):
    seed = 1
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for _ in range(5):
        model = Model(1, 256, **parameters(rng))
        model(op, **{**parameters(rng), **options})
        model.check(BYTES[np.newaxis])


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_functions_of_two_integers_equal_the_reference(op, activation):
    seed = 2
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for _ in range(4):
        model = Model(1, 131072, **parameters(rng))
        bounds = (0, 65536), (65536, 131072)
        x = model.input
        x0, x1 = (model("STRIDED_SLICE", x, *(model.constant([0, b]) for b in pair),
                        model.constant([1, 1]), shape=(1, 65536), endMask=1) for pair in bounds)
        x1 = model("QUANTIZE", x1, **parameters(rng))
        model(op, x0, x1, **parameters(rng, (x0.scale + x1.scale) if op != "MUL" else
                                       x0.scale * x1.scale * 100),
              fusedActivationFunction=getattr(schema.ActivationFunctionType, activation))
        network = model.check(PAIRS)
        assert ("Multiply" if op == "MUL" else "Add") in layers(network)


def test_sums_have_small_factors_or_two_tables():
    kinds = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        model = Model(1, 131072, scale=0.02, zero=3)
        x = model.input
        x0, x1 = model("SPLIT", model.constant(1), x, numSplits=2, outputs=2, shape=(1, 65536))
        x1 = model("QUANTIZE", x1, **parameters(rng, 0.02))
        network = model("ADD", x0, x1, scale=0.04) and model.check(PAIRS)
        add = next(n.layer for n in network.graph.nodes if isinstance(n.layer, Add))
        tables = [n for n in network.graph.nodes if "part" in n.name]
        assert max(add.factor0, add.factor1) < 512
        assert len(tables) == (2 if (add.factor0, add.factor1) == (1, 1) else 0)
        assert all(isinstance(n.layer.spec, Table) for n in tables)
        kinds.add(bool(tables))
    assert False in kinds


def test_a_tensor_may_meet_itself():
    for op in ("ADD", "SUB", "MUL"):
        model = Model(1, 256, scale=0.05, zero=-7)
        model(op, model.input, model.input, scale=0.07)
        assert layers(model.check(BYTES[np.newaxis])) == ["Requantize"]


def test_constants_become_thresholds_or_tables():
    rng = np.random.default_rng(3)
    x = np.broadcast_to(BYTES[:, None, None, None], (256, 2, 3, 4))
    for op in ("ADD", "SUB", "MUL"):
        for shape in ((), (4,), (1, 1, 1, 4), (1, 2, 3, 4), (3, 1)):
            for turned in (False, True):
                model = Model(1, 2, 3, 4, scale=0.05, zero=-7)
                c = model.constant(rng.integers(-99, 99, shape), "INT8", 0.03, 5)
                model(op, *([c, model.input] if turned else [model.input, c]), shape=(1, 2, 3, 4),
                      scale=0.2 if op == "MUL" else 0.07)
                assert layers(model.check(x)) == ["Requantize"]


def test_one_value_of_a_channel_is_repeated_over_the_map():
    model = Model(1, 3, 5, 4, scale=0.05, zero=-7)
    x = model.input
    gate = model("MEAN", x, model.constant([1, 2]), keepDims=True, shape=(1, 1, 1, 4))
    model("MUL", gate, x, scale=0.08, shape=(1, 3, 5, 4))
    network = model.check(np.random.default_rng(4).integers(-128, 128, (50, 3, 5, 4)))
    assert layers(network) == ["SpatialSum", "Requantize", "Reshape", "Window", "Multiply",
                               "Requantize"]


# Ends


@pytest.mark.parametrize(("kind", "scale", "zero"), [
    ("FLOAT32", 0.0, 0), ("UINT8", 0.05, 135), ("INT8", 0.05, 7), ("INT16", 0.05, 0)])
@pytest.mark.parametrize("end", ["FLOAT32", "UINT8", "INT8"])
def test_the_host_quantizes_at_the_ends(kind, scale, zero, end):
    model = Model(1, 40, type=kind, scale=scale, zero=zero)
    if kind == "FLOAT32":
        model("RESHAPE", model.input, model.constant([1, 8, 5]), shape=(1, 8, 5))
        model("QUANTIZE", model.last, to="INT8", scale=0.05, zero=7)
    elif kind != "INT8":
        model("QUANTIZE", model.last, to="INT8", scale=0.05, zero=7)
    model("RELU", model.last)
    if end == "FLOAT32":
        model("DEQUANTIZE", model.last, to="FLOAT32", scale=0.0)
    elif end == "UINT8":
        model("QUANTIZE", model.last, to="UINT8", scale=0.06, zero=130)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 40), scale=4).astype(np.float32)
    x[0] = (np.arange(40) + 0.5) * np.float32(0.05) # ties
    network = model.network()
    if kind == "FLOAT32":
        model.check(x)
    else:
        bounds = np.iinfo(tflite_networks.DTYPES[kind])
        integers = rng.integers(bounds.min, bounds.max + 1, (30, 40))
        model.check(integers)
        quantized = Model(1, 40, type="FLOAT32")
        quantized("QUANTIZE", quantized.last, to=kind, scale=scale, zero=zero)
        stored = tflite_networks.reference(quantized.file(), x)
        np.testing.assert_array_equal(network.encode(x), network.encode(stored))
    assert layers(network) == (["Requantize"] if kind != "INT16" else ["Requantize"] * 2)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros(40), "one frame needs an axis"), (np.zeros((2, 41)), "shape"),
    (np.full((1, 40), 200), r"200..200; accepted: -128..127"),
    (np.full((1, 40), np.nan), "NaN"), (np.full((1, 40), 1e30), "too large"),
    (np.full((1, 40), "1"), "type")])
def test_inputs_that_do_not_suit_are_refused(x, message):
    model = Model(1, 40)
    model("RELU")
    with pytest.raises(ValueError, match=message):
        model.network().encode(x)


# What becomes of operators


def test_padding_is_taken_into_windows():
    model = Model(1, 5, 6, 2, zero=3)
    model("PAD", model.input, model.constant([[0, 0], [1, 2], [0, 1], [0, 0]]), shape=(1, 8, 7, 2))
    w = np.random.default_rng(6).integers(-9, 9, (3, 3, 3, 2))
    model.conv(model.last, w, to_scale=0.2, shape=(1, 6, 5, 3), padding=1, strideH=1, strideW=1)
    x = np.random.default_rng(7).integers(-128, 128, (9, 5, 6, 2))
    network = model.check(x)
    assert layers(network) == ["Window", "Dense", "Requantize"]
    assert [r.rule for r in network.rules] == ["folded into the next", "window, dense, requantize"]


def test_channels_may_be_padded():
    model = Model(1, 5, 6, 2, zero=3)
    model("PAD", model.input, model.constant([[0, 0], [0, 0], [1, 0], [1, 2]]), shape=(1, 5, 7, 5))
    model.check(np.random.default_rng(8).integers(-128, 128, (9, 5, 6, 2)))


def test_a_convolution_of_one_tap_has_no_window():
    model = Model(1, 4, 4, 3)
    w = np.random.default_rng(9).integers(-99, 99, (5, 1, 1, 3))
    model.conv(model.input, w, to_scale=0.5, shape=(1, 4, 4, 5), padding=0, strideH=1, strideW=1)
    network = model.check(np.random.default_rng(10).integers(-128, 128, (9, 4, 4, 3)))
    assert layers(network) == ["Dense", "Requantize"]


def test_what_changes_nothing_is_left_out():
    model = Model(1, 4, 4, 3, scale=1 / 16, zero=-128)
    model("RELU")
    model("QUANTIZE")
    model("TRANSPOSE", model.last, model.constant([1, 0, 2, 3]), shape=(4, 1, 4, 3))
    model("SQUEEZE", model.last, shape=(4, 4, 3), squeezeDims=[1])
    model("EXPAND_DIMS", model.last, model.constant(0), shape=(1, 4, 4, 3))
    model("MAX_POOL_2D", shape=(1, 2, 2, 3), filterHeight=2, filterWidth=2, padding=1, strideH=2,
          strideW=2)
    network = model.check(np.random.default_rng(11).integers(-128, 128, (9, 4, 4, 3)))
    assert layers(network) == ["MaxPool"]
    assert {r.rule for r in network.rules[:-1]} == {"nothing to do"}


def test_shapes_may_be_computed():
    model = Model(1, 4, 6, signature=[-1, 4, 6])
    x = model.input
    shape = model("SHAPE", x, to="INT32", scale=0.0, shape=(3,),
                  outType=schema.TensorType.INT32)
    one = model("STRIDED_SLICE", shape, *(model.constant([n]) for n in (0, 1, 1)), shape=(),
                shrinkAxisMask=1, scale=0.0)
    model("PACK", one, model.constant(24), to="INT32", scale=0.0, shape=(2,), valuesCount=2)
    model("RESHAPE", x, model.last, shape=(1, 24))
    model.conv(model.last, np.random.default_rng(12).integers(-99, 99, (5, 24)),
               op="FULLY_CONNECTED", to_scale=1.0, shape=(1, 5))
    network = model.check(np.random.default_rng(13).integers(-128, 128, (9, 4, 6)))
    assert [r.rule for r in network.rules[:4]] == [*["constant"] * 3, "nothing to do"]


@pytest.mark.parametrize("options", [
    {"alignCorners": False, "halfPixelCenters": False},
    {"alignCorners": True, "halfPixelCenters": False},
    {"alignCorners": False, "halfPixelCenters": True}])
def test_nearest_neighbours_are_those_of_the_reference(options):
    taken = []
    for size in (1, 2, 3, 5, 8):
        for out in range(1, 25):
            model = Model(1, size, 1, 1)
            model("RESIZE_NEAREST_NEIGHBOR", model.input, model.constant([out, 1]),
                  shape=(1, out, 1, 1), **options)
            with suppress(UnsupportedError):
                model.check(np.arange(size, dtype=np.int8).reshape(1, size, 1, 1))
                taken.append((size, out))
    assert len(taken) > 40
    assert options["alignCorners"] or all(
        (size, size * n) in taken for size in (2, 3, 5, 8) for n in (1, 2, 3))


@pytest.mark.parametrize("op", ["CONV_2D", "FULLY_CONNECTED"])
def test_weights_may_have_four_bits(op):
    rng = np.random.default_rng(14)
    shape = (3, 2, 2, 5) if op == "CONV_2D" else (3, 15)
    w = rng.integers(-8, 8, shape)
    flat = np.append(w.ravel() & 15, np.zeros(w.size % 2, int)).reshape(-1, 2)
    model = Model(1, 3, 1, 5)
    pairs = (flat[:, 0] | flat[:, 1] << 4).astype(np.uint8)
    weights = model.tensor(shape, "INT4", 0.1, data=pairs.tobytes())
    bias = model.constant([5, -9, 0], "INT32", 0.005)
    options = {"padding": 0, "strideH": 1, "strideW": 1} if op == "CONV_2D" else {}
    model(op, model.input, weights, bias, scale=1.5, **options,
          shape=(1, 3, 1, 3) if op == "CONV_2D" else (1, 3))
    model.check(rng.integers(-128, 128, (30, 3, 1, 5)))


def test_weights_of_a_matrix_may_have_a_zero_point():
    rng = np.random.default_rng(15)
    model = Model(1, 7, zero=-4)
    w = model.constant(rng.integers(-128, 128, (5, 7)), "INT8", 0.01, 17)
    model("FULLY_CONNECTED", model.input, w, -1, scale=0.3, shape=(1, 5))
    model.check(rng.integers(-128, 128, (60, 7)))


@pytest.mark.parametrize("op", ["CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"])
@pytest.mark.parametrize("bits", [32, 64])
def test_sums_of_16_bits_may_have_either_width(op, bits):
    seed = 17
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for _ in range(3):
        model = Model(1, 4, 4, 3, type="INT16", scale=0.001)
        scale = np.float32(0.01 * 2 ** rng.uniform(-2, 1, 5))
        w = rng.integers(-127, 128, (5, 48) if op == "FULLY_CONNECTED" else (5, 3, 3, 3))
        inputs = [model.input, model.constant(w, "INT8", scale),
                  model.constant(rng.integers(-9999, 9999, 5), f"INT{bits}", 0.001 * scale)]
        if op == "TRANSPOSE_CONV":
            inputs = [model.constant([1, 4, 4, 5]), inputs[1], inputs[0], inputs[2]]
        options = {} if op == "FULLY_CONNECTED" else {"padding": 0, "strideH": 1, "strideW": 1}
        if bits == 32:
            options["quantizedBiasType"] = schema.TensorType.INT32
        model(op, *inputs, scale=0.02 * 2 ** rng.uniform(-2, 2), to="INT16", zero=0,
              shape=(1, 5) if op == "FULLY_CONNECTED" else (1, 4, 4, 5), **options)
        network = model.check(rng.integers(-32768, 32768, (6, 4, 4, 3)))
        assert layers(network).count("Requantize") == (
            2 if bits == 32 and op != "FULLY_CONNECTED" else 1)


# Bad input


def error(model, *outputs):
    with pytest.raises(ValueError) as caught: # noqa: PT011
        model.network(*outputs)
    return str(caught.value)


def test_all_unsupported_operators_are_listed():
    model = Model(1, 4, 4, 3)
    model("RESIZE_BILINEAR", model.input, model.constant([8, 8]), shape=(1, 8, 8, 3))
    model("RELU")
    model("ELU", model.input)
    model("MEAN", model.input, model.constant([3]), keepDims=True, shape=(1, 4, 4, 1))
    lines = error(model).splitlines()
    assert lines[0] == "cannot import model: 3 operators are not supported"
    assert lines[1] == ("  resize_bilinear_0 (RESIZE_BILINEAR): has no rule; instead: "
                        "RESIZE_NEAREST_NEIGHBOR")
    assert lines[2].startswith("  elu_2 (ELU): has no rule; accepted: ADD, AVERAGE_POOL_2D")
    assert lines[3].startswith("  mean_3 (MEAN): averages axes [3] of shape (1, 4, 4, 3); accepted")
    assert len(lines) == 4


def faulty(change):
    """A convolution with something wrong."""
    model = Model(1, 4, 4, 3)
    model.conv(model.input, np.ones((2, 3, 3, 3), int), scale=[0.01, 0.02], to_scale=0.5,
               shape=(1, 4, 4, 2), padding=0, strideH=1, strideW=1)
    change(model)
    return model


def changed(index, **values):
    return lambda m: [setattr(m.tensors[index], k, v) for k, v in values.items()]


def quantized(index, **values):
    return lambda m: [setattr(m.tensors[index].quantization, k, v) for k, v in values.items()]


def option(**values):
    return lambda m: [setattr(m.operators[0].builtinOptions, k, v) for k, v in values.items()]


FAULTS = {
    "has batch size 2; convert the network with a fixed shape": changed(0, shape=[2, 4, 4, 3]),
    "has a dynamic shape": changed(0, shapeSignature=[1, -1, 4, 3]),
    "activations 't0' have 3 scales; accepted": quantized(0, scale=[0.1] * 3, zeroPoint=[0] * 3),
    "activations 't0' have no scale": changed(0, quantization=None),
    "zero point 300, which is no INT8": quantized(0, zeroPoint=[300]),
    "not positive and finite": quantized(0, scale=[float("nan")]),
    "ratio is 2**30 or more": quantized(3, scale=[1e-30]),
    "3 scales and 2 zero points": quantized(1, scale=[0.1] * 3),
    "2 scales along axis 3": quantized(1, quantizedDimension=3),
    "the zero point 4; accepted": quantized(1, zeroPoint=[4, 0]),
    "has 18 bytes, not 54": lambda m: m.buffers.__setitem__(1, m.buffers[1][:18]),
    "needs a constant for its weights, not a computed value": lambda m: m(
        "CONV_2D", m.last, m.input, m.constant([0]), padding=0, strideH=1, strideW=1),
    "reads tensor 1 ('t1'), which no operator before": changed(1, buffer=0),
    "fused activation TANH; accepted": option(fusedActivationFunction=4),
    "fused activation number 9": option(fusedActivationFunction=9),
    "has stride 0 x 1; accepted": option(strideH=0),
    "a window of 9 does not fit": option(padding=1, dilationHFactor=4),
    "the padding number 7": option(padding=7),
    "goes from INT8 to INT16": changed(3, type=schema.TensorType.INT16),
    "is a variable": changed(0, isVariable=True),
    "it has weights of 8 bits, but its activations are floats (dynamic range); convert": lambda m: [
        changed(i, type=schema.TensorType.FLOAT32, quantization=None)(m) for i in (0, 3)],
    "its activations are UINT8, of TensorFlow 1": lambda m: [
        changed(i, type=schema.TensorType.UINT8)(m) for i in (0, 3)],
    "which are shifted left by": quantized(3, scale=[1e-9]),
    "has 1 inputs, too few or too many": lambda m: m("ADD", m.last),
    "accepted: INT8 everywhere": lambda m: m("TANH", m("QUANTIZE", m.last, to="INT16", zero=0)),
    "averages 786432 elements": lambda m: m(
        "AVERAGE_POOL_2D", m("RESIZE_NEAREST_NEIGHBOR", m.input, m.constant([512, 512])),
        strideH=1, strideW=1, filterHeight=3, filterWidth=3, padding=0),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_named(message):
    text = error(faulty(FAULTS[message]))
    assert message in text
    assert len(text.splitlines()) <= 2


def test_several_subgraphs_inputs_and_outputs_are_refused():
    model = faulty(lambda _m: None)
    assert "has 2 outputs ('t0', 't3')" in error(model, model.input, model.last)
    tree = schema.ModelT.InitFromPackedBuf(model.file(), 0)
    tree.subgraphs *= 2
    builder = tflite_networks.flatbuffers.Builder(0)
    builder.Finish(tree.Pack(builder), b"TFL3")
    with pytest.raises(ValueError, match=r"has 2 subgraphs; accepted: one"):
        tflite.read(bytes(builder.Output()), "model")


def test_float_models_are_refused_in_one_line():
    model = Model(1, 4, type="FLOAT32", scale=0.0)
    model("RELU", model.input)
    assert error(model) == (
        "model is not a quantized network: its activations are FLOAT32; convert it with full "
        "integer quantization: a representative data set and TFLITE_BUILTINS_INT8")


def test_files_that_are_no_models_are_refused(tmp_path):
    whole = faulty(lambda _m: None).file()
    for name, content, message in (
            ("text.tflite", b"hello, world", "not a TFLite model"),
            ("cut.tflite", whole[:len(whole) // 2], "damaged"),
            ("head.tflite", whole[:8], "damaged")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "model.bin").write_bytes(whole)
    assert read(tmp_path / "model.bin").name == "model"
