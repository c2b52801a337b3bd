"""Tables in LUTs: a function of a few bits, as leaves of four and a tree above them."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Mux

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value
    from numpy.typing import NDArray

    from bittern.hw.operators.operator import Operator
    from bittern.hw.pipeline import Stages

__all__ = ["SEARCHED", "lookup", "lookup_lut4", "words_of"]

LEAF = 4
"""Inputs of a LUT."""
SEARCHED = 9
"""Bits of the address up to which every choice of leaf inputs is tried."""
MUX = 2 / 3
"""LUTs of a multiplexer: three of them are two LUTs."""


def lookup(stages: Stages, words: Sequence[int], width: int, address: Value) -> Value:
    """Return the word at `address`, as logic.

    Each bit is a tree of multiplexers above functions of four address bits. Functions that are
    equal, or each other's complement, are one; which four bits they see is searched for. What Yosys
    makes of a multiplexer over all words is up to half as large again.
    """
    depth = len(address)
    table = _table(words, width, depth)
    chosen, rest = _split(table.tobytes(), width, depth)
    index = Cat(address[k] for k in chosen)
    leaves: dict[int, Value] = {}
    nodes: dict[tuple[int, ...], Value] = {}

    def leaf(code: int) -> Value:
        full = (1 << (1 << len(chosen))) - 1
        if code & 1: # the complement of one that begins with 0
            return ~leaf(code ^ full)
        for k, bit in enumerate(index):
            if code == sum(1 << n for n in range(1 << len(chosen)) if n >> k & 1):
                return bit
        if not code:
            return Const(0, 1)
        if code not in leaves:
            value = (Const(code, 1 << len(chosen)) >> index)[0]
            leaves[code] = stages.fence(value, f"leaf_{len(leaves)}") if rest else value
        return leaves[code]

    def tree(codes: tuple[int, ...]) -> Value:
        if len(set(codes)) == 1:
            return leaf(codes[0])
        if codes not in nodes:
            half = len(codes) // 2
            bit = address[rest[half.bit_length() - 1]]
            nodes[codes] = Mux(bit, tree(codes[half:]), tree(codes[:half]))
        return nodes[codes]

    return Cat(tree(codes) for codes in _codes(table, chosen, rest))


def lookup_lut4(words: Sequence[int], width: int, depth: int) -> float:
    """Estimate the LUTs of :func:`lookup`."""
    table = _table(words, width, depth)
    return _cost(_codes(table, *_split(table.tobytes(), width, depth)))


def words_of(operator: Operator) -> list[int]:
    """Return the results of an operator of one operand, for each code of that, as codes."""
    (x,), (y,) = operator.inputs, operator.outputs
    code = np.arange(1 << x.width)
    negative = (code >> x.width - 1) & x.signed
    (values,) = operator(code - (negative << x.width))
    words: list[int] = (values & (1 << y.width) - 1).tolist()
    return words


def _table(words: Sequence[int], width: int, depth: int) -> NDArray[np.uint8]:
    """Return the bits, ``(width, 2**depth)``; what lies beyond the words is the last of them."""
    filled = np.array([*words, *[words[-1]] * ((1 << depth) - len(words))], dtype=np.int64)
    return np.array([filled >> k & 1 for k in range(width)], dtype=np.uint8)


def _codes(table: NDArray[np.uint8], chosen: Sequence[int], rest: Sequence[int]
           ) -> list[tuple[int, ...]]:
    """Return the functions of the bits `chosen`, for each bit of the words and value of `rest`."""
    width, size = table.shape
    depth = size.bit_length() - 1
    axes = [depth - 1 - k for k in (*rest[::-1], *chosen[::-1])]
    leaves = table.reshape(width, *[2] * depth).transpose(0, *(a + 1 for a in axes))
    leaves = leaves.reshape(width, 1 << len(rest), 1 << len(chosen)).astype(np.int64)
    weights = 1 << np.arange(1 << len(chosen), dtype=np.int64)
    return [tuple(row) for row in (leaves @ weights).tolist()]


@lru_cache(maxsize=1024)
def _split(table: bytes, width: int, depth: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the address bits that the leaves see, and the others."""
    bits = np.frombuffer(table, dtype=np.uint8).reshape(width, 1 << depth)
    choices = [*combinations(range(depth), min(LEAF, depth))]
    if depth > SEARCHED:
        choices = [choices[0], choices[-1]]
    splits = [(c, tuple(k for k in range(depth) if k not in c)) for c in choices]
    return min(splits, key=lambda split: _cost(_codes(bits, *split)))


def _cost(rows: list[tuple[int, ...]]) -> float:
    """Return the LUTs of leaves and multiplexers."""
    leaves: set[int] = set()
    nodes: set[tuple[int, ...]] = set()

    def visit(codes: tuple[int, ...]) -> None:
        if len(set(codes)) == 1:
            if codes[0]:
                leaves.add(codes[0])
        elif codes not in nodes:
            nodes.add(codes)
            half = len(codes) // 2
            visit(codes[half:])
            visit(codes[:half])

    for row in rows:
        visit(row)
    complements = {min(code, code ^ 0xFFFF) for code in leaves}
    return len(complements) + MUX * len(nodes)
