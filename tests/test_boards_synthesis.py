# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bittern.boards.board import Family
from bittern.boards.measure import Harness
from bittern.boards.synthesis import synthesis
from bittern.boards.usage import synthesized
from bittern.gen.rtlil import to_rtlil
from bittern.gen.yosys import yosys
from bittern.hw.operators import Function, HardSigmoid
from bittern.hw.rounding import Rounding
from bittern.sim.logic import Logic


@pytest.mark.parametrize("family", Family)
def test_bits_of_a_kept_wire_stay_apart(family, tmp_path):
    # Yosys joined the highest bits of the wire behind the offset: YosysHQ/yosys#6237
    operator = HardSigmoid(signed(16), multiplier=43, offset=524288, shift=8, one=4095,
                           rounding=Rounding.HALF_UP)
    module = "top.component_0"
    (tmp_path / "top.il").write_text(to_rtlil(Harness([Function(operator)])))
    synthesis(family, tmp_path, "top", keep=[module], dsp=False)
    yosys(["read_json top.json", "delete top", "write_verilog -noattr netlist.v"], tmp_path)
    _, netlist = (tmp_path / "netlist.v").read_text().split("\n", 1)
    x = np.arange(-1 << 15, 1 << 15)
    found = Logic.of_netlist(netlist, family.name.lower(), module)({"i0": x}, signed={"o0": False})
    np.testing.assert_array_equal(found["o0"], *operator(x))


class Memories(wiring.Component):
    """A memory that is written, and one that is not, in blocks."""

    def __init__(self):
        super().__init__({"a": In(6), "d": In(40), "w": In(1), "o": Out(40)})

    def elaborate(self, _platform):
        m = Module()
        kinds = {"ram": [], "rom": [k * 0x123456789 % (1 << 40) for k in range(64)]}
        reads = []
        for kind, init in kinds.items():
            m.submodules[kind] = store = memory.Memory(shape=40, depth=64, init=init,
                                                       attrs={f"{kind}_style": "block"})
            port = store.read_port()
            m.d.comb += port.addr.eq(self.a)
            reads.append(port.data)
            if kind == "ram":
                write = store.write_port()
                m.d.comb += [write.addr.eq(self.a), write.data.eq(self.d), write.en.eq(self.w)]
        m.d.comb += self.o.eq(reads[0] ^ reads[1])
        return m


@pytest.mark.parametrize("family", [Family.ECP5, Family.GOWIN])
@pytest.mark.parametrize(("shallow", "blocks"), [(None, True), ((64, 40), False), ((63, 40), True),
                                                 ((64, 39), True)])
def test_shallow_memories_are_made_of_luts(family, shallow, blocks, tmp_path):
    module = "top.component_0"
    (tmp_path / "top.il").write_text(to_rtlil(Harness([Memories()])))
    cells = synthesis(family, tmp_path, "top", keep=[module],
                      shallow={module: shallow} if shallow else None)
    assert bool(synthesized(family, cells).bram) == blocks


def test_a_bit_with_two_drivers_is_found(tmp_path):
    inverter = "  cell $_NOT_ \\not_{0}\n    connect \\A \\{0}\n    connect \\Y \\y\n  end\n"
    (tmp_path / "top.il").write_text(
        "module \\top\n  wire input 1 \\a\n  wire input 2 \\b\n  wire output 3 \\y\n"
        f"{inverter.format('a')}{inverter.format('b')}end\n")
    with pytest.raises(ValueError, match="netlist that is wrong: multiple conflicting drivers"):
        synthesis(Family.ECP5, tmp_path, "top")
