"""What a tensor of the file is to the importer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bittern.gen.importers.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx.arithmetic import Quantization
    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["Codes", "Constant", "Host", "Pair", "Source", "Stream", "Tail", "Unit", "Value",
           "stored"]


def stored(q: Ints) -> Ints:
    """Return integers: those on the edge are those of the file."""
    return q


@dataclass(frozen=True, eq=False)
class Codes:
    """Integers of a constant behind a DequantizeLinear.

    Parameters
    ----------
    integers : array
        As stored.
    zero, scale : array
        One, or one for each index of an axis; they broadcast to the integers.
    direct : bool
        Whether nothing came after the DequantizeLinear that keeps the reference from fusing it.
    """

    integers: Array
    zero: Ints
    scale: Array
    direct: bool = True

    @property
    def centred(self) -> Ints:
        """The integers less their zero points."""
        return self.integers.astype(np.int64) - self.zero

    def moved(self, function: Callable[[Array], Array]) -> Codes:
        """Apply a function that only moves elements."""
        return Codes(function(self.integers), function(self.zero), function(self.scale),
                     self.direct)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array; if a DequantizeLinear made it, its integers."""

    array: Array
    codes: Codes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As in the file."""
        return self.array.dtype


@dataclass(frozen=True, eq=False)
class Host:
    """A function of the input, for the host: ``(frames, *input)`` to ``(frames, *shape)``."""

    shape: tuple[int, ...]
    run: Callable[[Array], Array]


@dataclass(frozen=True)
class Source:
    """The DequantizeLinear that floats come from, with nothing between that would part them.

    Parameters
    ----------
    stored : Quantization
        Of the integers on the edge.
    seen : Quantization
        Of the integers as a fused kernel has them: unsigned ones, where the reference made them so.
    """

    stored: Quantization
    seen: Quantization

    @property
    def offset(self) -> int:
        """What is to be added to a stored integer to have the one that is seen."""
        return self.seen.zero - self.stored.zero


@dataclass(frozen=True, eq=False)
class Unit:
    """An operator behind DequantizeLinear: with QuantizeLinear behind it, it is one kernel.

    Parameters
    ----------
    codes : callable
        Returns for the quantization of the output what the kernel computes of the edge's integers,
        or None if it does so not exactly.
    dtype : dtype
        Of the inputs, as seen; the output must have the same.
    clips : tuple
        Bounds of Relu and Clip behind it.
    moved : bool
        Whether elements were moved since.
    biased : callable or None
        Returns the operator with a constant added, which the reference makes one with a bias.
    """

    codes: Callable[[Quantization], Callable[..., Ints] | None]
    dtype: np.dtype[Any]
    clips: tuple[tuple[float, float], ...] = ()
    moved: bool = False
    biased: Callable[..., Stream | None] | None = None


@dataclass(frozen=True, eq=False)
class Stream:
    """Integers on an edge of the graph, and what the file makes of them.

    Parameters
    ----------
    edge : str
    places : array
        For each element of the tensor, in the shape of the file, where it is on the edge: a
        permutation.
    dtype : dtype
        Of the tensor in the file.
    run : callable or None
        Integers in the order of the edge to elements of the tensor; parameters in it broadcast.
        None if the reference's floats are not known to the last bit, for a `reason`.
    width : tuple[int, ...]
        Shape of the parameters of `run`: (), one for each channel, or that of the edge.
    rises : bool
        Whether `run` never decreases, whatever the integers are.
    source : Source or None
    unit : Unit or None
    pending : tuple[int, ...]
        Operations of the file in `run`.
    """

    edge: str
    places: Ints
    dtype: np.dtype[Any]
    run: Callable[[Ints], Array] | None
    width: tuple[int, ...] = ()
    rises: bool = True
    source: Source | None = None
    unit: Unit | None = None
    pending: tuple[int, ...] = ()
    reason: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.places.shape

    @property
    def function(self) -> Callable[[Ints], Array]:
        """`run`, or :exc:`UnsupportedError` if there is none."""
        if self.run is None:
            raise UnsupportedError(f"its input {self.reason}")
        return self.run


@dataclass(frozen=True, eq=False)
class Pair:
    """A function of two streams, element by element.

    Parameters
    ----------
    op : str
        Add, Sub or Mul.
    streams : tuple[Stream, Stream]
        On edges of one shape, with elements in the same places…
    places : array
        …these, whatever the edges are.
    then : callable
        What the file makes of the result.
    """

    op: str
    streams: tuple[Stream, Stream]
    places: Ints
    then: Callable[[Array], Array] = field(default=lambda y: y)
    unit: Unit | None = None
    pending: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """As in the file."""
        return self.places.shape


@dataclass(frozen=True, eq=False)
class Tail:
    """What the host makes of an edge at the end: ``(frames, *edge)`` to ``(frames, *shape)``."""

    edge: str
    shape: tuple[int, ...]
    run: Callable[[Ints], Array]
    unit: Unit | None = None
    pending: tuple[int, ...] = ()


Value: TypeAlias = Constant | Host | Stream | Pair | Tail
