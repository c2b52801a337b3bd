# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.hw.operators import (
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PlanSigmoid,
    PlanTanh,
    RoundShift,
    TableFunction,
)
from bittern.hw.rounding import Rounding, round_shift
from bittern.hw.softmax import PERIOD, Softmax, SoftmaxSpec
from bittern.sim.bench import run_stream

# What LiteRT 2.3.0 makes of them with its reference kernels; the scale of the first operand.
SCALE = 0.14469251036643982
SOFTMAX = [
    ([-61, -33, -18, 9, -61, -58, -52, -95, -76, 76, -128, 62],
     [-128, -128, -128, -128, -128, -128, -128, -128, -128, 98, -128, -98]),
    ([73, 28, -128, -128, -104, 127, -128, -128, -88, -128, -128, 127],
     [-128, -128, -128, -128, -128, 0, -128, -128, -128, -128, -128, 0]),
    ([-48, -42, -22, 16, -69, -71, -34, -100, -85, 63, -128, 69],
     [-128, -128, -128, -128, -128, -128, -128, -128, -128, -52, -128, 52]),
]


def test_softmax_is_that_of_tensorflow_lite():
    spec = SoftmaxSpec.of(SCALE)
    assert spec == SoftmaxSpec(1242899200, 24)
    for x, y in SOFTMAX:
        assert spec(np.array(x)).tolist() == y


@pytest.mark.parametrize("scale", [0.004, 0.05, 0.3, 3.0])
def test_softmax_is_near_the_real_one(scale):
    x = np.random.default_rng(0).integers(-128, 128, (300, 10))
    e = np.exp(scale * (x - x.max(axis=1, keepdims=True)))
    y = 256 * e / e.sum(axis=1, keepdims=True) - 128
    assert np.abs(SoftmaxSpec.of(scale)(x) - y.clip(-128, 127)).max() < 0.51


@pytest.mark.parametrize(("features", "scale"), [(12, SCALE), (2, 0.01), (5, 0.5)])
def test_softmax_of_a_stream(features, scale):
    spec = SoftmaxSpec.of(scale)
    dut = Softmax(spec, features)
    rng = np.random.default_rng(features)
    x = rng.integers(-128, 128, (4, features))
    x[1] = x[1, 0]
    x[2] = (x[2] + 128) // 8
    if features == 12:
        x[3] = SOFTMAX[2][0]
    y = spec(x).reshape(-1, 1).tolist()
    sent = x.reshape(-1, 1).tolist()
    assert run_stream(dut, sent, outputs=len(y), seed=1, stall=0.3).outputs == y
    run = run_stream(dut, sent, outputs=len(y), seed=1, stall=0)
    assert run.outputs == y
    first = features - 1 + Softmax.latency_of(features)
    interval = first + PERIOD * (features - 1) + 1
    assert run.stamps == [f * interval + first + PERIOD * k for f in range(4)
                          for k in range(features)]


def test_roundings_are_those_of_decimal():
    decimal = pytest.importorskip("decimal")
    names = {Rounding.FLOOR: "FLOOR", Rounding.CEIL: "CEILING", Rounding.TO_ZERO: "DOWN",
             Rounding.FROM_ZERO: "UP", Rounding.HALF_EVEN: "HALF_EVEN",
             Rounding.HALF_FROM_ZERO: "HALF_UP", Rounding.HALF_TO_ZERO: "HALF_DOWN"}
    v = np.arange(-70, 71)
    for rounding, name in names.items():
        for shift in range(5):
            y = [int((decimal.Decimal(int(n)) / (1 << shift)).to_integral_value(f"ROUND_{name}"))
                 for n in v]
            assert round_shift(v, shift, rounding).tolist() == y, (rounding, shift)
    assert round_shift(np.array([-3, -1, 1, 3]), 1, Rounding.HALF_UP).tolist() == [-1, 0, 1, 2]
    assert round_shift(np.array([-3, -1, 1, 3]), 1, Rounding.HALF_DOWN).tolist() == [-2, -1, 0, 1]


def test_a_requantization_of_tensorflow_lite_is_two_roundings():
    """``MultiplyByQuantizedMultiplier``, written as gemmlowp has it."""
    rng = np.random.default_rng(3)
    acc = rng.integers(-1 << 24, 1 << 24, 4000)
    multiplier, shift = 1518500250, 9
    product = acc * multiplier
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(product + nudge) * (np.abs(product + nudge) >> 31) # C divides toward zero
    rest, threshold = high & 511, 255 + (high < 0)
    y = (high >> shift) + (rest > threshold)
    assert np.array_equal(y, round_shift(round_shift(product, 31, Rounding.HALF_UP), shift,
                                         Rounding.HALF_FROM_ZERO))


@pytest.mark.parametrize(("operator", "function", "unit", "error"), [
    (PlanSigmoid(signed(12), 8, 12), lambda x: 1 / (1 + np.exp(-x)), 1 << 12, 0.0192),
    (PlanTanh(signed(12), 8, 12), np.tanh, 1 << 12, 0.0384)])
def test_plan_is_near_the_function(operator, function, unit, error):
    x = np.arange(-2048, 2048)
    (y,) = operator(x)
    assert np.abs(y / unit - function(x / 256)).max() < error


@pytest.mark.parametrize("make", [
    lambda: RoundShift(signed(4), 5, Rounding.FLOOR), lambda: Clip(signed(4), 3, 2),
    lambda: Clip(signed(4), -9, 2), lambda: LeakyReLU(signed(8), 9, 3),
    lambda: HardSigmoid(signed(8), 0, 0, 0, 1), lambda: HardSwish(signed(10), 3, 1, 0),
    lambda: PlanSigmoid(signed(8), 2, 8), lambda: PlanTanh(signed(8), 3, 8),
    lambda: TableFunction(signed(3), (1, 2)), lambda: Softmax(SoftmaxSpec(1 << 30, 3), 512),
    lambda: Softmax(SoftmaxSpec(1 << 30, 3), 9, unsigned(8)),
    lambda: SoftmaxSpec(5, 3), lambda: SoftmaxSpec(1 << 30, 32)])
def test_parameters_out_of_range_are_named(make):
    with pytest.raises(ValueError, match=r"must (be|ascend) .*not "):
        make()
