# amaranth: UnusedElaboratable=no
"""Networks that keep the rows of their maps in SPRAM, which is written or read in a cycle."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import in_line

from bittern.boards import board
from bittern.boards.synthesis import netlist
from bittern.gen.design import Design
from bittern.gen.ir import Tensor
from bittern.gen.layers import Dense, Depthwise, MaxPool, Requantize, Window
from bittern.gen.plan import Plan
from bittern.gen.rtlil import to_rtlil
from bittern.gen.search import fold_to
from bittern.gen.verilog import to_verilog
from bittern.hw.patches import Axis, Patches
from bittern.hw.thresholds import Thresholds
from bittern.sim import compiled
from bittern.sim import netlist as gates
from bittern.sim.vectors import Vectors

BOARD = board("icebreaker")
ROWS = ("n0", "n3", "n5")


def network():
    """Return a convolution, a depthwise one and a pool of maps whose rows are long."""
    rng = np.random.default_rng(0)
    around = Patches(Axis(5, 3, before=1, after=1), Axis(40, 3, before=1, after=1), 1)
    layers = [Window(around),
              Dense(rng.integers(-99, 99, (8, 27)), rng.integers(-9, 9, 8)),
              Requantize(Thresholds(np.sort(rng.integers(-999, 999, (1, 15))), -8)),
              Depthwise(around, rng.integers(-99, 99, (8, 9)), rng.integers(-9, 9, 8)),
              Requantize(Thresholds(np.sort(rng.integers(-999, 999, (1, 15))), -8)),
              MaxPool(Patches(Axis(5, 2, 2), Axis(40, 2, 2)))]
    return in_line(Tensor((5, 40, 3), -8, 7), layers)


GRAPH = network()
X = np.random.default_rng(1).integers(-8, 8, (3, *GRAPH.input.shape))
Y = GRAPH.golden(X)


def in_spram(plan):
    """Return `plan` with the rows of all maps in SPRAM."""
    return Plan(plan.graph, {name: replace(fold, spram=name in ROWS)
                             for name, fold in plan.folds.items()}, plan.target)


@pytest.mark.parametrize("cycles", [1, 5000])
def test_nothing_is_lost_and_all_takes_the_predicted_cycles(cycles, tmp_path):
    plan = in_spram(fold_to(GRAPH, cycles, replace(BOARD.target(), spram=0)))
    assert plan.cost.spram >= len(ROWS)
    assert not plan.load
    vectors = Vectors(plan.input, plan.output, X, Y)
    found = compiled.run(to_verilog(Design(plan)), vectors, tmp_path, seed=1)
    assert found.exact, found.mismatch
    assert found.latency_cycles == plan.timing.latency
    assert found.cycles_per_inference == plan.timing.interval


def test_the_netlist_is_exact(tmp_path):
    plan = in_spram(fold_to(GRAPH, 10**6, replace(BOARD.target(), spram=0)))
    mapped = netlist(to_rtlil(Design(plan)), BOARD.family)
    assert mapped.count("SB_SPRAM256KA") == len(ROWS)
    found = gates.run(mapped, "ice40", Vectors(plan.input, plan.output, X, Y), tmp_path, seed=1)
    assert found.exact, found.mismatch


def test_rows_are_moved_where_blocks_of_memory_are_missing():
    target = BOARD.target()
    least = fold_to(GRAPH, 10**6, target).cost.bram
    plans = [fold_to(GRAPH, 10**6, replace(target, bram=least - lacks)) for lacks in range(4)]
    assert not plans[0].cost.spram
    assert plans[-1].cost.spram
    for plan in plans:
        assert plan.fits
        moved = [name for name, fold in plan.folds.items() if fold.spram]
        assert set(moved) <= set(ROWS)
