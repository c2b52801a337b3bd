"""The reference's arithmetic, in NumPy: every rounding in the same place.

The order of operations was found by comparing with ONNX Runtime and is held by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import MalformedError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array
    from bittern.hw.ints import Ints

__all__ = ["ROUNDINGS", "Quantizer", "batch_norm", "bipolar", "common_unit", "matmul",
           "multiply_add", "softmax", "truncation", "uniform"]

MULTIPLE = 2**16
"""A scale is at most so many units."""

ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Floats to codes, which stand for ``scale * (step * code + offset)``.

    `scale` and `offset` broadcast to the shape of what is quantized. Codes are in ``lo..hi``, or
    unbounded where these are `None`.
    """

    codes: Callable[[Array], Ints]
    scale: Array
    offset: Ints
    step: int = 1
    lo: int | None = None
    hi: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Common shape of the parameters."""
        return np.broadcast_shapes(self.scale.shape, self.offset.shape)


def whole(y: Array) -> Ints:
    """Return integral floats as integers."""
    if not (np.abs(y) < 2**31).all(): # also if any is not a number
        raise ValueError("a value to quantize is not a number, or too large")
    return y.astype(np.int64)


def positive(scale: Array) -> Array:
    """Return `scale` as doubles, which hold it and its products with codes exactly."""
    if scale.size == 0 or not (scale > 0).all():
        raise MalformedError(f"scale must be positive, not {scale.min(initial=0):g}")
    return scale.astype(np.float64)


def integral(value: Array, what: str) -> Ints:
    """Return a parameter that must be an integer."""
    if (value != np.round(value)).any() or (np.abs(value) >= 2**31).any():
        raise UnsupportedError(f"{what} is {value.flat[0]:g}; accepted: integers")
    return value.astype(np.int64)


def width(bits: Array) -> Array:
    """Return a bit width, as it is."""
    if bits.size == 0 or not ((bits == np.round(bits)) & (bits >= 1) & (bits <= 16)).all():
        raise UnsupportedError(f"bit width is {listing(bits)}; accepted: integers from 1 to 16")
    return bits


def common_unit(scales: Array) -> float:
    """Return the greatest number of which all `scales` are small whole multiples."""
    exact = [Fraction(float(s)) for s in np.unique(scales)]
    denominator = max(f.denominator for f in exact) # a power of two, as all of them
    unit = float(Fraction(gcd(*(int(f * denominator) for f in exact)), denominator))
    if scales.max() > MULTIPLE * unit:
        raise UnsupportedError(f"combines quantized values of different scales ({listing(scales)})"
                               "; accepted: the same scale, or small whole multiples of one")
    return unit


def listing(values: Array) -> str:
    """Return some values for a message."""
    return ", ".join(f"{v:g}" for v in np.unique(values)[:4]) or "missing"


def rounding(mode: str) -> Callable[[Array], Array]:
    """Return a rounding function by its name in the file."""
    if mode.upper() not in ROUNDINGS:
        raise UnsupportedError(f"rounding mode is {mode!r}; accepted: {', '.join(ROUNDINGS)}")
    return ROUNDINGS[mode.upper()]


def bounds(bits: Array, *, signed: bool, narrow: bool) -> tuple[Array, Array]:
    """Return the least and the greatest integer, in the type of `bits`."""
    if signed:
        return -(2 ** (bits - 1)) + int(narrow), 2 ** (bits - 1) - 1
    return 0 * bits, 2**bits - 1 - int(narrow)


def clamp(y: Array, low: Array, high: Array) -> Array:
    """Clamp as the reference does."""
    y = np.where(y > high, high.astype(y.dtype), y)
    return np.where(y < low, low.astype(y.dtype), y)


def uniform(scale: Array, zero: Array, bits: Array, *, signed: bool, narrow: bool,
            mode: str) -> Quantizer:
    """Return the quantizer of Quant; signed ones of one bit are bipolar, with code 0 or 1."""
    bits, factor, offset, round_ = width(bits), positive(scale), -integral(zero, "zero point"), (
        rounding(mode))
    if signed and (bits == 1).any():
        if (bits != 1).any():
            raise UnsupportedError("bit width is 1 in some channels only; accepted: in all or in "
                                   "none")
        return Quantizer(lambda x: (x / scale + zero >= 0).astype(np.int64), factor, offset - 1, 2,
                         0, 1)
    low, high = bounds(bits, signed=signed, narrow=narrow)
    return Quantizer(lambda x: whole(round_(clamp(x / scale + zero, low, high))), factor, offset,
                     lo=int(low.min()), hi=int(high.max()))


def bipolar(scale: Array) -> Quantizer:
    """Return the quantizer of BipolarQuant, with code 0 or 1."""
    return Quantizer(lambda x: (x >= 0).astype(np.int64), positive(scale), np.array(-1), 2, 0, 1)


def truncation(scale: Array, zero: Array, bits: Array, result_bits: Array,
               result_scale: Array | None = None, *, mode: str, signed: bool = True,
               narrow: bool = False) -> Quantizer:
    """Return the quantizer of Trunc: with `result_scale` of its second version, which clamps."""
    round_, factor = rounding(mode), positive(scale)
    offset = -integral(zero, "zero point")
    if result_scale is None:
        divisor = 2.0 ** (width(bits) - width(result_bits))
        return Quantizer(lambda x: whole(round_(np.round(x / scale + zero) / divisor)), factor,
                         offset)
    coarser = positive(result_scale)
    ratio = 2 ** np.round(np.log2(result_scale / scale))
    low, high = bounds(width(result_bits), signed=signed, narrow=narrow)
    return Quantizer(
        lambda x: whole(round_(clamp(np.round(x / scale + zero) / ratio, low, high))),
        coarser, -integral(zero / ratio, "zero point over truncation"),
        lo=int(low.min()), hi=int(high.max()))


def matmul(x: Array, weights: Array) -> Array:
    """Multiply one row at a time, as ONNX Runtime does: four products, summed, to the sum."""
    inputs = len(weights)
    total = np.zeros((*x.shape[:-1], weights.shape[1]), np.float32)
    whole_fours = inputs - inputs % 4
    blocks = [*range(0, whole_fours, 4), *range(whole_fours, inputs, 2), inputs]
    for start, stop in pairwise(blocks):
        part = x[..., start:start + 1] * weights[start]
        for k in range(start + 1, stop):
            part += x[..., k:k + 1] * weights[k]
        total += part
    return total


def multiply_add(x: Array, alpha: float, addend: Array) -> Array:
    """Return ``alpha * x + addend``, rounded once."""
    y: Array = (x.astype(np.float64) * np.float32(alpha) + addend).astype(np.float32)
    return y


def batch_norm(gain: Array, bias: Array, mean: Array, variance: Array,
               epsilon: float) -> tuple[Array, Array]:
    """Return the factor and the addend of batch normalization."""
    factor = np.float32(1) / np.sqrt(variance + np.float32(epsilon)) * gain
    return factor, bias - mean * factor


def softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the softmax over `axes`, rounded once."""
    e = np.exp(x.astype(np.float64) - x.max(axis=axes, keepdims=True))
    y: Array = (e / e.sum(axis=axes, keepdims=True)).astype(np.float32)
    return y
