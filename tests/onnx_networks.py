"""Networks in quantized ONNX files, made here or at random, and what ONNX Runtime makes of them.

``python tests/onnx_networks.py 500 1`` compares 500 networks from seed 1.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bittern.gen.importers import onnx as importer

KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int8): TensorProto.INT8,
         np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int32): TensorProto.INT32,
         np.dtype(np.int64): TensorProto.INT64}
INT8 = "session.qdqisint8allowed"


class Model:
    """A model under construction: calls append nodes and return the names of what they make."""

    def __init__(self, *shape, dtype=np.float32, opset=17):
        self.shape, self.dtype, self.opset = shape, np.dtype(dtype), opset
        self.nodes, self.constants, self.kinds = [], {}, {}
        self.last = "x"

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def __call__(self, op, *operands, outputs=1, kind=np.float32, **attributes):
        """Append a node with outputs of type `kind`; a dot is for the domain com.microsoft."""
        names = [o if isinstance(o, str) else self.constant(o) for o in operands]
        made = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        domain = "com.microsoft" if op.startswith(".") else ""
        self.nodes.append(helper.make_node(op.lstrip("."), names, made,
                                           f"{op.lstrip('.')}_{len(self.nodes)}", domain=domain,
                                           **attributes))
        self.kinds.update(dict.fromkeys(made, np.dtype(kind)))
        self.last = made[0]
        return made[0] if outputs == 1 else made

    def q(self, x, scale, zero, **attributes):
        zero = np.asarray(zero)
        return self("QuantizeLinear", x, np.float32(scale), zero, kind=zero.dtype, **attributes)

    def dq(self, x, scale, zero, **attributes):
        return self("DequantizeLinear", x, np.float32(scale), np.asarray(zero), **attributes)

    def pair(self, x, scale, zero):
        return self.dq(self.q(x, scale, zero), scale, zero)

    def proto(self):
        kind = KINDS[self.kinds.get(self.last, self.dtype)]
        graph = helper.make_graph(
            self.nodes, "network",
            [helper.make_tensor_value_info("x", KINDS[self.dtype], self.shape)],
            [helper.make_tensor_value_info(self.last, kind, None)],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()])
        return onnx.shape_inference.infer_shapes(helper.make_model(
            graph, ir_version=9, opset_imports=[helper.make_opsetid("", self.opset),
                                                helper.make_opsetid("com.microsoft", 1)]))

    def data(self):
        return self.proto().SerializeToString()

    def network(self):
        return importer.read(self.data(), "model")

    def reference(self, xs, *, int8=False):
        return reference(self.data(), xs, int8=int8)

    def check(self, xs):
        """Assert that every bit equals the reference's; return the network."""
        network = self.network()
        y = network.decode(network.graph.golden(network.encode(xs)))
        expected = self.reference(xs, int8=any(INT8 in rule.rule for rule in network.rules))
        np.testing.assert_array_equal(y, expected, strict=True)
        assert [(r.node, r.op.removeprefix("com.microsoft.")) for r in network.rules] == [
            (n.name, n.op_type) for n in self.nodes]
        assert set(network.formats) == {"input", *(n.name for n in network.graph.nodes)}
        return network

    def frames(self, rng, count):
        """Return random inputs."""
        if self.dtype == np.float32:
            return (rng.normal(size=(count, *self.shape[1:])) * 2).astype(np.float32)
        limits = np.iinfo(self.dtype)
        return rng.integers(limits.min, limits.max + 1, (count, *self.shape[1:])).astype(self.dtype)


