"""Accumulators as wide as their weights need, and narrow sums folded into wide ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["ChunkedSum", "bounds", "chunk_bounds"]


def bounds(weights: Ints, x: tuple[int, int], bias: Ints | int = 0) -> tuple[int, int]:
    """Return the least and the greatest accumulator of any neuron, for any activations in `x`.

    Parameters
    ----------
    weights : array ``(neurons, inputs)``
    x : tuple[int, int]
        Bounds of the activations.
    bias : array ``(neurons,)``, or an integer
    """
    products = np.stack([weights * x[0], weights * x[1]])
    least, greatest = products.min(axis=0).sum(axis=1), products.max(axis=0).sum(axis=1)
    return int((least + bias).min()), int((greatest + bias).max())


def chunk_bounds(weights: Ints, x: tuple[int, int], chunk: int) -> tuple[int, int]:
    """Return the bounds of every partial sum within chunks of `chunk` inputs, each from zero.

    Parameters
    ----------
    weights : array ``(neurons, inputs)``
    x : tuple[int, int]
        Bounds of the activations.
    chunk : int
        At least 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    products = np.stack([weights * x[0], weights * x[1]])
    lo = hi = 0
    for start in range(0, weights.shape[1], chunk):
        part = products[:, :, start:start + chunk]
        lo = min(lo, int(part.min(axis=0).cumsum(axis=1).min()))
        hi = max(hi, int(part.max(axis=0).cumsum(axis=1).max()))
    return lo, hi


class ChunkedSum(wiring.Component):
    """Sum of each frame of terms, exact: a narrow sum that is added to a wide one now and then.

    The narrow adder works in every cycle, the wide one in one of `chunk`. It takes more LUTs than
    one wide adder: what it saves is switching. A term a cycle; latency 2 from the last term of a
    frame. ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    term : Shape
    terms : int
        Terms of a frame, at least 1.
    chunk : int
        Terms of a narrow sum, of 1..terms.
    narrow, wide : tuple[int, int], optional
        Bounds of the sums, if they are closer than those of any terms: see :func:`chunk_bounds` and
        :func:`bounds`.

    Members
    -------
    i : ``In(stream.Signature(term))``
    o : ``Out(stream.Signature(shape_of(*wide)))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 2

    def __init__(self, term: Shape, terms: int, chunk: int, *,
                 narrow: tuple[int, int] | None = None,
                 wide: tuple[int, int] | None = None) -> None:
        if terms < 1:
            raise ValueError(f"terms must be at least 1, not {terms}")
        if not 1 <= chunk <= terms:
            raise ValueError(f"chunk must be in 1..{terms}, not {chunk}")
        lo, hi = limits(term)
        self.terms, self.chunk = terms, chunk
        self.narrow = shape_of(*(narrow or (lo * chunk, hi * chunk)))
        super().__init__({"i": In(stream.Signature(term)), "o": Out(stream.Signature(
            shape_of(*(wide or (lo * terms, hi * terms)))))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = ~self.o.valid | self.o.ready
        at, count = Signal(range(self.chunk)), Signal(range(self.terms))
        last = count == self.terms - 1
        full = last | (at == self.chunk - 1)
        part, total = Signal(self.narrow, reset_less=True), Signal.like(
            self.o.payload, reset_less=True)
        # of the sum that is in `part`: whether it is complete, a frame's first one, its last one
        whole, first, ends = Signal(), Signal(init=1), Signal()
        m.d.comb += [self.i.ready.eq(step), self.o.payload.eq(total)]
        with m.If(step):
            m.d.sync += [whole.eq(self.i.valid & full), ends.eq(last),
                         self.o.valid.eq(whole & ends)]
            with m.If(self.i.valid):
                m.d.sync += [part.eq(Mux(at == 0, 0, part) + self.i.payload),
                             at.eq(Mux(full, 0, at + 1)), count.eq(Mux(last, 0, count + 1))]
            with m.If(whole):
                m.d.sync += [total.eq(Mux(first, 0, total) + part), first.eq(ends)]
        return m
