"""Weights without codes: a hash of its place says which of few values a weight has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import Out

from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Stages
from bittern.hw.stream import lanes, transfers

if TYPE_CHECKING:
    from amaranth import Value
    from amaranth.lib import stream

__all__ = ["Hashed", "HashedStream"]

SBOX = (12, 5, 6, 11, 9, 0, 10, 13, 3, 14, 15, 8, 4, 7, 1, 2)
SMALL = 512
"""Bits of a table that is in LUTs."""


@dataclass(frozen=True)
class Hashed:
    """A matrix of weights ``table[h(row, column)]``, with a sign that is hashed, too.

    The hash has rounds of a key, 4-bit substitutions and a permutation of the bits, one more than
    make each of its bits depend on all bits of the place. It is one to one, so each value is taken
    equally often where the matrix has all places that its bits can name. A round takes one 4-input
    LUT a bit, whatever the key.

    Source: HashedNets (W. Chen et al., arXiv:1504.04788); substitution and permutation are those of
    PRESENT (A. Bogdanov et al., CHES 2007), the keys come from D. Knuth's generator for MMIX.

    Parameters
    ----------
    outputs, inputs : int
        Rows and columns of the matrix.
    table : tuple[int, ...]
        The values; their number is a power of two.
    seed : int
        Of the keys, at least 0.
    signs : bool
        Whether half of the weights are the negative of their value.
    """

    outputs: int
    inputs: int
    table: tuple[int, ...]
    seed: int = 0
    signs: bool = True

    def __post_init__(self) -> None:
        if self.outputs < 1 or self.inputs < 1:
            raise ValueError("outputs and inputs must be at least 1, "
                             f"not {self.outputs} and {self.inputs}")
        if len(self.table) < 2 or len(self.table) & len(self.table) - 1:
            raise ValueError(f"table must have 2, 4, 8, … values, not {len(self.table)}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if self.width > 64:
            raise ValueError(f"a place must have at most 64 bits, not {self.width}")

    @classmethod
    def find(cls, weights: Ints, *, entries: int, seed: int = 0, signs: bool = True) -> Self | None:
        """Return the table that makes `weights`, or None where there is none for this hash.

        Places that share a value but differ exclude each other. An entry of no place is zero.
        """
        outputs, inputs = weights.shape
        found = cls(outputs, inputs, (0,) * entries, seed, signs)
        entry, sign = found._hash(*np.indices(weights.shape))
        table = np.zeros(entries, dtype=np.int64)
        table[entry] = weights * sign
        found = cls(outputs, inputs, tuple(table.tolist()), seed, signs)
        return found if np.array_equal(found.weights, weights) else None

    @property
    def bits(self) -> int:
        """Bits of a number of an entry."""
        return len(self.table).bit_length() - 1

    @property
    def column_bits(self) -> int:
        """Bits of the number of a column."""
        return (self.inputs - 1).bit_length()

    @property
    def width(self) -> int:
        """Bits of the hash: those of a place, or those it shall have, in fours."""
        place = self.column_bits + (self.outputs - 1).bit_length()
        return -(-max(place, self.bits + self.signs) // 4) * 4

    @property
    def keys(self) -> list[int]:
        """What is added modulo two before each round."""
        state, keys = self.seed, list[int]()
        while 4 ** len(keys) < 4 * self.width:
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            keys.append(state >> 64 - self.width)
        return keys

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Bounds of the weights."""
        values = {*self.table, *(-v for v in self.table if self.signs)}
        return min(values), max(values)

    @property
    def weights(self) -> Ints:
        """The matrix."""
        entry, sign = self._hash(*np.indices((self.outputs, self.inputs)))
        found: Ints = np.array(self.table)[entry] * sign
        return found

    def _hash(self, row: Ints, column: Ints) -> tuple[Ints, Ints]:
        """Return the number of the entry, and 1 or -1, for each place."""
        state = (row.astype(np.uint64) << self.column_bits) | column.astype(np.uint64)
        sbox = np.array(SBOX, dtype=np.uint64)
        for key in self.keys:
            state ^= np.uint64(key)
            mixed = np.zeros_like(state)
            for low in range(0, self.width, 4):
                mixed |= sbox[state >> low & 15] << low
            state = np.zeros_like(state)
            for bit in range(self.width):
                state |= (mixed >> bit & 1) << _moved(bit, self.width)
        sign = 1 - 2 * (state >> self.bits & 1).astype(np.int64) * self.signs
        return (state & len(self.table) - 1).astype(np.int64), sign

    def gates(self, m: Module, row: Value, column: Value) -> tuple[Value, Value]:
        """Return the number of the entry, and whether the weight is its negative; no registers."""
        state: Value = Cat(column[:self.column_bits], row, Const(0, self.width))[:self.width]
        for key in self.keys:
            keyed = Signal(self.width)
            m.d.comb += keyed.eq(state ^ key)
            mixed: list[Value] = [Const(0)] * self.width
            for low in range(0, self.width, 4):
                for bit in range(4):
                    mixed[_moved(low + bit, self.width)] = _looked_up(
                        [v >> bit & 1 for v in SBOX], keyed[low:low + 4])
            state = Cat(mixed)
        return state[:self.bits], state[self.bits] if self.signs else Const(0)


