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
    """The cycles in which each transfer of a stream is offered first, and in which it is taken."""

    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


Process: TypeAlias = "Iterator[None]"
"""It goes on as far as it can; each time it stops, it lacks something of a neighbour."""


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
    """Steps in a pipeline that stops as a whole: `time` passes only while it moves."""
    events, rest = _events(steps, len(ins))
    offered, taken = out.offered, out.taken
    time = passed = stopped = 0 # of the outputs before `passed`
    inside: deque[int] = deque() # when outputs that are not offered yet were issued
    stops = 0 # of all outputs that were offered

    def offer() -> None:
        nonlocal stops
        while inside and len(offered) == len(taken):
            if offered:
                stops += taken[-1] - offered[-1]
            offered.append(inside.popleft() + steps.latency + stops)

    def offers() -> bool:
        """Whether something was offered; if so, more may be known afterwards."""
        before = len(offered)
        offer()
        return len(offered) > before

    while True:
        for after, inputs, gives, _, _ in events:
            time += after
            if inputs:
                arrived = 0
                for k in inputs:
                    stream = ins[k]
                    while len(stream.offered) == len(stream.taken):
                        if not offers():
                            yield
                    arrived = max(arrived, stream.offered[len(stream.taken)])
                while True:
                    offer()
                    cycle = max(time + stopped, arrived)
                    if passed == len(offered) or offered[passed] > cycle:
                        break
                    if passed == len(taken):
                        yield
                        continue
                    # what arrived before the pipeline stopped has waited for it to move again
                    time = max(time, min(arrived, offered[passed]) - stopped)
                    stopped += taken[passed] - offered[passed]
                    passed += 1
                time = cycle - stopped
                for k in inputs:
                    ins[k].taken.append(cycle)
            if gives:
                inside.append(time)
                offer()
            time += 1
        time += rest


def _storing(steps: Steps, ins: list[_Stream], out: _Stream) -> Process:
    """Steps in a pipeline that never stops, with a queue behind it."""
    events, rest = _events(steps, len(ins))
    offered, taken, store = out.offered, out.taken, steps.store
    wait = 0 if store == 2 else 1 # of a queue in memory, before it reads
    inside: deque[int] = deque() # when outputs that are not offered yet come to the queue
    buffer, arrivals = steps.buffer, ins[0]
    freed: list[int] = []
    cycle = given = base = 0

    def proceed() -> bool:
        """Offer and take what can be, beside the steps; return whether there was anything."""
        known = len(offered), len(arrivals.taken)
        while inside and len(offered) == len(taken):
            ready = taken[-1] if taken else -1
            offered.append(max(inside.popleft() + wait, ready) + 1)
        if buffer:
            there, full = arrivals.taken, buffer.capacity
            for k in range(len(there), min(len(arrivals.offered), len(freed) + full)):
                there.append(max(arrivals.offered[k], there[-1] + 1 if there else 0,
                                 freed[k - full] + 1 if k >= full else 0))
        return known != (len(offered), len(arrivals.taken))

    while True:
        for after, inputs, gives, need, free in events:
            cycle += after
            if need:
                while len(arrivals.taken) < base + need:
                    if not proceed():
                        yield
                cycle = max(cycle, arrivals.taken[base + need - 1] + 1)
            for k in inputs:
                while len(ins[k].offered) == len(ins[k].taken):
                    if not proceed():
                        yield
                cycle = max(cycle, ins[k].offered[len(ins[k].taken)])
            if gives and given >= store:
                while len(taken) <= given - store:
                    if not proceed():
                        yield
                cycle = max(cycle, taken[given - store] + 1)
            for k in inputs:
                ins[k].taken.append(cycle)
            if gives:
                inside.append(cycle + steps.latency)
                given += 1
            if free:
                freed.extend(repeat(cycle, free))
            proceed()
            cycle += 1
        cycle += rest
        base = len(freed)


def _queueing(depth: int, i: _Stream, o: _Stream, left: list[int]) -> Process:
    """A queue; `left` gets the cycles in which transfers leave its memory."""
    while True:
        known = len(o.offered), len(i.taken)
        n = len(i.taken)
        if n < len(i.offered):
            before = max(i.offered[n], i.taken[-1] + 1 if i.taken else 0)
            if depth == 2 and n < 2:
                i.taken.append(before)
            elif depth == 2 and len(o.taken) > n - 2:
                i.taken.append(max(before, o.taken[n - 2] + 1))
            elif depth != 2 and (not depth or n < depth):
                i.taken.append(before)
            elif depth != 2 and len(left) > n - depth:
                i.taken.append(max(before, left[n - depth] + 1))
        n = len(o.offered)
        if n < len(i.taken) and n == len(o.taken):
            ready = o.taken[-1] if n else -1
            left.append(max(i.taken[n] + (depth != 2), ready))
            o.offered.append(left[-1] + 1)
        if known == (len(o.offered), len(i.taken)):
            yield


def _splitting(i: _Stream, outs: list[_Stream]) -> Process:
    while True:
        n = len(i.taken)
        while n == len(i.offered):
            yield
        offered = max(i.offered[n], i.taken[-1] + 1 if n else 0)
        for o in outs:
            o.offered.append(offered)
        while any(len(o.taken) == n for o in outs):
            yield
        i.taken.append(max(o.taken[n] for o in outs))


def _taking(i: _Stream) -> Process:
    while True:
        i.taken.extend(i.offered[len(i.taken):])
        yield


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
            case Steps() as steps:
                kind = _storing if steps.store else _stopping
                processes.append(kind(steps, ins, streams[Source(k)]))
    processes.append(_taking(result))
    waiting = deque(range(len(processes)))
    queued = [True] * len(processes)
    around = [[n for n in set(neighbours[k]) if n >= 0] for k in range(len(processes))]
    own = [[*(streams[s] for s in cell.sources),
            *(stream for s, stream in streams.items() if s.cell == k)]
           for k, cell in enumerate(cells)] + [[result]]
    while waiting:
        k = waiting.popleft()
        queued[k] = False
        before = sum(len(s.offered) + len(s.taken) for s in own[k])
        next(processes[k])
        if sum(len(s.offered) + len(s.taken) for s in own[k]) != before:
            for n in around[k]:
                if not queued[n]:
                    queued[n] = True
                    waiting.append(n)
    if len(result.taken) < frames * transfers_out:
        raise DeadlockError(f"the design stops after {len(result.taken) // transfers_out} frames: "
                            "its queues are too short")
    ends = result.taken[transfers_out - 1::transfers_out][:frames]
    levels = tuple(max((n + 1 - bisect_right(gone, cycle)
                        for n, cycle in enumerate(streams[cell.sources[0]].taken)), default=0)
                   if isinstance(cell.promise, Store) else 0
                   for cell, gone in zip(cells, left, strict=True))
    return Timing(ends[-1] - ends[-2], ends[0] - min(i.taken[0] for i in inputs), levels)
