"""The interpreter of a network: it executes the nodes on symbolic values."""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.apply import apply
from bittern.gen.importers.errors import MalformedError, UnsupportedError, line, refuse
from bittern.gen.importers.frames import frames
from bittern.gen.importers.onnx_file import Content, Operation
from bittern.gen.importers.qonnx.arithmetic import (
    Quantizer,
    batch_norm,
    bipolar,
    common_unit,
    matmul,
    multiply_add,
    softmax,
    truncation,
    uniform,
)
from bittern.gen.importers.qonnx.graph import Builder
from bittern.gen.importers.qonnx.maps import CHANNELS_LAST, MAP_RULES, channels_last
from bittern.gen.importers.qonnx.shapes import SHAPE_RULES, axis_of, constant, known
from bittern.gen.importers.qonnx.values import (
    Constant,
    Host,
    Lattice,
    Stream,
    Value,
    Variable,
    body,
    broadcast,
    elementwise,
    integers_of,
    reshaped,
    scaled,
    variable,
)
from bittern.gen.layers.add import Add
from bittern.gen.layers.dense import Dense
from bittern.gen.network import Network, Rule
from bittern.hw.ints import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["Interpreter"]


class Interpreter:
    """Executes the operations of a file, one rule each."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.builder = Builder()
        self.rules: dict[int, str] = {}
        self.input: tuple[Host, Quantizer] | None = None
        self.float_weights: list[str] = []

    def network(self) -> Network:
        """Execute all operations and return the network."""
        content = self.content
        values: dict[str, Value | None] = {n: Constant(a) for n, a in content.constants.items()}
        values[content.input] = Host(content.shape, lambda x: x)
        problems = []
        for o in content.operations:
            for name in o.inputs:
                if name and name not in values:
                    raise MalformedError(f"{content.name}: node {o.name} reads {name!r}, which no "
                                         "node before it makes")
            value = None
            if all(values[name] is not None for name in o.inputs if name):
                try:
                    with np.errstate(all="ignore"):
                        value = self.execute(o, [values[n] if n else None
                                                 for n in o.inputs])
                except MalformedError as fault:
                    raise MalformedError(f"{content.name}: node {o.name} ({o.op}): "
                                         f"{line(fault)}") from None
                except UnsupportedError as problem:
                    problems.append(f"{o.name} ({o.op}): {line(problem)}")
                except (ArithmeticError, LookupError, MemoryError, TypeError, AttributeError,
                        ValueError) as error: # a rule or NumPy refuses what the file asks for
                    problems.append(f"{o.name} ({o.op}): has {len(o.inputs)} inputs, of which some "
                                    f"are of the wrong kind ({line(error)})")
            for position, name in enumerate(o.outputs):
                if name in values:
                    raise MalformedError(f"{content.name}: node {o.name} makes {name!r} a second "
                                         "time")
                if name:
                    values[name] = value if position == 0 else None
        refuse(content.name, problems)
        if content.output not in values:
            raise MalformedError(f"{content.name}: no node makes the output {content.output!r}")
        return self.finish(values[content.output])

    def execute(self, o: Operation, xs: list[Value | None]) -> Value:
        """Execute one operation."""
        for name, x in zip(o.inputs, xs, strict=True):
            if isinstance(x, Constant) and o.op != "Clip" and not np.isfinite(x.array).all():
                raise MalformedError(f"input {name!r} has an infinity or a NaN")
        value: Value
        if o.op in SHAPE_RULES:
            value = apply(SHAPE_RULES[o.op], o, inputs=xs)
            self.rules[o.index] = "shape only"
        elif o.op in MAP_RULES:
            value = apply(MAP_RULES[o.op], self, o, inputs=xs)
        elif o.op in RULES:
            value = apply(RULES[o.op], self, o, inputs=xs)
        else:
            known_ones = sorted((*RULES, *MAP_RULES, *SHAPE_RULES))
            raise UnsupportedError(f"unknown operator; accepted: {', '.join(known_ones)}")
        if isinstance(value, Constant):
            self.rules[o.index] = "constant"
        elif isinstance(value, Host):
            side = "after" if value.after else "before"
            self.rules.setdefault(o.index, f"host: {side} the graph")
        elif o.index not in self.rules:
            self.rules[o.index] = "not used by the output"
            value = replace(value, pending=(*value.pending, o.index))
        return value

    def took(self, x: Stream, rule: str) -> None:
        """Note what became of the pending operations of `x`."""
        self.rules.update(dict.fromkeys(x.pending, rule))

    def finish(self, output: Value | None) -> Network:
        """Return the network whose output is `output`."""
        name, builder = self.content.name, self.builder
        stream = output.after if isinstance(output, Host) else output
        if (self.input is None or not isinstance(stream, Stream)
                or not isinstance(output, (Host, Stream))):
            reason = (f"{self.float_weights[0]} has float weights" if self.float_weights else
                      "there is no quantizer between its input and its output")
            raise MalformedError(f"{name}: the network is not quantized: {reason}; export it with "
                                 "Quant or BipolarQuant nodes for weights and activations")
        self.took(stream, "host: after the graph")
        stream = builder.settled(stream)
        graph, names = builder.finish(stream.edge)
        formats = {name: str(builder.lattices[edge]) for edge, name in names.items()}
        rules = tuple(Rule(o.name, o.op, self.rules[o.index]) for o in self.content.operations)
        shape = self.content.shape
        return Network(name, graph, shape[1:] or shape,
                       encoder(*self.input, shape, builder.arrangement, graph.input.shape),
                       decoder(output, stream.places), rules, formats)

    def quantize(self, o: Operation, x: Value, quantizer: Quantizer) -> Value:
        """Constants become integers, host values the input of the graph, streams thresholds."""
        missing = len(quantizer.shape) - len(x.shape)
        x = reshaped(x, (1,) * missing + x.shape)
        shape = broadcast(x, Constant(np.empty(quantizer.shape)))
        if shape != x.shape:
            raise UnsupportedError(f"has parameters of shape {quantizer.shape} for a tensor of "
                                   f"shape {x.shape}; accepted: shapes that broadcast to it")
        if isinstance(x, Constant):
            integers = quantizer.step * quantizer.codes(x.array) + quantizer.offset
            return Constant((quantizer.scale * integers).astype(np.float32), integers,
                            np.broadcast_to(quantizer.scale, shape))
        body(x)
        lattice = Lattice(quantizer.scale, quantizer.step, quantizer.offset)
        if isinstance(x, Stream):
            self.took(x, f"folded into the thresholds of {o.name}")
            self.rules[o.index] = "thresholds"
            edge, places = self.builder.requantize(x, quantizer.codes, quantizer.shape, o.name)
            return self.builder.stream(edge, places, lattice)
        if quantizer.lo is None or quantizer.hi is None:
            raise UnsupportedError("truncates floats, which has no bounds; accepted: after Quant")
        if self.input is not None:
            raise UnsupportedError("is the second quantizer of the network's input; accepted: one")
        self.rules[o.index] = "host: quantizes the input"
        self.input = x, quantizer
        return self.builder.input(quantizer.lo, quantizer.hi, shape, lattice)

    def quant(self, o: Operation, x: Value, scale: Value, zero: Value, bits: Value) -> Value:
        """Quant."""
        return self.quantize(o, x, uniform(
            constant(scale, "scale"), constant(zero, "zero point"), constant(bits, "bit width"),
            signed=bool(o.required("signed", 1)), narrow=bool(o.required("narrow", 0)),
            mode=o.attribute("rounding_mode", "ROUND")))

    def bipolar_quant(self, o: Operation, x: Value, scale: Value) -> Value:
        """BipolarQuant."""
        return self.quantize(o, x, bipolar(constant(scale, "scale")))

    def trunc(self, o: Operation, x: Value, *parameters: Value) -> Value:
        """Trunc: of four parameters in its first version, of five in its second."""
        scale, zero, bits, *results = (constant(p, "parameter") for p in parameters)
        result_bits, *result_scale = results[::-1]
        return self.quantize(o, x, truncation(
            scale, zero, bits, result_bits, *result_scale,
            mode=o.required("rounding_mode", "FLOOR"), signed=bool(o.attribute("signed", 1)),
            narrow=bool(o.attribute("narrow", 0))))

    def weights(self, o: Operation, value: Value) -> Constant:
        """Return the weights of an operation, which must be constant."""
        weights = known(value, "second operand")
        if weights.integers is None:
            self.float_weights.append(o.name)
        return weights

    def matmul(self, o: Operation, x: Value, weights: Value) -> Value:
        """MatMul by constant weights."""
        return self.dense(o, variable(x), self.weights(o, weights))

    def gemm(self, o: Operation, x: Value, weights: Value, addend: Value | None = None) -> Value:
        """Gemm: where `alpha` and `beta` are not 1, the sum is rounded once all the same."""
        if o.attribute("transA", 0):
            raise UnsupportedError("transposes its first operand; accepted: transA = 0")
        matrix = self.weights(o, weights)
        if o.attribute("transB", 0):
            matrix = matrix.rearranged(np.transpose)
        y = self.dense(o, variable(x), matrix)
        alpha, beta = o.attribute("alpha", 1.0), o.attribute("beta", 1.0)
        added = np.zeros(1, np.float32) if addend is None else (
            constant(addend, "third operand") * np.float32(beta))
        if alpha == 1 and (biased := self.plus(o, y, Constant(added))):
            self.rules[o.index] = "dense"
            return biased
        return elementwise(lambda v, c: multiply_add(v, alpha, c), y, Constant(added))

    def dense(self, o: Operation, x: Variable, weights: Constant) -> Variable:
        """Multiply rows by a matrix: exactly where they are a stream of integers."""
        if len(weights.shape) != 2 or weights.shape[0] != (x.shape or (0,))[-1]:
            raise UnsupportedError(f"multiplies shapes {x.shape} and {weights.shape}; accepted: "
                                   "(1, inputs) and (inputs, outputs)")
        inputs, outputs = weights.shape
        shape = (*x.shape[:-1], outputs)
        x = body(x)
        if isinstance(x, Host):
            matrix = weights.array.astype(np.float32)
            return x.then(shape, lambda v: matmul(v, matrix))
        integers, scale = integers_of(weights.rearranged(np.transpose))
        exact = self.builder.exact(x, o.name)
        self.took(x, f"folded into the input of {o.name}")
        steps, offset = (np.broadcast_to(v, x.shape).reshape(-1, inputs)
                         for v in (exact.lattice.scale, exact.lattice.offset))
        if (steps != steps[0]).any() or (offset != offset[0]).any():
            raise UnsupportedError("the scale or zero point of its input differs by row; accepted: "
                                   "one, or one for each element of a row")
        unit = common_unit(steps[0])
        integers = integers * np.rint(steps[0] / unit).astype(np.int64)
        bias, integers = integers @ offset[0], integers * exact.lattice.step
        if len(steps) == 1:
            edge, places = self.builder.flat(exact, o.name)
            integers = integers[:, np.argsort(places)]
        else:
            edge = self.builder.arranged(
                exact, lambda p: p.reshape(-1, *p.shape[-2:]), o.name)
        self.rules[o.index] = "dense"
        edge = self.builder.add(o.name, Dense(frozen(integers), frozen(bias)), edge)
        return self.builder.stream(edge, np.arange(prod(shape)).reshape(shape),
                                   Lattice.multiples(unit * scale))

    def add(self, o: Operation, x: Value, y: Value) -> Value:
        """Add: of two streams, exactly."""
        if not (isinstance(x, Stream) and isinstance(y, Stream)):
            return self.plus(o, x, y) or elementwise(np.add, x, y)
        shape = broadcast(x, y)
        if prod(shape) != prod(x.shape) or prod(shape) != prod(y.shape):
            raise UnsupportedError(f"adds shapes {x.shape} and {y.shape}; accepted: equal ones")
        a, b = (reshaped(self.builder.exact(v, o.name), shape) for v in (x, y))
        assert isinstance(a, Stream)
        assert isinstance(b, Stream)
        scales = np.stack(np.broadcast_arrays(a.lattice.scale, b.lattice.scale))
        pairs = np.unique(scales.reshape(2, -1), axis=1).T
        ratios = {tuple(np.rint(pair / common_unit(pair)).astype(int).tolist()) for pair in pairs}
        if len(ratios) > 1: # not the same in all channels
            unit = common_unit(scales)
            a, b = (self.builder.multiples(v, unit, o.name) for v in (a, b))
            ratios = {(1, 1)}
        ((m, n),) = ratios
        for v in (x, y):
            self.took(v, f"folded into the input of {o.name}")
        self.rules[o.index] = "add"
        a = self.builder.settled(a)

        def as_a(places: Ints) -> Ints:
            order = np.empty(places.size, np.int64)
            order[a.places.ravel()] = places.ravel()
            return order.reshape(self.builder.types[a.edge].shape)

        factors = m * a.lattice.step, n * b.lattice.step
        step = gcd(*factors)
        edge = self.builder.add(o.name, Add(*(f // step for f in factors)), a.edge,
                                self.builder.arranged(b, as_a, o.name))
        return self.builder.stream(edge, a.places, Lattice(
            a.lattice.scale / m, step, m * a.lattice.offset + n * b.lattice.offset))

    def plus(self, o: Operation, x: Value, y: Value) -> Stream | None:
        """Add a constant to the sums of a matrix product, where they are integers of one unit."""
        if isinstance(x, Constant):
            x, y = y, x
        if not isinstance(x, Stream) or not isinstance(y, Constant) or broadcast(x, y) != x.shape:
            return None
        found = self.builder.biased(x, y.array)
        if found:
            self.rules[o.index] = f"bias of {self.builder.wishes[found.edge]}"
        return found

    def sub(self, o: Operation, x: Value, y: Value) -> Value:
        """Sub."""
        biased = self.plus(o, x, Constant(-y.array)) if isinstance(y, Constant) else None
        return biased or elementwise(np.subtract, x, y)

    def mul(self, _o: Operation, x: Value, y: Value) -> Value:
        """Mul."""
        factor = x if isinstance(x, Constant) else y
        return scaled(elementwise(np.multiply, x, y), factor, np.multiply)

    def div(self, _o: Operation, x: Value, y: Value) -> Value:
        """Div, by a constant."""
        divisor = constant(y, "divisor")
        if not divisor.all():
            raise UnsupportedError("divides by zero; accepted: a constant other than 0")
        if divisor.dtype.kind in "iu":
            return Constant((constant(x, "dividend") / divisor).astype(divisor.dtype))
        return scaled(elementwise(np.divide, x, y), y, np.divide)

    def relu(self, _o: Operation, x: Value) -> Value:
        """Relu."""
        return elementwise(lambda v: np.maximum(v, 0), x)

    def clip(self, o: Operation, x: Value, low: Value | None = None,
             high: Value | None = None) -> Value:
        """Clip: bounds are inputs from operator set 11 on, before that attributes."""
        least, greatest = (
            np.float32(o.attribute(name, limit) if bound is None else
                       constant(bound, "bound").item())
            for name, limit, bound in (("min", -np.inf, low), ("max", np.inf, high)))
        return elementwise(lambda v: np.minimum(np.maximum(v, least), greatest), x)

    def batch_normalization(self, o: Operation, x: Value, *parameters: Value) -> Value:
        """BatchNormalization, in inference."""
        if o.attribute("training_mode", 0):
            raise UnsupportedError("is in training mode; accepted: inference")
        gain, bias, mean, variance = (constant(p, "parameter") for p in parameters)
        channels = x.shape[1] if len(x.shape) > 1 else 0
        if any(p.shape != (channels,) for p in (gain, bias, mean, variance)):
            raise UnsupportedError(f"has parameters of shape {gain.shape} for activations of "
                                   f"shape {x.shape}; accepted: one for each channel, axis 1")
        factor, addend = batch_norm(gain, bias, mean, variance, o.attribute("epsilon", 1e-5))
        if not (np.isfinite(factor).all() and np.isfinite(addend).all()):
            raise MalformedError("variance must not be negative, nor so small that its inverse "
                                 "is infinite")
        column = (channels, *(1 for _ in x.shape[2:]))
        return elementwise(lambda v, f, a: v * f + a, x, Constant(factor.reshape(column)),
                           Constant(addend.reshape(column)))

    def softmax(self, o: Operation, x: Value) -> Value:
        """Softmax, on the host; before operator set 13 over all axes from `axis` on."""
        x, rank = variable(x), len(x.shape)
        axis = axis_of(o.attribute("axis", -1 if o.opset >= 13 else 1), rank) + 1
        axes = (axis,) if o.opset >= 13 else tuple(range(axis, rank + 1))
        return self.later(o, x, x.shape, lambda v: softmax(v, axes))

    def argmax(self, o: Operation, x: Value) -> Value:
        """ArgMax, on the host."""
        x = variable(x)
        axis = axis_of(o.attribute("axis", 0), len(x.shape))
        if o.attribute("select_last_index", 0):
            raise UnsupportedError("selects the last of equal ones; accepted: the first")
        keep = o.attribute("keepdims", 1) == 1
        shape = (*x.shape[:axis], *([1] if keep else []), *x.shape[axis + 1:])
        return self.later(o, x, shape, lambda v: np.argmax(v, axis + 1, keepdims=keep))

    def later(self, o: Operation, x: Variable, shape: tuple[int, ...],
              function: Callable[[Array], Array]) -> Variable:
        """Apply a function that only the host computes."""
        if isinstance(x, Stream):
            self.rules[o.index] = f"host: {o.op.lower()}"
            x = Host(x.shape, x.run, x)
        return x.then(shape, function)

    def fold(self, o: Operation, *xs: Value) -> Value:
        """Operators of constants only."""
        value = Constant(np.asarray(FOLDED[o.op](*(constant(x, "operand") for x in xs))))
        if not np.isfinite(value.array).all():
            raise MalformedError("the result is infinite or not a number")
        return value


FOLDED: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}

RULES: dict[str, Callable[..., Value]] = {
    "Add": Interpreter.add,
    "ArgMax": Interpreter.argmax,
    "BatchNormalization": Interpreter.batch_normalization,
    "BipolarQuant": Interpreter.bipolar_quant,
    "Clip": Interpreter.clip,
    "Div": Interpreter.div,
    "Gemm": Interpreter.gemm,
    "IntQuant": Interpreter.quant,
    "MatMul": Interpreter.matmul,
    "Mul": Interpreter.mul,
    "Quant": Interpreter.quant,
    "Relu": Interpreter.relu,
    "Softmax": Interpreter.softmax,
    "Sub": Interpreter.sub,
    "Trunc": Interpreter.trunc,
    **dict.fromkeys(FOLDED, Interpreter.fold),
    f"{CHANNELS_LAST}.BatchNormalization": channels_last(Interpreter.batch_normalization),
}


def encoder(host: Host, quantizer: Quantizer, declared: tuple[int, ...], order: Ints,
            shape: tuple[int, ...]) -> Callable[[NDArray[Any]], Ints]:
    """Return the function that turns the user's array into the input of the graph, in `order`."""
    frame = declared[1:] or declared

    def encode(x: NDArray[Any]) -> Ints:
        with np.errstate(all="ignore"):
            x = frames(frames(x, frame).astype(np.float32), frame) # too large ones are infinite now
            y = host.run(x.reshape(len(x), *declared))
            if np.isnan(y).any():
                raise ValueError("the input is too large: its sums are not numbers")
            return quantizer.codes(y).reshape(len(x), -1)[:, order].reshape(len(x), *shape)

    return encode


def decoder(output: Variable, places: Ints) -> Callable[[Ints], NDArray[Any]]:
    """Return the function that turns the graph's output into the reference's."""
    shape = output.shape[1:] if output.shape[:1] == (1,) else output.shape

    def decode(q: Ints) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return output.run(q.reshape(len(q), -1)[:, places]).reshape(len(q), *shape)

    return decode
