# amaranth: UnusedElaboratable=no
from itertools import product

import numpy as np
import pytest
from amaranth import Module, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from bittern.gen.rtlil import to_rtlil
from bittern.hw.formats.digits import Digits
from bittern.hw.sharing import (
    FactorisedMatrixVectorUnit,
    Grouped,
    Hashed,
    HashedStream,
    Huffman,
    HuffmanStream,
)
from bittern.sim.bench import run_stream
from bittern.sim.logic import Logic


class Gate(wiring.Component):
    """Lets a transfer of an endless stream pass for each one of its own."""

    def __init__(self, dut):
        self.dut = dut
        super().__init__({"i": In(stream.Signature(1)),
                          "o": Out(stream.Signature(dut.o.payload.shape()))})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [self.o.valid.eq(dut.o.valid & self.i.valid), self.o.payload.eq(dut.o.payload),
                     self.i.ready.eq(self.o.ready & dut.o.valid),
                     dut.o.ready.eq(self.o.ready & self.i.valid)]
        return m


def run(dut, count, *, seed, stall):
    return run_stream(Gate(dut), [0] * count, outputs=count, seed=seed, stall=stall)


def first_valid(dut):
    """Return the cycles until the first transfer of a stream that comes from nothing."""
    cycles = []

    async def bench(ctx):
        cycles.append(0)
        while not ctx.get(dut.o.valid):
            await ctx.tick()
            cycles[0] += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return cycles[0]


class Hash(wiring.Component):
    """The gates of a hash by themselves."""

    def __init__(self, spec):
        self.spec = spec
        super().__init__({"row": In((spec.outputs - 1).bit_length()),
                          "column": In(spec.column_bits), "entry": Out(spec.bits), "minus": Out(1)})

    def elaborate(self, _platform):
        m = Module()
        entry, minus = self.spec.gates(m, self.row, self.column)
        m.d.comb += [self.entry.eq(entry), self.minus.eq(minus)]
        return m


def table(entries, seed):
    return tuple(np.random.default_rng(seed).choice(np.arange(1, 128), entries, replace=False)
                 .tolist())


@pytest.mark.parametrize("spec", [
    Hashed(32, 64, table(16, 0), seed=1), Hashed(16, 16, table(64, 1), seed=7, signs=False),
    Hashed(2, 8, table(2, 2)), Hashed(16, 128, table(8, 3), seed=2**70),
    Hashed(1, 1, table(8, 4), seed=5)], ids=lambda s: f"{s.outputs}x{s.inputs}")
def test_the_gates_of_a_hash_equal_its_spec_at_every_place(spec):
    rows, columns = (g.ravel() for g in np.indices((spec.outputs, spec.inputs)))
    found = Logic.of_rtlil(to_rtlil(Hash(spec)))(
        {"row": rows, "column": columns}, signed={"entry": False, "minus": False})
    values = np.array(spec.table)[found["entry"]] * (1 - 2 * found["minus"])
    assert np.array_equal(values.reshape(spec.weights.shape), spec.weights)


def test_a_hash_takes_each_value_equally_often():
    spec = Hashed(64, 64, tuple(range(1, 17)), seed=3)
    assert np.bincount(np.abs(spec.weights).ravel()).tolist() == [0] + [256] * 16
    assert np.sum(spec.weights < 0) == 2048
    other = Hashed(64, 64, spec.table, seed=4)
    agree = np.mean(np.abs(spec.weights) == np.abs(other.weights))
    assert 0.03 < agree < 0.1 # 1 / 16 by chance


def test_neighbours_in_rows_and_columns_differ():
    weights = np.abs(Hashed(64, 64, tuple(range(1, 17)), seed=3).weights)
    for a, b in ((weights[1:], weights[:-1]), (weights[:, 1:], weights[:, :-1])):
        assert np.mean(a == b) < 0.15 # 1 / 16 by chance


