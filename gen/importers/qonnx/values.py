"""What a tensor of the file is to the importer: a constant, a value of the host, or a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["Constant", "Host", "Lattice", "Stream", "Value", "Variable", "body", "broadcast",
           "elementwise", "integers_of", "reshaped", "scaled", "transposed", "variable"]


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
    """A function for the host: of the network's input, or of what the graph gives.

    Parameters
    ----------
    shape : tuple[int, ...]
        As in the file.
    run : callable
        ``(frames, *input)`` floats, or if it is after a stream, ``(frames, *after.shape)``
        integers, to ``(frames, *shape)``.
    after : Stream, optional
        The network's output but for what the host computes of it (Softmax, ArgMax).
    """

    shape: tuple[int, ...]
    run: Callable[[Array], Array]
    after: Stream | None = None

    def then(self, shape: tuple[int, ...], function: Callable[[Array], Array]) -> Host:
        """Return `function` of this."""
        run = self.run
        return replace(self, shape=shape, run=lambda v: function(run(v)))


@dataclass(frozen=True, eq=False)
class Lattice:
    """Equally spaced values: ``scale * (step * q + offset)`` for the integers ``q`` of an edge.

    `scale` and `offset` broadcast to the shape of the tensor in the file.
    """

    scale: Array
    step: int
    offset: Ints

    @classmethod
    def multiples(cls, scale: Array) -> Lattice:
        """Return the multiples of `scale`."""
        return cls(scale, 1, np.zeros((1,) * scale.ndim, np.int64))

    def __call__(self, q: Ints) -> Array:
        """Return the values of integers ``(frames, *shape)``, rounded once."""
        value: Array = (self.scale * (self.step * q + self.offset)).astype(np.float32)
        return value

    def moved(self, function: Callable[[Array], Array]) -> Lattice:
        """Apply a function that moves elements."""
        return Lattice(function(self.scale), self.step, function(self.offset))

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
        Of the graph.
    places : array
        Of the shape in the file: where each element is in a frame of the edge, counted in raster
        order. Maps are channels last on edges; operators that only move elements change this.
    run : callable
        Integers ``(frames, *shape)`` to the reference's floats. Along axes where `grain` is 1 there
        may be more or fewer integers.
    grain : tuple[int, ...]
        Shape of the parameters in `run`: along axes of 1 all elements have the same function.
    lattice : Lattice
        What the integers stand for, before the operations in `run` that are not multiplications.
    pending : tuple[int, ...]
        Operations of the file that have no layer yet, for reports.
    """

    edge: str
    places: Ints
    run: Callable[[Ints], Array]
    grain: tuple[int, ...]
    lattice: Lattice
    pending: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.places.shape

    @property
    def is_exact(self) -> bool:
        """Whether the floats are the points of the lattice."""
        return self.run is self.lattice

    @property
    def functions(self) -> int:
        """How many different functions of integers `run` is at most."""
        return prod(self.grain)


Variable: TypeAlias = Host | Stream
Value: TypeAlias = Constant | Host | Stream


def variable(x: Value) -> Variable:
    """Return a value that depends on the input."""
    if isinstance(x, Constant):
        raise UnsupportedError("its first operand is a constant; accepted: activations")
    return x


def body(x: Variable) -> Variable:
    """Return `x`, unless only the host can go on."""
    if isinstance(x, Host) and x.after:
        raise UnsupportedError("comes after Softmax or ArgMax; accepted: these at the end only")
    return x


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


def reshaped(x: Value, shape: tuple[int, ...]) -> Value:
    """Return `x` in another shape of the same size."""
    if shape == x.shape:
        return x
    if prod(shape) != prod(x.shape):
        raise UnsupportedError(f"cannot give shape {x.shape} the shape {shape}")
    if isinstance(x, Constant):
        return x.rearranged(lambda array: array.reshape(shape))
    if isinstance(x, Host):
        return x.then(shape, lambda v: v.reshape(len(v), *shape))
    old, run, ones = x.shape, x.run, (1,) * len(x.shape)
    if x.functions == 1: # the elements may be anywhere
        lattice, grain = x.lattice.moved(lambda array: array.reshape(())), (1,) * len(shape)

        def moved(q: Ints) -> Array:
            return run(q.reshape(-1, *ones)).reshape(q.shape)
    else:
        lattice = x.lattice.moved(lambda array: np.broadcast_to(array, old).reshape(shape))
        grain = shape

        def moved(q: Ints) -> Array:
            return run(q.reshape(len(q), *old)).reshape(q.shape)

    return replace(x, places=x.places.reshape(shape), grain=grain, lattice=lattice,
                   run=lattice if x.is_exact else moved)


