# amaranth: UnusedElaboratable=no
import copy
import json
import random

import numpy as np
import pytest
from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.boards.absorb import absorb
from bittern.boards.board import Family
from bittern.boards.netlist import count
from bittern.boards.synthesis import netlist, synthesis, synthesize
from bittern.gen.rtlil import to_rtlil
from bittern.gen.yosys import yosys
from bittern.sim.logic import Logic
from bittern.sim.netlist import share_folder


class Functions(wiring.Component):
    """Each function of the bits of `x`, in an order of its own: no two share logic."""

    def __init__(self, functions, width):
        self.functions = functions
        x = Signal(width)
        super().__init__({"x": In(width), **{f"o{k}": Out(len(f(x)))
                                             for k, f in enumerate(functions)}})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for k, f in enumerate(self.functions):
            bits = random.Random(k).sample(list(self.x), len(self.x))
            m.d.comb += getattr(self, f"o{k}").eq(f(Cat(bits)))
        return m


def slices(function, *widths):
    """Return the function of consecutive slices of a word."""
    def of(x):
        operands, start = [], 0
        for width in widths:
            operands.append(x[start:start + width])
            start += width
        return function(*operands)
    return of


def spread(bit, n):
    return Cat(bit for _ in range(n))


def mux(s, a, b):
    return Cat(Mux(s, x, y) for x, y in zip(a, b, strict=True))


def majority(a, b, c):
    return a & b | a & c | b & c


def separators(a, b, c, d):
    """Add in one chain: a separator of two equal operands passes a carry on and one in."""
    apart = a[0] & d[4]
    one, two = Cat(a ^ b, apart, c[1:] ^ d[1:]), Cat(c[:4], apart, b)
    return (one + two)[:9]


N = 5
PAIRS = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
         "and not": lambda a, b: a & ~b, "xnor": lambda a, b: ~(a ^ b),
         "nand": lambda a, b: ~(a & b)}
ONES = ("xnor", "nand")


def pair(f, g):
    return slices(lambda a, b, c, d: (PAIRS[f](a, b)[:N] + PAIRS[g](c, d)[:N])[:N + 1], *[N] * 4)


FREE = [
    *(pair(f, g) for f in PAIRS for g in PAIRS if not (f in ONES and g in ONES)),
    slices(lambda a, b, c, d: ((a ^ b) - (c & d))[:N + 1], *[N] * 4),
    slices(lambda a, b, c, d: ((a & ~b) - (c & d))[:N + 1], *[N] * 4),
    slices(lambda a, b, c: a + (b & ~c), *[6] * 3),
    slices(lambda a, s, c: ((a ^ spread(s, 7)) + c + s)[:8], 7, 1, 7),
    slices(lambda a, b: (a & b) + a, 8, 8),
    slices(lambda a, b, c: (a & b) + (a & ~c), *[6] * 3),
    slices(lambda a, b: (~a)[:8] + b, 8, 8),
    slices(lambda a, s, n, c: ((a ^ spread(s, 7)) & spread(n, 7)) + c, 7, 1, 1, 7),
    slices(lambda s, a, b, c: mux(s, a, b) + c, 1, 6, 6, 6),
    slices(lambda a, b, c, d: majority(a, b, c) + d, *[N] * 4),
    slices(lambda a, b, c: (a & b) + c, 7, 7, 1),
    slices(lambda a, b, c: (((a ^ b).as_signed()) + c)[:9], 6, 6, 8),
    slices(separators, 4, 4, 5, 5),
]
# where both operands are 1 for zeros, there is room for one; a comparison ends outside the chain
OTHERS = [*(pair(f, g) for f in ONES for g in ONES),
          slices(lambda a, b, c: (a ^ b ^ c) + (a ^ c), *[6] * 3),
          slices(lambda a, b, c, d: (a ^ b) < (c ^ d), *[N] * 4),
          slices(lambda a, b, c, d: (a ^ b) >= (c | d).as_signed(), *[N] * 4),
          slices(lambda a, b, c: Cat((a ^ b) + c, a ^ b), *[6] * 3),
          slices(lambda a, b: (a ^ b) + Const(0x5B, 8), 8, 8)]
