"""Rules of convolutions and matrix products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import UnsupportedError, check_size
from bittern.gen.importers.onnx.arithmetic import (
    Quantization,
    exact_bits,
    float32,
    output_scale,
    requantize,
)
from bittern.gen.importers.onnx.graph import described, in_order
from bittern.gen.importers.onnx.parameters import codes_of, constant, quantization
from bittern.gen.importers.onnx.values import Codes, Constant, Stream, Unit, Value, stored
from bittern.gen.importers.onnx.windows import axes_of, transposed_axes_of
from bittern.gen.layers.dense import Dense
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx.interpreter import Interpreter
    from bittern.gen.importers.onnx_file import Array, Operation

__all__ = ["LINEAR_RULES"]

EXACT = 2**24
"""Integers up to here are floats of 32 bits."""
SMALL = 2**15
"""The largest integer that floats are taken for."""


INEXACT = (
    "is computed in floats, which the reference adds in an order of its own; accepted: "
    "DequantizeLinear directly before all inputs (the bias int32) and QuantizeLinear directly "
    "behind it, all activations of one type, Relu and Clip between only if they change nothing; or "
    "scales that are powers of two")


@dataclass(frozen=True, eq=False)
class Operand:
    """Activations of a product: ``scale * (q - zero)`` for the integers of an edge."""

    stream: Stream
    scale: np.float32
    zero: int


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights with outputs first: ``scale * integers``, with a scale for each output or for all."""

    integers: Ints
    scale: Array

    @property
    def sums(self) -> Ints:
        """Of the integers of each output."""
        sums: Ints = self.integers.reshape(len(self.integers), -1).sum(axis=1)
        return sums


def operand(self: Interpreter, o: Operation, x: Value) -> Operand:
    """Return floats as integers of one unit: those of the last quantizer, or exact ones."""
    x = self.stream(x)
    if x.dtype != np.float32:
        raise UnsupportedError(f"reads {x.dtype}; accepted: DequantizeLinear before it")
    if x.source is not None:
        return Operand(x, x.source.stored.scale, x.source.stored.zero)
    tensor = self.builder.types[x.edge]
    if tensor.hi - tensor.lo < SMALL and not x.width:
        values = x.function(np.arange(tensor.lo, tensor.hi + 1))
        unit, most = exact_bits(values)
        if most < SMALL:
            table = np.ldexp(values.astype(np.float64), -unit).astype(np.int64)
            scale = np.ldexp(np.float32(1), unit)
            edge = self.builder.table(x, table, f"{o.name}_input", described(scale))
            self.took(x, f"folded into the input of {o.name}")
            return Operand(replace(x, edge=edge, places=self.builder.where(x)), scale, 0)
    raise UnsupportedError("its input is floats, which the reference adds in an order of its own; "
                           "accepted: QuantizeLinear and DequantizeLinear directly before it")


def constant_codes(w: Value | None, what: str = "weights") -> Codes:
    """Return the integers of constant weights."""
    if not isinstance(w, Constant):
        raise UnsupportedError(f"its {what} are computed; accepted: constants behind "
                               "DequantizeLinear")
    if w.codes is None:
        raise UnsupportedError(f"has float {what}; accepted: integers behind DequantizeLinear")
    return w.codes


def outputs_first(codes: Codes, axis: int, order: tuple[int, ...] = ()) -> Weights:
    """Return weights whose scale may differ along `axis` alone, with the axes in another order."""
    shape = np.shape(codes.integers)
    for name, parameter in (("scale", codes.scale), ("zero point", codes.zero)):
        if parameter.size > 1 and parameter.shape != tuple(
                n if i == axis else 1 for i, n in enumerate(shape)):
            raise UnsupportedError(f"the {name} of its weights differs along another axis than that"
                                   f" of the outputs; accepted: one, or one for each index of axis "
                                   f"{axis}")
    centred = codes.centred
    return Weights(centred.transpose(order) if order else centred, codes.scale.ravel())


