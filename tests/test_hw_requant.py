# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Signal, signed, unsigned

from bittern.hw.partial_sums import ChunkedSum, bounds, chunk_bounds
from bittern.hw.quotient import Quotient
from bittern.hw.requant import Fold, Requantizer
from bittern.hw.rounding import Rounding
from bittern.hw.saturation import limits
from bittern.hw.scale import Scale
from bittern.hw.serial_quotient import SerialQuotient
from bittern.hw.stochastic import LFSR, StochasticRounder
from bittern.hw.table import Table
from bittern.hw.threshold_search import ThresholdSearch
from bittern.hw.thresholds import Thresholds
from bittern.sim.bench import run_stream


def check(spec, lo, hi, features, pe, seed):
    """Every accumulator, on every channel, under stalls."""
    for unstopped in (False, True):
        check_one(Requantizer(spec, lo=lo, hi=hi, features=features, pe=pe, unstopped=unstopped),
                  seed)


def check_one(dut, seed):
    spec, lo, hi, features, pe = dut.spec, dut.lo, dut.hi, dut.features, dut.pe
    values = np.arange(lo, hi + 1)
    acc = np.stack([np.roll(values, c) for c in range(features)], axis=1)
    padded = np.full((len(acc), dut.folds * pe), lo)
    padded[:, :features] = acc
    sent = padded.reshape(-1, pe).tolist()
    run = run_stream(dut, sent, outputs=len(sent), seed=seed, stall=0.3)
    y = np.array(run.outputs).reshape(len(acc), -1)[:, :features]
    assert np.array_equal(y, spec(acc))
    assert spec.bounds[0] <= y.min() <= y.max() <= spec.bounds[1]
    run = run_stream(dut, sent[:5], outputs=5, seed=seed, stall=0)
    assert run.stamps == [dut.latency + k for k in range(5)]


