"""Rules of the operators that only move elements, and of constants."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError, check_size
from bittern.gen.importers.onnx.elementwise import axis_of
from bittern.gen.importers.onnx.fusion import CARRIERS
from bittern.gen.importers.onnx.graph import numbered
from bittern.gen.importers.onnx.parameters import quantization
from bittern.gen.importers.onnx.values import Constant, Host, Pair, Stream, Value
from bittern.gen.layers.channels import Channels
from bittern.gen.layers.concatenate import Concatenate
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx.arithmetic import Quantization
    from bittern.gen.importers.onnx.interpreter import Interpreter
    from bittern.gen.importers.onnx_file import Array, Operation
    from bittern.hw.ints import Ints

__all__ = ["MOVE_RULES", "integers_of", "plain"]


def integers_of(value: Value | None, what: str) -> list[int]:
    """Return the elements of a constant that must be a few integers."""
    if not isinstance(value, Constant) or value.dtype.kind not in "iu" or value.array.size > 32:
        raise UnsupportedError(f"its {what} {'is left out' if value is None else 'is computed'}, or"
                               " not a few integers; accepted: a constant")
    return [int(i) for i in value.array.ravel()]


def plain(x: Stream) -> Stream:
    """Return a stream whose function is the same for all elements."""
    if x.width:
        raise UnsupportedError("its input differs by channel and is not quantized; accepted: "
                               "QuantizeLinear before it")
    return x


def rearranged(o: Operation, x: Value, function: Callable[[Array, int], Array]) -> Value:
    """Apply a function that moves all axes of an array but the first so many."""
    if isinstance(x, Constant):
        codes = x.codes
        if codes is not None:
            same = codes.scale.size == codes.zero.size == 1 or o.op == "Transpose"
            codes = codes.moved(lambda a: function(a, 0) if a.size > 1 or o.op == "Transpose"
                                else a) if same else None
        return Constant(function(x.array, 0), codes)
    if isinstance(x, Stream | Pair):
        y = replace(x, places=function(x.places, 0), pending=(*x.pending, o.index),
                    unit=x.unit and replace(x.unit, moved=True, biased=None))
        if o.op in CARRIERS:
            return y
        return replace(y, unit=None, source=None) if isinstance(y, Stream) else (
            replace(y, unit=None))
    run = x.run
    shape = function(np.empty((0, *x.shape), bool), 1).shape[1:]
    if isinstance(x, Host):
        return Host(shape, lambda v: function(run(v), 1))
    return replace(x, shape=shape, run=lambda q: function(run(q), 1), unit=None,
                   pending=(*x.pending, o.index))


def reshaped(o: Operation, x: Value, shape: tuple[int, ...]) -> Value:
    """Return `x` in another shape of the same size."""
    if prod(shape) != prod(x.shape):
        raise UnsupportedError(f"cannot give shape {x.shape} the shape {shape}")
    return rearranged(o, x, lambda a, lead: a.reshape(a.shape[:lead] + shape))


def reshape(_self: Interpreter, o: Operation, x: Value, target: Value) -> Value:
    """Reshape, with 0 for "as before" and -1 for "the rest"."""
    shape = integers_of(target, "shape")
    if not o.attribute("allowzero", 0):
        shape = [x.shape[i] if n == 0 and i < len(x.shape) else n for i, n in enumerate(shape)]
    if shape.count(-1) == 1:
        rest = -prod(shape)
        if rest <= 0 or prod(x.shape) % rest:
            raise UnsupportedError(f"cannot give shape {x.shape} the shape {shape}")
        shape[shape.index(-1)] = prod(x.shape) // rest
    if min(shape, default=1) < 0:
        raise UnsupportedError(f"has the shape {shape}; accepted: one -1 at most")
    return reshaped(o, x, tuple(shape))


def flatten(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Flatten to two dimensions."""
    axis, rank = o.attribute("axis", 1), len(x.shape)
    axis = axis if axis == rank else axis_of(axis, rank)
    return reshaped(o, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def axes_of(o: Operation, axes: Value | None, default: list[int]) -> list[int]:
    """Return the axes: an input, before some operator set an attribute."""
    if axes is not None:
        return integers_of(axes, "axes")
    given: list[int] = o.attribute("axes", default)
    return given


def squeeze(_self: Interpreter, o: Operation, x: Value, axes: Value | None = None) -> Value:
    """Remove dimensions of 1."""
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    gone = {axis_of(a, len(x.shape)) for a in axes_of(o, axes, ones)}
    if not gone <= set(ones):
        raise UnsupportedError(f"squeezes axes {sorted(gone)} of shape {x.shape}; accepted: axes "
                               "of 1")
    return reshaped(o, x, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def unsqueeze(_self: Interpreter, o: Operation, x: Value, axes: Value | None = None) -> Value:
    """Insert dimensions of 1."""
    where = axes_of(o, axes, [])
    rank = len(x.shape) + len(where)
    shape = list(x.shape)
    for axis in sorted(axis_of(a, rank) for a in where):
        shape.insert(axis, 1)
    return reshaped(o, x, tuple(shape))


def transpose(_self: Interpreter, o: Operation, x: Value) -> Value:
    """Transpose: elements stay where they are, under other numbers."""
    rank = len(x.shape)
    order = o.attribute("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise UnsupportedError(f"has the permutation {order} for shape {x.shape}")
    return rearranged(o, x, lambda a, lead: a.transpose(*range(lead), *(i + lead for i in order)))


def identity(_self: Interpreter, _o: Operation, x: Value, *_rest: Value | None) -> Value:
    """Identity, and Dropout, which does nothing in inference."""
    return x


def literal(_self: Interpreter, o: Operation) -> Value:
    """Constant: one of the attributes is the value."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in o.attributes:
            value = o.attributes[name]
            if name == "value":
                return Constant(o.attribute("value", np.empty(0)))
            return Constant(np.array(value, np.float32 if "float" in name else np.int64))
    raise UnsupportedError("has no value; accepted: a tensor, floats or integers")


def shape_of(_self: Interpreter, _o: Operation, x: Value) -> Value:
    """Shape."""
    return Constant(np.array(x.shape, np.int64))


def gather(_self: Interpreter, o: Operation, x: Value, indices: Value) -> Value:
    """Gather of a constant."""
    if not isinstance(x, Constant) or not isinstance(indices, Constant):
        raise UnsupportedError("chooses among activations; accepted: constants, and Slice of "
                               "activations")
    axis = axis_of(o.attribute("axis", 0), len(x.shape))
    if indices.dtype.kind not in "iu" or indices.array.size * x.array.size > LARGEST:
        raise UnsupportedError(f"has {indices.array.size} indices of type {indices.dtype}; "
                               "accepted: a few integers")
    return Constant(np.take(x.array, indices.array, axis))


def expand(_self: Interpreter, _o: Operation, x: Value, target: Value) -> Value:
    """Expand, where it changes nothing."""
    shape = np.broadcast_shapes(x.shape, tuple(integers_of(target, "shape")))
    if isinstance(x, Constant):
        check_size(shape)
        return Constant(np.broadcast_to(x.array, shape))
    if shape != x.shape:
        raise UnsupportedError(f"repeats elements: shape {x.shape} becomes {shape}; accepted: the "
                               "same shape")
    return x


# Parts, and what is put together


def axis_last(self: Interpreter, x: Stream, axis: int, name: str) -> Stream:
    """Return `x` on an edge with an axis of the file last."""
    order = np.moveaxis(numbered(x.shape), axis, -1)
    space = [n for n in order.shape[:-1] if n > 1]
    if len(space) > 2:
        raise UnsupportedError(f"has a tensor of shape {x.shape}; accepted: two axes and channels")
    ones = [1] * (2 - len(space)) if space else []
    return self.builder.arranged(x, order.reshape(*ones, *space, -1), name)


def places_of(shape: tuple[int, ...], axis: int) -> Ints:
    """Return the places of a tensor on an edge that has an axis of the file last."""
    moved = np.moveaxis(np.empty(shape, bool), axis, -1).shape
    return np.moveaxis(numbered(moved), -1, axis)


def part(self: Interpreter, o: Operation, x: Stream, axis: int, chosen: range,
         name: str) -> Stream:
    """Return some indices of an axis."""
    size = x.shape[axis]
    if len(chosen) == size and chosen.step == 1:
        return x
    if not len(chosen) or chosen.step < 0:
        raise UnsupportedError(f"chooses {chosen} of {size}; accepted: at least one, in order")
    shape = tuple(len(chosen) if i == axis else n for i, n in enumerate(x.shape))
    self.rules[o.index] = "a part"
    if axis >= 2 and len(x.shape) in (3, 4) and x.shape[0] == 1 and is_map(self, x):
        x = self.builder.map(x, name)
        spatial = [Axis(n) if i != axis else Axis(
            n, stride=chosen.step, before=-chosen.start, after=chosen[-1] + 1 - n)
            for i, n in enumerate(x.shape)][2:]
        rows, columns = [Axis(1), *spatial][-2:]
        return self.builder.windowed(x, Patches(rows, columns), shape, name)
    if chosen.step > 1:
        raise UnsupportedError(f"takes every {chosen.step}th index of axis {axis}; accepted: of "
                               "rows and columns")
    x = axis_last(self, plain(x), axis, name)
    edge = self.builder.append(name, Channels(chosen.start, chosen[-1] + 1), x.edge,
                               format_=self.builder.formats[x.edge])
    return replace(x, edge=edge, places=places_of(shape, axis))


def is_map(self: Interpreter, x: Stream) -> bool:
    """Return whether the elements of ``(1, channels, …)`` are in the order of a map."""
    order = np.moveaxis(numbered(x.shape[1:]), 0, -1)
    return self.builder.is_free(x) or np.array_equal(
        self.builder.where(x).ravel()[order.ravel()], np.arange(order.size))


def slice_(self: Interpreter, o: Operation, x: Value, starts: Value, ends: Value,
           axes: Value | None = None, steps: Value | None = None) -> Value:
    """Slice."""
    first, last = integers_of(starts, "starts"), integers_of(ends, "ends")
    where = [axis_of(a, len(x.shape)) for a in (
        integers_of(axes, "axes") if axes is not None else range(len(first)))]
    by = integers_of(steps, "steps") if steps is not None else [1] * len(first)
    if 0 in by:
        raise UnsupportedError("has a step of 0")
    chosen = {axis: slice(start, None if step < 0 and stop < -LARGEST else stop, step)
              for axis, start, stop, step in zip(where, first, last, by, strict=True)}
    index = tuple(chosen.get(i, slice(None)) for i in range(len(x.shape)))
    if isinstance(x, Constant | Host):
        return rearranged(o, x, lambda a, lead: a[(slice(None),) * lead + index])
    x = self.stream(x)
    unit = x.unit
    for axis, s in sorted(chosen.items()):
        x = part(self, o, x, axis, range(*s.indices(x.shape[axis])), o.name)
    return replace(x, unit=unit and replace(unit, moved=True, biased=None),
                   pending=(*x.pending, o.index))


def split(self: Interpreter, o: Operation, x: Value, sizes: Value | None = None
          ) -> tuple[Value, ...]:
    """Split."""
    axis, count = axis_of(o.attribute("axis", 0), len(x.shape)), len(o.outputs)
    length = x.shape[axis]
    each = -(-length // o.attribute("num_outputs", count))
    parts = integers_of(sizes, "split") if sizes is not None else o.attribute(
        "split", [each] * (count - 1) + [length - each * (count - 1)])
    if len(parts) != count or sum(parts) != length or min(parts, default=0) < 1:
        raise UnsupportedError(f"has parts {parts[:8]} of {length} for {count} outputs")
    stream = self.stream(x)
    self.rules[o.index] = "parts"
    return tuple(
        replace(part(self, o, stream, axis, range(end - size, end), f"{o.name}_{k}"),
                source=None, unit=None, pending=(*stream.pending, o.index))
        for k, (size, end) in enumerate(zip(parts, accumulate(parts), strict=True)))


def concat(self: Interpreter, o: Operation, *xs: Value) -> Value:
    """Concat."""
    axis = axis_of(o.required("axis", 0), len(xs[0].shape))
    if all(isinstance(x, Constant) for x in xs):
        if sum(prod(x.shape) for x in xs) > LARGEST:
            raise UnsupportedError(f"makes a tensor of more than {LARGEST} elements")
        return Constant(np.concatenate([x.array for x in xs if isinstance(x, Constant)], axis))
    streams = [plain(self.stream(x)) for x in xs]
    if len({s.dtype for s in streams}) > 1:
        raise UnsupportedError("joins tensors of different types")
    if streams[0].dtype != np.float32:
        return concatenated(self, o, [self.integers(s, o) for s in streams], axis)
    stored = {s.source.stored if s.source else None for s in streams}
    to = next(iter(stored))
    if len(stored) > 1 or to is None:
        to = self.quantized_as(o.outputs[0])
        if to is None:
            raise UnsupportedError("joins numbers of different scales; accepted: QuantizeLinear "
                                   "directly behind it")
        streams = each_as(self, o, streams, to)
    joined = concatenated(self, o, streams, axis)
    return replace(joined, run=to.floats, dtype=np.dtype(np.float32))


def each_as(self: Interpreter, o: Operation, streams: list[Stream],
            to: Quantization) -> list[Stream]:
    """Return streams as integers of one quantization."""
    return [self.closed(o, s, lambda q, s=s: to.codes(s.function(q)), # type: ignore[misc]
                        to, f"{o.name}_input{k}") for k, s in enumerate(streams)]


def concatenated(self: Interpreter, o: Operation, streams: list[Stream], axis: int) -> Stream:
    """Put the integers of streams side by side."""
    first, name = streams[0].shape, o.name
    if any(len(s.shape) != len(first) or s.shape[:axis] != first[:axis]
           or s.shape[axis + 1:] != first[axis + 1:] for s in streams):
        raise UnsupportedError(f"joins shapes {', '.join(str(s.shape) for s in streams[:4])}; "
                               "accepted: equal ones, but for the axis")
    shape = (*first[:axis], sum(s.shape[axis] for s in streams), *first[axis + 1:])
    check_size(shape)
    flat = prod(shape[:axis]) == 1 and not (
        len(shape) in (3, 4) and axis == 1 and all(is_map(self, s) for s in streams))
    placed = [self.builder.flat(s, name) if flat else axis_last(self, s, axis, name)
              for s in streams]
    places = places_of(shape, axis)
    if flat:
        ends = accumulate(s.places.size for s in placed)
        places = np.concatenate([self.builder.where(s) + end - s.places.size
                                 for s, end in zip(placed, ends, strict=True)], axis)
    edge = self.builder.append(name, Concatenate(), *(s.edge for s in placed),
                               format_=self.builder.formats[placed[0].edge])
    for s in streams:
        self.took(s, f"folded into {name}")
    self.rules[o.index] = "concatenate"
    return Stream(edge, places, streams[0].dtype, streams[0].run)


def qlinear_concat(self: Interpreter, o: Operation, y_scale: Value, y_zero: Value,
                   *xs: Value) -> Value:
    """QLinearConcat."""
    to = quantization(y_scale, y_zero)
    streams = [plain(self.stream(self.dequantize_stored(o, *xs[k:k + 3])))
               for k in range(0, len(xs), 3)]
    axis = axis_of(o.required("axis", 0), len(streams[0].shape))
    return concatenated(self, o, each_as(self, o, streams, to), axis)


MOVE_RULES: dict[str, Callable[..., Value | tuple[Value, ...]]] = {
    "Concat": concat,
    "Constant": literal,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": identity,
    "Reshape": reshape,
    "Shape": shape_of,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "com.microsoft.QLinearConcat": qlinear_concat,
}
