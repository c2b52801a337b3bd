# amaranth: UnusedElaboratable=no
"""A netlist computes what the design does, with memories of every width, multipliers and adders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.gen.yosys import yosys
from bittern.sim import compiled, netlist
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from pathlib import Path

MEMORIES = [(1, 4096), (2, 4096), (4, 2048), (7, 2048), (9, 1024), (18, 700), (36, 512), (40, 300)]
LANES = 2 * len(MEMORIES) + 1
SYNTH = {"ice40": "synth_ice40 -dsp", "ecp5": "synth_ecp5"}


class Cells(wiring.Component):
    """Memories read and written at random, some transparent, and a sum of two products."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(65)), "o": Out(stream.Signature(40 * LANES))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        rng = np.random.default_rng(5)
        valid, read, product = Signal(), Signal(12), Signal(40)
        x = self.i.payload
        address, target, value, write = x[:12], x[12:24], x[24:64], x[64]
        m.d.comb += [self.i.ready.eq(~valid | self.o.ready), self.o.valid.eq(valid)]
        go = self.i.ready & self.i.valid
        with m.If(self.i.ready):
            m.d.sync += valid.eq(self.i.valid)
        with m.If(go):
            m.d.sync += [read.eq(address), product.eq(
                value[:18].as_signed() * value[18:33].as_signed() + address * target)]
        lanes, zero = [], Signal(40)
        for k, (width, depth) in enumerate(MEMORIES):
            for transparent in range(2):
                init = [int(v) for v in rng.integers(0, 1 << width, depth)]
                ram = memory.Memory(shape=width, depth=depth, init=init)
                m.submodules[f"ram{k}_{transparent}"] = ram
                writer = ram.write_port()
                reader = ram.read_port(transparent_for=(writer,) if transparent else ())
                m.d.comb += [writer.addr.eq(target), writer.data.eq(value), reader.en.eq(go),
                             writer.en.eq(go & write & (target < depth)), reader.addr.eq(address)]
                lanes.append(Mux(read < depth, reader.data | zero, 0))
        m.d.comb += self.o.payload.eq(Cat(*lanes, product))
        return m


def traffic(transfers: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (transfers, 65))
    bits[:, 8:12] = bits[:, 20:24] = 0 # few addresses: many collisions
    same = rng.random(transfers) < 0.3
    bits[same, :12] = bits[same, 12:24]
    return bits.reshape(transfers, 5, 13) @ (1 << np.arange(13))


@pytest.mark.slow
def test_a_netlist_equals_the_design(tmp_path: Path) -> None:
    vectors = Vectors(Port(5, 5, 13, signed=False), Port(LANES, LANES, 40, signed=False),
                      traffic(3000))
    expected = compiled.run(to_verilog(Cells()), vectors, tmp_path / "rtl", seed=0).y
    assert len(np.unique(expected[:, -1])) > 2900
    for family, synth in SYNTH.items():
        folder = tmp_path / family
        folder.mkdir()
        (folder / "top.il").write_text(rtlil.convert(Cells(), name="top", emit_src=False))
        yosys(["read_rtlil top.il", f"{synth} -top top", "write_verilog -noattr net.v"], folder)
        text = (folder / "net.v").read_text()
        assert {"ice40": "SB_MAC16", "ecp5": "MULT18X18D"}[family] in text
        assert {"ice40": "SB_RAM40_4K", "ecp5": "DP16KD"}[family] in text
        # the memories keep what the first pass wrote, so the second one differs
        found = netlist.run(text, family, vectors, folder, seed=0).y
        np.testing.assert_array_equal(found, expected, err_msg=family)


def test_an_unknown_family_is_named(tmp_path: Path) -> None:
    port = Port(1, 1, 1, signed=False)
    message = "no cell models of 'stratix'; there are ice40, ecp5, gowin"
    with pytest.raises(ValueError, match=message):
        netlist.run("", "stratix", Vectors(port, port, np.zeros((1, 1), np.int64)), tmp_path,
                    seed=0)
