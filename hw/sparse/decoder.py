"""Decoders of sparse codes by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.sparse.code import Coded

if TYPE_CHECKING:
    from bittern.hw.sparse.code import SparseCode

__all__ = ["SparseDecoder"]


class SparseDecoder(wiring.Component):
    """Decode words into non-zeros: where they are, what they are, and where rows end.

    A symbol a cycle, latency 1. ``ready`` passes combinationally from ``o`` to ``i`` and ``heads``.
    Padding symbols come out like others.

    Parameters
    ----------
    code : SparseCode

    Members
    -------
    i : ``In(stream.Signature(code.width))``
    heads : ``In(stream.Signature(code.head_width))``
        Where the code has heads.
    o : ``Out(stream.Signature(…))``
        ``index``, ``value`` and ``last``.
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, code: SparseCode) -> None:
        self.code = code
        symbol = data.StructLayout({"index": code.index_width, "value": code.value, "last": 1})
        heads = {"heads": In(stream.Signature(code.head_width))} if code.head_width else {}
        super().__init__({"i": In(stream.Signature(code.width)), **heads,
                          "o": Out(stream.Signature(symbol))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step, free, load, has = Signal(), Signal(), Signal(), Signal()
        heads = getattr(self, "heads", None)
        m.d.comb += [free.eq(~self.o.valid | self.o.ready), self.i.ready.eq(free & has),
                     step.eq(self.i.valid & self.i.ready)]
        head = heads.payload if heads else Const(0, 0)
        (symbol,) = self.code.gates(m, [Coded(self.i.payload, head, step, load)], step)
        if heads:
            m.d.comb += [load.eq(~has & heads.valid),
                         heads.ready.eq(~has | step & symbol.advance)]
            with m.If(heads.ready):
                m.d.sync += has.eq(heads.valid)
        else:
            m.d.comb += load.eq(~has)
            m.d.sync += has.eq(1)
        with m.If(free):
            m.d.sync += [self.o.valid.eq(step), self.o.payload.index.eq(symbol.index),
                         self.o.payload.value.eq(symbol.value), self.o.payload.last.eq(symbol.last)]
        return m
