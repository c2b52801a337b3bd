"""Search for graphs of few adder bits that multiply by a constant matrix."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO, Add, Graph, Range, chain, reach
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bittern.hw.ints import Ints

__all__ = ["Style", "build"]

Term = tuple[int, int, int]
"""A node, the shift by which a row takes it, and its sign there."""


@dataclass(frozen=True)
class Style:
    """What one run of the search does.

    Parameters
    ----------
    depth : int
        The most adders in a row; 0 for as many as may be.
    trees : bool
        Whether a result may be that of another one and a difference.
    power : float
        How much the bits of an adder count against how often it is found.
    noise : float
        By what factor, in logarithms, gains are changed at random.
    """

    depth: int = 0
    trees: bool = False
    power: float = 1
    noise: float = 0
    seed: int = 0


def signed_digits(c: int) -> list[tuple[int, int]]:
    """Return the canonical signed digits of `c` that are not 0: shift and sign of each."""
    digits, shift, sign = [], 0, 1 if c > 0 else -1
    c = abs(c)
    while c:
        if c & 1:
            digit = 2 - (c & 3)
            digits.append((shift, digit * sign))
            c -= digit
        c >>= 1
        shift += 1
    return digits


def weight(row: Ints) -> int:
    """Return how many signed digits of a row are not 0."""
    magnitudes = np.abs(row)
    return int(np.bitwise_count(magnitudes ^ 3 * magnitudes).sum())


def build(matrix: Ints, inputs: Sequence[Range], family: Family, style: Style) -> Graph:
    """Return a graph for `matrix`, ``(outputs, inputs)``, of inputs of the given ranges."""
    return _Search(np.asarray(matrix, np.int64), tuple(inputs), family, style).run()


class _Search:
    """One greedy run: rows are sums of terms; pairs that many rows have become one term."""

    def __init__(self, matrix: Ints, inputs: tuple[Range, ...], family: Family,
                 style: Style) -> None:
        self.matrix, self.inputs, self.family, self.style = matrix, inputs, family, style
        self.random = Random(style.seed)
        outputs, count = matrix.shape
        self.adds: dict[int, Add] = {}
        """By node. Nodes are the inputs, then the rows of the matrix, then adders as found."""
        self.forms: list[Ints] = [*np.eye(count, dtype=np.int64), *matrix]
        self.ranges: list[Range] = [reach(form, inputs) for form in self.forms]
        self.depths = [0] * (count + outputs)
        self.limit = 1 << style.depth if style.depth else 1 << 60
        self.terms: list[dict[int, dict[int, int]]] = [{} for _ in range(outputs)]
        """Of each row: its nodes, and for each the signs by shifts."""
        self.loads = [0] * outputs
        """Sum of ``2 ** depth`` of the terms of each row: at most `limit`, if this can be met."""
        self.limits = [self.limit] * outputs
        self.users: dict[int, set[int]] = {}
        """The rows that have a term of a node."""
        self.counts: dict[int, int] = {}
        """How often each pair of terms is found, by key."""
        self.costs: dict[int, float] = {}
        self.touched: set[int] = set()

    # -- rows

    def _put(self, row: int, node: int, shift: int, sign: int) -> None:
        """Add a term to a row: two equal ones are one of the next shift, opposite ones none."""
        while True:
            signs = self.terms[row].setdefault(node, {})
            before = signs.get(shift)
            if before is None:
                break
            self._drop(row, node, shift)
            if before != sign:
                return
            shift += 1
        self._count(row, node, shift, sign, 1)
        self.terms[row].setdefault(node, {})[shift] = sign
        self.users.setdefault(node, set()).add(row)
        self.loads[row] += 1 << self.depths[node]

    def _drop(self, row: int, node: int, shift: int) -> None:
        signs = self.terms[row][node]
        sign = signs.pop(shift)
        if not signs:
            del self.terms[row][node]
            self.users[node].discard(row)
        self.loads[row] -= 1 << self.depths[node]
        self._count(row, node, shift, sign, -1)

    def _count(self, row: int, node: int, shift: int, sign: int, step: int) -> None:
        counts, touched = self.counts, self.touched
        for other, signs in self.terms[row].items():
            for at, its in signs.items():
                if (node, shift) < (other, at):
                    key = ((node << 24 | other) << 8 | at - shift + 128) << 1 | (its != sign)
                else:
                    key = ((other << 24 | node) << 8 | shift - at + 128) << 1 | (its != sign)
                counts[key] = counts.get(key, 0) + step
                if step > 0:
                    touched.add(key)

    # -- pairs

    def _add(self, key: int) -> Add:
        minus, apart, b, a = key & 1, (key >> 1 & 255) - 128, key >> 9 & 0xFFFFFF, key >> 33
        if minus and apart < 0: # what is not shifted is not subtracted
            return Add(b, a, -apart, True)
        return Add(a, b, apart, bool(minus))

    def _cost(self, key: int) -> float:
        cost = self.costs.get(key)
        if cost is None:
            add = self._add(key)
            cost = max(self._bits(add), 1) ** self.style.power
            if self.style.noise:
                cost *= 2 ** self.random.gauss(0, self.style.noise)
            self.costs[key] = cost
        return cost

    def _bits(self, add: Add) -> int:
        """Return the bits of an adder, as if its operands did not depend on each other."""
        (alo, ahi), (blo, bhi) = self.ranges[add.a], self.ranges[add.b]
        up, over = max(-add.shift, 0), max(add.shift, 0)
        if add.minus:
            blo, bhi = -bhi, -blo
        lower = self.ranges[add.b if add.shift < 0 else add.a]
        return chain(add, lower, ((alo << up) + (blo << over), (ahi << up) + (bhi << over)))

    def _new(self, add: Add) -> int:
        node = len(self.forms)
        a, b = self.forms[add.a] << max(-add.shift, 0), self.forms[add.b] << max(add.shift, 0)
        self.forms.append(a - b if add.minus else a + b)
        self.ranges.append(reach(self.forms[-1], self.inputs))
        self.depths.append(1 + max(self.depths[add.a], self.depths[add.b]))
        self.adds[node] = add
        return node

    def _places(self, key: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield rows that have a pair: row, shifts of both, and the sign of the first."""
        minus, apart, b, a = key & 1, (key >> 1 & 255) - 128, key >> 9 & 0xFFFFFF, key >> 33
        grows = (2 << max(self.depths[a], self.depths[b])) - (1 << self.depths[a]) - (
            1 << self.depths[b])
        for row in sorted(self.users[a] & self.users[b]):
            room = self.limits[row] - self.loads[row]
            for shift, sign in list(self.terms[row][a].items()):
                mine, other = self.terms[row].get(a, {}), self.terms[row].get(b, {})
                if mine.get(shift) == sign and \
                        other.get(shift + apart) == (-sign if minus else sign):
                    if grows > room:
                        continue
                    room -= grows
                    yield row, shift, shift + apart, sign

    def _share(self) -> None:
        """Make nodes of pairs, those first that save the most, until none is found twice."""
        heap = [(-(n - 1) * self._cost(key), key) for key, n in self.counts.items() if n > 1]
        heapq.heapify(heap)
        while heap:
            gain, key = heapq.heappop(heap)
            now = (self.counts.get(key, 0) - 1) * self._cost(key)
            if now <= 0:
                continue
            if -gain > now:
                heapq.heappush(heap, (-now, key))
                continue
            add = self._add(key)
            places = self._where(key)
            if len(places) < 2:
                self.counts[key] = min(self.counts[key], 1)
                continue
            node = self._new(add)
            first, second = key >> 33, key >> 9 & 0xFFFFFF
            self.touched.clear()
            for row, shift, at, sign in places:
                signs = self.terms[row]
                if signs.get(first, {}).get(shift) != sign or at not in signs.get(second, {}):
                    continue # taken by the place before, or changed by a carry
                low = min(shift, at)
                its = sign if add.a == first else signs[second][at]
                self._drop(row, first, shift)
                self._drop(row, second, at)
                self._put(row, node, low, its)
            for key in self.touched:
                if self.counts.get(key, 0) > 1:
                    heapq.heappush(heap, (-(self.counts[key] - 1) * self._cost(key), key))

    def _where(self, key: int) -> list[tuple[int, int, int, int]]:
        """Return places of a pair of which none has a term of another."""
        found, taken = [], set()
        first, second = key >> 33, key >> 9 & 0xFFFFFF
        for row, shift, at, sign in self._places(key):
            mine = {(row, first, shift), (row, second, at)}
            if not mine & taken:
                taken |= mine
                found.append((row, shift, at, sign))
        return found

    # -- rows of rows

    def _parents(self) -> list[tuple[int, int, int] | None]:
        """Return for each row which row it begins with, or none: that, its sign and its shift.

        A minimum spanning tree: rows are as far apart as their difference has digits.
        """
        outputs = len(self.matrix)
        own = [weight(row) for row in self.matrix]
        best: list[tuple[int, tuple[int, int, int] | None]] = [(n, None) for n in own]
        parents: list[tuple[int, int, int] | None] = [None] * outputs
        left = set(range(outputs))
        magnitudes = np.abs(self.matrix)
        while left:
            row = min(left, key=lambda k: (best[k][0], k))
            left.remove(row)
            parents[row] = best[row][1]
            if not own[row]:
                continue
            for sign in (1, -1):
                differences = np.abs(self.matrix - sign * self.matrix[row])
                digits = np.bitwise_count(differences ^ 3 * differences).sum(axis=1) + 1
                for other in left:
                    if digits[other] < best[other][0]:
                        best[other] = int(digits[other]), (row, sign, 0)
        del magnitudes
        return parents

    # -- the end

    def run(self) -> Graph:
        outputs, count = self.matrix.shape
        parents = self._parents() if self.style.trees else [None] * outputs
        for row, parent in enumerate(parents):
            rest = self.matrix[row]
            if parent is not None:
                other, sign, shift = parent
                rest = rest - (sign * self.matrix[other] << shift)
                self._put(row, count + other, shift, sign)
            for node, c in enumerate(rest):
                for shift, sign in signed_digits(int(c)):
                    self._put(row, node, shift, sign)
        self._share()
        return self._finish()

    def _finish(self) -> Graph:
        """Add up what is left of each row, and number what results need in order."""
        outputs, count = self.matrix.shape
        words = _Words(self.inputs, self.family)
        done: dict[int, Term] = {k: (k, 0, 1) for k in range(count)}

        def resolve(node: int) -> Term:
            if node in done:
                return done[node]
            if node < count + outputs:
                terms = [_scale(resolve(k), shift, sign)
                         for k, signs in sorted(self.terms[node - count].items())
                         for shift, sign in sorted(signs.items())]
                term = words.total(terms, balanced=self.style.depth > 0)
            else:
                add = self.adds[node]
                term = words.join(_scale(resolve(add.a), max(-add.shift, 0), 1),
                                  _scale(resolve(add.b), max(add.shift, 0), 1 - 2 * add.minus))
            done[node] = term
            return term

        return words.graph([resolve(count + row) for row in range(outputs)])