WIDTH = 20


@pytest.mark.parametrize("functions", [FREE, OTHERS], ids=["free", "others"])
def test_the_chains_compute_what_they_did(functions):
    rtlil = to_rtlil(Functions(functions, WIDTH))
    verilog = netlist(rtlil, Family.ECP5)
    assert functions is not FREE or " LUT4 " not in verilog
    signed = {f"o{k}": False for k in range(len(functions))}
    x = {"x": np.arange(1 << WIDTH)}
    found = Logic.of_netlist(verilog, "ecp5")(x, signed=signed)
    for name, want in Logic.of_rtlil(rtlil)(x, signed=signed).items():
        np.testing.assert_array_equal(found[name], want)


def wide(x):
    """Return dot products of 15 bits, in two levels of chains, and sums of 16-bit products."""
    p = x[:15] ^ x[15:30]
    first = (Cat(p[0], p[2], p[3], p[5], p[6], p[8], p[9], 0)
             + Cat(p[1], p[2], p[4], p[5], p[7], p[8], p[10], 0))
    return Cat(first, (x[:16] & x[16:32]) + (x[32:48] ^ x[48:]))


def test_a_wide_sum_is_proven(tmp_path):
    rtlil = to_rtlil(Functions([wide], 64))
    (tmp_path / "gold.il").write_text(rtlil)
    (tmp_path / "gate.v").write_text(netlist(rtlil, Family.ECP5))
    log = yosys(["read_verilog -sv gate.v",
                 f"read_verilog -sv -nooverwrite {share_folder()}/ecp5/cells_sim.v",
                 "prep -flatten -top top",
                 "rename top gate", "design -stash gate",
                 "read_rtlil gold.il", "prep -flatten -top top", "rename top gold",
                 "design -copy-from gate gate",
                 "miter -equiv -flatten -make_outputs gold gate miter",
                 "sat -verify -prove trigger 0 -set-def-inputs miter"], tmp_path)
    assert "SAT proof finished - no model found: SUCCESS!" in log


class Twice(wiring.Component):
    """Two instances of a module that remains one, and an XOR that both of them add."""

    def __init__(self):
        super().__init__({"x": In(6), "y": In(6), "o0": Out(7), "o1": Out(7)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for k, o in enumerate((self.o0, self.o1)):
            inner = Functions([slices(lambda a, b, c: (a ^ b) + c, 6, 6, 6)], 18)
            m.submodules[f"inner{k}"] = inner
            m.d.comb += [inner.x.eq(Cat(self.x ^ self.y, self.x, self.y)), o.eq(inner.o0)]
        return m


def test_what_leaves_a_module_remains(tmp_path):
    (tmp_path / "top.il").write_text(to_rtlil(Twice()))
    keep = [line.split("\\")[1] for line in (tmp_path / "top.il").read_text().splitlines()
            if line.startswith("module") and "inner" in line]
    assert keep
    cells = synthesis(Family.ECP5, tmp_path, "top", keep=keep)
    assert cells == {"CCU2C": 8, "LUT4": 6}


def test_absorbing_again_changes_nothing(tmp_path):
    (tmp_path / "top.il").write_text(to_rtlil(Functions(OTHERS, WIDTH)))
    cells = synthesis(Family.ECP5, tmp_path, "top")
    found = json.loads((tmp_path / "top.json").read_text())
    again = copy.deepcopy(found)
    absorb(again)
    assert again == found
    assert count(found, "top") == cells == synthesize(to_rtlil(Functions(OTHERS, WIDTH)),
                                                      Family.ECP5)
    # no net is left without what drives it
    module = found["modules"]["top"]
    driven = {bit for c in module["cells"].values() for port, bits in c["connections"].items()
              if c["port_directions"][port] == "output" for bit in bits}
    driven |= set(module["ports"]["x"]["bits"]) | {"0", "1", "x"}
    assert driven >= {bit for net in module["netnames"].values() for bit in net["bits"]}
    assert driven >= {bit for c in module["cells"].values() for bits in c["connections"].values()
                      for bit in bits}
