"""Softmax of a frame, in the integers of TensorFlow Lite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.comparison import below
from bittern.hw.ints import Ints
from bittern.hw.rounding import Rounding, round_shift
from bittern.hw.saturation import limits
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from amaranth.hdl import ValueLike

__all__ = ["FEATURES", "PERIOD", "Softmax", "SoftmaxSpec"]

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
FETCH = 4
"""Cycles from the index of an element to its exponential."""
TICKS = 34
"""Cycles of a multiplication: of each bit, of what becomes of the product, and to go on."""
PERIOD = TICKS + 1
"""Cycles from a result to the next."""
FEATURES = 511
"""The most elements of a frame."""
INT8 = signed(8)


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

    One multiplier, a bit a cycle, makes the reciprocal of the sum and then each result. A frame is
    read in `features` cycles; its first result is there `latency_of(features)` cycles after its
    last element, the others follow every `PERIOD` cycles, and after the last one the next frame is
    read. Memories: 256 exponentials of 31 bits, and the elements of a frame.

    Parameters
    ----------
    spec : SoftmaxSpec
    features : int
        Elements of a frame, of 2..FEATURES.
    x : Shape
        Of an element.

    Members
    -------
    i : ``In(lanes(x, 1))``
    o : ``Out(lanes(signed(8), 1))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, spec: SoftmaxSpec, features: int, x: Shape = INT8) -> None:
        if not 2 <= features <= FEATURES:
            raise ValueError(f"features must be in 2..{FEATURES}, not {features}")
        if limits(x)[0] < -128 or limits(x)[1] > 127:
            raise ValueError(f"x must be a part of int8, not {x!r}")
        self.spec, self.features = spec, features
        super().__init__({"i": In(lanes(x, 1)), "o": Out(lanes(INT8, 1))})

    @staticmethod
    def latency_of(features: int) -> int:
        """Return the cycles from the last element of a frame to its first result."""
        return 1 + (features + FETCH) + (1 + STEPS + 1) * TICKS

    def elaborate(self, platform: object) -> Module: # noqa: PLR0915, one state machine
        m = Module()
        n = self.features
        m.submodules.frame = frame = memory.Memory( # type: ignore[var-annotated]
            shape=INT8, depth=n, init=[])
        m.submodules.exp = table = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(31), depth=256, init=self.spec.exponentials.tolist())
        write, element, e = frame.write_port(), frame.read_port(), table.read_port()
        count, final = Signal(range(n)), Signal()
        last = count == n - 1
        x, greatest = Signal(INT8), Signal(INT8)
        lower, weight = Signal(8, reset_less=True), Signal(31, reset_less=True)
        there, ending = Signal(FETCH), Signal(FETCH) # what was addressed so many cycles ago
        total, over = Signal(28), Signal(range(9))
        half = total << 3 # what is inverted, once the highest bit of the sum is not 0
        r = Signal(31) # that, then its reciprocal, then the unit of a result
        high, low = Signal(signed(33)), Signal(signed(32))
        product = Cat(low[-1], high).as_signed()
        ticks, sign, done = Signal(range(TICKS)), Signal(), Signal()
        step, line = Signal(range(STEPS + 2)), Signal()
        after, shifted = Signal(signed(32), reset_less=True), Signal(10, reset_less=True)
        m.d.comb += [
            x.eq(self.i.payload[0]), write.addr.eq(count), write.data.eq(x), element.addr.eq(count),
            element.en.eq(1), e.addr.eq(lower), e.en.eq(1),
        ]
        row = high + Cat(r & low[0].replicate(31) ^ sign.replicate(31), sign).as_signed()
        m.d.sync += [
            lower.eq(greatest - element.data), weight.eq(e.data),
            high.eq(row >> 1), low.eq(Cat(low[1:], row[0])),
            ticks.eq(ticks + 1), sign.eq(ticks == len(low) - 2), done.eq(ticks == TICKS - 2),
            after.eq(Mux(line, A, Mux(step[0], r, (1 << 29) + 1))
                     + Mux(line, product, Mux(step[0], product << 2, ~product))),
            shifted.eq(product >> over + 22),
        ]

        def start(factor: ValueLike) -> None:
            """Begin ``r * factor``: in front is half a unit, and what makes ``~r`` of a sign -r."""
            m.d.sync += [low.eq(factor), high.eq((1 << 30) + (1 << 31)),
                         ticks.eq(0), sign.eq(0), done.eq(0)]
            m.next = "multiply"

        def start_element() -> None:
            start(weight)
            m.d.sync += [final.eq(last), count.eq(Mux(last, 0, count + 1))]

        with m.FSM():
            with m.State("read"):
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid)]
                with m.If(self.i.valid):
                    with m.If((count == 0) | below(greatest, x)):
                        m.d.sync += greatest.eq(x)
                    m.d.sync += count.eq(Mux(last, 0, count + 1))
                    with m.If(last):
                        m.d.sync += [total.eq(0), there.eq(0), ending.eq(0), step.eq(0)]
                        m.next = "sum"
            with m.State("sum"):
                m.d.sync += [there.eq(Cat(1, there)), ending.eq(Cat(last, ending)),
                             count.eq(Mux(last, count, count + 1)), over.eq(8)]
                with m.If(there[-1]):
                    m.d.sync += total.eq(total + weight[12:] + weight[11])
                with m.If(ending[-1]):
                    m.d.sync += count.eq(0)
                    start(0)
            with m.State("multiply"):
                with m.If(~total[-1]): # while nothing is multiplied yet
                    m.d.sync += [total.eq(total << 1), over.eq(over - 1)]
                with m.If(done & (step == STEPS + 1)):
                    m.d.sync += self.o.payload[0].eq(
                        Mux(shifted > 510, 127, (shifted + 1 >> 1) - 128))
                    m.next = "give"
                with m.Elif(done):
                    m.d.sync += [step.eq(step + 1), line.eq(step == 0)]
                    with m.If(step == STEPS):
                        m.d.sync += r.eq(Mux(after[30], ONE, after << 1))
                        start_element()
                    with m.Elif(step[0]):
                        m.d.sync += r.eq(after)
                        start(half)
                    with m.Elif(step == 0):
                        m.d.sync += r.eq(half)
                        start(-B)
                    with m.Else():
                        start(after)
            with m.State("give"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready & final):
                    m.next = "read"
                with m.Elif(self.o.ready):
                    start_element()
        return m
