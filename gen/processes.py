"""Processes: when each cell of a design takes and gives transfers, as far as that is known.

Each knows the cycles in which its inputs were offered and its outputs were taken, and says when it
takes and offers: transfers are worked on in whatever order they become known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bittern.gen.timing import Steps

__all__ = ["Process", "Stream", "buffering", "queueing", "run", "splitting", "stopping",
           "storing", "switching", "taking"]


@dataclass(eq=False)
class Stream:
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


@lru_cache(maxsize=256)
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


def stopping(steps: Steps, ins: list[Stream], # noqa: PLR0912
             out: Stream) -> Process:
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


def storing(steps: Steps, ins: list[Stream], out: Stream) -> Process:
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


def buffering(steps: Steps, i: Stream, out: Stream) -> Process:
    """Go through steps as :func:`storing` does, that read what has come to a memory."""
    events, rest = _events(steps, 1)
    assert steps.buffer
    capacity, pace = steps.buffer.capacity, steps.buffer.pace
    offered, taken, store = out.offered, out.taken, steps.store
    behind = steps.latency + (1 if store == 2 else 2)
    freed: list[int] = []
    cycle = base = 0

    def take() -> None:
        there = i.taken
        for k in range(len(there), min(len(i.offered), len(freed) + capacity)):
            there.append(max(i.offered[k], there[-1] + pace if there else 0,
                             freed[k - capacity] + 1 if k >= capacity else 0))

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
                    room = len(i.taken) < len(freed) + capacity
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


def queueing(depth: int, i: Stream, o: Stream, left: list[int]) -> Process:
    """Pass a queue; `left` gets the cycles in which transfers leave its memory."""
    behind = 1 if depth == 2 else 2
    while True:
        n = len(i.taken)
        before = left if depth != 2 else o.taken # which make room
        left.extend(max(i.taken[k] + behind - 1, o.taken[k - 1] if k else 0)
                    for k in range(len(left), min(n, len(o.taken) + 1)))
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


def splitting(i: Stream, outs: list[Stream]) -> Process:
    """Offer each transfer to all of `outs`; it is taken when all have it."""
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


def switching(counts: Sequence[int], i: Stream, outs: list[Stream]) -> Process:
    """Offer so many transfers to each of `outs`, in turn."""
    while True:
        for o, count in zip(outs, counts, strict=True):
            for _ in range(count):
                n = len(i.taken)
                while n == len(i.offered):
                    yield ((i.offered, n + 1),)
                o.offered.append(max(i.offered[n], i.taken[-1] + 1 if n else 0))
                while len(o.taken) < len(o.offered):
                    yield ((o.taken, len(o.offered)),)
                i.taken.append(o.taken[-1])


def taking(i: Stream) -> Process:
    """Take all as soon as it comes."""
    while True:
        for cycle in i.offered[len(i.taken):]:
            i.taken.append(max(cycle, i.taken[-1] + 1 if i.taken else 0))
        yield ((i.offered, len(i.taken) + 1),)


def run(processes: Sequence[Process], around: Sequence[Iterable[int]]) -> None:
    """Run `processes` until all wait; `around` each one are those that it may let go on."""
    able = list(range(len(processes)))
    waits: list[tuple[tuple[list[int], float], ...]] = [()] * len(processes)
    while able:
        k = able.pop()
        waits[k] = next(processes[k])
        for n in around[k]:
            for times, length in waits[n]:
                if len(times) >= length:
                    waits[n] = ()
                    able.append(n)
                    break
