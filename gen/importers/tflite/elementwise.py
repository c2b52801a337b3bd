"""Rules of the operators that take elements one by one, or pairs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import UnsupportedError
from bittern.gen.importers.sums import weighted_sum
from bittern.gen.importers.tflite import arithmetic
from bittern.gen.importers.tflite.arithmetic import Multiplier, Quantization, Sum, rescaled
from bittern.gen.importers.tflite.graph import (
    Builder,
    Constant,
    Host,
    Stream,
    Tail,
    Value,
    inner,
    stream,
)
from bittern.gen.importers.tflite.windows import same, sized
from bittern.gen.layers.add import Add
from bittern.gen.layers.concatenate import Concatenate
from bittern.gen.layers.multiply import Multiply
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.softmax import Softmax
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches
from bittern.hw.softmax import SoftmaxSpec
from bittern.hw.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.tflite.file import Operation
    from bittern.hw.requant import Requant

__all__ = ["RULES"]


def unary(g: Builder, o: Operation, x: Stream, function: Callable[[Ints], Ints]) -> Stream:
    """Append a function of each integer."""
    y = o.output.quantization
    return Stream(g.requantize(o.name, x.edge, function, y), x.shape, y)


def like(o: Operation, *xs: Quantization, types: tuple[str, ...] = ("INT8", "INT16")
         ) -> Quantization:
    """Return the output's quantization, which must have the type of the inputs."""
    y = o.output.quantization
    if y.type not in types or any(x.type != y.type for x in xs):
        raise UnsupportedError(f"goes from {' and '.join(x.type for x in xs)} to {y.type}; "
                               f"accepted: {' or '.join(types)} everywhere")
    if y.type == "INT16" and any(q.zero for q in (y, *xs)):
        raise UnsupportedError("has activations of 16 bits with a zero point; accepted: 0")
    return y


def relu(activation: str) -> Callable[..., Stream]:
    """Return the rule of RELU, RELU6 or RELU_N1_TO_1."""

    def rule(g: Builder, o: Operation, x: Value) -> Stream:
        x = stream(x)
        a, y = x.quantization, like(o, x.quantization)
        multiplier = Multiplier.of(float(a.scale / y.scale))
        return unary(g, o, x, rescaled(multiplier, (a.lo, a.hi), a.zero, y, y.clip(activation)))

    return rule


def leaky_relu(g: Builder, o: Operation, x: Value) -> Stream:
    """LEAKY_RELU."""
    x, alpha = stream(x), float(o.options["Alpha"])
    if not np.isfinite(alpha):
        raise UnsupportedError(f"has alpha {alpha}; accepted: finite ones")
    return unary(g, o, x, arithmetic.leaky_relu(x.quantization, like(o, x.quantization), alpha))


def looked_up(function: Callable[[Quantization, Quantization], Callable[[Ints], Ints]]
              ) -> Callable[..., Stream]:
    """Return the rule of a function of 8 bits that becomes a table."""

    def rule(g: Builder, o: Operation, x: Value) -> Stream:
        x = stream(x)
        y = like(o, x.quantization, types=("INT8",))
        if o.op == "LOGISTIC" and y.scale != np.float32(1 / 256):
            raise UnsupportedError(f"has the output scale {y.scale:g}; the reference requires "
                                   "1/256")
        tensor = g.types[x.edge]
        table = function(x.quantization, y)(np.arange(tensor.lo, tensor.hi + 1))
        edge = g.append(o.name, Requantize(Table(frozen(table[np.newaxis]), tensor.lo)), x.edge,
                        scale=y.scale, zero=y.zero)
        return Stream(edge, x.shape, y)

    return rule


def softmax(g: Builder, o: Operation, x: Value) -> Stream:
    """SOFTMAX along the last axis."""
    x = stream(x)
    y = like(o, x.quantization, types=("INT8",))
    if y.zero != -128 or abs(y.scale * 256 - 1) > 0.001:
        raise UnsupportedError(f"has the output {y.scale:g} * (q - {y.zero}); the reference "
                               "requires 1/256 * (q + 128)")
    spec = SoftmaxSpec.of(float(x.quantization.scale), float(o.options["Beta"]))
    edge = g.append(o.name, Softmax(spec), g.shaped(o.name, x), scale=y.scale, zero=y.zero)
    return Stream(edge, x.shape, y)


