"""Rules of the operators that move nothing, and of those that compute shapes."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import UnsupportedError
from bittern.gen.importers.tflite.graph import Builder, Constant, Stream, Value, constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.tflite.file import Operation

__all__ = ["RULES"]


def shaped(x: Value, o: Operation, shape: tuple[int, ...]) -> Value:
    """Return `x` in another shape of the same size."""
    if prod(shape) != prod(x.shape) or not shape:
        raise UnsupportedError(f"cannot give shape {x.shape} the shape {shape}")
    if isinstance(x, Constant):
        return replace(x, array=x.array.reshape(shape))
    if isinstance(x, Stream):
        if x.quantization.type != o.output.type:
            raise UnsupportedError(f"goes from {x.quantization.type} to {o.output.type}")
        return Stream(x.edge, shape, o.output.quantization)
    return replace(x, shape=shape)


def reshape(_g: Builder, o: Operation, x: Value, target: Value | None = None) -> Value:
    """RESHAPE, with -1 for "the rest"."""
    numbers = o.options.get("NewShape", ()) if target is None else \
        [int(n) for n in constant(target, "shape").ravel()[:9]]
    shape = list(numbers)
    if shape.count(-1) == 1:
        rest = -prod(shape)
        if rest > 0 and prod(x.shape) % rest == 0:
            shape[shape.index(-1)] = prod(x.shape) // rest
    return shaped(x, o, tuple(shape))


def squeeze(_g: Builder, o: Operation, x: Value) -> Value:
    """SQUEEZE: of all dimensions of 1 if none are named."""
    rank = len(x.shape)
    gone = {d + rank if d < 0 else d for d in o.options.get("SqueezeDims", ())} or {
        i for i, n in enumerate(x.shape) if n == 1}
    return shaped(x, o, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def expand_dims(_g: Builder, o: Operation, x: Value, axis: Value) -> Value:
    """EXPAND_DIMS."""
    at, rank = int(constant(axis, "axis").ravel()[0]), len(x.shape) + 1
    if not -rank <= at < rank:
        raise UnsupportedError(f"has axis {at} for shape {x.shape}")
    shape = list(x.shape)
    shape.insert(at % rank, 1)
    return shaped(x, o, tuple(shape))


def transpose(_g: Builder, o: Operation, x: Value, order: Value) -> Value:
    """TRANSPOSE; of activations only where elements stay in order."""
    axes = [int(i) for i in constant(order, "permutation").ravel()[:9]]
    if sorted(axes) != [*range(len(x.shape))]:
        raise UnsupportedError(f"has the permutation {axes} for shape {x.shape}")
    if isinstance(x, Constant):
        return replace(x, array=x.array.transpose(axes))
    kept = [i for i in axes if x.shape[i] > 1]
    if kept != sorted(kept):
        raise UnsupportedError(f"changes the order of activations of shape {x.shape}; accepted: "
                               "moving dimensions of 1; convert the model with channels last")
    return shaped(x, o, tuple(x.shape[i] for i in axes))


def shape_of(_g: Builder, _o: Operation, x: Value) -> Constant:
    """SHAPE."""
    return Constant(np.array(x.shape, np.int64))


def pack(_g: Builder, o: Operation, *xs: Value) -> Constant:
    """PACK of constants."""
    return Constant(np.stack([constant(x, "operand") for x in xs], int(o.options["Axis"])))


RULES: dict[str, Callable[..., Any]] = {
    "EXPAND_DIMS": expand_dims,
    "PACK": pack,
    "RESHAPE": reshape,
    "SHAPE": shape_of,
    "SQUEEZE": squeeze,
    "TRANSPOSE": transpose,
}
