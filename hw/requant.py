"""Requantization: what becomes of an accumulator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.credit import store_of
from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Pipeline
from bittern.hw.stream import Queue, lanes, transfers
from bittern.hw.turns import ONCE, Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

__all__ = ["Fold", "Requant", "Requantizer"]


@dataclass(frozen=True)
class Fold:
    """Which elements of a frame meet in which transfer."""

    lo: int
    hi: int
    """Bounds of the accumulators."""
    features: int
    """Elements of a frame."""
    pe: int
    """Elements of a transfer."""
    turns: Turns = ONCE
    """Of the functions: those of a frame come after those of the one before."""

    @property
    def folds(self) -> int:
        """Transfers that are computed differently."""
        return self.turns.count * transfers(self.features, self.pe)

    def lane(self, values: Ints, k: int) -> Ints:
        """Return the parameters of lane `k`, one row for each transfer; `values` has channels."""
        if len(values) == 1:
            return values
        at = np.arange(k, k + transfers(self.features, self.pe) * self.pe, self.pe)
        at[at >= self.features] = 0 # what is beyond may be anything
        starts = np.arange(self.turns.count)[:, None] * self.features
        rows: Ints = values[(starts + at).ravel()]
        return rows

    def count(self, m: Module, step: Value) -> Value:
        """Return which of `folds` is next, a register; each `step` is a transfer."""
        return self.turns.address(m, step, transfers(self.features, self.pe), "channel")


class Requant(ABC):
    """A function of one integer, the same for all channels or one each.

    Implementations are frozen dataclasses: NumPy semantics (`__call__`) and, written independently,
    gates (`gates`).
    """

    @property
    @abstractmethod
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest result."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Functions in it: 1 (the same for every channel) or the number of channels."""

    def part(self, channels: slice) -> Self:
        """Return the functions of some of the channels."""
        arrays = {name: value[channels] for name, value in vars(self).items()
                  if isinstance(value, np.ndarray)}
        return cast("Self", replace(cast("Any", self), **arrays))

    @classmethod
    def join(cls, parts: Sequence[Self], channels: int) -> Self | None:
        """Return the functions of all `parts`, `channels` of each; None if they differ in more."""
        found = {}
        for name, first in vars(parts[0]).items():
            values = [getattr(part, name) for part in parts]
            if not isinstance(first, np.ndarray):
                if any(value != first for value in values):
                    return None
                continue
            if {value.shape[1:] for value in values} != {first.shape[1:]} or any(
                    len(value) not in {1, channels} for value in values):
                return None
            found[name] = np.concatenate([value.repeat(channels // len(value), axis=0)
                                          for value in values])
        return cast("Self", replace(cast("Any", parts[0]), **found))

    @abstractmethod
    def __call__(self, acc: Ints) -> Ints:
        """Apply to integers of shape ``(..., channels)``."""

    @abstractmethod
    def latency(self, folds: int) -> int:
        """Return the stages of `gates` for frames of `folds` transfers."""

    @abstractmethod
    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Fold) -> list[Value]:
        """Return the results for a transfer of accumulators, through stages of `pipeline`."""


class Requantizer(wiring.Component):
    """Requantization of a stream: ``o = spec(i)`` for each element.

    A transfer a cycle; latency: :attr:`latency`. As a rule ``ready`` passes combinationally from
    ``o`` to ``i``; of one that is `unstopped` no path does (see :class:`Pipeline`).

    Parameters
    ----------
    spec : Requant
        What it computes.
    lo, hi : int
        Bounds of the accumulators.
    features : int
        Elements of a frame.
    pe : int
        Elements of a transfer. The lanes of a frame's last transfer beyond `features` are
        undefined, here and after.
    unstopped : bool
        Whether it goes on when ``o`` stalls, into a queue.
    turns : Turns
        Of the functions of `spec`.

    Members
    -------
    i : ``In(lanes(shape_of(lo, hi), pe))``
    o : ``Out(lanes(shape_of(*spec.bounds), pe))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, spec: Requant, *, lo: int, hi: int, features: int, pe: int,
                 unstopped: bool = False, turns: Turns = ONCE) -> None:
        if spec.channels not in (1, turns.count * features):
            raise ValueError(f"spec must have 1 or {turns.count * features} channels, "
                             f"not {spec.channels}")
        self.spec, self.lo, self.hi, self.features, self.pe = spec, lo, hi, features, pe
        self.unstopped = unstopped
        self.fold = Fold(lo, hi, features, pe, turns)
        super().__init__({"i": In(lanes(shape_of(lo, hi), pe)),
                          "o": Out(lanes(shape_of(*spec.bounds), pe))})

    @property
    def folds(self) -> int:
        """Transfers that are computed differently."""
        return self.fold.folds

    @property
    def store(self) -> int:
        """Results that are kept for ``o``; 0 if it stops."""
        return store_of(self.spec.latency(self.folds)) if self.unstopped else 0

    @property
    def latency(self) -> int:
        """Cycles from a transfer on ``i`` to its results on ``o``."""
        queued = Queue.latency_of(self.store) if self.unstopped else 0
        return self.spec.latency(self.folds) + queued

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, self.store)
        acc = [self.i.payload[k] for k in range(self.pe)]
        pipeline.finish(self.spec.gates(pipeline, acc, self.fold))
        return m