def test_a_table_is_found_from_the_weights():
    spec = Hashed(12, 20, table(16, 5), seed=9)
    assert Hashed.find(spec.weights, entries=16, seed=9) == spec
    assert Hashed.find(spec.weights, entries=16, seed=8) is None
    wrong = spec.weights
    wrong[3, 4] += 1
    assert Hashed.find(wrong, entries=16, seed=9) is None


@pytest.mark.parametrize("stall", [0, 0.3])
@pytest.mark.parametrize(("outputs", "inputs", "pe", "simd", "signs"), [
    (5, 7, 1, 1, True), (3, 5, 2, 3, True), (4, 8, 1, 4, False), (2, 3, 2, 3, False),
    (1, 1, 1, 1, True)])
def test_hashed_weights_come_frame_after_frame(outputs, inputs, pe, simd, signs, stall):
    values = np.random.default_rng(inputs).integers(-128, 128, 8)
    spec = Hashed(outputs, inputs, tuple(values.tolist()), seed=pe, signs=signs)
    dut = HashedStream(spec, pe=pe, simd=simd)
    frames = 2
    result = run(dut, frames * dut.in_folds * dut.out_folds, seed=simd, stall=stall)
    got = np.array(result.outputs).reshape(frames, dut.out_folds, dut.in_folds, pe, simd)
    got = got.swapaxes(2, 3).reshape(frames, dut.out_folds * pe, dut.in_folds * simd)
    assert (got[:, :outputs, :inputs] == spec.weights).all()
    if not stall:
        assert result.stamps == list(range(len(result.stamps)))
        assert first_valid(dut) == dut.latency


def test_hashed_checks_its_parameters():
    with pytest.raises(ValueError, match="table must have 2, 4, 8, … values, not 3"):
        Hashed(2, 2, (1, 2, 3))
    with pytest.raises(ValueError, match="outputs and inputs must be at least 1, not 0 and 2"):
        Hashed(0, 2, (1, 2))
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        Hashed(2, 2, (1, 2), -1)
    with pytest.raises(ValueError, match=r"pe must be in 1\.\.2 and simd in 1\.\.2, not 3 and 1"):
        HashedStream(Hashed(2, 2, (1, 2)), pe=3)


def frame(kinds, count, seed):
    """Return symbols some of which are much rarer than others, each at least once."""
    rng = np.random.default_rng(seed)
    symbols = rng.choice(kinds, count, p=rng.dirichlet(np.full(kinds, 0.6)))
    symbols[:kinds] = np.arange(kinds)
    return rng.permutation(symbols)


def best(counts, limit):
    """Return the fewest bits of any prefix code with codes of up to `limit` bits."""
    ordered = sorted(counts, reverse=True)
    return min(int(np.dot(ordered, sorted(lengths)))
               for lengths in product(range(1, limit + 1), repeat=len(counts))
               if sum(2.0 ** -n for n in lengths) <= 1)


@pytest.mark.parametrize("limit", [3, 4, 5])
@pytest.mark.parametrize("counts", [[1, 1, 2, 3, 5], [40, 20, 9, 1], [7, 7, 7], [1, 90, 1, 1, 30]])
def test_no_code_of_limited_length_is_shorter(counts, limit):
    symbols = np.repeat(np.arange(len(counts)), counts)
    spec = Huffman.of(symbols, limit=limit)
    assert spec.limit <= limit
    assert len(spec.encode(symbols)) == best(counts, limit)


@pytest.mark.parametrize(("kinds", "count"), [(1, 5), (2, 9), (3, 20), (16, 300), (256, 3000)])
def test_what_is_encoded_is_decoded(kinds, count):
    symbols = frame(kinds, count, kinds)
    spec = Huffman.of(symbols)
    bits = spec.encode(symbols)
    assert np.array_equal(spec.decode(bits, count), symbols)
    entropy = -sum(p * np.log2(p) for p in np.bincount(symbols) / count)
    assert entropy * count <= len(bits) <= (entropy + 1) * count


@pytest.mark.parametrize(("kinds", "limit", "word", "count"), [
    (2, 1, 2, 7), (3, 2, 2, 9), (3, 2, None, 1), (5, 4, 4, 50), (16, 8, 8, 333), (16, 8, 16, 100),
    (16, 5, 32, 99), (1, 1, 2, 5), (100, 12, 16, 300)])
