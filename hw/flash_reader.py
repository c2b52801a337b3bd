"""Reader of a serial flash."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlashReader"]

RELEASE, READ = 0xAB, 0x03
"""Release from deep power-down, in which the iCE40 leaves its flash; read data."""


class FlashReader(wiring.Component):
    """Read some bytes of a serial flash, once after reset: a byte every 17 cycles, or slower.

    Mode 0 of SPI, at half the clock.

    Source: JEDEC JESD216 and any data sheet, such as that of the Winbond W25Q128JV.

    Parameters
    ----------
    address, count : int
        The first byte, and how many.
    wake : int
        Cycles that the flash takes to wake up.

    Members
    -------
    o : ``Out(stream.Signature(8))``
    cs, clk, copi, cipo
        Of the flash; ``cs`` is high while it is selected.
    """

    o: stream.Interface
    cs: Signal
    clk: Signal
    copi: Signal
    cipo: Signal

    def __init__(self, address: int, count: int, *, wake: int) -> None:
        self.address, self.count, self.wake = address, count, wake
        super().__init__({"o": Out(stream.Signature(8)), "cs": Out(1), "clk": Out(1),
                          "copi": Out(1), "cipo": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sent, bits = Signal(32), Signal(range(33)) # to be sent or received
        byte, left, timer = Signal(8), Signal(range(self.count + 1)), Signal(range(self.wake + 1))
        m.d.comb += [self.copi.eq(sent[-1]), self.o.payload.eq(byte)]
        with m.If(bits != 0):
            m.d.sync += self.clk.eq(~self.clk)
            with m.If(self.clk): # what the flash gave at the last falling edge is there till this
                m.d.sync += [sent.eq(sent << 1), byte.eq(Cat(self.cipo, byte)), bits.eq(bits - 1)]

        def send(value: int, count: int) -> list[Any]:
            return [sent.eq(value << 32 - count), bits.eq(count), self.cs.eq(1)]

        with m.FSM():
            with m.State("START"):
                m.d.sync += send(RELEASE, 8)
                m.next = "RELEASE"
            with m.State("RELEASE"), m.If(bits == 0):
                m.d.sync += [self.cs.eq(0), timer.eq(self.wake)]
                m.next = "WAKE"
            with m.State("WAKE"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += send(READ << 24 | self.address, 32)
                    m.next = "READ"
            with m.State("READ"), m.If(bits == 0):
                m.d.sync += [bits.eq(8), left.eq(self.count - 1)]
                m.next = "BYTE"
            with m.State("BYTE"):
                m.d.comb += self.o.valid.eq(bits == 0)
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += [left.eq(left - 1), bits.eq(Mux(left == 0, 0, 8))]
                    with m.If(left == 0):
                        m.d.sync += self.cs.eq(0)
                        m.next = "DONE"
            with m.State("DONE"):
                pass
        return m
