# amaranth: UnusedElaboratable=no
from dataclasses import replace

import numpy as np
import pytest

from bittern.boards import board
from bittern.gen.design import Design
from bittern.gen.ir import INPUT, Graph, Node, Tensor
from bittern.gen.layers import Add, Dense, Depthwise, LoopEntry, LoopExit, Requantize, Window
from bittern.gen.plan import Plan
from bittern.gen.roll import rolled
from bittern.gen.search import RateError, best_plan, fold_to
from bittern.hw.patches import Axis, Patches
from bittern.hw.quotient import Quotient
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds
from bittern.sim.bench import run_stream

TARGET = board("ulx3s_85f").target(50)


class Chain:
    """Layers one after the other, with random parameters by a seed."""

    def __init__(self, seed, *shape, lo=0, hi=3):
        self.rng = np.random.default_rng(seed)
        self.input, self.nodes = Tensor(shape, lo, hi), []

    @property
    def type(self):
        return list(self.graph.types().values())[-1]

    @property
    def graph(self):
        return Graph(self.input, tuple(self.nodes))

    def add(self, layer):
        edge = self.nodes[-1].name if self.nodes else INPUT
        self.nodes.append(Node(f"n{len(self.nodes)}", layer, (edge,)))
        return self

    def dense(self, outputs):
        weights = self.rng.integers(-8, 8, (outputs, self.type.channels))
        return self.add(Dense(weights, self.rng.integers(-9, 9, outputs)))

    def depthwise(self):
        rows, columns, channels = self.type.shape
        patches = Patches(Axis(rows, 3, before=1, after=1), Axis(columns, 3, before=1, after=1), 1)
        return self.add(Depthwise(patches, self.rng.integers(-4, 4, (channels, 9)),
                                  self.rng.integers(-9, 9, channels)))

    def window(self):
        rows, columns, _ = self.type.shape
        return self.add(Window(Patches(Axis(rows, 2, after=1), Axis(columns, 3, before=1, after=1),
                                       2)))

    def thresholds(self, levels=3, channels=None):
        channels = self.type.channels if channels is None else channels
        values = np.sort(self.rng.integers(self.type.lo, self.type.hi, (channels, levels)), axis=1)
        return self.add(Requantize(Thresholds(values, 0)))

    def quotient(self, lines=1, channels=None):
        channels, shift = channels or self.type.channels, int(self.rng.integers(0, 3))
        divisor = self.rng.integers(self.type.hi // 2 + 1, self.type.hi + 9, channels) << shift
        bias = self.rng.integers(-9, 9, (channels, lines))
        return self.add(Requantize(Quotient(divisor, bias, shift, 0, 3)))


def perceptron(seed, blocks=3, width=6):
    chain = Chain(seed, width)
    for _ in range(blocks):
        chain.dense(width).thresholds()
    return chain.dense(3).graph


def separable(seed, shape, blocks):
    """Depthwise and pointwise convolutions, as of MobileNet."""
    chain = Chain(seed, *shape[:2], 2).dense(shape[2]).quotient()
    for k in range(blocks):
        chain.depthwise().quotient(lines=1 + k % 2).dense(shape[2]).quotient(channels=1 + k % 2 * (
            shape[2] - 1))
    return chain.dense(2).graph


def convolutions(seed, blocks):
    chain = Chain(seed, 3, 4, 3)
    for _ in range(blocks):
        chain.window().dense(3).thresholds(channels=1)
    return chain.graph


def around(seed):
    """A loop, and an edge past it."""
    graph = separable(seed, (3, 5, 4), 3)
    nodes = graph.nodes[:-1]
    return replace(graph, nodes=(*nodes, Node("sum", Add(), (nodes[-1].name, nodes[1].name))))


GRAPHS = {"perceptron": (perceptron(0), 3), "two": (perceptron(1, blocks=2, width=1), 2),
          "separable": (separable(2, (3, 5, 4), 2), 2), "prime": (separable(3, (4, 3, 5), 3), 3),
          "one place": (separable(4, (1, 1, 7), 4), 4), "convolutions": (convolutions(5, 4), 4),
          "around": (around(6), 3)}


def frames_of(tensor, frames, seed=0):
    return np.random.default_rng(seed).integers(tensor.lo, tensor.hi + 1, (frames, *tensor.shape))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_loop_computes_what_its_layers_did(name):
    graph, turns = GRAPHS[name]
    loop = rolled(graph)
    (leave,) = [node.layer for node in loop.nodes if isinstance(node.layer, LoopExit)]
    assert (leave.turns, loop.turns) == (turns, turns)
    assert len(loop.nodes) < len(graph.nodes) + 2
    x = frames_of(graph.input, 7)
    assert np.array_equal(loop.golden(x), graph.golden(x))


def in_spram(plan):
    """Return `plan` with every memory in SPRAM that can be."""
    def moved(node, fold):
        words, _ = node.layer.stores(fold, *(plan.types[i] for i in node.inputs)) or (0, 0)
        return replace(fold, spram=words > 1)

    return Plan(plan.graph, {node.name: moved(node, plan.folds[node.name])
                             for node in plan.graph.nodes}, plan.target)


@pytest.mark.parametrize("spram", [False, True])
@pytest.mark.parametrize("cycles", [1, 300, 3000])
@pytest.mark.parametrize("name", GRAPHS)
def test_loops_are_exact_and_take_the_predicted_cycles(name, cycles, spram):
    graph, _ = GRAPHS[name]
    plan, frames = fold_to(rolled(graph), cycles, TARGET), 4
    if spram:
        plan = in_spram(plan)
        assert plan.cost.spram
    x = frames_of(graph.input, frames, cycles)
    vectors = x.reshape(frames * graph.input.vectors, -1)
    lanes = plan.input.lanes
    padded = np.zeros((len(vectors), -(-vectors.shape[1] // lanes) * lanes), dtype=int)
    padded[:, :vectors.shape[1]] = vectors
    count = plan.output.transfers
    expected = graph.golden(x)
    for stall in (0, 0.3):
        inputs = {"i": padded.reshape(-1, lanes).tolist()}
        if plan.load:
            inputs["load"] = plan.load
        run = run_stream(Design(plan), inputs, outputs=frames * count, seed=cycles, stall=stall)
        channels = expected.shape[-1]
        y = np.array(run.outputs).reshape(expected.size // channels, -1)[:, :channels]
        assert np.array_equal(y, expected.reshape(y.shape)), stall
        if not stall:
            ends = run.stamps[count - 1::count]
            # a byte a cycle, and two until frames are let in
            loading = len(plan.load) + 1 if plan.load else 0
            assert ends[0] - loading == plan.timing.latency
            assert ends[-1] - ends[-2] == plan.timing.interval


@pytest.mark.parametrize("graph", [
    Chain(0, 6).dense(6).thresholds().dense(5).thresholds().graph,
    Chain(0, 6).dense(6).thresholds().dense(6).thresholds(levels=7).graph,
    Chain(0, 6).dense(6).dense(6).dense(6).graph, # ranges grow
    Chain(0, 3, 3, 2).depthwise().quotient().graph, Graph(Tensor((3,), 0, 1), ())])
def test_what_differs_is_no_loop(graph):
    assert rolled(graph) is graph


def test_a_table_is_for_one_layer():
    def table(chain):
        y = chain.type
        return chain.add(Requantize(Table(np.arange(y.hi - y.lo + 1)[None] % 4, y.lo)))

    chain = Chain(0, 4, lo=-3)
    for _ in range(3):
        chain = table(chain.dense(4))
    graph = chain.graph
    assert rolled(graph) is graph


def test_what_is_read_elsewhere_is_in_no_loop():
    graph = perceptron(0)
    first = graph.nodes[1].name
    graph = replace(graph, nodes=(*graph.nodes[:-1],
                                  Node("sum", Add(), (graph.nodes[-2].name, first))))
    loop = rolled(graph)
    assert loop.turns == 2
    x = frames_of(graph.input, 5)
    assert np.array_equal(loop.golden(x), graph.golden(x))


def test_a_format_that_was_asked_for_is_kept():
    graph = perceptron(0, blocks=2)
    first = graph.nodes[0]
    asked = replace(first, layer=first.layer.with_fields(only="sparse"))
    graph = replace(graph, nodes=(asked, *graph.nodes[1:]))
    assert rolled(graph) is graph


def test_the_fewest_bits_go_around():
    loop = rolled(separable(2, (3, 5, 4), 3))
    entry = next(node for node in loop.nodes if isinstance(node.layer, LoopEntry))
    assert loop.types()[entry.name].element.width == 2 # not the sums


def test_a_small_device_takes_a_loop():
    graph, _ = GRAPHS["separable"]
    plain, loop = (fold_to(g, 10**6, TARGET) for g in (graph, rolled(graph)))
    small = replace(TARGET, lut4=int(plain.cost.lut4 / 0.95), ff=10**5)
    assert best_plan([graph, rolled(graph)], small, 1).graph.turns == 2
    assert loop.cost.lut4 < plain.cost.lut4


def test_a_rate_that_only_a_loop_has_not_is_told_by_what_is_missing():
    graph, _ = GRAPHS["separable"]
    fastest = fold_to(graph, 1, TARGET)
    rate = TARGET.clock_mhz * 1e6 / fastest.steps
    small = replace(TARGET, lut4=fastest.cost.lut4 // 2)
    with pytest.raises(ValueError, match=r"LUTs, .* are needed for a frame every"):
        best_plan([graph, rolled(graph)], small, rate)
    with pytest.raises(RateError, match=f"at most {rate:,.0f} frames a second") as caught:
        best_plan([graph, rolled(graph)], TARGET, 2 * rate)
    assert caught.value.reached == rate
