"""Timing: when the cells of a design take and give transfers, cycle by cycle.

What a cell promises is its :class:`Steps`. From them alone the cycles of a whole design follow,
without its gates; tests hold the simulated hardware to exactly these numbers.

Nothing counts cycles one by one: cells are :mod:`~bittern.gen.processes`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple, Self

from bittern.gen.processes import (
    Process,
    Stream,
    buffering,
    queueing,
    run,
    splitting,
    stopping,
    storing,
    switching,
    taking,
)
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Buffer", "Cell", "DeadlockError", "Source", "Split", "Steps", "Store", "Switch",
           "Timing", "simulate"]


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
    pace : int
        Cycles from a transfer that is taken to the next, at least.
    """

    needs: tuple[int, ...]
    frees: tuple[int, ...]
    capacity: int
    pace: int = 1

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


@dataclass(frozen=True)
class Switch:
    """Timing of :class:`~bittern.hw.distribution.Distribution`."""

    counts: tuple[int, ...]


class Source(NamedTuple):
    """An output of a cell: the index of the cell, -1 for inputs of the design, and which."""

    cell: int
    output: int = 0


@dataclass(frozen=True)
class Cell:
    """A cell of a design: its promise, and what it reads."""

    promise: Steps | Store | Split | Switch
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Timing:
    """Cycles of a design that is never stalled.

    Parameters
    ----------
    interval : int
        Cycles from a frame to the next, in the steady state: the mean of the later half of the
        frames, rounded up.
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
    streams = {source: Stream() for cell in cells for source in cell.sources}
    result = streams.setdefault(Source(len(cells) - 1), Stream())
    inputs = [streams[Source(-1, k)] for k in range(len(transfers_in))]
    # later frames never hold up earlier ones, so that it does not matter that none follow
    for stream, count in zip(inputs, transfers_in, strict=True):
        stream.offered.extend(k // count * pace for k in range(frames * count))
    left: list[list[int]] = [[] for _ in cells]
    processes = [_process(cell.promise, [streams[s] for s in cell.sources],
                          [streams[s] for s in sorted(streams) if s.cell == k], left[k])
                 for k, cell in enumerate(cells)]
    around: list[set[int]] = [{k} for k in range(len(cells) + 1)]
    for k, cell in enumerate((*cells, Cell(Store(0), (Source(len(cells) - 1),)))):
        for source in cell.sources:
            if source.cell >= 0:
                around[k].add(source.cell)
                around[source.cell].add(k)
    run([*processes, taking(result)], around)
    if len(result.taken) < frames * transfers_out:
        raise DeadlockError(f"the design stops after {len(result.taken) // transfers_out} frames: "
                            "its queues are too short")
    ends = result.taken[transfers_out - 1::transfers_out][:frames]
    half = frames // 2
    levels = tuple(max((n + 1 - bisect_right(gone, cycle)
                        for n, cycle in enumerate(streams[cell.sources[0]].taken)), default=0)
                   for cell, gone in zip(cells, left, strict=True))
    return Timing(transfers(ends[-1] - ends[half - 1], frames - half),
                  ends[0] - min(i.taken[0] for i in inputs), levels)


def _process(promise: Steps | Store | Split | Switch, ins: list[Stream], outs: list[Stream],
             left: list[int]) -> Process:
    match promise:
        case Store(depth):
            return queueing(depth, ins[0], outs[0], left)
        case Split():
            return splitting(ins[0], outs)
        case Switch(counts):
            return switching(counts, ins[0], outs)
        case Steps(buffer=None) if promise.store:
            return storing(promise, ins, outs[0])
        case Steps(buffer=None):
            return stopping(promise, ins, outs[0])
        case Steps():
            return buffering(promise, ins[0], outs[0])
