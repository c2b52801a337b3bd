"""1BitSquared iCEBreaker: Lattice iCE40 UP5K."""

from __future__ import annotations

from bittern.boards.board import Board, Family, Flash, Resources

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker",
    title="1BitSquared iCEBreaker",
    family=Family.ICE40,
    device="up5k",
    package="sg48",
    speed="",
    resources=Resources(lut4=5280, ff=5280, dsp=8, bram=30, bram_bits=4096, bram_width=16,
                        spram=4),
    oscillator_mhz=12,
    oscillator="clk12",
    clock_mhz=24,
    baud=1_000_000,
    # openFPGALoader knows the iCEBreaker only by this name; it writes the SPI flash
    flash=Flash(tool="openFPGALoader", arguments=("-b", "ice40_generic"),
                usb="0403:6010", lasts=True, image_at=0x20000),
    platform_class="amaranth_boards.icebreaker:ICEBreakerPlatform",
)
