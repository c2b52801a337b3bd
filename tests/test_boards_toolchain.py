# amaranth: UnusedElaboratable=no
"""A small design is placed, routed and packed for every board of the index."""

import json
import tempfile

import pytest
from amaranth import Cat, Module, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.boards import BOARDS
from bittern.boards.board import Family
from bittern.boards.measure import measure, measure_all
from bittern.boards.patience import Patience
from bittern.boards.pll import clock_below
from bittern.boards.synthesis import netlist, synthesis, synthesize
from bittern.boards.toolchain import _elaborate, build
from bittern.boards.top import Top
from bittern.boards.usage import Usage, check_fits, synthesized


def smallest(board):
    """Return whether a board is the smallest of its family, which loads the fastest."""
    return board is min((b for b in BOARDS if b.family is board.family),
                        key=lambda b: b.resources.lut4)


each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
each_chain = pytest.mark.parametrize("board", [
    pytest.param(board, marks=() if smallest(board) else pytest.mark.slow) for board in BOARDS],
    ids=lambda board: board.name)
"""All boards; in the fast tests, one for each chain of tools."""
each_family = pytest.mark.parametrize("family", Family, ids=lambda family: family.name)


class Accumulate(wiring.Component):
    """Add up what comes in; `steps` sums in a row, so that more of them are slower."""

    def __init__(self, steps=1):
        super().__init__({"i": In(8), "o": Out(8)})
        self.steps = steps

    def elaborate(self, _platform):
        m = Module()
        total = Signal(8)
        after = total
        for k in range(self.steps):
            after, before = Signal(8, name=f"after_{k}"), after
            m.d.comb += after.eq((before ^ (before >> 1)) + self.i)
        m.d.sync += total.eq(after)
        m.d.comb += self.o.eq(total)
        return m


class Echo(wiring.Component):
    """Two layers between the pins of a serial line."""

    def __init__(self, steps=1):
        super().__init__({"rx": In(1), "tx": Out(1, init=1)})
        self.steps = steps

    def elaborate(self, _platform):
        m = Module()
        m.submodules.core = core = Core(self.steps)
        bits = Signal(8)
        m.d.sync += [bits.eq(Cat(self.rx, bits)), self.tx.eq(core.o.xor())]
        m.d.comb += core.i.eq(bits)
        return m


class Core(Accumulate):
    def elaborate(self, _platform):
        m = Module()
        m.submodules.dense_0 = a = Accumulate()
        m.submodules.dense_1 = b = Accumulate(self.steps)
        m.d.comb += [a.i.eq(self.i), b.i.eq(a.o), self.o.eq(b.o)]
        return m


class Products(wiring.Component):
    """As many products of 16 bits as asked for."""

    def __init__(self, count):
        super().__init__({"rx": In(1), "tx": Out(1)})
        self.count = count

    def elaborate(self, _platform):
        m = Module()
        bits = Signal(16 * (self.count + 1))
        m.d.sync += bits.eq(Cat(self.rx, bits))
        words = [bits[16 * k:16 * (k + 1)] for k in range(self.count + 1)]
        products = [Signal(32, name=f"product_{k}") for k in range(self.count)]
        m.d.sync += [p.eq(x * y) for p, x, y in zip(products, words, words[1:], strict=False)]
        m.d.sync += self.tx.eq(Cat(products).xor())
        return m


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


