"""Rules of the operators on each element by itself, and of what only the host computes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import UnsupportedError, check_size
from bittern.gen.importers.onnx.arithmetic import (
    Quantization,
    addends,
    float32,
    hard_sigmoid,
    logistic,
    multiply,
    quantized_softmax,
    rounded_sum,
    saturated,
    softmax,
    tanh,
)
from bittern.gen.importers.onnx.parameters import quantization
from bittern.gen.importers.onnx.values import (
    Constant,
    Host,
    Pair,
    Source,
    Stream,
    Tail,
    Unit,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx.interpreter import Interpreter
    from bittern.gen.importers.onnx_file import Array, Operation
    from bittern.hw.ints import Ints

__all__ = ["ELEMENTWISE_RULES", "append_pair", "axis_of"]

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


def unary(o: Operation, x: Value, function: Callable[[Array], Array], *, rises: bool = False,
          clips: tuple[float, float] | None = None) -> Value:
    """Apply a function to each element."""
    if isinstance(x, Constant):
        return Constant(function(x.array))
    if isinstance(x, Host):
        run = x.run
        return Host(x.shape, lambda v: function(run(v)))
    if isinstance(x, Tail):
        raise UnsupportedError("comes after Softmax or ArgMax; accepted: these at the end only")
    unit = None
    if clips and x.unit and not x.unit.moved:
        unit = replace(x.unit, clips=(*x.unit.clips, clips))
    if isinstance(x, Pair):
        then = x.then
        return replace(x, then=lambda y: function(then(y)), unit=unit,
                       pending=(*x.pending, o.index))
    if x.run is None and not unit:
        raise UnsupportedError(f"its input {x.reason}")
    numbers(x)
    inner = x.run
    return replace(x, run=inner and (lambda q: function(inner(q))), rises=x.rises and rises,
                   source=None, unit=unit, pending=(*x.pending, o.index))


def relu(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Relu."""
    return unary(o, x, lambda v: np.maximum(v, v.dtype.type(0)), rises=True,
                 clips=(0.0, np.inf))


def clip(_self: Interpreter, o: Operation, x: Value, low: Value | None = None,
         high: Value | None = None) -> Value:
    """Clip."""
    limits = [-np.inf, np.inf]
    for k, bound in enumerate((low, high)):
        if bound is not None:
            if not isinstance(bound, Constant) or bound.array.size != 1:
                raise UnsupportedError("has a bound that is computed, or several; accepted: a "
                                       "constant number")
            limits[k] = bound.array.item()
    least, greatest = np.float32(limits[0]), np.float32(limits[1])
    return unary(o, x, lambda v: np.minimum(np.maximum(v, least), greatest), rises=True,
                 clips=(float(least), float(greatest)))


def leaky_relu(_self: Interpreter, o: Operation, x: Value) -> Value:
    """LeakyRelu."""
    alpha = np.float32(o.attribute("alpha", 0.01))
    return unary(o, x, lambda v: np.where(v >= 0, v, alpha * v), rises=bool(alpha >= 0))


