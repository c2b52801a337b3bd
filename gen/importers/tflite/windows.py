"""Rules of the operators that look through windows: pools, means, and what pads and picks."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.gen.importers.tflite.arithmetic import Multiplier, nearest, rescaled
from bittern.gen.importers.tflite.graph import (
    Builder,
    Constant,
    Stream,
    Value,
    constant,
    stream,
)
from bittern.gen.layers.channels import Channels
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.max_pool import MaxPool
from bittern.gen.layers.spatial_sum import SpatialSum
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bittern.gen.importers.tflite.file import Operation, TensorInfo
    from bittern.gen.ir import Layer

__all__ = ["RULES", "axes", "pairs", "same", "sized"]

SEEN = 2**22
"""Elements that the windows along one axis may see."""


def pairs(options: dict[str, Any], what: str, default: int = 0) -> tuple[int, int]:
    """Return an option of rows and of columns, at least 1 each."""
    names = {"Filter": ("FilterHeight", "FilterWidth"),
             "Dilation": ("DilationHFactor", "DilationWFactor")}.get(what, (what + "H", what + "W"))
    rows, columns = (int(options.get(name, default)) for name in names)
    if min(rows, columns) < 1:
        raise UnsupportedError(f"has {what.lower()} {rows} x {columns}; accepted: 1 or more")
    return rows, columns


def axes(options: dict[str, Any], shape: tuple[int, ...], kernel: Sequence[int]
         ) -> tuple[Axis, Axis]:
    """Return the axes of windows with the padding that the options name."""
    found = []
    for size, k, stride, dilation in zip(shape, kernel, pairs(options, "Stride"),
                                         pairs(options, "Dilation", 1), strict=False):
        reach, before, after = (k - 1) * dilation + 1, 0, 0
        if options["Padding"] == "SAME":
            outputs = -(-size // stride)
            lost = max((outputs - 1) * stride + reach - size, 0)
            before, after = lost // 2, lost - lost // 2
        elif options["Padding"] != "VALID":
            raise UnsupportedError(f"has the padding {options['Padding']}; accepted: SAME, VALID")
        found.append(sized(Axis(size, k, stride, before, after, dilation)))
    rows, columns = found
    if rows.kernel * columns.kernel * max(rows.outputs * columns.outputs, shape[-1]) > LARGEST:
        raise UnsupportedError(f"has {rows.outputs} x {columns.outputs} windows of {rows.kernel} x "
                               f"{columns.kernel}, too many")
    return rows, columns


def sized(axis: Axis) -> Axis:
    """Return `axis`, whose table of elements must fit in memory."""
    if axis.outputs * axis.kernel > SEEN:
        raise UnsupportedError(f"has {axis.outputs} windows of {axis.kernel} elements along one "
                               f"axis; accepted: {SEEN} elements in all")
    return axis


def same(x: Stream, output: TensorInfo) -> Stream:
    """Return `x` with the quantization of the output, which must be its own."""
    a, y = x.quantization, output.quantization
    if (a.type, a.zero) != (y.type, y.zero) or abs(float(a.scale) - float(y.scale)) > 1e-6:
        raise UnsupportedError(f"goes from {a.type} {a.scale:g} * (q - {a.zero}) to {y.type} "
                               f"{y.scale:g} * (q - {y.zero}); accepted: the same quantization")
    return Stream(x.edge, x.shape, y)


def average_pool_2d(g: Builder, o: Operation, x: Value) -> Stream:
    """AVERAGE_POOL_2D: windows at the border average fewer elements."""
    x = same(stream(x), o.output)
    edge, tensor = g.map(o.name, x)
    y, size = x.quantization, tensor.channels
    patches = Patches(*axes(o.options, tensor.shape, pairs(o.options, "Filter")))
    if patches.shape == (1, 1) and patches.taps == prod(tensor.shape[:2]) and not patches.is_filled:
        edge = g.append(f"{o.name}_sum", SpatialSum(), edge, scale=y.scale / patches.taps,
                        zero=y.zero * patches.taps)
    else:
        layer = Depthwise(patches, frozen(np.ones((size, patches.taps), np.int64)),
                          frozen(np.zeros(size, np.int64)))
        edge = g.append(f"{o.name}_sum", layer, edge, scale=y.scale / patches.taps,
                        zero=y.zero * patches.taps)
    counts, which = np.unique(np.multiply.outer(*(
        (a.elements >= 0).sum(axis=1) for a in (patches.rows, patches.columns))),
        return_inverse=True)
    clip = y.clip(o.options["FusedActivationFunction"])

    def function(q: Ints) -> Ints:
        y: Ints = (np.sign(q) * ((np.abs(q) + counts // 2) // counts)).clip(*clip)
        return y

    edge = g.requantize(o.name, edge, function, y, counts.size, np.repeat(which, size))
    return Stream(edge, (1, *patches.shape, size), y)


def max_pool_2d(g: Builder, o: Operation, x: Value) -> Stream:
    """MAX_POOL_2D."""
    x = same(stream(x), o.output)
    edge, tensor = g.map(o.name, x)
    patches = Patches(*axes(o.options, tensor.shape, pairs(o.options, "Filter")), tensor.lo)
    edge, patches = g.merged(edge, patches)
    y = x.quantization
    edge = g.append(f"{o.name}_max", MaxPool(patches), edge, scale=y.scale, zero=y.zero)
    clip = y.clip(o.options["FusedActivationFunction"])
    edge = g.requantize(o.name, edge, lambda q: q.clip(*clip), y)
    return Stream(edge, (1, *patches.shape, tensor.channels), y)


def mean(g: Builder, o: Operation, x: Value, at: Value) -> Stream:
    """MEAN over rows, columns or both."""
    x = stream(x)
    rank, y = len(x.shape), o.output.quantization
    axis = {int(a) + rank if a < 0 else int(a) for a in constant(at, "axis").ravel()[:9]}
    kept = [i for i in range(rank) if i not in axis or x.shape[i] == 1]
    if not axis <= set(range(rank)) or kept[-1:] != [rank - 1] or x.shape[0] != 1:
        raise UnsupportedError(f"averages axes {sorted(axis)} of shape {x.shape}; accepted: axes "
                               "between the first and the last")
    if y.type != x.quantization.type or y.type == "UINT8":
        raise UnsupportedError(f"goes from {x.quantization.type} to {y.type}; accepted: INT8 to "
                               "INT8, INT16 to INT16")
    count = prod(x.shape[i] for i in axis)
    shape = tuple(1 if i in axis else n for i, n in enumerate(x.shape)
                  if o.options["KeepDims"] or i not in axis)
    layer: Layer
    if all(x.shape[i] == 1 for i in kept[:-1]):
        edge, layer = g.shaped(o.name, x), SpatialSum()
    else:
        edge, tensor = g.map(o.name, x)
        rows, columns = (sized(Axis(n, n if i in axis else 1))
                         for i, n in enumerate(tensor.shape[:2], 1))
        layer = Depthwise(Patches(rows, columns),
                          frozen(np.ones((tensor.channels, count), np.int64)),
                          frozen(np.zeros(tensor.channels, np.int64)))
    edge = g.append(f"{o.name}_sum", layer, edge, scale=x.quantization.scale / count,
                    zero=x.quantization.zero * count)
    multiplier = Multiplier.of(float(x.quantization.scale) / float(y.scale))
    value, exponent = int(multiplier.value[0]), int(multiplier.shift[0])
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    multiplier = Multiplier(np.array([(value << shift) // count]), np.array([exponent - shift]))
    tensor = g.types[edge]
    function = rescaled(multiplier, (tensor.lo, tensor.hi), x.quantization.zero * count, y,
                        (y.lo, y.hi))
    return Stream(g.requantize(o.name, edge, function, y), shape or (1,), y)


def pad(g: Builder, o: Operation, x: Value, amounts: Value, fill: Value | None = None) -> Stream:
    """PAD and PADV2, of rows and columns with a window, of channels with a matrix."""
    x = same(stream(x), o.output)
    edge, tensor = g.map(o.name, x)
    by = constant(amounts, "paddings")
    if by.shape != (4, 2) or by.min() < 0 or by[0].any() or (
            by.max() > SEEN):
        raise UnsupportedError(f"pads shape {x.shape} by {by.tolist()[:4]}; accepted: rows, "
                               "columns and channels")
    y = x.quantization
    value = y.zero if fill is None else int(constant(fill, "value").ravel()[0])
    (top, bottom), (left, right), (first, last) = by[1:].tolist()
    patches = Patches(sized(Axis(tensor.shape[0], before=top, after=bottom)),
                      sized(Axis(tensor.shape[1], before=left, after=right)), value)
    edge = g.window(o.name, edge, patches, y)
    channels = tensor.channels
    if first + last:
        if channels * (channels + first + last) > LARGEST:
            raise UnsupportedError(f"pads {channels} channels by {first} and {last}, too many")
        matrix = np.pad(np.eye(channels, dtype=np.int64), ((first, last), (0, 0)))
        bias = np.where(matrix.any(axis=1), 0, value)
        edge = g.append(o.name, Dense(frozen(matrix), frozen(bias)), edge, scale=y.scale,
                        zero=y.zero)
    return Stream(edge, (1, *patches.shape, channels + first + last), y)


def resize_nearest_neighbor(g: Builder, o: Operation, x: Value, size: Value) -> Stream:
    """RESIZE_NEAREST_NEIGHBOR, by integer factors."""
    x = same(stream(x), o.output)
    edge, tensor = g.map(o.name, x)
    wanted = [int(n) for n in constant(size, "size").ravel()]
    if len(wanted) != 2 or not 1 <= min(wanted) <= max(wanted) <= SEEN:
        raise UnsupportedError(f"resizes shape {x.shape} to {tuple(wanted[:4])}")
    rows, columns = (neighbours(n, out, corners=o.options["AlignCorners"],
                                half=o.options["HalfPixelCenters"])
                     for n, out in zip(tensor.shape[:2], wanted, strict=True))
    edge = g.window(o.name, edge, Patches(rows, columns), x.quantization)
    return Stream(edge, (1, *wanted, tensor.channels), x.quantization)


def neighbours(size: int, out: int, *, corners: bool, half: bool) -> Axis:
    """Return the elements that the reference takes, with its floats of 32 bits."""
    less = corners and out > 1
    at = (np.arange(out, dtype=np.float32) + np.float32(0.5 * half)) * (
        np.float32(size - less) / np.float32(out - less))
    taken = (nearest(at) if corners else np.floor(at)).astype(np.int64).clip(0, size - 1)
    first, stride = int(taken[0]), int(taken[1] - taken[0]) if out > 1 else 1
    choices = [sized(Axis(size, zoom=out // size))] if out % size == 0 else []
    if stride >= 1 and first + (out - 1) * stride < size:
        choices.append(picked(size, first, first + (out - 1) * stride + 1, stride))
    for axis in choices:
        if np.array_equal(axis.elements.ravel(), taken):
            return axis
    raise UnsupportedError(f"resizes {size} elements to {out}; accepted: multiples and equal "
                           "steps")


def picked(size: int, first: int, end: int, stride: int = 1) -> Axis:
    """Return every `stride`-th of some elements."""
    return sized(Axis(size, stride=stride, before=-first, after=end - size))


def taken(g: Builder, o: Operation, x: Stream, bounds: list[tuple[int, int, int]],
          shape: tuple[int, ...]) -> Stream:
    """Take elements ``first:end:stride`` of each axis."""
    whole = [(0, n, 1) for n in x.shape]
    y = x.quantization
    first, end, stride = bounds[-1]
    if bounds[0] != whole[0] or stride != 1:
        raise UnsupportedError(f"takes {bounds} of shape {x.shape}; accepted: any rows and "
                               "columns, and channels one after the other")
    if bounds[1:-1] == whole[1:-1]:
        edge = g.shaped(o.name, x)
    elif len(x.shape) not in (3, 4):
        raise UnsupportedError(f"takes {bounds} of shape {x.shape}; accepted: 3 or 4 dimensions")
    else:
        middle = [picked(n, *b) for n, b in zip(x.shape[1:-1], bounds[1:-1], strict=True)]
        rows, columns = [Axis(1), *middle][-2:]
        edge = g.shaped(o.name, x, (rows.size, columns.size, x.shape[-1]))
        edge = g.window(o.name, edge, Patches(rows, columns), y)
    if bounds[-1] != whole[-1]:
        edge = g.append(o.name, Channels(first, end), edge, scale=y.scale, zero=y.zero)
    return Stream(edge, shape, y)


def strided_slice(g: Builder, o: Operation, x: Value, begin: Value, end: Value,
                  strides: Value) -> Value:
    """STRIDED_SLICE with positive strides, of constants too."""
    options = o.options
    if options["EllipsisMask"] or options["NewAxisMask"] or options["Offset"]:
        raise UnsupportedError("has an ellipsis, a new axis or offsets; accepted: begin, end, "
                               "strides")
    if not isinstance(x, Constant):
        x = same(stream(x), o.output)
    limits = [constant(v, what).ravel().tolist()
              for v, what in ((begin, "begin"), (end, "end"), (strides, "strides"))]
    if any(len(v) != len(limits[0]) for v in limits) or len(limits[0]) > len(x.shape):
        raise UnsupportedError(f"has {len(limits[0])} bounds for shape {x.shape}")
    bounds, shape = [], []
    for i, n in enumerate(x.shape):
        if i >= len(limits[0]):
            bounds.append((0, n, 1))
            shape.append(n)
            continue
        low, high, step = (int(v[i]) for v in limits)
        single = options["ShrinkAxisMask"] >> i & 1
        if step < 1 or (single and step != 1):
            raise UnsupportedError(f"has the stride {step}; accepted: 1 or more")
        low, high, _ = slice(None if options["BeginMask"] >> i & 1 and not single else low,
                             None if options["EndMask"] >> i & 1 else high).indices(n)
        high = low + 1 if single else high
        if not low < high <= n:
            raise UnsupportedError(f"takes elements {low} to {high - 1} of {n}")
        bounds.append((low, high, step))
        if not single:
            shape.append(-(-(high - low) // step))
    if isinstance(x, Constant):
        part = x.array[tuple(slice(*b) for b in bounds)]
        return Constant(part.reshape(shape), x.quantization)
    return taken(g, o, x, bounds, tuple(shape) or (1,))


def slice_(g: Builder, o: Operation, x: Value, begin: Value, size: Value) -> Stream:
    """SLICE."""
    x = same(stream(x), o.output)
    lows, sizes = (constant(v, what).ravel().tolist()
                   for v, what in ((begin, "begin"), (size, "size")))
    shape = tuple(n - b if s == -1 else s
                  for n, b, s in zip(x.shape, lows, sizes, strict=True))
    bounds = [(b, b + s, 1) for b, s in zip(lows, shape, strict=True)]
    if any(not 0 <= b < e <= n for (b, e, _), n in zip(bounds, x.shape, strict=True)):
        raise UnsupportedError(f"takes {bounds} of shape {x.shape}")
    return taken(g, o, x, bounds, shape)


def split(g: Builder, o: Operation, axis: Value, x: Value) -> tuple[Stream, ...]:
    """SPLIT into equal parts."""
    x = stream(x)
    at, parts = int(constant(axis, "axis").ravel()[0]), int(o.options["NumSplits"])
    at += len(x.shape) if at < 0 else 0
    if not 0 <= at < len(x.shape) or parts != len(o.outputs) or x.shape[at] % parts:
        raise UnsupportedError(f"splits axis {at} of shape {x.shape} into {parts}")
    n = x.shape[at] // parts
    shape = (*x.shape[:at], n, *x.shape[at + 1:])
    whole = [(0, n, 1) for n in x.shape]
    return tuple(taken(g, o, same(x, output),
                       [*whole[:at], (k * n, k * n + n, 1), *whole[at + 1:]], shape)
                 for k, output in enumerate(o.outputs))


RULES: dict[str, Callable[..., Any]] = {
    "AVERAGE_POOL_2D": average_pool_2d,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "PAD": pad,
    "PADV2": pad,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "SLICE": slice_,
    "SPLIT": split,
    "STRIDED_SLICE": strided_slice,
}
