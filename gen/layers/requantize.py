"""Requantization of every element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.folds import any_lanes, dividing_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.credit import store_of
from bittern.hw.pipeline import BLOCK
from bittern.hw.quotient import Quotient
from bittern.hw.requant import Requant, Requantizer
from bittern.hw.scale import Rounding, Scale
from bittern.hw.serial_quotient import SerialQuotient
from bittern.hw.stream import transfers
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds
from bittern.hw.turns import Turns

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Requantize"]

FACTOR = 16
"""Bits of a factor that every multiplier takes."""
SHALLOW = 8
"""Words of a table whose bits are mostly parts of functions behind it."""
SERIAL = "serial"
"""Format of the folds in which a digit of each quotient is found in a cycle."""
UNSTOPPED = "unstopped"
"""Format of the folds that go on while what follows does not take results."""


def table(depth: int, width: int) -> Cost:
    """Estimate a table: a block of memory, LUTs if it is small, hardly any if it is shallow."""
    if depth * width >= BLOCK:
        return Cost(memories=((depth, width),))
    return Cost(rom_lut(depth, width) if depth > SHALLOW else 0)


@dataclass(frozen=True, eq=False)
class Requantize(Layer):
    """``y[…, c] = spec(x[…, c])``: the same for all channels, one for each, or for each element.

    Parameters
    ----------
    spec : Requant
    turns : int
        Sets of functions, one for each channel, in `spec`: for a frame each.
    """

    spec: Requant
    turns: int = 1

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        allowed = (1, x.channels, x.size) if self.turns == 1 else (self.turns * x.channels,)
        if self.spec.channels not in allowed:
            raise ValueError(f"requantization of {self.spec.channels} channels cannot take "
                             f"{x.channels}")
        return Tensor(x.shape, *self.spec.bounds)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        if self.turns > 1:
            return self.in_turn(x)
        if self.spec.channels in (1, x.shape[-1]):
            return self.spec(x)
        return self.spec(x.reshape(len(x), -1)).reshape(x.shape)

    def _period(self, x: Tensor) -> int:
        """Return after how many elements functions repeat."""
        return x.size if self.turns == 1 and self.spec.channels == x.size else x.channels

    def _folds(self, fold: Fold, x: Tensor) -> int:
        """Return the transfers that are computed differently."""
        return self.turns * transfers(self._period(x), fold.pe)

    def of_turn(self, turn: int) -> Requantize:
        if self.turns == 1:
            return self
        channels = self.spec.channels // self.turns
        return Requantize(self.spec.part(slice(turn * channels, (turn + 1) * channels)))

    def folds(self, *xs: Tensor) -> list[Fold]:
        (x,) = xs
        # a table has a word for each transfer, also where functions differ between vectors
        found = (any_lanes if self._period(x) == x.channels else dividing_lanes)(x.channels)
        if isinstance(self.spec, Quotient) and self.spec.bits > 1:
            found += [replace(fold, format=SERIAL) for fold in found]
        return found

    def without_ready_path(self, fold: Fold, *xs: Tensor) -> Fold | None:
        (x,) = xs
        latency = self.spec.latency(self._folds(fold, x))
        return replace(fold, format=UNSTOPPED) if latency and fold.format != SERIAL else None

    def build(self, fold: Fold, *xs: Tensor) -> Requantizer | SerialQuotient:
        (x,) = xs
        bounds = {"lo": x.lo, "hi": x.hi, "features": self._period(x), "pe": fold.pe}
        turns = Turns(self.turns, x.vectors)
        if isinstance(self.spec, Quotient) and fold.format == SERIAL:
            return SerialQuotient(self.spec, **bounds, turns=turns)
        return Requantizer(self.spec, **bounds, unstopped=fold.format == UNSTOPPED, turns=turns)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        (x,) = xs
        return x.vectors * len(self.timing(fold, x).takes)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        (x,) = xs
        spec, count = self.spec, transfers(x.channels, fold.pe)
        folds = self._folds(fold, x)
        if isinstance(spec, Quotient) and fold.format == SERIAL:
            rest = (False,) * (spec.bits - 1)
            return Steps((True, *rest) * count, (*rest, True) * count,
                         SerialQuotient.latency_of(spec, folds) - len(rest))
        latency = spec.latency(folds)
        return Steps((True,) * count, (True,) * count, latency,
                     store=store_of(latency) if fold.format == UNSTOPPED else 0)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        if fold.format != UNSTOPPED:
            return self._cost(fold, x)
        store = self.timing(fold, x).store, fold.pe * self.infer(x).element.width
        return self._cost(fold, x) + Cost(25, 20, (store,))

    def _cost(self, fold: Fold, x: Tensor) -> Cost:
        spec, width = self.spec, x.element.width
        folds = self._folds(fold, x) if spec.channels > 1 else 1
        if isinstance(spec, Quotient):
            if fold.format == SERIAL:
                shared = Cost(15 if folds > 1 else 6, 12)
                return shared + _times(fold.pe, _serial_cost(spec, width, folds))
            return _times(fold.pe, _quotient_cost(spec, width, folds))
        if isinstance(spec, Table):
            return _times(fold.pe, table(folds << width, self.infer(x).element.width))
        delayed = width * spec.latency(folds)
        if isinstance(spec, Thresholds):
            if spec.is_sign:
                return Cost()
            tables = [table(folds << level, width) for level in range(spec.bits)]
            return _times(fold.pe, sum(tables, Cost(spec.bits * (width + 1), delayed,
                                                    bare=delayed)))
        assert isinstance(spec, Scale)
        m_bits = int(spec.multiplier.max()).bit_length() if spec.multiplies else 0
        words = table(folds, m_bits + width) if m_bits else Cost()
        # synthesis makes them of multipliers
        dsp = transfers(width, FACTOR) * transfers(m_bits, FACTOR)
        return _times(fold.pe, words + Cost(width + 12, delayed, bare=delayed, dsp=dsp))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)
        x = Tensor((5,), -20, 20)
        specs = [Thresholds(np.sort(rng.integers(-22, 22, (5, 3)), axis=1), -1),
                 Thresholds(np.sort(rng.integers(-22, 22, (1, 6)), axis=1), 0),
                 Thresholds(np.zeros((1, 1), dtype=np.int64), 0),
                 Scale(rng.integers(1, 9, 5), rng.integers(-9, 9, 5), 4, -3, 4),
                 Scale(np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 2, 0, 7,
                       Rounding.HALF_EVEN),
                 Quotient(rng.integers(9, 40, 5), rng.integers(-20, 20, (5, 2)), 1, -4, 3, -5),
                 Quotient(rng.integers(9, 40, 5), rng.integers(0, 4, (5, 1)), 2, 0, 6),
                 Table(rng.integers(-3, 9, (5, 41)), -20)]
        maps = Tensor((2, 3, 4), -20, 20)
        pairs = Tensor((3, 5), -20, 20)
        taking_turns = [spec.join([spec, spec.part(slice(None, None, -1))], 5)
                        for spec in (specs[0], specs[3], specs[5], specs[7])]
        return [*((cls(spec), (x,)) for spec in specs),
                *((cls(spec, 2), (pairs,)) for spec in taking_turns if spec),
                (cls(Thresholds(np.sort(rng.integers(-22, 22, (24, 3)), axis=1), -1)), (maps,)),
                (cls(Quotient(rng.integers(9, 40, 4), rng.integers(0, 4, (4, 1)), 2, -8, 7)),
                 (maps,)),
                (cls(Quotient(rng.integers(9, 40, 24), rng.integers(-9, 9, (24, 1)), 0, 0, 3)),
                 (maps,)),
                (cls(Table(rng.integers(-3, 9, (1, 41)), -20)), (maps,))]


def _times(count: int, one: Cost) -> Cost:
    return Cost(count * one.lut4, count * one.ff, count * one.memories, count * one.bare,
                count * one.dsp, one.port)


def _quotient_cost(spec: Quotient, width: int, folds: int) -> Cost:
    """Estimate a divider of accumulators of `width` bits, with so many words in its table."""
    divisor, bias = (shape.width for shape in spec.words)
    digits, read = spec.bits - 1, folds > 1
    lut = digits * (divisor + 5) + spec.adds * (width + 1) + 16
    # what passes through all digits: the divisor, if it is not constant, and digits
    passed = digits * (read * divisor + spec.bits // 2)
    held = read * (2 * width + divisor + bias)
    ff = held + passed + digits * (divisor + 4) + spec.adds * (width + spec.shift)
    words = table(folds * len(spec.bias[0]), divisor + bias) if read else Cost()
    return words + Cost(lut, ff, bare=held + passed)


def _serial_cost(spec: Quotient, width: int, folds: int) -> Cost:
    """Estimate a divider of a digit a cycle, without what all lanes share."""
    divisor, bias = (shape.width for shape in spec.words)
    read, kept = folds > 1, min(divisor - spec.shift + 2, width)
    lut = 2 * divisor + 4 if read else 3 * divisor // 2 + 12 if spec.adds else divisor + 13
    held = kept * (1 + read) + read * divisor
    words = table(2 * folds * len(spec.bias[0]), max(divisor, bias) + 1) if read else Cost()
    return words + Cost(lut, held + divisor + 3 + spec.bits, bare=held)
