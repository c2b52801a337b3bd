"""Design: the cells of a plan, connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        # components, whose streams their class names
        cells: list[Any] = [placed.make() for placed in self.plan.cells]
        for placed, cell in zip(self.plan.cells, cells, strict=True):
            m.submodules[placed.name] = cell
            for k, (at, output) in enumerate(placed.sources):
                many = at >= 0 and hasattr(cells[at], f"o{output}")
                source = flipped(self.i) if at < 0 else getattr(cells[at],
                                                                f"o{output}" if many else "o")
                connect(m, source, getattr(cell, f"i{k}" if len(placed.sources) > 1 else "i"))
        connect(m, cells[-1].o, flipped(self.o))
        return m
