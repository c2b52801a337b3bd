"""Matrix-vector unit for sparse weights."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Module, Signal, Value

from bittern.hw.adder_tree import add_tree
from bittern.hw.folded_sums import products_of, tree_of
from bittern.hw.ints import shape_of
from bittern.hw.pipeline import Stages
from bittern.hw.sparse.engine import Lane, Operand, SparseEngine, delay_of, spread

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.formats.format import Format
    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern, Row, SparseCode

__all__ = ["Multiply", "SparseMatrixVectorUnit", "rows_of", "sparse_delay_of"]


def sparse_delay_of(fmt: Format, x_width: int) -> int:
    """Return the cycles from a step to its result: to the product, levels of its sum, result."""
    return delay_of(_multiply_delay(fmt, x_width))


def _multiply_delay(fmt: Format, x_width: int) -> int:
    return products_of(fmt, x_width).latency + tree_of(fmt, x_width, 1).latency


class Multiply(Lane):
    """A lane that multiplies each input by its weight, and adds up.

    Signed inputs have their sign bits inverted, as in
    :class:`~bittern.hw.matrix_vector.MatrixVectorUnit`.
    """

    def __init__(self, fmt: Format, x: Shape, width: int) -> None:
        self.fmt, self.x, self._width = fmt, x, width

    @property
    def width(self) -> int:
        return self._width

    @cached_property
    def delay(self) -> int:
        return _multiply_delay(self.fmt, self.x.width)

    def gates(self, m: Module, operand: Operand, name: str) -> tuple[Value, Value]:
        x = operand.x.as_unsigned()
        if self.x.signed:
            x = Cat(x[:-1], ~x[-1])
        (terms,) = self.fmt.products(Stages(m), [operand.value], x, f"{name}_term")
        product = add_tree(terms, name=f"{name}_product")
        m.d.sync += [q.eq(value) for q, value in product.registers]
        last, valid = operand.last, operand.valid
        for level in range(self.delay):
            last_q = Signal(name=f"{name}_last_{level}", reset_less=True)
            valid_q = Signal(name=f"{name}_valid_{level}")
            m.d.sync += [last_q.eq(last), valid_q.eq(valid)]
            last, valid = last_q, valid_q
        acc, total = (Signal(self._width, name=f"{name}_{n}", reset_less=True)
                      for n in ("acc", "total"))
        m.d.comb += total.eq((Cat(product.carry, acc) + Cat(product.carry, product.value))[1:])
        clear = Signal(init=1, name=f"{name}_clear") # so that the registers' reset is free for it
        m.d.sync += clear.eq(0)
        with m.If(clear | valid & last):
            m.d.sync += acc.eq(0)
        with m.Elif(valid):
            m.d.sync += acc.eq(total)
        return total, valid & last


def rows_of(codes: Ints, nonzero: Pattern, fmt: Format, code: SparseCode, zero: int
            ) -> list[Row]:
    """Return what is not zero of each row of `code`: index, and weight codes from the first row."""
    h, rows = code.height, []
    pattern = code.fold(nonzero)
    padded = np.full((len(pattern) * h, codes.shape[1]), zero)
    padded[:len(codes)] = np.where(nonzero, codes, zero)
    for group, where in zip(padded.reshape(len(pattern), h, -1), pattern, strict=True):
        at = np.flatnonzero(where)
        columns = group[:, at].T.tolist()
        rows.append([(i, sum(c << k * fmt.width for k, c in enumerate(column)))
                     for i, column in zip(at.tolist(), columns, strict=True)])
    return rows


class SparseMatrixVectorUnit(SparseEngine):
    """Matrix-vector product that skips the zeros: ``o = weights @ i + bias``, exactly.

    Weights are on chip, without their zeros. Each lane multiplies an input by a weight a cycle.
    Cycles, latency and streams are those of :class:`~bittern.hw.sparse.engine.SparseEngine`.

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    fmt : Format
        Holds all of `weights` that are not zero; 0 too, where `code` needs padding.
    code : SparseCode
        For ``spread(weights, simd)`` and values of ``code.height * fmt.width`` bits.
    x : Shape
        Of an input.
    lo, hi : int
        Bounds of the results.
    lanes : int
        Rows at a time.
    simd : int
        Inputs of a transfer.
    block : bool
        Whether larger memories shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), lanes))``
    """

    def __init__(self, weights: Ints, bias: Ints, fmt: Format, code: SparseCode, *, x: Shape,
                 lo: int, hi: int, lanes: int, simd: int, block: bool = True) -> None:
        outputs, inputs = weights.shape
        if not (1 <= lanes <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"lanes must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {lanes} and {simd}")
        if code.value != code.height * fmt.width:
            raise ValueError(f"code.value must be {code.height * fmt.width}, the bits of "
                             f"{code.height} weights, not {code.value}")
        self.fmt = fmt
        nonzero = weights != 0
        codes = np.zeros_like(weights)
        codes[nonzero] = fmt.encode(weights[nonzero])
        wide, pattern = spread(codes, simd), spread(nonzero, simd)
        steps = np.repeat(code.lengths(code.fold(pattern)), code.height)[:outputs]
        padding = steps - np.count_nonzero(nonzero, axis=1)
        if fmt.masks and padding.any():
            raise ValueError(f"format {fmt.name!r} cannot hold the weight 0, with which the code "
                             f"{code.name!r} pads row {padding.argmax()}")
        lacks = np.where(nonzero, fmt.correction(codes, x.width), 0).sum(axis=1)
        constant = bias + lacks + padding * int(fmt.correction(np.array(fmt.pad), x.width))
        if x.signed:
            constant -= weights.sum(axis=1) << (x.width - 1)
        rows = rows_of(wide, pattern, fmt, code, fmt.pad)
        zero = sum(fmt.pad << k * fmt.width for k in range(code.height))
        result = shape_of(lo, hi)
        super().__init__(rows, zero, code, Multiply(fmt, x, result.width), constant, x=x,
                         result=result, inputs=inputs, simd=simd, count=lanes, block=block)