def quantize(g: Builder, o: Operation, x: Value) -> Value:
    """QUANTIZE: on the host at the ends, else from integers to integers."""
    y = o.output.quantization
    if isinstance(x, Host):
        return g.open(x.shape, y)
    x = stream(x)
    function = requantization(x.quantization, y)
    if y.type == "UINT8":
        return Tail(x.edge, x.shape, lambda q: function(q).astype(np.uint8))
    return unary(g, o, x, function)


def requantization(x: Quantization, y: Quantization) -> Callable[[Ints], Ints]:
    """Return what QUANTIZE does to integers."""
    multiplier = Multiplier.of(float(x.scale) / float(y.scale))
    return rescaled(multiplier, (x.lo, x.hi), x.zero, y, (y.lo, y.hi))


def dequantize(_g: Builder, _o: Operation, x: Value) -> Tail:
    """DEQUANTIZE at the end, on the host."""
    x = stream(x)
    a = x.quantization
    return Tail(x.edge, x.shape, lambda q: arithmetic.dequantize(q, a))


def add(g: Builder, o: Operation, x0: Value, x1: Value) -> Stream:
    """ADD and SUB: of streams, or of one and a constant."""
    a, b = quantized(x0), quantized(x1)
    y = like(o, a, b)
    if y.type == "INT16" and o.options["PotScaleInt16"]:
        raise UnsupportedError("has the old arithmetic of 16 bits, with powers of two as scales; "
                               "convert the model again")
    whole = Sum.of(a, b, y, y.clip(o.options["FusedActivationFunction"]), subtract=o.op == "SUB")
    if (single := one(g, o, x0, x1, whole)) is not None:
        return single
    streams = level(g, o, stream(x0), stream(x1))
    edges, tensors = zip(*((s.edge, g.types[s.edge]) for s in streams), strict=True)
    ranges = [np.arange(t.lo, t.hi + 1) for t in tensors]
    if y.type == "INT8" and (found := weighted_sum(whole(ranges[0][:, np.newaxis], ranges[1]),
                                                   tensors[0].lo, tensors[1].lo)):
        edge = g.append(f"{o.name}_sum", Add(found.factor0, found.factor1), *edges,
                        scale=a.scale / abs(found.factor0),
                        zero=found.factor0 * a.zero + found.factor1 * b.zero)
        edge = g.append(o.name, Requantize(found.thresholds), edge, scale=y.scale, zero=y.zero)
        return Stream(edge, streams[0].shape, y)
    parts = []
    for k, part in enumerate(edges):
        specs: tuple[Requant, ...] = (
            Table(frozen(whole.part(k, ranges[k])[np.newaxis]), tensors[k].lo),)
        if y.type == "INT16":
            fixed = whole.multipliers[k]
            specs = Multiplier(fixed.value << whole.left, fixed.shift).steps(-2**31, 2**31 - 1)
        parts.append(part)
        for spec in specs:
            parts[k] = g.append(f"{o.name}_part_{k}", Requantize(spec), parts[k], scale=whole.unit)
    total = Add(1, whole.sign if y.type == "INT16" else 1)
    edge = g.append(f"{o.name}_sum", total, *parts, scale=whole.unit)
    return Stream(g.requantize(o.name, edge, whole.whole, y), streams[0].shape, y)


def mul(g: Builder, o: Operation, x0: Value, x1: Value) -> Stream:
    """MUL: of streams, or of one and a constant."""
    a, b = quantized(x0), quantized(x1)
    y = like(o, a, b)
    multiplier = Multiplier.of(float(a.scale * b.scale / y.scale))
    clip = y.clip(o.options["FusedActivationFunction"])
    reach = max(a.zero - a.lo, a.hi - a.zero) * max(b.zero - b.lo, b.hi - b.zero)
    multiplier.check(-reach, reach)

    def whole(q: Ints) -> Ints:
        return (multiplier(q) + y.zero).clip(*clip)

    def pair(q0: Ints, q1: Ints) -> Ints:
        return whole((q0 - a.zero) * (q1 - b.zero))

    if (single := one(g, o, x0, x1, pair)) is not None:
        return single
    s0, s1 = level(g, o, stream(x0), stream(x1))
    edge = g.append(f"{o.name}_product", Multiply(a.zero, b.zero), s0.edge, s1.edge,
                    scale=a.scale * b.scale)
    return Stream(g.requantize(o.name, edge, whole, y), s0.shape, y)


def quantized(x: Value) -> Quantization:
    """Return the quantization of an operand."""
    if isinstance(x, Constant):
        if x.quantization is None:
            raise UnsupportedError("has a constant operand that is not quantized; accepted: INT8 "
                                   "or INT16 with one scale")
        return x.quantization
    return stream(x).quantization


