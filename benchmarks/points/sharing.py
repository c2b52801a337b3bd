"""Weights that share values: codebook, factorised, hashed, Huffman-coded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import Out

from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import Digits
from bittern.hw.matrix_vector import MatrixVectorUnit
from bittern.hw.sharing import (
    FactorisedMatrixVectorUnit,
    Hashed,
    HashedStream,
    Huffman,
    HuffmanStream,
)
from points.point import Point

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.ints import Ints

X = signed(8)
CELL = "Decoder of shared weights"


class NaiveStream(wiring.Component):
    """Words of a memory, one after the other: what stores each weight by itself."""

    def __init__(self, words: Ints, shape: Shape) -> None:
        self.words, self.shape = words.ravel().tolist(), shape
        super().__init__({"o": Out(stream.Signature(shape))})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        m.submodules.store = store = memory.Memory(
            shape=self.shape, depth=len(self.words), init=self.words)
        port, at = store.read_port(), Signal(range(len(self.words)))
        m.d.comb += [port.addr.eq(at), port.en.eq(~self.o.valid | self.o.ready),
                     self.o.payload.eq(port.data)]
        with m.If(port.en):
            m.d.sync += [at.eq(Mux(at == len(self.words) - 1, 0, at + 1)), self.o.valid.eq(1)]
        return m


def matrix(kinds: int, outputs: int, inputs: int, zeros: float = 0) -> Ints:
    """Return weights of `kinds` values of 8 bits."""
    rng = np.random.default_rng(kinds)
    values = rng.choice(np.setdiff1d(np.arange(-128, 128), [0]), kinds, replace=False)
    return np.where(rng.random((outputs, inputs)) < zeros, 0,
                    rng.choice(values, (outputs, inputs)))


def dense(kind: type[Codebook | Digits], kinds: int) -> MatrixVectorUnit:
    """Return a matrix-vector unit with its weights in a format of `kind`."""
    weights = matrix(kinds, 16, 64)
    most = int(np.abs(weights).sum(1).max()) << 7
    fmt = kind.find(weights)
    assert fmt is not None
    return MatrixVectorUnit(weights, np.zeros(16, dtype=np.int64), fmt, x=X, lo=-most, hi=most,
                            pe=2, simd=4)


def factorised(kinds: int, *, serial: bool) -> FactorisedMatrixVectorUnit:
    """Return a unit of four lanes, of weights half of which are zero."""
    weights = matrix(kinds, 32, 256, 0.5)
    most = int(np.abs(weights).sum(1).max()) << 7
    return FactorisedMatrixVectorUnit(weights, np.zeros(32, dtype=np.int64), x=X, lo=-most,
                                      hi=most, lanes=4, simd=4, serial=serial)


def hashed(entries: int) -> Hashed:
    """Return a matrix of hashed weights."""
    return Hashed(64, 64, tuple(np.random.default_rng(entries).integers(1, 128, entries).tolist()))


def symbols(kinds: int) -> Ints:
    """Return 4096 symbols, as weights have them: around zero, with a Laplace distribution."""
    rng = np.random.default_rng(kinds)
    found = np.round(rng.laplace(kinds / 2, kinds / 24, 4096)).astype(np.int64).clip(0, kinds - 1)
    found[:kinds] = np.arange(kinds)
    return found


def huffman(kinds: int, limit: int) -> HuffmanStream:
    """Return the decoder of :func:`symbols`."""
    return HuffmanStream(symbols(kinds), Huffman.of(symbols(kinds), limit=limit))


POINTS = [
    *(Point("Matrix-vector unit, codebook", f"{kinds} values of int8, int8 inputs, 2 x 4 products",
            partial(dense, Codebook, kinds), partial(dense, Digits, kinds)) for kinds in (4, 16)),
    *(Point("Matrix-vector unit, factorised",
            f"{kinds} values of int8, int8 inputs, 4 lanes, a {per} a cycle",
            partial(factorised, kinds, serial=serial))
      for kinds in (3, 15) for serial, per in ((False, "product"), (True, "digit"))),
    *(Point(CELL, f"hashed, {entries} entries of int8, 64 x 64",
            partial(HashedStream, hashed(entries)),
            partial(NaiveStream, hashed(entries).weights, signed(8))) for entries in (16, 256)),
    *(Point(CELL, f"Huffman, {kinds} symbols in codes of up to {limit} bits",
            partial(huffman, kinds, limit), partial(NaiveStream, symbols(kinds), unsigned(width)))
      for kinds, limit, width in ((16, 8, 4), (256, 12, 8))),
]
