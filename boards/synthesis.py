"""Synthesis: from RTLIL to the cells of a family, by Yosys."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bittern.boards.board import Family
from bittern.gen.yosys import yosys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["netlist", "synthesis", "synthesize"]

SYNTH = {
    Family.ICE40: "synth_ice40 -dsp",
    # wide LUTs double adder trees (YosysHQ/yosys#4798)
    Family.ECP5: "synth_ecp5 -nowidelut",
}


def synthesis(family: Family, folder: Path, top: str, *, keep: Sequence[str] = (),
              write: str) -> dict[str, int]:
    """Synthesize ``folder/top.il``; return how many cells of each kind there are.

    The modules in `keep` remain modules, all others dissolve into those above them. `write` is
    the command that writes the result.
    """
    marks = [f"setattr -mod -set keep_hierarchy 1 {module}" for module in keep]
    yosys([
        f"read_rtlil {top}.il",
        *marks,
        f"{SYNTH[family]} -top {top}",
        # what the cell libraries hold, and where on this machine they are
        "delete =A:blackbox/c:* =A:blackbox/w:$*",
        "setattr -unset src =*/*",
        "setattr -mod -unset src =*",
        f"tee -q -o synthesis.json stat -json -top {top}",
        write,
    ], folder)
    stat = json.loads(Path(folder, "synthesis.json").read_text())
    cells: dict[str, int] = stat["design"]["num_cells_by_type"]
    return {cell: count for cell, count in cells.items() if cell not in keep}


def synthesize(rtlil: str, family: Family, top: str = "top") -> dict[str, int]:
    """Return how many cells of each kind the RTLIL of module `top` takes, before placement."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{top}.il").write_text(rtlil)
        return synthesis(family, Path(folder), top, write="log done")


def netlist(rtlil: str, family: Family, top: str = "top") -> str:
    """Return the synthesized RTLIL of module `top` as structural Verilog, for simulation."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{top}.il").write_text(rtlil)
        synthesis(family, Path(folder), top, write="write_verilog -noattr netlist.v")
        _, body = Path(folder, "netlist.v").read_text().split("\n", 1)
        return body
