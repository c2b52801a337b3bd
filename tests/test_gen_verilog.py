# amaranth: UnusedElaboratable=no
"""Verilog output: plain names, no machine paths, the same every time."""

import os
import re
import subprocess
import sys
import tempfile

import pytest
from amaranth import Module, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.verilog import to_verilog


class Rom(wiring.Component):
    def __init__(self):
        super().__init__({"i": In(3), "o": Out(8)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.table = table = memory.Memory(shape=unsigned(8), depth=8,
                                                   init=[k * 31 for k in range(8)])
        read = table.read_port()
        m.d.comb += [read.addr.eq(self.i), self.o.eq(read.data)]
        return m


class Net(wiring.Component):
    def __init__(self):
        super().__init__({"i": In(3), "o": Out(8)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.dense_0 = rom = Rom()
        fenced = Signal(8, attrs={"keep": 1})
        m.d.comb += [rom.i.eq(self.i), fenced.eq(rom.o + 1)]
        with m.If(self.i[0]):
            m.d.sync += self.o.eq(fenced)
        return m


@pytest.fixture(scope="module")
def verilog():
    return to_verilog(Net(), "net")


def test_modules_and_ports_have_plain_names(verilog):
    assert re.findall(r"^module (\S+)\(", verilog, re.MULTILINE)[:2] == ["net", "net__dense_0"]
    assert "  input [2:0] i;" in verilog
    assert "  output [7:0] o;" in verilog


def test_attributes_for_synthesis_stay_and_those_for_amaranth_go(verilog):
    assert "keep" in verilog
    assert "generator" not in verilog


def test_nothing_of_the_machine_is_in_it(verilog):
    for path in (tempfile.gettempdir(), os.getcwd(), sys.prefix, ".py:", ".cc:"):
        assert path not in verilog


def test_it_is_the_same_in_another_process_and_under_another_hash_seed(verilog):
    code = (f"import importlib.util as u; s = u.spec_from_file_location('t', {__file__!r}); "
            "t = u.module_from_spec(s); s.loader.exec_module(t); "
            "print(t.to_verilog(t.Net(), 'net'), end='')")
    for seed in ("1", "2"):
        again = subprocess.run([sys.executable, "-c", code], check=True, text=True,
                               capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
        assert again.stdout == verilog


def test_what_is_no_component_needs_its_ports():
    m = Module()
    i, o = Signal(4, name="i"), Signal(4, name="o")
    m.d.comb += o.eq(~i)
    assert "assign o = ~ i;" in to_verilog(m, ports=[i, o])
