# amaranth: UnusedElaboratable=no
"""Weights as wiring: graphs of adders, the search for them, and their pipelines."""

from __future__ import annotations

import time
from itertools import pairwise, product

import numpy as np
import pytest
from amaranth import Module, Signal, signed

from bittern.boards.board import Family
from bittern.boards.measure import count_all
from bittern.gen.compile import with_formats
from bittern.gen.cost import Target
from bittern.gen.ir import Graph as Network
from bittern.gen.ir import Node, Tensor
from bittern.gen.layers import Dense
from bittern.gen.search import make_plan
from bittern.gen.units import HardenedUnit
from bittern.hw.hardened import blocks
from bittern.hw.hardened.graph import ZERO, Add, Graph
from bittern.hw.hardened.rows import Style
from bittern.hw.hardened.schedule import Schedule, schedule
from bittern.hw.hardened.search import build, search, styles_for
from bittern.hw.hardened.space import Affine, Space, signed_digits
from bittern.hw.operators import ConstantMatrix, Function
from bittern.hw.operators.constant_matrix import lay
from bittern.hw.pipeline import Stages

CASES = [((-8, 8), (6, 5), (-8, 7)), ((-1, 2), (9, 12), (0, 1)), ((-128, 128), (4, 6), (-128, 127)),
         ((0, 1), (3, 4), (0, 3)), ((-2, 1), (12, 8), (0, 15))]


def problem(case, seed=1):
    (low, high), shape, x = case
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, shape), rng.integers(-9, 10, shape[0]), [x] * shape[1]


def is_of(graph, matrix, bias):
    found, constant = graph.affine
    return np.array_equal(found, matrix) and np.array_equal(constant, bias)


@pytest.mark.parametrize("c", [*range(-70, 70), 255, -1023, 21845])
def test_signed_digits_are_the_number_and_no_two_are_neighbours(c):
    digits = signed_digits(c)
    assert sum(sign << shift for shift, sign in digits) == c
    shifts = sorted(shift for shift, _ in digits)
    assert all(b - a > 1 for a, b in pairwise(shifts))


@pytest.mark.parametrize("case", CASES)
def test_every_style_finds_a_graph_of_the_matrix(case):
    matrix, bias, inputs = problem(case)
    wanted = Affine.of(matrix, bias, inputs)
    for style in (*styles_for(Space(wanted, Family.ECP5)), Style(noise=0.5, seed=3), Style(1)):
        graph = build(wanted, Family.ECP5, style)
        assert is_of(graph, matrix, bias), style


@pytest.mark.parametrize("family", Family, ids=lambda family: family.name)
@pytest.mark.parametrize("case", CASES)
def test_steps_keep_the_matrix_and_make_it_no_larger(case, family):
    matrix, bias, inputs = problem(case)
    greedy, better = (search(matrix, bias, inputs, family, steps=steps) for steps in (0, 60))
    assert is_of(greedy, matrix, bias)
    assert is_of(better, matrix, bias)
    assert better.lut4(family) <= greedy.lut4(family)
    assert search(matrix, bias, inputs, family, steps=60) == better


def test_shared_sums_are_added_up_once():
    matrix = np.array([[1, 1, 0], [1, 1, 1], [4, 4, -1], [-1, -1, 0]])
    graph = search(matrix, np.zeros(4, int), [(0, 7)] * 3, Family.ECP5)
    assert len(graph.adds) == 4 # the sum, two that use it, and its negative


def test_results_that_would_be_negated_are_inverted_where_that_is_free():
    matrix, bias = np.array([[-1, -1]]), np.array([-5])
    plain, free = (search(matrix, bias, [(0, 3)] * 2, Family.ECP5, inverts=inverts)
                   for inverts in (False, True))
    assert (plain.negations, free.negations) == ([0], [])
    assert all(is_of(graph, matrix, bias) for graph in (plain, free))


def test_ranges_are_exact_and_disjoint_words_are_wires():
    graph = Graph(((0, 3), (-4, 3)), (Add(0, 1, 2, minus=False), Add(ZERO, 0, 0, minus=True)),
                  ((2, 0), (3, 1)))
    assert graph.ranges[2:] == ((-16, 15), (-3, 0))
    assert [graph.chain(k) for k in range(2)] == [0, 3]
    assert graph.matrix.tolist() == [[1, 4], [-2, 0]]


