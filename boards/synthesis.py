"""Synthesis: from RTLIL to the cells of a family, by Yosys."""

from __future__ import annotations

import json
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bittern.boards.absorb import absorb
from bittern.boards.block_registers import move_registers_into_blocks
from bittern.boards.board import Family
from bittern.boards.dsp_pairs import pair_products
from bittern.boards.dsp_registers import move_registers
from bittern.boards.netlist import count
from bittern.gen.progress import silent
from bittern.gen.yosys import yosys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bittern.gen.progress import Progress

__all__ = ["netlist", "script", "synthesis", "synthesize"]

Memory: TypeAlias = tuple[int, int]
"""Words and bits of a word."""

SYNTH = {
    Family.ICE40: "synth_ice40 -dsp -spram -no-rw-check",
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
# -noiopads: it would put pads on the ports of every module.
PADS = "iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O -toutpad TBUF ~OEN:I:O"


def synthesis(family: Family, folder: Path, top: str, *, keep: Sequence[str] = (),
              dsp: bool = True, shallow: Mapping[str, Memory] | None = None,
              progress: Progress = silent) -> dict[str, int]:
    """Synthesize ``top.il`` in `folder` to ``top.json``; return how many cells of each kind it has.

    The modules in `keep` remain modules, all others dissolve into those above them. Without `dsp`
    multipliers become LUTs. Memories in a module of `shallow` that are no deeper and no wider than
    it says become LUTs, too. `progress` is told how many modules are done.

    Raises
    ------
    ValueError
        If Yosys fails, or drives a bit twice.
    """
    # Each module in a process of its own: Yosys takes far longer for a design than for its parts.
    modules = [top, *keep]
    cells: dict[str, Any] = {"modules": {}}
    progress("synthesizing", 0)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(yosys, script(family, top, module, keep=keep, dsp=dsp,
                                          shallow=(shallow or {}).get(module)), folder)
                for module in modules]
        try:
            for k, (module, run) in enumerate(zip(modules, runs, strict=True)):
                if conflict := CONFLICT.search(run.result()):
                    raise ValueError(f"Yosys made a netlist that is wrong: {conflict[1]}")
                part = Path(folder, _file(module))
                found = json.loads(part.read_text())
                part.unlink()
                # what is kept is a black box to all others
                found["modules"] = {name: content for name, content in found["modules"].items()
                                    if name == module or name not in keep}
                cells = {**found, "modules": cells["modules"] | found["modules"]}
                progress("synthesizing", (k + 1) / len(modules))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    match family:
        case Family.ICE40:
            pair_products(cells)
        case Family.ECP5:
            absorb(cells)
            move_registers_into_blocks(cells)
            move_registers(cells)
            _heed_global_reset(cells["modules"], top)
    Path(folder, f"{top}.json").write_text(json.dumps(cells))
    counts = count(cells, top)
    Path(folder, "synthesis.json").write_text(json.dumps(counts, indent=1))
    return counts


def script(family: Family, top: str, module: str, *, keep: Sequence[str] = (),
           dsp: bool = True, shallow: Memory | None = None) -> list[str]:
    """Return the commands of Yosys by which :func:`synthesis` maps one module of ``top.il``."""
    synth = f"{(SYNTH if dsp else WITHOUT_DSP)[family]} -top {module}"
    return [
        f"read_rtlil {top}.il",
        *(f"blackbox {other}" for other in keep if other != module),
        f"hierarchy -top {module}",
        COLLISIONS,
        f"{synth} -run begin:map_ram",
        *(_in_luts(*shallow) if shallow else []),
        f"{synth} -run map_ram:map_luts",
        WORDS,
        f"{synth} -run map_luts:",
        *([f"{PADS} {top}"] if family is Family.GOWIN and module == top else []),
        *([] if module == top else [f"setattr -mod -unset top {module}"]),
        # what the cell libraries hold, and where on this machine they are
        "delete =A:blackbox/c:* =A:blackbox/w:$*",
        "setattr -unset src =*/*",
        "setattr -mod -unset src =*",
        f"write_json {_file(module)}",
    ]


def _heed_global_reset(modules: dict[str, Any], top: str) -> None:
    """Have all flip-flops reset by the wires that an ``SGSR`` in `top` drives, if there is one.

    Yosys sees to it in the module that has the ``SGSR``, and does not see it from the others.
    """
    if all(cell["type"] != "SGSR" for cell in modules[top]["cells"].values()):
        return
    for name, module in modules.items():
        for cell in module["cells"].values():
            if cell["type"] == "TRELLIS_FF" and name != top:
                cell["parameters"]["GSR"] = "ENABLED"


def _in_luts(depth: int, width: int) -> list[str]:
    """Return commands that have LUTs made of memories of no more words and bits."""
    memories = f"t:$mem_v2 r:SIZE<={depth} %i r:WIDTH<={width} %i"
    styles = [f"-unset {style}" for style in ("ram_style", "rom_style")]
    return [f"setattr {' '.join(styles)} {memories}",
            f"setattr -set rom_style \"logic\" {memories} r:WR_PORTS=0 %i",
            f"setattr -set ram_style \"distributed\" {memories} r:WR_PORTS>0 %i"]


def _file(module: str) -> str:
    """Return the name of the file for the netlist of a module."""
    return f"part-{module}.json"


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
