"""Radiona ULX3S with a smaller device: Lattice ECP5 LFE5U-25F."""

from __future__ import annotations

from dataclasses import replace

from bittern.boards import ulx3s
from bittern.boards.board import Resources

__all__ = ["BOARD"]

BOARD = replace(
    ulx3s.BOARD,
    name="ulx3s_25f",
    title="Radiona ULX3S 25F",
    device="25k",
    resources=Resources(lut4=24288, ff=24288, dsp=28, bram=56, bram_bits=18432, bram_width=36),
    platform_class="amaranth_boards.ulx3s:ULX3S_25F_Platform",
)