class _Words:
    """Adders as they are made: none is made twice."""

    def __init__(self, inputs: tuple[Range, ...], family: Family) -> None:
        self.inputs, self.family = inputs, family
        self.forms: list[Ints] = list(np.eye(len(inputs), dtype=np.int64))
        self.ranges = list(inputs)
        self.depths = [0] * len(inputs)
        self.nodes: dict[Add, int] = {}

    def make(self, add: Add) -> int:
        """Return the node of an adder."""
        if add not in self.nodes:
            self.nodes[add] = len(self.forms)
            zero = np.zeros(len(self.inputs), np.int64)
            a, b = (self.forms[n] << s if n != ZERO else zero
                    for n, s in ((add.a, max(-add.shift, 0)), (add.b, max(add.shift, 0))))
            self.forms.append(a - b if add.minus else a + b)
            self.ranges.append(reach(self.forms[-1], self.inputs))
            self.depths.append(1 + max(self.depths[n] for n in (add.a, add.b) if n != ZERO))
        return self.nodes[add]

    def join(self, one: Term, two: Term) -> Term:
        """Return the sum of two terms."""
        for term, other in ((one, two), (two, one)):
            if term[0] == ZERO:
                return other
        if one[:2] == two[:2]:
            return (one[0], one[1] + 1, one[2]) if one[2] == two[2] else (ZERO, 0, 1)
        add, shift, sign = _join(one, two)
        return self.make(add), shift, sign

    def bits(self, add: Add) -> int:
        """Return the bits of an adder, as if its operands did not depend on each other."""
        if add in self.nodes:
            return 0
        (alo, ahi), (blo, bhi) = self.ranges[add.a], self.ranges[add.b]
        up, over = max(-add.shift, 0), max(add.shift, 0)
        if add.minus:
            blo, bhi = -bhi, -blo
        lower = self.ranges[add.b if add.shift < 0 else add.a]
        return adder_lut4(chain(add, lower, ((alo << up) + (blo << over),
                                             (ahi << up) + (bhi << over))), self.family)

    def total(self, terms: Sequence[Term], *, balanced: bool) -> Term:
        """Add up terms, two at a time; return what is left."""
        rest = [term for term in terms if term[0] != ZERO]
        while len(rest) > 1:
            best: tuple[tuple[int, ...], int, int] | None = None
            for one, two in combinations(range(len(rest)), 2):
                if rest[one][:2] == rest[two][:2]:
                    metric: tuple[int, ...] = (-1,)
                else:
                    add, _, _ = _join(rest[one], rest[two])
                    depth = 1 + max(self.depths[add.a], self.depths[add.b])
                    metric = (depth if balanced else 0, self.bits(add), depth)
                if best is None or (metric, one, two) < best:
                    best = metric, one, two
            assert best is not None
            two, one = rest.pop(best[2]), rest.pop(best[1])
            rest += [term for term in [self.join(one, two)] if term[0] != ZERO]
        return rest[0] if rest else (ZERO, 0, 1)

    def graph(self, results: Sequence[Term]) -> Graph:
        """Return the graph of what results need."""
        outputs = [(node if sign > 0 or node == ZERO else self.make(Add(ZERO, node, 0, True)),
                    shift) for node, shift, sign in results]
        adds = list(self.nodes)
        count = len(self.inputs)
        needed = {node for node, _ in outputs}
        for k in reversed(range(len(adds))):
            if count + k in needed:
                needed |= {adds[k].a, adds[k].b}
        number = {ZERO: ZERO, **{k: k for k in range(count)}}
        order: list[Add] = []
        for k, add in enumerate(adds, count):
            if k in needed:
                number[k] = count + len(order)
                order.append(Add(number[add.a], number[add.b], add.shift, add.minus))
        return Graph(self.inputs, tuple(order),
                     tuple((number[node], shift) for node, shift in outputs))


def _scale(term: Term, shift: int, sign: int) -> Term:
    return term[0], term[1] + shift, term[2] * sign


def _join(one: Term, two: Term) -> tuple[Add, int, int]:
    """Return the adder of two terms, and the shift and sign of its result."""
    if (one[1], -one[2], one[0]) > (two[1], -two[2], two[0]):
        one, two = two, one
    (a, low, sign), (b, high, other) = one, two
    return Add(a, b, high - low, sign != other), low, sign
