"""Radiona ULX3S with the largest device: Lattice ECP5 LFE5U-85F."""

from __future__ import annotations

from bittern.boards.board import Board, Family, Flash, Resources

__all__ = ["BOARD"]

BOARD = Board(
    name="ulx3s_85f",
    title="Radiona ULX3S 85F",
    family=Family.ECP5,
    device="85k",
    package="CABGA381",
    speed="6",
    resources=Resources(lut4=83640, ff=83640, dsp=156, bram=208, bram_bits=18432, bram_width=36),
    oscillator_mhz=25,
    oscillator="clk25",
    clock_mhz=100,
    baud=1_000_000,
    flash=Flash(tool="openFPGALoader", arguments=("-b", "ulx3s"), usb="0403:6015",
                lasts=False),
    platform_class="amaranth_boards.ulx3s:ULX3S_85F_Platform",
)
