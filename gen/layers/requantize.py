"""Requantization of every element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.pipeline import BLOCK
from bittern.hw.requant import Requant, Requantizer
from bittern.hw.scale import Rounding, Scale
from bittern.hw.stream import transfers
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Requantize"]

FACTOR = 16
"""Bits of a factor that every multiplier takes."""


def table(depth: int, width: int) -> Cost:
    """Estimate a table: a block of memory, or LUTs if it is small."""
    if depth * width >= BLOCK:
        return Cost(memories=((depth, width),))
    return Cost(rom_lut(depth, width))


@dataclass(frozen=True, eq=False)
class Requantize(Layer):
    """``y[…, c] = spec(x[…, c])``: the same for all channels, one for each, or for each element."""

    spec: Requant

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if self.spec.channels not in (1, x.channels, x.size):
            raise ValueError(f"requantization of {self.spec.channels} channels cannot take "
                             f"{x.channels}")
        return Tensor(x.shape, *self.spec.bounds)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        if self.spec.channels == x.shape[-1]:
            return self.spec(x)
        return self.spec(x.reshape(len(x), -1)).reshape(x.shape)

    def folds(self, *xs: Tensor) -> list[Fold]:
        n = xs[0].size
        return [Fold(k, k) for k in sorted({transfers(n, transfers(n, k))
                                            for k in range(1, n + 1)})]

    def build(self, fold: Fold, *xs: Tensor) -> Requantizer:
        (x,) = xs
        return Requantizer(self.spec, lo=x.lo, hi=x.hi, features=x.size, pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return transfers(xs[0].size, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        folds = transfers(xs[0].size, fold.pe)
        return Steps((True,) * folds, (True,) * folds, self.spec.latency(folds))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        spec, width = self.spec, x.element.width
        folds = transfers(x.size, fold.pe) if spec.channels > 1 else 1
        delayed = fold.pe * width * spec.latency(folds)
        if isinstance(spec, Thresholds):
            if spec.is_sign:
                return Cost()
            tables = [table(folds << level, width) for level in range(spec.bits)]
            return sum(tables * fold.pe, Cost(fold.pe * spec.bits * (width + 1), delayed,
                                              bare=delayed))
        assert isinstance(spec, Scale)
        m_bits = int(spec.multiplier.max()).bit_length() if spec.multiplies else 0
        tables = [table(folds, m_bits + width)] if m_bits else []
        # synthesis makes them of multipliers
        dsp = transfers(width, FACTOR) * transfers(m_bits, FACTOR)
        return sum(tables * fold.pe, Cost(fold.pe * (width + 12), delayed, bare=delayed,
                                          dsp=fold.pe * dsp))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)
        x = Tensor((5,), -20, 20)
        specs = [Thresholds(np.sort(rng.integers(-22, 22, (5, 3)), axis=1), -1),
                 Thresholds(np.sort(rng.integers(-22, 22, (1, 6)), axis=1), 0),
                 Thresholds(np.zeros((1, 1), dtype=np.int64), 0),
                 Scale(rng.integers(1, 9, 5), rng.integers(-9, 9, 5), 4, -3, 4),
                 Scale(np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 2, 0, 7,
                       Rounding.HALF_EVEN)]
        return [(cls(spec), (x,)) for spec in specs]