def _looked_up(truth: list[int], bits: Value) -> Value:
    """Return the bit of `truth` that `bits` point to."""
    values: list[Value] = [Const(t, 1) for t in truth]
    for b in bits:
        values = [Mux(b, high, low) for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _moved(bit: int, width: int) -> int:
    """Return where a bit goes, so that the four bits of a substitution go to four others."""
    return bit if bit == width - 1 else bit * (width // 4) % (width - 1)


class HashedStream(wiring.Component):
    """The weights of a hashed matrix, frame after frame: what a memory of them would give.

    A transfer has the weights of `pe` rows and `simd` columns; the transfers of all columns of a
    group of rows come first. One a cycle, the first after :attr:`latency` cycles. There is a hash
    and a table for each lane. Registers stop when ``o`` stalls.

    Source: the order of the weights is that of FINN (Umuroglu et al. 2017, arXiv:1612.07119).

    Parameters
    ----------
    spec : Hashed
    pe, simd : int
        Rows and columns of a transfer; they need not divide those of the matrix.

    Members
    -------
    o : ``Out(lanes(shape_of(*spec.shape), pe * simd))``
        Lane ``p * simd + s`` has row p and column s of the transfer. Lanes beyond the matrix are
        undefined.
    """

    o: stream.Interface

    latency = 3

    def __init__(self, spec: Hashed, *, pe: int = 1, simd: int = 1) -> None:
        if not (1 <= pe <= spec.outputs and 1 <= simd <= spec.inputs):
            raise ValueError(f"pe must be in 1..{spec.outputs} and simd in 1..{spec.inputs}, "
                             f"not {pe} and {simd}")
        self.spec, self.pe, self.simd = spec, pe, simd
        self.in_folds, self.out_folds = transfers(spec.inputs, simd), transfers(spec.outputs, pe)
        self.element = shape_of(*spec.shape)
        super().__init__({"o": Out(lanes(self.element, pe * simd))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = ~self.o.valid | self.o.ready
        last_row, last_column = Signal(), Signal()
        columns = _places(m, step, self.simd, last_column, folds=self.in_folds)
        rows = _places(m, step & last_column, self.pe, last_row, folds=self.out_folds)
        stages = Stages(m, step)
        numbers = [self.spec.gates(m, row, column) for row in rows for column in columns]
        hashed = stages.stage([v for pair in numbers for v in pair], "hash")
        words = [v & (1 << self.element.width) - 1 for v in self.spec.table]
        values, style = [], "block" if len(words) * self.element.width > SMALL else "logic"
        for k, entry in enumerate(hashed[::2]):
            store: memory.Memory = memory.Memory(
                shape=unsigned(self.element.width), depth=len(words), init=words,
                attrs={"rom_style": style})
            m.submodules[f"table_{k}"] = store
            port = store.read_port()
            m.d.comb += [port.addr.eq(entry), port.en.eq(step)]
            values.append(port.data)
        minus = stages.stage(hashed[1::2], "minus")
        weights = stages.stage([(Mux(s, ~v, v) + s)[:self.element.width] if self.spec.signs else v
                                for v, s in zip(values, minus, strict=True)], "weight")
        valid: Value = Const(1)
        for level in range(self.latency):
            valid_q = Signal(name=f"valid_{level}")
            with m.If(step):
                m.d.sync += valid_q.eq(valid)
            valid = valid_q
        m.d.comb += [self.o.valid.eq(valid), self.o.payload.as_value().eq(Cat(weights))]
        return m


def _places(m: Module, step: Value, count: int, last: Value, *, folds: int) -> list[Value]:
    """Return the numbers of the `count` rows or columns of a transfer, and drive `last`."""
    fold = Signal(range(folds))
    m.d.comb += last.eq(fold == folds - 1)
    with m.If(step):
        m.d.sync += fold.eq(Mux(last, 0, fold + 1))
    if not count & count - 1:
        return [Cat(Const(k, (count - 1).bit_length()), fold) for k in range(count)]
    places = [Signal(range(folds * count), init=k) for k in range(count)]
    with m.If(step):
        m.d.sync += [p.eq(Mux(last, k, p + count)) for k, p in enumerate(places)]
    return list(places)
