# amaranth: UnusedElaboratable=no
"""Networks whose weights are in SPRAM, which is empty until they come from the flash."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect
from flash_model import Stored
from graphs import in_line

from bittern.boards import board
from bittern.boards.host import Device, pack, unpack
from bittern.boards.synthesis import netlist
from bittern.boards.toolchain import _with_image, build
from bittern.gen.design import Design
from bittern.gen.ir import Tensor
from bittern.gen.layers import Dense, Depthwise, Requantize
from bittern.gen.rtlil import to_rtlil
from bittern.gen.search import fold_to, make_plan
from bittern.gen.verilog import to_verilog
from bittern.hw.patches import Axis, Patches
from bittern.hw.serial import Serial
from bittern.hw.thresholds import Thresholds
from bittern.sim import compiled, verilator
from bittern.sim import netlist as gates
from bittern.sim.pty import simulated
from bittern.sim.vectors import Vectors

BOARD = board("icebreaker")
IDENTITY = b"in spram"


def network():
    """Return a depthwise convolution and two dense layers, of 8 bits."""
    rng = np.random.default_rng(0)
    patches = Patches(Axis(3, 3, before=1, after=1), Axis(4, 3, before=1, after=1), 1)
    layers = [Depthwise(patches, rng.integers(-99, 99, (24, 9)), rng.integers(-9, 9, 24)),
              Requantize(Thresholds(np.sort(rng.integers(-999, 999, (1, 15))), -8)),
              Dense(rng.integers(-128, 128, (40, 24)), rng.integers(-99, 99, 40),
                    only="multiplier"),
              Requantize(Thresholds(np.sort(rng.integers(-999, 999, (1, 15))), -8)),
              Dense(rng.integers(-9, 9, (5, 40)), rng.integers(-99, 99, 5))]
    return in_line(Tensor((3, 4, 24), -8, 7), layers)


GRAPH = network()
X = np.random.default_rng(1).integers(-8, 8, (3, *GRAPH.input.shape))
Y = GRAPH.golden(X)


def plan_of(lacks):
    """Return a plan for a device that lacks so many blocks of memory."""
    least = fold_to(GRAPH, 10**6, BOARD.target()).cost.bram
    return fold_to(GRAPH, 10**6, replace(BOARD.target(), bram=least - lacks))


PLAN = plan_of(3)


def vectors():
    return Vectors(PLAN.input, PLAN.output, X, Y, load=PLAN.load)


def test_spram_takes_the_place_of_the_largest_memories_if_need_be():
    assert not plan_of(0).load
    one, two = plan_of(1), PLAN
    assert (one.cost.spram, two.cost.spram) == (1, 2)
    assert one.fits
    assert two.fits
    assert one.images.keys() < two.images.keys()
    assert len(two.images["n2"]) == 40 * 24


def test_spram_that_is_left_makes_words_wider():
    slow = PLAN
    target = replace(slow.target, lut4=10**5)
    fast = fold_to(GRAPH, slow.steps // 3, target)
    faster = fold_to(GRAPH, 1, target)
    assert slow.cost.spram < fast.cost.spram <= faster.cost.spram == 4
    assert slow.steps > fast.steps > faster.steps
    assert fold_to(GRAPH, 1, replace(target, spram=2)).cost.spram == 2


def test_a_rate_that_spram_does_not_give_is_told():
    fastest = make_plan(GRAPH, PLAN.target, float("inf"))
    assert fastest.cost.spram
    most = PLAN.target.clock_mhz * 1e6 / fastest.steps
    with pytest.raises(ValueError, match=f"at most {most:,.0f} frames a second .* SPRAM gives"):
        make_plan(GRAPH, PLAN.target, 1e6)


@pytest.mark.parametrize("engine", [compiled, verilator])
def test_weights_come_through_a_stream(engine, tmp_path):
    found = engine.run(to_verilog(Design(PLAN)), vectors(), tmp_path, seed=1)
    assert found.exact, found.mismatch
    assert found.latency_cycles == PLAN.timing.latency
    assert found.cycles_per_inference == PLAN.timing.interval


def test_weights_that_do_not_come_are_waited_for(tmp_path):
    program = compiled.build(to_verilog(Design(PLAN)), tmp_path)
    given = replace(vectors(), load=PLAN.load[:-1], limit=500)
    with pytest.raises(AssertionError, match="0 of 864 input"):
        compiled.simulate(program, given, tmp_path, seed=1)
    given = replace(given, load=PLAN.load + b"x")
    with pytest.raises(AssertionError, match=f"{len(PLAN.load)} of {len(PLAN.load) + 1} bytes"):
        compiled.simulate(program, given, tmp_path, seed=1)


def test_the_netlist_is_exact(tmp_path):
    mapped = netlist(to_rtlil(Design(PLAN)), BOARD.family)
    assert mapped.count("SB_SPRAM256KA") == 2
    assert "SB_MAC16" in mapped
    found = gates.run(mapped, "ice40", vectors(), tmp_path, seed=1)
    assert found.exact, found.mismatch
    assert found.latency_cycles == PLAN.timing.latency


def serial(divisor=8):
    return Serial(Design(PLAN), i_transfers=PLAN.input.transfers,
                  o_transfers=PLAN.output.transfers, identity=IDENTITY, divisor=divisor)


class OnBoard(wiring.Component):
    """The design with a flash that holds its weights."""

    def __init__(self):
        self.serial = serial()
        self.link = self.serial.link
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.serial = self.serial
        m.submodules.stored = stored = Stored(PLAN.load, 1000, 1000, len(PLAN.load))
        connect(m, stored.o, self.serial.load)
        m.d.comb += [self.serial.rx.eq(self.rx), self.tx.eq(self.serial.tx)]
        return m


def test_a_host_need_not_know():
    with (simulated(OnBoard()) as name,
          Device(name, 115200, design=IDENTITY, timeout=30) as device):
        y = unpack(PLAN.output, device.infer(pack(PLAN.input, X[:1])))
    assert np.array_equal(y.reshape(Y[:1].shape), Y[:1])


def test_the_bitstream_has_the_weights_behind_it(tmp_path):
    report = build(lambda _: serial(12), BOARD, tmp_path, image=PLAN.load)
    assert report.spram == 2
    content = (tmp_path / report.bitstream).read_bytes()
    assert content[BOARD.flash.image_at:] == PLAN.load
    assert content[:4] == bytes.fromhex("ff0000ff")


def test_a_bitstream_that_is_too_long_for_its_place_is_told():
    with pytest.raises(ValueError, match="takes 131,073 bytes of flash; the first 131,072 are for "
                                         "it on the 1BitSquared iCEBreaker"):
        _with_image(bytes(0x20001), b"image", BOARD)
    assert _with_image(bytes(0x20001), b"", BOARD) == bytes(0x20001)
