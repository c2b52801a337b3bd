# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from bittern.hw.requant import Requantizer
from bittern.hw.rounding import Rounding
from bittern.hw.scale import Scale
from bittern.hw.thresholds import Thresholds
from bittern.sim.bench import run_stream


def check(spec, lo, hi, features, pe, seed):
    """Every accumulator, on every channel, under stalls."""
    dut = Requantizer(spec, lo=lo, hi=hi, features=features, pe=pe)
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
@pytest.mark.parametrize("pe", [1, 2, 5])
def test_scale(rounding, channels, top, shift, pe):
    seed = channels * top + shift
    rng = np.random.default_rng(seed)
    multiplier = rng.integers(1, top + 1, channels)
    for lo, hi in [(0, 7), (-8, 5), (3, 4)]:
        bias = rng.integers(-30, 30, channels) if channels > 1 or top > 1 else np.array([0])
        check(Scale(multiplier, bias, shift, lo, hi, rounding), -33, 40, 5, pe, seed)
        check(Scale(multiplier, bias, shift, lo, hi, rounding), 0, 31, 5, pe, seed)
