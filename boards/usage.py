"""What of a device is used, from counts of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bittern.boards.board import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bittern.boards.board import Board

__all__ = ["Usage", "check_fits", "placed", "synthesized"]

DSP = {Family.ICE40: ("SB_MAC16", "ICESTORM_DSP"), Family.ECP5: ("MULT18X18D", "MULT18X18D")}
BRAM = {Family.ICE40: ("SB_RAM40_4K", "ICESTORM_RAM"), Family.ECP5: ("DP16KD", "DP16KD")}
# A carry cell of the ECP5 takes both LUTs of a slice, a LUT memory four.
LUT4S = {"SB_LUT4": 1, "LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}


@dataclass(frozen=True)
class Usage:
    """Sites used: LUT4s, flip-flops, DSPs and blocks of memory."""

    lut4: int
    ff: int
    dsp: int
    bram: int


def synthesized(family: Family, cells: Mapping[str, int]) -> Usage:
    """Count the cells of a synthesized netlist: what the device must have at the least."""
    def count(prefix: str) -> int:
        return sum(n for cell, n in cells.items() if cell.startswith(prefix))

    return Usage(lut4=sum(weight * cells.get(cell, 0) for cell, weight in LUT4S.items()),
                 ff=count("SB_DFF") + count("TRELLIS_FF"),
                 dsp=count(DSP[family][0]), bram=count(BRAM[family][0]))


def placed(family: Family, cells: Iterable[Mapping[str, Any]]) -> Usage:
    """Count the cells of a placed netlist, as nextpnr writes them."""
    lut4 = ff = dsp = bram = 0
    for cell in cells:
        kind = cell["type"]
        lut4 += kind in ("ICESTORM_LC", "TRELLIS_COMB")
        # a logic cell of the iCE40 holds both a LUT and its flip-flop
        ff += kind == "TRELLIS_FF" or cell["parameters"].get("DFF_ENABLE") == "1"
        dsp += kind == DSP[family][1]
        bram += kind == BRAM[family][1]
    return Usage(lut4, ff, dsp, bram)


def check_fits(usage: Usage, board: Board) -> None:
    """Raise :exc:`ValueError` if the device of `board` has less than `usage`."""
    has = board.resources
    rows = (("LUTs", usage.lut4, has.lut4), ("flip-flops", usage.ff, has.ff),
            ("DSPs", usage.dsp, has.dsp), ("blocks of memory", usage.bram, has.bram))
    if short := [row for row in rows if row[1] > row[2]]:
        needs = ", ".join(f"{need:,} {what}" for what, need, _ in short)
        there = ", ".join(f"{limit:,} {what}" for what, _, limit in short)
        raise ValueError(f"the design needs {needs}; the {board.title} has {there}")
