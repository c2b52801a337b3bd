"""Timing: when the cells of a design take and give transfers, cycle by cycle.

What a cell promises is its :class:`Steps`. From them alone the cycles of a whole design follow,
without its gates; tests hold the simulated hardware to exactly these numbers.

Nothing here counts cycles one by one. Each cell is a process that knows the cycles in which its
inputs were offered and its outputs were taken, and says when it takes and offers: transfers are
worked on in whatever order they become known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Buffer", "Cell", "DeadlockError", "Source", "Split", "Steps", "Store", "Timing",
           "simulate"]


@dataclass(frozen=True)
class Buffer:
    """What is kept of the transfers that a cell takes.

    Parameters
    ----------
    needs : tuple[int, ...]
        For each step, how many transfers of the frame must have come.
    frees : tuple[int, ...]
        For each step, how many transfers of the frame nothing needs after it; at the last step all.
    capacity : int
        Transfers that fit.
    """

    needs: tuple[int, ...]
    frees: tuple[int, ...]
    capacity: int

    @classmethod
    def replay(cls, steps: int, transfers: int, *, whole: bool = False) -> Self:
        """Return that of steps which each read one of `transfers`, in turn, and keep two frames.

        If `whole`, the first step waits for all of them.
        """
        first = transfers if whole else 0
        return cls(tuple(max(k % transfers + 1, first) for k in range(steps)),
                   (*repeat(0, steps - 1), transfers), 2 * transfers)


@dataclass(frozen=True)
class Steps:
    """What a cell does for a vector or a frame, a step a cycle, and how long a result then takes.

    The steps are in a pipeline of `latency` registers, which stops as a whole while the last
    register holds a result that is not taken.

    Parameters
    ----------
    takes, gives : tuple[bool, ...]
        For each step whether it takes a transfer of every input, and whether it gives one. A step
        that takes waits for the transfers.
    latency : int
        At least 1.
    store : int
        Where not 0, the pipeline never stops. Behind it is a queue (:class:`Store`) of so many
        transfers, and a step that gives one waits until there will be room for it.
    buffer : Buffer | None
        Where transfers go into a memory, from which steps read; then none takes, and `store` is
        not 0.
    reads : tuple[int, ...]
        For each step the one input that it takes of, where it does not take of all.
    """

    takes: tuple[bool, ...]
    gives: tuple[bool, ...]
    latency: int
    store: int = 0
    buffer: Buffer | None = None
    reads: tuple[int, ...] = ()


@dataclass(frozen=True)
class Store:
    """Timing of :class:`~bittern.hw.stream.Queue`; of depth 0 it is a memory without an end."""

    depth: int


@dataclass(frozen=True)
class Split:
    """Timing of :class:`~bittern.hw.stream.Fork`."""

    count: int


class Source(NamedTuple):
    """An output of a cell: the index of the cell, -1 for inputs of the design, and which."""

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


class DeadlockError(ValueError):
    """Cells wait for each other."""


@dataclass(eq=False)
class _Stream:
    """For each transfer of a stream, the first cycle that it can be taken in, and the one it is.

    A transfer is never taken before the cycle after that of the one before it.
    """

    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


Process: TypeAlias = "Iterator[tuple[tuple[list[int], float], ...]]"
"""It goes on as far as it can; then it yields lists, and lengths of which it waits for one."""


class _Event(NamedTuple):
    """A step that can be seen, and the steps since the one before."""

    after: int
    inputs: tuple[int, ...]
    gives: bool
    need: int
    """Transfers that must have come, if more than before."""
    free: int
    """Transfers that nothing needs any more."""


def _events(steps: Steps, inputs: int) -> tuple[list[_Event], int]:
    """Return the events of a period, and the steps after the last one."""
    events: list[_Event] = []
    last, needed, freed = -1, 0, 0
    needs = steps.buffer.needs if steps.buffer else repeat(0)
    frees = steps.buffer.frees if steps.buffer else repeat(0)
    every = tuple(range(inputs))
    for k, (takes, gives, need, free) in enumerate(zip(steps.takes, steps.gives, needs, frees,
                                                       strict=False)):
        if takes or gives or need > needed or free > freed:
            read = ((steps.reads[k],) if steps.reads else every) if takes else ()
            events.append(_Event(k - last - 1, read, gives, need if need > needed else 0,
                                 free - freed))
            last, needed, freed = k, max(needed, need), free
    return events, len(steps.takes) - 1 - last


def _stopping(steps: Steps, ins: list[_Stream], out: _Stream) -> Process:
    """Go through steps in a pipeline that stops as a whole: `time` passes only while it moves."""
    events, rest = _events(steps, len(ins))
    offered, taken, latency = out.offered, out.taken, steps.latency
    time = passed = stopped = 0 # of the outputs before `passed`
    inside: deque[int] = deque() # when outputs that are not offered yet were issued
    stops = 0 # of all outputs that were offered but the last
    while True:
        for after, inputs, gives, _, _ in events:
            time += after
            arrived = 0
            for k in inputs:
                stream = ins[k]
                n = len(stream.taken)
                while len(stream.offered) == n:
                    if inside and len(offered) == len(taken):
                        stops += taken[-1] - offered[-1]
                        offered.append(inside.popleft() + latency + stops)
                    else:
                        yield (stream.offered, n + 1), (taken, len(offered) + (not inside))
                arrived = max(arrived, stream.offered[n])
            while inputs:
                cycle = max(time + stopped, arrived)
                if inside and len(offered) == len(taken):
                    stops += taken[-1] - offered[-1]
                    offered.append(inside.popleft() + latency + stops)
                elif passed == len(offered) or offered[passed] > cycle:
                    time = cycle - stopped
                    for k in inputs:
                        ins[k].taken.append(cycle)
                    break
                elif passed == len(taken):
                    yield ((taken, passed + 1),)
                else:
                    # what arrived before the pipeline stopped has waited for it to move again
                    time = max(time, min(arrived, offered[passed]) - stopped)
                    stopped += taken[passed] - offered[passed]
                    passed += 1
            if gives:
                if not inside and len(offered) == len(taken):
                    stops += taken[-1] - offered[-1] if offered else 0
                    offered.append(time + latency + stops)
                else:
                    inside.append(time)
            time += 1
        time += rest


def _storing(steps: Steps, ins: list[_Stream], out: _Stream) -> Process:
    """Go through steps in a pipeline that never stops, with a queue behind it."""
    events, rest = _events(steps, len(ins))
    offered, taken, store = out.offered, out.taken, steps.store
    behind = steps.latency + (1 if store == 2 else 2) # a memory is read before
    cycle = 0
    while True:
        for after, inputs, gives, _, _ in events:
            cycle += after
            for k in inputs:
                stream = ins[k]
                n = len(stream.taken)
                while len(stream.offered) == n:
                    yield ((stream.offered, n + 1),)
                cycle = max(cycle, stream.offered[n])
            if gives and len(offered) >= store:
                n = len(offered) - store
                while len(taken) <= n:
                    yield ((taken, n + 1),)
                cycle = max(cycle, taken[n] + 1)
            for k in inputs:
                ins[k].taken.append(cycle)
            if gives:
                offered.append(cycle + behind)
            cycle += 1
        cycle += rest


def _buffering(steps: Steps, buffer: Buffer, i: _Stream, out: _Stream) -> Process:
    """Go through steps as :func:`_storing` does, that read what has come to a memory."""
    events, rest = _events(steps, 1)
    offered, taken, store = out.offered, out.taken, steps.store
    behind = steps.latency + (1 if store == 2 else 2)
    freed: list[int] = []
    cycle = base = 0

    def take() -> None:
        there = i.taken
        for k in range(len(there), min(len(i.offered), len(freed) + buffer.capacity)):
            there.append(max(i.offered[k], there[-1] + 1 if there else 0,
                             freed[k - buffer.capacity] + 1 if k >= buffer.capacity else 0))

    while True:
        for after, _, gives, need, free in events:
            cycle += after
            if need:
                take()
                while len(i.taken) < base + need:
                    yield ((i.offered, len(i.taken) + 1),)
                    take()
                cycle = max(cycle, i.taken[base + need - 1] + 1)
            if gives and len(offered) >= store:
                n = len(offered) - store
                while len(taken) <= n:
                    room = len(i.taken) < len(freed) + buffer.capacity
                    yield (taken, n + 1), (i.offered, len(i.taken) + 1 if room else inf)
                    take()
                cycle = max(cycle, taken[n] + 1)
            if gives:
                offered.append(cycle + behind)
            if free:
                freed.extend(repeat(cycle, free))
            cycle += 1
        cycle += rest
        base = len(freed)


def _queueing(depth: int, i: _Stream, o: _Stream, left: list[int]) -> Process:
    """Pass a queue; `left` gets the cycles in which transfers leave its memory."""
    behind = 1 if depth == 2 else 2
    while True:
        n = len(i.taken)
        before = left if depth != 2 else o.taken # which make room
        for k in range(len(left), min(n, len(o.taken) + 1)):
            left.append(max(i.taken[k] + behind - 1, o.taken[k - 1] if k else 0))
        made = len(before) + (depth or inf)
        if n < len(i.offered) and n < made:
            cycle = max(i.offered[n], i.taken[-1] + 1 if n else 0)
            if depth and n >= depth:
                cycle = max(cycle, before[n - depth] + 1)
            i.taken.append(cycle)
            o.offered.append(cycle + behind)
        elif n < made:
            yield (i.offered, n + 1), (o.taken, len(left) if len(left) < n else inf)
        else:
            yield ((o.taken, len(o.taken) + 1),)


def _splitting(i: _Stream, outs: list[_Stream]) -> Process:
    while True:
        n = len(i.taken)
        while n == len(i.offered):
            yield ((i.offered, n + 1),)
        offered = max(i.offered[n], i.taken[-1] + 1 if n else 0)
        for o in outs:
            o.offered.append(offered)
        for o in outs:
            while len(o.taken) == n:
                yield ((o.taken, n + 1),)
        i.taken.append(max(o.taken[n] for o in outs))


def _taking(i: _Stream) -> Process:
    while True:
        for cycle in i.offered[len(i.taken):]:
            i.taken.append(max(cycle, i.taken[-1] + 1 if i.taken else 0))
        yield ((i.offered, len(i.taken) + 1),)


def simulate(cells: Sequence[Cell], transfers_in: Sequence[int], transfers_out: int, *,
             frames: int = 6, pace: int = 0) -> Timing:
    """Return the timing of `cells`; the last drives the output.

    A frame of each input has as many transfers as `transfers_in` says, one of the output
    `transfers_out`. Frames are offered every `pace` cycles, or all at once.

    Raises
    ------
    DeadlockError
        If cells wait for each other.
    """
    streams: dict[Source, _Stream] = {}
    neighbours: dict[int, list[int]] = {k: [] for k in range(-1, len(cells) + 1)}
    for k, cell in enumerate(cells):
        for source in cell.sources:
            streams.setdefault(source, _Stream())
            neighbours[k].append(source.cell)
            neighbours[source.cell].append(k)
    result = streams.setdefault(Source(len(cells) - 1), _Stream())
    neighbours[len(cells) - 1].append(len(cells))
    neighbours[len(cells)].append(len(cells) - 1)
    # later frames never hold up earlier ones, so that it does not matter that none follow
    inputs = [streams[Source(-1, k)] for k in range(len(transfers_in))]
    for stream, count in zip(inputs, transfers_in, strict=True):
        stream.offered.extend(k // count * pace for k in range(frames * count))
    left: list[list[int]] = [[] for _ in cells]
    processes: list[Process] = []
    for k, cell in enumerate(cells):
        ins = [streams[s] for s in cell.sources]
        match cell.promise:
            case Store(depth):
                processes.append(_queueing(depth, ins[0], streams[Source(k)], left[k]))
            case Split(count):
                processes.append(_splitting(ins[0], [streams[Source(k, o)] for o in range(count)]))
            case Steps(buffer=None) as steps:
                kind = _storing if steps.store else _stopping
                processes.append(kind(steps, ins, streams[Source(k)]))
            case Steps(buffer=buffer) as steps:
                assert buffer is not None
                processes.append(_buffering(steps, buffer, ins[0], streams[Source(k)]))
    processes.append(_taking(result))
    around = [[n for n in set(neighbours[k]) if n >= 0] for k in range(len(processes))]
    able = list(range(len(processes)))
    waits: list[tuple[tuple[list[int], float], ...] | None] = [None] * len(processes)
    while able:
        k = able.pop()
        waits[k] = next(processes[k])
        for n in (*around[k], k):
            if wait := waits[n]:
                for times, length in wait:
                    if len(times) >= length:
                        waits[n] = None
                        able.append(n)
                        break
    if len(result.taken) < frames * transfers_out:
        raise DeadlockError(f"the design stops after {len(result.taken) // transfers_out} frames: "
                            "its queues are too short")
    ends = result.taken[transfers_out - 1::transfers_out][:frames]
    levels = tuple(max((n + 1 - bisect_right(gone, cycle)
                        for n, cycle in enumerate(streams[cell.sources[0]].taken)), default=0)
                   if isinstance(cell.promise, Store) else 0
                   for cell, gone in zip(cells, left, strict=True))
    return Timing(ends[-1] - ends[-2], ends[0] - min(i.taken[0] for i in inputs), levels)
