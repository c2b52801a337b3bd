"""Memory that is filled at start: what no bitstream fills, as SPRAM of the iCE40 UltraPlus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.stream import SPRAM

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LoadedMemory", "image_of"]


def image_of(words: Sequence[int], width: int) -> bytes:
    """Return what fills a memory: each word in whole bytes, the lowest first."""
    return b"".join(word.to_bytes(-(-width // 8), "little") for word in words)


class LoadedMemory(wiring.Component):
    """Words that come as bytes, and are read from then on; one port, which does either.

    A byte a cycle. A read takes a cycle; its word stays until the next.

    Source: Lattice FPGA-TN-02022, "iCE40 SPRAM usage guide": blocks of 16,384 words of 16 bits.

    Parameters
    ----------
    depth : int
        Words, at least 2.
    width : int
        Bits of each.

    Members
    -------
    load : ``In(stream.Signature(8))``
        The bytes of :func:`image_of`; no more are taken.
    loaded : ``Out(1)``
        Whether all have come; nothing may be read before.
    addr, en, data
        As of a read port of :class:`amaranth.lib.memory.Memory`.
    """

    load: stream.Interface
    loaded: Signal
    addr: Signal
    en: Signal
    data: Signal

    def __init__(self, depth: int, width: int) -> None:
        self.depth, self.width = depth, width
        self.bytes = -(-width // 8)
        super().__init__({"load": In(stream.Signature(8)), "loaded": Out(1),
                          "addr": In(range(depth)), "en": In(1), "data": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = words = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(self.width), depth=self.depth, init=[], attrs=SPRAM)
        write, read = words.write_port(), words.read_port()
        at, byte = Signal(range(self.depth)), Signal(range(self.bytes))
        before = Signal(8 * (self.bytes - 1), reset_less=True)
        step, whole = self.load.valid & self.load.ready, byte == self.bytes - 1
        addr = Mux(self.loaded, self.addr, at)
        m.d.comb += [
            self.load.ready.eq(~self.loaded), write.en.eq(step & whole), write.addr.eq(addr),
            write.data.eq(Cat(before, self.load.payload)), read.addr.eq(addr),
            read.en.eq(self.loaded & self.en), self.data.eq(read.data),
        ]
        with m.If(step):
            m.d.sync += [before.eq(Cat(before, self.load.payload)[8:]),
                         byte.eq(Mux(whole, 0, byte + 1))]
            with m.If(whole):
                m.d.sync += [at.eq(at + 1), self.loaded.eq(at == self.depth - 1)]
        return m