def transposed(x: Value, order: Sequence[int]) -> Value:
    """Return `x` with its axes in another order."""
    shape = tuple(x.shape[i] for i in order)
    if isinstance(x, Constant):
        return x.rearranged(lambda array: array.transpose(order))
    axes = (0, *(i + 1 for i in order))
    if isinstance(x, Host):
        return x.then(shape, lambda v: v.transpose(axes))
    run, grain, back = x.run, x.grain, np.argsort(axes)
    lattice = x.lattice.moved(lambda array: np.broadcast_to(array, grain).transpose(order))

    def moved(q: Ints) -> Array:
        return run(q.transpose(back)).transpose(axes)

    return replace(x, places=x.places.transpose(order), lattice=lattice,
                   grain=tuple(grain[i] for i in order), run=lattice if x.is_exact else moved)


def elementwise(function: Callable[..., Array], *values: Value) -> Value:
    """Apply a function of arrays that broadcasts, now or later."""
    shape = broadcast(*values)
    constants = [v for v in values if isinstance(v, Constant)]
    if len(constants) == len(values):
        return Constant(np.asarray(function(*(v.array for v in constants))))
    variables = [v for v in values if not isinstance(v, Constant)]
    x = variables[0]
    if isinstance(x, Host) and all(isinstance(v, Host) and v.after is x.after for v in variables):
        def later(v: Array) -> Array:
            return function(*(value.array if isinstance(value, Constant) else aligned(value.run(v))
                              for value in values))

        def aligned(v: Array) -> Array: # the axis of frames stays in front of all the others
            return v.reshape(len(v), *(1,) * (len(shape) + 1 - v.ndim), *v.shape[1:])

        return Host(shape, later, x.after)
    if len(variables) > 1:
        raise UnsupportedError("combines two values that depend on the input; accepted: Add of "
                               "two quantized ones of the same scale")
    if prod(shape) != prod(x.shape):
        raise UnsupportedError(f"repeats elements: shape {x.shape} becomes {shape}; accepted: "
                               "constants that broadcast to the shape of the activations")
    stream = reshaped(x, shape)
    assert isinstance(stream, Stream)
    return replace(
        stream, grain=np.broadcast_shapes(stream.grain, *(c.shape for c in constants)),
        run=lambda q: function(*(v.array if isinstance(v, Constant) else stream.run(q)
                                 for v in values)))


def scaled(value: Value, factor: Value, function: Callable[[Array, Array], Array]) -> Value:
    """Return `value` with the scale that a multiplication by positive constants gives it."""
    if isinstance(value, Stream) and isinstance(factor, Constant) and (factor.array > 0).all():
        scale = function(value.lattice.scale, factor.array.astype(np.float64))
        return replace(value, lattice=replace(value.lattice, scale=scale))
    return value


def integers_of(weights: Constant) -> tuple[Ints, Array]:
    """Return the integers of weights ``(outputs, …)`` and the scale of each output."""
    outputs = weights.shape[0]
    if weights.integers is not None and weights.scale is not None:
        scale = weights.scale.reshape(outputs, -1)
        if (scale != scale[:, :1]).any():
            raise UnsupportedError("the scale of its weights differs by input; accepted: one "
                                   "scale, or one for each output")
        return weights.integers, scale[:, 0]
    if (np.abs(weights.array) > 2**15).any() or (weights.array != np.round(weights.array)).any():
        raise UnsupportedError("has float weights; accepted: weights out of Quant or "
                               "BipolarQuant, or integers of at most 16 bits")
    return weights.array.astype(np.int64), np.ones(outputs)
