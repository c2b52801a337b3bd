"""Clocks: what the PLL of a family can make of an oscillator, and the PLL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from amaranth import Const, Instance, Signal

from bittern.boards.board import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amaranth.hdl import IOValue, Value

__all__ = ["Clock", "Ecp5Clock", "GowinClock", "Ice40Clock", "Oscillator", "clock_below",
           "filter_range"]


@dataclass(frozen=True)
class Oscillator:
    """The clock of the oscillator itself, in MHz."""

    input: Fraction

    @property
    def frequency(self) -> Fraction:
        """What comes out, in MHz."""
        return self.input


@dataclass(frozen=True)
class Ice40Clock(Oscillator):
    """An iCE40 ``SB_PLL40`` with simple feedback; the fields are those of the primitive."""

    divr: int
    divf: int
    divq: int

    @property
    def vco(self) -> Fraction:
        """Frequency of the oscillator inside."""
        return self.input * (self.divf + 1) / (self.divr + 1)

    @property
    def frequency(self) -> Fraction:  # noqa: D102
        return self.vco / (1 << self.divq)

    def pll(self, pad: IOValue, output: Signal, locked: Signal) -> Instance:
        """Return the PLL, fed from the pin of the oscillator."""
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(filter_range(self.input / (self.divr + 1)), 3),
            io_PACKAGEPIN=pad,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=output,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class Ecp5Clock(Oscillator):
    """An ECP5 ``EHXPLLL`` with feedback from its first output; the fields are its dividers.

    The design runs on that output or, if `clkos_div` is not 0, on the second one.
    """

    clki_div: int
    clkfb_div: int
    clkop_div: int
    clkos_div: int = 0

    @property
    def vco(self) -> Fraction:
        """Frequency of the oscillator inside."""
        return self.input / self.clki_div * self.clkfb_div * self.clkop_div

    @property
    def frequency(self) -> Fraction:  # noqa: D102
        return self.vco / (self.clkos_div or self.clkop_div)

    def pll(self, clock: Value, output: Signal, locked: Signal) -> Instance:
        """Return the PLL, fed from the buffered oscillator."""
        parameters: dict[str, Any] = {f"p_OUTDIVIDER_MUX{d}": f"DIV{d}" for d in "ABCD"}
        feedback = output
        if self.clkos_div:
            feedback = Signal(name="feedback")
            parameters |= {"p_CLKOS_ENABLE": "ENABLED", "p_CLKOS_DIV": self.clkos_div,
                           "p_CLKOS_CPHASE": 0, "p_CLKOS_FPHASE": 0, "o_CLKOS": output}
        return Instance(
            "EHXPLLL",
            # nextpnr derives the clock of the design from these dividers; the rest is analog,
            # with the values Project Trellis took from the vendor's tool
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_CLKI_DIV=self.clki_div,
            p_CLKFB_DIV=self.clkfb_div,
            p_CLKOP_DIV=self.clkop_div,
            p_CLKOP_CPHASE=self.clkop_div - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED",
            p_FEEDBK_PATH="CLKOP",
            **parameters,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            i_CLKI=clock,
            i_CLKFB=feedback,
            o_CLKOP=feedback,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class GowinClock(Oscillator):
    """A Gowin ``rPLL`` with feedback inside; the fields are its dividers (UG286)."""

    idiv: int
    fbdiv: int
    odiv: int

    @property
    def vco(self) -> Fraction:
        """Frequency of the oscillator inside."""
        return self.frequency * self.odiv

    @property
    def frequency(self) -> Fraction:  # noqa: D102
        return self.input / self.idiv * self.fbdiv

    def pll(self, clock: Value, output: Signal, locked: Signal) -> Instance:
        """Return the PLL, fed from the buffered oscillator."""
        unused = {"FBDSEL": 6, "IDSEL": 6, "ODSEL": 6, "PSDA": 4, "DUTYDA": 4, "FDLY": 4}
        ties: dict[str, Any] = {f"i_{port}": Const(0, width) for port, width in unused.items()}
        return Instance(
            "rPLL",
            p_FCLKIN=f"{float(self.input):g}",
            p_IDIV_SEL=self.idiv - 1,
            p_FBDIV_SEL=self.fbdiv - 1,
            p_ODIV_SEL=self.odiv,
            p_CLKFB_SEL="internal",
            **ties,
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_CLKFB=Const(0),
            i_CLKIN=clock,
            o_CLKOUT=output,
            o_LOCK=locked,
        )


Clock = Oscillator | Ice40Clock | Ecp5Clock | GowinClock
"""A clock of the design: the oscillator's or a PLL's."""


def clock_below(family: Family, oscillator_mhz: float, wanted_mhz: float) -> Clock:
    """Return the fastest clock at or below `wanted_mhz`, or raise :exc:`ValueError`.

    Where several settings make the same frequency: no PLL at all, else one without a second output,
    else the one whose VCO is nearest to where ecppll puts it, or amid its range.
    """
    source = Fraction(str(oscillator_mhz))
    wanted = Fraction(str(wanted_mhz))
    clocks: list[Clock] = [Oscillator(source), *SETTINGS[family](source)]
    reachable = [clock for clock in clocks if clock.frequency <= wanted]
    if not reachable:
        lowest = min(clocks, key=lambda clock: clock.frequency).frequency
        raise ValueError(f"a clock of {float(wanted):.5g} MHz cannot be made from "
                         f"{float(source):g} MHz: the slowest is {float(lowest):g} MHz")
    return max(reachable, key=_preference)


def _preference(clock: Clock) -> tuple[Fraction, int, Fraction, int]:
    """Order clocks: fast, simple, the VCO in the middle of its range, few divisions."""
    match clock:
        case Ice40Clock():
            return clock.frequency, 1, Fraction(0), -clock.divr
        case Ecp5Clock():
            simple = 0 if clock.clkos_div else 1
            return clock.frequency, simple, -abs(clock.vco - 600), -clock.clki_div
        case GowinClock():
            return clock.frequency, 1, -abs(clock.vco - 850), -clock.idiv
        case _:
            return clock.frequency, 2, Fraction(0), 0


def _ice40(source: Fraction) -> list[Clock]:
    """Return all settings within the limits of the data sheet (in MHz)."""
    clocks = [Ice40Clock(source, divr, divf, divq)
              for divr in range(16) if 10 <= source / (divr + 1) <= 133
              for divf in range(128)
              for divq in range(1, 7)]
    return [clock for clock in clocks
            if 533 <= clock.vco <= 1066 and 16 <= clock.frequency <= 275]


@cache
def _ecp5(source: Fraction) -> list[Clock]:
    """Return all settings within the limits of the data sheet (in MHz)."""
    ratios = ((ref, feedback) for ref in range(1, 129) if source / ref >= Fraction("3.125")
              for feedback in range(1, 81) if 10 <= source * feedback / ref <= 400)
    clocks: list[Ecp5Clock] = []
    for ref, feedback in ratios:
        out = source * feedback / ref
        divisions = range(max(1, ceil(400 / out)), min(128, floor(800 / out)) + 1)
        clocks += [Ecp5Clock(source, ref, feedback, division) for division in divisions]
    # of a VCO one setting will do: the feedback is not what the design runs on
    vcos = {clock.vco: clock for clock in reversed(clocks)}
    return [*clocks, *(replace(clock, clkos_div=division) for vco, clock in vcos.items()
                       for division in range(ceil(vco / 400), floor(vco / 10) + 1))]


def _gowin(source: Fraction) -> list[Clock]:
    """Return all settings within the limits (in MHz) of both the GW1NR-9C and the GW2A-18C."""
    clocks = [GowinClock(source, ref, feedback, division)
              for ref in range(1, 65) if source / ref >= 3
              for feedback in range(1, 65)
              for division in (2, 4, 8, *range(16, 129, 16))]
    return [clock for clock in clocks
            if 500 <= clock.vco <= 1200 and Fraction("3.90625") < clock.frequency <= 600]


SETTINGS: dict[Family, Callable[[Fraction], Iterable[Clock]]] = {
    Family.ICE40: _ice40, Family.ECP5: _ecp5, Family.GOWIN: _gowin}


def filter_range(pfd: Fraction) -> int:
    """Return the loop filter of an iCE40 PLL for the frequency (MHz) of its phase detector."""
    return next((i for i, below in enumerate((17, 26, 44, 66, 101), start=1) if pfd < below), 6)
