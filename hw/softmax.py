"""Softmax of a frame, in the integers of TensorFlow Lite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.comparison import below
from bittern.hw.ints import Ints
from bittern.hw.rounding import Rounding, round_shift

if TYPE_CHECKING:
    from amaranth.hdl import ValueLike

__all__ = ["Softmax", "SoftmaxSpec"]

ONE = (1 << 31) - 1
THIRD = 715827883
EXP_EIGHTH = 1895147668
"""``exp(-1 / 8)``; like 1 / 3 in units of ``2**-31``."""
EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""``exp(-2**k)`` for k of -2 to 4."""
A, B = 1515870810, 1010580540
"""48 / 17 and 32 / 17 in units of ``2**-29``: the line that Newton's iteration starts from."""
STEPS = 7
"""Multiplications of a reciprocal: the line, and three iterations of two."""


def _times(a: Ints, b: Ints | int) -> Ints:
    """Multiply two fractions of 31 bits (``SaturatingRoundingDoublingHighMul``)."""
    return round_shift(a * b, 31, Rounding.HALF_UP)


def _exp(a: Ints) -> Ints:
    """Return ``exp(a / 2**26)`` for ``a <= 0``, in units of ``2**-31``."""
    quarter = 1 << 24
    rest = (a & quarter - 1) - quarter
    # a polynomial around -1/8, then factors for the bits of the quarters
    x = (rest << 5) + (1 << 28)
    x2 = _times(x, x)
    tail = _times(round_shift(_times(x2, x2), 2, Rounding.HALF_FROM_ZERO) + _times(x2, x), THIRD)
    y = EXP_EIGHTH + _times(
        x + round_shift(tail + x2, 1, Rounding.HALF_FROM_ZERO), EXP_EIGHTH)
    quarters = rest - a
    for k, factor in enumerate(EXP_POWERS):
        y = np.where(quarters >> 24 + k & 1, _times(y, factor), y)
    return np.where(a == 0, ONE, y)


@dataclass(frozen=True)
class SoftmaxSpec:
    """``y = softmax(x)``, both int8; ``y + 128`` in units of 1/256.

    Bit for bit the int8 reference kernel of TensorFlow Lite
    (``tensorflow/lite/kernels/internal/reference/softmax.h``) and the fixed-point arithmetic of
    gemmlowp that it uses: a polynomial exponential, and a reciprocal by three Newton iterations.

    Parameters
    ----------
    multiplier : int
        Scale of ``x`` times beta, in units of ``2**-26``, as a fraction of ``2**30..2**31 - 1``
        of 31 bits…
    left_shift : int
        …shifted left by as much, of 0..31.
    """

    multiplier: int
    left_shift: int

    def __post_init__(self) -> None:
        if not 1 << 30 <= self.multiplier <= ONE:
            raise ValueError(f"multiplier must be in {1 << 30}..{ONE}, not {self.multiplier}")
        if not 0 <= self.left_shift <= 31:
            raise ValueError(f"left_shift must be in 0..31, not {self.left_shift}")

    @classmethod
    def of(cls, scale: float, beta: float = 1.0) -> Self:
        """Return the softmax of integers that are `scale` apart."""
        real = min(beta * scale * (1 << 26), (1 << 31) - 1.0)
        if not real > 1:
            raise ValueError(f"scale * beta must be above 2**-26, not {scale * beta}")
        fraction, left_shift = math.frexp(real)
        multiplier = math.floor(fraction * (1 << 31) + 0.5)
        if multiplier == 1 << 31:
            multiplier, left_shift = multiplier // 2, left_shift + 1
        return cls(multiplier, left_shift)

    @property
    def exponentials(self) -> Ints:
        """``exp`` of each difference 0, -1 … -255, in units of ``2**-31``; 0 below the least."""
        difference = -np.arange(256)
        least = -((31 << 26) >> self.left_shift)
        seen = difference >= least
        scaled = _times(np.where(seen, difference, 0) << self.left_shift, self.multiplier)
        return np.where(seen, _exp(scaled), 0)

    def __call__(self, x: Ints) -> Ints:
        """Compute it along the last axis."""
        e = self.exponentials[x.max(axis=-1, keepdims=True) - x]
        total = round_shift(e, 12, Rounding.HALF_FROM_ZERO).sum(axis=-1, keepdims=True)
        over = np.floor(np.log2(total)).astype(np.int64) - 19 # bits of the sum beyond 1
        half = total << 11 - over
        r = A + _times(half, -B)
        for _ in range(3):
            r += _times(r, (1 << 29) - _times(half, r)) << 2
        scale = np.minimum(r << 1, ONE)
        product, shift = _times(scale, e), over + 23
        y: Ints = (product + (1 << shift - 1)) >> shift
        return y.clip(0, 255) - 128


