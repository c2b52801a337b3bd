"""Cells that carry streams: queue, fork, widen, narrow."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SPRAM", "Fork", "Narrow", "Queue", "Widen", "lanes", "transfers"]

SPRAM = {"ram_style": "huge"}
"""What Yosys is told of a memory that is to be in SPRAM of the iCE40 UltraPlus."""


def lanes(element: ShapeLike, count: int) -> stream.Signature:
    """Return the signature of a stream that carries `count` elements in each transfer."""
    return stream.Signature(data.ArrayLayout(element, count))


def transfers(features: int, count: int) -> int:
    """Return the transfers of a frame of `features` elements, `count` in each."""
    return -(-features // count)


class Queue(wiring.Component):
    """Store that cuts every combinational path between ``i`` and ``o``.

    A transfer a cycle. Of depth 2 it is two registers, also known as spill register or skid
    buffer: latency 1. Deeper ones are a memory of `depth` transfers and what it has just read:
    latency 2.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    depth : int
        Transfers it holds, at least 2.
    one_port : bool
        Whether the memory is written or read in a cycle, as SPRAM is. Writing goes first, and what
        is read then comes a cycle later: nobody notices where transfers come in every second cycle
        at the most, and none is taken within a cycle of the last (as by :class:`Narrow`).

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike, depth: int = 2, *, one_port: bool = False) -> None:
        if depth < 2:
            raise ValueError(f"depth must be at least 2, not {depth}")
        self.shape, self.depth, self.one_port = shape, depth, one_port
        self.latency = self.latency_of(depth)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def latency_of(depth: int) -> int:
        """Return the cycles that a transfer takes through an empty queue of `depth`."""
        return 1 if depth == 2 else 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.depth == 2:
            self._registers(m)
        else:
            self._memory(m)
        return m

    def _registers(self, m: Module) -> None:
        i, o = self.i.payload, self.o.payload
        spill, front = (Signal.like(i, name=n, reset_less=True) for n in ("spill", "front"))
        spilled, valid = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(~spilled), self.o.valid.eq(valid), o.eq(front)]
        with m.If(~spilled):
            m.d.sync += spill.eq(i)
        with m.If(self.o.ready | ~valid):
            m.d.sync += [front.eq(Mux(spilled, spill, i)), valid.eq(spilled | self.i.valid),
                         spilled.eq(0)]
        with m.Elif(self.i.valid):
            m.d.sync += spilled.eq(1)

    def _memory(self, m: Module) -> None:
        m.submodules.store = store = memory.Memory( # type: ignore[var-annotated]
            shape=self.shape, depth=self.depth, init=[], attrs=SPRAM if self.one_port else {})
        write, read = store.write_port(), store.read_port()
        head, tail = Signal(range(self.depth)), Signal(range(self.depth))
        level, valid = Signal(range(self.depth + 1)), Signal()
        push, pop = Signal(), Signal()
        busy = push if self.one_port else Const(0)
        m.d.comb += [
            self.i.ready.eq(level != self.depth), push.eq(self.i.valid & self.i.ready),
            write.en.eq(push), write.addr.eq(Mux(busy, head, tail) if self.one_port else head),
            write.data.eq(self.i.payload),
            pop.eq((self.o.ready | ~valid) & (level != 0) & ~busy), read.en.eq(pop),
            read.addr.eq(write.addr if self.one_port else tail),
            self.o.valid.eq(valid), self.o.payload.eq(read.data),
        ]
        for enable, at in ((push, head), (pop, tail)):
            with m.If(enable):
                m.d.sync += at.eq(Mux(at == self.depth - 1, 0, at + 1))
        m.d.sync += level.eq(level + push - pop)
        with m.If(self.o.ready | ~valid):
            m.d.sync += valid.eq(pop)


class Fork(wiring.Component):
    """Copy each transfer to several streams; each may take it before the others do.

    A transfer a cycle, no latency. ``ready`` and ``valid`` pass combinationally.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    count : int
        Streams.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o0, o1 … : ``Out(stream.Signature(shape))``
    """

    i: stream.Interface

    def __init__(self, shape: ShapeLike, count: int) -> None:
        self.count = count
        super().__init__({"i": In(stream.Signature(shape)),
                          **{f"o{k}": Out(stream.Signature(shape)) for k in range(count)}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outputs = [getattr(self, f"o{k}") for k in range(self.count)]
        taken = Signal(self.count) # by some, while others have not
        through = Cat(o.ready for o in outputs) | taken
        m.d.comb += self.i.ready.eq(through.all())
        with m.If(self.i.valid):
            m.d.sync += taken.eq(Mux(self.i.ready, 0, through))
        for k, o in enumerate(outputs):
            m.d.comb += [o.valid.eq(self.i.valid & ~taken[k]), o.payload.eq(self.i.payload)]
        return m


class Narrow(wiring.Component):
    """Split each transfer into several: a frame of `features` in narrower transfers.

    A transfer of ``o`` a cycle, latency 1, and a cycle between the parts of one transfer and those
    of the next, which cuts the path from the ``ready`` of ``o`` to that of ``i``. What the last
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
        left = Signal(range(parts)) # parts after the one on `o`
        count = Signal(range(frame))
        last = count == frame - 1
        m.d.comb += [self.o.payload.as_value().eq(held), self.i.ready.eq(~self.o.valid)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), self.o.valid.eq(1),
                         left.eq(Mux(last, last_parts, parts) - 1),
                         count.eq(Mux(last, 0, count + 1))]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [held.eq(held[len(self.o.payload.as_value()):]), left.eq(left - 1),
                         self.o.valid.eq(left != 0)]
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
