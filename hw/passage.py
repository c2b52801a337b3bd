"""Stream as it is."""

from __future__ import annotations

from amaranth import Module, ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

__all__ = ["Passage"]


class Passage(wiring.Component):
    """Wires: ``o = i``, latency 0.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 0

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        connect(m, flipped(self.i), flipped(self.o))
        return m
