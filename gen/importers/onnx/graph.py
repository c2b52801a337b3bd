"""The graph under construction, and where on its edges the elements of tensors are."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers import builder
from bittern.gen.importers.errors import LARGEST, UnsupportedError, check_size
from bittern.gen.importers.onnx.arithmetic import rounded_sum
from bittern.gen.importers.onnx.values import Pair, Stream
from bittern.gen.importers.sums import weighted_sum
from bittern.gen.importers.thresholds import fit
from bittern.gen.ir import INPUT, Layer, Tensor
from bittern.gen.layers.add import Add
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.multiply import Multiply
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.reshape import Reshape
from bittern.gen.layers.window import Window
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array

__all__ = ["Builder"]

BYTE = 2**8
"""Integers of which all results of a function are looked at: whether it falls, or does nothing…"""
TABLE = 2**16
"""…and also where there are at most so many results in all channels."""
WIDE_TABLE = 2**24
"""Results that are looked at where thresholds are the only way to compute the function."""
FRACTION = 44
"""Bits of a fraction that tables of addends may have."""


class Builder(builder.Builder):
    """A graph of streams.

    The order of the elements of the network's input is left to the first layer that reads it: until
    then, the input's edge is flat, and `spots` is None. The places of streams on that edge are
    always those in the file; `spots` has, for each of them, the place on the edge. For a layer that
    takes any order, `channel_axis` of the input comes last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spots: Ints | None = None
        self.input_shape: tuple[int, ...] = ()
        self.channel_axis = 1
        self.formats: dict[str, str] = {}

    def append(self, name: str, layer: Layer, *inputs: str, format_: str) -> str:
        """Add a layer whose integers stand for what `format_` says."""
        edge = self.add(name, layer, *inputs)
        tensor = self.types[edge]
        check_size(tensor.shape)
        if max(-tensor.lo, tensor.hi) >= 2**31 and isinstance(layer, Dense | Depthwise):
            raise UnsupportedError("its sums do not fit in 32 bits, in which the reference computes"
                                   "; accepted: fewer inputs, or a smaller bias")
        self.formats[edge] = format_
        return edge

    # Places

    def open(self, count: int, lo: int, hi: int, format_: str) -> None:
        """Make the input of the graph."""
        check_size((count,))
        self.types[INPUT] = Tensor((count,), lo, hi)
        self.formats[INPUT] = format_

    def where(self, x: Stream | Pair) -> Ints:
        """Return the places of the elements of a tensor on its edge."""
        if isinstance(x, Pair) or x.edge != INPUT or self.spots is None:
            return x.places
        return self.spots[x.places]

    def is_free(self, x: Stream) -> bool:
        """Return whether the elements of an edge can be put into any order."""
        return x.edge == INPUT and self.spots is None

    def bind(self, order: Ints) -> None:
        """Give the edge of the input the shape of `order`, with these elements of the file."""
        self.spots = np.empty(order.size, np.int64)
        self.spots[order.ravel()] = np.arange(order.size)
        self.types[INPUT] = replace(self.types[INPUT], shape=order.shape)

    def arranged(self, x: Stream, order: Ints, name: str) -> Stream:
        """Return `x` on an edge of the shape of `order`, with the elements of these numbers."""
        if self.is_free(x):
            self.bind(x.places.ravel()[order])
            return x
        if not np.array_equal(self.where(x).ravel()[order.ravel()], np.arange(order.size)):
            raise UnsupportedError(
                f"reads activations of shape {x.shape} in another order than that they are made in;"
                " accepted: as (1, channels, rows, columns) throughout, Flatten before Gemm")
        return self.reshaped(x, order.shape, name)

    def reshaped(self, x: Stream, shape: tuple[int, ...], name: str) -> Stream:
        """Return `x` on an edge of another shape, in the same order."""
        before = self.types[x.edge].shape
        if shape == before:
            return x
        run = x.run
        if x.width and run is not None:
            inner = run

            def run(q: Ints) -> Array: # parameters are those of the shape before
                return inner(q.reshape(len(q), *before)).reshape(len(q), *shape)

        edge = self.append(f"{name}_shape", Reshape(shape), x.edge, format_=self.formats[x.edge])
        return replace(x, edge=edge, places=self.where(x), run=run, width=shape if x.width else ())

    def flat(self, x: Stream, name: str) -> Stream:
        """Return `x` on an edge without rows and columns."""
        if self.is_free(x):
            return self.arranged(x, np.arange(x.places.size), name)
        return self.reshaped(x, (x.places.size,), name)

    def map(self, x: Stream, name: str) -> Stream:
        """Return `x`, of shape ``(1, channels, [rows,] columns)``, with channels last."""
        if len(x.shape) not in (3, 4) or x.shape[0] != 1:
            raise UnsupportedError(f"its input has shape {x.shape}; accepted: (1, channels, rows, "
                                   "columns) or (1, channels, columns)")
        order = np.moveaxis(numbered(x.shape[1:]), 0, -1)
        return self.arranged(x, order if order.ndim == 3 else order[np.newaxis], name)

    def vectors(self, x: Stream, name: str) -> tuple[Stream, Ints]:
        """Return `x` with the last axis of its shape last on the edge, and the places in it."""
        length = x.shape[-1]
        if x.places.size == length:
            x = self.flat(x, name)
            return x, self.where(x).ravel()
        order = numbered((1, x.places.size // length, length))
        if self.is_free(x):
            x = self.arranged(x, order, name)
        first = self.where(x).reshape(-1, length)[0]
        places = first - first.min()
        return self.arranged(x, order[..., np.argsort(places)], name), places

    def settled(self, x: Stream, name: str) -> Stream:
        """Return `x` with its edge in an order: a map if the input has the shape of one."""
        shape = self.input_shape
        if self.is_free(x) and len(shape) in (3, 4) and shape[0] == 1 and (
                prod(shape) == x.places.size):
            order = np.moveaxis(numbered(shape[1:]), self.channel_axis - 1, -1)
            self.bind(order if order.ndim == 3 else order[np.newaxis])
        return self.flat(x, name) if self.is_free(x) else x

    def spread(self, x: Stream, parameter: Array) -> Array:
        """Return a parameter in the order of the edge of `x`: one, one for each channel, or all."""
        if parameter.size == 1:
            return parameter.reshape(())
        shape = np.broadcast_shapes(parameter.shape, x.shape)
        if prod(shape) != x.places.size:
            raise UnsupportedError(f"repeats elements: shape {x.shape} becomes {shape}; accepted: "
                                   "constants that broadcast to the shape of the activations")
        edge = self.types[x.edge].shape
        values = np.empty(x.places.size, parameter.dtype)
        values[self.where(x).ravel()] = np.broadcast_to(
            parameter, shape).reshape(x.shape).ravel()
        rows = values.reshape(-1, edge[-1])
        if (rows == rows[0]).all():
            return rows[0] if (rows[0] != rows[0, 0]).any() else rows[0, :1].reshape(())
        return values.reshape(edge)

    def expanded(self, x: Stream, shape: tuple[int, ...], name: str) -> Stream:
        """Return `x` repeated over rows and columns, as broadcasting to `shape` does."""
        if x.shape == shape:
            return x
        full = (1,) * (len(shape) - len(x.shape)) + x.shape
        if len(shape) not in (3, 4) or full[1] != shape[1] or set(full[2:]) != {1}:
            raise UnsupportedError(f"repeats elements: shape {x.shape} becomes {shape}; accepted: "
                                   "of maps (1, channels, 1, 1)")
        x = self.map(replace(x, places=x.places.reshape(full)), name)
        rows, columns = (1, *shape[2:])[-2:]
        edge = self.append(f"{name}_repeat", Window(Patches(Axis(1, zoom=rows),
                                                            Axis(1, zoom=columns))),
                           x.edge, format_=self.formats[x.edge])
        return replace(x, edge=edge, places=in_order(shape))

    def aligned(self, x: Stream, y: Stream, name: str) -> tuple[Stream, Stream]:
        """Return two streams of one shape on edges with their elements in the same places."""
        shape = np.broadcast_shapes(x.shape, y.shape)
        check_size(shape)
        x, y = (self.expanded(v, shape, name) for v in (x, y))
        if self.is_free(y):
            y, x = self.follow(y, x, name)
        else:
            x, y = self.follow(x, y, name)
        return x, self.reshaped(y, self.types[x.edge].shape, name)

    def follow(self, x: Stream, y: Stream, name: str) -> tuple[Stream, Stream]:
        """Put the elements of `x` where those of `y` are, if they have no order yet."""
        if self.is_free(x):
            y = self.settled(y, name)
            if self.is_free(x):
                order = np.argsort(self.where(y), axis=None)
                x = self.arranged(x, order.reshape(self.types[y.edge].shape), name)
        if not np.array_equal(self.where(x), self.where(y)):
            raise UnsupportedError("its operands have their elements in different orders; accepted:"
                                   " the same Transpose and Reshape before both")
        return x, y

    # Layers

    def convolve(self, x: Stream, patches: Patches, weights: Ints, bias: Ints, groups: int,
                 name: str, format_: str) -> str:
        """Append a convolution by weights ``(outputs, rows, columns, inputs / groups)``."""
        channels = self.types[x.edge].channels
        outputs = len(weights)
        if weights.shape[-1] == 1 and groups == channels > 1:
            return self.append(name, Depthwise(patches, frozen(weights.reshape(outputs, -1)),
                                               frozen(bias)), x.edge, format_=format_)
        taps = patches.taps
        if outputs * taps * channels > LARGEST:
            raise UnsupportedError(f"has {outputs * taps * channels} weights; accepted: {LARGEST}")
        full = np.zeros((outputs, taps, channels), np.int64)
        size, each = channels // groups, outputs // groups
        for g in range(groups):
            full[g * each:(g + 1) * each, :, g * size:(g + 1) * size] = weights[
                g * each:(g + 1) * each].reshape(each, taps, size)
        edge = x.edge
        if not is_identity(patches):
            edge = self.append(f"{name}_window", Window(patches), edge,
                               format_=self.formats[x.edge])
        return self.append(name, Dense(frozen(full.reshape(outputs, -1)), frozen(bias)), edge,
                           format_=format_)

    def windowed(self, x: Stream, patches: Patches, shape: tuple[int, ...], name: str) -> Stream:
        """Return what windows of one element see on the map of `x`, with the shape of the file."""
        edge = self.append(name, Window(patches), x.edge, format_=self.formats[x.edge])
        return replace(x, edge=edge, places=in_order(shape))

    def requantize(self, x: Stream, function: Callable[[Array], Ints], name: str,
                   format_: str) -> str:
        """Append `function` of the integers of `x`; it takes them in the shape of its width.

        These are thresholds, a table if it falls, or nothing if it changes nothing.
        """
        x = self.settled(x, name)
        tensor, size = self.types[x.edge], prod(x.width)

        def columns(q: Ints) -> Ints:
            return function(q.reshape(len(q), *x.width)).reshape(q.shape)

        span = tensor.hi - tensor.lo + 1
        if size * BYTE > LARGEST:
            raise UnsupportedError(f"has {size} functions of its input; accepted: {LARGEST // BYTE}"
                                   ", one for each element at most")
        if span <= BYTE or span * size <= TABLE:
            q = np.arange(tensor.lo, tensor.hi + 1)[:, np.newaxis]
            table = columns(q + np.zeros(size, np.int64))
            if (table == q).all():
                return x.edge
            if (np.diff(table, axis=0) < 0).any():
                return self.append(name, Requantize(Table(frozen(table.T), tensor.lo)), x.edge,
                                   format_=format_)
        elif not x.rises:
            if span * size > WIDE_TABLE:
                raise UnsupportedError(f"its input has {span} possible values; accepted: "
                                       "QuantizeLinear before it")
            least = np.full(size, np.iinfo(np.int64).min)
            rows = max(1, TABLE // size)
            for start in range(tensor.lo, tensor.hi + 1, rows):
                q = np.arange(start, min(start + rows, tensor.hi + 1))[:, np.newaxis]
                part = np.vstack([least, columns(q + np.zeros(size, np.int64))])
                if (part[1:] < part[:-1]).any():
                    raise UnsupportedError("falls somewhere; accepted: QuantizeLinear before it")
                least = part[-1]
        spec = fit(columns, tensor.lo, tensor.hi, size)
        return self.append(name, Requantize(spec), x.edge, format_=format_)

    def rising(self, x: Stream) -> bool:
        """Return whether the elements of `x` never fall with the integers on its edge."""
        tensor, size = self.types[x.edge], prod(x.width)
        if x.run is None or (tensor.hi - tensor.lo + 1) * size > TABLE:
            return x.rises
        q = np.arange(tensor.lo, tensor.hi + 1).reshape(-1, *(1 for _ in x.width))
        return bool((np.diff(x.run(q + np.zeros(x.width, np.int64)), axis=0) >= 0).all())

    def table(self, x: Stream, values: Ints, name: str, format_: str) -> str:
        """Append a table of the integers of `x`."""
        x = self.settled(x, name)
        spec = Table(frozen(values[np.newaxis]), self.types[x.edge].lo)
        return self.append(name, Requantize(spec), x.edge, format_=format_)

    def weighted(self, streams: tuple[Stream, Stream], terms: tuple[Array, Array],
                 then: Callable[[Array], Ints], name: str, format_: str) -> str:
        """Append `then` of the sum of two terms, which are tables of integers, rounded once."""
        lows = [self.types[s.edge].lo for s in streams]
        y = then(rounded_sum(terms[0][:, np.newaxis], terms[1]))
        if found := weighted_sum(y, *lows):
            total = self.append(f"{name}_sum", Add(found.factor0, found.factor1),
                                *(s.edge for s in streams), format_="a weighted sum")
            return self.append(name, Requantize(found.thresholds), total, format_=format_)
        for bits in range(FRACTION):
            tables = [np.rint((t - t.min()) * 2.0**bits).astype(np.int64) for t in terms]
            thresholds = separate(tables[0][:, np.newaxis] + tables[1], y)
            if thresholds is not None:
                edges = [self.table(s, t, f"{name}_scale{k}", "a fixed point number")
                         for k, (s, t) in enumerate(zip(streams, tables, strict=True))]
                total = self.append(f"{name}_sum", Add(), *edges, format_="a fixed point number")
                return self.append(name, Requantize(thresholds), total, format_=format_)
        raise UnsupportedError("its result does not rise with both operands; accepted: "
                               "QuantizeLinear directly behind it")

    def product(self, streams: tuple[Stream, Stream], zeros: tuple[int, int], y: Ints, name: str,
                format_: str) -> str:
        """Append a function `y` of two integers that is one of their product less zero points."""
        ranges = [np.arange(self.types[s.edge].lo, self.types[s.edge].hi + 1) - zero
                  for s, zero in zip(streams, zeros, strict=True)]
        thresholds = separate(ranges[0][:, np.newaxis] * ranges[1], y)
        if thresholds is None:
            raise UnsupportedError("its result is no function of the product of integers; accepted:"
                                   " QuantizeLinear directly behind it, and the same type for all")
        edge = self.append(f"{name}_product", Multiply(*zeros), *(s.edge for s in streams),
                           format_="a product")
        return self.append(name, Requantize(thresholds), edge, format_=format_)


def numbered(shape: tuple[int, ...]) -> Ints:
    """Return the numbers of the elements of a tensor."""
    return np.arange(prod(shape)).reshape(shape)


def in_order(shape: tuple[int, ...]) -> Ints:
    """Return the places of a map of shape ``(1, channels, …)`` on an edge with channels last."""
    channels, *space = shape[1:]
    return np.moveaxis(numbered((1, *space, channels)), -1, 1)


def is_identity(patches: Patches) -> bool:
    """Return whether each window sees the one element that is at its place."""
    return patches.taps == 1 and all(
        np.array_equal(a.elements.ravel(), np.arange(a.size)) for a in (patches.rows,
                                                                        patches.columns))


def separate(sums: Ints, y: Ints) -> Thresholds | None:
    """Return thresholds with which `y` is a function of `sums`, or None."""
    order = np.argsort(sums, axis=None, kind="stable")
    s, levels = sums.ravel()[order], y.ravel()[order]
    steps = np.diff(levels)
    if (steps < 0).any() or (steps[np.diff(s) == 0] != 0).any():
        return None
    first, last = int(levels[0]), int(levels[-1])
    wanted = np.arange(first, max(last, first + 1)) + 1
    values = np.append(s, s[-1] + 1)[np.searchsorted(levels, wanted)]
    return Thresholds(frozen(values[np.newaxis]), first)


def described(scale: Any, zero: int = 0) -> str:
    """Return in words what an integer `q` stands for."""
    scales = np.unique(np.asarray(scale, np.float64))
    low, high = scales[0], scales[-1]
    factor = f"{low:.9g}" if low == high else f"({low:.9g}..{high:.9g} per channel)"
    return f"{factor} * (q {'-' if zero > 0 else '+'} {abs(zero)})" if zero else f"{factor} * q"
