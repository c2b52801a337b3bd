# amaranth: UnusedElaboratable=no
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bittern.gen.cost import Cost, Target
from bittern.gen.design import Design
from bittern.gen.ir import INPUT, Graph, Node, Tensor, compile_graph
from bittern.gen.layers import Add, Dense, Requantize
from bittern.gen.passes import PIPELINE
from bittern.gen.search import choices, fold_to, make_plan
from bittern.hw.thresholds import Thresholds
from bittern.sim.bench import run_stream

SMALL = Target("a small device", lut4=5280, bram=30, dsp=8, ff=5280, bram_bits=4096, bram_width=16,
               clock_mhz=24)


class Builder:
    """Random layers, by a seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes = []

    def dense(self, source, inputs, outputs, values=(-1, 0, 1)):
        return self._add(Dense(self.rng.choice(values, (outputs, inputs)),
                               self.rng.integers(-5, 5, outputs)), source)

    def act(self, source, features, levels=3):
        values = np.sort(self.rng.integers(-9, 9, (features, levels)), axis=1)
        return self._add(Requantize(Thresholds(values, 0)), source)

    def add(self, *sources):
        return self._add(Add(), *sources)

    def _add(self, layer, *sources):
        self.nodes.append(Node(f"n{len(self.nodes)}", layer, sources))
        return self.nodes[-1].name


def chain(seed, sizes, lo, hi):
    b, edge = Builder(seed), INPUT
    for inputs, outputs in pairwise(sizes):
        edge = b.act(b.dense(edge, inputs, outputs), outputs, levels=1 + seed % 3)
    b.dense(edge, sizes[-1], 3, values=range(-8, 8))
    return Graph(Tensor((sizes[0],), lo, hi), tuple(b.nodes))


def residual(seed):
    b = Builder(seed)
    first = b.act(b.dense(INPUT, 6, 6), 6)
    second = b.act(b.dense(first, 6, 6), 6)
    joined = b.add(first, second)
    third = b.act(b.dense(joined, 6, 6), 6)
    b.dense(b.add(third, INPUT), 6, 2)
    return Graph(Tensor((6,), 0, 3), tuple(b.nodes))


GRAPHS = {"primes": chain(0, [13, 7, 11], 0, 3), "one": chain(1, [1, 1, 1], -2, 1),
          "binary": chain(3, [16, 8, 8], 0, 1), "residual": residual(4),
          "only a requantization": Graph(Tensor((5,), -9, 9), (
              Node("act", Requantize(Thresholds(np.array([[-3, 0, 4]]), 0)), (INPUT,)),))}


@pytest.mark.parametrize(("port", "multipliers"), [(8, 2), (9, 3), (0, 3)])
def test_two_products_of_8_bits_count_as_one_multiplier_where_they_are(port, multipliers):
    assert Cost(dsp=3, port=port).on(replace(SMALL, halves=True)).dsp == multipliers
    assert Cost(dsp=3, port=port).on(SMALL).dsp == 3


def test_memories_are_made_of_luts_where_blocks_are_scarce():
    graph = chain(2, [64, 128, 64], 0, 15)
    many = replace(SMALL, lut4=24_000, ff=24_000, bram=56, bram_bits=18_432, lut_ram=True)
    usual = fold_to(graph, 512, many)
    assert usual.estimate.bram > 1
    few = fold_to(graph, 512, replace(many, bram=1))
    assert few.fits
    assert few.estimate.bram <= 1
    assert few.estimate.lut4 > usual.estimate.lut4
    shallow = [sum(1 for cell in plan.cells for _ in cell.cost.shallow(plan.target_of(cell.layer)))
               for plan in (usual, few)]
    assert 0 < shallow[0] < shallow[1]


@pytest.mark.parametrize("cycles", [1, 3, 10, 50, 1000])
@pytest.mark.parametrize("name", GRAPHS)
def test_whole_networks_are_exact_and_take_the_predicted_cycles(name, cycles):
    graph, frames = GRAPHS[name], max(6, 200 // cycles) # beyond what is in flight at first
    x = np.random.default_rng(cycles).integers(graph.input.lo, graph.input.hi + 1,
                                               (frames, *graph.input.shape))
    compiled = compile_graph(graph, PIPELINE, x)
    plan = fold_to(compiled, cycles, SMALL)
    padded = np.zeros((frames, plan.input.transfers * plan.input.lanes), dtype=int)
    padded[:, :plan.input.features] = x
    sent = padded.reshape(-1, plan.input.lanes).tolist()
    count = plan.output.transfers
    for stall in (0, 0.3):
        run = run_stream(Design(plan), sent, outputs=frames * count, seed=cycles, stall=stall)
        y = np.array(run.outputs).reshape(frames, -1)[:, :plan.output.features]
        assert np.array_equal(y, graph.golden(x)), stall
        if not stall:
            ends = run.stamps[count - 1::count]
            assert (ends[0], ends[-1] - ends[-2]) == (plan.timing.latency, plan.timing.interval)


def test_more_cycles_never_cost_more():
    graph = chain(0, [64, 32, 32], 0, 3)
    costs = [fold_to(graph, cycles, SMALL).cost.lut4 for cycles in (8, 32, 128, 512, 2048)]
    assert costs == sorted(costs, reverse=True)


def test_a_layer_much_faster_than_the_rest_has_choices_too():
    graph = chain(0, [256, 64, 2], 0, 3)
    plan = fold_to(graph, 16384, SMALL)
    assert all(choices(plan, node) for node in graph.nodes if plan.folds[node.name].format)


def test_the_rate_is_met_and_the_plan_fits():
    graph = chain(0, [64, 32, 32], 0, 3)
    plan = make_plan(graph, SMALL, fps=200_000)
    assert plan.steps <= 120
    assert plan.timing.interval == plan.steps
    assert plan.fits


def test_the_fastest_that_fits_is_found():
    graph = chain(0, [64, 32, 32], 0, 3)
    plan = make_plan(graph, SMALL, fps=float("inf"))
    assert plan.fits
    assert plan.steps < make_plan(graph, SMALL).steps


def test_a_rate_that_is_too_high_says_what_is_possible():
    with pytest.raises(ValueError, match="at most 24,000,000 frames a second are possible"):
        make_plan(chain(0, [4, 4], 0, 3), SMALL, fps=1e9)


def test_a_device_that_is_too_small_says_what_is_needed():
    with pytest.raises(ValueError,
                       match=r"about [\d,]+ LUTs, [\d,]+ flip-flops, \d+ blocks .* has 5,280"):
        make_plan(chain(0, [256, 128, 64], 0, 255), SMALL, fps=1e5)
    with pytest.raises(ValueError, match="are needed"):
        make_plan(chain(0, [1000, 1000], 0, 255), SMALL)


def test_no_path_of_ready_signals_passes_more_cells_than_the_clock_allows():
    graph = compile_graph(residual(4), PIPELINE, np.zeros((1, *residual(4).input.shape), int))
    names = {mhz: {cell.name for cell in fold_to(graph, 50, replace(SMALL, clock_mhz=mhz)).cells}
             for mhz in (20, 200)}
    added = names[200] - names[20]
    assert {name.rpartition("_")[0].rpartition("_")[2] for name in added} == {"o", "front"}
