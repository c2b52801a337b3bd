"""Scale: requantization by a multiplication, or only a shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaranth import Const, Value

from bittern.hw.ints import Ints, shape_of, width_of
from bittern.hw.requant import Requant
from bittern.hw.rounding import Rounding, round_shift, rounded
from bittern.hw.saturation import clipped

if TYPE_CHECKING:
    from bittern.hw.pipeline import Pipeline
    from bittern.hw.requant import Fold

__all__ = ["Rounding", "Scale"]


@dataclass(frozen=True, eq=False)
class Scale(Requant):
    """``y = clip(round((acc * multiplier[c] + bias[c]) / 2**shift), lo, hi)``.

    Source: the fixed-point multiplier of integer-only inference (Jacob et al. 2018,
    arXiv:1712.05877), with as few bits as the function needs.

    Parameters
    ----------
    multiplier, bias : array ``(channels or 1,)``
        Multipliers are not negative. Where all are 1, nothing is multiplied.
    shift : int
        Bits of the fraction.
    lo, hi : int
        Bounds of the result.
    rounding : Rounding
    """

    multiplier: Ints
    bias: Ints
    shift: int
    lo: int
    hi: int
    rounding: Rounding = Rounding.FLOOR

    def __post_init__(self) -> None:
        if self.multiplier.shape != self.bias.shape or self.multiplier.ndim != 1:
            raise ValueError("multiplier and bias must be of the same length")
        if self.multiplier.min() < 0 or self.shift < 0:
            raise ValueError("multiplier and shift must not be negative")

    @property
    def bounds(self) -> tuple[int, int]:
        return self.lo, self.hi

    @property
    def channels(self) -> int:
        return len(self.multiplier)

    @property
    def multiplies(self) -> bool:
        """Whether some multiplier is not 1."""
        return bool((self.multiplier != 1).any())

    def __call__(self, acc: Ints) -> Ints:
        v = acc * self.multiplier + self.bias
        return round_shift(v, self.shift, self.rounding).clip(self.lo, self.hi)

    def latency(self, folds: int) -> int:
        # a stage reads the parameters where they are no constants, one multiplies, one rounds
        return (self.channels > 1 and folds > 1) + self.multiplies + 1

    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Fold) -> list[Value]:
        folds = unit.folds if self.channels > 1 else 1
        fold = unit.count(pipeline.m, pipeline.goes) if folds > 1 else Const(0, 0)
        m_width = width_of(0, int(self.multiplier.max()))
        b_shape = shape_of(int(self.bias.min()), int(self.bias.max()))
        tables = [[pipeline.table((unit.lane(values[:, None], k).ravel() & mask).tolist(),
                                  width, fold, f"{name}_{k}") for k in range(unit.pe)]
                  for name, values, width, mask in (
                      ("multiplier", self.multiplier, m_width, -1),
                      ("bias", self.bias, b_shape.width, (1 << b_shape.width) - 1))]
        if folds > 1:
            acc = pipeline.stage(acc, "read")
        multiplier = tables[0]
        bias = [b.as_signed() if b_shape.signed else b for b in tables[1]]
        if self.multiplies:
            n = len(acc)
            held = pipeline.stage(
                [*(a * mul for a, mul in zip(acc, multiplier, strict=True)), *bias], "product")
            acc, bias = held[:n], held[n:]
        v = [a + b if self.bias.any() else a for a, b in zip(acc, bias, strict=True)]
        return pipeline.stage([clipped(pipeline, rounded(a, self.shift, self.rounding),
                                       self.lo, self.hi) for a in v], "result")