@each_board
def test_a_build_gives_a_bitstream_and_an_honest_report_twice_the_same(tmp_path, board):
    steps = []
    reports = [build(lambda _: Echo(), board, tmp_path / name,
                     layers=dict.fromkeys(["dense_0", "dense_1"]),
                     progress=lambda step, _: steps.append(step)) for name in ("one", "two")]
    report = reports[0]
    assert reports[1] == report
    files = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == files
    assert len(files[report.bitstream]) > 10_000
    for name, content in files.items():
        for path in (str(tmp_path), tempfile.gettempdir(), "site-packages"):
            assert path.encode() not in content, f"{name} has a path of this machine"

    assert report.board == board.name
    assert report.clock_mhz == report.wanted_mhz == board.clock_mhz <= report.fmax_mhz
    assert report.per_module.keys() == {"dense_0", "dense_1"}
    for usage in report.per_module.values():
        assert usage.ff == 8
        assert 8 <= usage.lut4 <= 26
    assert report.lut4 > sum(usage.lut4 for usage in report.per_module.values())
    assert report.dsp == report.bram == 0
    assert {"amaranth", "yosys", "nextpnr", "packer"} <= report.tools.keys()
    assert json.loads(json.dumps(report.json()))["lut4"] == report.lut4
    assert list(dict.fromkeys(steps)) == ["elaborating", "synthesizing", "placing", "routing",
                                          "packing"]


@each_chain
def test_a_clock_that_is_missed_is_lowered_to_one_that_is_met(tmp_path, board):
    clocks = []

    def design(mhz):
        clocks.append(mhz)
        return Echo(steps=4)

    wanted = 270 if board.family is Family.ICE40 else 400
    report = build(design, board, tmp_path, clock_mhz=wanted)
    assert report.wanted_mhz == wanted
    assert report.clock_mhz <= report.fmax_mhz
    assert report.clock_mhz == clocks[-1] < clocks[0]


def test_a_design_slower_than_any_clock_of_its_board_says_how_fast_it_is(tmp_path):
    with pytest.raises(ValueError, match=r"reaches \d\.\d\d MHz only: .* the slowest is 12 MHz"):
        build(lambda _: Echo(steps=150), BOARDS[0], tmp_path)


@each_board
def test_a_design_too_large_says_what_it_needs_and_what_there_is(tmp_path, board):
    if board.family is not Family.ICE40:
        pytest.skip("synthesis of that much takes minutes; the check is the same")
    with pytest.raises(ValueError, match=f"the design needs 12 DSPs; the {board.title} has 8 DSPs"):
        build(lambda _: Products(12), board, tmp_path)


@each_board
def test_what_fits_exactly_fits_and_one_more_of_anything_does_not(board):
    has = board.resources
    full = Usage(has.lut4, has.ff, has.dsp, has.bram)
    check_fits(full, board)
    with pytest.raises(ValueError, match=f"{has.bram + 1:,} blocks of memory; .* has {has.bram:,}"):
        check_fits(Usage(full.lut4, full.ff, full.dsp, full.bram + 1), board)
    with pytest.raises(ValueError, match=f"needs {has.lut4 + 1:,} LUTs; .* has {has.lut4:,} LUTs"):
        check_fits(Usage(full.lut4 + 1, full.ff, full.dsp, full.bram), board)


def test_a_layer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="0 submodules called 'dense_7'"):
        build(lambda _: Echo(), BOARDS[0], tmp_path, layers={"dense_7": None})


def test_the_failure_of_a_tool_tells_its_last_words_and_where_its_log_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match=r"Yosys failed: .*\.log") as error:
        synthesize("no RTLIL", Family.ICE40)
    assert "\n" not in str(error.value)
    assert list(tmp_path.glob("bittern-yosys-*.log"))


@each_chain
def test_a_component_is_measured_without_the_registers_around_it(board):
    measured = measure(Accumulate(), board, clock_mhz=100)
    assert measured.usage.ff == 8
    assert 8 <= measured.usage.lut4 <= 24
    assert 20 < measured.fmax_mhz < 1000
    assert 0 < measured.wires_ns < 1000 / measured.fmax_mhz


@each_chain
def test_components_measured_together_are_about_as_fast_as_alone(board):
    alone = [measure(Accumulate(steps), board, clock_mhz=100) for steps in (1, 4)]
    together = measure_all([Accumulate(1), Accumulate(4)], board, clock_mhz=100)
    for one, same in zip(alone, together, strict=True):
        assert same.usage == one.usage
        assert same.fmax_mhz == pytest.approx(one.fmax_mhz, rel=0.15)
    assert together[1].fmax_mhz < together[0].fmax_mhz


