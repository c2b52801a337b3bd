"""Rules of pools, means, padding and resizing."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import UnsupportedError, check_size
from bittern.gen.importers.onnx.arithmetic import (
    Quantization,
    average,
    exact_bits,
    float32,
    requantize,
)
from bittern.gen.importers.onnx.elementwise import axis_of
from bittern.gen.importers.onnx.graph import in_order
from bittern.gen.importers.onnx.moves import axes_of as axes_given
from bittern.gen.importers.onnx.moves import integers_of, plain
from bittern.gen.importers.onnx.parameters import quantization
from bittern.gen.importers.onnx.values import Constant, Host, Stream, Unit, Value
from bittern.gen.importers.onnx.windows import axes_of, sizes
from bittern.gen.ir import Tensor
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.max_pool import MaxPool
from bittern.gen.layers.spatial_sum import SpatialSum
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx.interpreter import Interpreter
    from bittern.gen.importers.onnx_file import Array, Operation

__all__ = ["POOL_RULES"]

EXACT = 2**24
"""Integers up to here are floats of 32 bits."""
TAPS = 128
"""Elements of a window whose mean is looked at sum by sum."""
INEXACT = (
    "is a mean that the reference adds in floats, so that the same sums may round differently; "
    "accepted: a scale that is a power of two, GlobalAveragePool between DequantizeLinear and "
    "QuantizeLinear, or a depthwise Conv")


def max_pool(self: Interpreter, o: Operation, x: Value) -> Value:
    """MaxPool."""
    stream = self.stream(x)
    if len([name for name in o.outputs if name]) > 1:
        raise UnsupportedError("has two outputs; accepted: one")
    kernel = kernel_of(o, stream)
    if not self.builder.rising(stream):
        raise UnsupportedError("its input falls with the integers it stands for; accepted: "
                               "QuantizeLinear and DequantizeLinear before it")
    axes = axes_of(o, stream.shape, kernel)
    if any((a.elements < 0).all(axis=1).any() for a in axes):
        raise UnsupportedError("has windows of padding alone; accepted: smaller pads")
    shape = shape_of(stream, axes)
    mapped = self.builder.map(stream, o.name)
    patches = Patches(*axes, fill=self.builder.types[mapped.edge].lo)
    edge = self.builder.append(o.name, MaxPool(patches), mapped.edge,
                               format_=self.builder.formats[mapped.edge])
    self.rules[o.index] = "max pool"
    unit = stream.unit and replace(stream.unit, moved=True, biased=None)
    return replace(mapped, edge=edge, places=in_order(shape), unit=unit,
                   pending=(*stream.pending, o.index))


def kernel_of(o: Operation, x: Stream) -> tuple[int, ...]:
    """Return the shape of the windows of a pool."""
    rank = len(x.shape) - 2
    if rank not in (1, 2):
        raise UnsupportedError(f"pools shape {x.shape}; accepted: (1, channels, rows, columns) or "
                               "(1, channels, columns)")
    o.required("kernel_shape", [1])
    return tuple(sizes(o, "kernel_shape", rank, 1, 1))


def shape_of(x: Stream, axes: tuple[Axis, Axis]) -> tuple[int, ...]:
    """Return the shape of a map after windows."""
    shape = (*x.shape[:2], *[a.outputs for a in axes][-len(x.shape[2:]):])
    check_size(shape)
    return shape


def global_max_pool(self: Interpreter, o: Operation, x: Value) -> Value:
    """GlobalMaxPool."""
    kernel = [*x.shape[2:]]
    return max_pool(self, replace(o, attributes={"kernel_shape": kernel}), x)


def average_pool(self: Interpreter, o: Operation, x: Value) -> Value:
    """AveragePool."""
    stream = self.stream(x)
    kernel = kernel_of(o, stream)
    if any(d != 1 for d in sizes(o, "dilations", len(kernel), 1, 1)):
        raise UnsupportedError("has dilations; accepted: none")
    axes = axes_of(o, stream.shape, kernel)
    if kernel == stream.shape[2:] and not any(a.before or a.after for a in axes):
        return mean(self, o, stream, (*stream.shape[:2], *(1 for _ in kernel)))
    shape = shape_of(stream, axes)
    within = [(a.elements >= 0).sum(axis=1) for a in axes]
    taps = np.multiply.outer(*within)
    if not taps.all():
        raise UnsupportedError("has windows of padding alone; accepted: smaller pads")
    counts = np.full_like(taps, prod(kernel)) if o.attribute("count_include_pad", 0) else taps
    x, scale, zero = summand(stream)
    x = self.builder.map(x, o.name)
    channels = self.builder.types[x.edge].channels
    patches = Patches(*axes, fill=zero)
    layer = Depthwise(patches, frozen(np.ones((channels, prod(kernel)), np.int64)),
                      frozen(np.full(channels, -zero * prod(kernel))))
    edge = self.builder.append(o.name, layer, x.edge, format_=f"{scale:.9g} * q")
    self.rules[o.index] = "average pool"
    return averages(self, o, x, edge, in_order(shape), scale, taps, counts)


def summand(x: Stream) -> tuple[Stream, np.float32, int]:
    """Return activations as ``scale * (q - zero)`` for the integers of an edge."""
    if x.source is None:
        raise UnsupportedError("its input is floats, which the reference adds in an order of its "
                               "own; accepted: QuantizeLinear and DequantizeLinear before it")
    return x, x.source.stored.scale, x.source.stored.zero


def averages(self: Interpreter, o: Operation, x: Stream, edge: str, places: Ints,
             scale: np.float32, taps: Ints, counts: Ints) -> Stream:
    """Return means of integers less their zero points, of which `edge` has the sums.

    Of each window, `taps` elements are on the map, and their sum is divided by its one of `counts`.
    """
    source = x.source
    assert source is not None
    kinds = sorted({*zip(taps.ravel().tolist(), counts.ravel().tolist(), strict=True)})
    width = () if len(kinds) == 1 else self.builder.types[edge].shape

    def codes(to: Quantization) -> Callable[[Ints], Ints] | None:
        if taps.max() > TAPS:
            return None
        tables = [average(source.seen, t, count, to) for t, count in kinds]

        def kernel(q: Ints) -> Ints:
            y = np.empty(q.shape, np.int64)
            for (t, count), table in zip(kinds, tables, strict=True):
                assert table is not None
                lo, values = table
                at = (slice(None), (taps == t) & (counts == count)) if width else ...
                y[at] = values[(q[at] - lo).clip(0, len(values) - 1)] # beyond, nothing is reached
            return y

        return None if None in tables else kernel

    run = None
    beyond = o.attribute("ceil_mode", 0) and o.attribute("count_include_pad", 0)
    if exact_sums(source.stored, int(taps.max())) and not beyond: # what the kernel counts, too
        divisor = float32(counts[..., np.newaxis] if width else counts[0, 0])

        def run(q: Ints) -> Array:
            return float32(q * np.float64(scale)) / divisor

    return Stream(edge, places, np.dtype(np.float32), run, width,
                  unit=Unit(codes, source.seen.dtype), pending=(*x.pending, o.index),
                  reason=INEXACT)


def exact_sums(of: Quantization, count: int) -> bool:
    """Return whether sums of so many floats are exact in any order."""
    most = max(abs(of.lo - of.zero), abs(of.hi - of.zero))
    return count * most * exact_bits(np.array([of.scale]))[1] <= EXACT


def mean(self: Interpreter, o: Operation, x: Stream, shape: tuple[int, ...], *,
         fused: bool = True) -> Stream:
    """Return the means over rows and columns."""
    x, scale, zero = summand(x)
    source, count = x.source, prod(x.shape[2:])
    assert source is not None
    mapped = self.builder.map(x, o.name)
    edge = self.builder.append(o.name, SpatialSum(), mapped.edge, format_=f"{scale:.9g} * q")
    self.rules[o.index] = "sum over the map"

    def codes(to: Quantization) -> Callable[[Ints], Ints]:
        factor = np.asarray(source.seen.scale / (to.scale * np.float32(count)))
        return lambda q: requantize(q - zero * count, factor, to)

    run = None
    if exact_sums(source.stored, count):
        def run(q: Ints) -> Array:
            return float32((q - zero * count) * np.float64(scale)) / np.float32(count)

    return Stream(edge, np.arange(prod(shape)).reshape(shape), np.dtype(np.float32), run,
                  unit=Unit(codes, source.seen.dtype) if fused else None,
                  pending=(*x.pending, o.index), reason=INEXACT)


def global_average_pool(self: Interpreter, o: Operation, x: Value) -> Value:
    """GlobalAveragePool."""
    if len(x.shape) not in (3, 4):
        raise UnsupportedError(f"pools shape {x.shape}; accepted: (1, channels, rows, columns)")
    return mean(self, o, self.stream(x), (*x.shape[:2], *(1 for _ in x.shape[2:])))


def reduce_mean(self: Interpreter, o: Operation, x: Value, axes: Value | None = None) -> Value:
    """ReduceMean over rows and columns."""
    rank = len(x.shape)
    over = {axis_of(a, rank) for a in axes_given(o, axes, [*range(rank)])}
    if rank not in (3, 4) or over != {*range(2, rank)}:
        raise UnsupportedError(f"reduces axes {sorted(over)} of shape {x.shape}; accepted: rows and"
                               " columns of (1, channels, rows, columns)")
    ones = [1] * len(over) if o.attribute("keepdims", 1) else []
    return mean(self, o, self.stream(x), (*x.shape[:2], *ones), fused=False)


def qlinear_average_pool(self: Interpreter, o: Operation, x: Value, x_scale: Value,
                         x_zero: Value | None, y_scale: Value,
                         y_zero: Value | None = None) -> Value:
    """QLinearAveragePool and QLinearGlobalAveragePool."""
    if o.attribute("channels_last", 0):
        raise UnsupportedError("has channels_last; accepted: 0")
    rule = global_average_pool if "Global" in o.op else average_pool
    value = rule(self, o, self.dequantize_stored(o, x, x_scale, x_zero))
    return self.fused(o, value, quantization(y_scale, y_zero, self.dtype_of(x)))


def pad(self: Interpreter, o: Operation, x: Value, amounts: Value, value: Value | None = None,
        axes: Value | None = None) -> Value:
    """Pad with a constant."""
    if o.attribute("mode", "constant") != "constant":
        raise UnsupportedError(f"pads by {o.attribute('mode', '')}; accepted: a constant")
    rank, given = len(x.shape), integers_of(amounts, "pads")
    where = [axis_of(a, rank) for a in (integers_of(axes, "axes") if axes is not None
                                        else range(rank))]
    if len(given) != 2 * len(where) or len(set(where)) != len(where) or any(
            abs(n) > 2**16 for n in given):
        raise UnsupportedError(f"has pads {given[:8]} for {len(where)} axes")
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(where):
        before[axis], after[axis] = given[k], given[k + len(where)]
    fill = np.zeros((), np.float32) if value is None else constant_number(value)
    shape = tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True))
    if min(shape) < 1:
        raise UnsupportedError(f"makes shape {shape}")
    check_size(shape)
    if isinstance(x, Host):
        if min(given, default=0) < 0:
            raise UnsupportedError("crops the input; accepted: pads that are not negative")
        run, widths = x.run, [(0, 0), *zip(before, after, strict=True)]
        return Host(shape, lambda v: np.pad(run(v), widths, constant_values=fill))
    stream = plain(self.stream(x))
    if rank not in (3, 4) or any(before[:2]) or any(after[:2]):
        raise UnsupportedError(f"pads axes {where} of shape {x.shape}; accepted: rows and columns "
                               "of (1, channels, rows, columns)")
    stream = self.builder.map(stream, o.name)
    integer = stream.source.stored.zero if stream.source and not fill else found(
        stream, fill, self.builder.types[stream.edge])
    spatial = [Axis(n, before=b, after=a) for n, b, a in zip(x.shape, before, after,
                                                             strict=True)][2:]
    rows, columns = [Axis(1), *spatial][-2:]
    self.rules[o.index] = "window"
    padded = self.builder.windowed(stream, Patches(rows, columns, integer), shape, o.name)
    readers = self.readers.get(o.outputs[0], [])
    merges = not fill and min(given, default=0) >= 0 and axes is None and len(readers) == 1 and (
        self.uses[o.outputs[0]] == 1 and readers[0].attribute("auto_pad", "NOTSET") == "NOTSET")
    if merges and readers[0].op in ("MaxPool", "AveragePool"):
        raise UnsupportedError(f"is made the padding of {readers[0].op} by the reference, which "
                               "computes something else; accepted: pads of its own")
    keeps = merges and readers[0].op == "Conv"
    return replace(padded, unit=None, source=stream.source if keeps else None,
                   pending=(*stream.pending, o.index))


def constant_number(value: Value) -> Array:
    """Return a constant number."""
    if not isinstance(value, Constant) or value.array.size != 1:
        raise UnsupportedError("has a value that is computed; accepted: a constant number")
    return value.array.reshape(())


def found(x: Stream, number: Array, tensor: Tensor) -> int:
    """Return the integer that stands for a number."""
    lo, hi, function = tensor.lo, tensor.hi, x.function
    if hi - lo < 2**16:
        at = np.flatnonzero(np.broadcast_to(function(np.arange(lo, hi + 1)) == number, hi - lo + 1))
        candidate = lo + int(at[0]) if at.size else lo
    else:
        while lo < hi and x.rises:
            middle = (lo + hi) // 2
            lo, hi = (lo, middle) if function(np.array(middle)) >= number else (middle + 1, hi)
        candidate = lo
    if function(np.array(candidate)) != number:
        raise UnsupportedError(f"pads with {number:g}, which no integer of its input stands for; "
                               "accepted: 0, or a number that QuantizeLinear makes")
    return candidate


def resize(self: Interpreter, o: Operation, x: Value, _roi: Value | None = None,
           scales: Value | None = None, shape: Value | None = None) -> Value:
    """Resize to the nearest element, by whole factors."""
    stream = plain(self.stream(x))
    rank = len(stream.shape)
    if o.attribute("mode", "nearest") != "nearest" or rank not in (3, 4):
        raise UnsupportedError(f"interpolates ({o.attribute('mode', 'nearest')}) shape "
                               f"{stream.shape}; accepted: nearest, of (1, channels, rows, "
                               "columns)")
    where = [axis_of(a, rank) for a in o.attribute("axes", [*range(rank)])]
    factors, target = [1.0] * rank, [*stream.shape]
    given = shape if shape is not None and 0 not in shape.shape else scales
    if not isinstance(given, Constant) or given.array.size != len(where):
        raise UnsupportedError("its scales or sizes are computed, or not one for each axis; "
                               "accepted: constants")
    if o.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("keeps the ratio of its sides; accepted: stretch")
    for axis, number in zip(where, given.array.ravel().tolist(), strict=True):
        if not 0 < number <= 2**16:
            raise UnsupportedError(f"has scale or size {number:g}")
        if given is shape:
            target[axis], factors[axis] = int(number), number / stream.shape[axis]
        else:
            target[axis], factors[axis] = int(np.floor(stream.shape[axis] * np.float32(number))), (
                number)
    check_size((*target,))
    axes = [nearest(o, n, m, f) for n, m, f in zip(stream.shape, target, factors, strict=True)]
    if axes[0] != Axis(stream.shape[0]) or axes[1] != Axis(stream.shape[1]):
        raise UnsupportedError("resizes channels; accepted: rows and columns")
    rows, columns = [Axis(1), *axes[2:]][-2:]
    stream = self.builder.map(stream, o.name)
    self.rules[o.index] = "window"
    return replace(self.builder.windowed(stream, Patches(rows, columns), (*target,), o.name),
                   source=None, unit=None, pending=(*stream.pending, o.index))


def nearest(o: Operation, size: int, target: int, factor: float) -> Axis:
    """Return which elements are the nearest ones: every element some times, or every nth."""
    at = np.arange(target, dtype=np.float32)
    scale = np.float32(factor)
    mode = o.attribute("coordinate_transformation_mode", "half_pixel")
    half = np.float32(0.5)
    places = {
        "asymmetric": lambda: at / scale,
        "half_pixel": lambda: (at + half) / scale - half,
        "pytorch_half_pixel": lambda: (at + half) / scale - half if target > 1 else at * 0,
        "align_corners": lambda: at * np.float32(size - 1) / np.float32(max(target - 1, 1)),
    }
    round_: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda v: np.ceil(v - half),
        "round_prefer_ceil": lambda v: np.floor(v + half),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    kind = o.attribute("nearest_mode", "round_prefer_floor")
    if mode not in places or kind not in round_:
        raise UnsupportedError(f"has coordinate_transformation_mode {mode!r} and nearest_mode "
                               f"{kind!r}; accepted: {', '.join(places)}; {', '.join(round_)}")
    chosen = round_[kind](places[mode]()).clip(0, size - 1).astype(np.int64)
    if size == target:
        candidate = Axis(size)
    elif target % size == 0:
        candidate = Axis(size, zoom=target // size)
    elif size % target == 0:
        step, first = size // target, int(chosen[0])
        candidate = Axis(size, stride=step, before=-first,
                         after=first + 1 + (target - 1) * step - size)
    else:
        candidate = Axis(size)
    if not np.array_equal(candidate.elements.ravel(), chosen):
        raise UnsupportedError(f"makes {target} of {size} elements; accepted: each some times, or "
                               "every nth")
    return candidate


POOL_RULES: dict[str, Callable[..., Value]] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Resize": resize,
    "com.microsoft.QLinearAveragePool": qlinear_average_pool,
    "com.microsoft.QLinearGlobalAveragePool": qlinear_average_pool,
}
