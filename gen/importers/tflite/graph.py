"""The graph under construction, and the values on its way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bittern.gen.importers import builder
from bittern.gen.importers.errors import LARGEST, UnsupportedError, check_size
from bittern.gen.importers.thresholds import fit
from bittern.gen.ir import INPUT, Layer, Tensor
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.reshape import Reshape
from bittern.gen.layers.window import Window
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.importers.tflite.arithmetic import Quantization
    from bittern.gen.importers.tflite.file import Array
    from bittern.hw.requant import Requant

__all__ = ["Builder", "Constant", "Host", "Stream", "Tail", "Value", "constant", "stream"]

SPAN, TABLE = 2**16, 2**22
"""Integers, and those of all channels together, of which a function is tabulated."""


@dataclass(frozen=True, eq=False)
class Constant:
    """Elements of a constant, and the quantization of its tensor where it has one."""

    array: Array
    quantization: Quantization | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.array.shape


@dataclass(frozen=True, eq=False)
class Host:
    """The input of the network, before it is quantized: floats, or integers of 8 bits."""

    shape: tuple[int, ...]
    quantization: Quantization | None = None


@dataclass(frozen=True, eq=False)
class Stream:
    """Integers on an edge of the graph, in the shape of the file, and what they stand for."""

    edge: str
    shape: tuple[int, ...]
    quantization: Quantization


@dataclass(frozen=True, eq=False)
class Tail:
    """The output of the network, after what the host does to an edge."""

    edge: str
    shape: tuple[int, ...]
    run: Callable[[Ints], NDArray[Any]]


Value: TypeAlias = Constant | Host | Stream | Tail


def stream(value: Value | None, what: str = "input") -> Stream:
    """Return a value that must be on the chip."""
    if isinstance(value, Stream):
        return value
    kind = {Constant: "is a constant", Host: "is not quantized; accepted: Quantize before it",
            Tail: "comes after the end of the quantized network"}.get(type(value), "is left out")
    raise UnsupportedError(f"its {what} {kind}" if ";" in kind else
                           f"its {what} {kind}; accepted: quantized activations")


def constant(value: Value | None, what: str) -> Array:
    """Return the elements of a value that must be constant."""
    if not isinstance(value, Constant):
        raise UnsupportedError(f"needs a constant for its {what}, not "
                               f"{'nothing' if value is None else 'a computed value'}")
    return value.array


def inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that an edge has for a tensor of the file: without the batch."""
    return shape[1:] if shape[0] == 1 and len(shape) > 1 else shape


