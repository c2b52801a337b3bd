"""What of a device is used, from counts of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bittern.boards.board import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bittern.boards.board import Device

__all__ = ["Usage", "check_fits", "placed", "synthesized"]

# Cells of a netlist and of a placed one, and how many sites or blocks each takes.
# A carry cell of the ECP5 takes both LUTs of a slice; a LUT memory there takes four.
LUT4 = {
    Family.ICE40: {"SB_LUT4": 1, "ICESTORM_LC": 1},
    Family.ECP5: {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4, "TRELLIS_COMB": 1},
    Family.GOWIN: {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP1": 1,
                   "RAM16SDP2": 2, "RAM16SDP4": 4},
}
FF = {Family.ICE40: "SB_DFF", Family.ECP5: "TRELLIS_FF", Family.GOWIN: "DFF"}
# in products of 18 bits on the ECP5, of 16 bits on the iCE40, of 9 bits on Gowin
DSP = {
    Family.ICE40: {"SB_MAC16": 1, "ICESTORM_DSP": 1},
    Family.ECP5: {"MULT18X18D": 1},
    Family.GOWIN: {"MULT9X9": 1, "MULT18X18": 2, "MULTALU18X18": 2, "MULTADDALU18X18": 4,
                   "MULT36X36": 8},
}
BRAM = {
    Family.ICE40: {"SB_RAM40_4K": 1, "ICESTORM_RAM": 1},
    Family.ECP5: {"DP16KD": 1},
    Family.GOWIN: dict.fromkeys(
        ("SP", "SPX9", "DPB", "DPX9B", "SDPB", "SDPX9B", "pROM", "pROMX9", "DP", "SDP", "ROM"), 1),
}

SPRAM = {"SB_SPRAM256KA": 1, "ICESTORM_SPRAM": 1}


@dataclass(frozen=True)
class Usage:
    """Sites used: LUT4s, flip-flops, DSPs, blocks of memory and of SPRAM."""

    lut4: int
    ff: int
    dsp: int
    bram: int
    spram: int = 0


def synthesized(family: Family, cells: Mapping[str, int]) -> Usage:
    """Count the cells of a synthesized netlist: what the device must have at the least."""
    def count(weights: Mapping[str, int]) -> int:
        return sum(weight * cells.get(cell, 0) for cell, weight in weights.items())

    return Usage(lut4=count(LUT4[family]),
                 ff=sum(n for cell, n in cells.items() if cell.startswith(FF[family])),
                 dsp=count(DSP[family]), bram=count(BRAM[family]), spram=count(SPRAM))


def placed(family: Family, cells: Iterable[Mapping[str, Any]]) -> Usage:
    """Count the cells of a placed netlist, as nextpnr writes them."""
    lut4 = ff = dsp = bram = spram = 0
    for cell in cells:
        kind = cell["type"]
        lut4 += LUT4[family].get(kind, 0)
        # a logic cell of the iCE40 holds both a LUT and its flip-flop
        ff += (cell["parameters"].get("DFF_ENABLE") == "1" if family is Family.ICE40
               else kind.startswith(FF[family]))
        dsp += DSP[family].get(kind, 0)
        bram += BRAM[family].get(kind, 0)
        spram += SPRAM.get(kind, 0)
    return Usage(lut4, ff, dsp, bram, spram)


def check_fits(usage: Usage, board: Device) -> None:
    """Raise :exc:`ValueError` if the device of `board` has less than `usage`."""
    has = board.resources
    rows = (("LUTs", usage.lut4, has.lut4), ("flip-flops", usage.ff, has.ff),
            ("DSPs", usage.dsp, has.dsp), ("blocks of memory", usage.bram, has.bram),
            ("blocks of SPRAM", usage.spram, has.spram))
    if short := [row for row in rows if row[1] > row[2]]:
        needs = ", ".join(f"{need:,} {what}" for what, need, _ in short)
        there = ", ".join(f"{limit:,} {what}" for what, _, limit in short)
        raise ValueError(f"the design needs {needs}; the {board.title} has {there}")
