"""Compilation keeps what a network computes; passes that do not are caught."""

from dataclasses import replace

import numpy as np
import pytest

from bittern.boards import board
from bittern.gen.compile import compile_network, optimize, probe
from bittern.gen.ir import Graph, Node, Tensor
from bittern.gen.layers import Dense, Requantize
from bittern.gen.network import Network
from bittern.hw.thresholds import Thresholds

WEIGHTS = np.random.default_rng(1).integers(-1, 2, (12, 20))
GRAPH = Graph(Tensor((20,), -8, 7), (
    Node("fc", Dense(WEIGHTS, np.zeros(12, np.int64)), ("input",)),
    Node("act", Requantize(Thresholds(np.array([[-4, 0, 4]] * 12), 0)), ("fc",))))
NETWORK = Network("net", GRAPH, (20,), np.asarray, np.asarray, (), {})


def test_probe_has_corners_and_stays_in_the_range():
    x = probe(Tensor((3, 4), -5, 9))
    assert x.shape[1:] == (3, 4)
    assert x.min() == -5
    assert x.max() == 9
    assert (x[0] == -5).all()
    assert (x[1] == 9).all()
    np.testing.assert_array_equal(x, probe(Tensor((3, 4), -5, 9)))


def test_plan_computes_what_the_network_does_at_the_rate_asked_for():
    target = board("icebreaker").target(30)
    for fps in (None, 200_000, float("inf")):
        plan = compile_network(NETWORK, target, fps)
        x = probe(GRAPH.input)
        np.testing.assert_array_equal(plan.graph.golden(x), GRAPH.golden(x))
        if fps is not None and np.isfinite(fps):
            assert 30e6 / plan.timing.interval >= fps


def test_a_target_that_is_too_small_says_what_is_needed():
    with pytest.raises(ValueError, match="needed"):
        compile_network(NETWORK, replace(board("icebreaker").target(), lut4=20))


def test_a_wrong_pass_is_caught(monkeypatch):
    monkeypatch.setattr("bittern.gen.compile.PIPELINE",
                        (lambda graph: replace(graph, nodes=graph.nodes[:1]),))
    with pytest.raises(AssertionError, match="changed the result"):
        optimize(GRAPH)
