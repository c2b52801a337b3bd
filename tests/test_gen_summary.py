"""What is told of a plan: how busy its multipliers are."""

import numpy as np
import pytest

from bittern.gen.ir import INPUT, Fold, Graph, Node, Tensor
from bittern.gen.layers import LAYERS, Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.weighted import Weighted
from bittern.gen.plan import Plan
from bittern.gen.roll import rolled
from bittern.gen.summary import summarize_plan
from bittern.hw.patches import Axis, Patches
from bittern.hw.thresholds import Thresholds
from bittern.jobs import NO_BOARD


def told(graph, **folds):
    return summarize_plan(Plan(graph, folds, NO_BOARD))


def test_the_share_of_busy_multipliers_is_what_one_counts():
    # 6 outputs of 8 inputs, 5 weights of them 0, at each of 3 places: 4 products a cycle, 12 cycles
    weights = np.ones((6, 8), int)
    weights[0, :5] = 0
    graph = Graph(Tensor((3, 8), -128, 127), (
        Node("dense", Dense(weights, np.zeros(6, int)), (INPUT,)),
        Node("sign", Requantize(Thresholds(np.zeros((1, 1), int), 0)), ("dense",))))
    plan = told(graph, dense=Fold(2, 2, "digits"), sign=Fold(2, 2))
    dense, sign = plan["layers"]
    assert plan["predicted_cycles_per_inference"] == 36
    assert (dense["products"], dense["multipliers"], dense["busy"]) == (3 * 43, 4, 129 / 144)
    assert (sign["products"], sign["multipliers"], sign["busy"]) == (0, 0, None)
    assert (plan["multipliers"], plan["busy"]) == (4, 129 / 144)


def test_layers_that_wait_for_another_are_less_busy():
    patches = Patches(Axis(4, 3, before=1, after=1), Axis(4, 3, before=1, after=1))
    ones = np.full((2, 9), 3)
    graph = Graph(Tensor((4, 4, 2), 0, 15), (
        Node("depthwise", Depthwise(patches, ones, np.zeros(2, int)), (INPUT,)),
        Node("point", Dense(np.ones((4, 2), int), np.zeros(4, int)), ("depthwise",))))
    plan = told(graph, depthwise=Fold(1, 1, "digits"), point=Fold(4, 2, "digits"))
    depthwise, point = plan["layers"]
    assert plan["predicted_cycles_per_inference"] == 288
    assert (depthwise["multipliers"], depthwise["busy"]) == (1, 1)
    assert (point["multipliers"], point["busy"]) == (8, 16 / 288)
    assert plan["busy"] == (288 + 128) / (9 * 288)


@pytest.mark.parametrize(("weights", "name", "multipliers"), [
    ([[0, 5, 0, 0, 0, 0, 7, 0]] * 2, "n-of-m", 4), # one of two groups of 4, in 2 rows
    ([[3, 5, 9, 2]] * 2, "packed-multiplier", 8), # half as many of the device
    ([[0, 5, 0, 0, 0, 0, 7, 0]] * 2, "zero-run", 2)]) # a lane each
def test_multipliers_are_counted_whatever_they_are_made_of(weights, name, multipliers):
    layer = Dense(np.array(weights), np.zeros(2, int))
    xs = Tensor((len(weights[0]),), -128, 127)
    fold = max((f for f in layer.folds(xs) if f.format == name), key=lambda f: (f.pe, f.simd))
    assert layer.multipliers(fold) == multipliers


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if issubclass(kind, Weighted)])
def test_none_is_busier_than_always(kind):
    for layer, xs in kind.examples():
        y = layer.infer(*xs)
        for fold in layer.folds(*xs):
            products = np.count_nonzero(layer.weights) * y.vectors
            cycles = layer.turns * layer.cycles(fold, *xs)
            assert products <= layer.multipliers(fold) * cycles, fold


def test_a_layer_in_a_loop_takes_the_cycles_of_all_turns():
    rng = np.random.default_rng(0)
    nodes, edge = [], INPUT
    for k in range(3):
        dense = Dense(rng.integers(-8, 8, (4, 4)), np.zeros(4, int))
        values = np.sort(rng.integers(-9, 9, (4, 3)), axis=1)
        nodes += [Node(f"sum_{k}", dense, (edge,)),
                  Node(f"act_{k}", Requantize(Thresholds(values, 0)), (f"sum_{k}",))]
        edge = f"act_{k}"
    graph = rolled(Graph(Tensor((4,), 0, 3), tuple(nodes)))
    folds = {node.name: Fold(1, 1) for node in graph.nodes} | {"sum_0": Fold(1, 1, "digits")}
    plan = told(graph, **folds)
    cycles = {layer["layer"]: layer["cycles"] for layer in plan["layers"]}
    assert cycles == {"sum_0_entry": 12, "sum_0": 48, "act_0": 12, "act_0_exit": 12}
    assert plan["predicted_cycles_per_inference"] >= 48
