"""Search for graphs of few adder bits that multiply by a constant matrix.

A matrix is a set of rows, each a sum of terms (:mod:`bittern.hw.hardened.rows`); a row may begin
with another one, by a minimum spanning tree of their differences, as in da4ml (C. Sun et al.,
arXiv:2507.04535). After a greedy run nodes are dissolved and found anew, again and again, and what
is not worse is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.hardened.blocks import blocks_of, joined
from bittern.hw.hardened.rows import Rows, Style
from bittern.hw.hardened.schedule import schedule
from bittern.hw.hardened.space import Affine, Space, Term, digits_of, signed_digits
from bittern.hw.hardened.trees import NEGATED, Bill, graph_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.hardened.graph import Graph, Range
    from bittern.hw.ints import Ints

__all__ = ["Progress", "build", "search", "silent", "styles_for"]

Progress = Callable[[int, int], None]


def silent(_step: int, _sites: int) -> None:
    """Tell nothing."""


FF = 1.0
"""What a bit of a register counts, in LUTs. Most have a LUT before them in their site; but fewer
registers are fewer stages, too."""
NOISES = (0.02, 0.1, 0.3)
HEAT = 2.0
"""By how many sites, on average, a step may be worse in the beginning."""
TURNS = 4
"""How often results that would be negated are inverted instead."""
TURNED = 100
"""What a negation counts, in sites beside its adder, where inverting left none at first."""


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
           mhz: float = 0, tail: float = 0, head: float = 0, inverts: bool = False,
           blocks: int = 1, steps: int = 200, seconds: float = 60, seed: int = 0, ff: float = FF,
           progress: Progress = silent) -> Graph:
    """Return the smallest graph found for ``matrix @ x + bias``.

    There is a greedy run of each style, and the best one is improved step by step; of a large
    matrix one block of columns after the other (:mod:`bittern.hw.hardened.blocks`). The same
    arguments give the same graph, unless time ends it.

    Parameters
    ----------
    matrix : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    inputs : lowest and highest value of each input
    family : Family
        Whose adders are counted.
    mhz, tail, head : float
        What a pipeline is for, as of :func:`schedule`; its registers count, too.
    inverts : bool
        Whether what follows takes inverted results for nothing.
    blocks : int
        Into how many to cut a matrix that is not large: the graph has more adders, and wires that
        are shorter, for it shares nothing between blocks.
    steps : int
        How often the best one is changed, and kept if it is no worse; of each block.
    seconds : float
        Limit; the best so far is returned, as it is on an interruption from the keyboard.
    ff : float
        What a bit of a register counts, in LUTs.
    progress : called with the steps done and the sites of the best graph
    """
    bounds = list(inputs)
    parts = blocks_of(matrix, blocks)
    run = _Run(family, mhz, tail, head, steps, seed, ff, progress)
    if len(parts) == 1:
        return run(matrix, bias, bounds, seconds, inverts=inverts)
    share = seconds / (len(parts) + 1)
    nothing = np.zeros(len(matrix), np.int64)
    return joined([run(matrix[:, part], nothing, bounds[part], share) for part in parts],
                  lambda sums, ranges: run(sums, bias, ranges, share, inverts=inverts))


@dataclass
class _Run:
    """Searches of one kind; arguments are as of :func:`search`."""

    family: Family
    mhz: float
    tail: float
    head: float
    steps: int
    seed: int
    ff: float
    progress: Progress
    interrupted: bool = False

    def __call__(self, matrix: Ints, bias: Ints, inputs: Sequence[Range], seconds: float, *,
                 inverts: bool = False) -> Graph:
        """Return the smallest graph found in so many seconds; after an interruption, the first."""
        end = monotonic() + (0 if self.interrupted else seconds)
        best: tuple[float, Graph, Style, Rows] | None = None
        for style in styles_for(Space(Affine.of(matrix, bias, inputs), self.family)):
            inverted: frozenset[int] = frozenset()
            for _ in range(TURNS if inverts else 1):
                if best is not None and monotonic() > end:
                    break
                rows = first(Space(Affine.of(matrix, bias, inputs, inverted), self.family),
                             style)
                graph = graph_of(rows.space, rows)
                scored = self._score(graph)
                if best is None or scored < best[0]:
                    best = scored, graph, style, rows
                if not graph.negations:
                    break
                inverted ^= frozenset(graph.negations)
        assert best is not None
        _, graph, style, rows = best
        if self.mhz: # deeper may be more registers
            style = replace(style, depth=min(style.depth or graph.depth, graph.depth))
        bill = Bill(rows.space, style.depth, TURNED if inverts else NEGATED)
        try:
            found = improve(bill, style, rows.rows(), steps=self.steps, end=end, seed=self.seed,
                            progress=self.progress)
        except Interrupted as interrupted:
            found, self.interrupted = interrupted.best, True
        better = graph_of(rows.space, Rows(rows.space, style, found))
        return min(graph, better, key=self._score)

    def _score(self, graph: Graph) -> float:
        sites = graph.lut4(self.family)
        if not self.mhz:
            return sites
        return sites + self.ff * schedule(graph, self.family, self.mhz, self.tail, self.head).ff


class Interrupted(KeyboardInterrupt):
    """An interruption from the keyboard, with the best that was found before."""

    def __init__(self, best: dict[int, Sequence[Term]]) -> None:
        super().__init__()
        self.best = best


def improve(bill: Bill, chosen: Style, rows: dict[int, Sequence[Term]], *, steps: int,
            end: float, seed: int, progress: Progress) -> dict[int, Sequence[Term]]:
    """Return rows of less cost: some nodes are dissolved and found anew, step by step."""
    random = Random(seed)
    best = current = rows
    state = Rows(bill.space, chosen, rows)
    deepest = state.deepest
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
                state = Rows(bill.space, chosen, current)
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
