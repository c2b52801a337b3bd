"""Matrix-vector unit whose weights are its wiring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Module, Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.credit import store_of
from bittern.hw.ints import Ints, shape_of
from bittern.hw.operators.constant_matrix import lay
from bittern.hw.pipeline import Pipeline
from bittern.hw.stream import Queue, lanes

if TYPE_CHECKING:
    from amaranth.lib import stream

    from bittern.hw.hardened.schedule import Schedule

__all__ = ["HardenedMatrixVectorUnit", "delay_of"]


def delay_of(plan: Schedule) -> int:
    """Return the cycles from a vector to its results: inputs, sums, and the bias."""
    return plan.last + 3


class HardenedMatrixVectorUnit(wiring.Component):
    """Matrix-vector product by a graph of adders: ``o = weights @ i + bias``, exactly.

    A vector a cycle. Latency: :attr:`latency`. No path is combinational from ``o`` to ``i`` or
    back: a vector is taken only when there will be room for its results.

    Parameters
    ----------
    plan : Schedule
        Of the graph of the weights.
    bias : array ``(outputs,)``
    x : Shape
        Of an input; the graph is of all that it holds.
    lo, hi : int
        Bounds of the results.

    Members
    -------
    i : ``In(lanes(x, inputs))``
    o : ``Out(lanes(shape_of(lo, hi), outputs))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, plan: Schedule, bias: Ints, *, x: Shape, lo: int, hi: int) -> None:
        self.plan, self.bias = plan, np.asarray(bias)
        super().__init__({"i": In(lanes(x, plan.graph.operands)),
                          "o": Out(lanes(shape_of(lo, hi), len(plan.graph.outputs)))})

    @property
    def store(self) -> int:
        """Results that are kept for ``o``: as many as are on their way when there is no stall."""
        return store_of(delay_of(self.plan))

    @property
    def latency(self) -> int:
        """Cycles from a vector to its results on ``o``."""
        return delay_of(self.plan) + Queue.latency_of(self.store)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, self.store)
        xs = pipeline.stage([self.i.payload[k] for k in range(len(self.i.payload))], "x")
        sums = pipeline.stage(lay(self.plan, pipeline, xs), "sum")
        pipeline.finish(pipeline.stage([v + int(b) if b else v for v, b in zip(
            sums, self.bias, strict=True)], "biased"))
        return m
