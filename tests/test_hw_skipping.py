# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth import ClockDomain, Module, signed, unsigned
from amaranth.sim import Simulator

from bittern.hw.operators import BoothProduct, Clip, Operate, Product, TableProduct
from bittern.hw.pipeline import Pipeline
from bittern.hw.skipping.gating import Gated
from bittern.sim.bench import run_stream

GATED = [Product(unsigned(6), signed(5)), Product(unsigned(6), unsigned(6), registers=True),
         BoothProduct(signed(5), signed(4)), TableProduct(unsigned(3), signed(3))]


class Plain(Operate):
    """As Gated, but all registers take all transfers."""

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        operands = [self.i.payload[f"i{k}"] for k in range(len(self.operator.inputs))]
        results = self.operator.gates(pipeline, *pipeline.stage(operands, "operand"))
        pipeline.finish(())
        m.d.comb += [self.o.payload[f"o{k}"].eq(y) for k, y in enumerate(results)]
        return m


def toggles(dut, transfers, folder):
    """Return how often bits of each signal inside of `dut` change, by name."""
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.dut = dut
    sim = Simulator(m)
    sim.add_clock(1e-6)

    async def drive(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        for transfer in transfers:
            ctx.set(dut.i.payload, transfer)
            await ctx.tick()

    sim.add_testbench(drive)
    with sim.write_vcd(str(folder / "trace.vcd")):
        sim.run()
    text = (folder / "trace.vcd").read_text()
    inside = text[text.index("$scope module dut"):text.index("$enddefinitions")]
    names = {key: name for key, name in re.findall(r"\$var \w+ \d+ (\S+) (\S+)", inside)
             if not name.startswith(("\\i_", "\\o_", "i_", "o_", "clk"))}
    state, counts = {}, dict.fromkeys(names.values(), 0)
    for moment in text[text.index("$dumpvars"):].split("\n#"):
        # what a signal settles to, not the order in which the simulator gets there
        changes = re.findall(r"^(?:b([01]+) |([01]))(\S+)$", moment, re.M)
        for key, value in {key: word or bit for word, bit, key in changes}.items():
            if key in names:
                counts[names[key]] += (int(value, 2) ^ state.get(key, 0)).bit_count()
                state[key] = int(value, 2)
    return counts


def sparse(shape, rng, count, density):
    lo, hi = bounds(shape)
    return rng.integers(lo, hi + 1, count) * (rng.random(count) < density)


def bounds(shape):
    if shape.signed:
        return -(1 << shape.width - 1), (1 << shape.width - 1) - 1
    return 0, (1 << shape.width) - 1


@pytest.mark.parametrize("zeros", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("operator", GATED, ids=str)
def test_gated_operators_equal_those_that_are_not(operator, zeros):
    rng = np.random.default_rng(5)
    a, b = (sparse(shape, rng, 100, 0.5) for shape in operator.inputs)
    transfers = [{"i0": x, "i1": y} for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    dut = Gated(operator, zeros=zeros)
    expected = operator(a, b)[0] & ((1 << operator.outputs[0].width) - 1)
    for stall in (0, 0.3):
        result = run_stream(dut, transfers, outputs=100, seed=5, stall=stall)
        assert result.outputs == expected.tolist()
        if not stall:
            assert result.stamps == [k + dut.latency for k in range(100)]


@pytest.mark.parametrize("operator", GATED, ids=str)
def test_gated_registers_change_only_for_what_is_not_zero(operator, tmp_path):
    rng = np.random.default_rng(6)
    a = sparse(operator.inputs[0], rng, 150, 0.3)
    lo, hi = bounds(operator.inputs[1])
    b = rng.integers(lo, hi + 1, 150)
    transfers = [{"i0": x, "i1": y} for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    transfers.append(transfers[-1]) # the registers take what comes before the last
    gated, plain = (toggles(dut, transfers, tmp_path)
                    for dut in (Gated(operator), Plain(operator)))
    for k, shape in enumerate(operator.inputs):
        kept = np.concatenate([[0], (a, b)[k][a != 0] & ((1 << shape.width) - 1)])
        assert gated[f"operand_{k}"] == sum(int(n).bit_count() for n in kept[1:] ^ kept[:-1])
    assert sum(gated.values()) < 0.75 * sum(plain.values())


def test_gating_needs_a_factor():
    with pytest.raises(ValueError, match=r"zeros must be numbers in 0\.\.1, not \(2,\)"):
        Gated(GATED[0], zeros=(2,))
    with pytest.raises(ValueError, match="zeros must be numbers"):
        Gated(GATED[0], zeros=())
    with pytest.raises(ValueError, match="not operand 0"):
        Gated(Clip(signed(6), 1, 20))
