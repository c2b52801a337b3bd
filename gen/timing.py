"""Timing: when the cells of a design take and give transfers, cycle by cycle.

What a cell promises is its :class:`Steps`. From them alone the cycles of a whole design follow,
without its gates; tests hold the simulated hardware to exactly these numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from math import inf
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cell", "Source", "Split", "Steps", "Store", "Timing", "simulate"]


@dataclass(frozen=True)
class Steps:
    """What a cell does for a frame, a step a cycle, and how long a result then takes.

    The steps are in a pipeline of `latency` registers, which stops as a whole while the last
    register holds a result that is not taken.

    Parameters
    ----------
    takes, gives : tuple[bool, ...]
        For each step of a frame whether it takes a transfer of every input, and whether it gives
        one. A step that takes waits for the transfers.
    latency : int
        At least 1.
    store : int
        Where not 0, the pipeline never stops. Behind it is a queue (:class:`Store`) of so many
        transfers, and a step that gives one waits until there will be room for it.
    replay : int
        Where not 0, transfers go into a buffer of two frames of so many transfers; step k needs
        transfer ``k % replay`` of its frame to be there, and none takes.
    whole : bool
        Whether the first step rather needs all transfers of its frame.
    """

    takes: tuple[bool, ...]
    gives: tuple[bool, ...]
    latency: int
    store: int = 0
    replay: int = 0
    whole: bool = False

    @property
    def cycles(self) -> int:
        """Cycles from a frame to the next."""
        return len(self.takes)


@dataclass(frozen=True)
class Store:
    """Timing of :class:`~bittern.hw.stream.Queue`; of depth 0 it is a memory without an end."""

    depth: int


@dataclass(frozen=True)
class Split:
    """Timing of :class:`~bittern.hw.stream.Fork`."""

    count: int


class Source(NamedTuple):
    """An output of a cell: the index of the cell, -1 for the input of the design, and which."""

    cell: int
    output: int = 0


@dataclass(frozen=True)
class Cell:
    """A cell of a design: its promise, and what it reads."""

    promise: Steps | Store | Split
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Timing:
    """Cycles of a design that is never stalled.

    Parameters
    ----------
    interval : int
        Cycles from a frame to the next, in the steady state.
    latency : int
        From the cycle that takes a frame's first transfer to the one that gives its last, in an
        empty design.
    levels : tuple[int, ...]
        The most transfers that each cell held, where it is a store.
    """

    interval: int
    latency: int
    levels: tuple[int, ...]


class _State(ABC):
    """What a cell is at, between two cycles."""

    level = 0

    @abstractmethod
    def valids(self, arrived: list[bool]) -> list[bool]:
        """Return whether each output has a transfer, given whether each input has."""

    @abstractmethod
    def readys(self, arrived: list[bool], wanted: list[bool]) -> list[bool]:
        """Return whether each input is taken, given whether each output is wanted."""

    @abstractmethod
    def advance(self, arrived: list[bool], wanted: list[bool]) -> None:
        """Pass a cycle."""

    def still(self, arrived: list[bool]) -> float:
        """Return the cycles for which nothing can be seen of this cell, if its inputs stay so."""
        return 0 if any(arrived) or any(self.valids(arrived)) else inf

    def skip(self, arrived: list[bool], cycles: int) -> None:
        """Pass so many cycles, in which nothing can be seen: by default nothing happens."""


class _Stepper(_State):
    def __init__(self, steps: Steps) -> None:
        self.steps, self.k = steps, 0
        self.pipe = deque([False] * steps.latency, maxlen=steps.latency)
        self.written = 0 # transfers in the buffer, of the frame that is being read and the next
        self.free, self.queue = steps.store, _start(Store(steps.store)) if steps.store else None
        self.events = [k for k, event in enumerate(map(or_, steps.takes, steps.gives)) if event]

    def valids(self, arrived: list[bool]) -> list[bool]:
        return self.queue.valids([self.pipe[0]]) if self.queue else [self.pipe[0]]

    def waits(self, arrived: list[bool]) -> bool:
        """Return whether the next step lacks a transfer, or room for one."""
        steps = self.steps
        if steps.store and steps.gives[self.k] and not self.free:
            return True
        if steps.replay:
            return self.written <= (steps.replay - 1 if steps.whole else self.k % steps.replay)
        return steps.takes[self.k] and not all(arrived)

    def still(self, arrived: list[bool]) -> float:
        steps = self.steps
        if (any(self.pipe) or any(self.valids(arrived))
                or (steps.replay and arrived[0] and self.written < 2 * steps.replay)):
            return 0
        if self.waits(arrived):
            return inf
        quiet = self.events[bisect_left(self.events, self.k)] - self.k
        if steps.replay and not steps.whole and self.written < steps.replay:
            quiet = min(quiet, self.written - self.k % steps.replay)
        return quiet

    def skip(self, arrived: list[bool], cycles: int) -> None:
        if not self.waits(arrived):
            self.k += cycles

    def readys(self, arrived: list[bool], wanted: list[bool]) -> list[bool]:
        steps = self.steps
        if steps.replay:
            return [self.written < 2 * steps.replay]
        if steps.store:
            able = not steps.gives[self.k] or self.free > 0
        else:
            able = not self.pipe[0] or wanted[0]
        missing = arrived.count(False)
        return [able and steps.takes[self.k] and missing == (not there) for there in arrived]

    def advance(self, arrived: list[bool], wanted: list[bool]) -> None:
        steps = self.steps
        step = self.queue is not None or not self.pipe[0] or wanted[0]
        issue = step and not self.waits(arrived)
        given = issue and steps.gives[self.k]
        if self.queue:
            self.free += (self.queue.valids([])[0] and wanted[0]) - given
            self.queue.advance([self.pipe[0]], wanted)
        if steps.replay and arrived[0] and self.written < 2 * steps.replay:
            self.written += 1
        if step:
            self.pipe.append(given)
        if issue:
            self.k += 1
            if self.k == len(steps.gives):
                self.k = 0
                self.written -= steps.replay


class _Spiller(_State):
    def __init__(self) -> None:
        self.valid = self.spilled = False

    def valids(self, arrived: list[bool]) -> list[bool]:
        return [self.valid]

    def readys(self, arrived: list[bool], wanted: list[bool]) -> list[bool]:
        return [not self.spilled]

    def advance(self, arrived: list[bool], wanted: list[bool]) -> None:
        if wanted[0] or not self.valid:
            self.valid = self.spilled or arrived[0]
            self.spilled = False
        elif arrived[0]:
            self.spilled = True


class _Storer(_State):
    def __init__(self, depth: int) -> None:
        self.depth, self.stored, self.valid = depth, 0, False

    def valids(self, arrived: list[bool]) -> list[bool]:
        return [self.valid]

    def readys(self, arrived: list[bool], wanted: list[bool]) -> list[bool]:
        return [not self.depth or self.stored < self.depth]

    def advance(self, arrived: list[bool], wanted: list[bool]) -> None:
        push = arrived[0] and self.readys(arrived, wanted)[0]
        if wanted[0] or not self.valid:
            self.valid = self.stored > 0
            self.stored -= self.valid
        self.stored += push
        self.level = max(self.level, self.stored)


class _Splitter(_State):
    def __init__(self, count: int) -> None:
        self.taken = [False] * count

    def valids(self, arrived: list[bool]) -> list[bool]:
        return [arrived[0] and not taken for taken in self.taken]

    def readys(self, arrived: list[bool], wanted: list[bool]) -> list[bool]:
        return [all(map(or_, self.taken, wanted))]

    def advance(self, arrived: list[bool], wanted: list[bool]) -> None:
        if arrived[0]:
            through = list(map(or_, self.taken, wanted))
            self.taken = [False] * len(through) if all(through) else through


def _start(promise: Steps | Store | Split) -> _State:
    if isinstance(promise, Steps):
        return _Stepper(promise)
    if isinstance(promise, Split):
        return _Splitter(promise.count)
    return _Spiller() if promise.depth == 2 else _Storer(promise.depth)


def simulate(cells: Sequence[Cell], transfers_out: int, *, frames: int = 6) -> Timing:
    """Return the timing of `cells`, which are in topological order; the last drives the output.

    `transfers_out` is the number of transfers of a frame of output.
    """
    states = [_start(c.promise) for c in cells]
    reader = {s: (i, k) for i, c in enumerate(cells) for k, s in enumerate(c.sources)}
    readers = [[reader.get(Source(i, k)) for k in range(len(state.valids([False] * 9)))]
               for i, state in enumerate(states)]
    first: int | None = None
    ends: list[int] = []
    given = cycle = 0
    while len(ends) < frames:
        valids: list[list[bool]] = []
        arrived: list[list[bool]] = []
        for c, state in zip(cells, states, strict=True):
            arrived.append([s.cell < 0 or valids[s.cell][s.output] for s in c.sources])
            valids.append(state.valids(arrived[-1]))
        readys: list[list[bool]] = [[]] * len(cells)
        wanted: list[list[bool]] = [[]] * len(cells)
        for i in range(len(cells) - 1, -1, -1):
            wanted[i] = [r is None or readys[r[0]][r[1]] for r in readers[i]]
            readys[i] = states[i].readys(arrived[i], wanted[i])
        i, k = reader[Source(-1)]
        if first is None and readys[i][k]:
            first = cycle
        still = 0 if readys[i][k] else min(s.still(a) for s, a in zip(states, arrived, strict=True))
        if 1 < still < inf:
            for state, there in zip(states, arrived, strict=True):
                state.skip(there, int(still))
            cycle += int(still)
            continue
        if valids[-1][0]:
            given += 1
            if given % transfers_out == 0:
                ends.append(cycle)
        for i, state in enumerate(states):
            state.advance(arrived[i], wanted[i])
        cycle += 1
    assert first is not None
    return Timing(ends[-1] - ends[-2], ends[0] - first, tuple(s.level for s in states))
