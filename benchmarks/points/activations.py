"""Requantizers, activations of a frame, selection and accumulators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.arg_max import FrameArgMax
from bittern.hw.ints import shape_of
from bittern.hw.partial_sums import ChunkedSum
from bittern.hw.quotient import Quotient
from bittern.hw.requant import Requantizer
from bittern.hw.rounding import Rounding
from bittern.hw.scale import Scale
from bittern.hw.serial_quotient import SerialQuotient
from bittern.hw.softmax import Softmax, SoftmaxSpec
from bittern.hw.stochastic import LFSR, StochasticRounder
from bittern.hw.table import Table
from bittern.hw.threshold_search import ThresholdSearch
from bittern.hw.thresholds import Thresholds
from bittern.hw.top_k import TopK
from points.point import Point

if TYPE_CHECKING:
    from bittern.hw.requant import Requant

LO, HI = -(1 << 15), (1 << 15) - 1
CHANNELS = 16


class NaiveThresholds(wiring.Component):
    """``o = sum(thresholds <= i)``, as written, for one channel."""

    def __init__(self, spec: Thresholds) -> None:
        self.spec = spec
        super().__init__({"i": In(stream.Signature(shape_of(LO, HI))),
                          "o": Out(stream.Signature(shape_of(*spec.bounds)))})

    def elaborate(self, _platform: object) -> Module: # noqa: D102
        m = Module()
        m.d.comb += [self.o.payload.eq(self.spec.lo + sum(
            self.i.payload >= t for t in self.spec.values[0].tolist())),
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        return m


class NaiveSum(wiring.Component):
    """``total += i``, as written."""

    def __init__(self, term: int, terms: int) -> None:
        self.terms = terms
        super().__init__({"i": In(signed(term)), "clear": In(1),
                          "o": Out(signed(term + (terms - 1).bit_length()))})

    def elaborate(self, _platform: object) -> Module: # noqa: D102
        m = Module()
        total = Signal.like(self.o)
        m.d.comb += self.o.eq(total)
        m.d.sync += total.eq(total + self.i)
        with m.If(self.clear):
            m.d.sync += total.eq(self.i)
        return m


def thresholds(bits: int, channels: int) -> Thresholds:
    """Return random thresholds over the accumulators of 16 bits."""
    rng = np.random.default_rng(bits)
    return Thresholds(np.sort(rng.integers(LO + 1, HI + 1, (channels, 2**bits - 1)), axis=1), 0)


def scale(bits: int) -> Scale:
    """Return random multipliers of `bits` bits."""
    rng = np.random.default_rng(bits)
    multiplier = rng.integers(1 << bits - 1, 1 << bits, CHANNELS)
    return Scale(multiplier, rng.integers(-1000, 1000, CHANNELS), bits + 7, -128, 127,
                 Rounding.HALF_EVEN)


def requantizer(spec: Requant) -> Requantizer:
    """Return a requantizer of one lane."""
    return Requantizer(spec, lo=LO, hi=HI, features=CHANNELS, pe=1)


def quotient(channels: int) -> Quotient:
    """Return divisors as 8-bit networks have them, and fractions of biases."""
    rng = np.random.default_rng(channels)
    return Quotient(rng.integers(1 << 22, 1 << 24, channels), rng.integers(0, 256, (channels, 1)),
                    8, -128, 127)


def table(channels: int) -> Requantizer:
    """Return a table of 256 accumulators."""
    values = np.random.default_rng(0).integers(-128, 128, (channels, 256))
    return Requantizer(Table(values, -128), lo=-128, hi=127, features=CHANNELS, pe=1)


POINTS = [
    *(Point("Requantizer, thresholds", f"16 to {bits} bits, {CHANNELS} channels, a result a cycle",
            lambda bits=bits: requantizer(thresholds(bits, CHANNELS))) for bits in (1, 2, 4, 8)),
    *(Point("ThresholdSearch", f"16 to {bits} bits, {CHANNELS} channels, a result in {bits + 1} "
            "cycles", lambda bits=bits: ThresholdSearch(
                thresholds(bits, CHANNELS), lo=LO, hi=HI, features=CHANNELS))
      for bits in (4, 8)),
    Point("ThresholdSearch", "16 to 4 bits, 1 channel, a result in 5 cycles",
          lambda: ThresholdSearch(thresholds(4, 1), lo=LO, hi=HI, features=CHANNELS),
          naive=lambda: NaiveThresholds(thresholds(4, 1))),
    Point("Requantizer, multiply and shift", f"16 x 8 bits to 8 bits, {CHANNELS} channels",
          lambda: requantizer(scale(8))),
    Point("Requantizer, multiply and shift", f"16 x 8 bits to 8 bits, {CHANNELS} channels, DSP",
          lambda: requantizer(scale(8)), dsp=True),
    *(Point("Requantizer, quotient", f"20 to 8 bits, {channels} channel{'s'[:channels != 1]}",
            lambda channels=channels: Requantizer(quotient(channels), lo=-1 << 19,
                                                  hi=(1 << 19) - 1, features=64, pe=1))
      for channels in (1, 64)),
    *(Point("SerialQuotient", f"20 to 8 bits, {channels} channel{'s'[:channels != 1]}, a result in "
            "8 cycles", lambda channels=channels: SerialQuotient(
                quotient(channels), lo=-1 << 19, hi=(1 << 19) - 1, features=64, pe=1))
      for channels in (1, 64)),
    Point("Requantizer, table", f"8 to 8 bits, {CHANNELS} channels", lambda: table(CHANNELS)),
    Point("Requantizer, table", "8 to 8 bits, 1 channel", lambda: table(1)),
    Point("StochasticRounder", "24 to 16 bits, LFSR of 16 bits",
          lambda: StochasticRounder(signed(24), 8, LFSR(16))),
    Point("Softmax", "int8, 10 elements", lambda: Softmax(SoftmaxSpec.of(0.1), 10)),
    *(Point("FrameArgMax", f"int8, 10 elements, {pe} a cycle",
            lambda pe=pe: FrameArgMax(signed(8), 10, pe=pe)) for pe in (1, 2)),
    *(Point("TopK", f"int8, 10 elements, k = {k}", lambda k=k: TopK(signed(8), 10, k))
      for k in (1, 3, 5)),
    *(Point("ChunkedSum", f"1024 terms of 16 bits, chunks of {chunk}",
            lambda chunk=chunk: ChunkedSum(signed(16), 1024, chunk),
            naive=lambda: NaiveSum(16, 1024)) for chunk in (4, 16)),
]
