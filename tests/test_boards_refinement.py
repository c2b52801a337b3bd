# amaranth: UnusedElaboratable=no
"""Placements of the ECP5, refined: the same netlist elsewhere, earlier, and as a device has it."""

import copy
import json
from collections import defaultdict
from random import Random

import pytest
from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bittern.boards import board, routing
from bittern.boards.measure import _synthesize
from bittern.boards.placement import BEL, Placement
from bittern.boards.refinement import refine

CLOCK = 200.0
"""MHz, more than can be had."""


def cell(kind, place, **nets):
    """Return a cell as nextpnr writes it; pins in lower case are outputs."""
    return {"type": kind, "parameters": {}, "attributes": {"NEXTPNR_BEL": place} if place else {},
            "connections": {pin.upper(): [net] for pin, net in nets.items()},
            "port_directions": {pin.upper(): "output" if pin.islower() else "input"
                                for pin in nets}}


def netlist(**cells):
    return {"modules": {"top": {"cells": cells}}}


def far():
    """Return a flip-flop, a LUT 60 columns away, and a flip-flop behind the first one."""
    return netlist(
        first=cell("TRELLIS_FF", "X4/Y5/SLICEA.FF0", q=1, M=3, CLK=9),
        lut=cell("TRELLIS_COMB", "X64/Y5/SLICEA.K0", A=1, f=2),
        second=cell("TRELLIS_FF", "X64/Y5/SLICEA.FF0", q=3, DI=2, CLK=9),
        third=cell("TRELLIS_FF", "X4/Y5/SLICEB.FF1", q=4, M=3, CLK=9))


def test_the_timing_of_one_path():
    # out of the first flip-flop, a wire of 60 tiles, the LUT, and into the flip-flop behind it
    placement = Placement(far(), 20.0)
    period = 0.525 + (0.48 + 5 * 0.16 + 55 * 0.08) + 0.236 + 0.13
    assert 20 - placement.slack.min() == pytest.approx(period)


def test_a_late_lut_comes_nearer():
    design = far()
    mhz = refine(design, 500.0)
    assert mhz > 400
    places = [BEL.fullmatch(cell["attributes"]["NEXTPNR_BEL"]).groups()
              for cell in design["modules"]["top"]["cells"].values()]
    assert len({place[0] for place in places}) == 1
    lut, second = places[1:3]
    assert lut[:3] == second[:3]
    assert lut[4] == second[4]


def test_what_is_wired_to_a_block_stays():
    design = far()
    design["modules"]["top"]["cells"]["block"] = cell("DP16KD", "X30/Y10/EBR0", ADA0=2)
    refine(design, 500.0)
    assert design["modules"]["top"]["cells"]["lut"] == far()["modules"]["top"]["cells"]["lut"]


def test_a_clock_that_is_met_changes_nothing():
    design = far()
    before = json.dumps(design)
    assert refine(design, 20.0) > 20
    assert json.dumps(design) == before


class Sums(wiring.Component):
    """Sums of three words, and of three of these sums, with registers behind each."""

    def __init__(self, words, width):
        super().__init__({"a": In(data.ArrayLayout(signed(width), words)), "o": Out(64)})

    def elaborate(self, _platform):
        m = Module()
        random = Random(3)
        values = [self.a[k] for k in range(len(self.a))]
        for level in range(2):
            sums = [Signal(12, name=f"sum_{level}_{k}", reset_less=True) for k in range(24)]
            m.d.sync += [q.eq(sum(random.sample(values, 3))) for q in sums]
            values = sums
        m.d.comb += self.o.eq(Cat(values))
        return m


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """Return a netlist as nextpnr placed it, and refined, what was expected of it, and its routing.
    """
    folder = tmp_path_factory.mktemp("placed")
    target = board("ulx3s_25f")
    _synthesize([Sums(10, 9)], target.family, folder, dsp=False)
    found = {}

    def watched(design, clock_mhz, progress):
        before = copy.deepcopy(design)
        expected = refine(design, clock_mhz, progress)
        found.update(before=before, after=copy.deepcopy(design), expected=expected)
        return expected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing, "refine", watched)
        found["routed"] = routing.route(target, folder, clock_mhz=CLOCK, seed=1, pins=False,
                                        ways=[("heap", "router1")], refined=True)
    return found


def test_only_places_differ(placed):
    def without(design):
        cells = copy.deepcopy(design["modules"]["top"]["cells"])
        for cell in cells.values():
            cell["attributes"].pop("NEXTPNR_BEL", None)
        return cells
    assert without(placed["before"]) == without(placed["after"])
    assert places(placed["before"]) != places(placed["after"])


def test_a_refined_placement_is_legal(placed):
    design, at = placed["after"], places(placed["after"])
    assert len(set(at.values())) == len(at)
    sites = {name: BEL.fullmatch(place) for name, place in at.items()}
    drivers, control = {}, defaultdict(set)
    cells = design["modules"]["top"]["cells"]
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if bits and cell["port_directions"][pin] == "output":
                drivers[bits[0]] = name

    def place_of(name):
        x, y, letter, _, half = sites[name].groups()
        return int(y), 8 * int(x) + 2 * "ABCD".index(letter) + int(half)

    linked = 0
    for name, cell in cells.items():
        for pin, step in (("FCI", 1), ("DI", 0)):
            for bit in cell["connections"].get(pin, []):
                row, at_site = place_of(drivers[bit])
                assert place_of(name) == (row, at_site + step)
                linked += 1
        if cell["type"] == "TRELLIS_FF":
            control[sites[name].groups()[:3]].add(tuple(
                tuple(cell["connections"].get(pin, [])) for pin in ("CLK", "LSR", "CE")))
    assert linked > 200
    assert all(len(found) == 1 for found in control.values())


def test_a_refined_placement_is_faster(placed):
    def mhz(design):
        return 1000 / (1 - Placement(design, 1.0).slack.min())
    assert mhz(placed["after"]) == pytest.approx(placed["expected"])
    assert placed["expected"] > 1.05 * mhz(placed["before"])
    assert "refined" in placed["routed"].routing
    assert placed["routed"].fmax_mhz == pytest.approx(placed["expected"], rel=0.2)


def places(design):
    return {name: cell["attributes"]["NEXTPNR_BEL"]
            for name, cell in design["modules"]["top"]["cells"].items()
            if BEL.fullmatch(cell["attributes"].get("NEXTPNR_BEL", ""))}
