"""Rules of the operators that only move elements."""

from __future__ import annotations

from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.gen.importers.onnx_file import Array, Operation
from bittern.gen.importers.qonnx.values import Constant, Value, reshaped, transposed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHAPE_RULES", "axes_of", "axis_of", "constant", "known", "numbers"]


def known(value: Value | None, what: str) -> Constant:
    """Return a value that must be constant."""
    if value is None:
        raise UnsupportedError(f"has no {what}; accepted: a constant")
    if not isinstance(value, Constant):
        raise UnsupportedError(f"{what} depends on the network's input; accepted: a constant")
    return value


def constant(value: Value | None, what: str) -> Array:
    """Return the array of a value that must be constant."""
    return known(value, what).array


def numbers(value: Value | None, what: str) -> list[int]:
    """Return the elements of a constant that must be integers."""
    array = constant(value, what)
    if array.dtype.kind not in "iu" or array.size > 32:
        raise UnsupportedError(f"{what} has type {array.dtype} and {array.size} elements; "
                               "accepted: a few integers")
    return [int(i) for i in array.ravel()]


def axis_of(axis: int, rank: int) -> int:
    """Return a valid axis, counted from the front."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of {rank} dimensions")
    return axis % rank


def literal(o: Operation) -> Value:
    """Constant: one of the attributes is the value."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in o.attributes:
            value = o.attributes[name]
            if name == "value":
                return Constant(o.attribute("value", np.empty(0)))
            return Constant(np.array(value, np.float32 if "float" in name else np.int64))
    raise UnsupportedError("has no value; accepted: a tensor, floats or integers")


def identity(_o: Operation, x: Value) -> Value:
    """Identity."""
    return x


def dropout(_o: Operation, x: Value, _ratio: Value | None = None,
            training: Value | None = None) -> Value:
    """Dropout does nothing in inference."""
    if training is not None and constant(training, "training_mode").any():
        raise UnsupportedError("is in training mode; accepted: inference")
    return x


def cast(o: Operation, x: Value) -> Value:
    """Cast of constants; of activations only to what they are."""
    to = o.required("to", 1)
    if isinstance(x, Constant):
        if to not in helper.get_all_tensor_dtypes():
            raise UnsupportedError(f"casts to the unknown type {to}")
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(to))
        if dtype.kind not in "fiu":
            raise UnsupportedError(f"casts to {dtype}; accepted: integers and floats")
        return Constant(x.array.astype(dtype))
    if to != 1:
        raise UnsupportedError("casts activations to another type; accepted: float32")
    return x


def shape_of(_o: Operation, x: Value) -> Value:
    """Shape."""
    return Constant(np.array(x.shape, np.int64))


def gather(o: Operation, x: Value, indices: Value) -> Value:
    """Gather of a constant."""
    source, at = known(x, "data"), constant(indices, "indices")
    axis = axis_of(o.attribute("axis", 0), len(source.shape))
    if at.dtype.kind not in "iu" or at.size * source.array.size > LARGEST:
        raise UnsupportedError(f"has {at.size} indices of type {at.dtype}; accepted: a few "
                               "integers")
    return source.rearranged(lambda array: np.take(array, at, axis))


def slice_(o: Operation, x: Value, *bounds: Value | None) -> Value:
    """Slice of a constant; bounds are inputs from operator set 10 on, before that attributes."""
    source = known(x, "data")
    rank = len(source.shape)
    given = {name: numbers(bound, name) if bound is not None else o.attribute(name, [])
             for name, bound in zip_longest(("starts", "ends", "axes", "steps"), bounds)}
    starts = given["starts"]
    axes, steps = given["axes"] or range(len(starts)), given["steps"] or [1] * len(starts)
    index = [slice(None)] * rank
    for axis, start, stop, step in zip(axes, starts, given["ends"], steps, strict=True):
        before_all = step < 0 and stop < -LARGEST # how ONNX says "down to the first, included"
        index[axis_of(axis, rank)] = slice(start, None if before_all else stop, step)
    return source.rearranged(lambda array: array[tuple(index)])


def reshape(o: Operation, x: Value, target: Value) -> Value:
    """Reshape, with 0 for "as before" and -1 for "the rest"."""
    shape = numbers(target, "shape")
    if not o.attribute("allowzero", 0):
        shape = [x.shape[i] if n == 0 and i < len(x.shape) else n for i, n in enumerate(shape)]
    if shape.count(-1) == 1:
        rest = -prod(shape)
        if rest <= 0 or prod(x.shape) % rest:
            raise UnsupportedError(f"cannot give shape {x.shape} the shape {shape}")
        shape[shape.index(-1)] = prod(x.shape) // rest
    if min(shape, default=1) < 0:
        raise UnsupportedError(f"has the shape {shape}; accepted: one -1 at most")
    return reshaped(x, tuple(shape))


def flatten(o: Operation, x: Value) -> Value:
    """Flatten to two dimensions."""
    axis, rank = o.attribute("axis", 1), len(x.shape)
    axis = axis if axis == rank else axis_of(axis, rank)
    return reshaped(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def axes_of(o: Operation, axes: Value | None, default: list[int] | None = None) -> list[int]:
    """Return the axes: an input from operator set 13 on, before that an attribute."""
    if axes is not None:
        return numbers(axes, "axes")
    return o.required("axes", [0]) if default is None or "axes" in o.attributes else default


def squeeze(o: Operation, x: Value, axes: Value | None = None) -> Value:
    """Remove dimensions of 1."""
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    gone = {axis_of(a, len(x.shape)) for a in axes_of(o, axes, ones)}
    if not gone <= set(ones):
        raise UnsupportedError(f"squeezes axes {sorted(gone)} of shape {x.shape}; accepted: axes "
                               "of 1")
    return reshaped(x, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def unsqueeze(o: Operation, x: Value, axes: Value | None = None) -> Value:
    """Insert dimensions of 1."""
    where = axes_of(o, axes)
    rank = len(x.shape) + len(where)
    shape = list(x.shape)
    for axis in sorted(axis_of(a, rank) for a in where):
        shape.insert(axis, 1)
    return reshaped(x, tuple(shape))


def transpose(o: Operation, x: Value) -> Value:
    """Transpose."""
    rank = len(x.shape)
    order = o.attribute("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise UnsupportedError(f"has the permutation {order} for shape {x.shape}")
    return transposed(x, order)


SHAPE_RULES: dict[str, Callable[..., Value]] = {
    "Cast": cast,
    "Constant": literal,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": identity,
    "Reshape": reshape,
    "Shape": shape_of,
    "Slice": slice_,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
