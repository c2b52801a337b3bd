"""Codes of sparse weights, one concept per file, and the matrix-vector unit that runs on each."""

from __future__ import annotations

from bittern.hw.sparse.bitmask import Bitmask
from bittern.hw.sparse.block import Block
from bittern.hw.sparse.code import SparseCode
from bittern.hw.sparse.compressed_row import CompressedRow
from bittern.hw.sparse.coordinate import Coordinate
from bittern.hw.sparse.relative_index import RelativeIndex
from bittern.hw.sparse.structured import Structured
from bittern.hw.sparse.zero_run import ZeroRun

__all__ = ["SPARSE_CODES", "SparseCode"]

SPARSE_CODES: tuple[type[SparseCode], ...] = (
    ZeroRun, RelativeIndex, CompressedRow, Coordinate, Bitmask, Structured, Block)
"""Every code has the same interface; the cheapest for a matrix is a matter of its zeros."""
