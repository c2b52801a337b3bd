"""Devices that cells and layers are measured on by themselves."""

from __future__ import annotations

from bittern.boards import board
from bittern.boards.board import Device, Family, Resources

HX8K = Device(title="iCE40 HX8K", family=Family.ICE40, device="hx8k", package="ct256", speed="",
              resources=Resources(lut4=7680, ff=7680, dsp=0, bram=32, bram_bits=4096,
                                  bram_width=16))
ECP5_25F = Device(title="ECP5 25F", family=Family.ECP5, device="25k", package="CABGA381",
                  speed="6", resources=Resources(lut4=24288, ff=24288, dsp=28, bram=56,
                                                 bram_bits=18432, bram_width=36))
ECP5_85F = Device(title="ECP5 85F", family=Family.ECP5, device="85k", package="CABGA381",
                  speed="6", resources=Resources(lut4=83640, ff=83640, dsp=156, bram=208,
                                                 bram_bits=18432, bram_width=36))
GW2A = board("tang_primer_20k")
UP5K = board("icebreaker")
