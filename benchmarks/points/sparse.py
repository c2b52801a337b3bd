"""Decoders of sparse codes, and the matrix-vector unit that runs on them."""

from __future__ import annotations

from functools import partial

import numpy as np
from amaranth import unsigned

from bittern.hw.formats import find_format
from bittern.hw.matrix_vector import MatrixVectorUnit
from bittern.hw.sparse import SparseCode
from bittern.hw.sparse.bitmask import Bitmask
from bittern.hw.sparse.block import Block
from bittern.hw.sparse.compressed_row import CompressedRow
from bittern.hw.sparse.coordinate import Coordinate
from bittern.hw.sparse.decoder import SparseDecoder
from bittern.hw.sparse.matrix_vector import SparseMatrixVectorUnit
from bittern.hw.sparse.relative_index import RelativeIndex
from bittern.hw.sparse.structured import Structured
from bittern.hw.sparse.zero_run import ZeroRun
from points.point import Point

SHAPE = 64, 256
LANES = 8
BIAS = np.zeros(SHAPE[0], dtype=np.int64)
OPTIONS = {"x": unsigned(4), "lo": -8192, "hi": 8191}

DECODERS: list[SparseCode] = [
    ZeroRun(256, 4, 5), RelativeIndex(256, 4, 4, 6), CompressedRow(256, 4, 8, 6),
    Coordinate(256, 4, 8), Bitmask(256, 4, 16), Bitmask(256, 4, 32), Bitmask(256, 4, 64),
    Structured(256, 4, 2, 4), Block(256, 4, 1, 4, 3), Block(256, 8, 2, 1, 4)]


def _weights() -> np.ndarray:
    """Return weights of 4 bits, nine in ten of which are zero."""
    rng = np.random.default_rng(0)
    return rng.integers(-7, 8, SHAPE) * (rng.random(SHAPE) < 0.1)


def _sparse(kind: type[SparseCode]) -> SparseMatrixVectorUnit:
    weights = _weights()
    fmt = find_format(weights)
    code = kind.find(weights != 0, fmt.width, LANES)
    assert code is not None
    return SparseMatrixVectorUnit(weights, BIAS, fmt, code, **OPTIONS, lanes=LANES, simd=4)


def _dense() -> MatrixVectorUnit:
    weights = _weights()
    return MatrixVectorUnit(weights, BIAS, find_format(weights), **OPTIONS, pe=LANES, simd=1)


def _what(code: SparseCode) -> str:
    fields = {name: value for name, value in vars(code).items() if name not in ("inputs", "value")}
    return ", ".join([code.name, *(f"{name} {value}" for name, value in fields.items())])


POINTS = [
    *(Point("Sparse decoder", f"{_what(code)}; 256 inputs", partial(SparseDecoder, code))
      for code in DECODERS),
    *(Point("Sparse matrix-vector unit",
            f"{kind.name}, {LANES} lanes, 64 x 256 of 4 bits, 90 % zeros, 4-bit inputs",
            partial(_sparse, kind)) for kind in (ZeroRun, RelativeIndex, CompressedRow)),
    Point("Sparse matrix-vector unit", f"dense for comparison, {LANES} lanes, the same matrix",
          _dense),
]
