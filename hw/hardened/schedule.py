"""Registers in a graph of adders: in which stage of a pipeline each adder works."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bittern.hw.hardened.graph import Graph

__all__ = ["Schedule", "schedule"]

DELAYS = {Family.ICE40: (1.9, 0.20), Family.ECP5: (2.0, 0.035), Family.GOWIN: (1.5, 0.06)}
"""Nanoseconds of an adder and the wires to it, and those of each of its bits more."""
REGISTER = {Family.ICE40: 1.5, Family.ECP5: 1.2, Family.GOWIN: 0.9}
"""Nanoseconds from a clock edge into a register's output, and of its set-up."""
MANY = 15_000
"""Differences from which the interior-point method is faster than the simplex method."""
LATE = 1e-9
"""Nanoseconds that a sum of delays may be off."""


@dataclass(frozen=True)
class Schedule:
    """The stage of each adder, from 0; registers hold what a later stage needs.

    Parameters
    ----------
    graph : Graph
    stages : of each adder
    last : the stage in which the results are given
    """

    graph: Graph
    stages: tuple[int, ...]
    last: int

    @cached_property
    def until(self) -> tuple[int, ...]:
        """The last stage in which each node is needed."""
        return tuple(_until(self.graph, (0,) * len(self.graph.inputs) + self.stages, self.last))

    @property
    def ff(self) -> int:
        """Bits of the registers between the stages."""
        at = (0,) * len(self.graph.inputs) + self.stages
        return sum((until - stage) * width
                   for until, stage, width in zip(self.until, at, self.graph.widths, strict=True))

    def mhz(self, family: Family, tail: float = 0, head: float = 0) -> float:
        """Predict the fastest clock; `tail` and `head` are as of :func:`schedule`."""
        at = (0,) * len(self.graph.inputs) + self.stages
        done = [head] * len(self.graph.inputs) + [0.0] * len(self.stages)
        for node, (add, delay) in enumerate(zip(self.graph.adds, _delays(self.graph, family),
                                                strict=True), len(self.graph.inputs)):
            done[node] = delay + max((done[n] for n in (add.a, add.b)
                                      if n != ZERO and at[n] == at[node]), default=0.0)
        ends = [done[node] + tail for node, _ in self.graph.outputs
                if node != ZERO and at[node] == self.last]
        return 1000 / (REGISTER[family] + max((*done, *ends), default=0.0))


def _delays(graph: Graph, family: Family) -> list[float]:
    """Return the nanoseconds of each adder, 0 of wires."""
    base, per_bit = DELAYS[family]
    bits = [graph.chain(k) for k in range(len(graph.adds))]
    return [base + per_bit * n if n else 0.0 for n in bits]


def schedule(graph: Graph, family: Family, mhz: float, tail: float = 0, head: float = 0
             ) -> Schedule:
    """Return the shortest pipeline for a clock, with the fewest bits of registers; none for 0 MHz.

    An adder slower than the clock has a stage of its own. Inputs come `head` nanoseconds after
    their registers; what is done with the results before the next register takes `tail`.

    Source: a linear program whose constraints are differences, so that it has integers for a
    solution (J. Cong and Z. Zhang, "An efficient and versatile scheduling algorithm based on SDC
    formulation", 2006).
    """
    if not mhz or not graph.adds:
        return Schedule(graph, (0,) * len(graph.adds), 0)
    budget = 1000 / mhz - REGISTER[family] + LATE
    chains = _Chains(graph, [min(delay, budget) for delay in _delays(graph, family)], budget)
    last = chains.shortest(head, tail)
    inputs, nodes = len(graph.inputs), len(chains.operands)
    # unknowns: the stage of each node, and behind these the last stage in which it is needed
    least, most = np.zeros(2 * nodes), np.full(2 * nodes, float(last))
    most[:inputs] = 0
    later: list[tuple[int, int, int]] = [(n, nodes + n, 0) for n in range(nodes)]
    for node in range(inputs, nodes):
        for n in chains.operands[node]:
            later += [(n, node, 0), (node, nodes + n, 0)]
        reached = dict(chains.reached(node, chains.delays[node]))
        later += [(node, end, 1) for end, done in reached.items() if done > budget]
        if any(done + tail > budget for end, done in reached.items() if end in chains.ends):
            most[node] = min(most[node], last - 1)
    if head:
        for n in range(graph.operands):
            late = [end for end, done in chains.reached(n, head) if done > budget]
            least[late] = 1
    for end in chains.ends:
        least[nodes + end] = last
    rows = np.arange(len(later))
    before, after, stages = np.array(later).T
    differences = csr_array((np.repeat((1, -1), len(later)),
                             (np.tile(rows, 2), np.concatenate([before, after]))),
                            shape=(len(later), 2 * nodes))
    widths = np.array(graph.widths)
    found = linprog(np.concatenate([-widths, widths]), differences, -stages,
                    bounds=np.stack([least, most], axis=1),
                    method="highs-ipm" if len(later) > MANY else "highs-ds")
    assert found.success, found.message
    return Schedule(graph, tuple(np.rint(found.x[inputs:nodes]).astype(int).tolist()), last)


def _until(graph: Graph, stages: tuple[int, ...], last: int) -> list[int]:
    until = list(stages)
    for k, add in enumerate(graph.adds, len(graph.inputs)):
        for n in (add.a, add.b):
            if n != ZERO:
                until[n] = max(until[n], stages[k])
    for node, _ in graph.outputs:
        if node != ZERO:
            until[node] = last
    return until


class _Chains:
    """Which adders follow one another, and how long that takes."""

    def __init__(self, graph: Graph, delays: list[float], budget: float) -> None:
        count = len(graph.inputs)
        self.given, self.budget = graph.operands, budget
        self.delays = [0.0] * count + delays
        self.ends = {node for node, _ in graph.outputs if node != ZERO}
        self.operands: list[list[int]] = [[] for _ in range(count)]
        self.operands += [[n for n in {add.a, add.b} if n != ZERO] for add in graph.adds]
        self.users: list[list[int]] = [[] for _ in self.operands]
        for node, nodes in enumerate(self.operands):
            for n in nodes:
                self.users[n].append(node)

    def shortest(self, head: float, tail: float) -> int:
        """Return the last stage if each adder is as early as may be."""
        stage = [0] * len(self.operands)
        done = [head] * self.given + [0.0] * (len(stage) - self.given)
        for node, operands in enumerate(self.operands):
            if not operands:
                continue
            at = max(stage[n] for n in operands)
            begin = max(done[n] for n in operands if stage[n] == at)
            if begin + self.delays[node] > self.budget:
                at, begin = at + 1, 0.0
            stage[node], done[node] = at, begin + self.delays[node]
        return max((stage[n] + (done[n] + tail > self.budget) for n in self.ends), default=0)

    def reached(self, node: int, done: float) -> Iterator[tuple[int, float]]:
        """Yield `node`, the nodes made of it and when they are done, if all are in one stage.

        Nothing is yielded behind those that are too late for the clock.
        """
        when, heap = {node: done}, [node]
        while heap: # in the order of their numbers: what each is made of comes before it
            at = heappop(heap)
            yield at, when[at]
            if when[at] > self.budget:
                continue
            for user in self.users[at]:
                if user not in when:
                    heappush(heap, user)
                when[user] = max(when.get(user, 0.0), when[at] + self.delays[user])