def exact(x: Operand, most: int, weights: Weights, bias: Array) -> bool:
    """Return whether sums of products of floats are exact, in any order."""
    x_unit, x_most = exact_bits(np.array([x.scale]))
    sums = np.abs(weights.integers).reshape(len(weights.integers), -1).sum(axis=1)
    scales = np.broadcast_to(weights.scale, sums.shape)
    for total, scale, addend in zip(sums.tolist(), scales, np.broadcast_to(bias, sums.shape),
                                    strict=True):
        unit, w_most = exact_bits(np.array([scale]))
        unit += x_unit
        b_unit, b_most = exact_bits(np.array([addend]))
        low = min(unit, b_unit) if b_most else unit
        if (total * most * x_most * w_most << min(unit - low, 64)) + (
                b_most << min(max(b_unit - low, 0), 64)) > EXACT:
            return False
    return True


@dataclass(frozen=True, eq=False)
class Addend:
    """A bias: the integers that a kernel adds, and the floats that an operator does."""

    integers: Ints
    floats: Array
    quantized: bool
    fuses: bool

    @classmethod
    def of(cls, b: Value | None, x: Operand, weights: Weights, *, kernel: bool = True) -> Addend:
        """Return a constant, or nothing; floats become integers as the reference does it.

        A `kernel` adds integers, whatever their scale is; it is used where that differs little.
        """
        outputs = len(weights.integers)
        if b is None:
            return cls(np.zeros(outputs, np.int64), np.zeros(outputs, np.float32), True, True)
        if not isinstance(b, Constant):
            raise UnsupportedError("its bias is computed; accepted: a constant")
        if b.array.size not in (1, outputs) or b.array.size != max(b.shape, default=1):
            raise UnsupportedError(f"has a bias of shape {b.shape} for {outputs} outputs")
        floats = np.broadcast_to(b.array.ravel(), outputs)
        if b.codes is not None:
            if b.codes.integers.dtype != np.int32 or b.codes.zero.any():
                raise UnsupportedError("has a bias of type "
                                       f"{b.codes.integers.dtype}, or with a zero point; accepted: "
                                       "int32 without")
            unit = (x.scale * weights.scale).astype(np.float64)
            if kernel and (np.abs(b.codes.scale.ravel() - unit) > unit / 100).any():
                raise UnsupportedError(f"has a bias of scale {b.codes.scale.flat[0]:g}; accepted: "
                                       f"the product of the other scales, {unit.flat[0]:g}")
            integers = np.broadcast_to(b.codes.integers.ravel().astype(np.int64), outputs)
            return cls(integers, floats, True, b.codes.direct)
        if b.array.dtype != np.float32:
            raise UnsupportedError(f"has a bias of type {b.array.dtype}; accepted: int32, float32")
        units = np.rint(floats / (x.scale * weights.scale))
        if not (np.abs(units) < 2**31).all():
            raise UnsupportedError("has a bias that is too large for the scale of its sums")
        return cls(units.astype(np.int64), floats, False, len(b.shape) == 1 and (
            b.array.size == outputs))


def sums(self: Interpreter, o: Operation, x: Operand, weights: Weights, addend: Addend,
         edge: str, places: Ints, *, direct: bool, dense: bool, alpha: float = 1.0) -> Stream:
    """Return the floats of sums of products on `edge`, which have the integer bias in them."""
    source = x.stream.source
    tensor = self.builder.types[x.stream.edge]
    most = max(abs(tensor.lo - x.zero), abs(tensor.hi - x.zero))
    alone: Callable[[Ints], Array] | None = None
    width: tuple[int, ...] = (len(weights.integers),)
    if weights.scale.size == 1 and np.array_equal(
            addend.floats, float32(addend.integers) * (x.scale * weights.scale)):
        width = ()
    integers, floats = (v if width else np.zeros((), v.dtype) for v in (addend.integers,
                                                                        addend.floats))
    scale = weights.scale if width else weights.scale.reshape(())
    real = np.float64(x.scale) * scale.astype(np.float64)
    if alpha == 1 and exact(x, most, weights, addend.floats):
        def alone(q: Ints) -> Array: # no step of which rounds
            return float32((q - integers) * real + floats)

    pending = (*x.stream.pending, o.index)
    run, unit = alone, None
    if direct and addend.fuses and source is not None:
        factor = x.scale * scale if alpha == 1 else np.float32(alpha) * x.scale * scale

        def codes(to: Quantization) -> Callable[[Ints], Ints]:
            ratio = factor / to.scale
            return lambda q: requantize(q, ratio, to)

        unit = Unit(codes, source.seen.dtype)
        if dense and addend.quantized and not self.quantizes(o.outputs[0]):
            def run(q: Ints) -> Array:
                return float32(q) * factor
    return Stream(edge, places, np.dtype(np.float32), run, width, unit=unit, pending=pending,
                  reason=INEXACT)


