"""Compare a component with its netlist, over some cycles of noise."""

import json
from pathlib import Path

import bittern.sim
from bittern.boards.board import Family
from bittern.gen.rtlil import to_rtlil
from bittern.gen.yosys import yosys
from bittern.sim.netlist import share_folder

CYCLES = 300
MODELS = {Family.ECP5: "lattice/cells_sim_ecp5.v", Family.ICE40: "ice40/cells_sim.v"}


def differ(component, mapped, family, folder):
    """Return whether outputs `o` of a component with inputs `a` and `b` and of its netlist differ.

    `mapped` is the netlist in Verilog, whose top module is ``top``.
    """
    a, b, o = (len(getattr(component, port)) for port in "abo")
    (folder / "top.il").write_text(to_rtlil(component))
    (folder / "mapped.v").write_text(mapped.replace("module top(", "module mapped("))
    (folder / "bench.v").write_text(f"""
module bench(input clk, output reg differs);
    initial differs = 0;
    reg [61:0] noise = 62'd1;
    always @(posedge clk) noise <= {{noise, noise[61] ^ noise[60] ^ noise[33] ^ noise[17]}};
    wire [{o - 1}:0] before, after;
    top before_(.clk(clk), .rst(1'b0), .a(noise[{a - 1}:0]), .b(noise[{a + b - 1}:{a}]),
                .o(before));
    mapped after_(.clk(clk), .rst(1'b0), .a(noise[{a - 1}:0]), .b(noise[{a + b - 1}:{a}]),
                  .o(after));
    always @(posedge clk) differs <= differs | before != after;
endmodule
""")
    own = Path(bittern.sim.__file__).parent / "models" / f"{family.name.lower()}.v"
    yosys([
        *([f"read_verilog -sv {own}"] if own.is_file() else []),
        ("read_verilog -sv -defer -nooverwrite -DNO_ICE40_DEFAULT_ASSIGNMENTS "
         f"{share_folder() / MODELS[family]}"),
        "read_verilog -sv mapped.v", "read_rtlil top.il", "read_verilog bench.v",
        "hierarchy -top bench", "proc", "flatten", "opt_clean", "memory_nordff",
        f"sim -zinit -clock clk -n {CYCLES} -w bench", "select -module bench w:differs",
        "write_json -selected bench.json"], folder)
    nets = json.loads((folder / "bench.json").read_text())["modules"]["bench"]["netnames"]
    return bool(int(nets["differs"]["attributes"]["init"], 2))
