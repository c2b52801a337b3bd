"""Run what synthesis made of a design: its netlist, with models of the cells of the device."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bittern.gen.progress import Progress, silent
from bittern.sim import compiled

if TYPE_CHECKING:
    from bittern.sim.vectors import Results, Vectors

__all__ = ["FAMILIES", "Family", "run"]


@dataclass(frozen=True)
class Family:
    """Where the models of a family's cells are.

    Parameters
    ----------
    yosys
        Verilog files in the ``share`` folder of Yosys.
    own
        Verilog files in ``sim/models``, for what is only a black box there.
    defines
        Macros that the models need.
    """

    yosys: tuple[str, ...]
    own: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()


FAMILIES = {
    # Without the macro, the ports' default values win over what is connected in Verilator, and
    # everything is silently 0.
    "ice40": Family(("ice40/cells_sim.v",), defines=("NO_ICE40_DEFAULT_ASSIGNMENTS",)),
    "ecp5": Family(("lattice/cells_sim_ecp5.v",), ("ecp5.v",)),
    "gowin": Family(("gowin/cells_sim.v",), ("gowin.v",)),
}


def run(netlist: str, family: str, vectors: Vectors, folder: Path, *, seed: int,
        toplevel: str = "top", progress: Progress = silent) -> Results:
    """Simulate a netlist as :func:`bittern.sim.compiled.run` does a design.

    Parameters
    ----------
    netlist
        Structural Verilog, as ``write_verilog -noattr`` gives it.
    family
        One of :data:`FAMILIES`.
    vectors, folder, seed, toplevel, progress
        As there.
    """
    if family not in FAMILIES:
        raise ValueError(f"no cell models of {family!r}; there are {', '.join(FAMILIES)}")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    models, share = FAMILIES[family], share_folder()
    cells = [folder / Path(name).name for name in models.yosys]
    for path, name in zip(cells, models.yosys, strict=True):
        text = (share / name).read_text()
        # A black box would be a second module of the name of our model.
        path.write_text(re.sub(r"\(\* blackbox \*\)\s*module .*?\bendmodule\b", "", text,
                               flags=re.DOTALL))
    own = [Path(__file__).parent / "models" / name for name in models.own]
    include = sorted({f"+incdir+{(share / name).parent}" for name in models.yosys})
    return compiled.run(netlist, vectors, folder, seed=seed, toplevel=toplevel,
                        extra_sources=[*own, *cells], defines=models.defines, args=include,
                        progress=progress)


def share_folder() -> Path:
    """Return where Yosys has its cell libraries."""
    package = importlib.util.find_spec("pyosys")
    if package is None or package.origin is None:
        raise ValueError("the package pyosys is not installed: pip install pyosys")
    return Path(package.origin).parent / "share"
