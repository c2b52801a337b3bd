"""Quotient: requantization by a division."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, unsigned

from bittern.hw.ints import Ints, shape_of, width_of
from bittern.hw.requant import Requant
from bittern.hw.saturation import clipped, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Shape, Value

    from bittern.hw.pipeline import Pipeline
    from bittern.hw.requant import Fold

__all__ = ["Quotient", "Remainder"]


@dataclass(frozen=True, eq=False)
class Quotient(Requant):
    """``y = clip(middle + floor(((acc << shift) + bias[c] << bits - 1) / divisor[c]), lo, hi)``.

    Any line, as a multiplication is, but built of a subtraction for each bit of the result, not of
    the multiplier; what is out of bounds saturates by itself. `divisor` is what half of all results
    take of accumulators. From `pivot` on the bias may be another one: what is rounded twice, or
    away from zero, is two parallel lines.

    Source: non-restoring division (J. E. Robertson, "A New Class of Digital Division Methods",
    1958).

    Parameters
    ----------
    divisor : array ``(channels or 1,)``
        At least 1.
    bias : array ``(channels or 1, 1 or 2)``
        The second one, where there are two, is that of accumulators from `pivot` on.
    shift : int
        Bits of the fraction of `divisor` and `bias`.
    lo, hi : int
        Bounds of the result.
    pivot : int
    """

    divisor: Ints
    bias: Ints
    shift: int
    lo: int
    hi: int
    pivot: int = 0

    def __post_init__(self) -> None:
        if (self.bias.ndim != 2 or self.bias.shape[1] not in {1, 2}
                or self.divisor.shape != self.bias.shape[:1]):
            raise ValueError("divisor and bias must be of shapes (n,) and (n, 1) or (n, 2), not "
                             f"{self.divisor.shape} and {self.bias.shape}")
        if self.divisor.min() < 1 or self.shift < 0:
            raise ValueError("divisor must be positive, and shift not negative")

    @property
    def bounds(self) -> tuple[int, int]:
        return self.lo, self.hi

    @property
    def channels(self) -> int:
        return len(self.divisor)

    @property
    def bits(self) -> int:
        """Bits of the result, which are the digits of the quotient."""
        return width_of(self.lo, self.hi)

    @property
    def middle(self) -> int:
        """The least result whose first digit is 1."""
        return 0 if self.lo < 0 else 1 << self.bits - 1

    @property
    def is_kinked(self) -> bool:
        """Whether there are two lines."""
        return len(self.bias[0]) > 1

    @property
    def adds(self) -> bool:
        """Whether some bias is more than a fraction, which has its place beside accumulators."""
        return bool(((self.bias >> self.shift) != 0).any())

    @property
    def clips(self) -> bool:
        """Whether the bounds are closer than those of the bits."""
        return limits(shape_of(*self.bounds)) != self.bounds

    @property
    def words(self) -> tuple[Shape, Shape]:
        """Shapes of `divisor` and `bias`."""
        return shape_of(0, int(self.divisor.max())), (
            shape_of(int(self.bias.min()), int(self.bias.max())) if self.adds
            else unsigned(self.shift))

    def __call__(self, acc: Ints) -> Ints:
        bias = self.bias[:, 0]
        if self.is_kinked:
            bias = np.where(acc < self.pivot, bias, self.bias[:, 1])
        dividend = ((acc << self.shift) + bias) << self.bits - 1
        y: Ints = (dividend // self.divisor + self.middle).clip(self.lo, self.hi)
        return y

    @classmethod
    def join(cls, parts: Sequence[Self], channels: int) -> Self | None:
        shift = max(part.shift for part in parts)
        lines = max(len(part.bias[0]) for part in parts)
        pivot = next((part.pivot for part in parts if part.is_kinked), 0)
        return super().join([replace(
            part, divisor=part.divisor << shift - part.shift, shift=shift,
            bias=part.bias.repeat(lines // len(part.bias[0]), axis=1) << shift - part.shift,
            pivot=part.pivot if part.is_kinked else pivot) for part in parts], channels)

    def is_read(self, folds: int) -> bool:
        """Return whether frames of `folds` transfers need a table of parameters."""
        return self.channels > 1 and folds > 1

    def latency(self, folds: int) -> int:
        # a block of memory is too slow for more than to be read; the first digit is the sign
        return 2 * self.is_read(folds) + self.adds + self.bits - 1 + self.clips

    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Fold) -> list[Value]:
        read = self.is_read(unit.folds)
        fold = unit.count(pipeline.m, pipeline.goes) if read else Const(0, 0)
        pairs = [self._parameters(pipeline, a, unit, k, fold) for k, a in enumerate(acc)]
        inverses, biases = [d for d, _ in pairs], [b for _, b in pairs]
        if read:
            acc = pipeline.stage(acc, "address")
            held = _stage(pipeline, [*acc, *inverses, *biases], "read")
            acc, inverses, biases = (held[k:k + unit.pe] for k in range(0, len(held), unit.pe))
        rests = [Remainder.of(a, b, self.shift) for a, b in zip(acc, biases, strict=True)]
        if self.adds:
            rests, inverses = _next(pipeline, rests, inverses, "biased")
        for digit in range(1, self.bits):
            rests = [rest.step(d) for rest, d in zip(rests, inverses, strict=True)]
            rests, inverses = _next(pipeline, rests, inverses, f"digit_{digit}")
        y = [rest.quotient(signed=self.lo < 0) for rest in rests]
        if self.clips:
            y = pipeline.stage([clipped(pipeline, v, self.lo, self.hi) for v in y], "clipped")
        return y

    def _parameters(self, pipeline: Pipeline, acc: Value, unit: Fold, k: int, fold: Value
                    ) -> tuple[Value, Value]:
        """Return inverted divisor, and bias, of lane `k`: at the next stage, if from a table."""
        d_shape, b_shape = self.words
        above: Value = acc >= self.pivot if self.is_kinked else Const(0, 0)
        full = (1 << d_shape.width) - 1
        inverses = (full - unit.lane(self.divisor[:, np.newaxis], k)).ravel().tolist()
        biases = unit.lane(self.bias, k).tolist()
        if not self.is_read(unit.folds):
            low, *high = (Const(b, b_shape) for b in biases[0])
            return Const(inverses[0], d_shape), Mux(above, high[0], low) if high else low
        mask = (1 << b_shape.width) - 1
        words = [d | (b & mask) << d_shape.width
                 for d, pair in zip(inverses, biases, strict=True) for b in pair]
        word = pipeline.table(words, d_shape.width + b_shape.width, Cat(above, fold),
                              f"parameters_{k}")
        bias = word[d_shape.width:]
        return word[:d_shape.width], bias.as_signed() if b_shape.signed else bias


@dataclass(frozen=True)
class Remainder:
    """What is left of a dividend between two digits of its quotient.

    The remainder is `value`, inverted if the one before was `negative`. Of its magnitude (that of
    one's complement), doubled, the divisor is always subtracted: adding to what is negative is
    the same, inverted. A digit is 1 where the remainder is not negative.

    Parameters
    ----------
    value : Value
        Signed.
    negative : Value
    digits : Value
        So far, the last one lowest.
    beyond : Value
        Whether a magnitude had more bits than the divisor: all digits are as the first one.
    """

    value: Value
    negative: Value
    digits: Value
    beyond: Value

    @classmethod
    def of(cls, acc: Value, bias: Value, shift: int) -> Self:
        """Return ``acc * 2**shift + bias`` as the first remainder."""
        if len(bias) > shift:
            above = bias[shift:].as_signed() if bias.shape().signed else bias[shift:]
            acc = acc + above
        sign = Cat() if acc.shape().signed else Const(0, 1)
        return cls(Cat(bias[:shift], acc, sign).as_signed(), Const(0, 1), Cat(), Const(0, 1))

    @property
    def is_negative(self) -> Value:
        """Whether this remainder is."""
        return self.negative ^ self.value[-1]

    @property
    def magnitude(self) -> Value:
        """Unsigned."""
        return self.value[:-1] ^ self.value[-1].replicate(len(self.value) - 1)

    def step(self, inverse: Value) -> Remainder:
        """Return the next remainder, given the bits of the divisor, inverted."""
        low, high = self.magnitude[:len(inverse)], self.magnitude[len(inverse):]
        value = difference(Cat(self.is_negative, low), Cat(inverse, Const(1, 1)).as_signed())
        return Remainder(value[:len(inverse) + 2].as_signed(), self.is_negative,
                         Cat(~self.is_negative, self.digits), self.beyond | high.any())

    def quotient(self, *, signed: bool) -> Value:
        """Return the digits, of which the sign of this remainder is the last one."""
        digits = Cat(~self.is_negative, self.digits)
        first = digits[-1]
        rest = Mux(self.beyond, first.replicate(len(digits) - 1), digits[:-1])
        return Cat(rest, ~first).as_signed() if signed else Cat(rest, first)


def difference(a: Value, inverse: Value) -> Value:
    """Return ``a - b``, given a signed ``~b``: an adder, which carries in from below its bits.

    Carry cells of the iCE40 do not invert.
    """
    sign = Cat() if a.shape().signed else Const(0, 1)
    total = Cat(Const(1, 1), a, sign).as_signed() + Cat(Const(1, 1), inverse).as_signed()
    return total[1:].as_signed()


def _next(pipeline: Pipeline, rests: list[Remainder], inverses: list[Value], name: str
          ) -> tuple[list[Remainder], list[Value]]:
    """Return remainders and inverses a level later."""
    values = [v for rest in rests for v in (rest.value, rest.negative, rest.digits, rest.beyond)]
    held = _stage(pipeline, [*values, *inverses], name)
    rests = [Remainder(*held[4 * k:4 * k + 4]) for k in range(len(rests))]
    return rests, held[4 * len(rests):]


def _stage(pipeline: Pipeline, values: list[Value], name: str) -> list[Value]:
    """Return `values` a level later; constants stay what they are."""
    held = iter(pipeline.stage([v for v in values if not isinstance(v, Const)], name))
    return [v if isinstance(v, Const) else next(held) for v in values]