def reference(data, xs, *, int8=False):
    """Run ONNX Runtime with its default options, or with kernels of int8, one frame at a time."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if int8:
        options.add_session_config_entry(INT8, "1")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (x_in,) = session.get_inputs()
    ys = [session.run(None, {x_in.name: x.reshape(x_in.shape)})[0] for x in xs]
    return np.stack([y.reshape(y.shape[1:] if y.shape[:1] == (1,) else y.shape) for y in ys])


def input_dtype(data):
    """Return the type of the first input that is no constant."""
    graph = onnx.ModelProto.FromString(data).graph
    constants = {t.name for t in graph.initializer}
    x_in = next(i for i in graph.input if i.name not in constants)
    return np.dtype(helper.tensor_dtype_to_np_dtype(x_in.type.tensor_type.elem_type))


def shape_after(op, *shapes, constants=(), **attributes):
    """Return the shape that a standard operator makes."""
    names = [f"i{k}" for k in range(len(shapes))]
    node = helper.make_node(op, [*names, *(n for n, _ in constants)], ["y"], **attributes)
    graph = helper.make_graph(
        [node], "one",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(
            names, shapes, strict=True)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in constants if n])
    model = onnx.shape_inference.infer_shapes(helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)]))
    return tuple(d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim)


class Tensor:
    """Stored integers of a model: their name, shape, scale and zero point."""

    def __init__(self, name, shape, scale, zero):
        self.name, self.shape, self.scale, self.zero = name, shape, np.float32(scale), zero

    @property
    def parameters(self):
        return self.scale, self.zero


class Maker:
    """Appends random layers to a model, between quantizers or as operators on integers."""

    def __init__(self, rng, *, qdq, dtype, power, rank, opset):
        self.rng, self.qdq, self.power = rng, qdq, power
        self.dtype = np.dtype(dtype)
        self.lo = np.iinfo(self.dtype).min
        space = tuple(int(n) for n in rng.integers(5, 10, rank - 2))
        self.shape = (1, int(rng.integers(1, 5)), *space)
        self.input_is_float = qdq and rng.random() < 0.9
        self.dequantized = {}
        self.model = Model(*self.shape, dtype=np.float32 if self.input_is_float else dtype,
                           opset=opset)

    def chance(self, p):
        return self.rng.random() < p

    def choose(self, *values):
        return values[self.rng.integers(len(values))]

    def scale(self, size):
        """Return a scale of about this size."""
        if self.power:
            return np.float32(2.0 ** np.round(np.log2(size)))
        return np.float32(size * self.rng.uniform(0.7, 1.4))

    def zero(self, *, least=False):
        """Return a zero point: at the end of the range, where a ReLU puts it, or anywhere."""
        at = 0 if least or self.chance(0.3) else int(self.rng.integers(40, 216))
        return self.dtype.type(self.lo + at)

    def start(self):
        scale, zero = self.scale(0.03), self.zero()
        if not self.input_is_float:
            return Tensor("x", self.shape, scale, zero)
        return Tensor(self.model.q("x", scale, zero), self.shape, scale, zero)

    def floats(self, t):
        """Return the floats of a tensor: the same for all who read them, or not."""
        if t.name not in self.dequantized or self.chance(0.5):
            self.dequantized[t.name] = self.model.dq(t.name, *t.parameters)
        return self.carried(self.dequantized[t.name], t.shape)[0]

    def carried(self, name, shape, *, pools=False):
        """Append what the reference looks through: elements are moved, and come back."""
        model = self.model
        if self.chance(0.85) or len(shape) == 2:
            return name, shape
        kind = self.choose("Reshape", "Transpose", "Squeeze", *(["MaxPool"] if pools else []))
        if kind == "Reshape":
            return model("Reshape", model("Reshape", name, np.array([-1, shape[-1]])),
                         np.array(shape)), shape
        if kind == "Transpose":
            order = [int(i) for i in self.rng.permutation(len(shape))]
            return model("Transpose", model("Transpose", name, perm=order),
                         perm=[int(i) for i in np.argsort(order)]), shape
        if kind == "Squeeze":
            return model("Unsqueeze", model("Squeeze", name, np.array([0])), np.array([0])), shape
        attributes = {"kernel_shape": [min(2, n) for n in shape[2:]]}
        return model("MaxPool", name, **attributes), shape_after("MaxPool", shape, **attributes)

    def close(self, name, shape, scale, zero, *, pools=False):
        """Quantize floats."""
        name, shape = self.carried(name, shape, pools=pools)
        return Tensor(self.model.q(name, scale, zero), shape, scale, zero)

    def weights(self, shape, axis):
        """Return integers, scale and zero point; below 7 bits no processor's kernels saturate."""
        outputs, kind = shape[axis], np.dtype(np.int8)
        if self.dtype == np.uint8 and self.chance(0.3):
            kind = np.dtype(np.uint8)
        w = self.rng.integers(-64, 65, shape)
        zero = 0
        if kind == np.uint8:
            zero = int(self.rng.integers(64, 190))
            w = w + zero
        elif self.chance(0.2) and self.qdq:
            zero = int(self.rng.integers(-9, 10))
        if self.chance(0.5):
            scale = np.array([self.scale(0.01) for _ in range(outputs)], np.float32)
            return w.astype(kind), scale, np.full(outputs, zero, kind)
        return w.astype(kind), self.scale(0.01), kind.type(zero)

    def bias(self, outputs, t, w_scale, *, kinds):
        """Return a bias: None, int32, or (between quantizers) floats."""
        kind = self.choose(*kinds)
        if kind == "none":
            return None
        units = self.rng.integers(-4000, 4000, outputs).astype(np.int32)
        scale = t.scale * w_scale
        if not self.qdq:
            return units
        if kind == "float":
            return (units * scale).astype(np.float32)
        zero = np.zeros(np.shape(scale), np.int32)
        return self.model.dq(units, scale, zero, **({"axis": 0} if np.ndim(scale) else {}))

    def sums(self, t, op, w, axis, taps, *, pools=False, **attributes):
        """Append a convolution or a matrix product, and perhaps a pool before it is quantized."""
        w, w_scale, w_zero = w
        outputs = w.shape[axis]
        size = float(t.scale * np.max(w_scale) * 40 * np.sqrt(taps))
        scale = self.scale(size)
        behind = self.choose("", "", "Relu", "Clip")
        shape = shape_after(op, t.shape, w.shape, **attributes)
        zero = self.zero(least=behind != "" and not (self.power and self.chance(0.5)))
        model = self.model
        if not self.qdq:
            b = self.bias(outputs, t, w_scale, kinds=("none", "int32"))
            extra = [] if b is None else [b]
            if op == "MatMul":
                y = model("QLinearMatMul", t.name, *t.parameters, w, w_scale, w_zero, scale, zero,
                          kind=self.dtype)
            elif op == "Gemm":
                y = model(".QGemm", t.name, *t.parameters, w, w_scale, w_zero, *(extra or [""]),
                          scale, zero, kind=self.dtype, **attributes)
            else:
                y = model("QLinearConv", t.name, *t.parameters, w, w_scale, w_zero, scale, zero,
                          *extra, kind=self.dtype, **attributes)
            return Tensor(y, shape, scale, zero)
        weights = model.dq(w, w_scale, w_zero, **({"axis": axis} if np.ndim(w_scale) else {}))
        b = self.bias(outputs, t, w_scale, kinds=("none", "int32", "int32", "float"))
        x = self.floats(t)
        if op == "MatMul":
            y = model(op, x, weights)
            y = y if b is None else model("Add", *self.choose((y, b), (b, y)))
        else:
            y = model(op, x, weights, *([] if b is None else [b]), **attributes)
        if behind == "Relu":
            y = model("Relu", y)
        elif behind == "Clip":
            y = model("Clip", y, np.float32(0), np.float32(300 * scale))
        return self.close(y, shape, scale, zero, pools=pools)

    def convolution(self, t):
        rank = len(t.shape) - 2
        channels = t.shape[1]
        kernel = [int(self.rng.integers(1, 4)) for _ in range(rank)]
        dilations = [self.choose(1, 1, 2) if k > 1 else 1 for k in kernel]
        groups = self.choose(1, 1, channels, *(g for g in (2, 3) if channels % g == 0))
        outputs = groups * int(self.rng.integers(1, 7 if groups == 1 else 3))
        attributes = {"group": groups, "dilations": dilations,
                      "strides": [self.choose(1, 1, 2) for _ in kernel]}
        if self.chance(0.3):
            attributes["auto_pad"] = self.choose("SAME_UPPER", "SAME_LOWER", "VALID")
        else:
            attributes["pads"] = [int(self.rng.integers(0, k + 1)) for k in kernel * 2]
        if min(shape_after("Conv", t.shape, (outputs, channels // groups, *kernel),
                           **attributes)) < 1:
            attributes = {"group": groups, "auto_pad": "SAME_UPPER"}
        if attributes.get("auto_pad", "VALID") != "VALID":
            attributes["dilations"] = [1] * rank
        w = self.weights((outputs, channels // groups, *kernel), 0)
        return self.sums(t, "Conv", w, 0, int(np.prod(kernel)) * channels // groups, pools=True,
                         **attributes)

    def flat(self, t):
        """Return activations as a row."""
        if len(t.shape) == 2:
            return t
        size = int(np.prod(t.shape))
        name = self.model("Flatten", t.name, kind=self.dtype) if self.chance(0.5) else self.model(
            "Reshape", t.name, np.array([1, -1]), kind=self.dtype)
        return Tensor(name, (1, size), *t.parameters)

    def dense(self, t):
        t = self.flat(t)
        inputs, outputs = t.shape[1], int(self.rng.integers(1, 8))
        if self.chance(0.5):
            return self.sums(t, "MatMul", self.weights((inputs, outputs), 1), 1, inputs)
        transposed = int(self.chance(0.5))
        shape = (outputs, inputs) if transposed else (inputs, outputs)
        return self.sums(t, "Gemm", self.weights(shape, 1 - transposed), 1 - transposed, inputs,
                         transB=transposed)

    def max_pool(self, t):
        rank = len(t.shape) - 2
        kernel = [self.choose(1, 2, 3) for _ in range(rank)]
        pads = [int(self.rng.integers(0, k)) for k in kernel * 2]
        attributes = {"kernel_shape": kernel, "pads": pads,
                      "strides": [self.choose(1, 2) for _ in kernel]}
        shape = shape_after("MaxPool", t.shape, **attributes)
        if min(shape) < 1:
            return t
        return Tensor(self.model("MaxPool", t.name, kind=self.dtype, **attributes), shape,
                      *t.parameters)

    def unary(self, t):
        op = self.choose("Sigmoid", "LeakyRelu", *(["Tanh", "HardSigmoid", "Relu", "Clip",
                                                   *(["HardSwish"] if self.model.opset > 13
                                                     else [])] if self.qdq else []))
        bounded = op in ("Sigmoid", "Tanh", "HardSigmoid")
        scale = self.scale(1 / 256) if bounded else self.scale(t.scale)
        zero = self.zero()
        attributes = {"alpha": 0.125} if op == "LeakyRelu" else {}
        if not self.qdq:
            y = self.model(f".QLinear{op}", t.name, *t.parameters, scale, zero, kind=self.dtype,
                           **attributes)
            return Tensor(y, t.shape, scale, zero)
        bounds = [np.float32(-1), np.float32(2)] if op == "Clip" else []
        return self.close(self.model(op, self.floats(t), *bounds, **attributes), t.shape, scale,
                          zero)

    def binary(self, t, other):
        shape = tuple(map(max, t.shape, other.shape))
        op = self.choose("Add", "Add", "Mul", *(["Sub"] if self.qdq else []))
        size = t.scale * other.scale * 60 if op == "Mul" else max(t.scale, other.scale)
        scale, zero = self.scale(size), self.zero()
        if not self.qdq:
            y = self.model(f".QLinear{op}", t.name, *t.parameters, other.name, *other.parameters,
                           scale, zero, kind=self.dtype)
            return Tensor(y, shape, scale, zero)
        return self.close(self.model(op, self.floats(t), self.floats(other)), shape, scale, zero)

    def residual(self, t):
        """A branch of one layer, and the sum of both."""
        channels = t.shape[1]
        if len(t.shape) == 2:
            return self.binary(t, self.unary(t))
        w = self.weights((channels, channels, *(1 for _ in t.shape[2:])), 0)
        branch = self.sums(t, "Conv", w, 0, channels)
        return self.binary(*self.choose((t, branch), (branch, t)))

    def excitation(self, t):
        """A global mean, a layer on it, and the product of that with all rows and columns."""
        if len(t.shape) == 2:
            return t
        mean = self.mean(t)
        w = self.weights((t.shape[1], t.shape[1], *(1 for _ in t.shape[2:])), 0)
        branch = self.sums(mean, "Conv", w, 0, t.shape[1])
        return self.binary(*self.choose((t, branch), (branch, t)))

    def with_constant(self, t):
        """Add or multiply by quantized constants."""
        op = self.choose("Add", "Mul")
        shape = self.choose((1,), (t.shape[1], *(1 for _ in t.shape[2:])), t.shape[-1:])
        array = self.rng.integers(self.lo, self.lo + 256, shape).astype(self.dtype)
        c_scale, c_zero = self.scale(0.02), self.zero()
        size = t.scale * c_scale * 60 if op == "Mul" else max(t.scale, c_scale)
        scale, zero = self.scale(size), self.zero()
        if not self.qdq:
            y = self.model(f".QLinear{op}", t.name, *t.parameters, array, c_scale, c_zero, scale,
                           zero, kind=self.dtype)
            return Tensor(y, t.shape, scale, zero)
        y = self.model(op, self.floats(t), self.model.dq(array, c_scale, c_zero))
        return self.close(y, t.shape, scale, zero)

    def join(self, t):
        """Concatenate with a branch."""
        other = self.unary(t)
        scale, zero = self.scale(t.scale), self.zero()
        shape = (1, 2 * t.shape[1], *t.shape[2:])
        if not self.qdq:
            y = self.model(".QLinearConcat", scale, zero, t.name, *t.parameters, other.name,
                           *other.parameters, kind=self.dtype, axis=1)
            return Tensor(y, shape, scale, zero)
        y = self.model("Concat", self.floats(t), self.floats(other), axis=1)
        return self.close(y, shape, scale, zero)

    def mean(self, t):
        if len(t.shape) == 2:
            return t
        scale, zero = self.scale(t.scale / 2), self.zero()
        shape = (*t.shape[:2], *(1 for _ in t.shape[2:]))
        if not self.qdq:
            y = self.model(".QLinearGlobalAveragePool", t.name, *t.parameters, scale, zero,
                           kind=self.dtype, channels_last=0)
            return Tensor(y, shape, scale, zero)
        return self.close(self.model("GlobalAveragePool", self.floats(t)), shape, scale, zero)

    def average(self, t):
        if len(t.shape) == 2 or not self.power:
            return t
        kernel = [self.choose(1, 2, 3) for _ in t.shape[2:]]
        attributes = {"kernel_shape": kernel, "strides": [self.choose(1, 2) for _ in kernel],
                      "pads": [int(self.rng.integers(0, k)) for k in kernel * 2],
                      "count_include_pad": int(self.chance(0.5))}
        scale, zero = self.scale(t.scale / 2), self.zero()
        shape = shape_after("AveragePool", t.shape, **attributes)
        if min(shape) < 1:
            return t
        if not self.qdq:
            y = self.model(".QLinearAveragePool", t.name, *t.parameters, scale, zero,
                           kind=self.dtype, channels_last=0, **attributes)
            return Tensor(y, shape, scale, zero)
        return self.close(self.model("AveragePool", self.floats(t), **attributes), shape, scale,
                          zero)

    def moved(self, t):
        """Resize, crop, pad, or split and join."""
        rank = len(t.shape)
        if rank == 2:
            return t
        kind = self.choose("Resize", "Slice", "Split", "Pad" if self.qdq else "Slice")
        shape = [*t.shape]
        if kind == "Resize":
            factors = [1, 1, *(self.choose(1, 2) for _ in t.shape[2:])]
            shape = [n * f for n, f in zip(shape, factors, strict=True)]
            y = self.model("Resize", t.name, "", np.float32(factors), kind=self.dtype,
                           mode="nearest", coordinate_transformation_mode="asymmetric",
                           nearest_mode="floor")
        elif kind == "Slice":
            axis = int(self.rng.integers(1, rank))
            first = int(self.rng.integers(0, shape[axis]))
            last = int(self.rng.integers(first + 1, shape[axis] + 1))
            step = self.choose(1, 2) if axis > 1 else 1
            shape[axis] = len(range(first, last, step))
            y = self.model("Slice", t.name, np.array([first]), np.array([last]), np.array([axis]),
                           np.array([step]), kind=self.dtype)
        elif kind == "Split":
            if t.shape[1] < 2:
                return t
            n = int(self.rng.integers(1, t.shape[1]))
            a, b = self.model("Split", t.name, np.array([n, t.shape[1] - n]), outputs=2,
                              kind=self.dtype, axis=1)
            y = self.model("Concat", b, a, kind=self.dtype, axis=1)
        else:
            amounts = self.rng.integers(0, 3, (2, rank - 2))
            shape[2:] = [int(n + a + b) for n, a, b in zip(shape[2:], *amounts, strict=True)]
            y = self.model("Pad", self.floats(t), np.array([0, 0, *amounts[0], 0, 0, *amounts[1]]))
            return self.close(y, tuple(shape), *t.parameters)
        return Tensor(y, tuple(shape), *t.parameters)

    def spread(self, t):
        """A transposed convolution, which is exact where scales are powers of two."""
        if len(t.shape) == 2 or not (self.power and self.qdq):
            return t
        kernel = [self.choose(1, 2, 3) for _ in t.shape[2:]]
        w = self.weights((t.shape[1], int(self.rng.integers(1, 4)), *kernel), 1)
        attributes = {"strides": [self.choose(1, 2) for _ in kernel]}
        y = self.model("ConvTranspose", self.floats(t), self.model.dq(
            w[0], w[1], w[2], **({"axis": 1} if np.ndim(w[1]) else {})),
            **attributes)
        scale = self.scale(float(t.scale * np.max(w[1]) * 40 * np.sqrt(t.shape[1])))
        return self.close(y, shape_after("ConvTranspose", t.shape, w[0].shape, **attributes),
                          scale, self.zero())

    def network(self, layers):
        """Append so many layers, and an end."""
        kinds = (self.convolution, self.convolution, self.convolution, self.convolution,
                 self.residual, self.residual, self.max_pool, self.unary, self.with_constant,
                 self.excitation, self.join, self.average, self.moved, self.spread)
        t = self.start()
        for _ in range(layers):
            if int(np.prod(t.shape)) > 3000:
                break
            t = self.choose(*kinds)(t)
        if self.chance(0.3):
            t = self.mean(t)
        if self.chance(0.7):
            t = self.dense(t)
        self.model.last = t.name
        if self.chance(0.7):
            self.model.last = self.floats(t)
        if self.model.last == "x":
            return self.network(layers)
        return self.model


def random_model(seed):
    """Return a random model, and a few words on it."""
    rng = np.random.default_rng(seed)
    options = {"qdq": bool(rng.random() < 0.6), "dtype": (np.uint8, np.int8)[rng.integers(2)],
               "power": bool(rng.random() < 0.35), "rank": int(rng.choice([3, 4, 4, 4])),
               "opset": int(rng.choice([13, 17, 18, 19, 21]))}
    return Maker(rng, **options).network(int(rng.integers(1, 6))), options


def compare(seed, count=8):
    """Return "equal" or why a random network is refused; raise :exc:`AssertionError` otherwise."""
    model, _ = random_model(seed)
    try:
        model.check(model.frames(np.random.default_rng(seed), count))
    except ValueError as error:
        return str(error)
    return "equal"


def fuzz(count, seed):
    """Compare random networks; return how many there were of each outcome."""
    outcomes = Counter()
    for k in range(seed, seed + count):
        try:
            outcome = compare(k)
        except AssertionError as error:
            outcome = "different"
            print(f"seed {k}: {random_model(k)[1]}\n{error}", flush=True)
        except Exception as error:
            outcome = "failed"
            print(f"seed {k}: {random_model(k)[1]}\n{type(error).__name__}: {error}", flush=True)
        if outcome not in ("equal", "different", "failed"):
            print(f"seed {k}: {outcome}", flush=True)
            outcome = "refused"
        outcomes[outcome] += 1
    return outcomes


if __name__ == "__main__":
    print(dict(fuzz(*map(int, sys.argv[1:3]))))
