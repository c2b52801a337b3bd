"""Rows of a matrix as sums of terms; pairs of terms that many rows have become nodes.

Those come first that save the most (R. I. Hartley, "Subexpression sharing in filters using canonic
signed digit multipliers", 1996).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import exp
from random import Random
from typing import TYPE_CHECKING

from bittern.hw.hardened.graph import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bittern.hw.hardened.space import Space, Term

__all__ = ["FREE", "Rows", "Style"]

FREE = 1 << 200
"""No limit to how many adders are in a row."""


@dataclass(frozen=True)
class Style:
    """What one run of the search does.

    Parameters
    ----------
    depth : int
        The most adders in a row; 0 for as many as may be.
    trees : bool
        Whether a result may be that of another one and a difference.
    noise : float
        By what factor, in logarithms, gains are changed at random.
    """

    depth: int = 0
    trees: bool = False
    noise: float = 0
    seed: int = 0


class Rows:
    """Which nodes are made, of which terms, and how often each pair of terms is found."""

    def __init__(self, space: Space, style: Style, rows: dict[int, Sequence[Term]]) -> None:
        self.space, self.style = space, style
        self.random = Random(style.seed)
        self.terms: dict[int, dict[int, dict[int, int]]] = {}
        """Of each node that is made: the nodes in it, and for each the signs by shifts."""
        self.users: dict[int, set[int]] = {}
        self.counts: dict[int, int] = {}
        self.costs: dict[int, float] = {}
        self.touched: set[int] = set()
        self.depths: dict[int, int] = dict.fromkeys(range(len(space.inputs)), 0)
        self.loads: dict[int, int] = {}
        for node, terms in rows.items():
            self.terms[node] = {}
            self.loads[node] = 0
            for term in terms:
                self.put(node, *term)
        self.settle()

    def again(self, style: Style) -> None:
        """Begin another run, with other gains."""
        self.style, self.random = style, Random(style.seed)
        self.costs.clear()

    def rows(self) -> dict[int, Sequence[Term]]:
        """Return the terms of each node that is made."""
        return {row: self.row(row) for row in self.terms}

    def row(self, row: int) -> tuple[Term, ...]:
        return tuple((node, shift, sign) for node, signs in sorted(self.terms[row].items())
                     for shift, sign in sorted(signs.items()))

    def settle(self) -> None:
        """Find how deep each node is, if each is a balanced tree of its terms."""
        self.depths = dict.fromkeys(range(len(self.space.inputs)), 0)
        for node in self.order():
            load = sum(len(signs) << self.depths[n] for n, signs in self.terms[node].items())
            self.loads[node] = load
            self.depths[node] = max(load - 1, 0).bit_length()
        most = max(self.depths.values(), default=0)
        # what others are made of gets no deeper, or these would
        most_of = {node: self.depths[node] if self.users.get(node) else
                   max(self.depths[node], self.style.depth) for node in self.terms}
        self.limits = {node: 1 << depth if self.style.depth else FREE
                       for node, depth in most_of.items()}
        self.deepest = most

    def order(self) -> list[int]:
        """Return the nodes that are made, each behind those that it is made of."""
        order: list[int] = []
        seen: set[int] = set()
        for root in self.terms:
            stack = [root]
            while stack:
                node = stack[-1]
                waits = [n for n in self.terms[node] if n in self.terms and n not in seen]
                if waits:
                    stack += waits
                    continue
                stack.pop()
                if node not in seen:
                    seen.add(node)
                    order.append(node)
        return order

    def put(self, row: int, node: int, shift: int, sign: int) -> None:
        """Add a term to a row: two equal ones are one of the next shift, opposite ones none."""
        mine = self.terms[row]
        while True:
            signs = mine.setdefault(node, {})
            before = signs.get(shift)
            if before is None:
                break
            self.drop(row, node, shift)
            if before != sign:
                return
            shift += 1
        self._count(row, node, shift, sign, 1)
        mine.setdefault(node, {})[shift] = sign
        self.users.setdefault(node, set()).add(row)
        self.loads[row] += 1 << self.depths.get(node, 0)

    def drop(self, row: int, node: int, shift: int) -> None:
        signs = self.terms[row][node]
        sign = signs.pop(shift)
        if not signs:
            del self.terms[row][node]
            self.users[node].discard(row)
        self.loads[row] -= 1 << self.depths.get(node, 0)
        self._count(row, node, shift, sign, -1)

    def _count(self, row: int, node: int, shift: int, sign: int, step: int) -> None:
        counts, touched = self.counts, self.touched
        for other, signs in self.terms[row].items():
            for at, its in signs.items():
                if node < other or (node == other and shift < at):
                    key = ((node << 24 | other) << 8 | at - shift + 128) << 1 | (its != sign)
                else:
                    key = ((other << 24 | node) << 8 | shift - at + 128) << 1 | (its != sign)
                n = counts.get(key, 0) + step
                if n:
                    counts[key] = n
                    if step > 0 and n > 1:
                        touched.add(key)
                else:
                    del counts[key]

    def dissolve(self, node: int) -> None:
        """Put the terms of a node in its place wherever it is used."""
        terms = self.row(node)
        for row in sorted(self.users.get(node, ())):
            for shift, sign in list(self.terms[row].get(node, {}).items()):
                if self.terms[row].get(node, {}).get(shift) == sign:
                    self.drop(row, node, shift)
                    for inner, more, its in terms:
                        self.put(row, inner, shift + more, sign * its)
        if node not in self.space.fixed and not self.users.get(node):
            self.remove(node)

    def remove(self, node: int) -> None:
        """Remove a node that no row has."""
        for inner, shift, _ in self.row(node):
            self.drop(node, inner, shift)
        del self.terms[node], self.loads[node]
        self.depths.pop(node, None)

    # -- pairs

    def _cost(self, key: int) -> float:
        cost = self.costs.get(key)
        if cost is None:
            minus, apart, b, a = key & 1, (key >> 1 & 255) - 128, key >> 9 & 0xFFFFFF, key >> 33
            cost = float(max(self.space.bits(a, b, apart, bool(minus)), 1))
            if self.style.noise:
                cost *= exp(self.random.gauss(0, self.style.noise))
            self.costs[key] = cost
        return cost

    def share(self) -> None:
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
            self.touched.clear()
            self._replace(key)
            for key in self.touched:
                if (n := self.counts.get(key, 0)) > 1:
                    heapq.heappush(heap, (-(n - 1) * self._cost(key), key))

    def _places(self, a: int, b: int, apart: int, minus: bool) -> Iterator[tuple[int, int, int]]:
        """Yield row, shift and sign of `a` of places of a pair; none shares terms with another."""
        da, db = self.depths[a], self.depths[b]
        grows = (2 << max(da, db)) - (1 << da) - (1 << db)
        for row in sorted(self.users[a] & self.users[b]):
            room = self.limits[row] - self.loads[row]
            mine, other = self.terms[row][a], self.terms[row][b]
            taken: set[int] = set()
            for shift, sign in sorted(mine.items()):
                if other.get(shift + apart) != (-sign if minus else sign) or grows > room:
                    continue
                if a == b:
                    if taken & {shift, shift + apart}:
                        continue
                    taken |= {shift, shift + apart}
                room -= grows
                yield row, shift, sign

    def _replace(self, key: int) -> None:
        minus, apart, b, a = key & 1, (key >> 1 & 255) - 128, key >> 9 & 0xFFFFFF, key >> 33
        places = list(self._places(a, b, apart, bool(minus)))
        node, more, its = self.space.sum(a, b, apart, bool(minus))
        there = node in self.terms or node < len(self.space.inputs)
        if there and node != ZERO:
            places = [place for place in places if not self._needs(node, place[0])]
        if len(places) < 2 - there:
            return
        if node != ZERO and not there:
            self.terms[node], self.loads[node] = {}, 0
            self.depths[node] = 1 + max(self.depths[a], self.depths[b])
            self.limits[node] = 1 << self.depths[node] if self.style.depth else FREE
            self.put(node, a, max(-apart, 0) - more, its)
            self.put(node, b, max(apart, 0) - more, -its if minus else its)
        for row, shift, sign in places:
            if row == node:
                continue
            mine, other = self.terms[row].get(a, {}), self.terms[row].get(b, {})
            if mine.get(shift) != sign or other.get(shift + apart) != (-sign if minus else sign):
                continue # changed by a carry
            self.drop(row, a, shift)
            self.drop(row, b, shift + apart)
            if node != ZERO:
                self.put(row, node, min(shift, shift + apart) + more, sign * its)

    def _needs(self, node: int, row: int) -> bool:
        """Return whether `node` is made of `row`."""
        if node == row:
            return True
        seen: set[int] = set()
        stack = [node]
        while stack:
            for inner in self.terms.get(stack.pop(), ()):
                if inner == row:
                    return True
                if inner not in seen:
                    seen.add(inner)
                    stack.append(inner)
        return False

    def tidy(self) -> None:
        """Dissolve what is used once: it may be added in another order."""
        for node in sorted(self.terms, reverse=True):
            if node in self.space.fixed:
                continue
            uses = sum(len(self.terms[row][node]) for row in self.users.get(node, ()))
            if not uses:
                self.remove(node)
            elif uses == 1:
                self.dissolve(node)
        self.settle()
