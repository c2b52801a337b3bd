"""Timing: when the cells of a design take and give transfers, cycle by cycle.

What a cell promises is its :class:`Steps`. From them alone the cycles of a whole design follow,
without its gates; tests hold the simulated hardware to exactly these numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cell", "Spill", "Steps", "Timing", "simulate"]


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
    replay : int
        Where not 0, transfers go into a buffer of two frames of so many transfers; step k needs
        transfer ``k % replay`` of its frame to be there, and none takes.
    """

    takes: tuple[bool, ...]
    gives: tuple[bool, ...]
    latency: int
    replay: int = 0

    @property
    def cycles(self) -> int:
        """Cycles from a frame to the next."""
        return len(self.takes)


@dataclass(frozen=True)
class Spill:
    """Timing of :class:`~bittern.hw.stream.Queue`."""


@dataclass(frozen=True)
class Cell:
    """A cell of a design: its promise, and the indices of the cells it reads, -1 for the input."""

    name: str
    promise: Steps | Spill
    sources: tuple[int, ...]


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
    """

    interval: int
    latency: int


class _Stepper:
    """State of a cell that has :class:`Steps`."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.k = steps, 0
        self.pipe = deque([False] * steps.latency, maxlen=steps.latency)
        self.written = 0 # transfers in the buffer, of the frame that is being read and the next

    @property
    def valid(self) -> bool:
        return self.pipe[0]

    def ready(self, valids: list[bool], downstream: bool) -> bool:
        steps = self.steps
        if steps.replay:
            return self.written < 2 * steps.replay
        return (not self.valid or downstream) and steps.takes[self.k] and all(valids)

    def advance(self, valids: list[bool], ready: bool, downstream: bool) -> None:
        steps = self.steps
        step = not self.valid or downstream
        issue = step and (self.written > self.k % steps.replay if steps.replay else
                          not steps.takes[self.k] or all(valids))
        if steps.replay and valids[0] and ready:
            self.written += 1
        if step:
            self.pipe.append(issue and steps.gives[self.k])
        if issue:
            self.k += 1
            if self.k == len(steps.gives):
                self.k = 0
                self.written -= steps.replay


class _Spiller:
    """State of a :class:`~bittern.hw.stream.Queue`."""

    def __init__(self) -> None:
        self.valid = self.spilled = False

    def ready(self, _valids: list[bool], _downstream: bool) -> bool:
        return not self.spilled

    def advance(self, valids: list[bool], _ready: bool, downstream: bool) -> None:
        if downstream or not self.valid:
            self.valid = self.spilled or valids[0]
            self.spilled = False
        elif valids[0]:
            self.spilled = True


def simulate(cells: Sequence[Cell], transfers_out: int, *, frames: int = 6) -> Timing:
    """Return the timing of `cells`, which are in topological order; the last drives the output.

    `transfers_out` is the number of transfers of a frame of output.
    """
    states = [_Spiller() if isinstance(c.promise, Spill) else _Stepper(c.promise) for c in cells]
    consumer = {s: i for i, c in enumerate(cells) for s in c.sources}
    readys = [True] * len(cells)
    starts, ends, taken, given, cycle = 0, [], False, 0, 0
    while len(ends) < frames:
        for i in range(len(cells) - 1, -1, -1):
            valids = [s < 0 or states[s].valid for s in cells[i].sources]
            after = consumer.get(i)
            readys[i] = states[i].ready(valids, after is None or readys[after])
        if not taken and readys[consumer[-1]]:
            taken, starts = True, cycle
        if states[-1].valid:
            given += 1
            if given % transfers_out == 0:
                ends.append(cycle)
        valids_of = [[s < 0 or states[s].valid for s in c.sources] for c in cells]
        for i, state in enumerate(states):
            after = consumer.get(i)
            state.advance(valids_of[i], readys[i], after is None or readys[after])
        cycle += 1
    return Timing(ends[-1] - ends[-2], ends[0] - starts)
