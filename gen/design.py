"""Design: the cells of a plan, connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from bittern.gen.ir import INPUT
from bittern.hw.distribution import Distribution
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    load : ``In(stream.Signature(8))``
        The bytes of ``plan.images``, if there are any: until all have come ``i`` waits.
    """

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        types, edge = plan.types, plan.graph.output
        super().__init__({"i": In(lanes(types[INPUT].element, plan.input.lanes)),
                          "o": Out(lanes(types[edge].element, plan.output.lanes)),
                          **({"load": In(stream.Signature(8))} if plan.images else {})})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # components, whose streams their class names
        cells: list[Any] = [placed.make() for placed in self.plan.cells]
        frames = self._loading(m, cells) if self.plan.images else flipped(self.i)
        for placed, cell in zip(self.plan.cells, cells, strict=True):
            m.submodules[placed.name] = cell
            for k, (at, output) in enumerate(placed.sources):
                many = at >= 0 and hasattr(cells[at], f"o{output}")
                source = frames if at < 0 else getattr(cells[at], f"o{output}" if many else "o")
                connect(m, source, getattr(cell, f"i{k}" if len(placed.sources) > 1 else "i"))
        connect(m, cells[-1].o, flipped(self.o))
        return m

    def _loading(self, m: Module, cells: Sequence[Any]) -> Any:
        """Fill memories from ``load``; return a stream of the frames, which come after that."""
        images = self.plan.images
        units = {placed.name: cell for placed, cell in zip(self.plan.cells, cells, strict=True)}
        m.submodules.loading = loading = Distribution(
            unsigned(8), [len(image) for image in images.values()], pe=1)
        loaded, frames = Signal(), self.i.signature.flip().create()
        m.d.sync += loaded.eq(Cat(units[name].loaded for name in images).all())
        m.d.comb += [frames.payload.eq(self.i.payload), frames.valid.eq(self.i.valid & loaded),
                     self.i.ready.eq(frames.ready & loaded),
                     loading.i.payload[0].eq(self.load.payload),
                     loading.i.valid.eq(self.load.valid), self.load.ready.eq(loading.i.ready)]
        for k, name in enumerate(images):
            o, load = getattr(loading, f"o{k}"), units[name].load
            m.d.comb += [load.payload.eq(o.payload[0]), load.valid.eq(o.valid),
                         o.ready.eq(load.ready)]
        return frames
