"""What a tensor of the file is to the importer: a constant, a value of the host, or a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["Constant", "Host", "Lattice", "Stream", "Value", "Variable", "broadcast", "elementwise"]


@dataclass(frozen=True, eq=False)
class Constant:
    """An array, and if a quantizer made it, the integers: ``array = scale * integers``."""

    array: Array
    integers: Ints | None = None
    scale: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.array.shape

    def rearranged(self, function: Callable[[Array], Array]) -> Constant:
        """Apply a function that only moves elements."""
        if self.integers is None or self.scale is None:
            return Constant(function(self.array))
        return Constant(function(self.array), function(self.integers), function(self.scale))


@dataclass(frozen=True, eq=False)
class Host:
    """A function of the input, for the host: ``(frames, *input)`` to ``(frames, *shape)``."""

    shape: tuple[int, ...]
    run: Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Equally spaced values: ``scale * (step * q + offset)`` for the integers ``q`` of an edge."""

    scale: Array
    step: int
    offset: Ints

    def __call__(self, q: Ints) -> Array:
        """Return the values of integers ``(frames, size)``, rounded once."""
        value: Array = (self.scale * (self.step * q + self.offset)).astype(np.float32)
        return value

    def __str__(self) -> str:
        low, high = self.scale.min(), self.scale.max()
        scale = f"{low:.9g}" if low == high else f"({low:.9g}..{high:.9g} per channel)"
        code = "q" if self.step == 1 else f"{self.step} * q"
        first, last = int(self.offset.min()), int(self.offset.max())
        if first != last:
            return f"{scale} * ({code} + ({first}..{last} per channel))"
        return f"{scale} * ({code} {'-' if first < 0 else '+'} {abs(first)})" if first else (
            f"{scale} * {code}")


@dataclass(frozen=True, eq=False)
class Stream:
    """Integers on an edge of the graph, and the floats they stand for.

    Parameters
    ----------
    edge : str
        Of the graph. Its tensors are flat; operators here never change the order of elements.
    shape : tuple[int, ...]
        As in the file.
    run : callable
        Integers ``(frames, size)`` to the reference's floats ``(frames, *shape)``.
    lattice : Lattice
        What the integers stand for, before `pending`; scaled by it where that is a multiplication.
    pending : tuple[int, ...]
        Operations of the file that `run` has after the lattice.
    tail : bool
        Whether an operator was met after which only the host can go on (Softmax, ArgMax).
    """

    edge: str
    shape: tuple[int, ...]
    run: Callable[[Ints], Array]
    lattice: Lattice
    pending: tuple[int, ...] = ()
    tail: bool = False

    @property
    def size(self) -> int:
        """Elements of a frame."""
        return self.lattice.offset.size


Variable: TypeAlias = Host | Stream
Value: TypeAlias = Constant | Host | Stream


def broadcast(*values: Value) -> tuple[int, ...]:
    """Return the common shape of `values`."""
    try:
        shape = np.broadcast_shapes(*(v.shape for v in values))
    except ValueError:
        shapes = " and ".join(str(v.shape) for v in values)
        raise UnsupportedError(f"shapes {shapes} do not broadcast") from None
    if prod(shape) > LARGEST:
        raise UnsupportedError(f"makes a tensor of shape {shape}; accepted: {LARGEST} elements")
    return shape


def elementwise(function: Callable[..., Array], *values: Value) -> Value:
    """Apply a function of arrays that broadcasts, now or later."""
    shape = broadcast(*values)
    if all(isinstance(v, Constant) for v in values):
        return Constant(np.asarray(function(*(v.array for v in values
                                              if isinstance(v, Constant)))))

    def run(x: Array) -> Array:
        arrays = []
        for value in values:
            if isinstance(value, Constant):
                arrays.append(value.array)
            else: # the axis of frames stays in front of all the others
                ones = (1,) * (len(shape) - len(value.shape))
                arrays.append(value.run(x).reshape(len(x), *ones, *value.shape))
        return function(*arrays)

    streams = [v for v in values if isinstance(v, Stream)]
    if not streams:
        return Host(shape, run)
    if len(streams) > 1 or any(isinstance(v, Host) for v in values):
        raise UnsupportedError("combines two values that depend on the input; accepted: Add of "
                               "two quantized ones of the same scale")
    if prod(shape) != prod(streams[0].shape):
        raise UnsupportedError(f"repeats elements: shape {streams[0].shape} becomes {shape}; "
                               "accepted: constants that broadcast to the shape of the "
                               "activations")
    return replace(streams[0], shape=shape, run=run)
