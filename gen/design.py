"""Design: the cells of a plan, connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from bittern.gen.ir import INPUT
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from amaranth.lib import stream

    from bittern.gen.plan import Plan

__all__ = ["Design"]


class Design(wiring.Component):
    """The hardware of a whole network.

    Interval and latency are ``plan.timing``. Cells are submodules named as in ``plan.cells``.

    Parameters
    ----------
    plan : Plan

    Members
    -------
    i : ``In(lanes(...))``
        Frames as ``plan.input`` describes them.
    o : ``Out(lanes(...))``
        Frames as ``plan.output`` describes them.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        types, edge = plan.types, plan.graph.output
        super().__init__({"i": In(lanes(types[INPUT].element, plan.input.lanes)),
                          "o": Out(lanes(types[edge].element, plan.output.lanes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cells = []
        for placed in self.plan.cells:
            cell = placed.make()
            m.submodules[placed.name] = cell
            cells.append(cell)
            inputs = [cell.i] if len(placed.sources) == 1 else [
                getattr(cell, f"i{k}") for k in range(len(placed.sources))]
            for stream_in, source in zip(inputs, placed.sources, strict=True):
                connect(m, stream_in, flipped(self.i) if source < 0 else cells[source].o)
        connect(m, flipped(self.o), cells[-1].o)
        return m
