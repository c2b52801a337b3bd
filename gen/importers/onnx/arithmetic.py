"""The arithmetic of ONNX Runtime on the CPU, in NumPy: every rounding in the same place.

The order of operations is that of its kernels for processors with fused multiply-add, and is held
by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import UnsupportedError

if TYPE_CHECKING:
    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["Quantization", "addends", "average", "exact_bits", "float32", "fma", "hard_sigmoid",
           "logistic", "multiply", "output_scale", "quantized_softmax", "requantize",
           "rounded_sum", "saturated", "softmax", "tanh"]

BEYOND = 2.0**31
"""What no longer fits in 32 bits."""
LOGISTIC = ((4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05,
             8.51377133304701e-03, 2.48287947061529e-01),
            (6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06,
             1.70198817374094e-03, 1.16817656904453e-01, 9.93151921023180e-01))
TANH = ((-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11,
         5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
        (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03))
"""Coefficients of polynomials in the square of x, of the numerator over x and the denominator."""


def float32(x: Array | float) -> Array:
    """Return floats of 32 bits, rounded once."""
    return np.asarray(x).astype(np.float32)


@dataclass(frozen=True)
class Quantization:
    """What integers of 8 bits stand for: ``scale * (q - zero)``."""

    scale: np.float32
    zero: int
    dtype: np.dtype[Any]

    @property
    def lo(self) -> int:
        """The least integer."""
        return -128 if self.dtype == np.int8 else 0

    @property
    def hi(self) -> int:
        """The greatest integer."""
        return self.lo + 255

    def clip(self, y: Array) -> Ints:
        """Round what lacks the zero point, after it is clipped, and add the zero point."""
        bounds = np.float32(self.lo - self.zero), np.float32(self.hi - self.zero)
        q: Ints = np.rint(np.clip(y, *bounds)).astype(np.int64) + self.zero
        return q

    def codes(self, x: Array) -> Ints:
        """Quantize: QuantizeLinear."""
        return self.clip(x / self.scale)

    def floats(self, q: Ints) -> Array:
        """Return what integers stand for: DequantizeLinear."""
        return float32(q - self.zero) * self.scale


def output_scale(x: Array | np.float32, weights: Array | np.float32, y: np.float32) -> Array:
    """Return the factor from sums of products to the output."""
    return np.asarray(x * weights / y)


def requantize(acc: Ints, factor: Array, to: Quantization) -> Ints:
    """Requantize sums: of QLinearConv, QLinearMatMul, QGemm and QLinearGlobalAveragePool."""
    if not np.isfinite(factor).all():
        raise UnsupportedError(f"its result is rescaled by infinity: its scale {to.scale:g} is too "
                               "small for those of its operands")
    return to.clip(float32(acc) * factor)


def rounded_sum(a: Array, b: Array) -> Array:
    """Return the sum of floats of 64 bits as floats of 32 bits, rounded once.

    It is rounded to odd in 64 bits, so that rounding it again is as rounding the exact sum.
    """
    total = np.asarray(a + b, np.float64)
    part = total - a
    error = (a - (total - part)) + (b - part)
    even = total.view(np.int64) & 1 == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    return float32(np.where((error != 0) & even, np.nextafter(total, toward), total))


def fma(a: Array | np.float32, b: Array | np.float32, c: Array | np.float32) -> Array:
    """Return ``a * b + c`` of floats of 32 bits, rounded once."""
    return rounded_sum(np.asarray(a, np.float64) * np.asarray(b, np.float64),
                       np.asarray(c, np.float64))


def saturated(y: Array, to: Quantization) -> Ints:
    """Round what has the zero point in it, and clip.

    Some of the reference's kernels convert to 32 bits before they clip, and on some processors what
    is beyond becomes the least integer: that is refused.
    """
    if not np.abs(y).max(initial=0) < BEYOND:
        raise UnsupportedError(f"its output scale {to.scale:g} is too small for its inputs: "
                               "results leave 32 bits before they are clipped")
    return np.clip(np.rint(y), to.lo, to.hi).astype(np.int64)


def addends(x0: Quantization, x1: Quantization, to: Quantization) -> tuple[Array, Array]:
    """Return what QLinearAdd adds for each integer: two tables, whose sums it rounds once.

    A scalar that is broadcast comes second.
    """
    ratio0, ratio1 = x0.scale / to.scale, x1.scale / to.scale
    fixed = np.float32(to.zero) - fma(ratio0, np.float32(x0.zero), ratio1 * np.float32(x1.zero))
    q0, q1 = (np.arange(x.lo, x.hi + 1) for x in (x0, x1))
    return q0 * np.float64(ratio0), np.asarray(fma(float32(q1), ratio1, fixed), np.float64)


def multiply(acc: Ints, x0: Quantization, x1: Quantization, to: Quantization) -> Ints:
    """Requantize products of integers less their zero points: QLinearMul."""
    factor = output_scale(x0.scale, x1.scale, to.scale)
    return saturated(float32(acc) * factor + np.float32(to.zero), to)


def average(x: Quantization, taps: int, count: int, to: Quantization) -> tuple[int, Ints] | None:
    """Return the least sum of `taps` integers less their zero point, and what becomes of each sum.

    QLinearAveragePool adds floats in order, so that equal sums of integers may differ in their last
    bits. The extremes of each sum are known, because rounding is monotone. None if they make a
    difference in the mean over `count`.
    """
    floats = x.floats(np.arange(x.lo, x.hi + 1))
    lo, hi = floats, floats
    for n in range(2, taps + 1):
        least = np.full(n * (len(floats) - 1) + 1, np.inf, np.float32)
        greatest = -least
        for k, value in enumerate(floats):
            part = slice(k, k + len(lo))
            np.minimum(least[part], lo + value, out=least[part])
            np.maximum(greatest[part], hi + value, out=greatest[part])
        lo, hi = least, greatest
    least_code, greatest_code = (
        saturated(end / np.float32(count) / to.scale + np.float32(to.zero), to)
        for end in (lo, hi))
    if not np.array_equal(least_code, greatest_code):
        return None
    return taps * (x.lo - x.zero), least_code


def rational(x: Array, bound: float, coefficients: tuple[tuple[float, ...], ...]) -> Array:
    """Return a quotient of polynomials, within ``-bound..bound``."""
    x = np.clip(x, np.float32(-bound), np.float32(bound))
    square = x * x
    p, q = (reduce(lambda y, c: fma(y, square, np.float32(c)), row[1:], float32(row[0]))
            for row in coefficients)
    y: Array = p * x / q
    return y


def logistic(x: Array) -> Array:
    """Sigmoid."""
    y: Array = np.clip(rational(x, 18, LOGISTIC) + np.float32(0.5), np.float32(0), np.float32(1))
    return y


def tanh(x: Array) -> Array:
    """Tanh."""
    return rational(x, 9, TANH)


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    """HardSigmoid."""
    y: Array = np.clip(np.float32(alpha) * x + np.float32(beta), np.float32(0), np.float32(1))
    return y


def softmax(x: Array, axis: int) -> Array:
    """Softmax, rounded once: the reference's rounds at every step, in an order of the processor."""
    e = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    return float32(e / e.sum(axis=axis, keepdims=True))


