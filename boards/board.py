"""A board: what is on it, and what its tools must be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any

from amaranth.build import Pins

from bittern.gen.cost import Target
from bittern.hw.family import Family

__all__ = ["Board", "Device", "Family", "Flash", "Resources"]

GOWIN = 1.4
"""Sites of KWS on Gowin over what is estimated: a flip-flop behind a carry cell takes another."""


@dataclass(frozen=True)
class Resources:
    """What a device has."""

    lut4: int
    ff: int
    dsp: int
    bram: int
    """Blocks of memory."""
    bram_bits: int
    """Bits of a block."""
    bram_width: int
    """The widest word that a block reads in a cycle."""
    spram: int = 0
    """Blocks of SPRAM."""


@dataclass(frozen=True)
class Flash:
    """How a bitstream gets onto the board: a tool and what it is told before the file name."""

    tool: str
    arguments: tuple[str, ...]
    usb: str
    """Vendor and product of the programmer on the board."""
    lasts: bool
    """Whether the design is still there after power was off."""
    image_at: int = 0
    """The byte of the flash from which on there is what the design loads."""


@dataclass(frozen=True)
class Device:
    """A device as nextpnr names it."""

    title: str
    family: Family
    device: str
    """Option of nextpnr without its dashes; the part number of a Gowin device."""
    package: str
    """Of a Gowin device, whose part number has it, the die."""
    speed: str
    """Speed grade; empty where the family has none."""
    resources: Resources

    def pins(self) -> list[str]:
        """Return the pins that a design of no board must be given: none where nextpnr chooses."""
        return []


@dataclass(frozen=True)
class Board(Device):
    """A board, and defaults for a design on it."""

    name: str
    oscillator_mhz: float
    oscillator: str
    """Resource of the platform."""
    clock_mhz: float
    """Clock of the design unless asked otherwise."""
    baud: int
    flash: Flash
    platform_class: str
    """``module:class`` in amaranth-boards."""

    def platform(self) -> Any:
        """Return a new Amaranth platform: the pins of the board."""
        return resolve_name(self.platform_class)()

    def pins(self) -> list[str]: # noqa: D102
        if self.family is not Family.GOWIN:
            return super().pins()
        ports: list[Any] = [io for resource in self.platform().resources.values()
                            for io in resource.ios]
        return [name for port in ports if isinstance(port, Pins) for name in port.names] # type: ignore[attr-defined]

    def target(self, clock_mhz: float | None = None, *, frame: int = 0) -> Target:
        """Return what a plan may use, at `clock_mhz` or the board's default.

        The host link keeps a frame of `frame` bytes.
        """
        has = self.resources
        whole = Target(self.title, has.lut4, has.bram, has.dsp, has.ff, has.bram_bits,
                       has.bram_width, self.clock_mhz if clock_mhz is None else clock_mhz,
                       spram=has.spram,
                       overhead=GOWIN if self.family is Family.GOWIN else 1,
                       ff_in_lut=self.family is not Family.ECP5,
                       dsp_width=16 if self.family is Family.ICE40 else 18,
                       absorbs=self.family is Family.ECP5,
                       halves=self.family is Family.ICE40,
                       lut_ram=self.family is not Family.ICE40)
        return replace(whole, bram=has.bram - whole.blocks(frame, 8))
