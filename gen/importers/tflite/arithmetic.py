"""The reference's arithmetic, in NumPy: integers of 64 bits where it has 32, none of which wrap.

Source: tensorflow/lite/kernels and its internal/ (common.cc, quantization_util.cc, kernel_util.cc,
reference/), and gemmlowp's fixedpoint.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bittern.gen.importers.errors import UnsupportedError
from bittern.hw.ints import Ints
from bittern.hw.scale import Rounding, Scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["RANGES", "Multiplier", "Quantization", "Sum", "dequantize", "floated", "hard_swish",
           "leaky_relu", "logistic", "nearest", "quantize", "rescaled", "tanh"]

RANGES = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}
"""Integers of the types that activations have."""
CLIPS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None), "RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
"""Bounds of the fused activations."""
WORD = 2**31 - 2**16
"""Integers below, with a zero point added, fit in the 32 bits of the reference."""


@dataclass(frozen=True)
class Quantization:
    """Integers of a type that stand for ``scale * (q - zero)``."""

    type: str
    scale: np.float32
    zero: int

    @property
    def lo(self) -> int:
        """The least integer."""
        return RANGES[self.type][0]

    @property
    def hi(self) -> int:
        """The greatest integer."""
        return RANGES[self.type][1]

    def clip(self, activation: str) -> tuple[int, int]:
        """Return the bounds of what an activation leaves (CalculateActivationRangeQuantized)."""
        if activation not in CLIPS:
            raise UnsupportedError(f"has the fused activation {activation}; accepted: "
                                   f"{', '.join(CLIPS)}")
        low, high = CLIPS[activation]
        return (self.lo if low is None else max(self.lo, self.code(low)),
                self.hi if high is None else min(self.hi, self.code(high)))

    def code(self, x: float) -> int:
        """Return the integer that stands for `x`, perhaps beyond the type."""
        steps = nearest(np.float32(x) / self.scale)
        if not abs(steps) < WORD:
            raise UnsupportedError(f"has the scale {self.scale:g}, in which {x:g} has more than 32 "
                                   "bits")
        return self.zero + int(steps)


def nearest(x: Any) -> Any:
    """Round halves away from zero."""
    whole = np.trunc(x)
    return whole + np.copysign(np.abs(x - whole) >= 0.5, x).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Multiplier:
    """``value * 2**(shift - 31)``, one or one for each channel.

    Parameters
    ----------
    value, shift : array ``(channels or 1,)``
    """

    value: Ints
    shift: Ints

    @classmethod
    def of(cls, real: NDArray[np.float64] | float) -> Self:
        """Return the closest to `real` (QuantizeMultiplier)."""
        fraction, shift = np.frexp(np.atleast_1d(np.asarray(real, np.float64)))
        if not (np.isfinite(fraction).all() and (shift <= 30).all()):
            raise UnsupportedError("has scales whose ratio is 2**30 or more; accepted: scales as "
                                   "quantization gives them")
        value = np.floor(fraction * (1 << 31) + 0.5).astype(np.int64)
        full = value == 1 << 31
        value, shift = np.where(full, value >> 1, value), shift.astype(np.int64) + full
        tiny = shift < -31
        return cls(np.where(tiny, 0, value), np.where(tiny, 0, shift))

    def check(self, lo: int, hi: int) -> None:
        """Raise :exc:`UnsupportedError` if integers of ``lo..hi`` would wrap."""
        left = int(self.shift.max(initial=0))
        if max(-lo, hi) << left >= WORD:
            raise UnsupportedError(f"has sums in {lo}..{hi}, which are shifted left by {left}; "
                                   "accepted: what fits in the 32 bits of the reference")

    def __call__(self, x: Ints) -> Ints:
        """Multiply, with two roundings (MultiplyByQuantizedMultiplier)."""
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        high = ((x << left) * self.value + (1 << 30)) >> 31
        mask = (1 << right) - 1
        y: Ints = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
        return y

    def steps(self, lo: int, hi: int) -> tuple[Scale, Scale]:
        """Return the two roundings, for results in ``lo..hi``."""
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        common = int(right.max())
        return (Scale(self.value << left, np.full_like(self.value, 1 << 30), 31, -2**31, 2**31 - 1),
                Scale(1 << (common - right), np.zeros_like(self.value), common, lo, hi,
                      Rounding.HALF_FROM_ZERO))

    def wide(self, lo: int, hi: int) -> Scale:
        """Return the multiplication of sums of 64 bits, which has 16 bits and one rounding."""
        value = np.where(self.value < 0x7FFF0000, (self.value + (1 << 15)) >> 16, 0x7FFF)
        shift = 15 - self.shift
        common = int(shift.max())
        if (shift < 1).any():
            raise UnsupportedError("has scales whose ratio is 2**15 or more; accepted: scales as "
                                   "quantization gives them")
        value <<= common - shift
        return Scale(value, np.full_like(value, 1 << (common - 1)), common, lo, hi)


def rescaled(multiplier: Multiplier, x: tuple[int, int], zero: int, to: Quantization,
             clip: tuple[int, int]) -> Callable[[Ints], Ints]:
    """Return the function that takes integers of the range `x`, less `zero`, to others."""
    multiplier.check(x[0] - zero, x[1] - zero)
    return lambda q: (multiplier(q - zero) + to.zero).clip(*clip)


def floated(real: NDArray[np.float64], x: tuple[int, int], to: Quantization,
            clip: tuple[int, int]) -> Callable[[Ints], Ints]:
    """Return the function that multiplies integers of the range `x` as floats of 64 bits."""
    if max(-x[0], x[1]) * real.max() >= WORD:
        raise UnsupportedError(f"has sums in {x[0]}..{x[1]}, which are beyond 32 bits after their "
                               "multiplication; accepted: what fits")
    return lambda q: (nearest(q * real).astype(np.int64) + to.zero).clip(*clip)


@dataclass(frozen=True, eq=False)
class Sum:
    """ADD and SUB: both operands in fixed point, their sum or difference, and what becomes of it.

    Parameters
    ----------
    zeros : tuple[int, int]
        Of the operands, which are shifted `left`…
    left : int
    multipliers : tuple[Multiplier, Multiplier]
        …and multiplied.
    sign : int
        Of the second operand.
    final : Multiplier
    to : Quantization
    clip : tuple[int, int]
    unit : float
        What the sum is in units of.
    """

    zeros: tuple[int, int]
    left: int
    multipliers: tuple[Multiplier, Multiplier]
    sign: int
    final: Multiplier
    to: Quantization
    clip: tuple[int, int]
    unit: float

    @classmethod
    def of(cls, x0: Quantization, x1: Quantization, to: Quantization, clip: tuple[int, int],
           *, subtract: bool) -> Self:
        """Return the sum of integers; a difference computes its scales in floats of 32 bits."""
        left = 15 if to.type == "INT16" else 20
        real = np.float32 if subtract else np.float64
        largest = np.float64(real(2) * real(max(x0.scale, x1.scale)))
        final = Multiplier.of(largest / np.float64(real(1 << left) * real(to.scale)))
        if not subtract and (final.shift > 0).any():
            raise UnsupportedError(f"has the output scale {to.scale:g}, too fine for its inputs")
        reach = sum(max(q.zero - q.lo, q.hi - q.zero) for q in (x0, x1)) << left - 1
        final.check(-reach, reach)
        return cls((x0.zero, x1.zero), left,
                   (Multiplier.of(x0.scale / largest), Multiplier.of(x1.scale / largest)),
                   -1 if subtract else 1, final, to, clip, float(largest) / (1 << left))

    def part(self, k: int, q: Ints) -> Ints:
        """Return operand `k` in fixed point; the second with its sign."""
        part = self.multipliers[k]((q - self.zeros[k]) << self.left)
        return self.sign * part if k else part

    def whole(self, total: Ints) -> Ints:
        """Return the result for a sum in fixed point."""
        return (self.final(total) + self.to.zero).clip(*self.clip)

    def __call__(self, q0: Ints, q1: Ints) -> Ints:
        """Return the result for two operands."""
        return self.whole(self.part(0, q0) + self.part(1, q1))


def leaky_relu(x: Quantization, y: Quantization, alpha: float) -> Callable[[Ints], Ints]:
    """Return LEAKY_RELU."""
    positive = Multiplier.of(float(x.scale / y.scale))
    negative = Multiplier.of(float(x.scale * np.float32(abs(alpha)) / y.scale))
    sign = -1 if alpha < 0 else 1
    for multiplier in (positive, negative):
        multiplier.check(x.lo - x.zero, x.hi - x.zero)

    def function(q: Ints) -> Ints:
        v = q - x.zero
        return (np.where(v >= 0, positive(v), sign * negative(v)) + y.zero).clip(y.lo, y.hi)

    return function


def looked_up(x: Quantization, y: Quantization,
              function: Callable[[NDArray[np.float32]], Any]) -> Callable[[Ints], Ints]:
    """Return a function that the reference computes in floats, for all integers (LUTPopulate)."""
    inverse = np.float32(1) / y.scale

    def table(q: Ints) -> Ints:
        real = function(x.scale * (q - x.zero).astype(np.float32))
        steps = nearest(real * inverse) + np.float32(y.zero)
        return np.asarray(steps, np.int64).clip(y.lo, y.hi)

    return table


def logistic(x: Quantization, y: Quantization) -> Callable[[Ints], Ints]:
    """Return LOGISTIC of 8 bits."""
    one = np.float32(1)
    return looked_up(x, y, lambda v: one / (one + np.exp(-v.astype(np.float64)).astype(np.float32)))


def tanh(x: Quantization, y: Quantization) -> Callable[[Ints], Ints]:
    """Return TANH of 8 bits."""
    return looked_up(x, y, lambda v: np.tanh(v.astype(np.float64)).astype(np.float32))


def hard_swish(x: Quantization, y: Quantization) -> Callable[[Ints], Ints]:
    """Return HARD_SWISH, which has words of 16 bits."""
    fine = np.float32(1 / 128) * x.scale
    out_value, out_shift = short(fine / y.scale)
    relu_value, relu_shift = short(fine / np.float32(3 / 32768))
    if out_shift > 0:
        raise UnsupportedError(f"goes from the scale {x.scale:g} to {y.scale:g}; accepted: at most "
                               "128 times as fine")

    def function(q: Ints) -> Ints:
        v = (q - x.zero) << 7
        scaled = (v * out_value + (1 << 14)) >> 15
        relu = saturated(v << max(relu_shift - 1, 0))
        relu = (relu * relu_value + (1 << 14)) >> 15
        relu = saturated(relu << 1) if relu_shift > 0 else divided(relu, -relu_shift)
        product = (relu + (1 << 15) >> 1) * scaled
        high = np.sign(product) * (np.abs(product) >> 15)
        result: Ints = (divided(high, -out_shift) + y.zero).clip(y.lo, y.hi)
        return result

    return function


def short(real: np.float32) -> tuple[int, int]:
    """Return a multiplier of 15 bits, and its shift (DownScaleInt32ToInt16Multiplier)."""
    multiplier = Multiplier.of(float(real))
    value = int(multiplier.value[0])
    return min((value + (1 << 15)) >> 16, 2**15 - 1), int(multiplier.shift[0])


def saturated(v: Ints) -> Ints:
    """Limit to 16 bits."""
    return v.clip(-2**15, 2**15 - 1)


def divided(v: Ints, exponent: int) -> Ints:
    """Divide by ``2**exponent`` with halves away from zero (RoundingDivideByPOT of 16 bits)."""
    mask = (1 << exponent) - 1 if exponent < 16 else -1
    y: Ints = (v >> exponent) + ((v & mask) > (mask >> 1) + (v < 0))
    return y


def quantize(x: NDArray[np.float32], to: Quantization) -> Ints:
    """Return the integers of floats (AffineQuantize), or raise :exc:`ValueError`."""
    steps: NDArray[np.float32] = nearest(x / to.scale)
    if (np.abs(steps) >= WORD).any():
        raise ValueError(f"the input is too large: in steps of {to.scale:g} it has more than 32 "
                         "bits")
    return (steps.astype(np.int64) + to.zero).clip(to.lo, to.hi)


def dequantize(q: Ints, x: Quantization) -> NDArray[np.float32]:
    """Return the floats of integers."""
    return (float(x.scale) * (q - x.zero)).astype(np.float32)
