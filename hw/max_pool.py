"""The greatest element that a window sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Module, Mux, Shape, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from bittern.hw.credit import credit, store_of
from bittern.hw.stream import Queue, lanes
from bittern.hw.window import READ, WindowReader

if TYPE_CHECKING:
    from amaranth.lib import stream

    from bittern.hw.patches import Patches

__all__ = ["MAX_DELAY", "MaxPoolUnit"]

MAX_DELAY = READ + 2
"""Cycles from a step to its result: reader, what was read, and the greatest."""


class MaxPoolUnit(Component):
    """``o[…, c] = max(seen[…, t, c])``: a tap of `pe` channels a cycle.

    See :class:`~bittern.hw.window.WindowReader`; nothing is combinational between ``i`` and ``o``.

    Parameters
    ----------
    patches : Patches
    x : Shape
        Of an element of the map.
    channels : int
    pe : int
        Channels of a transfer; they divide the channels.
    one_port : bool
        As of the reader.

    Members
    -------
    i : ``In(lanes(x, pe))``
    o : ``Out(lanes(shape, pe))``
        The shape holds what is seen beyond the map, too.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, patches: Patches, x: Shape, *, channels: int, pe: int,
                 one_port: bool = False) -> None:
        self.reader = WindowReader(patches, x, channels=channels, lanes=pe, by_channel=True,
                                   one_port=one_port)
        self.pe, self.taps = pe, patches.taps
        self.store = store_of(MAX_DELAY, self.taps)
        super().__init__({"i": In(lanes(x, pe)), "o": Out(lanes(self.reader.seen, pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.results = results = Queue(self.o.payload.shape(), self.store)
        connect(m, flipped(self.i), reader.i)
        connect(m, results.o, flipped(self.o))
        m.d.comb += reader.may.eq(credit(m, self.store, reader.last, self.o))
        seen = Signal.like(self.o.payload, reset_less=True)
        valid, done, first = Signal(), Signal(), Signal(init=1)
        tap = Signal(range(self.taps))
        last = tap == self.taps - 1
        m.d.sync += [seen.eq(reader.o), valid.eq(reader.valid), done.eq(valid & last)]
        m.d.comb += results.i.valid.eq(done)
        with m.If(valid):
            m.d.sync += [tap.eq(Mux(last, 0, tap + 1)), first.eq(last)]
            for k in range(self.pe):
                with m.If(first | (seen[k] > results.i.payload[k])):
                    m.d.sync += results.i.payload[k].eq(seen[k])
        return m
