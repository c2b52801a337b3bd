# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth import ClockDomain, Module, signed, unsigned
from amaranth.sim import Simulator

from bittern.hw.formats import FORMATS, Format, find_format
from bittern.hw.operators import BoothProduct, Clip, Operate, Product, TableProduct
from bittern.hw.pipeline import Pipeline
from bittern.hw.skipping import EarlyTerminationUnit, Gated, NonZeroStream, ZeroSkippingUnit
from bittern.sim.bench import run_stream

WEIGHTS = {"binary": (-2, 2), "ternary": (-1, 0, 1), "bits": (0, 1), "4 bits": range(-8, 8),
           "8 bits": range(-128, 128), "codebook": (-37, 0, 11, 90),
           "powers": (-16, -8, -2, 0, 1, 4, 64), "sums": (-33, 17, 0, 5, -96, 40)}
KINDS = [(name, fmt) for name, values in WEIGHTS.items()
         for kind in FORMATS if issubclass(kind, Format)
         if (fmt := kind.find(np.array([[*values]])))]
GATED = [Product(unsigned(6), signed(5)), Product(unsigned(6), unsigned(6), registers=True),
         BoothProduct(signed(5), signed(4)), TableProduct(unsigned(3), signed(3))]


class Plain(Operate):
    """As Gated, but all registers take all transfers."""

    def elaborate(self, _platform):
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


@pytest.mark.parametrize(("operator", "zeros"), [*zip(
    GATED, [(0,), (1,), (0, 1), (0,)], strict=True)], ids=str)
