import tracemalloc

import numpy as np
import pytest

from bittern.gen.ir import INPUT, Graph, Node, Tensor, compile_graph
from bittern.gen.layers import Dense, Requantize
from bittern.gen.layers.add import Add
from bittern.gen.lines import Domain
from bittern.gen.passes import PIPELINE, absorb_offsets, strip_common_factor
from bittern.gen.passes.fit_requantization import fit, fit_requantization
from bittern.hw.quotient import Quotient
from bittern.hw.scale import Rounding, Scale
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds

LO, HI = -3000, 3000


def thresholds_of(function, y_lo, y_hi):
    """Return the thresholds, one row for each channel, of a non-decreasing function."""
    acc = np.arange(LO, HI + 1)
    y = np.stack([function(acc, c) for c in range(4)])
    rows = [[acc[v >= k][0] if (v >= k).any() else HI + 1 for k in range(y_lo + 1, y_hi + 1)]
            for v in y]
    return Thresholds(np.array(rows), y_lo)


def same_everywhere(found, spec):
    acc = np.repeat(np.arange(LO, HI + 1)[:, None], spec.channels, axis=1)
    return np.array_equal(found(acc), spec(acc))


@pytest.mark.parametrize("rounding", [Rounding.FLOOR, Rounding.HALF_EVEN])
@pytest.mark.parametrize("shift", [0, 1, 5, 7])
def test_a_shift_is_found(rounding, shift):
    def function(acc, c):
        return Scale(np.array([1]), np.array([17 * c]), shift, -20, 40, rounding)(acc)

    spec = thresholds_of(function, -20, 40)
    found = fit(spec, Domain(LO, HI))
    assert isinstance(found, Scale)
    assert not found.multiplies
    assert found.shift == shift
    assert same_everywhere(found, spec)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_a_division_is_found_for_float_scales(bits):
    rng = np.random.default_rng(bits)
    scale = rng.uniform(0.01, 0.2, 4).astype(np.float32)
    offset = rng.uniform(-4, 4, 4).astype(np.float32)

    def function(acc, c):
        real = acc.astype(np.float32) * scale[c] + offset[c]
        return np.rint(real).clip(0, 2**bits - 1).astype(np.int64)

    spec = thresholds_of(function, 0, 2**bits - 1)
    found = fit(spec, Domain(LO, HI))
    assert isinstance(found, Quotient)
    assert not found.is_kinked
    assert same_everywhere(found, spec)
    assert int(found.divisor.max()).bit_length() <= 2 * bits + 4


def rounded_twice(acc, multiplier, shift):
    """Round as TensorFlow Lite does: half up to units of 2**shift, then half away from zero."""
    high = (2 * acc * multiplier + (1 << 31)) >> 32
    return np.sign(high) * ((abs(high) + (1 << shift >> 1)) >> shift)


@pytest.mark.parametrize("zero_point", [-128, -17, 0, 4, 127])
@pytest.mark.parametrize("seed", range(3))
def test_two_lines_are_found_for_what_is_rounded_twice(zero_point, seed):
    rng = np.random.default_rng(seed)
    multiplier, shift = rng.integers(1 << 30, 1 << 31, 4), rng.integers(3, 6, 4)

    def function(acc, c):
        return (rounded_twice(acc, multiplier[c], shift[c]) + zero_point).clip(-128, 127)

    spec = thresholds_of(function, -128, 127)
    found = fit(spec, Domain(LO, HI))
    assert isinstance(found, Quotient)
    assert found.is_kinked == (-128 < zero_point < 127)
    assert found.pivot == 0
    assert same_everywhere(found, spec)


def test_a_kink_may_be_anywhere():
    spec = thresholds_of(lambda acc, _: ((acc + 777 + 20 * (acc >= 434)) // 50).clip(-60, 67), -60,
                         67)
    found = fit(spec, Domain(LO, HI))
    assert isinstance(found, Quotient)
    assert found.is_kinked
    assert found.channels == 1
    assert found.pivot == 448 # of 424 to 452 the roundest
    assert same_everywhere(found, spec)


def test_only_integers_that_come_need_to_be_right():
    x = np.arange(-128, 128)
    sums = np.unique(5 * x[:, np.newaxis] + 700 * x)
    y = np.arange(-127, 128)
    spec = Thresholds(sums[np.searchsorted(sums, 699.5 * y)][np.newaxis], -128)
    ends = int(sums[0]), int(sums[-1])
    assert isinstance(fit(spec, Domain(*ends)), Thresholds)
    found = fit(spec, Domain(*ends, sums))
    assert isinstance(found, Quotient)
    assert np.array_equal(found(sums[:, np.newaxis]), spec(sums[:, np.newaxis]))


def test_few_accumulators_become_a_table():
    spec = Thresholds(np.array([[-30, -9, -8, -7, 0, 1, 2, 30, 40, 41, 42, 43, 44, 45, 46]]), -7)
    found = fit(spec, Domain(-32, 31))
    assert isinstance(found, Table)
    acc = np.arange(-32, 32)[:, np.newaxis]
    assert np.array_equal(found(acc), spec(acc))


def test_what_is_no_line_stays_thresholds():
    spec = thresholds_of(lambda acc, c: np.sqrt(acc.clip(c) - c).astype(int).clip(0, 31), 0, 31)
    assert fit(spec, Domain(LO, HI)) is spec


def test_what_is_the_same_for_all_channels_has_one():
    spec = thresholds_of(lambda acc, _: np.sqrt(acc.clip(0)).astype(int).clip(0, 31), 0, 31)
    assert fit(spec, Domain(LO, HI)).channels == 1


def test_many_channels_of_many_levels_are_fitted():
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.002, 0.006, (640, 1))
    spec = Thresholds(np.ceil((np.arange(-127, 128) - 0.5) / scale).astype(np.int64), -128)
    domain = Domain(-500_000, 500_000)
    found = fit(spec, domain)
    assert isinstance(found, Quotient)
    acc = rng.integers(domain.lo, domain.hi + 1, (100, 640))
    acc[:50] //= 10
    assert np.array_equal(found(acc), spec(acc))


