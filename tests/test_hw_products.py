# amaranth: UnusedElaboratable=no
import itertools

import numpy as np
import pytest
from amaranth import Module, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from bittern.boards.board import Family
from bittern.boards.synthesis import synthesize
from bittern.boards.usage import synthesized
from bittern.gen.rtlil import to_rtlil
from bittern.hw.accumulator import Accumulator
from bittern.hw.best_product import best_product
from bittern.hw.multiply_accumulate import MultiplyAccumulate, PackedMultiplyAccumulate
from bittern.hw.operators.booth import BoothProduct
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.dsp_product import DspProduct
from bittern.hw.operators.operator import Function
from bittern.hw.operators.packed_product import PackedProduct, Packing
from bittern.hw.operators.product import Product, bounds_of
from bittern.hw.operators.table_product import TableProduct
from bittern.hw.operators.truncated_product import TruncatedProduct
from bittern.sim.logic import Logic

KINDS = [(unsigned, unsigned), (signed, signed), (signed, unsigned), (unsigned, signed)]


class Products(wiring.Component):
    """Products of the low bits of two words, side by side: one call of Yosys for all."""

    def __init__(self, products):
        self.products = products
        super().__init__({"a": In(16), "b": In(16), **{
            f"o{k}": Out(p.outputs[0]) for k, p in enumerate(products)}})

    def elaborate(self, _platform):
        m = Module()
        for k, product in enumerate(self.products):
            inner = m.submodules[f"product_{k}"] = Function(product)
            m.d.comb += [inner.i0.eq(self.a[:product.a.width]),
                         inner.i1.eq(self.b[:product.b.width]),
                         getattr(self, f"o{k}").eq(inner.o0)]
        return m


def low(values, shape):
    values = values & (1 << shape.width) - 1
    return values - (values >> shape.width - 1 << shape.width) if shape.signed else values


@pytest.mark.parametrize("kind", [Product, BoothProduct])
def test_products_of_all_widths(kind):
    """A diagonal of widths, all signs; corners and random operands."""
    widths = [(n, m) for n in range(1, 17) for m in {1 + n * 7 % 16, 1 + n * 3 % 16}]
    products = [kind(x(n), y(m)) for (n, m), (x, y) in zip(widths, itertools.cycle(KINDS))]
    rng = np.random.default_rng(1)
    ends = np.array([0, 1, 0x5555, 0xAAAA, 0xFFFF, *(1 << k for k in range(16)),
                     *((1 << k) - 1 for k in range(16))])
    a, b = (np.concatenate([axis.ravel(), rng.integers(0, 1 << 16, 2000)])
            for axis in np.meshgrid(ends, ends))
    logic = Logic.of_rtlil(to_rtlil(Products(products)))
    found = logic({"a": a, "b": b},
                  signed={f"o{k}": p.outputs[0].signed for k, p in enumerate(products)})
    for k, p in enumerate(products):
        expected = low(a, p.a) * low(b, p.b)
        assert np.array_equal(found[f"o{k}"], expected), p


@pytest.mark.parametrize("make", [
    lambda: Product(unsigned(17), unsigned(2)), lambda: BoothProduct(signed(3), unsigned(0)),
    lambda: DspProduct(signed(3), unsigned(20)), lambda: ConstantProduct(signed(17), 3),
    lambda: TruncatedProduct(signed(17), signed(3), 1)])
def test_factors_have_1_to_16_bits(make):
    with pytest.raises(ValueError, match=r"[abx] must have 1 to 16 bits, not \d+"):
        make()


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="a and b must have up to 6 bits together, not 7"):
        TableProduct(unsigned(4), signed(3))
    with pytest.raises(ValueError, match=r"c must be in -65535\.\.65535, not 65536"):
        ConstantProduct(unsigned(4), 65536)
    for drop in (0, 3):
        with pytest.raises(ValueError, match=rf"drop must be in 1\.\.2, not {drop}"):
            TruncatedProduct(unsigned(3), unsigned(5), drop)
    with pytest.raises(ValueError, match="count must be at least 2, not 1"):
        PackedProduct(1, signed(4), signed(4))
    with pytest.raises(ValueError, match=r"count must be such that .* not 4"):
        PackedProduct(4, signed(8), signed(8))
    with pytest.raises(ValueError, match="x must have up to 16 bits with its sign, not 17"):
        PackedProduct(2, signed(2), unsigned(16), port=16)
    with pytest.raises(ValueError, match=r"port must be in 4\.\.18, not 19"):
        PackedProduct(2, signed(2), unsigned(2), port=19)
    with pytest.raises(ValueError, match="terms must be at least 1, not 0"):
        Accumulator((0, 1), terms=0)
    with pytest.raises(ValueError, match="chunk must be at least 1, not 0"):
        Accumulator((0, 1), terms=1, chunk=0)


def lut4(operator, family):
    cells = synthesize(to_rtlil(Function(operator)), family, dsp=False)
    return synthesized(family, cells).lut4


@pytest.mark.parametrize(("shape", "family", "most"), [
    (unsigned(8), Family.ECP5, 76), (signed(8), Family.ECP5, 76),
    (unsigned(8), Family.ICE40, 100), (signed(8), Family.ICE40, 92)])
def test_the_best_product_is_small(shape, family, most):
    assert lut4(best_product(shape, shape, family), family) <= most


def test_the_best_product_of_two_bits_is_a_table():
    for family in Family:
        assert isinstance(best_product(signed(2), unsigned(2), family), TableProduct)


