"""Rules of the operators on maps: convolutions, poolings, and what moves or joins whole maps."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError, check_size
from bittern.gen.importers.qonnx.arithmetic import common_unit
from bittern.gen.importers.qonnx.graph import points
from bittern.gen.importers.qonnx.layout import (
    is_map,
    map_of,
    maps_of,
    per_channel,
    tensor_of,
    tensors_of,
)
from bittern.gen.importers.qonnx.shapes import axes_of, axis_of, constant, numbers
from bittern.gen.importers.qonnx.values import (
    Constant,
    Host,
    Lattice,
    Stream,
    Value,
    Variable,
    body,
    elementwise,
    integers_of,
    scaled,
    transposed,
    variable,
)
from bittern.gen.layers.concatenate import Concatenate
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.max_pool import MaxPool
from bittern.gen.layers.spatial_sum import SpatialSum
from bittern.gen.layers.window import Window
from bittern.hw.ints import frozen
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array, Operation
    from bittern.gen.importers.qonnx.interpreter import Interpreter
    from bittern.hw.ints import Ints

__all__ = ["CHANNELS_LAST", "MAP_RULES", "channels_last"]

CHANNELS_LAST = "qonnx.custom_op.channels_last"


def spatial(x: Value) -> tuple[Variable, tuple[int, ...]]:
    """Return activations that are a map, and its rows and columns."""
    x = body(variable(x))
    if not is_map(x.shape):
        raise UnsupportedError(f"reads activations of shape {x.shape}; accepted: (1, channels, "
                               "rows, columns) or (1, channels, columns)")
    return x, x.shape[2:]


def whole(o: Operation, name: str, default: list[int]) -> list[int]:
    """Return an attribute of as many integers as `default`, none of them negative."""
    values: list[int] = o.attribute(name, default)
    if len(values) != len(default) or not all(0 <= v <= LARGEST for v in values):
        raise UnsupportedError(f"attribute {name} is {values}; accepted: {len(default)} integers "
                               "of at least 0")
    return values


def windows(o: Operation, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[
        list[Axis], list[Ints], list[Ints]]:
    """Return the windows along each axis of a map, and of how many elements each is.

    These are counted twice: without padding, and with it.
    """
    n = len(sizes)
    if len(kernel) != n:
        raise UnsupportedError(f"has a kernel of {len(kernel)} dimensions for a map of {n}; "
                               "accepted: as many")
    strides, dilations = whole(o, "strides", [1] * n), whole(o, "dilations", [1] * n)
    pads, auto = whole(o, "pads", [0] * 2 * n), o.attribute("auto_pad", "NOTSET")
    axes, inside, padded = [], [], []
    for i, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations,
                                                           strict=True)):
        if min(taps, stride, dilation) < 1:
            raise UnsupportedError("has a kernel, stride or dilation below 1; accepted: at least 1")
        reach = (taps - 1) * dilation + 1
        before, after = pads[i], pads[n + i]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            missing = max((-(-size // stride) - 1) * stride + reach - size, 0)
            before = missing // 2 if auto == "SAME_UPPER" else -(-missing // 2)
            after = missing - before
        elif auto == "VALID":
            before = after = 0
        elif auto != "NOTSET":
            raise UnsupportedError(f"auto_pad is {auto!r}; accepted: NOTSET, VALID, SAME_UPPER, "
                                   "SAME_LOWER")
        end = size + after
        if end + before < reach or (end + before) * taps > LARGEST:
            raise UnsupportedError(f"has windows of {reach} on {end + before} elements, padding "
                                   "included; accepted: at most as large, and not of millions")
        if o.attribute("ceil_mode", 0):
            count = -(-(end + before - reach) // stride) + 1
            count -= (count - 1) * stride >= size + before # none starts in the padding behind
            after = (count - 1) * stride + reach - size - before
        axis = Axis(size, taps, stride, before, after, dilation)
        at = (np.arange(axis.outputs)[:, np.newaxis] * stride - before
              + np.arange(taps) * dilation)
        axes.append(axis)
        inside.append((axis.elements >= 0).sum(axis=1))
        padded.append((at < end).sum(axis=1))
    return axes, inside, padded


def patches(axes: list[Axis]) -> Patches:
    """Return the windows on a map; one of one dimension is a row."""
    rows, columns = [Axis(1)] * (2 - len(axes)) + axes
    return Patches(rows, columns)


def hosted(x: Host, view: Patches, channels: int, function: Callable[[Array], Array]) -> Host:
    """Return a function of maps ``(frames, rows, columns, channels)``, which the host computes."""
    rank = len(x.shape)
    check_size((*view.shape, channels))
    shape = tensor_of(np.empty((*view.shape, channels), bool), rank).shape
    return x.then(shape, lambda v: tensors_of(function(maps_of(v)), rank))


def places_of(shape: tuple[int, ...], rank: int) -> Ints:
    """Return the places of a tensor on the edge of a map of `shape`."""
    return tensor_of(np.arange(prod(shape)).reshape(shape), rank)


def channels(x: Stream) -> tuple[Array, Ints]:
    """Return scale and offset of each channel of an exact stream."""
    lattice = x.lattice
    return per_channel(lattice.scale, x.shape), per_channel(lattice.offset, x.shape)


def by_channel(values: Array, rank: int) -> Array:
    """Return values of the channels as they broadcast to a tensor."""
    return values.reshape(1, -1, *(1,) * (rank - 2))


def even(at: Interpreter, o: Operation, x: Stream) -> Stream:
    """Return `x` with one function for each channel."""
    if x.is_exact or prod(x.grain[2:]) > 1:
        exact = at.builder.exact(x, o.name)
        at.took(x, f"folded into the input of {o.name}")
        scale, offset = (by_channel(v, len(x.shape)) for v in channels(exact))
        return points(exact.edge, exact.places, Lattice(scale, exact.lattice.step, offset))
    return x


def elsewhere(at: Interpreter, x: Stream, edge: str) -> Stream:
    """Return the values of `x` on the edge of another map with the same channels."""
    at.builder.lattices[edge] = x.lattice
    return replace(x, edge=edge, places=places_of(at.builder.types[edge].shape, len(x.shape)))


def conv(at: Interpreter, o: Operation, x: Value, weights: Value,
         addend: Value | None = None) -> Value:
    """Conv: a dense layer of what windows see; on the host, its sums are rounded once."""
    x, sizes = spatial(x)
    constants, group = at.weights(o, weights), o.attribute("group", 1)
    outputs, inputs, *kernel = (*constants.shape, 0, 0)[:max(2, len(constants.shape))]
    if (group < 1 or outputs < 1 or outputs % group or x.shape[1] != inputs * group
            or o.attribute("kernel_shape", kernel) != kernel):
        raise UnsupportedError(f"applies weights of shape {constants.shape} in {group} groups to "
                               f"activations of shape {x.shape}; accepted: (outputs, channels / "
                               "groups, rows, columns), outputs a multiple of the groups")
    view = patches(windows(o, sizes, tuple(kernel))[0])
    taps = constants.rearranged(
        lambda array: np.moveaxis(array, 1, -1).reshape(outputs, -1, inputs))
    check_size((*view.shape, outputs))
    if isinstance(x, Host):
        matrices = block_diagonal(taps.array.astype(np.float64), group)

        def run(maps: Array) -> Array:
            seen = enumerate(view.each_tap(maps.astype(np.float64)))
            y: Array = reduce(np.add, (s @ matrices[:, t].T for t, s in seen))
            return y.astype(np.float32)

        y: Variable = hosted(x, view, outputs, run)
    else:
        y = convolution(at, o, x, view, taps)
    if addend is None:
        return y
    bias = Constant(by_channel(constant(addend, "third operand"), len(x.shape)))
    return at.plus(o, y, bias) or elementwise(np.add, y, bias)


def block_diagonal(taps: Array, group: int) -> Array:
    """Return weights ``(outputs, taps, channels)`` with zeros between groups."""
    outputs, count, inputs = taps.shape
    if taps.size * group > LARGEST:
        raise UnsupportedError(f"has {taps.size} weights in {group} groups; accepted: {LARGEST} "
                               "with the zeros between groups")
    full = np.zeros((outputs, count, group, inputs), taps.dtype)
    rows = np.arange(outputs)
    full[rows, :, rows // (outputs // group)] = taps
    return full.reshape(outputs, count, -1)


def convolution(at: Interpreter, o: Operation, x: Stream, view: Patches, taps: Constant) -> Stream:
    """Return the exact sums of products of windows and weights ``(outputs, taps, inputs)``."""
    builder, (integers, scale) = at.builder, integers_of(taps)
    group = x.shape[1] // taps.shape[2]
    exact = builder.exact(x, o.name)
    if view.is_filled:
        exact, fill = builder.filled(exact, 0.0, o.name)
        view = replace(view, fill=fill)
    at.took(x, f"folded into the input of {o.name}")
    steps, offset = channels(exact)
    edge = builder.arranged(exact, map_of, o.name)
    if 1 < group == len(steps):
        of = np.arange(len(integers)) // (len(integers) // group)
        scale, integers = scale * steps[of], integers[:, :, 0]
        bias = offset[of] * integers.sum(axis=1)
        edge = builder.add(o.name, Depthwise(view, frozen(integers * exact.lattice.step),
                                             frozen(bias)), edge)
    else:
        unit = common_unit(steps)
        full = block_diagonal(integers, group) * np.rint(steps / unit).astype(np.int64)
        weights = (full * exact.lattice.step).reshape(len(full), -1)
        if not all(axis == Axis(axis.size) for axis in (view.rows, view.columns)):
            seen = builder.add(f"{o.name}_window", Window(view), edge)
            builder.lattices[seen] = builder.lattices[edge]
            edge = seen
        scale, bias = scale * unit, (full * offset).sum(axis=(1, 2))
        edge = builder.add(o.name, Dense(frozen(weights), frozen(bias)), edge)
    at.rules[o.index] = "convolution"
    rank = len(x.shape)
    return builder.stream(edge, places_of(builder.types[edge].shape, rank),
                          Lattice.multiples(by_channel(scale, rank)))


def max_pool(at: Interpreter, o: Operation, x: Value) -> Value:
    """MaxPool, before or after the quantizer: functions between two integers are monotone."""
    kernel = tuple(o.required("kernel_shape", [1]))
    return maximum(at, o, x, kernel)


def global_max_pool(at: Interpreter, o: Operation, x: Value) -> Value:
    """GlobalMaxPool."""
    return maximum(at, o, x, spatial(x)[1])


def maximum(at: Interpreter, o: Operation, x: Value, kernel: tuple[int, ...]) -> Value:
    """Take the maximum of what each window sees."""
    x, sizes = spatial(x)
    axes, inside, _ = windows(o, sizes, kernel)
    if min(count.min() for count in inside) < 1:
        raise UnsupportedError("has windows that see padding only; accepted: less padding")
    view = patches(axes)
    if isinstance(x, Host):
        def run(maps: Array) -> Array:
            least = replace(view, fill=-np.inf) # type: ignore[arg-type] # of floats, not integers
            y: Array = reduce(np.maximum, least.each_tap(maps))
            return y

        return hosted(x, view, x.shape[1], run)
    check_size((*view.shape, x.shape[1]))
    x = at.builder.rising(even(at, o, x), lambda v: v, o.name)
    edge = at.builder.arranged(x, map_of, o.name)
    layer = MaxPool(replace(view, fill=at.builder.types[edge].lo))
    at.rules[o.index] = "max pool"
    return elsewhere(at, x, at.builder.add(o.name, layer, edge))


def average_pool(at: Interpreter, o: Operation, x: Value) -> Value:
    """AveragePool: sums of windows, which the function after it divides."""
    x, sizes = spatial(x)
    axes, *counts = windows(o, sizes, tuple(o.required("kernel_shape", [1])))
    count = reduce(np.multiply.outer, counts[bool(o.attribute("count_include_pad", 0))])
    if count.min() < 1:
        raise UnsupportedError("has windows that see padding only; accepted: less padding")
    if (count == count.flat[0]).all():
        count = np.unique(count)
    view = patches(axes)
    if isinstance(x, Host):
        def run(maps: Array) -> Array:
            y: Array = reduce(np.add, view.each_tap(maps.astype(np.float64)))
            return y.astype(np.float32)

        return divided(hosted(x, view, x.shape[1], run), count)
    check_size((*view.shape, x.shape[1]))
    exact = at.builder.exact(x, o.name)
    if view.is_filled:
        exact, fill = at.builder.filled(exact, 0.0, o.name)
        view = replace(view, fill=fill)
    at.took(x, f"folded into the input of {o.name}")
    scale, offset = channels(exact)
    layer = Depthwise(view, frozen(np.ones((len(scale), view.taps), np.int64)),
                      frozen(np.zeros(len(scale), np.int64)))
    edge = at.builder.add(o.name, layer, at.builder.arranged(exact, map_of, o.name))
    at.rules[o.index] = "sums of windows"
    rank = len(x.shape)
    return divided(at.builder.stream(
        edge, places_of(at.builder.types[edge].shape, rank),
        Lattice(by_channel(scale, rank), exact.lattice.step,
                by_channel(offset * view.taps, rank))), count)


def divided(sums: Value, count: Array) -> Value:
    """Return sums over what they are of."""
    divisor = Constant(np.asarray(count, np.float32))
    return scaled(elementwise(np.divide, sums, divisor), divisor, np.divide)


def global_average_pool(at: Interpreter, o: Operation, x: Value) -> Value:
    """GlobalAveragePool."""
    x, sizes = spatial(x)
    return mean(at, o, x, [i + 2 for i in range(len(sizes))], keep=True)


def reduce_mean(at: Interpreter, o: Operation, x: Value, axes: Value | None = None) -> Value:
    """ReduceMean."""
    x = body(variable(x))
    rank = len(x.shape)
    gone = sorted({axis_of(a, rank) for a in axes_of(o, axes, [*range(rank)])})
    return mean(at, o, x, gone, keep=o.attribute("keepdims", 1) == 1)


def mean(at: Interpreter, o: Operation, x: Variable, gone: list[int], *, keep: bool) -> Value:
    """Return the mean over some axes: sums over the map, which the function after it divides."""
    kept = [i for i in range(len(x.shape)) if i not in gone]
    places, rest = [x.shape[i] for i in gone], [x.shape[i] for i in kept]
    count = prod(places)
    shape = tuple(1 if i in gone else n for i, n in enumerate(x.shape)) if keep else tuple(rest)
    if isinstance(x, Host):
        axes = tuple(i + 1 for i in gone)

        def run(v: Array) -> Array:
            y: Array = v.astype(np.float64).sum(axis=axes).astype(np.float32)
            return y.reshape(-1, *shape)

        return divided(x.then(shape, run), np.array(count))
    exact = at.builder.exact(x, o.name)
    at.took(x, f"folded into the input of {o.name}")
    turned = transposed(exact, [*kept, *gone])
    assert isinstance(turned, Stream)
    scale, offset = (np.broadcast_to(v, turned.shape).reshape(-1, count)
                     for v in (turned.lattice.scale, turned.lattice.offset))
    if (scale != scale[:, :1]).any():
        raise UnsupportedError("the scale of its input differs by what is averaged; accepted: one, "
                               "or one for each channel")
    map_shape = (*[1] * (2 - len(places)), *places) if len(places) < 3 else (1, count)
    edge = at.builder.arranged(
        turned, lambda p: np.moveaxis(p.reshape(-1, *map_shape), 0, -1), o.name)
    edge = at.builder.add(o.name, SpatialSum(), edge)
    at.rules[o.index] = "sums over the map"
    return divided(at.builder.stream(
        edge, np.arange(len(scale)).reshape(shape),
        Lattice(scale[:, 0].reshape(shape), exact.lattice.step,
                offset.sum(axis=1).reshape(shape))), np.array(count))


def pad(at: Interpreter, o: Operation, x: Value, *operands: Value | None) -> Value:
    """Pad with a constant; the operands are inputs from operator set 11 on, before attributes."""
    x, _ = spatial(x)
    rank = len(x.shape)
    amounts, value, axes = (*operands, None, None, None)[:3]
    mode = o.attribute("mode", "constant")
    if mode != "constant":
        raise UnsupportedError(f"mode is {mode!r}; accepted: 'constant'")
    fill = o.attribute("value", 0.0) if value is None else float(constant(value, "value").item())
    given = o.required("pads", [0]) if amounts is None else numbers(amounts, "pads")
    where = [*range(rank)] if axes is None else [axis_of(a, rank) for a in numbers(axes, "axes")]
    if len(given) != 2 * len(where):
        raise UnsupportedError(f"has {len(given)} pads for {len(where)} axes; accepted: two for "
                               "each")
    pads = [(0, 0)] * rank
    for axis, before, after in zip(where, given, given[len(where):], strict=False):
        pads[axis] = before, after
    if any(pads[0]) or (any(pads[1]) and any(pads[-1])):
        raise UnsupportedError(f"pads by {given}; accepted: rows and columns")
    if any(pads[1]): # the channels are the last axis
        turned = padded(at, o, variable(transposed(x, [0, rank - 1, *range(1, rank - 1)])),
                        pads[1:-1], fill)
        return transposed(turned, [0, *range(2, rank), 1])
    return padded(at, o, x, pads[2:], fill)


def padded(at: Interpreter, o: Operation, x: Variable, pads: list[tuple[int, int]],
           fill: float) -> Variable:
    """Return a map with filling before and after it, or without some rows and columns."""
    axes = []
    for size, (before, after) in zip(x.shape[2:], pads, strict=True):
        if not 1 <= size + before + after <= LARGEST:
            raise UnsupportedError(f"pads {size} elements by {before} and {after}; accepted: what "
                                   "leaves some")
        axes.append(Axis(size, before=before, after=after))
    view = patches(axes)
    if isinstance(x, Host):
        filled = replace(view, fill=np.float32(fill)) # type: ignore[arg-type] # of floats
        return hosted(x, view, x.shape[1], lambda maps: next(filled.each_tap(maps)))
    check_size((*view.shape, x.shape[1]))
    exact = at.builder.exact(x, o.name)
    at.took(x, f"folded into the input of {o.name}")
    if view.is_filled:
        exact, number = at.builder.filled(exact, fill, o.name)
        view = replace(view, fill=number)
    return moved(at, o, exact, view)


def moved(at: Interpreter, o: Operation, x: Stream, view: Patches) -> Stream:
    """Return `x` on another map, with windows of one element."""
    x = even(at, o, x)
    edge = at.builder.add(o.name, Window(view), at.builder.arranged(x, map_of, o.name))
    at.rules[o.index] = "window"
    return elsewhere(at, x, edge)


def resize(at: Interpreter, o: Operation, x: Value, *operands: Value | None) -> Value:
    """Resize and Upsample to the nearest element, by whole factors."""
    x, sizes = spatial(x)
    mode = o.attribute("mode", "nearest")
    scales = constant(operands[1 if len(operands) > 1 else 0], "scales") if operands else (
        np.array(o.required("scales", [1.0])))
    if len(operands) > 2:
        scales = np.array(numbers(operands[2], "sizes")) / x.shape
    factors = np.rint(scales).astype(np.int64)
    if (mode != "nearest" or scales.shape != (len(x.shape),) or (factors != scales).any()
            or (factors[:2] != 1).any() or (factors < 1).any()):
        raise UnsupportedError(f"resizes by {scales.tolist()}, mode {mode!r}; accepted: rows and "
                               "columns by whole factors, mode 'nearest'")
    check_size((*(int(f) for f in factors), *x.shape))
    coordinates = o.attribute("coordinate_transformation_mode",
                              "half_pixel" if o.op == "Resize" and o.opset > 10 else "asymmetric")
    rounding = o.attribute("nearest_mode", "round_prefer_floor" if o.opset > 10 else "floor")
    for size, factor in zip(sizes, factors[2:], strict=True):
        at_ = source(np.arange(size * factor), size, int(factor), coordinates, rounding)
        if (at_ != np.arange(size * factor) // factor).any():
            raise UnsupportedError(f"repeats elements unevenly ({coordinates}, {rounding}); "
                                   "accepted: half_pixel, or asymmetric with floor")
    view = patches([Axis(size, zoom=int(f)) for size, f in zip(sizes, factors[2:], strict=True)])
    if isinstance(x, Host):
        return hosted(x, view, x.shape[1], lambda maps: next(view.each_tap(maps)))
    return moved(at, o, x, view)


def source(i: Ints, size: int, factor: int, coordinates: str, rounding: str) -> Array:
    """Return from which element the elements `i` of a resized axis come."""
    x = {"half_pixel": (i + 0.5) / factor - 0.5, "pytorch_half_pixel": (i + 0.5) / factor - 0.5,
         "asymmetric": i / factor, "tf_half_pixel_for_nn": (i + 0.5) / factor,
         "align_corners": i * (size - 1) / max(size * factor - 1, 1)}.get(coordinates, i - 1.0)
    nearest: Array = {"floor": np.floor(x), "ceil": np.ceil(x), "round_prefer_ceil":
                      np.floor(x + 0.5)}.get(rounding, np.ceil(x - 0.5))
    return nearest.clip(0, size - 1)


def concat(at: Interpreter, o: Operation, *xs: Value) -> Value:
    """Concat of constants, on the host, or of streams along any axis."""
    axis = axis_of(o.required("axis", 0), len(xs[0].shape))
    if len({(*x.shape[:axis], *x.shape[axis + 1:]) for x in xs}) > 1:
        shapes = " and ".join(str(x.shape) for x in xs)
        raise UnsupportedError(f"joins shapes {shapes}; accepted: equal but for axis {axis}")
    check_size((sum(x.shape[axis] for x in xs), *xs[0].shape[:axis], *xs[0].shape[axis + 1:]))
    constants = [x.array for x in xs if isinstance(x, Constant)]
    if len(constants) == len(xs):
        return Constant(np.concatenate(constants, axis))
    hosts = [body(x) for x in xs if isinstance(x, Host)]
    if len(hosts) == len(xs):
        shape = tuple(np.concatenate([np.empty(x.shape, bool) for x in xs], axis).shape)
        return Host(shape, lambda v: np.concatenate([x.run(v) for x in hosts], axis + 1))
    streams = [x for x in xs if isinstance(x, Stream)]
    if len(streams) < len(xs):
        raise UnsupportedError("joins streams with constants or values before the first quantizer; "
                               "accepted: Quant before it")
    return joined(at, o, streams, axis)


def joined(at: Interpreter, o: Operation, xs: list[Stream], axis: int) -> Stream:
    """Return streams joined along an axis of the file, on an edge joined along its channels."""
    builder = at.builder
    xs = [builder.settled(x) for x in xs]
    if len({x.lattice.step for x in xs}) > 1:
        for x in xs:
            at.took(x, f"folded into the input of {o.name}")
        xs = [x if x.lattice.step == 1 else builder.plain(builder.exact(x, o.name), o.name)
              for x in xs]
    edges = [x.edge for x in xs]
    if len({builder.types[e].shape[:-1] for e in edges}) > 1:
        edges = [builder.flat(x, o.name)[0] for x in xs]
    widths = [builder.types[e].channels for e in edges]
    starts = np.cumsum([0, *widths]).tolist()
    edge = builder.add(o.name, Concatenate(), *edges)
    places = np.concatenate([x.places // width * starts[-1] + start + x.places % width
                             for x, width, start in zip(xs, widths, starts, strict=False)], axis)
    cuts = np.cumsum([x.shape[axis] for x in xs])[:-1]
    common = list(np.broadcast_shapes(*((*x.grain[:axis], 1, *x.grain[axis + 1:]) for x in xs)))

    def of_all(values: list[Array]) -> Array:
        return np.concatenate([np.broadcast_to(v, (*common[:axis], x.shape[axis],
                                                   *common[axis + 1:]))
                               for v, x in zip(values, xs, strict=True)], axis)

    def run(q: Ints) -> Array:
        parts = np.split(q, cuts, axis + 1)
        return np.concatenate([x.run(part) for x, part in zip(xs, parts, strict=True)], axis + 1)

    lattice = Lattice(of_all([x.lattice.scale for x in xs]), xs[0].lattice.step,
                      of_all([x.lattice.offset for x in xs]))
    at.rules[o.index] = "join"
    whole_ = builder.stream(edge, places, lattice)
    if all(x.is_exact for x in xs):
        return whole_
    return replace(whole_, run=run, pending=tuple(p for x in xs for p in x.pending))


def channels_last(rule: Callable[..., Value]) -> Callable[..., Value]:
    """Return the rule of an operator whose maps, and weights, have their channels last."""
    def transposing(at: Interpreter, o: Operation, x: Value, *operands: Value) -> Value:
        rank = len(x.shape)
        if rank < 3:
            raise UnsupportedError(f"reads activations of shape {x.shape}; accepted: (1, rows, "
                                   "columns, channels)")
        first, last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
        if rule is conv:
            operands = (transposed(operands[0], first), *operands[1:])
        return transposed(rule(at, o, transposed(x, first), *operands), last)

    return transposing


MAP_RULES: dict[str, Callable[..., Value]] = {
    "AveragePool": average_pool,
    "Concat": concat,
    "Conv": conv,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "MaxPoolNHWC": channels_last(max_pool),
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Resize": resize,
    "Upsample": resize,
    f"{CHANNELS_LAST}.Conv": channels_last(conv),
    f"{CHANNELS_LAST}.MaxPool": channels_last(max_pool),
}
