"""Some elements of each vector."""

from __future__ import annotations

from amaranth import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.stream import lanes

__all__ = ["ChannelSelection"]


class ChannelSelection(wiring.Component):
    """Elements ``first`` to ``last - 1`` of each vector; the others are taken, and dropped.

    A transfer of ``i`` a cycle, latency 1. ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    element : ShapeLike
        Of one element.
    channels : int
        Elements of a vector of ``i``.
    first, last : int
    pe : int
        Elements of a transfer; divides `channels`, `first` and `last`.

    Members
    -------
    i, o : ``lanes(element, pe)``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, element: ShapeLike, *, channels: int, first: int, last: int,
                 pe: int) -> None:
        if not 0 <= first < last <= channels:
            raise ValueError(f"first and last must ascend in 0..{channels}, not {first} and {last}")
        if any(n % pe for n in (channels, first, last)):
            raise ValueError(f"pe must divide channels, first and last, not {pe} and {channels}, "
                             f"{first}, {last}")
        self.folds, self.first, self.last = channels // pe, first // pe, last // pe
        super().__init__({"i": In(lanes(element, pe)), "o": Out(lanes(element, pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at, wanted = Signal(range(self.folds)), Signal(init=self.first == 0)
        step = ~self.o.valid | self.o.ready
        m.d.comb += self.i.ready.eq(step)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(self.i.valid & wanted),
                         self.o.payload.eq(self.i.payload)]
            with m.If(self.i.valid):
                m.d.sync += at.eq(Mux(at == self.folds - 1, 0, at + 1))
                with m.If(at == (self.first - 1) % self.folds):
                    m.d.sync += wanted.eq(1)
                with m.Elif(at == self.last - 1):
                    m.d.sync += wanted.eq(0)
        return m
