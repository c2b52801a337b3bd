# amaranth: UnusedElaboratable=no
"""The networks of each format: each comes out in its form, and stays exact."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bittern.boards import board
from bittern.boards.synthesis import netlist
from bittern.gen.compile import compile_network
from bittern.gen.design import Design
from bittern.gen.importers import read
from bittern.gen.rtlil import to_rtlil
from bittern.sim import netlist as gates
from bittern.sim.bench import run_stream
from bittern.sim.vectors import Vectors

EXAMPLES = Path(__file__).parents[1] / "examples"
FOUND = {"binary": "binary", "ternary": "ternary", "two_scales": "codebook", "powers": "powers",
         "two_powers": "powers", "codebook": "codebook", "pruned": "relative-index",
         "pruned_blocks": "block", "two_of_four": "n-of-m", "integers": "digits"}
NETLISTS = [("integers", "ulx3s_85f", {"fc1": "packed-multiplier", "fc2": "multiplier"}),
            ("pruned", "ulx3s_85f", {"fc1": "bitmask", "fc2": "zero-run"}),
            ("two_scales", "ulx3s_85f", {"fc1": "codebook", "fc2": "factorised"}),
            ("two_of_four", "icebreaker", {"fc1": "n-of-m", "fc2": "block"}),
            ("powers", "icebreaker", {"fc1": "powers", "fc2": "codebook"})]
SLOW = 20_000
"""Frames a second of designs that are small enough to simulate here."""


@pytest.fixture(scope="module")
def digits():
    """The script that runs such files in NumPy, node by node in float32."""
    spec = importlib.util.spec_from_file_location("digits_train",
                                                  EXAMPLES / "digits" / "train.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def model(kind):
    return EXAMPLES / "formats" / f"{kind}.onnx"


def test_there_is_a_network_of_each():
    assert {p.stem for p in (EXAMPLES / "formats").glob("*.onnx")} == set(FOUND)


@pytest.mark.parametrize("kind", FOUND)
def test_it_comes_out_in_its_form(kind):
    plan = compile_network(read(model(kind)), board("ulx3s_85f").target())
    assert plan.folds["fc1"].format == FOUND[kind]


@pytest.mark.parametrize("kind", FOUND)
def test_golden_model_and_hardware_equal_the_file(kind, digits):
    network = read(model(kind))
    images = np.load(EXAMPLES / "digits" / "test.npz")["x"]
    x = network.encode(images)
    y = network.graph.golden(x)
    assert np.array_equal(network.decode(y), digits.run(onnx.load(model(kind)), images))
    plan = compile_network(network, board("ulx3s_85f").target(), SLOW, {"fc1": FOUND[kind]})
    frames = 3
    sent = np.zeros((frames, plan.input.transfers * plan.input.lanes), dtype=int)
    sent[:, :plan.input.features] = x[:frames].reshape(frames, -1)
    run = run_stream(Design(plan), sent.reshape(-1, plan.input.lanes).tolist(),
                     outputs=frames * plan.output.transfers, seed=1, stall=0.2, limit=20_000)
    got = np.array(run.outputs).reshape(frames, -1)[:, :plan.output.features]
    assert np.array_equal(got, y[:frames].reshape(frames, -1))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "on", "formats"), NETLISTS, ids=str)
def test_netlists_are_exact_and_take_the_predicted_cycles(kind, on, formats, tmp_path):
    network, target = read(model(kind)), board(on)
    plan = compile_network(network, target.target(), SLOW, formats)
    x = network.encode(np.load(EXAMPLES / "digits" / "test.npz")["x"][:8])
    vectors = Vectors(plan.input, plan.output, x, network.graph.golden(x))
    verilog = netlist(to_rtlil(Design(plan)), target.family)
    found = gates.run(verilog, target.family.name.lower(), vectors, tmp_path, seed=8)
    assert found.exact, found.mismatch
    assert found.latency_cycles == plan.timing.latency
    assert found.cycles_per_inference == plan.timing.interval
