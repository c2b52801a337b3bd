# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.port import Port
from bittern.gen.rtlil import to_rtlil
from bittern.hw.stream import SPRAM, Queue, lanes
from bittern.sim import netlist as netlist_sim
from bittern.sim.vectors import Vectors


class Stage(wiring.Component):
    """Lanes in an array, registered: names of its lanes collide with those Yosys makes."""

    def __init__(self):
        super().__init__({"i": In(lanes(unsigned(8), 4)), "o": Out(lanes(unsigned(8), 4))})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.queue = queue = Queue(self.i.payload.shape())
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("family", Family)
def test_lanes_do_not_break_synthesis(family):
    assert "endmodule" in netlist(to_rtlil(Stage()), family)


@pytest.mark.slow
@pytest.mark.parametrize("family", Family)
def test_the_netlist_of_lanes_is_exact(family, tmp_path):
    port = Port(4, 4, 8, signed=False)
    x = np.random.default_rng(0).integers(0, 256, (50, 4))
    found = netlist_sim.run(netlist(to_rtlil(Stage()), family), family.name.lower(),
                            Vectors(port, port, x, x), tmp_path, seed=0)
    assert found.exact, found.mismatch


class Memories(wiring.Component):
    """A memory in SPRAM and one with contents."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(8)})

    def elaborate(self, _platform):
        m = Module()
        for name, attrs in (("large", SPRAM), ("small", {})):
            m.submodules[name] = store = Memory(shape=unsigned(4), depth=16, init=range(16),
                                                attrs=attrs)
            write, read = store.write_port(), store.read_port()
            m.d.comb += [write.addr.eq(self.i), write.data.eq(self.o), write.en.eq(self.i == 3),
                         read.addr.eq(self.i), self.o[4 * (name == "large"):][:4].eq(read.data)]
        return m


def test_what_is_in_spram_has_no_contents():
    source = to_rtlil(Memories())
    assert source.count("memory width 4 size 16") == 2
    assert source.count("cell $meminit_v2") == 1