# Convolutions


def convolution(self: Interpreter, o: Operation, x: Operand, weights: Weights, bias: Ints,
                name: str) -> tuple[str, Ints]:
    """Append a convolution by weights ``(outputs, inputs, …)``; return its edge and places."""
    groups, shape = o.attribute("group", 1), x.stream.shape
    outputs, inputs, *kernel = weights.integers.shape
    if groups < 1 or len(shape) < 3 or shape[1] != inputs * groups or outputs % groups:
        raise UnsupportedError(f"convolves shape {shape} by weights of shape "
                               f"{weights.integers.shape} in {groups} groups")
    axes = axes_of(o, shape, tuple(kernel))
    taps = weights.integers.reshape(outputs, inputs, axes[0].kernel, axes[1].kernel)
    return convolved(self, o, x, taps, weights, bias, axes, groups, name)


def convolved(self: Interpreter, o: Operation, x: Operand, taps: Ints, weights: Weights,
              bias: Ints, axes: tuple[Axis, Axis], groups: int, name: str) -> tuple[str, Ints]:
    """Append a convolution by ``(outputs, inputs, rows, columns)``."""
    spatial = tuple(a.outputs for a in axes)
    shape = (1, len(taps), *spatial[-len(x.stream.shape[2:]):])
    check_size(shape)
    edge = self.builder.convolve(
        self.builder.map(x.stream, name), Patches(axes[0], axes[1], x.zero),
        taps.transpose(0, 2, 3, 1), bias - x.zero * taps.reshape(len(taps), -1).sum(axis=1), groups,
        name, described(x.scale * weights.scale))
    self.rules[o.index] = "depthwise" if groups > 1 and taps.shape[1] == 1 else "convolution"
    return edge, in_order(shape)


def conv(self: Interpreter, o: Operation, x: Value, w: Value, b: Value | None = None) -> Value:
    """Conv."""
    codes = constant_codes(w)
    weights, stream = outputs_first(codes, 0), operand(self, o, x)
    addend = Addend.of(b, stream, weights)
    edge, places = convolution(self, o, stream, weights, addend.integers, o.name)
    return sums(self, o, stream, weights, addend, edge, places,
                direct=codes.direct and self.fits(stream.stream, codes), dense=False)


def conv_transpose(self: Interpreter, o: Operation, x: Value, w: Value,
                   b: Value | None = None) -> Value:
    """ConvTranspose: never fused, so that it must be exact."""
    groups, stream, codes = o.attribute("group", 1), operand(self, o, x), constant_codes(w)
    shape = np.shape(codes.integers)
    if len(shape) < 3 or groups < 1 or shape[0] != (*stream.stream.shape, 0, 0)[1] or (
            shape[0] % groups):
        raise UnsupportedError(f"convolves shape {stream.stream.shape} by weights of shape {shape} "
                               f"in {groups} groups")
    if codes.scale.size > 1 and groups > 1:
        raise UnsupportedError("has a scale for each output in several groups; accepted: one scale")
    axes = transposed_axes_of(o, stream.stream.shape, shape[2:])
    inputs, each = shape[0] // groups, shape[1]
    weights = outputs_first(codes, 1)
    taps = weights.integers.reshape(groups, inputs, each, axes[0].kernel, axes[1].kernel)
    taps = taps.transpose(0, 2, 1, 3, 4).reshape(groups * each, inputs, *taps.shape[3:])
    weights = Weights(taps, weights.scale)
    addend = Addend.of(b, stream, weights, kernel=False)
    edge, places = convolved(self, o, stream, taps[..., ::-1, ::-1], weights, addend.integers,
                             axes, groups, o.name)
    return sums(self, o, stream, weights, addend, edge, places, direct=False, dense=False)


