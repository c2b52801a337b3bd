"""From a design to the bitstream of a board."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bittern.boards.pll import clock_below
from bittern.boards.routing import PACKAGES, pack, route
from bittern.boards.synthesis import synthesis
from bittern.boards.top import Top
from bittern.boards.usage import check_fits, synthesized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from amaranth.lib import wiring

    from bittern.boards.board import Board, Family
    from bittern.boards.usage import Usage

__all__ = ["BuildReport", "build", "tools"]

ROUNDS = 4
# A lower clock is routed anew, and may come out a little slower than before.
MARGIN = 0.98
KEPT = ("top.json", "top.pcf", "top.lpf", "synthesis.json", "report.json", "nextpnr.log")


@dataclass(frozen=True)
class BuildReport:
    """What came of a build; the clocks are in MHz."""

    board: str
    bitstream: str
    """Name of the file."""
    lut4: int
    ff: int
    dsp: int
    bram: int
    fmax_mhz: float
    """How fast the design may be clocked."""
    clock_mhz: float
    """How fast it is clocked."""
    wanted_mhz: float
    """How fast it was to be clocked."""
    per_module: dict[str, Usage]
    tools: dict[str, str]
    seed: int

    def json(self) -> dict[str, Any]:
        """Return the report as a dictionary that JSON can hold."""
        return asdict(self)


def build(design: Callable[[float], wiring.Component], board: Board, folder: Path, *,
          layers: Sequence[str] = (), clock_mhz: float | None = None, seed: int = 1,
          progress: Callable[[str], None] = lambda _: None) -> BuildReport:
    """Write the bitstream of a design to `folder`, and the reports of the tools below it.

    Parameters
    ----------
    design
        Returns the design, ports ``rx`` and ``tx``, for a clock in MHz: called again, with a lower
        clock, where the wanted one is missed.
    layers
        Names of submodules, anywhere in the design, whose usage is to be told. Each stays a module
        of its own through synthesis.
    clock_mhz
        The wanted clock, or None for the one of the board.
    progress
        Is told of each step as it starts.

    Raises
    ------
    ValueError
        If the design does not fit the board, cannot be clocked slowly enough, or a tool fails.
    """
    wanted = board.clock_mhz if clock_mhz is None else clock_mhz
    work = folder / "build"
    work.mkdir(parents=True, exist_ok=True)
    limit = wanted
    for _ in range(ROUNDS):
        clock = clock_below(board.family, board.oscillator_mhz, limit)
        progress("elaborating")
        modules = _elaborate(Top(design(float(clock.frequency)), board, clock), board, work, layers)
        progress("synthesizing")
        cells = synthesis(board.family, work, "top", keep=list(modules.values()),
                          write="write_json top.json")
        check_fits(synthesized(board.family, cells), board)
        progress(f"placing and routing at {float(clock.frequency):.5g} MHz")
        routed = route(board, work, clock_mhz=float(clock.frequency), seed=seed,
                       layers={name: module.removeprefix("top.")
                               for name, module in modules.items()})
        if routed.fmax_mhz >= clock.frequency:
            break
        limit = routed.fmax_mhz * MARGIN
    else:
        raise ValueError(f"after {ROUNDS} attempts the design still misses its clock: it reaches "
                         f"{routed.fmax_mhz:.2f} MHz; ask for a lower one")
    progress("packing")
    packed = pack(board.family, work)
    packed.replace(folder / packed.name)
    for file in work.iterdir():
        if file.name not in KEPT:
            file.unlink()
    return BuildReport(board.name, packed.name, **asdict(routed.usage),
                       fmax_mhz=routed.fmax_mhz, clock_mhz=float(clock.frequency),
                       wanted_mhz=float(wanted), per_module=routed.layers,
                       tools=tools(board.family), seed=seed)


def tools(family: Family) -> dict[str, str]:
    """Return the versions of the tools that a build for `family` uses."""
    nextpnr = version(PACKAGES[family])
    return {"amaranth": version("amaranth"), "yosys": version("pyosys"), "nextpnr": nextpnr,
            "packer": nextpnr}


def _elaborate(top: Top, board: Board, work: Path, layers: Sequence[str]) -> dict[str, str]:
    """Write RTLIL and pin constraints to `work`; return the module of each of `layers`."""
    plan = board.platform().build(top, name="top", do_build=False, emit_src=False)
    for name, content in plan.files.items():
        if name.endswith((".il", ".pcf", ".lpf")):
            (work / name).write_text(content)
    modules = re.findall(r"^module \\(\S+)", plan.files["top.il"], re.MULTILINE)
    found: dict[str, str] = {}
    for layer in layers:
        match [module for module in modules if module.endswith(f".{layer}")]:
            case [module]:
                found[layer] = module
            case several:
                raise ValueError(f"the design has {len(several)} submodules called {layer!r}, "
                                 "not one")
    return found
