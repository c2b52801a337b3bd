"""From a design to the bitstream of a board."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bittern.boards.board import Family
from bittern.boards.pll import clock_below
from bittern.boards.routing import PACKAGES, SEEDS, pack, route
from bittern.boards.synthesis import synthesis
from bittern.boards.top import Top
from bittern.boards.usage import check_fits, synthesized
from bittern.gen.progress import silent
from bittern.gen.rtlil import for_yosys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from amaranth.lib import wiring

    from bittern.boards.board import Board
    from bittern.boards.synthesis import Memory
    from bittern.boards.usage import Usage
    from bittern.gen.progress import Progress

__all__ = ["BuildReport", "build", "tools"]

ROUNDS = 5
# A lower clock is routed anew and may come out a little slower than before: each round gives way
# a little more.
MARGIN = 0.98
# Another placement may be a tenth faster, so what misses its clock by less is placed anew.
NEAR, PLACEMENTS = 0.9, 3
# What nextpnr aims at is its option: it would derive the clock of a PLL from that of its input.
FREQUENCY = re.compile(r"^(set_frequency|FREQUENCY) .*\n", re.MULTILINE)
KEPT = ("top.json", "top.pcf", "top.lpf", "top.cst", "synthesis.json", "report.json", "nextpnr.log")


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
    spram: int
    fmax_mhz: float
    """How fast the design may be clocked."""
    clock_mhz: float
    """How fast it is clocked."""
    wanted_mhz: float
    """How fast it was to be clocked."""
    per_module: dict[str, Usage]
    tools: dict[str, str]
    seed: int
    routing: str
    """Router and seed that led to it: another than `seed` where routing did not converge."""

    def json(self) -> dict[str, Any]:
        """Return the report as a dictionary that JSON can hold."""
        return asdict(self)


def build(design: Callable[[float], wiring.Component], board: Board, folder: Path, *,
          layers: Mapping[str, Memory | None] = MappingProxyType({}),
          clock_mhz: float | None = None, seed: int = 1, image: bytes = b"",
          progress: Progress = silent) -> BuildReport:
    """Write the bitstream of a design to `folder`, and the reports of the tools below it.

    Parameters
    ----------
    design
        Returns the design, ports ``rx`` and ``tx``, for a clock in MHz: called again, with a lower
        clock, where the wanted one is missed.
    layers
        Names of submodules, anywhere in the design, whose usage is to be told, and up to how many
        words and bits their memories are made of LUTs. Each stays a module of its own through
        synthesis: no logic merges across its border.
    clock_mhz
        The wanted clock, or None for the one of the board.
    image
        What the design loads from flash at start, if it has a stream ``load``.
    progress
        Is told of each step.

    Raises
    ------
    ValueError
        If the design does not fit the board, cannot be clocked slowly enough, or a tool fails.
    """
    wanted = board.clock_mhz if clock_mhz is None else clock_mhz
    work = folder / "build"
    work.mkdir(parents=True, exist_ok=True)
    clock = clock_below(board.family, board.oscillator_mhz, wanted)
    # Every round aims at the first clock: nextpnr would stop trying where less is asked of it.
    aim = float(clock.frequency)
    for attempt in range(1, ROUNDS + 1):
        progress("elaborating", 0)
        modules = _elaborate(Top(design(float(clock.frequency)), board, clock,
                                 loads=len(image)), board, work, layers)
        cells = synthesis(board.family, work, "top", keep=list(modules.values()),
                          shallow={modules[name]: memory for name, memory in layers.items()
                                   if memory}, progress=progress)
        check_fits(synthesized(board.family, cells), board)
        best = 0.0
        for placement in range(seed, seed + PLACEMENTS * SEEDS, SEEDS):
            routed = route(board, work, clock_mhz=aim, seed=placement,
                           layers={name: module.removeprefix("top.")
                                   for name, module in modules.items()}, progress=progress)
            best = max(best, routed.fmax_mhz)
            reached = f"the design reaches {best:.2f} MHz"
            if not NEAR * clock.frequency <= routed.fmax_mhz < clock.frequency:
                break
            progress(f"{reached}: placing and routing it anew", 0)
        if routed.fmax_mhz >= clock.frequency:
            break
        progress(f"{reached}: once more with a lower clock", 0)
        try:
            clock = clock_below(board.family, board.oscillator_mhz, best * MARGIN**attempt)
        except ValueError as error:
            raise ValueError(f"{reached} only: {error}") from None
    else:
        raise ValueError(f"{reached}, less than its clock, after {ROUNDS} attempts: "
                         "ask for a lower clock")
    progress("packing", 0)
    packed = pack(board, work)
    (folder / packed.name).write_bytes(_with_image(packed.read_bytes(), image, board))
    for file in work.iterdir():
        if file.name not in KEPT:
            file.unlink()
    return BuildReport(board.name, packed.name, **asdict(routed.usage),
                       fmax_mhz=routed.fmax_mhz, clock_mhz=float(clock.frequency),
                       wanted_mhz=float(wanted), per_module=routed.layers,
                       tools=tools(board.family), seed=seed, routing=routed.routing)


def _with_image(stream: bytes, image: bytes, board: Board) -> bytes:
    """Return what goes into flash: a bitstream, and where the design looks for it an `image`."""
    if not image:
        return stream
    at = board.flash.image_at
    if len(stream) > at:
        raise ValueError(f"the bitstream takes {len(stream):,} bytes of flash; the first "
                         f"{at:,} are for it on the {board.title}")
    return stream.ljust(at, b"\xff") + image


def tools(family: Family) -> dict[str, str]:
    """Return the versions of the tools that a build for `family` uses."""
    nextpnr = version(PACKAGES[family])
    return {"amaranth": version("amaranth"), "yosys": version("pyosys"), "nextpnr": nextpnr,
            "packer": version("apycula") if family is Family.GOWIN else nextpnr}


def _elaborate(top: Top, board: Board, work: Path, layers: Iterable[str]) -> dict[str, str]:
    """Write RTLIL and pin constraints to `work`; return the module of each of `layers`."""
    plan = board.platform().build(top, name="top", do_build=False, emit_src=False)
    for name, content in plan.files.items():
        if name.endswith((".il", ".pcf", ".lpf", ".cst")):
            (work / name).write_text(for_yosys(FREQUENCY.sub("", content)))
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