def sigmoid(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Sigmoid."""
    return unary(o, x, logistic)


def hyperbolic_tangent(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Tanh."""
    return unary(o, x, tanh)


def piecewise_sigmoid(_self: Interpreter, o: Operation, x: Value) -> Value:
    """HardSigmoid."""
    alpha, beta = o.attribute("alpha", 0.2), o.attribute("beta", 0.5)
    return unary(o, x, lambda v: hard_sigmoid(v, alpha, beta), rises=alpha >= 0)


def hard_swish(_self: Interpreter, o: Operation, x: Value) -> Value:
    """HardSwish."""
    return unary(o, x, lambda v: v * hard_sigmoid(v, 1 / 6, 0.5))


def absolute(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Abs."""
    return unary(o, x, np.abs)


def negative(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Neg."""
    return unary(o, x, np.negative)


def cast(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Cast: to floats."""
    to = o.required("to", 1)
    if isinstance(x, Constant):
        dtypes = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}
        if to not in dtypes:
            raise UnsupportedError(f"casts to type {to}; accepted: float32, integers")
        return Constant(x.array.astype(dtypes[to]))
    if to != 1:
        raise UnsupportedError(f"casts activations to type {to}; accepted: float32")
    if not isinstance(x, Stream) or x.dtype == np.float32:
        return x
    inner = x.function
    return replace(x, run=lambda q: float32(inner(q)), dtype=np.dtype(np.float32), source=None,
                   unit=None)


def binary(self: Interpreter, o: Operation, x: Value, y: Value) -> Value:
    """Add, Sub, Mul, Div."""
    function = BINARY[o.op]
    if isinstance(x, Constant) and isinstance(y, Constant):
        if o.op == "Div" and not y.array.all():
            raise UnsupportedError("divides by zero; accepted: a constant other than 0")
        quotient = o.op == "Div" and x.dtype.kind in "iu"
        return Constant(np.asarray(x.array // y.array if quotient else function(x.array, y.array)))
    for v in (x, y):
        if isinstance(v, Tail):
            raise UnsupportedError("comes after Softmax or ArgMax; accepted: these at the end only")
    if isinstance(x, Host) or isinstance(y, Host):
        return on_host(x, y, function)
    if isinstance(y, Constant):
        return with_constant(self, o, x, y, function)
    if isinstance(x, Constant):
        return with_constant(self, o, y, x, lambda v, c: function(c, v), reverse=True)
    return of_two(self, o, (self.stream(x, "operand"), self.stream(y, "operand")), function)


def of_two(self: Interpreter, o: Operation, streams: tuple[Stream, Stream],
           function: Callable[[Array, Array], Array]) -> Value:
    """Compute with two streams."""
    for v in streams:
        numbers(v)
        v.function # noqa: B018, which there must be
    if o.op == "Div":
        raise UnsupportedError("divides by activations; accepted: a constant")
    a, b = streams
    swapped = o.op != "Sub" and scalar_first(a.shape, b.shape)
    a, b = self.builder.aligned(a, b, o.name)
    unit = None
    if o.op != "Sub" and a.source and b.source and a.source.seen.dtype == b.source.seen.dtype:
        unit = Unit(lambda _to: None, a.source.seen.dtype)
    pending = (*dict.fromkeys((*a.pending, *b.pending)), o.index)
    self.rules[o.index] = o.op.lower()
    ordered = (b, a) if swapped else (a, b)
    if a.edge == b.edge:
        return of_one(o, ordered, function, unit, pending)
    for v in ordered:
        tensor = self.builder.types[v.edge]
        if v.width or tensor.hi - tensor.lo > 255:
            raise UnsupportedError("its operands are not quantized; accepted: QuantizeLinear and "
                                   "DequantizeLinear before it")
    return Pair(o.op, ordered, self.builder.where(a), unit=unit, pending=pending)


def numbers(x: Stream) -> None:
    """Raise :exc:`UnsupportedError` if elements are integers of 8 bits, which would wrap."""
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.int32)):
        raise UnsupportedError(f"computes with {x.dtype}; accepted: float32, int32")


def on_host(x: Value, y: Value, function: Callable[[Array, Array], Array]) -> Host:
    """Compute with the network's input before it is quantized, and a constant."""
    host, other = (x, y) if isinstance(x, Host) else (y, x)
    if not isinstance(other, Constant) or not isinstance(host, Host):
        raise UnsupportedError("computes with two values that depend on the input and are not "
                               "quantized; accepted: a constant")
    shape = np.broadcast_shapes(x.shape, y.shape)
    check_size(shape)
    if len(shape) != len(host.shape):
        raise UnsupportedError(f"makes shape {shape} of {host.shape}; accepted: as many dimensions")
    run, array = host.run, other.array
    if isinstance(x, Host):
        return Host(shape, lambda v: function(run(v), array))
    return Host(shape, lambda v: function(array, run(v)))


def scalar_first(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Return whether broadcasting repeats single elements of the first operand."""
    n = max(len(a), len(b))
    pairs = [*zip((1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b, strict=True)]
    return next((i == 1 for i, j in reversed(pairs) if max(i, j) > 1), True)


def with_constant(self: Interpreter, o: Operation, x: Value, c: Constant,
                  function: Callable[[Array, Array], Array], *, reverse: bool = False) -> Value:
    """Compute with activations and a constant."""
    if c.array.size == 1 and isinstance(x, Pair):
        value = c.array.reshape(())
        return unary(o, x, lambda v: function(v, value))
    x = self.stream(x)
    numbers(x)
    if o.op == "Add" and x.unit and x.unit.biased and (found := x.unit.biased(o, c)):
        return found
    if x.run is None:
        raise UnsupportedError(f"its input {x.reason}")
    if not c.array.all() and o.op == "Div" and not reverse:
        raise UnsupportedError("divides by zero; accepted: a constant other than 0")
    if c.array.size > 1:
        x = self.builder.settled(x, o.name)
    shape = np.broadcast_shapes(x.shape, c.shape)
    if shape != x.shape:
        if x.places.size != np.prod(shape):
            self.builder.spread(x, c.array) # says so
        x = replace(x, places=x.places.reshape(shape))
    value, inner = self.builder.spread(x, c.array), x.function
    rises = x.rises and not (reverse and o.op in ("Sub", "Div")) and (
        o.op in ("Add", "Sub") or bool((c.array > 0).all()))
    unit = None
    if c.codes and c.codes.direct and x.source and o.op in ("Add", "Mul") and (
            c.codes.scale.size == 1 and c.codes.integers.dtype == x.source.seen.dtype):
        of = Quantization(np.float32(c.codes.scale.item()), int(c.codes.zero.item()),
                          c.codes.integers.dtype)
        codes = self.builder.spread(x, c.codes.integers.astype(np.int64))
        first = scalar_first(*((c.shape, x.shape) if reverse else (x.shape, c.shape)))
        order = (of, x.source.seen) if reverse != first else (x.source.seen, of)
        unit = Unit(constant_kernel(o.op, x.source, codes, order, of), x.source.seen.dtype)
    return replace(x, run=lambda q: function(inner(q), value),
                   width=np.broadcast_shapes(x.width, value.shape), rises=rises, source=None,
                   unit=unit, pending=(*x.pending, o.index))


def constant_kernel(op: str, source: Source, codes: Ints,
                    order: tuple[Quantization, Quantization], constant: Quantization
                    ) -> Callable[[Quantization], Callable[[Ints], Ints]]:
    """Return the fused kernel of activations and a constant."""
    seen = source.seen

    def of(to: Quantization) -> Callable[[Ints], Ints]:
        def kernel(q: Ints) -> Ints:
            q = q + source.offset
            if op == "Mul":
                return multiply((q - seen.zero) * (codes - constant.zero), *order, to)
            tables = addends(*order, to)
            first, second = (codes, q) if order[0] is constant else (q, codes)
            return saturated(rounded_sum(tables[0][first - order[0].lo],
                                         tables[1][second - order[1].lo]), to)

        return kernel

    return of


def of_one(o: Operation, streams: tuple[Stream, Stream],
           function: Callable[[Array, Array], Array], unit: Unit | None,
           pending: tuple[int, ...]) -> Stream:
    """Return a function of two values that are functions of the same integers."""
    a, b = streams
    first, second = a.function, b.function
    if unit:
        sources = [s for s in (a.source, b.source) if s]

        def codes(to: Quantization) -> Callable[[Ints], Ints]:
            def kernel(q: Ints) -> Ints:
                of = [q + s.offset for s in sources]
                if o.op == "Mul":
                    return multiply((of[0] - sources[0].seen.zero) * (of[1] - sources[1].seen.zero),
                                    sources[0].seen, sources[1].seen, to)
                tables = addends(sources[0].seen, sources[1].seen, to)
                return saturated(rounded_sum(*(t[i - s.seen.lo] for t, i, s in zip(
                    tables, of, sources, strict=True))), to)

            return kernel

        unit = replace(unit, codes=codes)
    return Stream(a.edge, a.places, np.dtype(np.float32), lambda q: function(first(q), second(q)),
                  np.broadcast_shapes(a.width, b.width), rises=False, unit=unit, pending=pending)


def append_pair(self: Interpreter, x: Pair, to: Quantization, seen: Quantization | None,
                name: str, format_: str) -> str:
    """Append the quantized sum or product of two streams.

    It is that of one kernel if it is known what this has `seen` of the output.
    """
    ranges = []
    for s in x.streams:
        tensor = self.builder.types[s.edge]
        ranges.append(np.arange(tensor.lo, tensor.hi + 1))
    floats = [s.function(q) for s, q in zip(x.streams, ranges, strict=True)]
    sources = [s.source for s in x.streams if s.source]
    if x.op == "Mul":
        if len(sources) < 2:
            raise UnsupportedError("its operands are not quantized; accepted: QuantizeLinear and "
                                   "DequantizeLinear before it")
        zeros = sources[0].stored.zero, sources[1].stored.zero
        if seen is None:
            y = to.codes(x.then(floats[0][:, np.newaxis] * floats[1]))
        else:
            products = (ranges[0] - zeros[0])[:, np.newaxis] * (ranges[1] - zeros[1])
            y = multiply(products, sources[0].seen, sources[1].seen, seen) - (seen.zero - to.zero)
        return self.builder.product(x.streams, zeros, y, name, format_)
    if seen is None:
        terms = floats[0].astype(np.float64), floats[1].astype(np.float64) * (
            -1 if x.op == "Sub" else 1)
        return self.builder.weighted(x.streams, terms, lambda y: to.codes(x.then(y)), name, format_)
    tables = addends(sources[0].seen, sources[1].seen, seen)
    parts = [t[q + s.offset - s.seen.lo]
             for t, q, s in zip(tables, ranges, sources, strict=True)]
    return self.builder.weighted(x.streams, (parts[0], parts[1]),
                                 lambda y: saturated(y, seen) - (seen.zero - to.zero), name,
                                 format_)


def qlinear_binary(self: Interpreter, o: Operation, a: Value, a_scale: Value, a_zero: Value | None,
                   b: Value, b_scale: Value, b_zero: Value | None, y_scale: Value,
                   y_zero: Value | None = None) -> Value:
    """QLinearAdd, QLinearMul: as the operators between DequantizeLinear and QuantizeLinear."""
    op = replace(o, op=o.op.removeprefix("com.microsoft.QLinear"))
    values = [self.dequantize_stored(op, v, s, z)
              for v, s, z in ((a, a_scale, a_zero), (b, b_scale, b_zero))]
    result = binary(self, op, *values)
    return self.fused(o, result, quantization(y_scale, y_zero, self.dtype_of(a)))


def qlinear_unary(self: Interpreter, o: Operation, x: Value, x_scale: Value, x_zero: Value | None,
                  y_scale: Value, y_zero: Value | None = None) -> Value:
    """QLinearSigmoid, QLinearLeakyRelu."""
    op = replace(o, op=o.op.removeprefix("com.microsoft.QLinear"))
    value = self.dequantize_stored(op, x, x_scale, x_zero)
    return self.fused(o, ELEMENTWISE_RULES[op.op](self, op, value),
                      quantization(y_scale, y_zero, self.dtype_of(x)))


# On the host


def soft_max(self: Interpreter, o: Operation, x: Value) -> Value:
    """Softmax, on the host."""
    x = self.stream(x)
    axis = axis_of(o.attribute("axis", -1), len(x.shape)) + 1
    self.rules[o.index] = "host: softmax"
    tail = self.tail(x, x.shape, lambda v: softmax(v, axis))
    if x.source is None:
        return tail
    source = x.source # a table of the difference to the greatest: any offset will do
    integers = self.tail(replace(x, run=lambda q: q + source.offset, dtype=np.dtype(np.int64)),
                         x.shape, lambda v: v)
    return replace(tail, unit=Unit(
        lambda to: lambda q: quantized_softmax(integers.run(q), axis, source.seen, to),
        source.seen.dtype))


def arg_max(self: Interpreter, o: Operation, x: Value) -> Value:
    """ArgMax, on the host."""
    if o.attribute("select_last_index", 0):
        raise UnsupportedError("selects the last of equal ones; accepted: the first")
    keep = bool(o.attribute("keepdims", 1))
    shape = x.shape
    axis = axis_of(o.attribute("axis", 0), len(shape))
    result = (*shape[:axis], *([1] if keep else []), *shape[axis + 1:])

    def function(v: Array) -> Array:
        y: Array = np.argmax(v, axis + 1, keepdims=keep)
        return y

    self.rules[o.index] = "host: argmax"
    if isinstance(x, Tail):
        run = x.run
        return replace(x, shape=result, run=lambda q: function(run(q)), unit=None)
    return self.tail(self.stream(x), result, function)


def axis_of(axis: int, rank: int) -> int:
    """Return a valid axis, counted from the front."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of {rank} dimensions")
    return axis % rank


ELEMENTWISE_RULES: dict[str, Callable[..., Value]] = {
    "Abs": absolute,
    "ArgMax": arg_max,
    "Cast": cast,
    "Clip": clip,
    "HardSigmoid": piecewise_sigmoid,
    "HardSwish": hard_swish,
    "LeakyRelu": leaky_relu,
    "Neg": negative,
    "Relu": relu,
    "Sigmoid": sigmoid,
    "Softmax": soft_max,
    "Tanh": hyperbolic_tangent,
    "com.microsoft.QLinearAdd": qlinear_binary,
    "com.microsoft.QLinearLeakyRelu": qlinear_unary,
    "com.microsoft.QLinearMul": qlinear_binary,
    "com.microsoft.QLinearSigmoid": qlinear_unary,
    **dict.fromkeys(BINARY, binary),
}
