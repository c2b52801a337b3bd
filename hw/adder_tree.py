"""Sum of many unsigned terms: population counts and dot products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaranth import Cat, Const, Signal

from bittern.hw.formats.format import Term

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["Sum", "add_tree"]

CHAIN = 32
"""Bits of a carry chain: longer ones share more separators, and are slower."""


@dataclass(frozen=True)
class Sum:
    """What a tree leaves: ``value + carry``, with one bit over that the next adder takes free."""

    value: Value
    carry: Value
    latency: int
    registers: list[tuple[Signal, Value]]
    """Each register of the tree, and what it takes in every enabled cycle."""
    lut4: int
    """4-input LUT sites of the adders, by count."""

    @property
    def ff(self) -> int:
        """Bits of the registers."""
        return sum(len(q) for q, _ in self.registers)


def add_tree(terms: list[Term], *, name: str) -> Sum:
    """Add up `terms` exactly, with a register after each level.

    Single bits are added in threes, words in pairs with a bit as their carry-in. The pairs of a
    level lie side by side in carry chains, apart by one bit: it has the carry into the pair above
    it as both its operands, so that its sum is the carry out of the pair below. N bits take about
    ``1.5 * N`` 4-input LUTs.

    Source: the count of bits kept back as carries is that of ``P(2n + 1) = P(n) + P(n) + carry``
    (E. E. Swartzlander, "Parallel counters", 1973).
    """
    latency = 0
    registers: list[tuple[Signal, Value]] = []
    lut4 = 0
    while len(terms) > 1 and not (len(terms) == 2 and any(_is_bit(t) for t in terms)):
        level = _Level(f"{name}_{latency}")
        terms = level.add(terms)
        registers += level.registers
        lut4 += level.lut4
        latency += 1
    *carries, word = sorted(terms, key=lambda t: not _is_bit(t))
    return Sum(Cat(Const(0, word.shift), word.value),
               carries[0].value if carries else Const(0, 1), latency, registers, lut4)


def _is_bit(term: Term) -> bool:
    return term.high == 1 and term.shift == 0


Pair = tuple[Term, Term, "Value"]


class _Level:
    """One level of a tree: about half as many terms, one register later."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sums: list[Term] = []
        self.registers: list[tuple[Signal, Value]] = []
        self.lut4 = 0

    def add(self, terms: list[Term]) -> list[Term]:
        by_shift: dict[int, list[Term]] = {}
        for term in sorted(terms, key=lambda t: (t.shift, t.high)):
            by_shift.setdefault(term.shift, []).append(term)
        if all(len(group) == 1 for group in by_shift.values()):
            self._merge([group[0] for group in by_shift.values()])
        else:
            for group in by_shift.values():
                self._reduce(group)
        return self.sums

    def _register(self, shift: int, value: Value, high: int) -> None:
        q = Signal(high.bit_length(), name=f"{self.name}_{len(self.sums)}", reset_less=True)
        self.registers.append((q, value))
        self.sums.append(Term(shift, q, high))

    def _reduce(self, group: list[Term]) -> None:
        """Add up terms of the same shift."""
        bits = [t for t in group if t.high == 1]
        words = [t for t in group if t.high > 1]
        pairs: list[Pair] = []
        if not words and len(bits) > 2:
            for _ in range((len(bits) + 1) // 4): # the others are carries of later levels
                a, b, c = (bits.pop().value for _ in range(3))
                self._register(group[0].shift, Cat(a ^ b ^ c, a & b | a & c | b & c), 3)
                self.lut4 += 2
        elif bits and len(words) < 2:
            words.append(bits.pop())
            if len(words) < 2 and bits:
                words.append(bits.pop())
        while len(words) > 1:
            carry = bits.pop().value if bits else Const(0, 1)
            pairs.append((words.pop(), words.pop(), carry))
        for chain in _chains(pairs):
            self._add_chain(chain)
        for t in words + bits:
            self._register(t.shift, t.value, t.high)

    def _add_chain(self, chain: list[Pair]) -> None:
        """Add each pair of `chain` to its carry, all in one adder."""
        operands: tuple[list[Value], list[Value]] = ([], [])
        starts, end = [], 0
        for a, b, carry in chain:
            if end or not isinstance(carry, Const):
                for operand in operands:
                    operand.append(carry)
                end += 1
            starts.append(end)
            width = max(len(a.value), len(b.value))
            for operand, term in zip(operands, (a, b), strict=True):
                operand += [term.value, Const(0, width - len(term.value))]
            end += width
        self.lut4 += end + 1
        total = (Cat(*operands[0]) + Cat(*operands[1]))[:end + 1]
        for (a, b, carry), start in zip(chain, starts, strict=True):
            high = a.high + b.high + (not isinstance(carry, Const))
            self._register(a.shift, total[start:start + high.bit_length()], high)

    def _merge(self, terms: list[Term]) -> None:
        """Add neighbours of different shifts: the low bits of the lower one stay as they are."""
        for a, b in zip(terms[::2], terms[1::2], strict=False):
            apart = b.shift - a.shift
            low = Cat(a.value, Const(0, apart))[:apart]
            self.lut4 += max(len(a.value) - apart, len(b.value)) + 1
            self._register(a.shift, Cat(low, a.value[apart:] + b.value),
                           a.high + (b.high << apart))
        if len(terms) % 2:
            self._register(terms[-1].shift, terms[-1].value, terms[-1].high)


def _chains(pairs: list[Pair]) -> list[list[Pair]]:
    """Group pairs into chains of at most :data:`CHAIN` bits."""
    chains: list[list[Pair]] = []
    used = CHAIN
    for pair in pairs:
        bits = max(len(pair[0].value), len(pair[1].value)) + 1
        if used + bits > CHAIN:
            chains.append([])
            used = 0
        chains[-1].append(pair)
        used += bits
    return chains
