"""Thresholds, one comparison a cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.thresholds import reaches, search_words

if TYPE_CHECKING:
    from bittern.hw.thresholds import Thresholds

__all__ = ["ThresholdSearch"]


class ThresholdSearch(wiring.Component):
    """Requantization by a binary search in one memory with one comparator: ``o = spec(i)``.

    One element at a time, for layers whose elements come no closer: a result of n bits takes n
    comparisons, an element every n + 1 cycles. An element is taken in the cycle of its last
    comparison; latency 1 from there. :class:`bittern.hw.requant.Requantizer` takes one in every
    cycle, with n comparators.

    Source: as :class:`bittern.hw.thresholds.Thresholds`.

    Parameters
    ----------
    spec : Thresholds
    lo, hi : int
        Bounds of the accumulators.
    features : int
        Elements of a frame: channels, if `spec` has more than one.

    Members
    -------
    i : ``In(stream.Signature(shape_of(lo, hi)))``
    o : ``Out(stream.Signature(shape_of(*spec.bounds)))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, spec: Thresholds, *, lo: int, hi: int, features: int) -> None:
        if spec.channels not in (1, features):
            raise ValueError(f"spec must have 1 or {features} channels, not {spec.channels}")
        self.spec, self.lo, self.hi, self.features = spec, lo, hi, features
        super().__init__({"i": In(stream.Signature(shape_of(lo, hi))),
                          "o": Out(stream.Signature(shape_of(*spec.bounds)))})

    @property
    def interval(self) -> int:
        """Cycles between elements."""
        return self.spec.bits + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, channels = self.spec.bits, self.spec.channels
        words, width = search_words(self.spec, self.lo, self.hi)
        # word 1 is the first threshold, then 2 or 3, then 4 to 7: a one, and what was found
        table = np.zeros((channels, 1 << bits), dtype=np.int64)
        for level, middle in enumerate(words):
            table[:, 1 << level:2 << level] = middle
        m.submodules.thresholds = rom = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(width), depth=table.size, init=table.ravel().tolist())
        port = rom.read_port()
        found = Signal(bits + 1, init=1)
        after = Signal(bits + 1)
        channel: Signal | Const = Signal(range(channels)) if channels > 1 else Const(0, 0)
        read = Signal() # the first word has been, since the reset
        done, last, step = found[-1], Signal(), Signal()
        here = reaches(self.i.payload, port.data, width)
        m.d.comb += [
            last.eq(found[-2] & ~done & read), step.eq(self.i.valid & ~done & read),
            after.eq(Mux(step, Cat(here, found), Mux(done & self.o.ready, 1, found))),
            port.addr.eq(Cat(after[:bits], channel)), port.en.eq(1), self.i.ready.eq(last),
            self.o.valid.eq(done), self.o.payload.eq(found[:bits] + self.spec.lo),
        ]
        m.d.sync += [read.eq(1), found.eq(after)]
        if channels > 1:
            with m.If(last & self.i.valid):
                m.d.sync += channel.eq(Mux(channel == channels - 1, 0, channel + 1))
        return m
