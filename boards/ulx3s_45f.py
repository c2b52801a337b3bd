"""Radiona ULX3S with a smaller device: Lattice ECP5 LFE5U-45F."""

from __future__ import annotations

from dataclasses import replace

from bittern.boards import ulx3s
from bittern.boards.board import Resources

__all__ = ["BOARD"]

BOARD = replace(
    ulx3s.BOARD,
    name="ulx3s_45f",
    title="Radiona ULX3S 45F",
    device="45k",
    resources=Resources(lut4=43848, ff=43848, dsp=72, bram=108, bram_bits=18432, bram_width=36),
    platform_class="amaranth_boards.ulx3s:ULX3S_45F_Platform",
)
