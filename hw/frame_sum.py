"""Sum of the vectors of a frame."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.stream import lanes, transfers

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["CHAIN", "FrameSum"]

CHAIN = 4
"""Transfers of a vector whose sums are in registers: those of more are in a memory."""


class FrameSum(wiring.Component):
    """Sum of the vectors of each frame, element by element.

    A transfer a cycle, without a pause between frames; the transfers of the last vector give those
    of the sum, latency 1. The sums are in a loop as long as a vector, which moves when a transfer
    is taken. ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    x : tuple[int, int]
        Bounds of the elements.
    vectors : int
        Vectors of a frame.
    channels : int
        Elements of a vector.
    pe : int
        Elements of a transfer. The lanes of a vector's last transfer beyond `channels` are
        undefined.

    Members
    -------
    i : ``In(lanes(shape_of(*x), pe))``
    o : ``Out(lanes(shape_of(vectors * x[0], vectors * x[1]), pe))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, x: tuple[int, int], *, vectors: int, channels: int, pe: int) -> None:
        self.vectors, self.pe = vectors, pe
        self.folds = transfers(channels, pe)
        super().__init__({"i": In(lanes(shape_of(*x), pe)),
                          "o": Out(lanes(shape_of(vectors * x[0], vectors * x[1]), pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = self.o.payload
        old = Signal.like(total, reset_less=True)
        at, vector = Signal(range(self.folds)), Signal(range(self.vectors))
        step, take, starts = Signal(), Signal(), Signal(init=1)
        wraps, ends = at == self.folds - 1, vector == self.vectors - 1
        m.d.comb += [step.eq(~self.o.valid | self.o.ready), self.i.ready.eq(step),
                     take.eq(step & self.i.valid)]
        with m.If(step):
            m.d.sync += self.o.valid.eq(take & ends)
        with m.If(take):
            m.d.sync += [at.eq(Mux(wraps, 0, at + 1)),
                         *(total[k].eq(old[k] + self.i.payload[k]) for k in range(self.pe))]
            with m.If(wraps):
                m.d.sync += [vector.eq(Mux(ends, 0, vector + 1)), starts.eq(ends)]
        if self.folds == 1:
            m.d.comb += old.as_value().eq(Mux(starts, 0, total.as_value()))
        else:
            late = self._delayed(m, total.as_value(), take, at)
            with m.If(take): # zero where the next transfer is one of a first vector
                m.d.sync += old.as_value().eq(Mux(Mux(wraps, ends, starts), 0, late))
        return m

    def _delayed(self, m: Module, total: Value, take: Value, at: Signal) -> Value:
        """Return `total` as it was ``folds - 2`` transfers ago."""
        if self.folds <= CHAIN:
            chain = [Signal(total.shape(), name=f"total_{k}", reset_less=True)
                     for k in range(self.folds - 2)]
            with m.If(take):
                m.d.sync += [q.eq(value) for value, q in pairwise([total, *chain])]
            return [total, *chain][-1]
        m.submodules.totals = totals = memory.Memory( # type: ignore[var-annotated]
            shape=total.shape(), depth=self.folds, init=[])
        write, read = totals.write_port(), totals.read_port()
        # `total` goes where the one before it was read, three transfers ago
        places = [Signal.like(at, name=f"at_{k}", init=self.folds - k) for k in (1, 2, 3)]
        with m.If(take):
            m.d.sync += [q.eq(place) for place, q in pairwise([at, *places])]
        m.d.comb += [read.en.eq(take), read.addr.eq(at), write.en.eq(take),
                     write.addr.eq(places[-1]), write.data.eq(total)]
        data: Value = read.data
        return data