@pytest.mark.parametrize(("shape", "drop"), [(unsigned(8), 7), (signed(8), 5), (unsigned(6), 3)])
@pytest.mark.parametrize("variable", [False, True])
def test_the_error_of_a_truncated_product_is_what_is_stated(shape, drop, variable):
    product = TruncatedProduct(shape, shape, drop, variable)
    values = np.arange(bounds_of(shape)[0], bounds_of(shape)[1] + 1)
    a, b = (axis.ravel() for axis in np.meshgrid(values, values))
    error = (product(a, b)[0] << drop) - a * b
    assert abs(error).max() == product.max_error


def test_a_variable_correction_is_the_better_one():
    errors = [TruncatedProduct(unsigned(16), unsigned(16), 15, v).max_error for v in (False, True)]
    assert errors[1] < errors[0] < 11 << 15


def test_int8_weights_without_their_lowest_share_a_word_of_18_bits():
    packing = Packing(2, (-127, 127), (-256, 255))
    assert (packing.spacing, packing.overlap, packing.word) == (10, 6, signed(18))
    assert packing.pack(-127, 127) == 127 * 1024 - 127
    with pytest.raises(ValueError, match=r"weight 1 must be in -127\.\.127, not -128"):
        packing.pack(0, -128)


@pytest.mark.parametrize(("count", "weight", "x"), [(2, 5, 8), (3, 4, 3), (4, 2, 3), (2, 4, 8)])
def test_packed_products_of_narrow_weights(count, weight, x):
    product = PackedProduct(count, signed(weight), unsigned(x))
    assert product.packing.overlap <= 1
    rng = np.random.default_rng(2)
    operands = [*(rng.integers(*bounds_of(s), 4000, endpoint=True) for s in product.inputs)]
    logic = Logic.of_rtlil(to_rtlil(Function(product)))
    found = logic({f"i{k}": v for k, v in enumerate(operands)},
                  signed={f"o{k}": True for k in range(count)})
    for k, expected in enumerate(product(*operands)):
        assert np.array_equal(found[f"o{k}"], expected)


def run(dut, inputs, outputs):
    """Return the outputs in the cycles that belong to those of `inputs`."""
    simulator, found = Simulator(dut), []
    simulator.add_clock(1e-6)
    cycles = len(inputs["clear"])

    async def bench(ctx):
        for k in range(cycles + dut.latency):
            for name, values in inputs.items():
                ctx.set(getattr(dut, name), int(values[min(k, cycles - 1)]))
            if k >= dut.latency:
                found.append([ctx.get(getattr(dut, name)) for name in outputs])
            await ctx.tick()

    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found).T


def sums(terms, clear):
    total, found = 0, []
    for term, starts in zip(terms, clear, strict=True):
        total = term if starts else total + term
        found.append(total)
    return found


def clears(rng, cycles, terms):
    """Return when sums start: at random, and the first that must."""
    clear, since = [], terms
    for starts in rng.random(cycles) < 0.05:
        since = 1 if starts or since == terms else since + 1
        clear.append(int(since == 1))
    return clear


@pytest.mark.parametrize("chunk", [None, 1, 5, 8, 24])
def test_multiply_accumulate(chunk):
    rng = np.random.default_rng(3)
    dut = MultiplyAccumulate(signed(8), signed(9), terms=40, chunk=chunk)
    assert dut.o.shape() == signed(22)
    assert dut.latency == 3 + -(-22 // (chunk or 22))
    a, b, clear = rng.integers(-128, 128, 200), rng.integers(-256, 256, 200), clears(rng, 200, 40)
    a[100:150], b[100:150] = -128, -256 # the highest sum
    found, = run(dut, {"a": a, "b": b, "clear": clear}, ["o"])
    assert found.tolist() == sums(a * b, clear)


@pytest.mark.parametrize(("weight", "x", "latency"), [
    ((-127, 127), (-256, 255), 6), ((-128, 127), (0, 255), 6), ((0, 255), (0, 255), 6),
    ((-8, 7), (-128, 127), 5), ((0, 15), (0, 15), 5)])
def test_two_multiply_accumulates_in_one_multiplier(weight, x, latency):
    rng = np.random.default_rng(4)
    dut = PackedMultiplyAccumulate(weight, x, terms=30)
    assert dut.latency == latency
    w = rng.integers(weight[0], weight[1] + 1, (2, 200))
    a, clear = rng.integers(x[0], x[1] + 1, 200), clears(rng, 200, 30)
    w[:, 60:110], a[60:110] = weight[0], x[0]
    w[:, 110:160], a[110:160] = np.array([weight]).T, x[1]
    words = [dut.packing.pack(*pair) for pair in w.T.tolist()]
    found = run(dut, {"word": words, "x": a, "clear": clear}, ["o0", "o1"])
    for k in range(2):
        assert found[k].tolist() == sums(w[k] * a, clear)


def test_multiply_accumulates_are_small():
    cells = synthesize(to_rtlil(MultiplyAccumulate(signed(8), signed(9), terms=255)), Family.ECP5)
    assert synthesized(Family.ECP5, cells).lut4 <= 110
    pair = PackedMultiplyAccumulate((-127, 127), (-256, 255), terms=255)
    used = synthesized(Family.ECP5, synthesize(to_rtlil(pair), Family.ECP5))
    assert (used.dsp, used.lut4 <= 110) == (1, True)



@pytest.mark.parametrize(("shape", "levels"), [(signed(8), 3), (signed(5), 3), (unsigned(2), 1)])
def test_products_have_a_register_for_each_level(shape, levels):
    assert Product(signed(8), shape, registers=True).latency == levels
    assert Product(signed(8), shape).latency == 0