def quantized_softmax(q: Ints, axis: int, x: Quantization, to: Quantization) -> Ints:
    """QLinearSoftmax: a table of exponentials, summed in order."""
    length = q.shape[axis]
    shift = max(0.0, np.log(np.float64(np.finfo(np.float32).max / np.float32(length))) - 5)
    shift /= np.float64(x.scale)
    table = float32(np.exp((np.arange(256) - 255 + shift) * np.float64(x.scale)))
    e = np.moveaxis(table[q - q.max(axis=axis, keepdims=True) + 255], axis, -1)
    total = np.add.accumulate(e, axis=-1)[..., -1:]
    y = np.rint(e * np.floor(np.float32(1) / to.scale) / total).astype(np.int64) + to.zero
    return np.moveaxis(np.minimum(y, 255), -1, axis)


def exact_bits(values: Array) -> tuple[int, int]:
    """Return the exponent of the unit of which all floats are multiples, and the greatest one.

    That is ``(e, n)`` where all are ``k * 2**e`` with integers of at most `n`.
    """
    mantissa, exponent = np.frexp(np.abs(values[values != 0]).astype(np.float64))
    if not mantissa.size:
        return 0, 0
    whole = (mantissa * 2**53).astype(np.int64)
    low = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    unit = int((exponent - 53 + low).min())
    return unit, int(np.ldexp(np.abs(values.astype(np.float64)).max(), -unit))