def test_one_symbol_a_cycle_frame_after_frame(kinds, limit, word, count):
    symbols = frame(kinds, max(count, kinds), seed=count)[:count]
    spec = Huffman.of(frame(kinds, max(count, kinds), seed=count), limit=limit)
    dut = HuffmanStream(symbols, spec, word=word, block=kinds > 5)
    assert dut.bits < len(spec.encode(symbols)) + 2 * dut.word
    expected = np.resize(symbols, min(3 * count + 2, 500)).tolist()
    for stall in (0, 0.3):
        result = run(dut, len(expected), seed=kinds, stall=stall)
        assert result.outputs == expected
        if not stall:
            assert result.stamps == list(range(len(expected)))
    assert first_valid(dut) == dut.latency


def test_the_bits_stored_are_within_a_percent_of_those_of_the_codes():
    symbols = frame(16, 4096, seed=1)
    spec = Huffman.of(symbols)
    assert HuffmanStream(symbols, spec).bits <= 1.01 * len(spec.encode(symbols))


def test_huffman_checks_its_parameters():
    with pytest.raises(ValueError, match=r"lengths must be in 0\.\.12 and not all 0"):
        Huffman((13, 1))
    with pytest.raises(ValueError, match="too short for a prefix code"):
        Huffman((1, 1, 1))
    with pytest.raises(ValueError, match=r"limit must be in 2\.\.12 for 3 symbols, not 1"):
        Huffman.of(np.arange(3), limit=1)
    with pytest.raises(ValueError, match="has no symbol 2"):
        Huffman((1, 1)).encode(np.array([2]))
    with pytest.raises(ValueError, match="word must be a power of two of at least 3, not 2"):
        HuffmanStream(np.array([0, 1, 2]), Huffman((1, 3, 3)), word=2)
    with pytest.raises(ValueError, match="symbols must be at least 1"):
        HuffmanStream(np.array([], dtype=int), Huffman((1, 1)))


def unit(weights, bias, x, **options):
    lo, hi = (-(1 << x.width - 1), (1 << x.width - 1) - 1) if x.signed else (0, (1 << x.width) - 1)
    low, high = weights.clip(max=0), weights.clip(min=0)
    return FactorisedMatrixVectorUnit(
        weights, bias, x=x, lo=int(((high * lo + low * hi).sum(1) + bias).min()),
        hi=int(((high * hi + low * lo).sum(1) + bias).max()), **options), lo, hi


def multiply(dut, x, *, seed, stall):
    frames, inputs = x.shape
    padded = np.random.default_rng(seed).integers(x.min(), x.max() + 1,
                                                  (frames, dut.in_folds * dut.simd))
    padded[:, :inputs] = x # what stands in the lanes beyond the inputs must not matter
    result = run_stream(dut, padded.reshape(-1, dut.simd).tolist(),
                        outputs=frames * dut.out_folds, seed=seed, stall=stall)
    return np.array(result.outputs).reshape(frames, -1), result.stamps


@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("x", [unsigned(3), signed(4)], ids=str)
@pytest.mark.parametrize("values", [[-1, 1], [0, 0, 0, 7], [0, 12, -100, 77, 3],
                                    [0, 0, 0, 0, -8, 5, 1, 30000]], ids=str)
