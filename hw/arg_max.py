"""Where the greatest element of a frame is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.comparison import below
from bittern.hw.operators.maximum import first_greatest
from bittern.hw.pipeline import Stages
from bittern.hw.stream import lanes, transfers

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["FrameArgMax"]


class FrameArgMax(wiring.Component):
    """The number of the first greatest element of each frame.

    A transfer of ``i`` a cycle; a result for each frame, latency 1 from its last transfer.
    ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    element : Shape
    features : int
        Elements of a frame, at least 2. Lanes of its last transfer beyond them are not looked at.
    pe : int
        Elements of a transfer.

    Members
    -------
    i : ``In(lanes(element, pe))``
    o : ``Out(stream.Signature(unsigned((features - 1).bit_length())))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, element: Shape, features: int, *, pe: int) -> None:
        if features < 2:
            raise ValueError(f"features must be at least 2, not {features}")
        if not 1 <= pe <= features:
            raise ValueError(f"pe must be in 1..{features}, not {pe}")
        self.element, self.features, self.pe = element, features, pe
        super().__init__({"i": In(lanes(element, pe)), "o": Out(
            stream.Signature(unsigned((features - 1).bit_length())))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frame = transfers(self.features, self.pe)
        step = ~self.o.valid | self.o.ready
        count = Signal(range(frame))
        last = count == frame - 1
        values: list[Value] = [self.i.payload[k] for k in range(self.pe)]
        if surplus := frame * self.pe - self.features:
            # copies of the first lane are never the first greatest
            values[-surplus:] = [Mux(last, values[0], v) for v in values[-surplus:]]
            if self.element.signed:
                values = [v.as_signed() for v in values]
        best, lane = first_greatest(Stages(m), values)
        # the number is that of transfer and lane; where pe is no power of two, it is counted
        base = Signal(range(self.features))
        at = Cat(lane, count) if self.pe & self.pe - 1 == 0 else base + lane
        held, held_at = Signal(self.element, reset_less=True), Signal.like(
            self.o.payload, reset_less=True)
        better = Signal()
        m.d.comb += [better.eq((count == 0) | below(held, best)), self.i.ready.eq(step),
                     self.o.payload.eq(held_at)]
        with m.If(step):
            m.d.sync += self.o.valid.eq(self.i.valid & last)
            with m.If(self.i.valid):
                m.d.sync += [count.eq(Mux(last, 0, count + 1)),
                             base.eq(Mux(last, 0, base + self.pe))]
                with m.If(better):
                    m.d.sync += [held.eq(best), held_at.eq(at)]
        return m