class Softmax(wiring.Component):
    """Softmax of each frame: ``o = spec(i)``, an element in each transfer.

    One multiplier, a bit a cycle, makes the reciprocal of the sum and then each result. A frame
    takes :attr:`interval` cycles: it is read in `features` of them, and the first result is there
    :attr:`latency` cycles after its last element. Memories: 256 exponentials of 31 bits, and the
    elements of a frame.

    Parameters
    ----------
    spec : SoftmaxSpec
    features : int
        Elements of a frame, of 2..511.

    Members
    -------
    i, o : ``stream.Signature(signed(8))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, spec: SoftmaxSpec, features: int) -> None:
        if not 2 <= features <= 511:
            raise ValueError(f"features must be in 2..511, not {features}")
        self.spec, self.features = spec, features
        super().__init__({"i": In(stream.Signature(signed(8))),
                          "o": Out(stream.Signature(signed(8)))})

    @property
    def latency(self) -> int:
        """Cycles from the last element of a frame to its first result."""
        return 1 + (self.features + 2) + 9 + STEPS * 32 + 35

    @property
    def interval(self) -> int:
        """Cycles of a frame."""
        return self.features + self.latency + 36 * (self.features - 1)

    def elaborate(self, platform: object) -> Module: # noqa: PLR0915, one state machine
        m = Module()
        n = self.features
        m.submodules.frame = frame = memory.Memory( # type: ignore[var-annotated]
            shape=signed(8), depth=n, init=[])
        m.submodules.exp = table = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(31), depth=256, init=self.spec.exponentials.tolist())
        write, element, e = frame.write_port(), frame.read_port(), table.read_port()
        count, ticks = Signal(range(n)), Signal(6)
        last = count == n - 1
        there, ending = Signal(2), Signal(2) # what was addressed one and two cycles ago
        greatest = Signal(signed(8))
        total, over = Signal(28), Signal(range(9))
        half, r = Signal(31), Signal(31) # what is inverted, then the result; the reciprocal
        high, low = Signal(31), Signal(31)
        step, negative = Signal(range(STEPS + 1)), Signal()
        with_r = (step == 2) | (step == 4) | (step == 6)
        row = Signal(32)
        error, better = Signal(signed(32)), Signal(31)
        magnitude = Mux(error < 0, -error, error)
        rounded = ((high >> over + 22) + 1) >> 1
        m.d.comb += [
            write.addr.eq(count), write.data.eq(self.i.payload), element.addr.eq(count),
            element.en.eq(1), e.addr.eq((greatest - element.data)[:8]), e.en.eq(1),
            row.eq(high + Mux(low[0], Mux(with_r, r, half), 0)),
            error.eq((1 << 29) - high), better.eq(Mux(negative, r - (high << 2), r + (high << 2))),
        ]

        def start(factor: ValueLike, minus: ValueLike = 0) -> None:
            """Begin a product: what is in front of its rows is half a unit, which rounds it."""
            m.d.sync += [low.eq(factor), high.eq((1 << 30) - minus), negative.eq(minus),
                         ticks.eq(0)]
            m.next = "multiply"

        with m.FSM():
            with m.State("read"):
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid)]
                with m.If(self.i.valid):
                    with m.If((count == 0) | below(greatest, self.i.payload)):
                        m.d.sync += greatest.eq(self.i.payload)
                    m.d.sync += count.eq(Mux(last, 0, count + 1))
                    with m.If(last):
                        m.d.sync += [total.eq(0), there.eq(0), ending.eq(0), step.eq(0)]
                        m.next = "sum"
            with m.State("sum"):
                m.d.sync += [there.eq(Cat(1, there[0])), ending.eq(Cat(last, ending[0])),
                             count.eq(Mux(last, count, count + 1)), ticks.eq(0), over.eq(8)]
                with m.If(there[1]):
                    m.d.sync += total.eq(total + ((e.data + (1 << 11)) >> 12))
                with m.If(ending[1]):
                    m.next = "normalize"
            with m.State("normalize"):
                m.d.sync += [ticks.eq(ticks + 1), half.eq(total << 3)]
                with m.If(~total[-1]):
                    m.d.sync += [total.eq(total << 1), over.eq(over - 1)]
                with m.If(ticks == 8):
                    start(B, 1)
            with m.State("multiply"):
                m.d.sync += [ticks.eq(ticks + 1), high.eq(row >> 1), low.eq(Cat(low[1:], row[0]))]
                with m.If(ticks == 31):
                    m.d.sync += [high.eq(high), step.eq(step + 1)]
                    with m.Switch(step):
                        with m.Case(0):
                            m.d.sync += r.eq(A - high)
                            start(A - high)
                        with m.Case(1, 3, 5):
                            start(magnitude, error < 0)
                        with m.Case(2, 4):
                            m.d.sync += r.eq(better)
                            start(better)
                        with m.Case(6):
                            m.d.sync += [half.eq(Mux(better[-1], ONE, better << 1)),
                                         count.eq(0), ticks.eq(0)]
                            m.next = "fetch"
                        with m.Default():
                            m.d.sync += [step.eq(step), self.o.payload.eq(
                                Mux(rounded > 255, 127, rounded - 128))]
                            m.next = "give"
            with m.State("fetch"):
                m.d.sync += ticks.eq(ticks + 1)
                with m.If(ticks == 2):
                    start(e.data)
            with m.State("give"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [count.eq(Mux(last, 0, count + 1)), ticks.eq(0)]
                    m.next = "fetch"
                    with m.If(last):
                        m.next = "read"
        return m
