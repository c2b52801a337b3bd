"""Run a design in Verilator, through the one cocotb bench."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cocotb_tools.config as cocotb
import find_libpython

from bittern.gen.progress import Progress, silent
from bittern.sim.vectors import Results, Vectors
from bittern.sim.verilate import execute, verilate, write_source

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build", "run", "simulate"]

LOG = "simulation.log"

STREAMS = ("i", "o")


def run(verilog: str | Path, vectors: Vectors, folder: Path, *, seed: int, toplevel: str = "top",
        extra_sources: Sequence[Path] = (), defines: Sequence[str] = (),
        progress: Progress = silent) -> Results:
    """Simulate a design: all frames back to back, without stalls and then with random ones.

    Parameters
    ----------
    verilog
        The design, or the file it is in.
    vectors
        What goes through it.
    folder
        Where to work; ``simulation.log`` in it has the output of the tools.
    seed
        Seed of the stalls.
    toplevel
        Name of the design's top module.
    extra_sources, defines
        More Verilog files, and macros ``NAME`` or ``NAME=VALUE``.
    progress
        Is told what is being done.

    Returns
    -------
    Results
        With the first mismatch, if there is any: it is not an error here.

    Raises
    ------
    AssertionError
        If the design breaks the rules of streams, gives too few or too many outputs, does not take
        all inputs, or does not compile: with the last lines of the log.
    """
    program = build(verilog, folder, toplevel=toplevel, extra_sources=extra_sources,
                    defines=defines, loads=bool(vectors.load), progress=progress)
    return simulate(program, vectors, folder, seed=seed, toplevel=toplevel, progress=progress)


def build(verilog: str | Path, folder: Path, *, toplevel: str = "top",
          extra_sources: Sequence[Path] = (), defines: Sequence[str] = (), loads: bool = False,
          progress: Progress = silent) -> Path:
    """Compile a design for cocotb; return the program for :func:`simulate`.

    `loads` tells whether it has the stream ``load``.
    """
    progress("compile", 0)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Only the ports: cocotb's own runner makes every signal public, and slow.
    public = folder / "ports.vlt"
    streams = (*STREAMS, "load") if loads else STREAMS
    ports = ("clk", "rst", *(f"{stream}__{part}" for stream in streams
                             for part in ("payload", "valid", "ready")))
    public.write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{toplevel}" -var "{port}"\n' for port in ports))
    return verilate(
        [public, write_source(verilog, folder, toplevel), *extra_sources],
        Path(cocotb.share_dir, "lib", "verilator", "verilator.cpp"), folder / "verilated",
        toplevel=toplevel, defines=defines, log=folder / LOG,
        args=["--vpi", "-LDFLAGS", (f"-Wl,-rpath,{cocotb.libs_dir} -L{cocotb.libs_dir} "
                                    "-lcocotbvpi_verilator")])


def simulate(program: Path, vectors: Vectors, folder: Path, *, seed: int, toplevel: str = "top",
             progress: Progress = silent) -> Results:
    """Run what :func:`build` made; the rest is as in :func:`run`."""
    progress("simulate", 0)
    folder = folder.resolve()
    log, given, found = (folder / name for name in (LOG, "vectors.json", "results.json"))
    found.unlink(missing_ok=True)
    given.write_text(vectors.to_json())
    bench = Path(__file__).with_name("cocotb_stream.py")
    environment = {
        **os.environ,
        "BITTERN_VECTORS": str(given),
        "BITTERN_RESULTS": str(found),
        "BITTERN_PROGRESS": "1",
        "COCOTB_TEST_MODULES": bench.stem,
        "COCOTB_TOPLEVEL": toplevel,
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "COCOTB_TRUST_INERTIAL_WRITES": "1", # as cocotb's own runner does for Verilator
        "GPI_USERS": f"{find_libpython.find_libpython()};{cocotb.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(bench.parent), *sys.path]),
        "TOPLEVEL_LANG": "verilog",
    }
    said = execute([program], log, env=environment,
                   on_progress=lambda part: progress("simulate", part))
    if not found.is_file():
        raise AssertionError(f"the simulation failed, all it said is in {log}:\n{reason(said)}")
    return Results.from_json(found.read_text(), vectors)


def reason(said: Sequence[str]) -> str:
    """Return the lines that say why a simulation failed, or the last ones."""
    told = [line.strip() for line in said if "Error: " in line]
    return "\n".join(told[-1:] or said[-15:])