def peak_of(function):
    """Return what a function returns, and the most bytes that arrays had meanwhile."""
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_functions_of_16_bits_take_little_memory():
    y = np.arange(-32767, 32768)
    spec = Thresholds((111 * y // 31 + (y >= 1000) * 2)[np.newaxis], -32768)
    found, peak = peak_of(lambda: fit(spec, Domain(-2**18, 2**18)))
    assert isinstance(found, Quotient)
    assert found.is_kinked
    assert peak < 2**28
    acc = np.arange(-2**18, 2**18 + 1)[:, np.newaxis]
    assert np.array_equal(found(acc), spec(acc))


def test_sums_of_wide_tensors_take_little_memory():
    wide = Tensor((2,), -2**31, 2**31 - 1)
    spec = Thresholds(np.arange(-7, 8)[np.newaxis] << 28, -8)
    graph = Graph(wide, (Node("sum", Add(), (INPUT, INPUT)),
                         Node("shift", Requantize(spec), ("sum",))))
    found, peak = peak_of(lambda: fit_requantization(graph))
    assert isinstance(found.nodes[1].layer.spec, Scale)
    assert peak < 2**24


def test_few_levels_stay_thresholds():
    rng = np.random.default_rng(0)
    spec = Thresholds(np.sort(rng.integers(-99, 99, (4, 3)), axis=1), 0)
    assert fit(spec, Domain(LO, HI)) is spec


@pytest.mark.parametrize("values", [[[9999] * 20], [[-9999] * 20], [[5] * 20]])
def test_thresholds_that_are_never_or_always_or_all_at_once_reached(values):
    spec = Thresholds(np.array(values * 4), -3)
    assert same_everywhere(fit(spec, Domain(LO, HI)), spec)


def binary(outputs, inputs, factor, seed):
    rng = np.random.default_rng(seed)
    return Graph(Tensor((inputs,), 0, 1), (
        Node("fc", Dense(factor * rng.choice([-1, 1], (outputs, inputs)),
                         rng.integers(-9, 9, outputs)), (INPUT,)),
        Node("act", Requantize(Thresholds(rng.integers(-9, 9, (outputs, 1)), 0)), ("fc",))))


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_a_common_factor_is_stripped(factor, seed):
    graph = binary(6, 9, factor, seed)
    x = np.random.default_rng(seed).integers(0, 2, (200, 9))
    stripped = compile_graph(graph, [strip_common_factor], x)
    assert abs(stripped.nodes[0].layer.weights).max() == 1


def test_thresholds_become_signs():
    graph = binary(6, 9, 2, 0)
    x = np.random.default_rng(0).integers(0, 2, (200, 9))
    assert compile_graph(graph, PIPELINE, x).nodes[1].layer.spec.is_sign


def test_of_a_bias_the_fraction_remains():
    rng = np.random.default_rng(0)
    spec = Quotient(rng.integers(900, 999, 6), rng.integers(-900, 900, (6, 1)), 4, -8, 7)
    dense = Dense(rng.integers(-9, 9, (6, 9)), rng.integers(-9, 9, 6))
    graph = Graph(Tensor((9,), 0, 3), (Node("fc", dense, (INPUT,)),
                                       Node("act", Requantize(spec), ("fc",))))
    x = rng.integers(0, 4, (200, 9))
    absorbed = compile_graph(graph, [absorb_offsets], x).nodes[1].layer.spec
    assert spec.adds
    assert not absorbed.adds
    assert np.array_equal(absorbed.bias, spec.bias % 16)


def test_offsets_are_absorbed_only_where_one_layer_reads():
    graph = binary(6, 9, 1, 0)
    twice = Graph(graph.input, (*graph.nodes, Node("again", graph.nodes[1].layer, ("fc",))))
    assert absorb_offsets(twice).nodes[1].layer.spec is graph.nodes[1].layer.spec


def test_a_pass_that_changes_the_result_is_caught():
    def break_it(graph):
        return Graph(graph.input, graph.nodes[:1])

    with pytest.raises(AssertionError, match="pass 'break_it' changed the result"):
        compile_graph(binary(3, 4, 1, 0), [break_it], np.ones((1, 4), dtype=int))
