# amaranth: UnusedElaboratable=no
import pytest
from amaranth import Cat, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from netlists import differ

from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.rtlil import to_rtlil


class Multipliers(wiring.Component):
    """Products of the fields of `a` and `b`, whose shapes `fields` are, between registers."""

    def __init__(self, fields, registers=3):
        self.fields, self.registers = fields, registers
        super().__init__({"a": In(sum(a.width for a, _ in fields)),
                          "b": In(sum(b.width for _, b in fields)),
                          "o": Out(sum(a.width + b.width for a, b in fields))})

    def elaborate(self, _platform):
        m = Module()
        a_bit, b_bit, products = 0, 0, []
        for k, (a, b) in enumerate(self.fields):
            factors = [self.a[a_bit:a_bit + a.width], self.b[b_bit:b_bit + b.width]]
            a_bit, b_bit = a_bit + a.width, b_bit + b.width
            x, y = (v.as_signed() if s.signed else v for v, s in zip(factors, (a, b), strict=True))
            if self.registers & 1:
                x, y = self._held(m, x, f"x_{k}"), self._held(m, y, f"y_{k}")
            product = (x * y)[:a.width + b.width]
            products.append(self._held(m, product, f"o_{k}") if self.registers & 2 else product)
        m.d.comb += self.o.eq(Cat(products))
        return m

    def _held(self, m, value, name):
        held = Signal.like(value, name=name, reset_less=True)
        m.d.sync += held.eq(value)
        return held


S8, U8, S6, S9 = signed(8), unsigned(8), signed(6), signed(9)


@pytest.mark.parametrize(("fields", "multipliers"), [
    ([(S8, S8)] * 2, 1), ([(U8, S8)] * 2, 1), ([(U8, U8)] * 2, 1), ([(S8, S6), (S6, S8)], 1),
    ([(S8, S8)] * 3, 2), ([(S8, S8)], 1),
    ([(S8, S8), (U8, U8)], 2), ([(S9, S8)] * 2, 2), ([(S8, S8), (S9, S6), (S8, S8)], 2)],
    ids=str)
def test_two_products_of_8_bits_are_one_multiplier(fields, multipliers, tmp_path):
    component = Multipliers(fields)
    mapped = netlist(to_rtlil(component), Family.ICE40)
    assert mapped.count("SB_MAC16 #(") == multipliers
    assert not differ(component, mapped, Family.ICE40, tmp_path)


@pytest.mark.parametrize("registers", range(4))
def test_their_registers_stay_what_they_are(registers, tmp_path):
    component = Multipliers([(S8, S8)] * 2, registers)
    mapped = netlist(to_rtlil(component), Family.ICE40)
    assert mapped.count("SB_MAC16 #(") == 1
    assert not differ(component, mapped, Family.ICE40, tmp_path)
