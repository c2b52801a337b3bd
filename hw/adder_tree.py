"""Sum of many unsigned terms: population counts and dot products."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, get_args

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.family import Family
from bittern.hw.pipeline import draft
from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bittern.hw.pipeline import Stages

__all__ = ["Cost", "First", "Gate", "Lemma", "Sum", "Tree", "add_tree"]

CHAIN = 32
"""Bits of a carry chain: longer ones share more separators, and are slower."""

MHZ = {Family.ICE40: (40, 110), Family.ECP5: (50, 190), Family.GOWIN: (70, 170)}
"""Clock of 256 bits counted in words without registers, and with one for each level."""

First = Literal["compressors", "chain", "halves"]
"""How single bits are first added.

- ``compressors``: three of them in two LUTs, into two bits.
- ``chain``: three in two bits of a carry chain, into two bits. On the ECP5 each may be a function
  of two operands, which takes no LUT.
- ``halves``: five in three bits of a carry chain, into three bits: ``a + b`` is the word
  ``(a & b, a ^ b)``, and the carry chain of the ECP5 adds two such words as if they were wires.
"""


@dataclass(frozen=True)
class Gate(Term):
    """A bit that is a function of operands: a product, or an inverted bit."""

    operands: tuple[Value, ...]
    function: Callable[..., Value]

    @classmethod
    def of(cls, function: Callable[..., Value], *operands: Value) -> Self:
        """Return ``function(*operands)``."""
        return cls(0, function(*operands), 1, operands, function)


@dataclass(frozen=True)
class Step:
    """What replaces each of its groups of terms by one that is their sum."""

    name: str
    groups: Sequence[Sequence[Term]]
    build: Callable[[Sequence[Sequence[Term]]], list[Term]]

    @property
    def key(self) -> object:
        """Return what is equal for two steps of the same function and structure."""
        return self.name, tuple(tuple((t.shift, len(t.value), t.high) for t in group)
                                for group in self.groups)


class Lemma(wiring.Component):
    """A step with inputs `i0`, `i1`, … of its own: as it is built, or `naive` as sums.

    An input above what the term is at most counts as 0.
    """

    def __init__(self, step: Step, *, naive: bool) -> None:
        self.step, self.naive = step, naive
        self._terms = [t for group in step.groups for t in group]
        self._sums = step.build(step.groups)
        super().__init__({
            **{f"i{k}": In(unsigned(len(t.value))) for k, t in enumerate(self._terms)},
            **{f"o{k}": Out(unsigned(len(t.value))) for k, t in enumerate(self._sums)}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fresh = iter([Term(t.shift, Mux(x > t.high, 0, x)[:len(x)], t.high)
                      for k, t in enumerate(self._terms)
                      for x in [getattr(self, f"i{k}")]])
        groups = [[next(fresh) for _ in group] for group in self.step.groups]
        sums = ([sum((t.value << t.shift for t in group), Const(0)) for group in groups]
                if self.naive else
                [Cat(Const(0, t.shift), t.value) for t in self.step.build(groups)])
        # all terms of a group are shifted by what its sum is
        m.d.comb += [getattr(self, f"o{k}").eq(value >> t.shift)
                     for k, (t, value) in enumerate(zip(self._sums, sums, strict=True))]
        return m


@dataclass
class Cost:
    """What a tree is made of."""

    luts: int = 0
    absorbed: int = 0
    """LUTs that the carry chains of the ECP5 take in."""
    chains: list[int] = field(default_factory=list)
    """Bits of each carry chain."""
    steps: dict[object, Step] = field(default_factory=dict)
    """A step of each kind."""

    def lut4(self, family: Family) -> int:
        """Return the 4-input LUT sites; carry cells of the ECP5 take two."""
        if family is Family.ECP5:
            return self.luts + sum(n + n % 2 for n in self.chains)
        return self.luts + self.absorbed + sum(self.chains)


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


def add_tree(terms: Sequence[Term], *, name: str, first: First = "compressors",
             chain: int = CHAIN) -> Sum:
    """Add up `terms` exactly, with a register after each level.

    Single bits are added as `first` says, words in pairs with a bit as their carry-in. The pairs
    of a level lie side by side in carry chains of at most `chain` bits, apart by one bit: it has
    the carry into the pair above it as both its operands, so that its sum is the carry out of the
    pair below. N bits take about ``1.5 * N`` 4-input LUTs, with half adders ``1.33 * N``.

    Terms need no registers in front of the tree. Bits that are to be carries wait in registers:
    of a :class:`Gate` its operands wait where the ECP5 absorbs its function, elsewhere its value.

    Source: the count of bits kept back as carries is that of ``P(2n + 1) = P(n) + P(n) + carry``
    (E. E. Swartzlander, "Parallel counters", 1973).
    """
    registers: list[tuple[Signal, Value]] = []

    def hold(values: Sequence[Value], label: str) -> list[Value]:
        held = [Signal(len(v), name=f"{label}_{k}", reset_less=True)
                for k, v in enumerate(values)]
        registers.extend(zip(held, values, strict=True))
        return list(held)

    latency, cost = 0, Cost()
    rest = list(terms)
    while len(rest) > 1 and not (len(rest) == 2 and any(_is_bit(t) for t in rest)):
        rest = _Level(first, chain, cost, over=1).add(rest)
        rest = _wait(rest, hold, f"{name}_{latency}", cost, operands=first != "compressors")
        latency += 1
    *carries, word = sorted(rest, key=lambda t: not _is_bit(t))
    return Sum(Cat(Const(0, word.shift), word.value),
               carries[0].value if carries else Const(0, 1), latency, registers,
               cost.lut4(Family.ICE40 if first == "compressors" else Family.ECP5))


@dataclass(frozen=True)
class Tree:
    """How to count bits.

    Parameters
    ----------
    first : str
        See :data:`First`.
    words : bool
        Whether the sums of these are added as words, in segmented carry chains (as by
        :func:`add_tree`); else bit by bit, in compressors only, and two words at the end.
    every : int
        Levels for each register; 0 for none.
    chain : int
        Bits of a carry chain. The ECP5 spends cells on the ends of each.
    """

    first: First = "compressors"
    words: bool = True
    every: int = 0
    chain: int = 64

    def __post_init__(self) -> None:
        if self.first not in get_args(First):
            raise ValueError(f"first must be one of {', '.join(get_args(First))}, "
                             f"not {self.first!r}")
        if self.every < 0:
            raise ValueError(f"every must be 0 or more levels, not {self.every}")
        if self.chain < 4:
            raise ValueError(f"chain must be 4 or more bits, not {self.chain}")

    @classmethod
    def of(cls, family: Family, *, operands: int = 1, mhz: float = 0) -> Self:
        """Return the smallest tree of a family for bits of so many operands, at a clock.

        The clock is of a tree of 256 bits alone on a device (of the iCE40 an HX), so that a
        design should ask for more than its own. Faster than that a tree is larger, and
        nothing is promised above the last of :data:`MHZ`.
        """
        first: First = "compressors"
        if family is Family.ECP5:
            first = "halves" if operands == 1 else "chain"
        combinational, words = MHZ[family]
        if mhz > words:
            return cls("compressors", words=False, every=1)
        if mhz > combinational:
            return cls(first, every=1, chain=64 if family is Family.ECP5 else 32)
        return cls(first)

    def count(self, stages: Stages, bits: Sequence[Term], name: str) -> Value:
        """Return how many of `bits` are 1."""
        return self.add(stages, [bits], name)[0]

    def add(self, stages: Stages, groups: Sequence[Sequence[Term]], name: str, *,
            width: int | None = None, cost: Cost | None = None) -> list[Value]:
        """Return the sum of each group of terms, modulo ``2**width`` if a width is given.

        What they are made of is added to `cost`.
        """
        return self._add(stages, groups, name, width, Cost() if cost is None else cost)

    def cost(self, *groups: Sequence[Term]) -> Cost:
        """Return what :meth:`add` is made of."""
        cost = Cost()
        draft(lambda stages: self.add(stages, groups, "sum", cost=cost))
        return cost

    def lemmas(self, *groups: Sequence[Term]) -> list[tuple[str, Lemma, Lemma]]:
        """Return what is to be proven of :meth:`add`: name, gates, and the sums they are equal to.

        Each step replaces terms by their sum, so that the sum of all terms stays, and only one
        is left in the end: it is the sum if each different step is as its lemma says.
        """
        return [(f"{step.name}_{k}", Lemma(step, naive=False), Lemma(step, naive=True))
                for k, step in enumerate(self.cost(*groups).steps.values())]

    def _add(self, stages: Stages, groups: Sequence[Sequence[Term]], name: str,
             width: int | None, cost: Cost) -> list[Value]:
        rests = [list(group) for group in groups]
        highs = [sum(t.high << t.shift for t in group) for group in groups]
        if not self.words:
            rests = [[bit for t in rest for bit in _split(t)] for rest in rests]
        level = 0
        while any(len(rest) > 1 for rest in rests):
            before = {id(t) for rest in rests for t in rest}
            level += 1
            label = f"{name}_{level}"
            rests = [self._level(rest, high, width, cost) if len(rest) > 1 else rest
                     for rest, high in zip(rests, highs, strict=True)]
            if self.every and level % self.every == 0:
                held = iter(_wait([t for rest in rests for t in rest], stages.stage, label, cost,
                                  operands=self.first != "compressors"))
                rests = [[next(held) for _ in rest] for rest in rests]
            else:
                rests = [[t if id(t) in before else _name(stages, t, f"{label}_{g}_{k}")
                          for k, t in enumerate(rest)] for g, rest in enumerate(rests)]
        return [Cat(Const(0, t.shift), t.value) for t, in rests]

    def _level(self, terms: Sequence[Term], high: int, width: int | None, cost: Cost
               ) -> list[Term]:
        if self.words:
            terms = _Level(self.first, self.chain, cost, over=0).add(terms)
        else:
            terms = _compress(terms, high, cost)
        if width is None:
            return terms
        return [t if len(t.value) + t.shift <= width else
                Term(t.shift, t.value[:max(width - t.shift, 0)],
                     min(t.high, (1 << max(width - t.shift, 0)) - 1))
                for t in terms if t.shift < width]


def _split(term: Term) -> list[Term]:
    """Return the bits of a word."""
    if term.high == 1:
        return [term]
    return [Term(term.shift + k, bit, 1) for k, bit in enumerate(term.value)]


def _name(stages: Stages, term: Term, name: str) -> Term:
    """Return `term` as a wire, so that expressions remain short; words are fenced."""
    if term.high > 1:
        return Term(term.shift, stages.fence(term.value, name), term.high)
    wire = Signal(name=name)
    stages.m.d.comb += wire.eq(term.value)
    return Term(term.shift, wire, 1)


def _is_bit(term: Term) -> bool:
    return term.high == 1 and term.shift == 0


def _wait(terms: Sequence[Term], hold: Callable[[Sequence[Value], str], list[Value]], label: str,
          cost: Cost, *, operands: bool) -> list[Term]:
    """Return `terms` a level later: of gates either the operands wait or the value."""
    held = iter(hold([v for t in terms
                      for v in (t.operands if isinstance(t, Gate) and operands else (t.value,))],
                     label))
    late: list[Term] = []
    for t in terms:
        if isinstance(t, Gate) and operands:
            late.append(Gate.of(t.function, *(next(held) for _ in t.operands)))
        else:
            cost.luts += isinstance(t, Gate)
            late.append(Term(t.shift, next(held), t.high))
    return late


@dataclass(frozen=True)
class _Pair:
    """Two words to be added, and a bit: each a term, or two bits as their half adder."""

    a: Sequence[Term]
    b: Sequence[Term]
    carry: Term | None = None

    @property
    def words(self) -> tuple[Value, Value]:
        a, b = (terms[0].value if len(terms) == 1 else
                Cat(terms[0].value ^ terms[1].value, terms[0].value & terms[1].value)
                for terms in (self.a, self.b))
        return a, b

    @cached_property
    def width(self) -> int:
        return max(2 if len(terms) == 2 else len(terms[0].value) for terms in (self.a, self.b))

    @property
    def terms(self) -> list[Term]:
        return [*self.a, *self.b, *([] if self.carry is None else [self.carry])]

    @property
    def high(self) -> int:
        return sum(t.high for t in self.terms)

    @property
    def absorbed(self) -> int:
        """LUTs in front of a carry chain that absorbs none."""
        halves = sum(2 for terms in (self.a, self.b) if len(terms) > 1)
        return halves + sum(isinstance(t, Gate) for t in self.terms)

    def of(self, terms: Sequence[Term]) -> _Pair:
        """Return a pair of other terms."""
        n, m = len(self.a), len(self.a) + len(self.b)
        return _Pair(terms[:n], terms[n:m], terms[m] if len(terms) > m else None)


class _Level:
    """One level of a tree: about half as many terms."""

    def __init__(self, first: First, chain: int, cost: Cost, *, over: int) -> None:
        self.first, self.chain, self.cost = first, chain, cost
        self.over = over
        """Bits that may be left over in the end."""
        self.sums: list[Term] = []

    def add(self, terms: Sequence[Term]) -> list[Term]:
        by_shift: dict[int, list[Term]] = {}
        for term in sorted(terms, key=lambda t: (t.shift, t.high)):
            by_shift.setdefault(term.shift, []).append(term)
        if all(len(group) == 1 for group in by_shift.values()):
            self._merge([group[0] for group in by_shift.values()])
        else:
            if len(by_shift) > 1 or 0 not in by_shift:
                self.over = 0
            for group in by_shift.values():
                self._reduce(group)
        return self.sums

    def _take(self, step: Step) -> None:
        self.cost.steps.setdefault(step.key, step)
        self.sums += step.build(step.groups)

    def _reduce(self, group: Sequence[Term]) -> None:
        """Add up terms of the same shift."""
        bits = [t for t in group if t.high == 1]
        words = [t for t in group if t.high > 1]
        pairs: list[_Pair] = []
        if not words and len(bits) > 2:
            pairs = self._first(bits)
        else:
            # a carry for each pair of this level and of all later ones: what is more is a word
            while bits and len(bits) > max(len(words) - 1, 0) + self.over:
                words.insert(0, bits.pop())
            while len(words) > 1:
                pairs.append(_Pair([words.pop(0)], [words.pop(0)], bits.pop() if bits else None))
        for chain in _chains(pairs, self.chain):
            self._take(_chain_step(chain))
            self.cost.chains.append(_length(chain))
            self.cost.absorbed += sum(pair.absorbed for pair in chain)
        self.sums += words + bits # they wait

    def _first(self, bits: list[Term]) -> list[_Pair]:
        """Take from `bits` what is first added; the others are carries of later levels."""
        def take(n: int) -> list[Term]:
            return [bits.pop() for _ in range(n)]

        count, rest = divmod(len(bits) + 1 - self.over, 4)
        count += rest == 3
        pairs: list[_Pair] = []
        if self.first == "compressors":
            sizes = [3] * count
            if rest == 1 and count and _operands(bits[-4:]) == 4:
                sizes[0] = 4
            for size in sizes:
                triple = take(size)
                self.cost.luts += _compressor(triple)
                self._take(Step("compressor", [triple],
                                lambda groups: [_count(bits) for bits in groups]))
            return []
        if self.first == "halves":
            groups, rest = divmod(len(bits) + 1 - self.over, 6)
            pairs = [_Pair(take(2), take(2), take(1)[0]) for _ in range(groups)]
            if rest == 5:
                pairs.append(_Pair(take(2), take(2)))
            count = rest in (3, 4)
        return pairs + [_Pair(take(1), take(1), take(1)[0]) for _ in range(count)]

    def _merge(self, terms: Sequence[Term]) -> None:
        """Add neighbours of different shifts: the low bits of the lower one stay as they are."""
        for low, high in zip(terms[::2], terms[1::2], strict=False):
            self.cost.chains.append(
                max(len(low.value) - high.shift + low.shift, len(high.value)) + 1)
            self._take(Step("merger", [[low, high]],
                            lambda groups: [_add_shifted(*group) for group in groups]))
        if len(terms) % 2:
            self.sums.append(terms[-1])


def _operands(bits: Sequence[Term]) -> int:
    return sum(len(t.operands) if isinstance(t, Gate) else 1 for t in bits)


def _compressor(bits: Sequence[Term]) -> int:
    """Return the LUTs that count three bits, of at most two operands each, or four wires."""
    return 3 if len(bits) > 3 else {3: 2, 4: 2, 5: 3, 6: 4}[_operands(bits)]


def _count(bits: Sequence[Term]) -> Term:
    """Count three or four bits."""
    a, b, c, *more = (bit.value for bit in bits)
    shift = bits[0].shift
    if not more:
        return Term(shift, Cat(a ^ b ^ c, a & b | a & c | b & c), 3)
    d, = more
    return Term(shift, Cat(a ^ b ^ c ^ d, (a & b) ^ (c & d) ^ ((a ^ b) & (c ^ d)),
                           a & b & c & d), 4)


def _add_shifted(a: Term, b: Term) -> Term:
    apart = b.shift - a.shift
    low = Cat(a.value, Const(0, apart))[:apart]
    high = a.high + (b.high << apart)
    return Term(a.shift, Cat(low, a.value[apart:] + b.value)[:high.bit_length()], high)


def _chains(pairs: Sequence[_Pair], most: int) -> list[list[_Pair]]:
    """Group pairs into chains of at most `most` bits."""
    chains: list[list[_Pair]] = []
    used = most
    for pair in pairs:
        if used + pair.width + 1 > most:
            chains.append([])
            used = 0
        chains[-1].append(pair)
        used += pair.width + 1
    return chains


def _separated(chain: Sequence[_Pair]) -> list[bool]:
    """Return before which pairs a separator stands, and whether the last one overflows."""
    overflows = [False, *(pair.high.bit_length() > pair.width for pair in chain)]
    return [over or carry for over, carry in
            zip(overflows, [*(pair.carry is not None for pair in chain), False], strict=True)]


def _length(chain: Sequence[_Pair]) -> int:
    return sum(_separated(chain)) + sum(pair.width for pair in chain)


def _chain_step(chain: Sequence[_Pair]) -> Step:
    def build(groups: Sequence[Sequence[Term]]) -> list[Term]:
        return _add_chain([pair.of(terms) for pair, terms in zip(chain, groups, strict=True)])

    return Step("chain", [pair.terms for pair in chain], build)


def _add_chain(chain: Sequence[_Pair]) -> list[Term]:
    """Add each pair of `chain` to its carry, all in one adder."""
    operands: tuple[list[Value], list[Value]] = ([], [])
    starts, end = [], 0
    for pair, separated in zip(chain, _separated(chain), strict=False):
        if separated:
            carry = Const(0, 1) if pair.carry is None else pair.carry.value
            for operand in operands:
                operand.append(carry)
        starts.append(end + separated)
        for operand, word in zip(operands, pair.words, strict=True):
            operand += [word, Const(0, pair.width - len(word))]
        end += pair.width + separated
    total = (Cat(*operands[0]) + Cat(*operands[1]))[:_length(chain)]
    return [Term(pair.a[0].shift, total[start:start + pair.high.bit_length()], pair.high)
            for pair, start in zip(chain, starts, strict=True)]


def _compress(terms: Sequence[Term], high: int, cost: Cost) -> list[Term]:
    """Replace three bits of a column by two, wherever there are three."""
    columns: dict[int, list[Term]] = {}
    for t in terms:
        columns.setdefault(t.shift, []).append(t)
    if max(map(len, columns.values())) <= 2:
        step = Step("adder", [terms], lambda groups: [_add_bits(group, high) for group in groups])
        cost.steps.setdefault(step.key, step)
        cost.chains.append(high.bit_length())
        return step.build(step.groups)
    rest: list[Term] = []
    for shift, column in columns.items():
        for k in range(0, len(column), 3):
            bits = column[k:k + 3]
            if len(bits) < 3:
                rest += bits
                continue
            cost.luts += _compressor(bits)
            step = Step("compressor", [bits], lambda groups: [_count(bits) for bits in groups])
            cost.steps.setdefault(step.key, step)
            value = _count(bits).value
            rest += [Term(shift, value[0], 1), Term(shift + 1, value[1], 1)]
    return rest


def _add_bits(bits: Sequence[Term], high: int) -> Term:
    """Add bits of which no column has more than two; the sum is at most `high`."""
    columns: dict[int, list[Value]] = {}
    for bit in bits:
        columns.setdefault(bit.shift, []).append(bit.value)
    width = high.bit_length()
    low = next((k for k in range(width) if len(columns.get(k, [])) != 1), width)
    a, b = (Cat((columns.get(k, [])[row:] or [Const(0, 1)])[0] for k in range(low, width))
            for row in range(2))
    return Term(0, Cat([columns[k][0] for k in range(low)], (a + b)[:width - low]), high)