@each_chain
def test_what_is_placed_between_free_rows_takes_what_it_takes(board):
    dense, sparse = (measure(Accumulate(), board, clock_mhz=100, ways=[(placer, "router1")])
                     for placer in ("heap40", "sparse"))
    assert (sparse.usage, sparse.placed) == (dense.usage, dense.placed)
    assert sparse.fmax_mhz == dense.fmax_mhz or board.family is Family.ECP5


def test_a_router_that_goes_on_and_on_is_given_up_by_count():
    router1, router2 = Patience(), Patience()
    assert not router1.ends("Info: Routing 6487 arcs.")
    assert not router1.ends("Info:       8138 |     1295       6464 |   10   117 |         0|")
    assert router1.ends("Info:      60000 |    52000       7500 |  146   817 |       128|")
    assert not router2.ends("Info:     iter=79 wires=20815 overused=0 overuse=0 archfail=0")
    assert router2.ends("Info:     iter=5844 wires=20697 overused=2 overuse=2 archfail=NA")


def test_a_device_too_full_to_place_in_is_given_up():
    assert Patience().ends("ERROR: Unable to find legal placement for all cells, design is "
                           "probably at utilisation limit.\n")


def test_progress_is_read_from_the_log_of_the_router():
    patience, seen = Patience(), []
    for line in ("Info: at initial placer iter 0, wirelen = 59\n",
                 "Info:     iter=1 wires=20815 overused=4000 overuse=4100 archfail=NA",
                 "Info:     iter=2 wires=20815 overused=200 overuse=210 archfail=NA",
                 "Info:     iter=3 wires=20815 overused=0 overuse=0 archfail=0"):
        patience.ends(line)
        seen.append((patience.doing, patience.part))
    doing, parts = zip(*seen, strict=True)
    assert doing == ("placing", "routing", "routing", "routing")
    assert parts == tuple(sorted(parts))
    assert (parts[0], parts[-1]) == (0, 1)


@each_chain
def test_where_no_router_converges_the_error_says_so(tmp_path, board, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Patience, "ends", lambda _, line: line.startswith("Info: Routing"))
    with pytest.raises(ValueError, match="no placement that routes, of 3 seeds: "):
        build(lambda _: Echo(), board, tmp_path)


@each_family
def test_synthesis_counts_cells_and_writes_them_as_verilog(family):
    source = rtlil.convert(Accumulate(), name="top", emit_src=False)
    assert synthesized(family, synthesize(source, family)).ff == 8
    verilog = netlist(source, family)
    assert "module top(" in verilog
    flip_flop = {Family.ICE40: "SB_DFF", Family.ECP5: "TRELLIS_FF", Family.GOWIN: "DFF"}
    assert flip_flop[family] in verilog
    assert "site-packages" not in verilog


def test_the_wires_for_it_reset_every_flip_flop_of_an_ecp5_but_those_that_drive_them(tmp_path):
    board = next(b for b in BOARDS if b.family is Family.ECP5)
    layers = ["dense_0", "dense_1"]
    modules = _elaborate(Top(Echo(), board, clock_below(board.family, 25, 100)), board, tmp_path,
                         layers)
    synthesis(board.family, tmp_path, "top", keep=list(modules.values()))
    found = json.loads((tmp_path / "top.json").read_text())["modules"]
    assert [cell["type"] for cell in found["top"]["cells"].values()].count("SGSR") == 1
    for name in ("top", *modules.values()):
        resets = [cell["parameters"]["GSR"] for cell in found[name]["cells"].values()
                  if cell["type"] == "TRELLIS_FF"]
        assert resets.count("DISABLED") == (2 if name == "top" else 0)
        assert resets.count("ENABLED") > 0
