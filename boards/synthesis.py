"""Synthesis: from RTLIL to the cells of a family, by Yosys."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bittern.boards.absorb import absorb, count
from bittern.boards.board import Family
from bittern.boards.dsp_registers import move_registers
from bittern.gen.yosys import yosys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["netlist", "script", "synthesis", "synthesize"]

SYNTH = {
    Family.ICE40: "synth_ice40 -dsp -no-rw-check",
    # wide LUTs double adder trees (YosysHQ/yosys#4798)
    Family.ECP5: "synth_ecp5 -nowidelut -no-rw-check",
    Family.GOWIN: "synth_gowin -nowidelut -noiopads -no-rw-check",
}
WITHOUT_DSP = {
    Family.ICE40: SYNTH[Family.ICE40].replace(" -dsp", ""),
    Family.ECP5: f"{SYNTH[Family.ECP5]} -nodsp",
    Family.GOWIN: f"{SYNTH[Family.GOWIN]} -nodsp",
}
# Words are kept to keep adders apart, which they are before LUTs are made. There Yosys 0.70 drives
# their bits twice, and netlists are wrong (YosysHQ/yosys#6237).
WORDS = "setattr -unset keep */s:2:1000000"
CONFLICT = re.compile(r"Warning: ((?:Driver-driver conflict|multiple conflicting drivers) .*)")
COLLISIONS = f"setparam -set COLLISION_X_MASK 16'b{'1' * 16} t:$memrd_v2 r:CLK_ENABLE=1 %i"
# This and -no-rw-check: no memory here is read where it is written in the same cycle.
# -noiopads: it would put pads on the ports of modules that are kept, too.
PADS = "iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O -toutpad TBUF ~OEN:I:O"


def synthesis(family: Family, folder: Path, top: str, *, keep: Sequence[str] = (),
              dsp: bool = True) -> dict[str, int]:
    """Synthesize ``top.il`` in `folder` to ``top.json``; return how many cells of each kind it has.

    The modules in `keep` remain modules, all others dissolve into those above them. Without `dsp`
    multipliers become LUTs.

    Raises
    ------
    ValueError
        If Yosys fails, or drives a bit twice.
    """
    log = yosys(script(family, top, keep=keep, dsp=dsp), folder)
    if conflict := CONFLICT.search(log):
        raise ValueError(f"Yosys made a netlist that is wrong: {conflict[1]}")
    file = Path(folder, f"{top}.json")
    cells = json.loads(file.read_text())
    if family is Family.ECP5:
        absorb(cells)
        move_registers(cells)
        file.write_text(json.dumps(cells))
    counts = count(cells, top)
    Path(folder, "synthesis.json").write_text(json.dumps(counts, indent=1))
    return counts


def script(family: Family, top: str, *, keep: Sequence[str] = (), dsp: bool = True) -> list[str]:
    """Return the commands of Yosys that :func:`synthesis` runs."""
    synth = f"{(SYNTH if dsp else WITHOUT_DSP)[family]} -top {top}"
    return [
        f"read_rtlil {top}.il",
        *(f"setattr -mod -set keep_hierarchy 1 {module}" for module in keep),
        COLLISIONS,
        f"{synth} -run begin:map_luts",
        WORDS,
        f"{synth} -run map_luts:",
        *([f"{PADS} {top}"] if family is Family.GOWIN else []),
        # what the cell libraries hold, and where on this machine they are
        "delete =A:blackbox/c:* =A:blackbox/w:$*",
        "setattr -unset src =*/*",
        "setattr -mod -unset src =*",
        f"write_json {top}.json",
    ]


def synthesize(rtlil: str, family: Family, top: str = "top", *,
               dsp: bool = True) -> dict[str, int]:
    """Return how many cells of each kind the RTLIL of module `top` takes, before placement."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{top}.il").write_text(rtlil)
        return synthesis(family, Path(folder), top, dsp=dsp)


def netlist(rtlil: str, family: Family, top: str = "top") -> str:
    """Return the synthesized RTLIL of module `top` as structural Verilog, for simulation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{top}.il").write_text(rtlil)
        synthesis(family, folder, top)
        yosys([f"read_json {top}.json", "write_verilog -noattr netlist.v"], folder)
        _, body = (folder / "netlist.v").read_text().split("\n", 1)
        return body
