"""The importer of quantized ONNX files against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_networks import INT8, Model, compare

from bittern.gen.importers import onnx as importer
from bittern.gen.importers import qonnx, read

DTYPES = (np.uint8, np.int8)


def every(dtype):
    """Every integer of 8 bits, in a frame."""
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype).reshape(1, 256)


def pairs(dtype):
    """Every pair of integers, in a frame of two channels."""
    return np.stack(np.meshgrid(every(dtype)[0], every(dtype)[0]))[np.newaxis]


def error(model):
    with pytest.raises(ValueError) as caught: # noqa: PT011
        model.network()
    return str(caught.value)


def outcome(model, frames):
    try:
        model.check(frames)
    except ValueError as fault:
        return str(fault)
    return "equal"


def rules(network):
    return {r.op: r.rule for r in network.rules}


def layers(network):
    return [type(n.layer).__name__ for n in network.graph.nodes]


def weights(rng, *shape, dtype=np.int8):
    return rng.integers(-64, 64, shape).astype(dtype) if dtype == np.int8 else (
        rng.integers(60, 190, shape).astype(dtype))


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_equal_the_reference(seed):
    print(f"seed {seed}")
    assert compare(seed) == "equal"


# Operators, over all integers


UNARY = {
    "Sigmoid": ({}, 1 / 256), "Tanh": ({}, 1 / 128), "LeakyRelu": ({"alpha": 0.07}, 0.05),
    "HardSigmoid": ({"alpha": 0.21, "beta": 0.4}, 1 / 200), "HardSwish": ({}, 0.04),
    "Relu": ({}, 0.03), "Abs": ({}, 0.04), "Neg": ({}, 0.05),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", UNARY)
def test_functions_equal_the_reference(op, dtype):
    attributes, scale = UNARY[op]
    rng = np.random.default_rng(1)
    for _ in range(5):
        zeros = [dtype(z) for z in rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, 2)]
        model = Model(1, 256, dtype=dtype)
        x = model.dq("x", rng.uniform(0.01, 0.1), zeros[0])
        model.q(model(op, x, **attributes), scale * rng.uniform(0.5, 1.5), zeros[1])
        model.check(every(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["Sigmoid", "LeakyRelu"])
def test_functions_of_integers_equal_the_reference(op, dtype):
    model = Model(1, 256, dtype=dtype)
    model(f".QLinear{op}", "x", np.float32(0.07), dtype(9), np.float32(0.01), dtype(30), kind=dtype,
          **({"alpha": 0.3} if op == "LeakyRelu" else {}))
    model.check(every(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scales_and_functions_between_quantizers_become_one_table(dtype):
    model = Model(1, 256, dtype=dtype)
    x = model.dq("x", 0.05, dtype(100))
    y = model("Mul", x, model("Sigmoid", model("Mul", x, np.float32(1.7))))
    y = model("Div", model("Sub", np.float32(1), model("Clip", y, np.float32(-0.2), np.float32(3))),
              np.float32(0.7))
    model.pair(y, 0.02, dtype(20))
    assert layers(model.check(every(dtype))) == ["Requantize"]


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_products_equal_the_reference_for_all_pairs(op, dtype):
    rng = np.random.default_rng(2)
    for k in range(4):
        zeros = [dtype(z) for z in rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, 3)]
        scales = rng.uniform(0.01, 0.1, 2).astype(np.float32)
        scale = np.float32(np.prod(scales) * 70 if op == "Mul" else scales.max() * 1.3)
        model = Model(1, 2, 256, 256, dtype=dtype)
        parts = model("Split", "x", np.array([1, 1]), outputs=2, axis=1, kind=dtype)
        if k % 2 and op != "Sub":
            model(f".QLinear{op}", parts[0], scales[0], zeros[0], parts[1], scales[1], zeros[1],
                  scale, zeros[2], kind=dtype)
        else:
            a, b = (model.dq(p, s, z) for p, s, z in zip(parts, scales, zeros, strict=False))
            model.q(model(op, a, b), scale, zeros[2])
        model.check(pairs(dtype))


def test_sums_of_different_types_are_those_of_floats():
    model = Model(1, 2, 256, 256, dtype=np.uint8)
    a, b = model("Split", "x", np.array([1, 1]), outputs=2, axis=1, kind=np.uint8)
    y = model("Add", model.dq(a, 0.03, np.uint8(3)), model.dq(b, 0.0441, np.uint8(5)))
    model.q(model("Relu", y), 0.0632, np.int8(-7))
    model.check(pairs(np.uint8))


def test_sums_that_no_two_factors_compute_are_made_of_tables():
    scales, zeros = np.float32([0.033126697, 0.008281674, 0.059705105]), np.uint8([78, 46, 170])
    model = Model(1, 2, 256, 256, dtype=np.uint8)
    a, b = model("Split", "x", np.array([1, 1]), outputs=2, axis=1, kind=np.uint8)
    model(".QLinearAdd", a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2],
          kind=np.uint8)
    assert layers(model.check(pairs(np.uint8))).count("Requantize") == 3


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 1, 5), (3, 5), (1, 4, 3, 5)])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("first", [False, True])
def test_constants_broadcast_as_in_the_reference(shape, op, first):
    rng = np.random.default_rng(3)
    model = Model(1, 4, 3, 5)
    x = model.pair("x", 0.031, np.uint8(100))
    c = model.dq(rng.integers(0, 256, shape).astype(np.uint8), 0.0173, np.uint8(77))
    model.pair(model(op, *((c, x) if first else (x, c))), 0.047, np.uint8(120))
    model.check(model.frames(rng, 300))


@pytest.mark.parametrize("first", [False, True])
def test_maps_are_scaled_by_what_one_pixel_says(first):
    rng = np.random.default_rng(4)
    model = Model(1, 6, 4, 5, dtype=np.uint8)
    x = model.dq("x", 0.031, np.uint8(100))
    s = model.pair(model("GlobalAveragePool", x), 0.02, np.uint8(90))
    s = model.pair(model("Sigmoid", s), 1 / 256, np.uint8(0))
    model.pair(model("Mul", *((s, x) if first else (x, s))), 0.03, np.uint8(100))
    model.check(model.frames(rng, 30))


# Windows


CONVOLUTIONS = [
    ((1, 3, 8, 9), (5, 3, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((1, 3, 9, 9), (5, 3, 2, 3), {"dilations": [3, 2], "pads": [0, 1, 2, 3]}),
    ((1, 6, 7, 7), (9, 2, 3, 3), {"group": 3, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 4, 7, 8), (8, 1, 3, 2), {"group": 4, "auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    ((1, 4, 6, 6), (7, 4, 1, 1), {}),
    ((1, 4, 6, 6), (7, 4, 1, 1), {"strides": [2, 3], "auto_pad": "VALID"}),
    ((1, 5, 20), (6, 5, 4), {"pads": [3, 1], "strides": [3], "dilations": [2]}),
    ((1, 5, 20), (5, 1, 3), {"group": 5}),
    ((1, 1, 6, 6), (4, 1, 3, 3), {}),
]


@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("kinds", [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)])
def test_convolutions_equal_the_reference(shape, kernel, attributes, kinds):
    rng = np.random.default_rng(5)
    dtype, kind = kinds
    x_zero, y_zero = (dtype(z) for z in rng.integers(0, 128, 2))
    w_zero = kind(0 if kind == np.int8 else 130)
    scales = rng.uniform(0.004, 0.01, kernel[0]).astype(np.float32)
    bias = rng.integers(-5000, 5000, kernel[0]).astype(np.int32)
    w = weights(rng, *kernel, dtype=kind)
    model = Model(*shape, dtype=dtype)
    model("QLinearConv", "x", np.float32(0.05), x_zero, w, scales, np.full(kernel[0], w_zero),
          np.float32(0.06), y_zero, bias, kind=dtype, **attributes)
    integers = model.check(model.frames(rng, 20))
    model = Model(*shape)
    x = model.pair("x", 0.05, x_zero)
    y = model("Conv", x, model.dq(w, scales, np.full(kernel[0], w_zero), axis=0),
              model.dq(bias, np.float32(0.05) * scales, np.zeros(kernel[0], np.int32), axis=0),
              **attributes)
    model.pair(y, 0.06, y_zero)
    floats = model.check(model.frames(rng, 20))
    assert layers(integers) == layers(floats)


@pytest.mark.parametrize(("shape", "kernel", "attributes"), [
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 0, 2]}),
    ((1, 3, 5, 6), (3, 4, 2, 3), {"strides": [3, 1], "output_padding": [1, 0],
                                 "dilations": [1, 2]}),
    ((1, 4, 5, 6), (4, 2, 3, 3), {"group": 2, "pads": [2, 2, 2, 2]}),
    ((1, 3, 9), (3, 5, 4), {"strides": [2]})])
def test_transposed_convolutions_equal_the_reference(shape, kernel, attributes):
    rng = np.random.default_rng(6)
    model = Model(*shape)
    x = model.pair("x", 0.0625, np.uint8(100))
    outputs = kernel[1] * attributes.get("group", 1)
    w = model.dq(weights(rng, *kernel), 0.0078125, np.int8(0))
    b = model.dq(rng.integers(-999, 999, outputs).astype(np.int32), 2.0**-11, np.int32(0))
    model.pair(model("ConvTranspose", x, w, b, **attributes), 0.0371, np.uint8(128))
    model.check(model.frames(rng, 20))


@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    {"kernel_shape": [2, 3], "dilations": [2, 2]},
    {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}])
@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pools_equal_the_reference(attributes, dtype):
    rng = np.random.default_rng(7)
    model = Model(1, 3, 8, 9, dtype=dtype)
    model("MaxPool", "x", kind=dtype, **attributes)
    model.check(model.frames(rng, 20))
    model = Model(1, 3, 8, 9)
    model("MaxPool", model.pair("x", 0.05, dtype(100)), **attributes)
    model.check(model.frames(rng, 20))


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(("scale", "zero"), [(0.0625, 0), (0.0625, 100), (0.09375, 200)])
def test_averages_equal_the_reference(include, scale, zero):
    rng = np.random.default_rng(8)
    for attributes in ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"strides": [1, 2]},
                       {"auto_pad": "SAME_LOWER"}, {"strides": [2, 2], "ceil_mode": 1}):
        options = {"kernel_shape": [2, 2], "count_include_pad": include, **attributes}
        model = Model(1, 3, 8, 9, dtype=np.uint8)
        y = model("AveragePool", model.dq("x", scale, np.uint8(zero)), **options)
        model.pair(y, scale, np.uint8(zero))
        model.check(model.frames(rng, 20))
        model = Model(1, 3, 8, 9, dtype=np.uint8)
        y = model("AveragePool", model.dq("x", scale, np.uint8(zero)), **options)
        model.pair(model("Mul", y, np.float32(0.7)), 0.043, np.uint8(zero))
        if not (include and "ceil_mode" in attributes): # which divides by something else
            model.check(model.frames(rng, 20))
        model = Model(1, 3, 8, 9, dtype=np.uint8)
        model(".QLinearAveragePool", "x", np.float32(0.0625), np.uint8(zero), np.float32(0.071),
              np.uint8(100), kind=np.uint8, channels_last=0, **options)
        model.check(model.frames(rng, 20))


def test_averages_that_depend_on_the_order_of_floats_are_refused():
    model = Model(1, 3, 8, 9)
    x = model.pair("x", 0.1, np.uint8(0))
    model.pair(model("AveragePool", x, kernel_shape=[2, 2]), 0.1, np.uint8(0))
    assert "adds in floats" in error(model)
    assert "depthwise Conv" in error(model)


@pytest.mark.parametrize("space", [(1, 1), (7, 7), (5, 3), (8, 8), (11,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_means_over_maps_equal_the_reference(space, dtype):
    rng = np.random.default_rng(9)
    for scale in (0.05, 0.05 * 2, 0.0213):
        model = Model(1, 40, *space, dtype=dtype)
        model(".QLinearGlobalAveragePool", "x", np.float32(0.05), dtype(9), np.float32(scale),
              dtype(3), kind=dtype, channels_last=0)
        model.check(model.frames(rng, 50))
        model = Model(1, 40, *space)
        x = model.pair("x", 0.05, dtype(9))
        model.pair(model("AveragePool", x, kernel_shape=[*space]), scale, dtype(30))
        model.check(model.frames(rng, 50))


@pytest.mark.parametrize("options", [{"keepdims": 0}, {"keepdims": 1}])
def test_means_in_floats_are_exact_where_scales_are_powers_of_two(options):
    rng = np.random.default_rng(10)
    for space in ((4, 4), (5, 3)):
        for op in ("ReduceMean", "GlobalAveragePool"):
            model = Model(1, 5, *space)
            x = model.pair("x", 0.0625, np.uint8(9))
            y = model(op, x, **({"axes": [2, 3], **options} if op == "ReduceMean" else {}))
            model.pair(model("Mul", y, np.float32(0.77)), 0.041, np.uint8(20))
            model.check(model.frames(rng, 200))
            model = Model(1, 5, *space)
            model(op, model.pair("x", 0.0625, np.uint8(9)),
                  **({"axes": [2, 3], **options} if op == "ReduceMean" else {}))
            model.check(model.frames(rng, 200))


@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("nearest", ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"])
def test_resizing_equals_the_reference_or_is_refused(mode, nearest):
    rng = np.random.default_rng(11)
    outcomes = set()
    for factors in ([1, 1, 2, 2], [1, 1, 3, 1], [1, 1, 0.5, 0.25], [1, 1, 1, 4], [1, 1, 1.5, 1]):
        model = Model(1, 2, 4, 8, dtype=np.uint8)
        model("Resize", "x", "", np.float32(factors), kind=np.uint8, mode="nearest",
              coordinate_transformation_mode=mode, nearest_mode=nearest)
        outcomes.add(outcome(model, model.frames(rng, 5)))
    assert {o.endswith("each some times, or every nth") for o in outcomes - {"equal"}} <= {True}
    assert "equal" in outcomes or nearest == "ceil"
    model = Model(1, 2, 4, 8)
    x = model.pair("x", 0.03, np.uint8(4))
    model.pair(model("Resize", x, "", "", np.array([1, 2, 8, 24]), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor"), 0.04,
               np.uint8(9))
    model.check(model.frames(rng, 5))


# Matrix products


@pytest.mark.parametrize("bias", ["", "int32", "float"])
@pytest.mark.parametrize("behind", ["QuantizeLinear", "Relu", "Clip", "Reshape", ""])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_matrix_products_equal_the_reference(bias, behind, op):
    rng = np.random.default_rng(12)
    for scale in (np.float32(0.013), rng.uniform(0.01, 0.02, 5).astype(np.float32)):
        many = scale.ndim > 0
        model = Model(1, 12)
        x = model.pair("x", 0.053, np.uint8(77))
        w = model.dq(weights(rng, 12, 5), scale, np.zeros(5 if many else (), np.int8), axis=1)
        added = {"": [], "float": [rng.normal(size=5).astype(np.float32)], "int32": [model.dq(
            rng.integers(-999, 999, 5).astype(np.int32), np.float32(0.053) * scale,
            np.zeros(5 if many else (), np.int32), axis=0)]}[bias]
        if op == "Gemm":
            y = model(op, x, w, *added)
        else:
            y = model(op, x, w)
            y = model("Add", *added, y) if added else y
        zero = np.uint8(0 if behind in ("Relu", "Clip") else 90)
        if behind == "Relu":
            y = model("Relu", y)
        if behind == "Clip":
            y = model("Clip", y, np.float32(-1), np.float32(99))
        if behind == "Reshape":
            y = model("Reshape", y, np.array([5, 1]))
        if behind:
            model.pair(y, 0.09, zero)
        if not behind and bias == "float":
            assert "computed in floats" in error(model)
        else:
            model.check(model.frames(rng, 100))


@pytest.mark.parametrize("shape", [(1, 7, 6), (1, 3, 4, 6)])
@pytest.mark.parametrize("biased", [False, True])
def test_vectors_of_a_tensor_are_multiplied_each(shape, biased):
    rng = np.random.default_rng(13)
    model = Model(*shape)
    y = model("MatMul", model.pair("x", 0.05, np.uint8(99)),
              model.dq(weights(rng, 6, 5), 0.01, np.int8(0)))
    if biased:
        y = model("Add", y, rng.normal(size=5).astype(np.float32))
    y = model.pair(y, 0.07, np.uint8(100))
    y = model("MatMul", y, model.dq(weights(rng, 5, 4), 0.01, np.int8(0)))
    model.pair(y, 0.07, np.uint8(3))
    model.check(model.frames(rng, 30))


def test_weights_may_be_transposed_or_quantized_in_the_file():
    rng = np.random.default_rng(14)
    w, scale = weights(rng, 5, 12), rng.uniform(0.01, 0.02, 5).astype(np.float32)
    for made in range(3):
        model = Model(1, 12)
        x = model.pair("x", 0.053, np.uint8(77))
        if made == 0:
            b = model("Transpose", model.dq(w, scale, np.zeros(5, np.int8), axis=0), perm=[1, 0])
        elif made == 1:
            b = model.pair(model.constant((w * 0.01).astype(np.float32).T), 0.01, np.int8(0))
        else:
            b = model("Identity", model.dq(w.T, scale, np.zeros(5, np.int8), axis=1))
        model.pair(model("MatMul", x, b), 0.1, np.uint8(99))
        model.check(model.frames(rng, 50))


@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_integer_products_are_scaled_in_floats(op):
    rng = np.random.default_rng(15)
    model = Model(*((1, 3, 6, 6) if op == "ConvInteger" else (1, 9)), dtype=np.uint8)
    w = weights(rng, *((4, 3, 3, 3) if op == "ConvInteger" else (9, 4)), dtype=np.uint8)
    y = model("Cast", model(op, "x", w, np.uint8(9), np.uint8(120), kind=np.int32), to=1)
    column = (4, 1, 1) if op == "ConvInteger" else (4,)
    y = model("Mul", y, rng.uniform(0.001, 0.002, column).astype(np.float32))
    y = model("Relu", model("Add", y, rng.normal(size=column).astype(np.float32)))
    floats = model.check(model.frames(rng, 50))
    assert rules(floats)["Relu"] == "host: after the graph"
    model.pair(y, 0.01, np.uint8(9))
    model.check(model.frames(rng, 50))


def test_gemm_of_integers_gives_integers_or_floats():
    rng = np.random.default_rng(16)
    for end in ([np.float32(0.07), np.uint8(100)], []):
        model = Model(1, 12, dtype=np.uint8)
        model(".QGemm", "x", np.float32(0.05), np.uint8(9), weights(rng, 5, 12),
              rng.uniform(0.01, 0.02, 5).astype(np.float32), np.zeros(5, np.int8),
              rng.integers(-999, 999, 5).astype(np.int32), *end, alpha=0.7, transB=1,
              kind=np.uint8 if end else np.float32)
        model.check(model.frames(rng, 50))


# What the reference fuses


def conv(model, x, rng, channels, *, of=0.05, scale=0.0113, **attributes):
    """Append a convolution of numbers of scale `of`; without a bias if that is 0."""
    w = model.dq(weights(rng, 4, channels, 3, 3), scale, np.int8(0))
    b = [model.dq(rng.integers(-999, 999, 4).astype(np.int32), np.float32(of) * np.float32(scale),
                  np.int32(0))] if of else []
    return model("Conv", x, w, *b, **attributes)


BETWEEN = {
    "nothing": lambda _, y: y,
    "Relu": lambda m, y: m("Relu", y),
    "Clip": lambda m, y: m("Clip", y, np.float32(0), np.float32(40)),
    "Relu, Clip": lambda m, y: m("Clip", m("Relu", y), np.float32(0), np.float32(40)),
    "MaxPool": lambda m, y: m("MaxPool", y, kernel_shape=[2, 2]),
    "Relu, MaxPool": lambda m, y: m("MaxPool", m("Relu", y), kernel_shape=[2, 2]),
    "Reshape": lambda m, y: m("Reshape", y, np.array([1, -1])),
    "Transpose": lambda m, y: m("Transpose", y, perm=[0, 2, 3, 1]),
    "Slice": lambda m, y: m("Slice", y, np.array([1]), np.array([4]), np.array([2])),
    "Squeeze": lambda m, y: m("Squeeze", y, np.array([0])),
    "Identity": lambda m, y: m("Identity", y),
    "Dropout": lambda m, y: m("Dropout", y),
}
PARTED = {
    "MaxPool, Relu": lambda m, y: m("Relu", m("MaxPool", y, kernel_shape=[2, 2])),
    "Flatten": lambda m, y: m("Flatten", y),
    "Pad": lambda m, y: m("Pad", y, np.array([0, 0, 1, 1, 0, 0, 1, 1])),
    "Clip to 6": lambda m, y: m("Clip", y, np.float32(0), np.float32(6)),
    "Sigmoid": lambda m, y: m("Sigmoid", y),
    "HardSigmoid": lambda m, y: m("HardSigmoid", y),
    "Mul": lambda m, y: m("Mul", y, np.float32(0.7)),
    "LeakyRelu": lambda m, y: m("LeakyRelu", y),
}
"""What is between a convolution and its quantizer, and keeps the reference from fusing these."""


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("dtype", DTYPES)
def test_quantizers_that_are_fused_round_once(between, dtype):
    rng = np.random.default_rng(17)
    model = Model(1, 3, 7, 7)
    y = conv(model, model.pair("x", 0.05, dtype(100)), rng, 3)
    model.pair(BETWEEN[between](model, y), 0.08, dtype(np.iinfo(dtype).min))
    model.check(model.frames(rng, 60))


@pytest.mark.parametrize("between", PARTED)
def test_sums_of_floats_are_refused_but_where_they_are_exact(between):
    rng = np.random.default_rng(18)
    model = Model(1, 3, 7, 7)
    y = conv(model, model.pair("x", 0.05, np.uint8(100)), rng, 3)
    model.pair(PARTED[between](model, y), 0.08, np.uint8(0))
    assert "adds in an order of its own" in error(model)
    model = Model(1, 3, 7, 7)
    y = conv(model, model.pair("x", 0.0625, np.uint8(100)), rng, 3, of=0, scale=2.0**-6)
    model.pair(PARTED[between](model, y), 0.08, np.uint8(0))
    model.check(model.frames(rng, 60))


BEFORE = {
    "MaxPool": lambda m, x: m("MaxPool", x, kernel_shape=[2, 2]),
    "Reshape": lambda m, x: m("Reshape", x, np.array([1, 4, 8, 8])),
    "Transpose": lambda m, x: m("Transpose", x, perm=[0, 1, 3, 2]),
    "Squeeze": lambda m, x: m("Unsqueeze", m("Squeeze", x, np.array([0])), np.array([0])),
    "Slice": lambda m, x: m("Slice", x, np.array([1]), np.array([6]), np.array([3])),
    "Pad": lambda m, x: m("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 2])),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("readers", [1, 2])
def test_the_reference_looks_through_what_moves_elements(before, dtype, readers):
    rng = np.random.default_rng(19)
    model = Model(1, 4, 8, 8)
    readers = min(readers, 1 if before == "Pad" else 2)
    x = BEFORE[before](model, model.pair("x", 0.05, dtype(100)))
    ys = [model.pair(conv(model, x, rng, 4), 0.08, dtype(90)) for _ in range(readers)]
    if readers == 2:
        model.pair(model("Add", *ys), 0.1, dtype(80))
    network = model.check(model.frames(rng, 40))
    assert any(INT8 in r.rule for r in network.rules) == (dtype == np.int8 and readers == 2)


@pytest.mark.parametrize(("behind", "fault"), [
    ("Conv", "its input is floats"), ("MaxPool", "made the padding of MaxPool")])
def test_padding_that_the_reference_treats_otherwise_is_refused(behind, fault):
    model, rng = Model(1, 4, 8, 8), np.random.default_rng(29)
    x = BEFORE["Pad"](model, model.pair("x", 0.05, np.uint8(100)))
    for _ in range(1 + (behind == "Conv")):
        y = conv(model, x, rng, 4) if behind == "Conv" else model(behind, x, kernel_shape=[3, 3])
        model.pair(y, 0.05, np.uint8(100))
    assert fault in error(model)


@pytest.mark.parametrize("operator_set", [13, 17, 19, 20, 21, 22])
@pytest.mark.parametrize("dtype", DTYPES)
def test_operator_sets_do_not_matter(operator_set, dtype):
    rng = np.random.default_rng(20)
    model = Model(1, 4, 8, 8, opset=operator_set)
    x = model("MaxPool", model.pair("x", 0.05, dtype(100)), kernel_shape=[2, 2])
    y = model("Reshape", conv(model, x, rng, 4), np.array([1, -1]))
    model.pair(y, 0.08, dtype(90))
    network = model.check(model.frames(rng, 40))
    assert any(INT8 in r.rule for r in network.rules) == (dtype == np.int8 and operator_set > 20)


def residual(dtype, *, out):
    rng = np.random.default_rng(21)
    model = Model(1, 4, 8, 8)
    x = model.pair("x", 0.05, dtype(100))
    y = model.pair(conv(model, x, rng, 4, pads=[1] * 4), 0.06, dtype(90))
    y = model.q(model("Add", x, y), 0.09, dtype(80))
    if out:
        model.dq(y, 0.09, dtype(80))
    return model


@pytest.mark.parametrize("out", [False, True])
def test_residual_connections_of_int8_need_an_option_of_the_reference(out):
    for dtype in DTYPES:
        model = residual(dtype, out=out)
        network = model.check(model.frames(np.random.default_rng(0), 40))
        assert any(INT8 in r.rule for r in network.rules) == (dtype == np.int8)


def test_a_second_quantizer_with_other_parameters_is_refused():
    model = Model(1, 3, 4, 4)
    x = model.pair("x", 0.05, np.uint8(100))
    model.pair(x, 0.05, np.uint8(100))
    model.check(model.frames(np.random.default_rng(0), 10))
    model.pair(model.pair(x, 0.05, np.uint8(100)), 0.07, np.uint8(90))
    assert "the reference replaces both" in error(model)


def test_what_several_nodes_read_is_not_fused():
    rng = np.random.default_rng(22)
    model = Model(1, 12)
    w = model.dq(weights(rng, 12, 5), 0.013, np.int8(0))
    y = model("Gemm", model.pair("x", 0.053, np.uint8(77)), w)
    model.pair(model("Add", model.pair(y, 0.1, np.uint8(9)), y), 0.2, np.uint8(9))
    assert "computed in floats" in error(model)


# Where elements are


def test_networks_with_channels_last_keep_their_order():
    rng = np.random.default_rng(23)
    for first in ("DequantizeLinear", "Transpose"):
        model = Model(1, 6, 7, 3)
        x = model.q("x", 0.05, np.uint8(100))
        if first == "Transpose":
            x = model.dq(model("Transpose", x, perm=[0, 3, 1, 2], kind=np.uint8), 0.05,
                         np.uint8(100))
        else:
            x = model("Transpose", model.dq(x, 0.05, np.uint8(100)), perm=[0, 3, 1, 2])
        y = model("Transpose", conv(model, x, rng, 3), perm=[0, 2, 3, 1])
        y = model.pair(y, 0.08, np.uint8(90))
        y = model("MatMul", y, model.dq(weights(rng, 4, 6), 0.01, np.int8(0)))
        model.pair(y, 0.1, np.uint8(90))
        network = model.check(model.frames(rng, 20))
        assert network.graph.input.shape == (6, 7, 3)


def test_flattened_maps_permute_the_next_weights():
    rng = np.random.default_rng(24)
    model = Model(1, 3, 6, 6, dtype=np.uint8)
    y = model("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], kind=np.uint8)
    y = model("Concat", model("Flatten", y, kind=np.uint8), model("Reshape", "x", np.array([1, -1]),
                                                                  kind=np.uint8), axis=1,
              kind=np.uint8)
    y = model.dq(y, 0.05, np.uint8(9))
    y = model("MatMul", y, model.dq(weights(rng, 135, 4), 0.01, np.int8(0)))
    model.pair(y, 0.3, np.uint8(99))
    model.check(model.frames(rng, 20))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_parts_are_put_together_again(axis):
    rng = np.random.default_rng(25)
    model = Model(1, 4, 6, 8, dtype=np.int8)
    half = model.shape[axis] // 2
    a, b = model("Split", "x", np.array([half, half]), outputs=2, axis=axis, kind=np.int8)
    scales = (0.05, 0.031)
    a, b = (model.dq(v, s, np.int8(9)) for v, s in zip((a, b), scales, strict=True))
    if axis == 1:
        model.pair(model("Concat", b, a, axis=1), 0.044, np.int8(3))
    else:
        model.pair(model("Add", b, a), 0.07, np.int8(3))
    model.check(model.frames(rng, 20))


def test_inputs_are_scaled_on_the_host_or_on_the_chip():
    rng = np.random.default_rng(26)
    for dtype in (np.float32, np.uint8):
        model = Model(1, 8, 9, 3, dtype=dtype)
        x = model("Cast", "x", to=1) if dtype == np.uint8 else "x"
        x = model("Div", model("Sub", x, np.float32([123.7, 116.3, 103.5])), np.float32(58.4))
        x = model("Transpose", x, perm=[0, 3, 1, 2])
        y = conv(model, model.pair(x, 0.0186, np.uint8(114)), rng, 3, of=0.0186)
        model.pair(y, 0.08, np.uint8(90))
        frames = rng.integers(0, 256, (10, 8, 9, 3)).astype(dtype)
        network = model.check(frames)
        assert ("Requantize" in layers(network)[:1]) == (dtype == np.uint8)


# The end


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_and_arg_max_run_on_the_host(axis):
    rng = np.random.default_rng(27)
    model = Model(1, 10, dtype=np.uint8)
    x = model.dq("x", 0.0731, np.uint8(100))
    model("Softmax", x, axis=axis)
    network, frames = model.network(), model.frames(rng, 200)
    y = network.decode(network.graph.golden(network.encode(frames)))
    assert np.abs(y - model.reference(frames)).max() < 2**-22 # exp is that of another library
    model("ArgMax", model.last, axis=1, keepdims=0, kind=np.int64)
    model.check(frames)
    model = Model(1, 10, dtype=np.int8)
    model("ArgMax", "x", axis=1, kind=np.int64)
    model.check(model.frames(rng, 200))


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantized_softmax_is_that_of_the_reference(dtype):
    rng = np.random.default_rng(28)
    for scale in (0.05, 0.2, 0.011):
        model = Model(1, 10)
        x = model.pair("x", scale, dtype(100))
        model.pair(model("Softmax", x), 1 / 256, dtype(np.iinfo(dtype).min))
        model.check(model.frames(rng, 300))


# Bad input


def small():
    model = Model(1, 3, 6, 6)
    x = model.pair("x", 0.05, np.uint8(100))
    return model, conv(model, x, np.random.default_rng(0), 3)


def test_all_unsupported_nodes_are_listed():
    model, y = small()
    y = model("Erf", model.pair(y, 0.1, np.uint8(9)))
    y = model("LSTM", model.pair(y, 0.1, np.uint8(9)))
    y = model("MatMul", model.dq(model.q("x", 0.05, np.uint8(100)), 0.05, np.uint8(100)),
              np.ones((6, 2), np.float32))
    model.pair(y, 0.1, np.uint8(9))
    lines = error(model).splitlines()
    assert lines[0] == "cannot import model: 2 nodes are not supported"
    assert lines[1].startswith("  Erf_7 (Erf): unknown operator; accepted: Abs, Add")
    assert lines[2].startswith("  MatMul_13 (MatMul): has float weights; accepted")
    assert len(lines) == 3


def quantized(*, scale=0.05, zero=None, then=None):
    def make():
        model = Model(1, 3, 6, 6)
        x = model.pair("x", scale, np.uint8(9) if zero is None else zero)
        return then(model, x) and model if then else model
    return make


def then(op, *operands, **attributes):
    return quantized(then=lambda m, x: m.pair(m(op, x, *operands, **attributes), 0.1, np.uint8(3)))


FAULTS = {
    "scale must be positive, not 0": quantized(scale=0.0),
    "scale must be positive, not -1": quantized(scale=-1.0),
    "has a NaN": quantized(scale=np.nan),
    "has an infinity": quantized(scale=np.inf),
    "zero point of type int16": quantized(zero=np.int16(0)),
    "2 scales or zero points": quantized(scale=[0.1, 0.2], zero=np.uint8([0, 0])),
    "weights are computed": quantized(then=lambda m, x: m.pair(m("Conv", x, x), 0.1, np.uint8(9))),
    "has a bias of scale 0.113; accepted": quantized(then=lambda m, x: m.pair(
        conv(m, x, np.random.default_rng(0), 3, of=10), 0.1, np.uint8(9))),
    "reads uint8; accepted: DequantizeLinear": quantized(then=lambda m, x: m.pair(conv(
        m, m.q(x, 0.05, np.uint8(9)), np.random.default_rng(0), 3), 0.1, np.uint8(9))),
    "its scale 9.94922e-44 is too small": quantized(then=lambda m, x: m.pair(
        conv(m, x, np.random.default_rng(0), 3), np.float32(1e-43), np.uint8(9))),
    "has scale 2e-07 behind Clip": quantized(then=lambda m, x: m.pair(
        m("Clip", x, np.float32(0), np.float32(1)), 2e-7, np.uint8(9))),
    "has float weights": then("Conv", np.ones((4, 3, 3, 3), np.float32)),
    "convolves shape": quantized(then=lambda m, x: m.pair(m("Conv", x, m.dq(
        np.ones((4, 2, 3, 3), np.int8), 0.1, np.int8(0))), 0.1, np.uint8(9))),
    "interpolates (linear)": then("Resize", "", np.float32([1, 1, 2, 2]), mode="linear"),
    "pads by reflect": then("Pad", np.array([0, 0, 1, 1] * 2), mode="reflect"),
    "pads axes": then("Pad", np.array([0, 1, 1, 1] * 2)),
    "which no integer of its input stands for": then("Pad", np.array([0, 0, 1, 1] * 2),
                                                     np.float32(0.123)),
    "reduces axes": then("ReduceMean", axes=[1]),
    "divides by zero": then("Div", np.float32(0)),
    "divides by activations": quantized(then=lambda m, x: m.pair(m("Div", x, x), 0.1, np.uint8(3))),
    "repeats elements": then("Add", np.ones((2, 3, 6, 6), np.float32)),
    "does not exist in a tensor of 4": then("Concat", axis=4),
    "reads 'later'": then("Add", "later"),
    "attribute alpha is a int": then("LeakyRelu", alpha=1),
    "comes after Softmax": quantized(
        then=lambda m, x: m.pair(m("Relu", m("Softmax", x)), 0.1, np.uint8(3))),
    "has windows of 9 on 6 elements": then("MaxPool", kernel_shape=[9, 9]),
    "has windows of padding alone": then("MaxPool", kernel_shape=[1, 1], pads=[1, 1, 1, 1]),
    "has pads [-1, 0, 0, 0]; accepted": then("MaxPool", kernel_shape=[2, 2], pads=[-1, 0, 0, 0]),
    "accepted: 4194304 elements": then("Resize", "", np.float32([1, 1, 3000, 3000]),
                                       mode="nearest"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_named(message):
    assert message in error(FAULTS[message]())


def test_networks_that_are_not_quantized_are_refused():
    model = Model(1, 3)
    model("Relu", "x")
    assert "not quantized" in error(model)


def test_inputs_are_checked():
    network = small()[0]
    network = quantized()().network()
    with pytest.raises(ValueError, match="NaN"):
        network.encode(np.full((1, 3, 6, 6), np.nan))
    with pytest.raises(ValueError, match="shape"):
        network.encode(np.zeros((3, 6, 6)))
    model = Model(1, 3, dtype=np.int8)
    model.dq("x", 0.1, np.int8(0))
    with pytest.raises(ValueError, match="no int8"):
        model.network().encode(np.array([[1, 2, 128]]))
    with pytest.raises(ValueError, match="no int8"):
        model.network().encode(np.array([[1, 2, 0.5]]))


def test_files_are_told_apart_by_their_operators(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(quantized()().data())
    assert read(path).name == "model"
    node = helper.make_node("Quant", ["x"], ["y"], domain="qonnx.custom_op.general")
    data = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    assert qonnx.recognizes(data)
    assert not importer.recognizes(data)
    path.write_bytes(small()[0].data()[:-300])
    with pytest.raises(ValueError, match="truncated"):
        read(path)


def test_an_input_of_another_type_is_refused():
    proto = quantized()().proto()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ValueError, match="accepted: FLOAT, INT8, UINT8"):
        importer.read(proto.SerializeToString(), "model")
    proto = onnx.ModelProto.FromString(quantized()().data())
    proto.opset_import[0].version = 11
    with pytest.raises(ValueError, match="operator set 11"):
        importer.read(proto.SerializeToString(), "model")


def test_nodes_that_go_round_in_a_circle_are_refused():
    model = quantized()()
    assert [n.op_type for n in model.nodes] == ["QuantizeLinear", "DequantizeLinear"]
    model.nodes[1].output[0] = "x"
    with pytest.raises(ValueError, match=r"node DequantizeLinear_1 makes 'x' a second time"):
        importer.read(model.data(), "model")


@pytest.mark.parametrize("suffix", [".onnx", ".bin"])
def test_operators_whose_names_are_no_text_are_refused(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(quantized()().data().replace(b"DequantizeLinear", b"Dequantize\xffinear"))
    with pytest.raises(ValueError, match="a name in it is not text"):
        read(path)


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_results_that_leave_32_bits_are_refused(op):
    model = Model(1, 4, dtype=np.uint8)
    operand = "x", np.float32(0.1), np.uint8(7)
    model(f".QLinear{op}", *operand, *operand, np.float32(1e-12), np.uint8(3), kind=np.uint8)
    assert "output scale 1e-12 is too small for its inputs" in error(model)
