# amaranth: UnusedElaboratable=no
"""Carry chains of the ECP5 that begin and end within their own cells, and use all pins."""

import copy
import json

import pytest
from amaranth import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from netlists import differ

from bittern.boards.board import Family
from bittern.boards.carries import fit_carries
from bittern.boards.carry_pins import spread_pins
from bittern.boards.netlist import count
from bittern.boards.synthesis import synthesis
from bittern.gen.rtlil import to_rtlil
from bittern.gen.yosys import yosys


class Arithmetic(wiring.Component):
    """Sums, differences and comparisons of words."""

    def __init__(self, results, width):
        self.results = results
        super().__init__({"a": In(signed(width)), "b": In(signed(width)), "o": Out(4 * width)})

    def elaborate(self, _platform):
        m = Module()
        a, b = (Signal(signed(len(self.a)), name=f"{name}_q") for name in "ab")
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.o.eq(self.results(a, b))]
        return m


RESULTS = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "inverted": lambda a, b: ~a - b,
    "constant": lambda a, b: Cat(a + 5, 77 - b),
    "carry": lambda a, b: Cat(a < b, a.as_unsigned() >= b.as_unsigned()),
    "carry in": lambda a, b: (a + b + (a ^ b)[0])[:len(a) - 1],
    "chosen": lambda a, b: a + (b & a[0].replicate(len(b))),
    "several": lambda a, b: Cat(a + b + (a - b), a - 3),
}


@pytest.mark.parametrize("width", [2, 5, 8])
@pytest.mark.parametrize("results", RESULTS)
def test_chains_give_what_they_gave(results, width, tmp_path):
    component = Arithmetic(RESULTS[results], width)
    (tmp_path / "top.il").write_text(to_rtlil(component))
    synthesis(Family.ECP5, tmp_path, "top")
    netlist = json.loads((tmp_path / "top.json").read_text())
    before = copy.deepcopy(netlist)
    fit_carries(netlist)
    assert len(carries(netlist)) == len(carries(before))
    assert all(begin == "x" for begin in beginnings(netlist)) or results == "carry in"
    assert sites(netlist) <= sites(before) + len(beginnings(before))
    spread_pins(netlist)
    (tmp_path / "top.json").write_text(json.dumps(netlist))
    yosys(["read_json top.json", "write_verilog -noattr netlist.v"], tmp_path)
    _, mapped = (tmp_path / "netlist.v").read_text().split("\n", 1)
    assert not differ(component, mapped, Family.ECP5, tmp_path)


def carries(netlist):
    return [cell["connections"] for cell in netlist["modules"]["top"]["cells"].values()
            if cell["type"] == "CCU2C"]


def beginnings(netlist):
    """The carries into chains."""
    made = {nets["COUT"][0] for nets in carries(netlist)} - {"x"}
    return [nets["CIN"][0] for nets in carries(netlist) if nets["CIN"][0] not in made]


def sites(netlist):
    found = count(netlist, "top")
    return found.get("LUT4", 0) + 2 * found.get("CCU2C", 0)


def cell(cin, cout, s1):
    pins = {f"{pin}{half}": [f"{pin}{half}"] for pin in "ABS" for half in (0, 1)}
    pins |= {f"{pin}{half}": ["1"] for pin in "CD" for half in (0, 1)}
    return {"type": "CCU2C", "connections": pins | {"CIN": [cin], "COUT": [cout], "S1": [s1]},
            "parameters": {"INIT0": "1001011010101010", "INIT1": "1001011010101010",
                           "INJECT1_0": "NO", "INJECT1_1": "NO"},
            "port_directions": {pin: "output" if pin in ("S0", "S1", "COUT") else "input"
                                for pin in (*pins, "CIN", "COUT")}}


def fitted(*cells):
    named = {f"cell_{k}": cell for k, cell in enumerate(cells)}
    module = {"attributes": {}, "cells": named, "ports": {"o": {"bits": [5, "S0", "S1"]}}}
    fit_carries({"modules": {"top": module}})
    return named


def test_a_carry_that_nothing_reads_ends_where_it_is():
    lut = {"type": "LUT4", "connections": {"A": [4]}, "port_directions": {"A": "input"}}
    chains = [cell(cin, cout, "S1") for cin, cout in (("0", 2), (2, 3), ("0", 4), ("0", 5))]
    cells = fitted(*chains, lut)
    assert [cells[f"cell_{k}"]["connections"]["COUT"] for k in range(4)] == [[2], ["x"], [4], [5]]


def test_a_chain_of_an_odd_number_of_bits_moves_by_one():
    cells = fitted(cell("1", 2, "S1"), cell(2, 3, 7))
    assert [*cells] == ["cell_0", "cell_1"]
    first, second = (cells[f"cell_{k}"]["connections"] for k in (0, 1))
    assert (first["CIN"], first["S0"], first["S1"]) == (["x"], ["x"], ["S0"])
    assert (second["S0"], second["S1"]) == (["S1"], ["S0"])
    assert cells["cell_0"]["parameters"]["INIT0"] == "0000000000001111"


def test_in_others_a_lut_makes_the_first_sum():
    cells = fitted(cell("0", 2, "S1"), cell(2, 3, "S1"))
    assert cells["cell_0$sum"]["connections"]["Z"] == ["S0"]
    assert cells["cell_0"]["connections"]["S0"] == ["x"]


def spread(*cells):
    spread_pins({"modules": {"top": {"attributes": {}, "cells": dict(enumerate(cells))}}})
    return [{pin: cell["connections"][f"{pin}{half}"] for pin in "ABCD"}
            for cell in cells for half in (0, 1)]


def test_operands_enter_by_all_pins():
    taken = [{pin: net[0][0] for pin, net in pins.items() if net != ["1"]}
             for pins in spread(*(cell("x", "x", "S1") for _ in range(4)))]
    assert taken == [{"A": "A", "C": "B"}, {"A": "A", "D": "B"},
                     {"B": "A", "C": "B"}, {"B": "A", "D": "B"}] * 2


def test_operands_that_make_a_carry_together_stay():
    both = cell("x", "x", "S1")
    both["parameters"]["INIT1"] = "0000000000001000"
    first, second = spread(both)
    assert first == {"A": ["A0"], "B": ["1"], "C": ["B0"], "D": ["1"]}
    assert second == {"A": ["A1"], "B": ["B1"], "C": ["1"], "D": ["1"]}
