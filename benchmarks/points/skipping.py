"""Cells that skip zeros, or hold still for them."""

from __future__ import annotations

import numpy as np
from amaranth import signed, unsigned

from bittern.hw.formats import Format, find_format
from bittern.hw.matrix_vector import MatrixVectorUnit
from bittern.hw.operators import BoothProduct, Operate
from bittern.hw.skipping import EarlyTerminationUnit, Gated, NonZeroStream, ZeroSkippingUnit
from points.point import Point

OUTPUTS, INPUTS = 64, 64
TERNARY, NARROW, WIDE = (-1, 0, 1), range(-8, 8), range(-128, 128)


def _layer(values: range | tuple[int, ...], outputs: int) -> tuple[np.ndarray, np.ndarray, Format]:
    rng = np.random.default_rng(0)
    weights = rng.choice([*values], (outputs, INPUTS))
    fmt = find_format(weights)
    assert isinstance(fmt, Format)
    return weights, rng.integers(-99, 100, outputs), fmt


def _skipping(values: range | tuple[int, ...], outputs: int, pe: int) -> ZeroSkippingUnit:
    weights, bias, fmt = _layer(values, outputs)
    lo, hi = _bounds(weights)
    return ZeroSkippingUnit(weights, bias, fmt, x=unsigned(8), lo=lo, hi=hi, pe=pe, simd=4)


def _dense(values: range | tuple[int, ...], outputs: int, pe: int) -> MatrixVectorUnit:
    weights, bias, fmt = _layer(values, outputs)
    lo, hi = _bounds(weights)
    return MatrixVectorUnit(weights, bias, fmt, x=unsigned(8), lo=lo, hi=hi, pe=pe, simd=1)


def _bounds(weights: np.ndarray) -> tuple[int, int]:
    return (int(255 * weights.clip(max=0).sum(axis=1).min()) - 99,
            int(255 * weights.clip(min=0).sum(axis=1).max()) + 99)


def _terminating(values: range | tuple[int, ...], pe: int) -> EarlyTerminationUnit:
    return EarlyTerminationUnit(*_layer(values, OUTPUTS), x=unsigned(8), pe=pe)


PRODUCT = BoothProduct(signed(8), signed(8))

POINTS = [
    *(Point("Stream of non-zeros", f"{simd} activations of 8 bits a transfer, 256 a frame",
            lambda simd=simd: NonZeroStream(unsigned(8), 256, simd=simd)) for simd in (4, 8, 16)),
    Point("Skipping of zero activations", "ternary x uint8, 16 outputs at once",
          lambda: _skipping(TERNARY, 16, 16), lambda: _dense(TERNARY, 16, 16)),
    Point("Skipping of zero activations", "int4 x uint8, 16 of 64 outputs at once",
          lambda: _skipping(NARROW, OUTPUTS, 16), lambda: _dense(NARROW, OUTPUTS, 16)),
    Point("Skipping of zero activations", "int8 x uint8, 4 of 64 outputs at once",
          lambda: _skipping(WIDE, OUTPUTS, 4), lambda: _dense(WIDE, OUTPUTS, 4)),
    Point("Gated product", "int8 x int8", lambda: Gated(PRODUCT), lambda: Operate(PRODUCT)),
    *(Point("Early termination", f"int4 x uint8, 64 outputs, {pe} lanes",
            lambda pe=pe: _terminating(NARROW, pe)) for pe in (1, 4)),
]
