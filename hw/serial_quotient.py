"""Quotients, one digit a cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of, width_of
from bittern.hw.pipeline import Stages
from bittern.hw.quotient import Remainder, difference
from bittern.hw.requant import Fold
from bittern.hw.saturation import clipped
from bittern.hw.stream import lanes
from bittern.hw.turns import ONCE

if TYPE_CHECKING:
    from amaranth import Shape, Value

    from bittern.hw.quotient import Quotient
    from bittern.hw.turns import Turns

__all__ = ["SerialQuotient"]


class SerialQuotient(wiring.Component):
    """Requantization by a division, with one subtractor for each lane: ``o = spec(i)``.

    For layers whose results come no closer: a transfer every `interval_of` cycles, one for each bit
    of the result. :class:`bittern.hw.requant.Requantizer` takes one in every cycle, with a
    subtractor for each bit. ``ready`` passes combinationally from ``o`` to ``i``.

    Source: as :class:`bittern.hw.quotient.Quotient`.

    Parameters
    ----------
    spec : Quotient
        Of at least two bits.
    lo, hi : int
        Bounds of the accumulators.
    features : int
        Elements of a frame: channels, if `spec` has more than one.
    pe : int
        Elements of a transfer. The lanes of a frame's last transfer beyond `features` are
        undefined, here and after.
    turns : Turns
        Of the functions of `spec`.

    Members
    -------
    i : ``In(lanes(shape_of(lo, hi), pe))``
    o : ``Out(lanes(shape_of(*spec.bounds), pe))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, spec: Quotient, *, lo: int, hi: int, features: int, pe: int,
                 turns: Turns = ONCE) -> None:
        if spec.channels not in (1, turns.count * features):
            raise ValueError(f"spec must have 1 or {turns.count * features} channels, "
                             f"not {spec.channels}")
        if spec.bits < 2:
            raise ValueError(f"spec must have results of at least 2 bits, not {spec.bits}")
        self.spec, self.fold = spec, Fold(lo, hi, features, pe, turns)
        super().__init__({"i": In(lanes(shape_of(lo, hi), pe)),
                          "o": Out(lanes(shape_of(*spec.bounds), pe))})

    @staticmethod
    def interval_of(spec: Quotient) -> int:
        """Return the cycles between transfers."""
        return spec.bits

    @staticmethod
    def latency_of(spec: Quotient, folds: int) -> int:
        """Return the cycles from a transfer to its results, for frames of `folds` transfers."""
        return spec.bits + 1 + spec.is_read(folds)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        read = spec.is_read(self.fold.folds)
        step, enable, take, end = Signal(range(spec.bits)), Signal(), Signal(), Signal()
        channel = self.fold.count(m, enable & end)
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), take.eq(step == 0),
                     end.eq(step == spec.bits - 1), self.i.ready.eq(enable & take)]
        flags = take & self.i.valid, end
        for k in range(1 + read):
            load, last = late = Signal(name=f"load_{k}"), Signal(name=f"last_{k}")
            with m.If(enable):
                m.d.sync += [q.eq(flag) for q, flag in zip(late, flags, strict=True)]
            flags = late
        with m.If(enable):
            m.d.sync += [step.eq(Mux(end, 0, step + (self.i.valid | ~take))), self.o.valid.eq(last)]
        m.d.comb += [self.o.payload[k].eq(self._lane(m, k, enable, load, Cat(take, channel)))
                     for k in range(self.fold.pe)]
        return m

    def _lane(self, m: Module, k: int, enable: Value, load: Value, address: Value) -> Value:
        """Return the results of lane `k`, which takes a new accumulator where `load`."""
        spec, x, stages = self.spec, self.i.payload[k], Stages(m, enable)
        above = x >= spec.pivot if spec.is_kinked else Const(0, 0)
        words, shape = self._words(k)
        if spec.is_read(self.fold.folds):
            mask = (1 << shape.width) - 1
            word = stages.table([w & mask for w in words], shape.width, Cat(above, address),
                                f"words_{k}")
            (acc,) = stages.stage([self._kept(x)], f"address_{k}")
            # a block of memory is too slow for more than to be read
            acc, word = stages.stage([acc, word.as_signed()], f"read_{k}")
        else:
            acc, above = stages.stage([self._kept(x), above], f"held_{k}")
            divisor, *first = (Const(w, shape) for w in words[len(spec.bias[0]) - 1:])
            word = Mux(load, Mux(above, first[-1], first[0]), divisor)
        low, high = self._first
        width = spec.words[0].width
        rest = Remainder(
            Signal(signed(max(width_of(low, high), width + 2)), name=f"rest_{k}", reset_less=True),
            Signal(name=f"negative_{k}", reset_less=True),
            Signal(spec.bits - 1, name=f"digits_{k}", reset_less=True), Const(0, 1))
        doubled = Cat(rest.is_negative, rest.magnitude[:width])
        beyond = rest.magnitude[width:].any()
        with m.If(enable):
            m.d.sync += rest.digits.eq(Cat(~rest.is_negative, rest.digits))
            # what is beyond the divisor stays there, so that all digits are the same
            with m.If(load | ~beyond):
                m.d.sync += [rest.value.eq(difference(Mux(load, acc << spec.shift, doubled), word)),
                             rest.negative.eq(~load & rest.is_negative)]
        return clipped(stages, rest.quotient(signed=spec.lo < 0), *spec.bounds)

    def _words(self, k: int) -> tuple[list[int], Shape]:
        """Return what is subtracted in lane `k`, inverted, and its shape.

        For each transfer the divisor, and what is subtracted at first: one for each line.
        """
        divisor, bias = self.spec.divisor[:, np.newaxis], self.spec.bias
        parts = divisor.repeat(len(bias[0]), axis=1), -bias
        words = ~np.concatenate([self.fold.lane(part, k) for part in parts], axis=1)
        return words.ravel().tolist(), shape_of(int(words.min()), int(words.max()))

    @property
    def _bits(self) -> int:
        """Bits of an accumulator that are kept: enough that those beyond all bounds stay so."""
        most = int(self.spec.divisor.max()) + int(abs(self.spec.bias).max())
        return min((most >> self.spec.shift).bit_length() + 2,
                   width_of(min(self.fold.lo, -1), self.fold.hi))

    @property
    def _first(self) -> tuple[int, int]:
        """Bounds of the first remainder."""
        end, bias = 1 << self._bits - 1 + self.spec.shift, self.spec.bias
        return min(int(bias.min()) - end, -1), int(bias.max()) + end - 1

    def _kept(self, acc: Value) -> Value:
        """Return the accumulator in so many bits; where they do not suffice, far from zero."""
        if not acc.shape().signed:
            acc = Cat(acc, Const(0, 1))
        bits, sign = self._bits, acc[-1]
        over = (acc[bits - 1:-1] ^ sign.replicate(max(len(acc) - bits, 0))).any()
        return Cat(acc[:bits - 2], Mux(over, ~sign, acc[bits - 2]), sign).as_signed()
