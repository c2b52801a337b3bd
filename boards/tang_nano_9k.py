"""Sipeed Tang Nano 9K: Gowin GW1NR-9C."""

from __future__ import annotations

from bittern.boards.board import Board, Family, Flash, Resources

__all__ = ["BOARD"]

BOARD = Board(
    name="tang_nano_9k",
    title="Sipeed Tang Nano 9K",
    family=Family.GOWIN,
    device="GW1NR-LV9QN88PC6/I5",
    package="GW1N-9C",
    speed="",
    resources=Resources(lut4=8640, ff=6480, dsp=40, bram=26, bram_bits=18432, bram_width=36),
    oscillator_mhz=27,
    oscillator="clk27",
    clock_mhz=54,
    baud=1_000_000,
    flash=Flash(tool="openFPGALoader", arguments=("-b", "tangnano9k"), usb="0403:6010",
                lasts=False),
    platform_class="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
)
