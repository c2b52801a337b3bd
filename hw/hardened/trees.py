"""Trees of adders: the order in which the terms of a row are added, and the graph of all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bittern.hw.hardened.graph import ZERO, Add, Graph
from bittern.hw.hardened.rows import FREE
from bittern.hw.ints import width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.hardened.rows import Rows
    from bittern.hw.hardened.space import Space, Term

__all__ = ["NEGATED", "Bill", "graph_of"]

Word = tuple[int, int, int, int, int]
"""A summand: its lowest bit, sign, range of what it is worth, and an index."""


class Tree(NamedTuple):
    """An order in which words are added."""

    sites: int
    sign: int
    """Of the sum: -1 if it is the negative of what is asked for."""
    turns: bool
    """Whether its last adder subtracts, and could do so the other way round."""
    steps: list[tuple[int, int]]
    """Which two are added, by index: the words, then the sums."""


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


NEGATED = 2
"""What a negation counts, in sites beside its adder."""


def plan_tree(words: list[Word], depths: list[int], turning: list[bool], pair: bool, depth: int, *,
              positive: bool, negation: int) -> Tree:
    """Return a tree of words; `turning` tells which end in an adder that could subtract otherwise.

    The cheapest two are next, if what is then left can be a tree of `depth` (0: any). What comes
    out negative where it is to be `positive` takes a longer last adder, or one of its two words is
    subtracted the other way round, or else it takes a negation: an adder of its own, and `negation`
    sites more.
    """
    live = dict(enumerate(words))
    deep = dict(enumerate(depths))
    load, limit = sum(1 << d for d in depths), 1 << depth if depth else FREE
    limit = max(limit, 1 << max(load - 1, 0).bit_length())
    table = {(i, j): join(words[i], words[j], pair)
             for i in live for j in live if i < j}
    sites, steps, turning = 0, [], [*turning]
    last: tuple[Word, ...] = words[0],
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
        turning.append(last[0][1] != last[1][1])
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
        if any(word[1] > 0 for word in last):
            sites, sign = sites + max(word[0] for word in last) - low, 1
        else:
            turned = [word[4] for word in last if turning[word[4]]]
            if max(turned, default=0) < len(words): # those of other trees are there twice then
                sites += width_of(lo >> low, hi >> low) + (0 if turned else negation)
    return Tree(sites, sign, turning[-1], steps)


class Bill:
    """What rows cost: the trees of each, which are looked for once."""

    def __init__(self, space: Space, depth: int, negation: int = NEGATED) -> None:
        self.space, self.depth, self.negation = space, depth, negation
        self.known: dict[object, Tree] = {}

    def tree(self, rows: Rows, node: int, made: dict[int, tuple[int, bool]]) -> Tree:
        """Return the tree of a node; `made` has the sign of those in it, and whether they turn."""
        terms = rows.row(node)
        depths = [rows.depths[n] for n, _, _ in terms] if self.depth else [0] * len(terms)
        key = terms, *(made[n] for n, _, _ in terms), node in self.space.positive, *depths
        tree = self.known.get(key)
        if tree is None:
            words = []
            for k, (n, shift, sign) in enumerate(terms):
                ends = sorted(end * sign << shift for end in self.space.ranges[n])
                words.append((shift, sign * made[n][0], ends[0], ends[1], k))
            limit = rows.limits[node].bit_length() - 1 if self.depth else 0
            tree = self.known[key] = plan_tree(
                words, depths, [made[n][1] for n, _, _ in terms], self.space.pair, limit,
                negation=self.negation, positive=node in self.space.positive)
        return tree

    def total(self, rows: Rows) -> int:
        made = dict.fromkeys(range(len(self.space.inputs)), (1, False))
        total = 0
        for node in rows.order():
            tree = self.tree(rows, node, made)
            made[node] = tree.sign, tree.turns
            total += tree.sites
        return total


class _Words:
    """Adders as they are made: none is made twice."""

    def __init__(self, space: Space) -> None:
        self.inputs, self.constants = space.inputs, space.constants
        self.inverted = space.inverted
        self.nodes: dict[Add, int] = {}
        self.adds: list[Add] = []

    def make(self, add: Add) -> int:
        """Return the node of an adder."""
        if add not in self.nodes:
            self.nodes[add] = len(self.inputs) + len(self.adds)
            self.adds.append(add)
        return self.nodes[add]

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

    def turns(self, node: int) -> Add | None:
        """Return the adder of a node, if it subtracts."""
        add = self.adds[node - len(self.inputs)] if node >= len(self.inputs) else None
        return add if add and add.minus else None

    def turned(self, term: Term) -> Term:
        """Return a negative term as a positive one, if its last adder can subtract otherwise."""
        node, shift, sign = term
        add = self.turns(node)
        if sign > 0 or add is None:
            return term
        return self.make(Add(add.b, add.a, -add.shift, True)), shift, 1

    def graph(self, results: Sequence[Term]) -> Graph:
        """Return the graph of what results need."""
        results = [self.turned(term) for term in results]
        outputs = [(node if sign > 0 or node == ZERO else self.make(Add(ZERO, node, 0, True)),
                    shift) for node, shift, sign in results]
        adds, count = self.adds, len(self.inputs)
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
        parts = []
        for inner, shift, sign in rows.row(node):
            base, more, its = done[inner]
            parts.append((base, shift + more, sign * its))
        made = {inner: (done[inner][2], words.turns(done[inner][0]) is not None)
                for inner in rows.terms[node]}
        tree = bill.tree(rows, node, made)
        for k, (i, j) in enumerate(tree.steps, 1):
            last = k == len(tree.steps) and node in space.positive
            parts.append(words.join(parts[i], parts[j], positive=last))
        done[node] = parts[-1]
    results = []
    for node, shift, sign in space.results:
        base, more, its = done[node]
        results.append((base, shift + more, sign * its))
    return words.graph(results)
