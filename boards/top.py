"""The top of a design on a board: clock, reset, and the pins of the host link."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from amaranth import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.hdl import Elaboratable
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer  # type: ignore[import-untyped]
from amaranth.lib.wiring import connect

from bittern.boards.board import Family
from bittern.boards.pll import Ecp5Clock, GowinClock, Ice40Clock
from bittern.hw.flash_reader import FlashReader

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.boards.board import Board
    from bittern.boards.pll import Clock

__all__ = ["DESIGN", "Top"]

DESIGN = "design"
"""Name of the design among the submodules of the top."""

WAKE_US = 50
"""What a flash takes to wake up: 3 us (W25Q128JV), 30 us others."""
# Block RAM of the iCE40 reads zeros for 3 us after configuration; five times that, as Amaranth does
POWER_ON_US = 15


class Top(Elaboratable):
    """`design` between the UART pins of `board`, its domain ``sync`` running on `clock`.

    `design` has the ports ``rx: In(1)`` and ``tx: Out(1)``; reset lasts until the clock is stable.
    If it has a stream ``load``, that gives it so many bytes (`loads`) of the board's flash.
    """

    def __init__(self, design: wiring.Component, board: Board, clock: Clock, *,
                 loads: int = 0) -> None:
        self.design: Any = design
        self.loads = loads
        self.board = board
        self.clock = clock

    def elaborate(self, platform: Any) -> Module:
        """Return the hardware."""
        m = Module()
        oscillator: Any = platform.request(self.board.oscillator, dir="-")
        clk = Signal()
        locked = Signal()
        if isinstance(self.clock, Ice40Clock):
            m.submodules.pll = self.clock.pll(oscillator.io, clk, locked)
        else:
            m.submodules.clock_pin = pin = io.Buffer(io.Direction.Input, oscillator)
            if isinstance(self.clock, Ecp5Clock | GowinClock):
                m.submodules.pll = self.clock.pll(pin.i, clk, locked)
            else:
                m.d.comb += [clk.eq(pin.i), locked.eq(Const(1))]
        if self.board.family is Family.ECP5:
            _global_reset(m, clk, locked)
        else:
            self._timed_reset(m, clk, locked)
        uart: Any = platform.request("uart", dir="-")
        m.submodules.rx_pin = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx_pin = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.submodules[DESIGN] = self.design
        m.d.comb += [self.design.rx.eq(rx.i), tx.o.eq(self.design.tx)]
        if self.loads:
            self._load(m, platform)
        return m

    def _load(self, m: Module, platform: Any) -> None:
        pins: Any = platform.request("spi_flash_1x", dir="-")
        m.submodules.flash = flash = FlashReader(
            self.board.flash.image_at, self.loads, wake=ceil(WAKE_US * self.clock.frequency))
        connect(m, flash.o, self.design.load)
        for name in ("cs", "clk", "copi", "wp", "hold"): # the last two stay inactive
            m.submodules[f"flash_{name}"] = pin = io.Buffer(io.Direction.Output,
                                                            getattr(pins, name))
            if name in flash.signature.members:
                m.d.comb += pin.o.eq(getattr(flash, name))
        m.submodules.flash_cipo = cipo = io.Buffer(io.Direction.Input, pins.cipo)
        m.d.comb += flash.cipo.eq(cipo.i)

    def _timed_reset(self, m: Module, clk: Signal, locked: Signal) -> None:
        """Make the domain of `clk`, which a net resets until it has been `locked` for a while."""
        m.domains.sync = ClockDomain()
        m.domains.start = ClockDomain(reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(clk), ClockSignal("start").eq(clk)]
        steady = Signal()
        m.submodules.lock_sync = FFSynchronizer(locked, steady, o_domain="start")
        last = ceil(POWER_ON_US * self.clock.frequency)
        timer = Signal(range(last + 1))
        running = Signal()
        m.d.start += running.eq(timer == last)
        with m.If(~steady):
            m.d.start += timer.eq(0)
        with m.Elif(timer != last):
            m.d.start += timer.eq(timer + 1)
        m.d.comb += ResetSignal("sync").eq(~running)


def _global_reset(m: Module, clk: Signal, locked: Signal) -> None:
    """Make the domain of `clk`, which the wires of the device reset until it is `locked`.

    They lead to each flip-flop as the clock does; a net would take longer than a clock to cross an
    85F, and be in the way of others.
    """
    m.domains.sync = ClockDomain(reset_less=True)
    m.d.comb += ClockSignal("sync").eq(clk)
    held, steady = Signal(), Signal()
    for d, q in ((locked, held), (held, steady)): # they must not reset themselves
        m.submodules += Instance("FD1S3AX", p_GSR="DISABLED", i_CK=clk, i_D=d, o_Q=q)
    m.submodules += Instance("SGSR", i_CLK=clk, i_GSR=steady)