@pytest.mark.parametrize("mhz", [60, 150, 400])
def test_a_pipeline_has_the_registers_it_says(mhz):
    matrix, bias, inputs = problem(CASES[0])
    graph = search(matrix, bias, inputs, Family.ECP5, steps=0)
    plan = schedule(graph, Family.ECP5, mhz)
    stages = Stages(Module())
    lay(plan, stages, [Signal(shape) for shape in graph.shapes[:graph.operands]])
    assert (stages.latency, stages.ff) == (plan.last, plan.ff)
    assert plan.mhz(Family.ECP5) >= min(mhz, 150) # 400 is too fast for an adder
    assert plan.mhz(Family.ECP5, tail=3) < plan.mhz(Family.ECP5)
    assert is_pipeline(plan)


@pytest.mark.parametrize(("mhz", "head", "tail"), [
    (150, 0, 0), (150, 2, 0), (150, 0, 2), (150, 2, 2), (250, 0, 0), (250, 1, 1)])
def test_no_other_pipeline_is_shorter_or_has_fewer_registers(mhz, head, tail):
    rng = np.random.default_rng(3)
    matrix = rng.integers(-9, 10, (2, 3))
    graph = search(matrix, np.zeros(2, int), [(-8, 7)] * 3, Family.ECP5, steps=0)
    assert len(graph.adds) < 9
    best = schedule(graph, Family.ECP5, mhz, tail, head)

    def every(last):
        plans = (Schedule(graph, stages, last)
                 for stages in product(range(last + 1), repeat=len(graph.adds)))
        return [plan.ff for plan in plans
                if is_pipeline(plan) and plan.mhz(Family.ECP5, tail, head) >= mhz]

    assert is_pipeline(best)
    assert best.mhz(Family.ECP5, tail, head) >= mhz
    assert min(every(best.last)) == best.ff < max(every(best.last))
    assert not every(best.last - 1)


def is_pipeline(plan):
    at = [0] * len(plan.graph.inputs) + list(plan.stages)
    return all(at[n] <= stage for add, stage in zip(plan.graph.adds, plan.stages, strict=True)
               for n in (add.a, add.b) if n != ZERO)


def test_a_faster_clock_takes_more_stages():
    graph = search(*problem(CASES[0]), Family.ECP5, steps=0)
    lasts = [schedule(graph, Family.ECP5, mhz).last for mhz in (0, 60, 150, 400)]
    assert lasts == sorted(lasts)
    assert lasts[0] == 0 < lasts[-1] < len(graph.adds)
    assert isinstance(schedule(graph, Family.ECP5, 0), Schedule)


def test_the_estimate_is_what_yosys_makes_of_it_on_the_ecp5():
    matrix, bias, inputs = problem(((-8, 8), (8, 8), (-128, 127)))
    graph = search(matrix, bias * 0, inputs, Family.ECP5)
    (usage,) = count_all([Function(ConstantMatrix(graph))], Family.ECP5, dsp=False)
    assert usage.lut4 == graph.lut4(Family.ECP5)


def test_an_interruption_and_a_limit_leave_the_best_so_far():
    matrix, bias, inputs = problem(CASES[0])

    def interrupt(step, _sites):
        if step >= 32:
            raise KeyboardInterrupt

    graph = search(matrix, bias, inputs, Family.ECP5, steps=10**9, progress=interrupt)
    assert is_of(graph, matrix, bias)
    begin = time.monotonic()
    graph = search(matrix, bias, inputs, Family.ECP5, steps=10**9, seconds=0.2)
    assert time.monotonic() - begin < 20
    assert is_of(graph, matrix, bias)


def network(weights):
    layer = Dense(weights, np.zeros(len(weights), dtype=int))
    return Network(Tensor((weights.shape[1],), 0, 15), (Node("fc", layer, ("input",)),))