class Builder(builder.Builder):
    """A graph of integers that stand for numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.formats: dict[str, str] = {}

    def append(self, name: str, layer: Layer, *inputs: str, scale: Any, zero: int = 0) -> str:
        """Add a layer whose integers stand for ``scale * (q - zero)``, by channel or all."""
        edge = self.add(name, layer, *inputs)
        check_size(self.types[edge].shape)
        self.note(edge, scale, zero)
        return edge

    def note(self, edge: str, scale: Any, zero: int) -> None:
        """Note what the integers of an edge stand for."""
        low, high = np.min(scale), np.max(scale)
        unit = f"{low:.9g}" if low == high else f"({low:.9g}..{high:.9g} per channel)"
        self.formats[edge] = f"{unit} * (q {'-' if zero > 0 else '+'} {abs(zero)})" if zero else (
            f"{unit} * q")

    def open(self, shape: tuple[int, ...], quantization: Quantization) -> Stream:
        """Make the input of the graph."""
        if INPUT in self.types:
            raise UnsupportedError("is the second Quantize of the network's input; accepted: one")
        self.types[INPUT] = Tensor(inner(shape), quantization.lo, quantization.hi)
        self.note(INPUT, quantization.scale, quantization.zero)
        self.input = quantization
        return Stream(INPUT, shape, quantization)

    def shaped(self, name: str, x: Stream, shape: tuple[int, ...] | None = None) -> str:
        """Return the edge of `x` in the shape it has in the file, or in another."""
        shape = inner(x.shape) if shape is None else shape
        if self.types[x.edge].shape == shape:
            return x.edge
        return self.append(f"{name}_shape", Reshape(shape), x.edge, scale=x.quantization.scale,
                           zero=x.quantization.zero)

    def map(self, name: str, x: Stream) -> tuple[str, Tensor]:
        """Return the edge of a map of rows, columns and channels, and its type."""
        if len(x.shape) != 4 or x.shape[0] != 1:
            raise UnsupportedError(f"its input has shape {x.shape}; accepted: (1, rows, columns, "
                                   "channels)")
        edge = self.shaped(name, x)
        return edge, self.types[edge]

    def window(self, name: str, edge: str, patches: Patches, quantization: Quantization) -> str:
        """Append windows on a map; what pads only is taken into the windows behind it."""
        edge, patches = self.merged(edge, patches)
        if patches.taps == 1 and all(
                a.outputs == a.size and not (a.elements.ravel() - np.arange(a.size)).any()
                for a in (patches.rows, patches.columns)):
            return edge
        return self.append(f"{name}_window", Window(patches), edge, scale=quantization.scale,
                           zero=quantization.zero)

    def merged(self, edge: str, patches: Patches) -> tuple[str, Patches]:
        """Return `patches` on what a layer pads that does nothing else, where that is the same."""
        node = self.nodes.get(edge)
        if node is None or not isinstance(node.layer, Window):
            return edge, patches
        pad = node.layer.patches
        axes = list(zip((pad.rows, pad.columns), (patches.rows, patches.columns), strict=True))
        if any(p != Axis(p.size, before=p.before, after=p.after) or min(p.before, p.after) < 0
               or a.zoom > 1 or min(a.before, a.after) < 0 for p, a in axes) or (
                   patches.is_filled and pad.is_filled and patches.fill != pad.fill):
            return edge, patches
        rows, columns = (replace(a, size=p.size, before=a.before + p.before,
                                 after=a.after + p.after) for p, a in axes)
        return node.inputs[0], Patches(rows, columns, pad.fill if pad.is_filled else patches.fill)

    def requantize(self, name: str, edge: str, function: Callable[[Ints], Ints], to: Quantization,
                   size: int = 1, which: Ints | None = None) -> str:
        """Append a function of each integer: thresholds, a table if it falls, or nothing.

        `function` takes ``(n, size)``: there are so many functions, one for all, one for each
        channel, or of each element that which `which` has.
        """
        tensor = self.types[edge]
        if size * (to.hi - to.lo) > LARGEST:
            raise UnsupportedError(f"has functions that differ in {size} elements; accepted: "
                                   f"{LARGEST // (to.hi - to.lo)}")
        spec: Requant | None = None
        if (span := tensor.hi - tensor.lo + 1) <= SPAN and span * size <= TABLE:
            q = np.arange(tensor.lo, tensor.hi + 1)
            table = function(q[:, np.newaxis] + np.zeros(size, np.int64))
            if (table == q[:, np.newaxis]).all():
                return edge
            if (np.diff(table, axis=0) < 0).any():
                spec = Table(frozen(table.T), tensor.lo)
        spec = spec or fit(function, tensor.lo, tensor.hi, size)
        if spec.bounds[1] > to.hi: # always the greatest: one threshold, which is always reached
            spec = Thresholds(frozen(np.full((1, 1), tensor.lo)), to.hi - 1)
        if which is not None and spec.channels > 1:
            assert isinstance(spec, Thresholds)
            if which.size * spec.values.shape[1] > LARGEST:
                raise UnsupportedError(f"averages {which.size} elements, those at the border in "
                                       "another way; accepted: fewer, or the padding VALID")
            spec = Thresholds(frozen(spec.values[which]), spec.lo)
        return self.append(name, Requantize(spec), edge, scale=to.scale, zero=to.zero)
