# amaranth: UnusedElaboratable=no
from itertools import pairwise

import numpy as np
import pytest

from bittern.boards import board
from bittern.gen.compile import probe
from bittern.gen.design import Design
from bittern.gen.ir import INPUT, Graph, Node, Tensor
from bittern.gen.layers import Dense, Neurons, Requantize
from bittern.gen.search import best_plan
from bittern.gen.tabulate import tabulated
from bittern.gen.verilog import to_verilog
from bittern.hw.ints import shape_of
from bittern.hw.thresholds import Thresholds
from bittern.hw.truth_tables import TruthTable, fill
from bittern.sim import compiled
from bittern.sim.vectors import Vectors


def logicnet(seed, widths, bits, fan_in, lo=0):
    """Layers of neurons that each read `fan_in` of the values before, of `bits` each."""
    rng = np.random.default_rng(seed)
    hi = lo + (1 << bits) - 1
    nodes, edge = [], INPUT
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        weights = np.zeros((outputs, inputs), np.int64)
        for row in weights:
            row[rng.choice(inputs, fan_in, replace=False)] = rng.choice([-3, -2, -1, 1, 2, 3],
                                                                        fan_in)
        thresholds = np.sort(rng.integers(-6, 7, (outputs, (1 << bits) - 1)), axis=1)
        nodes += [Node(f"sum_{k}", Dense(weights, rng.integers(-3, 4, outputs)), (edge,)),
                  Node(f"act_{k}", Requantize(Thresholds(thresholds, lo)), (f"sum_{k}",))]
        edge = f"act_{k}"
    return Graph(Tensor((widths[0],), lo, hi), tuple(nodes))


@pytest.mark.parametrize(("bits", "fan_in", "lo"), [(1, 6, 0), (2, 3, 0), (2, 3, -2), (3, 2, -4),
                                                     (1, 1, 0)])
def test_truth_tables_give_the_same(bits, fan_in, lo):
    graph = logicnet(bits, (9, 12, 7, 5), bits, fan_in, lo)
    tables = tabulated(graph)
    assert [type(node.layer) for node in tables.nodes] == [Neurons] * 3
    assert tables.output == graph.output
    x = probe(graph.input)
    assert np.array_equal(tables.golden(x), graph.golden(x))


def test_what_has_too_many_input_bits_stays():
    graph = logicnet(0, (16, 12, 4), 4, 3)
    assert tabulated(graph) is graph
    dense, act = logicnet(0, (9, 12), 2, 3).nodes
    twice = Graph(Tensor((9,), 0, 3), (dense, act, Node("again", act.layer, (dense.name,))))
    assert tabulated(twice) is twice


def test_a_small_network_at_a_frame_a_clock_is_truth_tables():
    graph = logicnet(0, (16, 24, 12, 5), 2, 3)
    target = board("ulx3s_85f").target(100)
    tables = tabulated(graph)
    fast = best_plan([graph, tables], target, 100e6)
    assert fast.graph is tables
    assert fast.cost.lut4 < best_plan([graph], target, 100e6).cost.lut4 / 3
    wide = logicnet(0, (64, 200, 64), 2, 5) # a truth table takes far more than a shared adder
    slow = best_plan([wide, tabulated(wide)], target, 10e3)
    assert slow.graph is wide


def test_a_bit_that_nothing_shows_to_matter_does_not():
    codes = np.arange(1 << 6)
    known = codes >> 4 != 3 # two bits are never both 1
    values = (codes & 3) + (codes >> 4 & 1)
    filled = fill(values, known, shape_of(0, 4))
    assert np.array_equal(filled[known], values[known])
    assert TruthTable((0, 1, 2), 2, filled).parts <= TruthTable((0, 1, 2), 2, values).parts
    same = fill(np.where(known, codes & 1, 0), known, shape_of(0, 1))
    assert np.array_equal(same, codes & 1)


def test_what_the_layer_before_cannot_give_is_free():
    # both neurons of the first layer are the same, so the sum of the second is 0 or 2
    first = np.array([[1, 0], [1, 0]])
    graph = Graph(Tensor((2,), 0, 1), (
        Node("a", Dense(first, np.zeros(2, np.int64)), (INPUT,)),
        Node("b", Requantize(Thresholds(np.array([[1]]), 0)), ("a",)),
        Node("c", Dense(np.array([[1, 1]]), np.zeros(1, np.int64)), ("b",)),
        Node("d", Requantize(Thresholds(np.array([[1, 2]]), 0)), ("c",))))
    tables = tabulated(graph)
    last = tables.nodes[-1].layer.tables[0]
    assert last.values.tolist() in ([0, 0, 2, 2], [0, 2, 0, 2])
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert np.array_equal(tables.golden(x), graph.golden(x))


def test_truth_tables_and_adders_in_one_design_are_exact_in_every_cycle(tmp_path):
    first, second = logicnet(3, (12, 10), 2, 4), logicnet(4, (10, 8, 4), 2, 6) # 6: adders
    nodes = [Node(f"last_{node.name}", node.layer, tuple(
        "act_0" if edge == INPUT else f"last_{edge}" for edge in node.inputs))
        for node in second.nodes]
    graph = Graph(first.input, (*first.nodes, *nodes))
    tables = tabulated(graph)
    plan = best_plan([tables], board("ulx3s_85f").target(100), 25e6)
    assert len(tables.nodes) == 5
    x = probe(graph.input)
    found = compiled.run(to_verilog(Design(plan)), Vectors(plan.input, plan.output, x,
                                                           graph.golden(x)), tmp_path, seed=1)
    assert found.exact
    assert (found.latency_cycles, found.cycles_per_inference) == (
        plan.timing.latency, plan.timing.interval)