def test_factorised_products_equal_golden_under_stalls(values, x, serial):
    rng = np.random.default_rng(len(values))
    for outputs, inputs, lanes, simd in [(5, 7, 1, 1), (5, 7, 2, 3), (4, 9, 4, 9), (1, 2, 1, 2)]:
        weights = rng.choice(values, (outputs, inputs))
        if 0 in values:
            weights[outputs // 2] = 0
        bias = rng.integers(-40, 40, outputs)
        dut, lo, hi = unit(weights, bias, x, lanes=lanes, simd=simd, serial=serial)
        data = rng.integers(lo, hi + 1, (3, inputs))
        data[0], data[1] = lo, hi
        y, _ = multiply(dut, data, seed=lanes, stall=0.3)
        assert np.array_equal(y[:, :outputs], data @ weights.T + bias), (lanes, simd)


@pytest.mark.parametrize(("lanes", "simd"), [(1, 1), (2, 4), (6, 12)])
def test_an_input_a_cycle_and_lane(lanes, simd):
    rng = np.random.default_rng(simd)
    weights = rng.choice([0, 0, 3, -5, 9], (6, 12))
    dut, lo, hi = unit(weights, np.zeros(6, dtype=int), unsigned(4), lanes=lanes, simd=simd)
    frames = 5
    _, stamps = multiply(dut, rng.integers(lo, hi, (frames, 12)), seed=0, stall=0)
    ends = stamps[dut.out_folds - 1::dut.out_folds]
    assert ends[-1] - ends[-2] == max(dut.steps, dut.in_folds)
    lengths = np.count_nonzero(weights, axis=1).clip(min=1)
    assert lengths.sum() / lanes <= dut.steps <= 1.2 * lengths.sum() / lanes + 3
    assert sum(dut.schedule.gives) == dut.out_folds


def test_serial_products_of_groups_that_are_long_enough_take_no_longer():
    rng = np.random.default_rng(3)
    weights = np.repeat([[0, 3, -5, 11]], 8, axis=1)
    weights = np.array([rng.permutation(weights[0]) for _ in range(4)])
    units = [unit(weights, np.zeros(4, dtype=int), signed(4), lanes=2, simd=4, serial=serial)[0]
             for serial in (False, True)]
    assert [u.steps for u in units] == [48, 48]
    assert units[1].code.least == 1
    short = weights.copy()
    short[short == 11] = 3
    short[:, 0] = 11 # alone in its group, where a weight has three digits
    dut = unit(short, np.zeros(4, dtype=int), signed(4), lanes=2, simd=4, serial=True)[0]
    assert dut.code.least == dut.lane.digits == 3
    assert np.array_equal(dut.schedule.lengths.ravel(), np.count_nonzero(short, axis=1) + 2)


def test_groups_are_decoded():
    rng = np.random.default_rng(0)
    for code in Grouped.examples():
        rows = [code.symbols([(i, int(rng.integers(1 << code.value))) for i in range(code.inputs)
                              if rng.random() < 0.7], 0) for _ in range(6)]
        stored = code.encode(rows)
        assert code.decode(stored) == rows
        assert len(stored.words) == sum(map(len, rows))
        assert all(word < 1 << code.width for word in stored.words)
        assert all(head < 1 << code.head_width for head in stored.heads)


def test_groups_take_an_index_and_a_bit_for_each_weight():
    rng = np.random.default_rng(1)
    weights = rng.choice([0, 9, -30, 77, 101], (8, 64))
    dut, _, _ = unit(weights, np.zeros(8, dtype=int), unsigned(4), lanes=2, simd=4)
    assert dut.bits == np.count_nonzero(weights) * 7 + 8 * 4 * (dut.fmt.width + 1)


def test_factorised_checks_its_parameters():
    weights = np.array([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"lanes must be in 1\.\.2 .* not 3 and 1"):
        unit(weights, np.zeros(2, dtype=int), unsigned(2), lanes=3, simd=1)
    with pytest.raises(ValueError, match="cannot hold the weight"):
        unit(weights, np.zeros(2, dtype=int), unsigned(2), lanes=1, simd=1,
             fmt=Digits.find(np.array([1])))
    with pytest.raises(ValueError, match="fmt must be None where serial is set, not 'digits'"):
        unit(weights, np.zeros(2, dtype=int), unsigned(2), lanes=1, simd=1, serial=True,
             fmt=Digits.find(weights))
    with pytest.raises(ValueError, match=r"no format holds weights of 1\.\.400000"):
        unit(np.array([[1, 400000]]), np.zeros(1, dtype=int), unsigned(2), lanes=1, simd=1)
