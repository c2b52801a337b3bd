"""One stream as several, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import ShapeLike

__all__ = ["Distribution"]


class Distribution(wiring.Component):
    """Transfers of a stream to several in turn, so many to each: ``o0, o1, …, o0, o1, … = i``.

    A transfer a cycle, no latency. ``valid`` passes combinationally from ``i``, and ``ready`` from
    the output whose turn it is.

    Parameters
    ----------
    element : ShapeLike
        Of one element.
    counts : sequence of int
        Transfers to each output before it is the next one's turn.
    pe : int
        Elements of a transfer.

    Members
    -------
    i : ``In(lanes(element, pe))``
    o0, o1 … : ``Out(lanes(element, pe))``
    """

    i: stream.Interface

    def __init__(self, element: ShapeLike, counts: Sequence[int], *, pe: int) -> None:
        self.counts = counts
        super().__init__({"i": In(lanes(element, pe)),
                          **{f"o{k}": Out(lanes(element, pe)) for k in range(len(counts))}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outputs = [getattr(self, f"o{k}") for k in range(len(self.counts))]
        turn, at = Signal(len(outputs), init=1), Signal(range(max(self.counts)))
        for k, (o, count) in enumerate(zip(outputs, self.counts, strict=True)):
            m.d.comb += [o.valid.eq(self.i.valid & turn[k]), o.payload.eq(self.i.payload)]
            with m.If(turn[k]):
                m.d.comb += self.i.ready.eq(o.ready)
                with m.If(self.i.valid & o.ready):
                    last = at == count - 1
                    m.d.sync += at.eq(Mux(last, 0, at + 1))
                    with m.If(last):
                        m.d.sync += turn.eq(turn.rotate_left(1))
        return m
