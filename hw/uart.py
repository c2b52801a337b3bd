"""UART: bytes over one wire each way, 8 data bits, no parity, 1 stop bit, lowest bit first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer  # type: ignore[import-untyped]
from amaranth.lib.wiring import In, Out

if TYPE_CHECKING:
    from amaranth.hdl import Value

__all__ = ["UARTReceiver", "UARTTransmitter", "check_divisor"]


def check_divisor(divisor: int) -> None:
    """Raise :exc:`ValueError` unless a bit of `divisor` cycles can be received."""
    if divisor < 4:
        raise ValueError(f"Divisor must be at least 4 cycles per bit, not {divisor!r}")


class UARTReceiver(wiring.Component):
    """Receive bytes from a wire that knows no back-pressure.

    The wire is sampled in the middle of each bit, counted from the falling edge of the start bit
    behind a synchronizer of two flip-flops. A start bit that is over by its middle is ignored. A
    byte whose stop bit is low is dropped, and no start bit is taken before the wire was high.

    The sender cannot be stalled. A byte stays on ``o`` until it is taken; one that is complete
    before that is lost, and `overrun` reports it. A consumer that takes every byte within 9 bits
    never loses any.

    `latency` is the cycles from the falling edge of the start bit to ``o.valid``.

    Parameters
    ----------
    divisor : int
        Cycles per bit, at least 4. At 4 the clocks of both sides may differ by 2 percent.

    Members
    -------
    rx : ``In(1)``
        The wire, high when idle, asynchronous.
    o : ``Out(stream.Signature(8))``
        Bytes received.
    overrun : ``Out(1)``
        High for a cycle when a byte was lost.
    """

    rx: Signal
    o: stream.Interface
    overrun: Signal

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        self.latency = 3 + divisor // 2 + 9 * divisor
        super().__init__({"rx": In(1, init=1),  # type: ignore[call-arg]
                          "o": Out(stream.Signature(8)), "overrun": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))
        # A one moves ahead of the data bits: when it falls out of the low end, eight are in.
        bits = Signal(9, reset_less=True)
        sample: Value = timer == 0
        m.d.sync += [timer.eq(timer - 1), self.overrun.eq(0)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM(name="receive"):
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"), m.If(sample):
                m.d.sync += [timer.eq(self.divisor - 1), bits.eq(1 << 8)]
                m.next = "DATA"
                with m.If(rx):
                    m.next = "IDLE"
            with m.State("DATA"), m.If(sample):
                m.d.sync += timer.eq(self.divisor - 1)
                with m.If(~bits[0]):
                    m.d.sync += bits.eq(Cat(bits[1:], rx))
                with m.Elif(rx):
                    m.next = "IDLE"
                    with m.If(self.o.valid & ~self.o.ready):
                        m.d.sync += self.overrun.eq(1)
                    with m.Else():
                        m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(bits[1:])]
                with m.Else():
                    m.next = "BREAK"
            with m.State("BREAK"), m.If(rx):
                m.next = "IDLE"
        return m


class UARTTransmitter(wiring.Component):
    """Send bytes over a wire, without a gap while there are any: ``interval`` cycles each.

    `latency` is the cycles from a transfer on ``i`` to the falling edge of its start bit.

    Parameters
    ----------
    divisor : int
        Cycles per bit, at least 4.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Bytes to send.
    tx : ``Out(1)``
        The wire, high when idle, driven by a flip-flop.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        self.latency, self.interval = 1, 10 * divisor
        super().__init__({"i": In(stream.Signature(8)),
                          "tx": Out(1, init=1)})  # type: ignore[call-arg]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        # The stop bit is the highest one: when it alone is left it is on the wire, as at rest.
        bits = Signal(10, init=1)
        m.d.comb += self.tx.eq(bits[0])
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(bits != 1):
            m.d.sync += [timer.eq(self.divisor - 1), bits.eq(bits >> 1)]
        with m.Else():
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [timer.eq(self.divisor - 1),
                             bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1)))]
        return m
