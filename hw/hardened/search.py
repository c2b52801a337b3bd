"""Search for graphs of few adder bits that multiply by a constant matrix.

A matrix is a set of rows, each a sum of terms: nodes, shifted, with a sign. A pair of terms that
many rows have becomes a node of its own, those first that save the most (R. I. Hartley,
"Subexpression sharing in filters using canonic signed digit multipliers", 1996; a row may begin
with another one, by a minimum spanning tree of their differences, as in da4ml, C. Sun et al.,
arXiv:2507.04535). Then nodes are dissolved and found anew, again and again, and what is not worse
is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO, Add, Graph, Range, reach
from bittern.hw.hardened.schedule import schedule
from bittern.hw.ints import width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bittern.hw.ints import Ints

__all__ = ["Affine", "Progress", "Space", "Style", "build", "digits_of", "search", "signed_digits",
           "silent", "styles_for"]

Progress = Callable[[int, int], None]


def silent(_step: int, _sites: int) -> None:
    """Tell nothing."""


Term = tuple[int, int, int]
"""A node, the shift by which a row takes it, and its sign there."""
FF = 0.5
"""What a bit of a register counts, in LUTs: most have a LUT before them in their site."""
NOISES = (0.02, 0.1, 0.3)
HEAT = 2.0
"""By how many sites, on average, a step may be worse in the beginning."""
TURNS = 4
"""How often results that would be negated are inverted instead."""
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


def digits_of(values: Ints) -> Ints:
    """Return how many signed digits of each integer are not 0."""
    magnitudes = np.abs(values)
    digits: Ints = np.bitwise_count(magnitudes ^ 3 * magnitudes).astype(np.int64)
    return digits


@dataclass(frozen=True, eq=False)
class Affine:
    """``matrix @ x``, where the last `constants` of the inputs are constants.

    Parameters
    ----------
    matrix : array ``(outputs, inputs)``
    inputs : lowest and highest value of each input
    constants : int
    inverted : which results are those of the matrix, inverted
    """

    matrix: Ints
    inputs: tuple[Range, ...]
    constants: int = 0
    inverted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, matrix: Ints, bias: Ints, inputs: Sequence[Range],
           inverted: frozenset[int] = frozenset()) -> Self:
        """Return ``matrix @ x + bias``, with a constant for each odd factor of the bias."""
        turned = np.isin(np.arange(len(matrix)), list(inverted))
        matrix, bias = np.where(turned[:, None], -matrix, matrix), np.where(turned, ~bias, bias)
        odd = [abs(int(b)) // (int(b) & -int(b)) if b else 0 for b in bias]
        constants = sorted({b for b in odd if b})
        columns = [[int(b) // c if o == c else 0 for c in constants]
                   for o, b in zip(odd, bias, strict=True)]
        more = np.array(columns, np.int64).reshape(len(matrix), len(constants))
        return cls(np.concatenate([matrix, more], axis=1),
                   (*inputs, *((c, c) for c in constants)), len(constants), inverted)


class Space:
    """The nodes there can be: each sum of inputs has one, with all its shifts and both signs."""

    def __init__(self, wanted: Affine, family: Family) -> None:
        self.inputs, self.constants, self.family = wanted.inputs, wanted.constants, family
        self.inverted = wanted.inverted
        self.pair = family is Family.ECP5
        """Whether carry cells come in pairs."""
        self.forms: list[Ints] = []
        self.ranges: list[Range] = []
        self.ids: dict[bytes, int] = {}
        for row in np.eye(len(self.inputs), dtype=np.int64):
            self.find(row)
        self.results = [self.find(row) for row in wanted.matrix]
        """Node, shift and sign of each row of the matrix."""
        self.fixed = {node for node, _, _ in self.results if node >= len(self.inputs)}
        """Nodes that are results: always there."""
        self.positive = {node for node, _, sign in self.results if sign > 0}

    def find(self, form: Ints) -> Term:
        """Return the node of a sum of inputs, with the shift and sign that make it `form`."""
        low = int(np.bitwise_or.reduce(form)) if len(form) else 0
        if not low:
            return ZERO, 0, 1
        shift = (low & -low).bit_length() - 1
        odd = form >> shift
        for sign in (1, -1):
            node = self.ids.get((sign * odd).tobytes())
            if node is not None:
                return node, shift, sign
        node = self.ids[odd.tobytes()] = len(self.forms)
        self.forms.append(odd)
        self.ranges.append(reach(odd, self.inputs))
        return node, shift, 1

    def sum(self, a: int, b: int, apart: int, minus: bool) -> Term:
        """Return the node of ``a + (b << apart)``, or of the difference."""
        x, y = self.forms[a] << max(-apart, 0), self.forms[b] << max(apart, 0)
        return self.find(x - y if minus else x + y)

    def bits(self, a: int, b: int, apart: int, minus: bool) -> int:
        """Return the carry sites of that adder, as if `a` and `b` did not depend on each other."""
        (alo, ahi), (blo, bhi) = self.ranges[a], self.ranges[b]
        if alo == ahi and blo == bhi:
            return 0
        if minus:
            blo, bhi = -bhi, -blo
        if apart >= 0:
            lo, hi = alo + (blo << apart), ahi + (bhi << apart)
            if not minus and alo >= 0 and ahi >> apart == 0:
                return 0
            bits = width_of(lo, hi) - apart
        else:
            lo, hi = (alo << -apart) + blo, (ahi << -apart) + bhi
            if not minus and blo >= 0 and bhi >> -apart == 0:
                return 0
            if minus: # of b - (a << n), the node with the other sign
                lo, hi = -hi, -lo
            bits = width_of(lo, hi) + apart
        return bits + (bits & self.pair)


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


Word = tuple[int, int, int, int, int]
"""A summand: its lowest bit, sign, range of what it is worth, and an index."""


def join(one: Word, two: Word, pair: bool) -> tuple[int, int, int, int, int]:
    """Return sites, lowest bit, sign and range of the sum of two words."""
    if one[0] < two[0] or (one[0] == two[0] and one[1] >= two[1]):
        low, sign, llo, lhi = one[:4]
        high = two[0]
        other = two[1]
    else:
        low, sign, llo, lhi = two[:4]
        high = one[0]
        other = one[1]
    lo, hi = one[2] + two[2], one[3] + two[3]
    if lo == hi:
        return 0, low, sign, lo, hi
    if sign == other and (llo >= 0 and lhi >> high == 0 if sign > 0
                          else lhi <= 0 and -llo >> high == 0):
        return 0, low, sign, lo, hi
    if sign < 0:
        bits = width_of(-hi >> low, -lo >> low) - high + low
    else:
        bits = width_of(lo >> low, hi >> low) - high + low
    return bits + (bits & pair), low, sign, lo, hi


def plan_tree(words: list[Word], depths: list[int], pair: bool, depth: int, *, positive: bool
              ) -> tuple[int, list[tuple[int, int]]]:
    """Return the sites of a tree of words, and which two are added next, by index.

    The cheapest two are next, if what is then left can be a tree of `depth` (0: any). What comes
    out negative where it is to be `positive` takes a longer last adder, or a negation.
    """
    live = dict(enumerate(words))
    deep = dict(enumerate(depths))
    load, limit = sum(1 << d for d in depths), 1 << depth if depth else FREE
    limit = max(limit, 1 << max(load - 1, 0).bit_length())
    table = {(i, j): join(words[i], words[j], pair)
             for i in live for j in live if i < j}
    sites, steps = 0, []
    last: tuple[Word, ...] = ()
    plus = sum(word[1] > 0 for word in words) if positive else 0
    while len(live) > 1:
        best = None
        for (i, j), joined in table.items():
            di, dj = deep[i], deep[j]
            top = di if di > dj else dj
            if load + (2 << top) - (1 << di) - (1 << dj) > limit:
                continue
            if joined[2] < 0 and plus and len(live) > 2 and plus == (
                    (live[i][1] > 0) + (live[j][1] > 0)):
                continue # one that is positive stays for the last adder
            metric = (joined[0], top, joined[4] - joined[3], i, j)
            if best is None or metric < best:
                best = metric
        if best is None: # too deep for that
            plus = 0
            continue
        i, j = best[3:]
        joined = table[i, j]
        sites += joined[0]
        steps.append((i, j))
        last = live[i], live[j]
        plus += (joined[2] > 0) - (live[i][1] > 0) - (live[j][1] > 0) if plus else 0
        k = len(words) + len(steps) - 1
        load += (2 << best[1]) - (1 << deep[i]) - (1 << deep[j])
        del live[i], live[j]
        table = {key: value for key, value in table.items() if i not in key and j not in key}
        new = (*joined[1:], k)
        for other, word in live.items():
            table[other, k] = join(word, new, pair)
        live[k], deep[k] = new, best[1] + 1
    (low, sign, lo, hi, _), = live.values()
    if positive and sign < 0:
        turned = steps and any(w[1] > 0 for w in last)
        sites += max(w[0] for w in last) - low if turned else width_of(lo >> low, hi >> low) + 2
    return sites, steps


class Bill:
    """What rows cost: the trees of each, which are looked for once."""

    def __init__(self, space: Space, depth: int) -> None:
        self.space, self.depth = space, depth
        self.known: dict[object, int] = {}

    def words(self, terms: Sequence[Term]) -> list[Word]:
        found = []
        for k, (node, shift, sign) in enumerate(terms):
            lo, hi = self.space.ranges[node]
            if sign < 0:
                lo, hi = -hi, -lo
            found.append((shift, sign, lo << shift, hi << shift, k))
        return found

    def row(self, node: int, terms: tuple[Term, ...], depths: list[int], limit: int) -> int:
        key = terms, node in self.space.positive, tuple(depths) if self.depth else ()
        sites = self.known.get(key)
        if sites is None:
            words = self.words(terms)
            sites, _ = plan_tree(words, depths, self.space.pair, limit,
                                 positive=node in self.space.positive)
            self.known[key] = sites
        return sites

    def total(self, rows: Rows) -> int:
        total = 0
        for node in rows.terms:
            terms = rows.row(node)
            if len(terms) > 1 or (terms and terms[0][2] < 0):
                total += self.row(node, terms, [rows.depths[n] for n, _, _ in terms],
                                  rows.limits[node].bit_length() - 1 if self.depth else 0)
        return total


def build(wanted: Affine, family: Family, style: Style) -> Graph:
    """Return the graph of one greedy run."""
    space = Space(wanted, family)
    return graph_of(space, first(space, style))


def first(space: Space, style: Style) -> Rows:
    """Return rows as the greedy search finds them."""
    rows = Rows(space, style, start(space, style))
    rows.share()
    rows.tidy()
    return rows


def start(space: Space, style: Style) -> dict[int, Sequence[Term]]:
    """Return each result as signed digits of inputs, or of a difference from another result."""
    nodes = sorted(space.fixed)
    forms = [space.forms[node] for node in nodes]
    matrix = np.array(forms, np.int64).reshape(len(nodes), len(space.inputs))
    parents = spanning_tree(matrix) if style.trees else [None] * len(nodes)
    rows: dict[int, Sequence[Term]] = {}
    for node, form, parent in zip(nodes, matrix, parents, strict=True):
        terms: list[Term] = []
        rest = form
        if parent is not None:
            other, sign = parent
            rest = form - sign * matrix[other]
            terms.append((nodes[other], 0, sign))
        terms += [(k, shift, sign) for k, c in enumerate(rest)
                  for shift, sign in signed_digits(int(c))]
        rows[node] = terms
    return rows


def spanning_tree(matrix: Ints) -> list[tuple[int, int] | None]:
    """Return for each row which row it begins with, and by what sign, or none.

    The differences of rows and their parents have as few digits as may be: a minimum spanning tree.
    """
    best: list[tuple[int, tuple[int, int] | None]] = [
        (int(n), None) for n in digits_of(matrix).sum(axis=1)]
    parents: list[tuple[int, int] | None] = [None] * len(matrix)
    left = set(range(len(matrix)))
    while left:
        row = min(left, key=lambda k: (best[k][0], k))
        left.remove(row)
        parents[row] = best[row][1]
        for sign in (1, -1):
            others = sorted(left)
            digits = digits_of(matrix[others] - sign * matrix[row]).sum(axis=1) + 1
            for other, n in zip(others, digits.tolist(), strict=True):
                if n < best[other][0]:
                    best[other] = n, (row, sign)
    return parents


def styles_for(space: Space) -> list[Style]:
    """Return what is worth trying: shallow, shared deeply, and results made of others."""
    rows = start(space, Style())
    least = max((max(len(terms) - 1, 0).bit_length() for terms in rows.values()), default=0)
    return [Style(depth=least), Style(depth=least + 1), Style(), Style(trees=True),
            Style(depth=2 * least, trees=True)]


def search(matrix: Ints, bias: Ints, inputs: Sequence[Range], family: Family, *,
           mhz: float = 0, tail: float = 0, inverts: bool = False, steps: int = 200,
           seconds: float = 60, seed: int = 0, ff: float = FF,
           progress: Progress = silent) -> Graph:
    """Return the smallest graph found for ``matrix @ x + bias``.

    There is a greedy run of each style, and the best one is improved step by step. The same
    arguments give the same graph, unless time ends it.

    Parameters
    ----------
    matrix : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    inputs : lowest and highest value of each input
    family : Family
        Whose adders are counted.
    mhz, tail : float
        What a pipeline is for, as of :func:`schedule`; its registers count, too.
    inverts : bool
        Whether what follows takes inverted results for nothing.
    steps : int
        How often the best one is changed, and kept if it is no worse.
    seconds : float
        Limit; the best so far is returned, as it is on an interruption from the keyboard.
    ff : float
        What a bit of a register counts, in LUTs.
    progress : called with the steps done and the sites of the best graph
    """
    end = monotonic() + seconds
    best: tuple[float, Graph, Style, Rows] | None = None
    for style in styles_for(Space(Affine.of(matrix, bias, inputs), family)):
        inverted: frozenset[int] = frozenset()
        for _ in range(TURNS if inverts else 1):
            if best is not None and monotonic() > end:
                break
            rows = first(Space(Affine.of(matrix, bias, inputs, inverted), family), style)
            graph = graph_of(rows.space, rows)
            score = graph.lut4(family) + (
                ff * schedule(graph, family, mhz, tail, anneal=0).ff if mhz else 0)
            if best is None or score < best[0]:
                best = score, graph, style, rows
            if not graph.negations:
                break
            inverted ^= frozenset(graph.negations)
    assert best is not None
    _, graph, style, rows = best
    space = rows.space
    try:
        found = improve(space, style, rows.rows(), steps=steps, end=end, seed=seed,
                        progress=progress)
    except Interrupted as interrupted:
        found = interrupted.best
    better = graph_of(space, Rows(space, style, found))
    return min(graph, better, key=lambda graph: graph.lut4(family))


class Interrupted(KeyboardInterrupt):
    """An interruption from the keyboard, with the best that was found before."""

    def __init__(self, best: dict[int, Sequence[Term]]) -> None:
        super().__init__()
        self.best = best


def improve(space: Space, chosen: Style, rows: dict[int, Sequence[Term]], *, steps: int,
            end: float, seed: int, progress: Progress) -> dict[int, Sequence[Term]]:
    """Return rows of less cost: some nodes are dissolved and found anew, step by step."""
    random = Random(seed)
    bill = Bill(space, chosen.depth)
    best = current = rows
    state = Rows(space, chosen, rows)
    deepest = max(state.deepest, chosen.depth)
    least = now = bill.total(state)
    try:
        for step in range(steps):
            if monotonic() > end:
                break
            state.again(replace(chosen, noise=random.choice(NOISES), seed=random.getrandbits(32)))
            shake(state, random)
            state.share()
            state.tidy()
            sites = bill.total(state)
            if step % 16 == 0:
                progress(step, least)
            if (chosen.depth and state.deepest > deepest) or \
                    sites > now + random.expovariate(1) * HEAT * (1 - step / steps):
                state = Rows(space, chosen, current)
                continue
            now, current = sites, state.rows()
            if sites < least:
                best, least = current, sites
    except KeyboardInterrupt:
        raise Interrupted(best) from None
    return best


def shake(rows: Rows, random: Random) -> None:
    """Dissolve some nodes, and write some pairs of digits in another way."""
    inner = sorted(node for node in rows.terms if node not in rows.space.fixed)
    if not inner:
        return
    if random.random() < 0.5:
        chosen = random.sample(inner, min(len(inner), random.choice((1, 2, 4, 8, 16))))
    else: # those in some result
        row = random.choice(sorted(rows.terms))
        chosen = [n for n in rows.terms[row] if n in rows.terms and n not in rows.space.fixed]
        chosen += [m for n in chosen for m in rows.terms[n]
                   if m in rows.terms and m not in rows.space.fixed]
        chosen = sorted(set(chosen))
    for node in chosen:
        if node in rows.terms:
            rows.dissolve(node)
    rows.settle()
    for _ in range(random.choice((0, 0, 1, 2, 4))):
        rewrite(rows, random)


def rewrite(rows: Rows, random: Random) -> None:
    """Write a pair of digits of a row in another way: ``1 + 2 = 4 - 1``."""
    row = random.choice(sorted(rows.terms))
    node = random.choice(sorted(rows.terms[row])) if rows.terms[row] else None
    if node is None:
        return
    signs = dict(rows.terms[row][node])
    pairs = [(s, t) for s in signs for t in signs if t - s in (1, 2)]
    if not pairs:
        return
    s, t = random.choice(pairs)
    if t - s == 1 and signs[s] == signs[t]: # 3 = 4 - 1
        new = [(s, -signs[s]), (s + 2, signs[s])]
    elif t - s == 2 and signs[s] != signs[t]:
        new = [(s, signs[t]), (s + 1, signs[t])]
    else:
        return
    rows.drop(row, node, s)
    rows.drop(row, node, t)
    for shift, sign in new:
        rows.put(row, node, shift, sign)


class _Words:
    """Adders as they are made: none is made twice."""

    def __init__(self, space: Space) -> None:
        self.inputs, self.constants = space.inputs, space.constants
        self.inverted = space.inverted
        self.nodes: dict[Add, int] = {}

    def make(self, add: Add) -> int:
        """Return the node of an adder."""
        return self.nodes.setdefault(add, len(self.inputs) + len(self.nodes))

    def join(self, one: Term, two: Term, *, positive: bool = False) -> Term:
        """Return the sum of two terms, with a positive sign if that can be had."""
        if positive and one[2] < 0 and two[2] < 0:
            one, two = min(((self.turned(one), two), (one, self.turned(two))),
                           key=lambda pair: -max(term[2] for term in pair))
        if (one[1], -one[2]) > (two[1], -two[2]):
            one, two = two, one
        (a, low, sign), (b, high, other) = one, two
        if positive and sign < 0 < other:
            return self.make(Add(b, a, low - high, True)), low, 1
        return self.make(Add(a, b, high - low, sign != other)), low, sign

    def turned(self, term: Term) -> Term:
        """Return a negative term as a positive one, if its last adder can subtract otherwise."""
        node, shift, sign = term
        add = list(self.nodes)[node - len(self.inputs)] if node >= len(self.inputs) else None
        if sign > 0 or add is None or not add.minus:
            return term
        return self.make(Add(add.b, add.a, -add.shift, True)), shift, 1

    def graph(self, results: Sequence[Term]) -> Graph:
        """Return the graph of what results need."""
        results = [self.turned(term) for term in results]
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
                     tuple((number[node], shift) for node, shift in outputs), self.constants,
                     self.inverted)


def graph_of(space: Space, rows: Rows) -> Graph:
    """Return the adders of rows, in order."""
    words = _Words(space)
    bill = Bill(space, rows.style.depth)
    done: dict[int, Term] = {k: (k, 0, 1) for k in range(len(space.inputs))}
    done[ZERO] = ZERO, 0, 1

    for node in rows.order():
        terms = rows.row(node)
        parts = []
        for inner, shift, sign in terms:
            base, more, its = done[inner]
            parts.append((base, shift + more, sign * its))
        # the words as they are, of which some are negative
        inside = [(low, part[2], lo, hi, k) for part, (low, _, lo, hi, k) in zip(
            parts, bill.words(terms), strict=True)]
        _, steps = plan_tree(inside, [rows.depths[n] for n, _, _ in terms],
                             space.pair, rows.limits[node].bit_length() - 1
                             if rows.style.depth else 0,
                             positive=node in space.positive)
        for k, (i, j) in enumerate(steps, 1):
            last = k == len(steps) and node in space.positive
            parts.append(words.join(parts[i], parts[j], positive=last))
        done[node] = parts[-1]
    results = []
    for node, shift, sign in space.results:
        base, more, its = done[node]
        results.append((base, shift + more, sign * its))
    return words.graph(results)
