"""Sum of two streams."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.stream import lanes

__all__ = ["Adder"]


class Adder(wiring.Component):
    """Sum, element by element: ``o = i0 + i1``.

    A transfer a cycle, latency 1. ``ready`` passes combinationally from ``o`` to ``i0`` and ``i1``,
    and to each of them from the other's ``valid``.

    Parameters
    ----------
    x0, x1 : tuple[int, int]
        Bounds of the elements of ``i0`` and ``i1``.
    pe : int
        Elements of a transfer.

    Members
    -------
    i0, i1 : ``In(lanes(shape_of(*x0), pe))``, ``In(lanes(shape_of(*x1), pe))``
    o : ``Out(lanes(shape_of(x0[0] + x1[0], x0[1] + x1[1]), pe))``
    """

    i0: stream.Interface
    i1: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, x0: tuple[int, int], x1: tuple[int, int], *, pe: int) -> None:
        self.pe = pe
        super().__init__({"i0": In(lanes(shape_of(*x0), pe)), "i1": In(lanes(shape_of(*x1), pe)),
                          "o": Out(lanes(shape_of(x0[0] + x1[0], x0[1] + x1[1]), pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = ~self.o.valid | self.o.ready
        both = self.i0.valid & self.i1.valid
        m.d.comb += [self.i0.ready.eq(step & self.i1.valid), self.i1.ready.eq(step & self.i0.valid)]
        with m.If(step):
            m.d.sync += [self.o.valid.eq(both),
                         *(self.o.payload[k].eq(self.i0.payload[k] + self.i1.payload[k])
                           for k in range(self.pe))]
        return m
