# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from bittern.hw.adder_tree import add_tree
from bittern.hw.term import Term

BITS = [[(0, 1)] * n for n in (1, 2, 3, 4, 5, 7, 8, 13, 31, 32, 64, 65, 100)]
WORDS = [[(0, 3)] * n for n in (1, 2, 3, 5, 8)]
MIXED = [[(0, 3), (2, 15), (4, 7)], [(0, 31)] * 6 + [(2, 31)] * 6 + [(4, 15)] * 6, [(1, 1)] * 9,
         [(0, 1), (3, 1)], [(0, 7), (0, 1), (0, 1), (0, 255)], [(0, 1)] * 6 + [(2, 1)] * 6]


@pytest.mark.parametrize("spec", BITS + WORDS + MIXED, ids=lambda s: f"{len(s)}x{s[0]}")
def test_the_sum_is_exact(spec):
    m = Module()
    inputs = [Signal(high.bit_length(), name=f"x{k}") for k, (_, high) in enumerate(spec)]
    tree = add_tree([Term(shift, x, high) for (shift, high), x in zip(spec, inputs, strict=True)],
                    name="sum")
    m.d.sync += [q.eq(value) for q, value in tree.registers]
    m.d.sync += Signal(name="clocked").eq(1)
    out = Signal(48)
    m.d.comb += out.eq(tree.value + tree.carry)
    rng = random.Random(len(spec))

    async def bench(ctx):
        for _ in range(40):
            values = [rng.choice([0, high, rng.randint(0, high)]) for _, high in spec]
            for x, v in zip(inputs, values, strict=True):
                ctx.set(x, v)
            await ctx.tick().repeat(tree.latency + 1)
            assert ctx.get(out) == sum(v << shift for v, (shift, _) in
                                       zip(values, spec, strict=True))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("n", "most"), [(64, 1.45), (256, 1.52), (1024, 1.53)])
def test_a_population_count_takes_about_three_luts_for_two_bits(n, most):
    bits = [Term(0, Signal(1), 1) for _ in range(n)]
    assert add_tree(bits, name="count").lut4 / n <= most
