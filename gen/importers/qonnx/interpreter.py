"""The interpreter of a network: it executes the nodes on symbolic values."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import MalformedError, UnsupportedError
from bittern.gen.importers.onnx_file import Content, Operation
from bittern.gen.importers.qonnx.arithmetic import (
    Quantizer,
    batch_norm,
    bipolar,
    matmul,
    multiply_add,
    softmax,
    truncation,
    uniform,
)
from bittern.gen.importers.qonnx.graph import Builder
from bittern.gen.importers.qonnx.shapes import SHAPE_RULES, axis_of, constant, known
from bittern.gen.importers.qonnx.values import (
    Constant,
    Host,
    Lattice,
    Stream,
    Value,
    Variable,
    broadcast,
    elementwise,
)
from bittern.gen.ir import INPUT, Tensor
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
                                         f"{fault}") from None
                except UnsupportedError as problem:
                    problems.append(f"{o.name} ({o.op}): {problem}")
                except (ArithmeticError, LookupError, MemoryError, TypeError, AttributeError,
                        ValueError) as error: # a rule or NumPy refuses what the file asks for
                    problems.append(f"{o.name} ({o.op}): has {len(o.inputs)} inputs, of which some "
                                    f"are of the wrong kind ({' '.join(str(error).split())})")
            for position, name in enumerate(o.outputs):
                if name in values:
                    raise MalformedError(f"{content.name}: node {o.name} makes {name!r} a second "
                                         "time")
                if name:
                    values[name] = value if position == 0 else None
        if problems:
            heading = (f"cannot import {content.name}: {len(problems)} "
                       f"node{'s are' if len(problems) > 1 else ' is'} not supported")
            raise UnsupportedError("\n  ".join([heading, *problems]))
        if content.output not in values:
            raise MalformedError(f"{content.name}: no node makes the output {content.output!r}")
        return self.finish(values[content.output])

    def execute(self, o: Operation, xs: list[Value | None]) -> Value:
        """Execute one operation."""
        for name, x in zip(o.inputs, xs, strict=True):
            if isinstance(x, Constant) and o.op != "Clip" and not np.isfinite(x.array).all():
                raise MalformedError(f"input {name!r} has an infinity or a NaN")
        if o.op in SHAPE_RULES:
            value = SHAPE_RULES[o.op](o, *xs)
            self.rules[o.index] = "shape only"
        elif o.op in RULES:
            value = RULES[o.op](self, o, *xs)
        else:
            raise UnsupportedError("unknown operator; accepted: "
                                   f"{', '.join(sorted((*RULES, *SHAPE_RULES)))}")
        if isinstance(value, Constant):
            self.rules[o.index] = "constant"
        elif isinstance(value, Host):
            self.rules.setdefault(o.index, "host: before the graph")
        elif o.index not in self.rules:
            self.rules[o.index] = "not used by the output"
            value = replace(value, pending=(*value.pending, o.index))
        return value

    def took(self, x: Stream, rule: str) -> None:
        """Note what became of the pending operations of `x`."""
        self.rules.update(dict.fromkeys(x.pending, rule))

    def finish(self, output: Value | None) -> Network:
        """Return the network whose output is `output`."""
        name = self.content.name
        if self.input is None or not isinstance(output, Stream):
            reason = (f"{self.float_weights[0]} has float weights" if self.float_weights else
                      "there is no quantizer between its input and its output")
            raise MalformedError(f"{name}: the network is not quantized: {reason}; export it with "
                                 "Quant or BipolarQuant nodes for weights and activations")
        self.took(output, "host: after the graph")
        graph, names = self.builder.finish(output.edge)
        formats = {name: str(self.builder.lattices[edge]) for edge, name in names.items()}
        rules = tuple(Rule(o.name, o.op, self.rules[o.index]) for o in self.content.operations)
        shape = self.content.shape
        return Network(name, graph, shape[1:] or shape, encoder(*self.input, shape),
                       decoder(output), rules, formats)

    def quantize(self, o: Operation, x: Value, quantizer: Quantizer) -> Value:
        """Constants become integers, host values the input of the graph, streams thresholds."""
        rank = len(quantizer.shape)
        x = x if len(x.shape) >= rank else elementwise(
            lambda v: v, x, Constant(np.empty((1,) * rank, np.float32)))
        shape = broadcast(x, Constant(np.empty(quantizer.shape)))
        if shape != x.shape:
            raise UnsupportedError(f"has parameters of shape {quantizer.shape} for a tensor of "
                                   f"shape {x.shape}; accepted: shapes that broadcast to it")
        offset = np.broadcast_to(quantizer.offset, shape)
        scale = np.broadcast_to(quantizer.scale, shape)
        if isinstance(x, Constant):
            integers = quantizer.step * quantizer.codes(x.array) + offset
            return Constant((scale * integers).astype(np.float32), integers, scale)
        lattice = Lattice(scale.ravel(), quantizer.step, offset.ravel())
        if isinstance(x, Stream):
            body(x)
            self.took(x, f"folded into the thresholds of {o.name}")
            self.rules[o.index] = "thresholds"
            edge = self.builder.requantize(x, quantizer.codes, o.name)
            return self.builder.stream(edge, shape, lattice)
        if quantizer.lo is None or quantizer.hi is None:
            raise UnsupportedError("truncates floats, which has no bounds; accepted: after Quant")
        if self.input is not None:
            raise UnsupportedError("is the second quantizer of the network's input; accepted: one")
        self.rules[o.index] = "host: quantizes the input"
        self.input = x, quantizer
        self.builder.types[INPUT] = Tensor((prod(shape),), quantizer.lo, quantizer.hi)
        return self.builder.stream(INPUT, shape, lattice)

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

    def matmul(self, o: Operation, x: Value, weights: Value) -> Value:
        """MatMul by constant weights."""
        return self.dense(o, variable(x), known(weights, "second operand"))

    def gemm(self, o: Operation, x: Value, weights: Value, addend: Value | None = None) -> Value:
        """Gemm: where `alpha` and `beta` are not 1, the sum is rounded once all the same."""
        if o.attribute("transA", 0):
            raise UnsupportedError("transposes its first operand; accepted: transA = 0")
        weights = known(weights, "second operand")
        if o.attribute("transB", 0):
            weights = weights.rearranged(np.transpose)
        y = self.dense(o, variable(x), weights)
        alpha, beta = o.attribute("alpha", 1.0), o.attribute("beta", 1.0)
        added = np.zeros(1, np.float32) if addend is None else (
            constant(addend, "third operand") * np.float32(beta))
        if alpha == 1 and (biased := self.plus(o, y, Constant(added))):
            self.rules[o.index] = "dense"
            return biased
        return elementwise(lambda v, c: multiply_add(v, alpha, c), y, Constant(added))

    def dense(self, o: Operation, x: Variable, weights: Constant) -> Variable:
        """Multiply a row by a matrix: exactly where it is a stream of integers."""
        if len(weights.shape) != 2 or weights.shape[0] != (x.shape or (0,))[-1]:
            raise UnsupportedError(f"multiplies shapes {x.shape} and {weights.shape}; accepted: "
                                   "(1, inputs) and (inputs, outputs)")
        if weights.integers is None:
            self.float_weights.append(o.name)
        shape = (*x.shape[:-1], weights.shape[1])
        if isinstance(x, Host):
            matrix, run = weights.array.astype(np.float32), x.run
            return Host(shape, lambda v: matmul(run(v), matrix))
        if prod(x.shape) != weights.shape[0]:
            raise UnsupportedError(f"multiplies several rows, of shape {x.shape}; accepted: one")
        integers, scale = integers_of(weights)
        body(x)
        exact = self.builder.exact(x, o.name)
        self.took(x, f"folded into the input of {o.name}")
        lattice = exact.lattice
        if (lattice.scale != lattice.scale[0]).any():
            raise UnsupportedError("the scale of its input differs by channel; accepted: one "
                                   "scale")
        self.rules[o.index] = "dense"
        layer = Dense(frozen(integers.T * lattice.step), frozen(lattice.offset @ integers))
        edge = self.builder.add(o.name, layer, exact.edge)
        return self.builder.stream(edge, shape, Lattice(
            lattice.scale[0] * scale, 1, np.zeros(len(scale), np.int64)))

    def add(self, o: Operation, x: Value, y: Value) -> Value:
        """Add: of two streams, exactly."""
        if not (isinstance(x, Stream) and isinstance(y, Stream)):
            return self.plus(o, x, y) or elementwise(np.add, x, y)
        body(x)
        body(y)
        if prod(broadcast(x, y)) != prod(x.shape) or x.size != y.size:
            raise UnsupportedError(f"adds shapes {x.shape} and {y.shape}; accepted: equal ones")
        a, b = (self.builder.exact(v, o.name) for v in (x, y))
        if a.lattice.step != b.lattice.step or (a.lattice.scale != b.lattice.scale).any():
            raise UnsupportedError(f"adds quantized values of different scales ({a.lattice} and "
                                   f"{b.lattice}); accepted: the same scale")
        for v in (x, y):
            self.took(v, f"folded into the input of {o.name}")
        self.rules[o.index] = "add"
        edge = self.builder.add(o.name, Add(), a.edge, b.edge)
        return self.builder.stream(edge, broadcast(x, y), Lattice(
            a.lattice.scale, a.lattice.step, a.lattice.offset + b.lattice.offset))

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
        keep = bool(o.attribute("keepdims", 1))
        shape = (*x.shape[:axis], *([1] if keep else []), *x.shape[axis + 1:])
        return self.later(o, x, shape, lambda v: np.argmax(v, axis + 1, keepdims=keep))

    def later(self, o: Operation, x: Variable, shape: tuple[int, ...],
              function: Callable[[Array], Array]) -> Variable:
        """Apply a function that only the host computes."""
        run = x.run
        if isinstance(x, Host):
            return Host(shape, lambda v: function(run(v)))
        self.rules[o.index] = f"host: {o.op.lower()}"
        return replace(x, shape=shape, run=lambda q: function(run(q)), tail=True)

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
}


def variable(x: Value) -> Variable:
    """Return a value that depends on the input."""
    if isinstance(x, Constant):
        raise UnsupportedError("its first operand is a constant; accepted: activations")
    return x


def body(x: Stream) -> None:
    """Raise :exc:`UnsupportedError` after an operator that only the host computes."""
    if x.tail:
        raise UnsupportedError("comes after Softmax or ArgMax; accepted: these at the end only")


def scaled(value: Value, factor: Value, function: Callable[[Array, Array], Array]) -> Value:
    """Return `value` with the scale that a multiplication by positive constants gives it."""
    if isinstance(value, Stream) and isinstance(factor, Constant) and (factor.array > 0).all():
        by = np.broadcast_to(factor.array.astype(np.float64), value.shape).ravel()
        if by.size == value.size:
            lattice = replace(value.lattice, scale=function(value.lattice.scale, by))
            return replace(value, lattice=lattice)
    return value


def integers_of(weights: Constant) -> tuple[Ints, Array]:
    """Return the integers of weights ``(inputs, outputs)`` and the scale of each output."""
    if weights.integers is not None and weights.scale is not None:
        if (weights.scale != weights.scale[:1]).any():
            raise UnsupportedError("the scale of its weights differs by input; accepted: one "
                                   "scale, or one for each output")
        return weights.integers, weights.scale[0]
    if (np.abs(weights.array) > 2**15).any() or (weights.array != np.round(weights.array)).any():
        raise UnsupportedError("has float weights; accepted: weights out of Quant or "
                               "BipolarQuant, or integers of at most 16 bits")
    return weights.array.astype(np.int64), np.ones(weights.shape[1])


def encoder(host: Host, quantizer: Quantizer,
            declared: tuple[int, ...]) -> Callable[[NDArray[Any]], Ints]:
    """Return the function that turns the user's array into the input of the graph."""
    frame = declared[1:] or declared
    flat = (prod(frame),)

    def encode(x: NDArray[Any]) -> Ints:
        x = np.asarray(x)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"the input has type {x.dtype}; accepted: numbers")
        if x.shape[1:] not in (frame, flat) or x.ndim == 0:
            shapes = " or ".join(str(("frames", *s)).replace("'", "")
                                 for s in dict.fromkeys((frame, flat)))
            hint = "; one frame needs an axis before it, x[np.newaxis]"
            raise ValueError(f"the input has shape {x.shape}; accepted: {shapes}"
                             f"{hint if x.shape in (frame, flat) else ''}")
        with np.errstate(all="ignore"):
            x = x.astype(np.float32)
            if not np.isfinite(x).all():
                frames = (~np.isfinite(x.reshape(len(x), -1))).any(axis=1)
                raise ValueError(f"the input has a NaN or an infinity in frame {frames.argmax()}")
            y = host.run(x.reshape(len(x), *declared))
            if np.isnan(y).any():
                raise ValueError("the input is too large: its sums are not numbers")
            return quantizer.codes(y).reshape(len(x), -1)

    return encode


def decoder(output: Stream) -> Callable[[Ints], NDArray[Any]]:
    """Return the function that turns the graph's output into the reference's."""
    shape = output.shape[1:] if output.shape[:1] == (1,) else output.shape

    def decode(q: Ints) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return output.run(q).reshape(len(q), *shape)

    return decode