def qlinear_conv(self: Interpreter, o: Operation, x: Value, x_scale: Value, x_zero: Value,
                 w: Value, w_scale: Value, w_zero: Value, y_scale: Value, y_zero: Value,
                 b: Value | None = None) -> Value:
    """QLinearConv."""
    stream, to = integers(self, o, x, x_scale, x_zero), quantization(y_scale, y_zero)
    weights = outputs_first(codes_of(constant(w, "weights"), w_scale, w_zero, 0), 0)
    edge, places = convolution(self, o, stream, weights, bias_of(b, weights), f"{o.name}_sum")
    return requantized(self, o, edge, places, output_scale(stream.scale, weights.scale, to.scale),
                       to)


def conv_integer(self: Interpreter, o: Operation, x: Value, w: Value, x_zero: Value | None = None,
                 w_zero: Value | None = None) -> Value:
    """ConvInteger."""
    stream = integers(self, o, x, None, x_zero)
    weights = outputs_first(codes_of(constant(w, "weights"), None, w_zero, 0), 0)
    edge, places = convolution(self, o, stream, weights, bias_of(None, weights), o.name)
    return accumulator(edge, places)


def integers(self: Interpreter, o: Operation, x: Value, scale: Value | None,
           zero: Value | None) -> Operand:
    """Return integers of the file as an operand."""
    x = self.integers(x, o)
    of = quantization(scale, zero, x.dtype)
    return Operand(x, of.scale, of.zero)


def bias_of(b: Value | None, weights: Weights) -> Ints:
    """Return the int32 bias of an operator on integers."""
    outputs = len(weights.integers)
    if b is None:
        return np.zeros(outputs, np.int64)
    if not isinstance(b, Constant) or b.array.dtype != np.int32 or b.array.size not in (1, outputs):
        raise UnsupportedError(f"has a bias that is no constant of {outputs} int32")
    return np.broadcast_to(b.array.ravel().astype(np.int64), outputs)


def requantized(self: Interpreter, o: Operation, edge: str, places: Ints, factor: Array,
                to: Quantization) -> Stream:
    """Requantize the sums of an operator on integers."""
    factor = factor if factor.size > 1 else factor.reshape(())
    acc = Stream(edge, places, np.dtype(np.int32), stored, factor.shape)
    return self.closed(o, acc, lambda q: requantize(q, factor, to), to)


def accumulator(edge: str, places: Ints) -> Stream:
    """Return sums as the file has them: int32."""
    return Stream(edge, places, np.dtype(np.int32), stored)


# Matrix products


def product(self: Interpreter, o: Operation, x: Operand, weights: Weights, bias: Ints,
            name: str) -> tuple[str, Ints]:
    """Append a matrix by the last axis of activations; return its edge and places."""
    shape = x.stream.shape
    outputs, inputs = weights.integers.shape
    if not shape or shape[-1] != inputs:
        raise UnsupportedError(f"multiplies shapes {shape} and {(inputs, outputs)}")
    result = (*shape[:-1], outputs)
    check_size(result)
    stream, order = self.builder.vectors(x.stream, name)
    matrix = np.empty_like(weights.integers)
    matrix[:, order] = weights.integers
    edge = self.builder.append(
        name, Dense(frozen(matrix), frozen(bias - x.zero * weights.sums)), stream.edge,
        format_=described(x.scale * weights.scale))
    self.rules[o.index] = "dense"
    return edge, np.arange(prod(result)).reshape(result)


def matrix_of(codes: Codes, *, transposed: bool) -> Weights:
    """Return a matrix ``(inputs, outputs)``, or `transposed`, with the outputs first."""
    if codes.integers.ndim != 2:
        raise UnsupportedError(f"has weights of shape {codes.integers.shape}; accepted: a matrix")
    return outputs_first(codes, 0 if transposed else 1, () if transposed else (1, 0))


