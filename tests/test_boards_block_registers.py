# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from netlists import differ

from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.rtlil import to_rtlil


class Table(wiring.Component):
    """A table in blocks of memory, and registers behind it of a kind."""

    def __init__(self, kind, width, depth):
        self.kind, self.width, self.depth = kind, width, depth
        super().__init__({"a": In(range(depth)), "b": In(2), "o": Out(width)})

    def elaborate(self, _platform):
        m = Module()
        rng = np.random.default_rng(0)
        words = [int.from_bytes(rng.bytes(16), "big") % (1 << self.width)
                 for _ in range(self.depth)]
        m.submodules.table = table = memory.Memory(
            shape=self.width, depth=self.depth, init=words, attrs={"rom_style": "block"})
        port = table.read_port()
        m.d.comb += [port.addr.eq(self.a), port.en.eq(self.b[0])]
        near = Signal(self.width, reset_less=self.kind != "reset",
                      init=-(self.kind == "one") % (1 << self.width))
        last = Signal(self.width, reset_less=True)
        with m.If(self.b[0] if self.kind == "same enable" else
                  self.b[1] if self.kind == "enable" else 1):
            m.d.sync += near.eq(port.data)
        m.d.sync += last.eq(near)
        m.d.comb += self.o.eq(~near if self.kind == "read" else last)
        return m


@pytest.mark.parametrize(("kind", "moved"), [
    ("plain", True), ("enable", True), ("same enable", True), ("reset", False), ("one", False),
    ("read", False)])
@pytest.mark.parametrize(("width", "depth"), [
    (18, 512), (36, 512), (25, 256), (9, 2048), (50, 256)])
def test_registers_become_part_of_the_block_where_that_is_the_same(kind, moved, width, depth,
                                                                   tmp_path):
    component = Table(kind, width, depth)
    mapped = netlist(to_rtlil(component), Family.ECP5)
    assert "DP16KD #" in mapped
    assert ('("OUTREG")' in mapped) == moved
    assert mapped.count("TRELLIS_FF #") == width * (1 if moved or kind == "read" else 2)
    assert not differ(component, mapped, Family.ECP5, tmp_path)
