"""Random small networks in TFLite files, and what LiteRT's reference kernels make of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from bittern.gen.importers import tflite

DTYPES = {"INT8": np.int8, "INT16": np.int16, "UINT8": np.uint8, "INT32": np.int32,
          "INT64": np.int64, "FLOAT32": np.float32}
OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions", "CONV_2D": "Conv2DOptions", "MEAN": "ReducerOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "MAX_POOL_2D": "Pool2DOptions",
    "SUM": "ReducerOptions"}
"""Operators whose options are not called like them."""
ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file: activations have one scale."""

    index: int
    shape: tuple[int, ...]
    type: str
    scale: float = 0.0
    zero: int = 0

    @property
    def rows(self):
        return self.shape[1]


class Model:
    """A model under construction; tensors are what operators take and give."""

    def __init__(self, *shape, type="INT8", scale=0.05, zero=0, signature=None): # noqa: A002
        self.tensors, self.buffers, self.codes = [], [None], []
        self.operators, self.ops = [], []
        self.input = self.last = self.tensor(shape, type, scale, zero)
        self.tensors[0].shapeSignature = signature

    def tensor(self, shape, type, scale=0.0, zero=0, *, data=None, axis=0): # noqa: A002
        """Append a tensor; `scale` may have one number for each index of `axis`."""
        t = schema.TensorT()
        t.name, t.shape = f"t{len(self.tensors)}".encode(), list(shape)
        t.type = getattr(schema.TensorType, type)
        if np.any(scale):
            q = t.quantization = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(scale)]
            q.zeroPoint = [int(z) for z in np.broadcast_to(zero, len(q.scale))]
            q.quantizedDimension = axis
        if data is not None:
            t.buffer = len(self.buffers)
            self.buffers.append(np.frombuffer(data, np.uint8))
        self.tensors.append(t)
        one = np.size(scale) == 1
        return Tensor(len(self.tensors) - 1, tuple(shape), type,
                      float(np.float32(np.ravel(scale)[0])) if one else 0.0,
                      int(np.ravel(zero)[0]))

    def constant(self, values, type="INT32", scale=0.0, zero=0, axis=0): # noqa: A002
        """Append a constant."""
        array = np.asarray(values, DTYPES[type])
        return self.tensor(array.shape, type, scale, zero, data=array.tobytes(), axis=axis)

    def __call__(self, op, *inputs, shape=None, to=None, scale=None, zero=None, outputs=1,
                 **options):
        """Append an operator on `inputs`, or on what the last one gave; return what it gives."""
        x = inputs[0] if inputs and isinstance(inputs[0], Tensor) and inputs[0].scale else self.last
        inputs = inputs or (x,)
        made = [self.tensor(shape or x.shape, to or x.type, x.scale if scale is None else scale,
                            x.zero if zero is None else zero) for _ in range(outputs)]
        o = schema.OperatorT()
        number = getattr(schema.BuiltinOperator, op)
        if number not in self.codes:
            self.codes.append(number)
        o.opcodeIndex = self.codes.index(number)
        o.inputs = [t.index if isinstance(t, Tensor) else t for t in inputs]
        o.outputs = [t.index for t in made]
        kind = OPTIONS.get(op, "".join(w.capitalize() for w in op.split("_")) + "Options")
        if hasattr(schema, f"{kind}T"):
            o.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            o.builtinOptions = getattr(schema, f"{kind}T")()
            for name, value in options.items():
                assert hasattr(o.builtinOptions, name), name
                setattr(o.builtinOptions, name, value)
        self.operators.append(o)
        self.ops.append(op)
        self.last = made[0]
        return made[0] if outputs == 1 else made

    def file(self, *outputs):
        """Return the content of the file; its output is what the last operator gave."""
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs = 3, [graph]
        model.buffers = []
        for data in self.buffers:
            buffer = schema.BufferT()
            buffer.data = data
            model.buffers.append(buffer)
        model.operatorCodes = []
        for number in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
            model.operatorCodes.append(code)
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs = [self.input.index]
        graph.outputs = [t.index for t in outputs or (self.last,)]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def network(self, *outputs):
        """Import the file."""
        return tflite.read(self.file(*outputs), "model")

    def check(self, x, *outputs):
        """Assert that every bit equals LiteRT's; return the network."""
        network = self.network(*outputs)
        y, expected = network.decode(network.graph.golden(network.encode(x))), reference(
            self.file(*outputs), x)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)
        assert set(network.formats) == {"input", *(n.name for n in network.graph.nodes)}
        assert len(network.rules) == len(self.operators)
        return network

    # Operators with weights, with scales that suit them

    def conv(self, x, w, *, scale=None, axis=0, bias=True, to_scale=0.1, to_zero=0, shape=None,
             op="CONV_2D", wide=True, **options):
        """Append CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED or TRANSPOSE_CONV."""
        scale = np.float32(0.01) if scale is None else np.float32(scale)
        weights = self.constant(w, "INT8", scale, axis=axis)
        inputs = [x, weights]
        if bias is not False:
            count = w.shape[axis] if op != "DEPTHWISE_CONV_2D" else w.shape[3]
            values = np.zeros(count, int) if bias is True else bias
            kind = "INT64" if x.type == "INT16" and wide else "INT32"
            inputs.append(self.constant(values, kind, np.float32(x.scale) * scale))
        return self(op, *inputs, scale=to_scale, zero=to_zero, shape=shape, **options)