def one(g: Builder, o: Operation, x0: Value, x1: Value,
        pair: Callable[[Ints, Ints], Ints]) -> Stream | None:
    """Append a function of pairs where only one operand varies, or both are the same."""
    y = o.output.quantization
    if isinstance(x0, Stream) and isinstance(x1, Stream):
        if x0.edge != x1.edge or x0.shape != x1.shape:
            return None
        return Stream(g.requantize(o.name, x0.edge, lambda q: pair(q, q), y), x0.shape, y)
    if isinstance(x0, Constant) and isinstance(x1, Constant):
        raise UnsupportedError("has constant operands only")
    x, c = (x1, x0) if isinstance(x0, Constant) else (x0, x1)
    x = stream(x)
    assert isinstance(c, Constant)
    shape = np.broadcast_shapes(x.shape, c.shape)
    if shape != x.shape or c.quantization is None:
        raise UnsupportedError(f"repeats shape {x.shape} to {shape}; accepted: constants that are "
                               "repeated")
    edge = g.shaped(o.name, x)
    values = c.array.ravel()
    if values.size not in (1, shape[-1]) or c.shape[-1:] not in ((), (1,), shape[-1:]):
        values = np.broadcast_to(c.array, shape).ravel()
    if (values == values[0]).all():
        values = values[:1]
    values = values.astype(np.int64)
    if x is x0:
        return Stream(g.requantize(o.name, edge, lambda q: pair(q, values), y, values.size), shape,
                      y)
    return Stream(g.requantize(o.name, edge, lambda q: pair(values, q), y, values.size), shape, y)


def level(g: Builder, o: Operation, x0: Stream, x1: Stream) -> tuple[Stream, Stream]:
    """Return streams of one shape: what has one row and column is repeated over the map."""
    shape = np.broadcast_shapes(x0.shape, x1.shape)
    found = []
    for x in (x0, x1):
        edge = g.shaped(o.name, x, inner((1,) * (len(shape) - len(x.shape)) + x.shape))
        if inner(shape) != g.types[edge].shape:
            if len(shape) != 4 or x.shape != (1, 1, 1, shape[3]):
                raise UnsupportedError(f"takes shapes {x0.shape} and {x1.shape}; accepted: equal "
                                       "ones, or one of them without rows and columns")
            patches = Patches(sized(Axis(1, zoom=shape[1])), sized(Axis(1, zoom=shape[2])))
            edge = g.window(o.name, edge, patches, x.quantization)
        found.append(Stream(edge, shape, x.quantization))
    return found[0], found[1]


def concatenation(g: Builder, o: Operation, *xs: Value) -> Value:
    """CONCATENATION of channels; of constants along any axis."""
    axis = int(o.options["Axis"])
    if all(isinstance(x, Constant) for x in xs):
        return Constant(np.concatenate([x.array for x in xs if isinstance(x, Constant)], axis))
    parts = [same(stream(x), o.output) for x in xs]
    rank = len(parts[0].shape)
    if o.options["FusedActivationFunction"] != "NONE":
        raise UnsupportedError("has a fused activation; accepted: none")
    if axis not in (-1, rank - 1) or len({x.shape[:-1] for x in parts}) > 1:
        raise UnsupportedError(f"joins shapes {', '.join(str(x.shape) for x in parts[:4])} along "
                               f"axis {axis}; accepted: the last axis")
    y = o.output.quantization
    if len(parts) == 1:
        return parts[0]
    edge = g.append(o.name, Concatenate(), *(g.shaped(o.name, x) for x in parts), scale=y.scale,
                    zero=y.zero)
    return Stream(edge, (*parts[0].shape[:-1], sum(x.shape[-1] for x in parts)), y)


RULES: dict[str, Callable[..., Any]] = {
    "ADD": add,
    "CONCATENATION": concatenation,
    "DEQUANTIZE": dequantize,
    "HARD_SWISH": looked_up(arithmetic.hard_swish),
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": looked_up(arithmetic.logistic),
    "MUL": mul,
    "QUANTIZE": quantize,
    "RELU": relu("RELU"),
    "RELU6": relu("RELU6"),
    "RELU_N1_TO_1": relu("RELU_N1_TO_1"),
    "SOFTMAX": softmax,
    "SUB": add,
    "TANH": looked_up(arithmetic.tanh),
}
