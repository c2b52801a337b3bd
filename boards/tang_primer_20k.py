"""Sipeed Tang Primer 20K on its dock: Gowin GW2A-18C."""

from __future__ import annotations

from bittern.boards.board import Board, Family, Flash, Resources

__all__ = ["BOARD"]

BOARD = Board(
    name="tang_primer_20k",
    title="Sipeed Tang Primer 20K",
    family=Family.GOWIN,
    device="GW2A-LV18PG256C8/I7",
    package="GW2A-18C",
    speed="",
    resources=Resources(lut4=20736, ff=15552, dsp=96, bram=46, bram_bits=18432, bram_width=36),
    oscillator_mhz=27,
    oscillator="clk27",
    clock_mhz=81,
    baud=1_000_000,
    flash=Flash(tool="openFPGALoader", arguments=("-b", "tangprimer20k"), usb="0403:6010",
                lasts=False),
    platform_class="amaranth_boards.tang_primer_20k:TangPrimer20kDockPlatform",
)