def reference(data, xs):
    """Return what LiteRT's reference kernels give for frames, one at a time."""
    interpreter = Interpreter(model_content=data,
                              experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    i, o = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    ys = []
    for x in xs:
        interpreter.set_tensor(i["index"], x.reshape(i["shape"]).astype(i["dtype"]))
        interpreter.invoke()
        y = interpreter.get_tensor(o["index"])
        ys.append(y[0] if y.shape[0] == 1 and y.ndim > 1 else y)
    return np.stack(ys)


class Random:
    """A random network: `steps` operators, each on what the one before it gave."""

    def __init__(self, seed, type="INT8", steps=6): # noqa: A002
        self.rng = rng = np.random.default_rng(seed)
        self.wide = type == "INT16"
        shape = (1, int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.integers(1, 7)))
        self.model = Model(*shape, type=type, scale=self.scale(0.02), zero=self.zero())
        self.seen = [self.model.last]
        kinds = [*(NARROW if not self.wide else ()), *BOTH]
        for _ in range(steps):
            x = self.model.last
            fit = [kind for kind in kinds if len(x.shape) == 4 or kind in FLAT]
            fit[rng.integers(len(fit))](self, x)
            self.tune()
            self.seen.append(self.model.last)
        if rng.integers(3) == 0 and not self.wide:
            end = rng.integers(3)
            x = self.model.last
            if end == 0 and 1 < x.shape[-1] < 512: # the reference aborts where a sum reaches 512
                self.model("SOFTMAX", x, scale=1 / 256, zero=-128, beta=float(rng.choice([1, 0.5])))
            elif end == 1:
                self.model("DEQUANTIZE", x, to="FLOAT32", scale=0.0)
            else:
                self.model("QUANTIZE", x, to="UINT8", zero=x.zero + 128)

    def tune(self):
        """Change the last scale until the output is neither constant nor mostly clipped."""
        made, tensor = self.model.last, self.model.tensors[-1]
        if made.index != len(self.model.tensors) - 1 or self.model.ops[-1] not in FREE:
            return
        lo, hi = np.iinfo(DTYPES[made.type]).min, np.iinfo(DTYPES[made.type]).max
        for _ in range(8):
            y = reference(self.model.file(), self.frames(3))
            if ((y == lo) | (y == hi)).mean() > 0.4:
                factor = 2.5
            elif y.std() < (hi - lo) / 20 and tensor.quantization.scale[0] > 1e-5:
                factor = 0.3
            else:
                break
            tensor.quantization.scale[0] = float(np.float32(tensor.quantization.scale[0] * factor))
            if not self.wide:
                tensor.quantization.zeroPoint[0] = self.zero()
        self.model.last = replace(made, scale=tensor.quantization.scale[0],
                                  zero=tensor.quantization.zeroPoint[0])

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def scale(self, about):
        return float(np.float32(max(about, 1e-6) * 2 ** self.rng.uniform(-1, 1)))

    def zero(self):
        return 0 if self.wide else int(self.pick(0, -128, 127, *self.rng.integers(-128, 128, 5)))

    def activation(self):
        return getattr(schema.ActivationFunctionType, self.pick(*ACTIVATIONS))

    def output(self, x, gain):
        """Parameters of an output that is `gain` times as large as `x`."""
        return {"scale": self.scale(x.scale * gain), "zero": self.zero()}

    def frames(self, count):
        """Return frames: random ones, and one of each end."""
        lo, hi = (-32768, 32767) if self.wide else (-128, 127)
        x = self.rng.integers(lo, hi + 1, (count, *self.model.input.shape[1:]))
        x[0], x[1] = lo, hi
        return x.astype(DTYPES[self.model.input.type])

    def weights(self, *shape, fan):
        """Return weights, their scale, and by how much they make an input larger."""
        scale = self.scale(0.01)
        reach = int(self.pick(2, 9, 128))
        return self.rng.integers(1 - reach, reach, shape), scale, scale * reach * fan**0.5 * 0.6

    def window(self, x, kernel, *, dilated=True):
        """Return padding, strides and dilations that suit `x`, and the output's shape."""
        padding = int(self.rng.integers(2))
        strides = [int(self.pick(1, 1, 2, 3)) for _ in range(2)]
        dilations = [int(self.pick(1, 1, 1, 2)) if dilated and s == 1 else 1 for s in strides]
        sizes = []
        for n, k, s, d in zip(x.shape[1:3], kernel, strides, dilations, strict=True):
            reach = (k - 1) * d + 1
            if padding and n < reach:
                padding = 0
            sizes.append((n, reach, s))
        out = [(n - reach) // s + 1 if padding else -(-n // s) for n, reach, s in sizes]
        return padding, strides, dilations, out

    def kernel(self):
        return [int(self.pick(1, 2, 3, 3, 4)) for _ in range(2)]

    def bias(self, outputs, fan, *optional):
        """Return a bias; False for none, which not all operators may have."""
        values = self.rng.integers(-20 * fan - 2, 20 * fan + 2, outputs) * (50 if self.wide else 1)
        return self.pick(True, *optional, values)

    def conv(self, x):
        k, depth = self.kernel(), x.shape[3]
        groups = int(self.pick(*(g for g in (1, 1, 2, 3) if depth % g == 0)))
        outputs = groups * int(self.rng.integers(1, 5))
        fan = k[0] * k[1] * depth // groups
        w, scale, gain = self.weights(outputs, *k, depth // groups, fan=fan)
        padding, strides, dilations, out = self.window(x, k)
        scales = scale * 2 ** self.rng.uniform(-3, 1, outputs) if self.rng.integers(3) else scale
        self.model.conv(
            x, w, scale=scales, bias=self.bias(outputs, fan),
            to_scale=self.scale(x.scale * gain), to_zero=self.zero(), shape=(1, *out, outputs),
            padding=padding, strideH=strides[0], strideW=strides[1], dilationHFactor=dilations[0],
            dilationWFactor=dilations[1], fusedActivationFunction=self.activation())

    def depthwise(self, x):
        k, m = self.kernel(), int(self.pick(1, 1, 2, 3))
        outputs = x.shape[3] * m
        w, scale, gain = self.weights(1, *k, outputs, fan=k[0] * k[1])
        padding, strides, dilations, out = self.window(x, k)
        scales = scale * 2 ** self.rng.uniform(-3, 1, outputs) if self.rng.integers(3) else scale
        self.model.conv(
            x, w, op="DEPTHWISE_CONV_2D", scale=scales, axis=3, depthMultiplier=m,
            bias=self.bias(outputs, k[0] * k[1]), to_scale=self.scale(x.scale * gain),
            to_zero=self.zero(), shape=(1, *out, outputs), padding=padding, strideH=strides[0],
            strideW=strides[1], dilationHFactor=dilations[0], dilationWFactor=dilations[1],
            fusedActivationFunction=self.activation())

    def transpose_conv(self, x):
        k, outputs = self.kernel(), int(self.rng.integers(1, 5))
        fan = k[0] * k[1] * x.shape[3]
        w, scale, gain = self.weights(outputs, *k, x.shape[3], fan=fan)
        strides = [int(self.pick(1, 2, 3)) for _ in range(2)]
        padding = int(self.rng.integers(2))
        out = [n * s if padding == 0 else (n - 1) * s + max(k, s) if self.rng.integers(2)
               else (n - 1) * s + k for n, k, s in zip(x.shape[1:3], k, strides, strict=True)]
        shape = (1, *out, outputs)
        if prod(shape) > 4096:
            return
        scales = scale * 2 ** self.rng.uniform(-3, 1, outputs) if self.rng.integers(3) else scale
        weights = self.model.constant(w, "INT8", scales)
        inputs = [self.model.constant(shape), weights, x]
        if (bias := self.bias(outputs, fan, False)) is not True and bias is not False:
            inputs.append(self.model.constant(bias, "INT64" if self.wide else "INT32",
                                              np.float32(x.scale) * scales))
        self.model("TRANSPOSE_CONV", *inputs, shape=shape, **self.output(x, gain), padding=padding,
                   strideH=strides[0], strideW=strides[1], to=x.type)

    def dense(self, x):
        keep = len(x.shape) > 2 and self.rng.integers(3) == 0
        n = x.shape[-1] if keep else prod(x.shape)
        outputs = int(self.rng.integers(1, 12))
        w, scale, gain = self.weights(outputs, n, fan=n)
        single = self.rng.integers(2)
        scales = scale if single else scale * 2 ** self.rng.uniform(-3, 1, outputs)
        self.model.conv(
            x, w, op="FULLY_CONNECTED", scale=scales, bias=self.bias(outputs, n, False),
            to_scale=self.scale(x.scale * gain), to_zero=self.zero(), keepNumDims=bool(keep),
            shape=(*x.shape[:-1], outputs) if keep else (1, outputs),
            fusedActivationFunction=self.activation())

    def pool(self, x):
        k = self.kernel() if self.rng.integers(3) else list(x.shape[1:3])
        padding, strides, _, out = self.window(x, k, dilated=False)
        self.model(self.pick("AVERAGE_POOL_2D", "MAX_POOL_2D"), x, shape=(1, *out, x.shape[3]),
                   filterHeight=k[0], filterWidth=k[1], padding=padding, strideH=strides[0],
                   strideW=strides[1], fusedActivationFunction=self.activation())

    def mean(self, x):
        axes = self.pick((1, 2), (2, 1), (1,), (2,), (-3, -2))
        keep = bool(self.rng.integers(2))
        at = {a % 4 for a in axes}
        shape = tuple(1 if i in at else n for i, n in enumerate(x.shape) if keep or i not in at)
        self.model("MEAN", x, self.model.constant(axes), shape=shape, keepDims=keep,
                   **self.output(x, 0.5))

    def binary(self, x):
        op = self.pick("ADD", "SUB", "MUL")
        others = [t for t in self.seen if t.shape == x.shape and t != x]
        if others:
            other = others[self.rng.integers(len(others))]
        else: # the same, turned round
            w = self.rng.integers(-9, 10, (x.shape[-1], x.shape[-1]))
            other = self.model.conv(x, w, op="FULLY_CONNECTED", to_scale=self.scale(x.scale / 20),
                                    to_zero=self.zero(), shape=x.shape, keepNumDims=True)
        if self.rng.integers(4) == 0:
            shape = self.pick(x.shape, x.shape[-1:], (), (1,) * len(x.shape))
            reach = 32767 if self.wide else 127
            other = self.model.constant(self.rng.integers(-reach, reach + 1, shape), x.type,
                                        self.scale(x.scale), self.zero())
        elif len(x.shape) == 4 and self.rng.integers(4) == 0:
            other = self.model("MEAN", x, self.model.constant((1, 2)), keepDims=True,
                               shape=(1, 1, 1, x.shape[3]), **self.output(x, 0.5))
        pair = [x, other] if self.rng.integers(2) else [other, x]
        gain = max(other.scale / x.scale, 1) if op != "MUL" else other.scale * (
            20000 if self.wide else 80)
        self.model(op, *pair, shape=x.shape, to=x.type, **self.output(x, gain),
                   fusedActivationFunction=self.activation(),
                   **({} if op == "MUL" else {"potScaleInt16": False}))

    def concatenate(self, x):
        others = [t for t in self.seen if t.shape[:-1] == x.shape[:-1] and len(t.shape) > 1]
        parts = [x, *(others[self.rng.integers(len(others))]
                      for _ in range(self.rng.integers(3)) if others)]
        parts = [p if (p.scale, p.zero) == (x.scale, x.zero) else
                 self.model("QUANTIZE", p, scale=x.scale, zero=x.zero) for p in parts]
        self.model("CONCATENATION", *parts, axis=self.pick(-1, len(x.shape) - 1),
                   shape=(*x.shape[:-1], sum(p.shape[-1] for p in parts)), scale=x.scale,
                   zero=x.zero)

    def pad(self, x):
        by = np.zeros((4, 2), int)
        by[1:3] = self.rng.integers(0, 3, (2, 2))
        by[3] = self.rng.integers(0, 2, 2) * (self.rng.integers(4) == 0)
        inputs = [x, self.model.constant(by)]
        op = "PAD"
        if self.rng.integers(2):
            op = "PADV2"
            inputs.append(self.model.constant([self.rng.integers(-100, 100)], x.type, x.scale,
                                              x.zero))
        self.model(op, *inputs, shape=tuple(np.array(x.shape) + by.sum(axis=1)))

    def resize(self, x):
        factors = self.pick((2, 2), (1, 3), (3, 1))
        out = [n * f for n, f in zip(x.shape[1:3], factors, strict=True)]
        if prod(out) <= 400:
            self.model("RESIZE_NEAREST_NEIGHBOR", x, self.model.constant(out),
                       shape=(1, *out, x.shape[3]), alignCorners=False,
                       halfPixelCenters=bool(self.rng.integers(2)))

    def cut(self, x):
        begin = [0, *(int(self.rng.integers(n)) for n in x.shape[1:])]
        end = [1, *(int(self.rng.integers(b, n)) + 1 for b, n in zip(begin[1:], x.shape[1:],
                                                                     strict=True))]
        steps = [1, *(int(self.pick(1, 2)) for _ in x.shape[1:-1]), 1]
        shape = tuple(-(-(e - b) // s) for b, e, s in zip(begin, end, steps, strict=True))
        if self.rng.integers(2):
            self.model("STRIDED_SLICE", x, *(self.model.constant(v) for v in (begin, end, steps)),
                       shape=shape, beginMask=1, endMask=int(self.pick(0, 1)))
        else:
            size = [e - b for b, e in zip(begin, end, strict=True)]
            self.model("SLICE", x, self.model.constant(begin), self.model.constant(size),
                       shape=tuple(size))

    def flatten(self, x):
        shape = self.pick((1, prod(x.shape)), (1, prod(x.shape[:-1]), x.shape[-1]))
        self.model("RESHAPE", x, self.model.constant(shape), shape=shape, newShape=list(shape))

    def unary(self, x):
        op = self.pick("RELU", "RELU6", "QUANTIZE", "LEAKY_RELU")
        alpha = {"alpha": float(self.rng.uniform(-0.1, 1.2))} if op == "LEAKY_RELU" else {}
        self.model(op, x, **self.output(x, 1), **alpha)

    def curve(self, x):
        op = self.pick("RELU_N1_TO_1", "HARD_SWISH", "LOGISTIC", "TANH")
        output = {"scale": 1 / 256, "zero": -128} if op == "LOGISTIC" else self.output(
            x, 1 if op != "TANH" else 0.01 / x.scale)
        self.model(op, x, **output)


BOTH = (Random.conv, Random.conv, Random.depthwise, Random.transpose_conv, Random.dense,
        Random.pool, Random.pool, Random.mean, Random.binary, Random.binary, Random.concatenate,
        Random.pad, Random.resize, Random.cut, Random.flatten, Random.unary)
NARROW = (Random.curve,)
FREE = {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "HARD_SWISH", "LEAKY_RELU",
        "MEAN", "MUL", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "SUB", "TANH", "TRANSPOSE_CONV"}
"""Operators whose output may have any scale."""
FLAT = {Random.dense, Random.binary, Random.concatenate, Random.flatten, Random.unary,
        Random.curve, Random.cut}


def compare(seed, type="INT8"): # noqa: A002
    """Return "equal", or how a random network differs from LiteRT."""
    random = Random(seed, type, steps=2 + seed % 8)
    try:
        random.model.check(random.frames(5))
    except (AssertionError, ValueError, RuntimeError) as error:
        return f"differs: {str(error).strip().splitlines()[:4]}"
    return "equal"
