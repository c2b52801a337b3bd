"""Merging of two streams: what becomes of each two elements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from amaranth import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of
from bittern.hw.pipeline import Pipeline, draft
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Merge", "Merger"]


class Merge(ABC):
    """A function of two integers.

    Implementations are frozen dataclasses: NumPy semantics (`__call__`) and, written independently,
    gates (`gates`).
    """

    @abstractmethod
    def bounds(self, x0: tuple[int, int], x1: tuple[int, int]) -> tuple[int, int]:
        """Return the least and the greatest result for integers within `x0` and `x1`."""

    @abstractmethod
    def __call__(self, x0: Ints, x1: Ints) -> Ints:
        """Compute the results for arrays of one shape."""

    @abstractmethod
    def gates(self, stages: Stages, a: Value, b: Value) -> Value:
        """Return the result, from the registers of at least one stage."""

    @abstractmethod
    def lut4(self, a: Shape, b: Shape, family: Family) -> float:
        """Estimate the 4-input LUT sites of `gates` on `family`, carry cells included."""

    def draft(self, a: Shape, b: Shape) -> Stages:
        """Return the stages of `gates`: its latency, and the flip-flops."""
        return draft(lambda stages: self.gates(stages, Signal(a), Signal(b)))


class Merger(wiring.Component):
    """Two streams as one: ``o = spec(i0, i1)``, element by element.

    A transfer a cycle, as many cycles later as `spec` has stages. ``ready`` passes combinationally
    from ``o`` to ``i0`` and ``i1``, and to each of them from the other's ``valid``.

    Parameters
    ----------
    spec : Merge
        What it computes.
    x0, x1 : tuple[int, int]
        Bounds of the elements of ``i0`` and ``i1``.
    pe : int
        Elements of a transfer.

    Members
    -------
    i0, i1 : ``In(lanes(shape_of(*x0), pe))``, ``In(lanes(shape_of(*x1), pe))``
    o : ``Out(lanes(shape_of(*spec.bounds(x0, x1)), pe))``
    """

    i0: stream.Interface
    i1: stream.Interface
    o: stream.Interface

    def __init__(self, spec: Merge, x0: tuple[int, int], x1: tuple[int, int], *, pe: int) -> None:
        self.spec, self.pe = spec, pe
        super().__init__({"i0": In(lanes(shape_of(*x0), pe)), "i1": In(lanes(shape_of(*x1), pe)),
                          "o": Out(lanes(shape_of(*spec.bounds(x0, x1)), pe))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        both = stream.Signature(0).create()
        m.d.comb += [both.valid.eq(self.i0.valid & self.i1.valid),
                     self.i0.ready.eq(both.ready & self.i1.valid),
                     self.i1.ready.eq(both.ready & self.i0.valid)]
        pipeline = Pipeline(m, both, self.o)
        pipeline.finish(pipeline.parallel(
            [partial(self.spec.gates, a=self.i0.payload[k], b=self.i1.payload[k])
             for k in range(self.pe)], "lane"))
        return m