@pytest.mark.parametrize(("digits", "least"), [(15, 1), (40, 1), (1000, 3)])
@pytest.mark.parametrize("seed", range(6))
def test_blocks_of_columns_add_up_to_the_matrix(digits, least, seed, monkeypatch):
    monkeypatch.setattr(blocks, "DIGITS", digits)
    rng = np.random.default_rng(seed)
    outputs, inputs = rng.integers(1, 7), rng.integers(13, 20)
    matrix = rng.integers(-9, 10, (outputs, inputs))
    matrix[0] *= seed % 3 != 0
    matrix[:, 3:5] = 0
    bias = rng.integers(-20, 20, outputs) * (seed % 2)
    cut = blocks.blocks_of(matrix, least)
    assert least in (1, len(cut))
    assert np.array_equal(np.concatenate([matrix[:, part] for part in cut], axis=1), matrix)
    graph = search(matrix, bias, [(0, 3)] * inputs, Family.ECP5, mhz=150, steps=10,
                   inverts=seed == 5, blocks=least)
    assert (outputs * inputs < 4 * digits) or len(cut) > 1
    assert all(np.array_equal(*pair) for pair in zip(graph.affine, (matrix, bias), strict=True))
    x = rng.integers(0, 4, (50, inputs))
    ends = np.array(graph.ranges)[[node for node, _ in graph.outputs]]
    y = x @ matrix.T + bias
    y[:, [*graph.inverted]] ^= -1
    shifts = np.array([shift for _, shift in graph.outputs])
    assert (((ends[:, 0] << shifts) <= y) & (y <= (ends[:, 1] << shifts)))[:, matrix.any(1)].all()


def test_an_interruption_ends_the_search_of_all_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "DIGITS", 30)
    told = []

    def interrupt(step, _sites):
        told.append(step)
        raise KeyboardInterrupt

    matrix = np.random.default_rng(0).integers(-9, 10, (6, 18))
    graph = search(matrix, np.zeros(6, int), [(0, 3)] * 18, Family.ECP5, steps=10**6,
                   progress=interrupt)
    assert np.array_equal(graph.affine[0], matrix)
    assert told == [0] # only the first block is improved, until then


def test_all_layers_that_can_be_are_hardened():
    graph = with_formats(network(np.array([[1, -1], [2, 3]])), {"*": "hardened"})
    assert set(graph.nodes[0].layer.units) == {"hardened"}
    assert isinstance(graph.nodes[0].layer.units["hardened"], HardenedUnit)
    with pytest.raises(ValueError, match=r"format 'binary' holds the weights of no layer; .*: fc"):
        with_formats(network(np.array([[1, -1], [2, 3]])), {"*": "binary"})


def test_a_layer_too_large_to_harden_says_what_it_would_take_otherwise():
    weights = np.random.default_rng(1).integers(-128, 128, (60, 60))
    small = Target("a small board", 5000, 30, 8, 5000, 4096, 16, 50)
    with pytest.raises(ValueError, match=r"a small board has 5,000.*Layer 'fc' takes .* LUTs as "
                                         r"hardened, and from .* on in other formats"):
        make_plan(with_formats(network(weights), {"fc": "hardened"}), small)


def test_a_pipeline_of_one_input_and_no_adder_is_wires():
    operator = ConstantMatrix(search(np.array([[4]]), np.array([0]), [(-4, 3)], Family.ICE40),
                              Family.ICE40, 100)
    assert (operator.latency, operator.outputs) == (0, (signed(5),))


def test_no_register_holds_a_bit_that_never_changes():
    rng = np.random.default_rng(4)
    matrix = 4 * rng.integers(-9, 10, (5, 4)) * rng.integers(0, 2, (5, 4))
    graph = search(matrix, rng.integers(-99, 99, 5), [(-8, 7)] * 4, Family.ECP5, steps=0)
    x = rng.integers(-8, 8, (500, graph.operands))
    given = [lo for lo, _ in graph.inputs[graph.operands:]]
    nodes = x @ graph.rows[:, :graph.operands].T + graph.rows[:, graph.operands:] @ given
    assert any(first for first, _ in graph.changing)
    for y, (first, end), (lo, hi), shape in zip(nodes.T, graph.changing, graph.ranges,
                                                graph.shapes, strict=True):
        changes = np.bitwise_or.reduce(y ^ y[0]) & (1 << shape.width) - 1
        assert changes < 1 << end
        assert changes % (1 << first) == 0
        assert lo == hi or changes >> first & 1
