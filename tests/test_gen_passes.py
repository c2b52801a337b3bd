import numpy as np
import pytest

from bittern.gen.ir import INPUT, Graph, Node, Tensor, compile_graph
from bittern.gen.layers import Dense, Requantize
from bittern.gen.passes import PIPELINE, absorb_offsets, strip_common_factor
from bittern.gen.passes.fit_requantization import fit
from bittern.hw.scale import Rounding, Scale
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
    found = fit(spec, LO, HI)
    assert isinstance(found, Scale)
    assert not found.multiplies
    assert found.shift == shift
    assert same_everywhere(found, spec)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_a_multiplication_is_found_for_float_scales(bits):
    rng = np.random.default_rng(bits)
    scale = rng.uniform(0.01, 0.2, 4).astype(np.float32)
    offset = rng.uniform(-4, 4, 4).astype(np.float32)

    def function(acc, c):
        real = acc.astype(np.float32) * scale[c] + offset[c]
        return np.rint(real).clip(0, 2**bits - 1).astype(np.int64)

    spec = thresholds_of(function, 0, 2**bits - 1)
    found = fit(spec, LO, HI)
    assert isinstance(found, Scale)
    assert same_everywhere(found, spec)
    assert int(found.multiplier.max()).bit_length() <= bits + 10


def test_what_is_no_line_stays_thresholds():
    spec = thresholds_of(lambda acc, _: np.sqrt(acc.clip(0)).astype(int).clip(0, 31), 0, 31)
    assert fit(spec, LO, HI) is spec


def test_few_levels_stay_thresholds():
    rng = np.random.default_rng(0)
    spec = Thresholds(np.sort(rng.integers(-99, 99, (4, 3)), axis=1), 0)
    assert fit(spec, LO, HI) is spec


@pytest.mark.parametrize("values", [[[9999] * 20], [[-9999] * 20], [[5] * 20]])
def test_thresholds_that_are_never_or_always_or_all_at_once_reached(values):
    spec = Thresholds(np.array(values * 4), -3)
    assert same_everywhere(fit(spec, LO, HI), spec)


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


def test_offsets_are_absorbed_only_where_one_layer_reads():
    graph = binary(6, 9, 1, 0)
    twice = Graph(graph.input, (*graph.nodes, Node("again", graph.nodes[1].layer, ("fc",))))
    assert absorb_offsets(twice).nodes[1].layer.spec is graph.nodes[1].layer.spec


def test_a_pass_that_changes_the_result_is_caught():
    def break_it(graph):
        return Graph(graph.input, graph.nodes[:1])

    with pytest.raises(AssertionError, match="pass 'break_it' changed the result"):
        compile_graph(binary(3, 4, 1, 0), [break_it], np.ones((1, 4), dtype=int))
