# amaranth: UnusedElaboratable=no
"""The testbench of a design stands on its own, and its bytes are always the same."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.sim import testbench
from bittern.sim.vectors import Vectors


class Register(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(self.o.ready | ~self.o.valid)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m


def write(folder: Path, *, wrong: int = 0) -> Path:
    port = Port(4, 1, 8, signed=False)
    x = np.arange(40).reshape(10, 4)
    y = x.copy()
    y[3, 2] += wrong
    (folder / "top.v").write_text(to_verilog(Register()))
    testbench.write(folder / "testbench", "../top.v", Vectors(port, port, x, y))
    return folder / "testbench"


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    return subprocess.run(["make", "-C", folder], env={**os.environ, "PATH": path}, text=True,
                          capture_output=True, check=False)


def test_the_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    a, b = (write(folder) for folder in folders)
    files = sorted(path.name for path in a.iterdir())
    assert files == ["Makefile", "README.md", "cocotb_stream.py", "vectors.json"]
    for name in files:
        assert (a / name).read_bytes() == (b / name).read_bytes()
        assert str(tmp_path) not in (a / name).read_text()


def test_the_bench_needs_nothing_but_cocotb(tmp_path: Path) -> None:
    tree = ast.parse((write(tmp_path) / "cocotb_stream.py").read_text())
    imports = {alias.name.split(".")[0] for node in ast.walk(tree)
               if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module.split(".")[0] for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)}
    assert imports - set(sys.stdlib_module_names) == {"cocotb"}


@pytest.mark.slow
def test_make_runs_it(tmp_path: Path) -> None:
    folder = write(tmp_path)
    result = make(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 frames equal, latency 4 cycles" in result.stdout
    assert json.loads((folder / "results.json").read_text())["cycles_per_inference"] == 4


@pytest.mark.slow
def test_make_fails_where_the_design_differs(tmp_path: Path) -> None:
    result = make(write(tmp_path, wrong=1))
    assert result.returncode != 0
    assert "'frame': 3, 'transfer': 2, 'expected': 'f', 'found': 'e'" in result.stdout
