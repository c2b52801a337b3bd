"""Cells that carry streams: queue, widen, narrow."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Narrow", "Queue", "Widen", "lanes", "transfers"]


def lanes(element: ShapeLike, count: int) -> stream.Signature:
    """Return the signature of a stream that carries `count` elements in each transfer."""
    return stream.Signature(data.ArrayLayout(element, count))


def transfers(features: int, count: int) -> int:
    """Return the transfers of a frame of `features` elements, `count` in each."""
    return -(-features // count)


class Queue(wiring.Component):
    """Two transfers of store that cut every combinational path between ``i`` and ``o``.

    A transfer a cycle, latency 1. Also known as a spill register or skid buffer.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.i.payload, self.o.payload
        spill = Signal.like(i, reset_less=True)
        spilled, front, valid = Signal(), Signal.like(i, reset_less=True), Signal()
        m.d.comb += [self.i.ready.eq(~spilled), self.o.valid.eq(valid), o.eq(front)]
        with m.If(~spilled):
            m.d.sync += spill.eq(i)
        with m.If(self.o.ready | ~valid):
            m.d.sync += [front.eq(Mux(spilled, spill, i)), valid.eq(spilled | self.i.valid),
                         spilled.eq(0)]
        with m.Elif(self.i.valid):
            m.d.sync += spilled.eq(1)
        return m


class Narrow(wiring.Component):
    """Split each transfer into several: a frame of `features` in narrower transfers.

    A transfer of ``o`` a cycle, latency 1; ``i`` waits for the last part to leave. What the last
    transfer of a frame has beyond `features` is dropped where it fills a transfer of ``o``.

    Parameters
    ----------
    element : ShapeLike
        Of one element.
    features : int
        Elements of a frame.
    wide, narrow : int
        Elements of a transfer of ``i`` and of ``o``; `narrow` divides `wide`.

    Members
    -------
    i : ``In(lanes(element, wide))``
    o : ``Out(lanes(element, narrow))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, element: ShapeLike, features: int, *, wide: int, narrow: int) -> None:
        if wide % narrow:
            raise ValueError(f"narrow must divide wide, not {narrow} and {wide}")
        self.features, self.wide, self.narrow = features, wide, narrow
        super().__init__({"i": In(lanes(element, wide)), "o": Out(lanes(element, narrow))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frame, parts = transfers(self.features, self.wide), self.wide // self.narrow
        last_parts = transfers(self.features, self.narrow) - (frame - 1) * parts
        held = Signal(self.i.payload.shape().size, reset_less=True)
        left, count = Signal(range(parts + 1)), Signal(range(frame))
        m.d.comb += [self.o.valid.eq(left != 0), self.o.payload.as_value().eq(held),
                     self.i.ready.eq((left == 0) | (left == 1) & self.o.ready)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [held.eq(held[len(self.o.payload.as_value()):]), left.eq(left - 1)]
        with m.If(self.i.valid & self.i.ready):
            last = count == frame - 1
            m.d.sync += [held.eq(self.i.payload), left.eq(Mux(last, last_parts, parts)),
                         count.eq(Mux(last, 0, count + 1))]
        return m


class Widen(wiring.Component):
    """Join several transfers into one: a frame of `features` in wider transfers.

    A transfer of ``i`` a cycle, latency 1. ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    element : ShapeLike
        Of one element.
    features : int
        Elements of a frame.
    narrow, wide : int
        Elements of a transfer of ``i`` and of ``o``; `narrow` divides `wide`.

    Members
    -------
    i : ``In(lanes(element, narrow))``
    o : ``Out(lanes(element, wide))``
        The lanes of a frame's last transfer beyond `features` are undefined.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, element: ShapeLike, features: int, *, narrow: int, wide: int) -> None:
        if wide % narrow:
            raise ValueError(f"narrow must divide wide, not {narrow} and {wide}")
        self.features, self.wide, self.narrow = features, wide, narrow
        super().__init__({"i": In(lanes(element, narrow)), "o": Out(lanes(element, wide))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frame, parts = transfers(self.features, self.narrow), self.wide // self.narrow
        part = self.i.payload.as_value()
        held = Signal(self.o.payload.shape().size, reset_less=True)
        slot, count = Signal(range(parts)), Signal(range(frame))
        step = ~self.o.valid | self.o.ready
        last = count == frame - 1
        m.d.comb += [self.i.ready.eq(step), self.o.payload.as_value().eq(held)]
        with m.If(step):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                full = last | (slot == parts - 1)
                m.d.sync += [self.o.valid.eq(full), slot.eq(Mux(full, 0, slot + 1)),
                             count.eq(Mux(last, 0, count + 1))]
                if frame % parts: # the last transfer is not full: nothing would shift it home
                    with m.Switch(slot):
                        for k in range(parts):
                            with m.Case(k):
                                m.d.sync += held[k * len(part):(k + 1) * len(part)].eq(part)
                else:
                    m.d.sync += held.eq(Cat(held, part)[len(part):])
        return m
