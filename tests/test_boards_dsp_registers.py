# amaranth: UnusedElaboratable=no
import json
from pathlib import Path

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import bittern.sim
from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.rtlil import to_rtlil
from bittern.gen.yosys import yosys
from bittern.sim.netlist import share_folder

CYCLES = 300

BENCH = """
module bench(input clk, output reg differs);
    initial differs = 0;
    reg [39:0] noise = 40'd1;
    always @(posedge clk) noise <= {noise, noise[39] ^ noise[37] ^ noise[20] ^ noise[18]};
    wire [26:0] before, after;
    top before_(.clk(clk), .rst(1'b0), .a(noise[17:0]), .b(noise[28:20]), .o(before));
    mapped after_(.clk(clk), .rst(1'b0), .a(noise[17:0]), .b(noise[28:20]), .o(after));
    always @(posedge clk) differs <= differs | before != after;
endmodule
"""


class Multiplier(wiring.Component):
    """Factors in registers of a kind, and their product."""

    def __init__(self, kind):
        self.kind = kind
        super().__init__({"a": In(signed(18)), "b": In(signed(9)), "o": Out(signed(27))})

    def elaborate(self, _platform):
        m = Module()
        a, b, o = (Signal(s, reset_less=self.kind != "reset", init=self.kind == "one", name=n)
                   for n, s in (("held_a", self.a.shape()), ("held_b", self.b.shape()),
                                ("held_o", self.o.shape())))
        m.d.sync += o.eq(a * b)
        with m.If(self.b[0] if self.kind == "enable" else 1):
            m.d.sync += [a.eq(self.a), b.eq(self.b)]
        m.d.comb += self.o.eq(o ^ b if self.kind == "read" else o)
        return m


@pytest.mark.parametrize(("kind", "moved"), [
    ("plain", True), ("read", True), ("enable", False), ("reset", False), ("one", False)])
def test_registers_become_part_of_the_multiplier_where_that_is_the_same(kind, moved, tmp_path):
    rtlil = to_rtlil(Multiplier(kind))
    mapped = netlist(rtlil, Family.ECP5)
    held = mapped.count('.REG_INPUTA_CLK("CLK0")')
    assert held == moved
    left = mapped.count("TRELLIS_FF #")
    assert left == {"plain": 0, "read": 9, "enable": 27, "reset": 54, "one": 54}[kind]

    (tmp_path / "top.il").write_text(rtlil)
    (tmp_path / "mapped.v").write_text(mapped.replace("module top(", "module mapped("))
    (tmp_path / "bench.v").write_text(BENCH)
    own = Path(bittern.sim.__file__).parent / "models" / "ecp5.v"
    yosys([
        f"read_verilog -sv {own}",
        f"read_verilog -sv -nooverwrite {share_folder() / 'lattice/cells_sim_ecp5.v'}",
        "read_verilog -sv mapped.v", "read_rtlil top.il", "read_verilog bench.v",
        "hierarchy -top bench", "proc", "flatten", "opt_clean",
        f"sim -clock clk -n {CYCLES} -w bench", "select -module bench w:differs",
        "write_json -selected bench.json"], tmp_path)
    nets = json.loads((tmp_path / "bench.json").read_text())["modules"]["bench"]["netnames"]
    assert int(nets["differs"]["attributes"]["init"], 2) == 0
