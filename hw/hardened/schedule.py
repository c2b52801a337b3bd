"""Registers in a graph of adders: in which stage of a pipeline each adder works."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO

if TYPE_CHECKING:
    from bittern.hw.hardened.graph import Graph

__all__ = ["Schedule", "schedule"]

DELAYS = {Family.ICE40: (1.9, 0.20), Family.ECP5: (2.0, 0.035), Family.GOWIN: (1.5, 0.06)}
"""Nanoseconds of an adder and the wires to it, and those of each of its bits more."""
REGISTER = {Family.ICE40: 1.5, Family.ECP5: 1.2, Family.GOWIN: 0.9}
"""Nanoseconds from a clock edge into a register's output, and of its set-up."""
SWEEPS = 20
ANNEAL, HEAT = 200, 8.0
"""Sweeps in which adders move at random, and how many bits worse they may become at first."""


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

    def mhz(self, family: Family, tail: float = 0) -> float:
        """Predict the fastest clock, with a register before and one `tail` ns behind the adders."""
        at = (0,) * len(self.graph.inputs) + self.stages
        done = [0.0] * len(at)
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


def schedule(graph: Graph, family: Family, mhz: float, tail: float = 0, *,
             anneal: int = ANNEAL) -> Schedule:
    """Return the shortest pipeline for a clock, with few bits of registers; none for 0 MHz.

    An adder slower than the clock has a stage of its own. What is done with the results before the
    next register takes `tail` nanoseconds. In `anneal` sweeps adders move at random, more and more
    only where that saves registers (simulated annealing).
    """
    if not mhz or not graph.adds:
        return Schedule(graph, (0,) * len(graph.adds), 0)
    budget = 1000 / mhz - REGISTER[family]
    mover = _Mover(graph, [min(delay, budget) for delay in _delays(graph, family)], budget, tail)
    found = [mover.settled()]
    if anneal:
        random = Random(0)
        for k in range(anneal):
            mover.wander(random, HEAT * (1 - k / anneal))
        found.append(mover.settled())
    return min((Schedule(graph, stages, mover.last) for stages in found), key=lambda s: s.ff)


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


class _Mover:
    """Adders in their stages, as late as may be at first, and moved one at a time then."""

    def __init__(self, graph: Graph, delays: list[float], budget: float, tail: float) -> None:
        count = len(graph.inputs)
        self.widths, self.budget, self.tail = graph.widths, budget + 1e-9, tail
        self.delays = [0.0] * count + delays
        self.ends = {node for node, _ in graph.outputs if node != ZERO}
        self.operands: list[list[int]] = [[] for _ in range(count)]
        self.operands += [[n for n in {add.a, add.b} if n != ZERO] for add in graph.adds]
        self.users: list[list[int]] = [[] for _ in self.operands]
        for node, nodes in enumerate(self.operands):
            for n in nodes:
                self.users[n].append(node)
        self.adders = range(count, len(self.operands))
        self.last = self._shortest()
        self.stage = self._latest()

    def _shortest(self) -> int:
        """Return the last stage if each adder is as early as may be."""
        stage, done = [0] * len(self.operands), [0.0] * len(self.operands)
        for node in self.adders:
            at = max(stage[n] for n in self.operands[node])
            begin = max((done[n] for n in self.operands[node] if stage[n] == at), default=0.0)
            if begin + self.delays[node] > self.budget:
                at, begin = at + 1, 0.0
            stage[node], done[node] = at, begin + self.delays[node]
        return max((stage[n] + (done[n] + self.tail > self.budget) for n in self.ends), default=0)

    def _latest(self) -> list[int]:
        stage, left = [0] * len(self.operands), [0.0] * len(self.operands)
        for node in reversed(self.adders):
            at = min((stage[u] for u in self.users[node]), default=self.last)
            after = max((left[u] for u in self.users[node] if stage[u] == at), default=0.0)
            if node in self.ends and at == self.last:
                after = max(after, self.tail)
            if after + self.delays[node] > self.budget:
                at, after = at - 1, 0.0
            stage[node], left[node] = at, after + self.delays[node]
        return stage

    def _span(self, node: int) -> int:
        until = max((self.stage[u] for u in self.users[node]), default=self.stage[node])
        return (self.last if node in self.ends else until) - self.stage[node]

    def _cost(self, node: int) -> int:
        return sum(self._span(n) * self.widths[n] for n in (node, *self.operands[node]))

    def _before(self, node: int, seen: dict[int, float]) -> float:
        """Return when a node is done within its stage."""
        if node not in seen:
            seen[node] = self.delays[node] + max(
                (self._before(n, seen) for n in self.operands[node]
                 if self.stage[n] == self.stage[node]), default=0.0)
        return seen[node]

    def _after(self, node: int, seen: dict[int, float]) -> float:
        """Return how long what follows a node takes within its stage."""
        if node not in seen:
            seen[node] = max((self.delays[u] + self._after(u, seen) for u in self.users[node]
                              if self.stage[u] == self.stage[node]), default=0.0)
            if node in self.ends and self.stage[node] == self.last:
                seen[node] = max(seen[node], self.tail)
        return seen[node]

    def _fits(self, node: int) -> bool:
        return self._before(node, {}) + self._after(node, {}) <= self.budget

    def wander(self, random: Random, heat: float) -> None:
        """Move each adder a stage at random, if that costs few bits."""
        for node in random.sample(self.adders, len(self.adders)):
            home = self.stage[node]
            at = home + random.choice((-1, 1))
            if not (max((self.stage[n] for n in self.operands[node]), default=0) <= at
                    <= min((self.stage[u] for u in self.users[node]), default=self.last)):
                continue
            before = self._cost(node)
            self.stage[node] = at
            if self._cost(node) - before > heat * random.expovariate(1) or not self._fits(node):
                self.stage[node] = home

    def settled(self) -> tuple[int, ...]:
        """Return the stages of the adders when no move of one saves registers."""
        for k in range(SWEEPS):
            if not self._sweep(backwards=k % 2 == 1):
                break
        return tuple(self.stage[node] for node in self.adders)

    def _sweep(self, *, backwards: bool) -> int:
        """Move each adder to where registers are fewest; return how many bits that saves.

        Forwards ties go to the earlier stage, backwards to the later one.
        """
        saved = 0
        for node in reversed(self.adders) if backwards else self.adders:
            home = self.stage[node]
            earliest = max((self.stage[n] for n in self.operands[node]), default=0)
            latest = min((self.stage[u] for u in self.users[node]), default=self.last)
            first = best = self._cost(node)
            choice = home
            for at in range(earliest, latest + 1):
                if at == home:
                    continue
                self.stage[node] = at
                cost = self._cost(node)
                tie = cost == best and (at > choice if backwards else at < choice)
                if (cost < best or tie) and self._fits(node):
                    best, choice = cost, at
            self.stage[node] = choice
            saved += first - best
        return saved
