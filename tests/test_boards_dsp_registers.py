# amaranth: UnusedElaboratable=no
import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from netlists import differ

from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.rtlil import to_rtlil


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
    component = Multiplier(kind)
    mapped = netlist(to_rtlil(component), Family.ECP5)
    held = mapped.count('.REG_INPUTA_CLK("CLK0")')
    assert held == moved
    left = mapped.count("TRELLIS_FF #")
    assert left == {"plain": 0, "read": 9, "enable": 27, "reset": 54, "one": 54}[kind]
    assert not differ(component, mapped, Family.ECP5, tmp_path)