def matmul(self: Interpreter, o: Operation, x: Value, w: Value) -> Value:
    """MatMul by constant weights; with a constant added to it, the reference makes it a Gemm."""
    codes = constant_codes(w, "weights")
    weights = matrix_of(codes, transposed=False)
    outputs = len(weights.integers)

    def biased(add: Operation, b: Constant) -> Stream | None:
        if b.array.size != outputs or b.shape not in ((outputs,), (1, outputs)):
            return None
        y = dense(self, add, x, codes, weights, b, name=o.name)
        self.rules[add.index] = f"bias of {o.name}"
        return y

    y = dense(self, o, x, codes, weights, None)
    return replace(y, unit=y.unit and replace(y.unit, biased=biased))


def gemm(self: Interpreter, o: Operation, x: Value, w: Value, b: Value | None = None) -> Value:
    """Gemm."""
    if o.attribute("transA", 0):
        raise UnsupportedError("transposes its first operand; accepted: transA = 0")
    codes, beta = constant_codes(w, "weights"), o.attribute("beta", 1.0)
    alpha = o.attribute("alpha", 1.0)
    if b is not None and (alpha != 1 or beta != 1):
        raise UnsupportedError(f"has alpha = {alpha:g}, beta = {beta:g} and a bias; accepted: 1 "
                               "and 1")
    weights = matrix_of(codes, transposed=bool(o.attribute("transB", 0)))
    return dense(self, o, x, codes, weights, b, alpha)


def dense(self: Interpreter, o: Operation, x: Value, codes: Codes, weights: Weights,
          b: Value | None, alpha: float = 1.0, name: str = "") -> Stream:
    """Return the floats of a matrix product."""
    stream = operand(self, o, x)
    addend = Addend.of(b, stream, weights)
    edge, places = product(self, o, stream, weights, addend.integers, name or o.name)
    return sums(self, o, stream, weights, addend, edge, places, alpha=alpha,
                direct=codes.direct and self.fits(stream.stream, codes), dense=True)


def qlinear_matmul(self: Interpreter, o: Operation, x: Value, x_scale: Value, x_zero: Value,
                   w: Value, w_scale: Value, w_zero: Value, y_scale: Value,
                   y_zero: Value) -> Value:
    """QLinearMatMul."""
    stream, to = integers(self, o, x, x_scale, x_zero), quantization(y_scale, y_zero)
    weights = matrix_of(codes_of(constant(w, "weights"), w_scale, w_zero, 1), transposed=False)
    edge, places = product(self, o, stream, weights, bias_of(None, weights), f"{o.name}_sum")
    return requantized(self, o, edge, places, output_scale(stream.scale, weights.scale, to.scale),
                       to)


def matmul_integer(self: Interpreter, o: Operation, x: Value, w: Value,
                   x_zero: Value | None = None, w_zero: Value | None = None) -> Value:
    """MatMulInteger."""
    stream = integers(self, o, x, None, x_zero)
    weights = matrix_of(codes_of(constant(w, "weights"), None, w_zero, 1), transposed=False)
    edge, places = product(self, o, stream, weights, bias_of(None, weights), o.name)
    return accumulator(edge, places)


def qgemm(self: Interpreter, o: Operation, x: Value, x_scale: Value, x_zero: Value, w: Value,
          w_scale: Value, w_zero: Value, b: Value | None = None, y_scale: Value | None = None,
          y_zero: Value | None = None) -> Value:
    """QGemm: floats, if it has no scale for its output."""
    if o.attribute("transA", 0):
        raise UnsupportedError("transposes its first operand; accepted: transA = 0")
    stream, transposed = integers(self, o, x, x_scale, x_zero), bool(o.attribute("transB", 0))
    weights = matrix_of(codes_of(constant(w, "weights"), w_scale, w_zero, 0 if transposed else 1),
                        transposed=transposed)
    name = o.name if y_scale is None else f"{o.name}_sum"
    edge, places = product(self, o, stream, weights, bias_of(b, weights), name)
    factor = np.float32(o.attribute("alpha", 1.0)) * stream.scale * weights.scale
    if y_scale is not None:
        to = quantization(y_scale, y_zero)
        return requantized(self, o, edge, places, factor / to.scale, to)
    factor = factor if factor.size > 1 else factor.reshape(())
    return Stream(edge, places, np.dtype(np.float32), lambda q: float32(q) * factor, factor.shape)


LINEAR_RULES: dict[str, Callable[..., Value]] = {
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "com.microsoft.QGemm": qgemm,
}