def test_gated_operators_equal_those_that_are_not(operator, zeros):
    rng = np.random.default_rng(5)
    a, b = (sparse(shape, rng, 60, 0.5) for shape in operator.inputs)
    transfers = [{"i0": x, "i1": y} for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    dut = Gated(operator, zeros=zeros)
    expected = operator(a, b)[0] & ((1 << operator.outputs[0].width) - 1)
    for stall in (0, 0.3):
        result = run_stream(dut, transfers, outputs=60, seed=5, stall=stall)
        assert result.outputs == expected.tolist()
        if not stall:
            assert result.stamps == [k + dut.latency for k in range(60)]


@pytest.mark.parametrize("operator", GATED, ids=str)
def test_gated_registers_change_only_for_what_is_not_zero(operator, tmp_path):
    rng = np.random.default_rng(6)
    a = sparse(operator.inputs[0], rng, 100, 0.3)
    lo, hi = bounds(operator.inputs[1])
    b = rng.integers(lo, hi + 1, 100)
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


@pytest.mark.parametrize(("x", "features", "simd", "stride"), [
    (unsigned(4), 8, 4, 1), (signed(3), 13, 4, 3), (unsigned(1), 5, 5, 1), (unsigned(3), 7, 1, 2),
    (signed(8), 20, 8, 4), (unsigned(2), 30, 11, 1), (unsigned(2), 1, 1, 1)], ids=str)
@pytest.mark.parametrize("density", [0.05, 0.4, 1])
def test_stream_gives_the_non_zeros_when_stated(x, features, simd, stride, density):
    rng = np.random.default_rng(features)
    dut = NonZeroStream(x, features, simd=simd, stride=stride)
    frames = 6
    data = sparse(x, rng, frames * features, density).reshape(frames, -1)
    padded = sparse(x, rng, frames * dut.groups.count * simd, 1).reshape(frames, -1)
    padded[:, :features] = data # what stands in the lanes beyond must not matter
    layout, expected, ends = dut.o.payload.shape(), [], []
    for frame in data:
        last = (dut.groups.count - 1) * simd
        places = [*np.flatnonzero(frame).tolist(), *[last] * (not frame[last:].any())]
        expected += [layout.const({"index": k * stride, "value": int(frame[k]),
                                   "last": j == len(places) - 1}).as_bits()
                     for j, k in enumerate(places)]
        ends.append(len(expected) - 1)
    for stall in (0.3, 0):
        result = run_stream(dut, padded.reshape(-1, simd).tolist(), outputs=len(expected),
                            seed=features, stall=stall)
        assert result.outputs == expected
    assert [result.stamps[k] for k in ends] == dut.cycles(data).tolist()


def test_stream_loses_no_cycle_to_runs_of_zeros_it_sees_in_time():
    dut = NonZeroStream(unsigned(4), 40, simd=4)
    data = np.ones((3, 40), dtype=np.int64)
    data[:, 4:16] = 0 # three empty transfers behind one of four
    data[:, 20:24] = [0, 1, 0, 1] # two, and one empty behind
    data[:, 24:28] = 0
    ends = dut.cycles(data)
    assert np.diff(ends).tolist() == [np.count_nonzero(data[0])] * 2


def unit(kind, fmt, x, rng, outputs, inputs, **options):
    weights = rng.choice([*WEIGHTS[kind]], (outputs, inputs))
    bias = rng.integers(-40, 40, outputs)
    lo, hi = bounds(x)
    low, high = weights.clip(max=0), weights.clip(min=0)
    return weights, bias, ZeroSkippingUnit(
        weights, bias, fmt, x=x, lo=int(((high * lo + low * hi).sum(1) + bias).min()),
        hi=int(((high * hi + low * lo).sum(1) + bias).max()), **options)


@pytest.mark.parametrize("x", [unsigned(3), signed(2)], ids=str)
@pytest.mark.parametrize(("kind", "fmt"), KINDS, ids=lambda v: getattr(v, "name", v))
def test_skipping_zeros_changes_no_result(kind, fmt, x):
    seed = len(kind) * 10 + x.width
    rng = np.random.default_rng(seed)
    outputs, inputs = 5, 7
    pe, simd = [(5, 7), (2, 3), (3, 4), (1, 2)][seed % 4]
    weights, bias, dut = unit(kind, fmt, x, rng, outputs, inputs, pe=pe, simd=simd,
                              block=bool(seed & 1))
    data = sparse(x, rng, 5 * inputs, 0.5).reshape(5, -1)
    data[0], data[1] = bounds(x)
    data[2] = 0
    padded = sparse(x, rng, 5 * dut.groups.count * simd, 1).reshape(5, -1)
    padded[:, :inputs] = data
    for stall in (0.3, 0):
        result = run_stream(dut, padded.reshape(-1, simd).tolist(), outputs=5 * dut.out_folds,
                            seed=seed, stall=stall)
        y = np.array(result.outputs).reshape(5, -1)[:, :outputs]
        assert np.array_equal(y, data @ weights.T + bias)
    assert result.stamps[dut.out_folds - 1::dut.out_folds] == dut.cycles(data).tolist()


def test_cycles_of_a_frame_are_its_non_zeros_times_the_folds():
    rng = np.random.default_rng(3)
    _, _, dut = unit("4 bits", find_format(np.arange(-8, 8)[None]), unsigned(4), rng, 12, 64, pe=4,
                     simd=4)
    data = sparse(unsigned(4), rng, 20 * 64, 0.5).reshape(20, -1)
    data[:, -1] = 1
    assert np.array_equal(np.diff(dut.cycles(data)), 3 * (data != 0).sum(axis=1)[1:])


@pytest.mark.parametrize(("pe", "inputs"), [(1, 24), (3, 20), (5, 1)])
@pytest.mark.parametrize("kind", ["binary", "ternary", "bits", "8 bits"])
def test_early_termination_changes_no_result(kind, pe, inputs):
    seed = pe * inputs
    rng = np.random.default_rng(seed)
    weights, bias = rng.choice([*WEIGHTS[kind]], (5, inputs)), rng.integers(-40, 40, 5)
    if kind != "binary":
        weights[2] = 0
    weights[3] = -np.abs(weights[3])
    fmt = find_format(weights)
    x = unsigned(1 + seed % 5)
    dut = EarlyTerminationUnit(weights, bias, fmt, x=x, pe=pe, block=bool(seed & 1))
    data = sparse(x, rng, 5 * inputs, 0.7).reshape(5, -1)
    data[0], data[1] = bounds(x)
    expected = np.maximum(data @ weights.T + bias, 0)
    for stall in (0.3, 0):
        result = run_stream(dut, data.reshape(-1, 1).tolist(), outputs=5 * dut.out_folds,
                            seed=seed, stall=stall)
        assert np.array_equal(np.array(result.outputs).reshape(5, -1)[:, :5], expected)
    assert result.stamps[dut.out_folds - 1::dut.out_folds] == dut.cycles(data).tolist()


def test_early_termination_saves_cycles():
    rng = np.random.default_rng(9)
    weights = rng.integers(-8, 8, (64, 256)) # of mean -0.5
    weights[rng.random(weights.shape) < 1 / 16] = 0
    dut = EarlyTerminationUnit(weights, np.zeros(64, dtype=np.int64), find_format(weights),
                               x=unsigned(4), pe=4)
    data = sparse(unsigned(4), rng, 20 * 256, 0.5).reshape(20, -1)
    taken = dut.steps(data).sum(axis=1).mean()
    saved = 1 - taken / np.count_nonzero(weights)
    print(f"early termination: {saved:.0%} of the cycles saved")
    assert saved > 0.1


@pytest.mark.parametrize(("make", "message"), [
    (lambda: NonZeroStream(unsigned(2), 0, simd=1), "features must be at least 1, not 0"),
    (lambda: NonZeroStream(unsigned(2), 4, simd=5), r"simd must be in 1\.\.4, not 5"),
    (lambda: NonZeroStream(unsigned(2), 4, simd=2, stride=0), "stride must be at least 1, not 0"),
    (lambda: EarlyTerminationUnit(np.ones((2, 2), int), np.zeros(2, int), find_format(
        np.ones((1, 1), int)), x=signed(3), pe=1), "x must be unsigned"),
    (lambda: EarlyTerminationUnit(np.ones((2, 2), int), np.zeros(2, int), find_format(
        np.ones((1, 1), int)), x=unsigned(3), pe=3), r"pe must be in 1\.\.2, not 3"),
    (lambda: ZeroSkippingUnit(np.ones((2, 2), int), np.zeros(2, int), find_format(
        np.ones((1, 1), int)), x=unsigned(3), lo=0, hi=20, pe=3, simd=1), r"pe must be in 1\.\.2"),
])
def test_parameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