@pytest.mark.parametrize("pe", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("channels", [1, 5])
def test_thresholds(channels, count, pe):
    seed = 10 * count + pe
    rng = np.random.default_rng(seed)
    values = np.sort(rng.integers(-25, 25, (channels, count)), axis=1)
    check(Thresholds(values, lo=-(count // 2)), -20, 19, 5, pe, seed)
    check(Thresholds(values, lo=0), 0, 15, 5, pe, seed)


def test_the_sign_is_wires():
    spec = Thresholds(np.array([[0]]), lo=0)
    assert spec.latency(7) == 0
    check(spec, -9, 9, 3, 2, seed=0)


def test_thresholds_must_ascend():
    with pytest.raises(ValueError, match="ascend"):
        Thresholds(np.array([[2, 1]]), lo=0)


@pytest.mark.parametrize("rounding", [Rounding.FLOOR, Rounding.HALF_EVEN, Rounding.HALF_FROM_ZERO])
@pytest.mark.parametrize(("channels", "top", "shift"), [(1, 1, 0), (1, 1, 3), (5, 1, 2), (1, 13, 4),
                                                      (5, 13, 4), (5, 200, 7)])
@pytest.mark.parametrize("pe", [1, 3])
def test_scale(rounding, channels, top, shift, pe):
    seed = channels * top + shift
    rng = np.random.default_rng(seed)
    multiplier = rng.integers(1, top + 1, channels)
    for lo, hi in [(0, 7), (-8, 5), (3, 4)]:
        bias = rng.integers(-30, 30, channels) if channels > 1 or top > 1 else np.array([0])
        check(Scale(multiplier, bias, shift, lo, hi, rounding), -33, 40, 5, pe, seed)
        check(Scale(multiplier, bias, shift, lo, hi, rounding), 0, 31, 5, pe, seed)


def quotients(channels, sides, seed):
    """Quotients of all kinds: with a fraction only or more, of full range or not, of any sign."""
    rng = np.random.default_rng(seed)
    for k, (lo, hi) in enumerate([(-8, 7), (0, 7), (-3, 4), (0, 20), (-1, 0), (0, 1)]):
        shift = int(rng.integers(0, 4))
        divisor = rng.integers(1, rng.choice([4, 60, 500]), channels)
        least, end = (0, 1 << shift) if (k + seed) % 2 else (-90, 90)
        yield Quotient(divisor, rng.integers(least, end, (channels, sides)), shift, lo, hi,
                       int(rng.integers(-9, 9)))


@pytest.mark.parametrize("pe", [1, 2])
@pytest.mark.parametrize(("channels", "sides"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_quotient(channels, sides, pe):
    for spec in quotients(channels, sides, seed=10 * channels + sides):
        check(spec, -20, 23, 3, pe, seed=pe)
        check(spec, 0, 15, 3, pe, seed=pe)


@pytest.mark.parametrize("pe", [1, 2])
@pytest.mark.parametrize(("channels", "sides"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_quotient_by_digits(channels, sides, pe):
    for spec in quotients(channels, sides, seed=10 * channels + sides):
        if spec.bits > 1:
            check_serial(spec, -20, 23, 3, pe)
            check_serial(spec, 0, 15, 3, pe)
            check_serial(spec, 3, 3, 3, pe)


def check_serial(spec, lo, hi, features, pe):
    dut = SerialQuotient(spec, lo=lo, hi=hi, features=features, pe=pe)
    folds = dut.fold.folds
    acc = np.stack([np.roll(np.arange(lo, hi + 1), c) for c in range(features)], axis=1)
    padded = np.full((len(acc), folds * pe), lo)
    padded[:, :features] = acc
    sent = padded.reshape(-1, pe).tolist()
    run = run_stream(dut, sent, outputs=len(sent), seed=pe, stall=0.3)
    assert np.array_equal(np.array(run.outputs).reshape(len(acc), -1)[:, :features], spec(acc))
    run = run_stream(dut, sent[:5], outputs=len(sent[:5]), seed=pe, stall=0)
    latency, interval = dut.latency_of(spec, folds), dut.interval_of(spec)
    assert run.stamps == [latency + k * interval for k in range(len(sent[:5]))]


def test_a_quotient_of_wide_accumulators():
    rng = np.random.default_rng(0)
    lo, hi = -(1 << 21), (1 << 21) - 1
    spec = Quotient(rng.integers(1 << 22, 1 << 24, 4), rng.integers(-1 << 23, 1 << 23, (4, 2)), 8,
                    -128, 127)
    near = rng.integers(-1 << 16, 1 << 16, (300, 4))
    acc = np.concatenate([near, rng.integers(lo, hi + 1, (100, 4)), np.full((1, 4), lo),
                          np.full((1, 4), hi)])
    for dut in (Requantizer(spec, lo=lo, hi=hi, features=4, pe=2),
                SerialQuotient(spec, lo=lo, hi=hi, features=4, pe=2)):
        run = run_stream(dut, acc.reshape(-1, 2).tolist(), outputs=2 * len(acc), seed=0, stall=0)
        assert np.array_equal(np.array(run.outputs).reshape(-1, 4), spec(acc))


@pytest.mark.parametrize(("divisor", "bias"), [([1, 2], [[0]]), ([0], [[0]]), ([3], [[0, 0, 0]])])
def test_quotients_have_positive_divisors_and_biases_of_each(divisor, bias):
    with pytest.raises(ValueError, match="divisor"):
        Quotient(np.array(divisor), np.array(bias), 0, 0, 7)


@pytest.mark.parametrize(("lo", "hi"), [(-20, 19), (0, 15), (-8, 7), (3, 40)])
@pytest.mark.parametrize("count", [1, 3, 6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_threshold_search(channels, count, lo, hi):
    rng = np.random.default_rng(count)
    spec = Thresholds(np.sort(rng.integers(lo - 3, hi + 5, (channels, count)), axis=1), lo=-2)
    dut = ThresholdSearch(spec, lo=lo, hi=hi, features=3)
    acc = np.stack([np.arange(lo, hi + 1)] * 3, axis=1)
    sent, y = acc.ravel().tolist(), spec(acc).ravel().tolist()
    assert run_stream(dut, sent, outputs=len(sent), seed=count, stall=0.3).outputs == y
    run = run_stream(dut, sent, outputs=len(sent), seed=count, stall=0)
    assert run.outputs == y
    assert run.stamps == [dut.latency + k * dut.interval for k in range(len(sent))]


@pytest.mark.parametrize("pe", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize(("lo", "hi"), [(-9, 12), (0, 14)])
def test_table(lo, hi, channels, pe):
    rng = np.random.default_rng(channels)
    check(Table(rng.integers(-7, 9, (channels, hi - lo + 1)), lo), lo, hi, 5, pe, seed=pe)


def test_a_table_has_all_accumulators():
    spec = Table(np.array([[1, 2, 3, 4]]), 0)
    with pytest.raises(ValueError, match=r"the table is for 0..3, accumulators are in -1..3"):
        spec.gates(None, [Signal(signed(3))], Fold(-1, 3, features=1, pe=1))


@pytest.mark.parametrize("width", [8, 16])
def test_the_register_passes_every_state(width):
    period = (1 << width) - 1
    states = LFSR(width, seed=5).sequence(period + 1)
    assert len(set(states[:-1].tolist())) == period
    assert states[-1] == 5


@pytest.mark.parametrize(("shape", "shift", "width"), [
    (signed(12), 4, 8), (unsigned(9), 8, 8), (signed(10), 10, 16), (signed(20), 7, 32)])
def test_stochastic_rounding(shape, shift, width):
    dut = StochasticRounder(shape, shift, LFSR(width, seed=77))
    lo, hi = limits(shape)
    x = np.random.default_rng(shift).integers(lo, hi + 1, 200)
    x[:4] = lo, hi, 0, 1
    y = dut.golden(x).tolist()
    assert all(0 <= b - (a >> shift) <= 1 for a, b in zip(x.tolist(), y, strict=True))
    assert run_stream(dut, x.tolist(), outputs=200, seed=shift, stall=0.4).outputs == y
    run = run_stream(dut, x.tolist(), outputs=200, seed=shift, stall=0)
    assert run.outputs == y
    assert run.stamps == list(range(200))


def test_stochastic_rounding_is_right_on_average():
    dut = StochasticRounder(signed(12), 4, LFSR(16))
    for x in (-37, 5, 16, 23):
        assert abs(dut.golden(np.full(65535, x)).mean() - x / 16) < 0.01


@pytest.mark.parametrize(("terms", "chunk"), [(12, 4), (7, 3), (5, 5), (6, 1), (1, 1)])
def test_chunked_sums(terms, chunk):
    rng = np.random.default_rng(terms)
    weights = rng.integers(-7, 8, (3, terms))
    x = rng.integers(0, 16, (4, terms))
    x[0], x[1] = 15 * (weights[0] > 0), 15 * (weights[1] < 0)
    wide, narrow = bounds(weights, (0, 15)), chunk_bounds(weights, (0, 15), chunk)
    products = (x[:, None] * weights).reshape(-1, terms)
    sums = products.sum(axis=1)
    assert wide[0] <= sums.min() <= sums.max() <= wide[1]
    assert products[0].sum() == np.maximum(weights[0] * 15, 0).sum() <= wide[1]
    dut = ChunkedSum(signed(8), terms, chunk, narrow=narrow, wide=wide)
    sent, y = products.ravel().tolist(), sums.tolist()
    assert run_stream(dut, sent, outputs=len(y), seed=terms, stall=0.4).outputs == y
    run = run_stream(dut, sent, outputs=len(y), seed=terms, stall=0)
    assert run.outputs == y
    assert run.stamps == [terms * (n + 1) - 1 + dut.latency for n in range(len(y))]


def test_bounds_are_reached():
    weights = np.array([[3, -2, 1, -4], [1, 1, 1, 1]])
    assert bounds(weights, (-1, 2), np.array([10, -10])) == (-14, 24)
    assert chunk_bounds(weights, (0, 2), 2) == (-8, 6)
