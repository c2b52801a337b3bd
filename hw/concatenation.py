"""Vectors side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Concatenation"]


class Concatenation(wiring.Component):
    """Vectors of several streams one after the other: ``o = i0, i1, …, i0, i1, …``.

    A transfer a cycle, latency 1. ``ready`` passes combinationally from ``o`` to the input whose
    turn it is.

    Parameters
    ----------
    xs : sequence of tuple[int, int]
        Bounds of the elements of each input.
    channels : sequence of int
        Elements of a vector of each input.
    pe : int
        Elements of a transfer; divides all of `channels`.

    Members
    -------
    i0, i1 … : ``In(lanes(shape_of(*xs[k]), pe))``
    o : ``Out(lanes(shape_of(lo, hi), pe))``, with the least and the greatest of all bounds
    """

    o: stream.Interface

    latency = 1

    def __init__(self, xs: Sequence[tuple[int, int]], *, channels: Sequence[int], pe: int) -> None:
        if any(n % pe for n in channels):
            raise ValueError(f"pe must divide all of channels, not {pe} and {channels}")
        self.pe = pe
        self.folds = [n // pe for n in channels]
        shape = shape_of(min(lo for lo, _ in xs), max(hi for _, hi in xs))
        super().__init__({**{f"i{k}": In(lanes(shape_of(*x), pe)) for k, x in enumerate(xs)},
                          "o": Out(lanes(shape, pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = [getattr(self, f"i{k}") for k in range(len(self.folds))]
        turn = Signal(len(inputs), init=1)
        at = Signal(range(max(self.folds)))
        step = ~self.o.valid | self.o.ready
        wraps = Cat(at == folds - 1 for folds in self.folds) & turn
        valid = Cat(i.valid for i in inputs) & turn
        m.d.comb += [i.ready.eq(step & mine) for i, mine in zip(inputs, turn, strict=True)]
        with m.If(step):
            m.d.sync += self.o.valid.eq(valid.any())
            with m.If(valid.any()):
                m.d.sync += at.eq(Mux(wraps.any(), 0, at + 1))
                with m.If(wraps.any()):
                    m.d.sync += turn.eq(turn.rotate_left(1))
            for lane in range(self.pe):
                m.d.sync += self.o.payload[lane].eq(inputs[0].payload[lane])
                for k, i in enumerate(inputs[1:], 1):
                    with m.If(turn[k]):
                        m.d.sync += self.o.payload[lane].eq(i.payload[lane])
        return m
