# amaranth: UnusedElaboratable=no
"""The network that ships: it is there, it is what its README says, and it means the same to all."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bittern.boards import board
from bittern.boards.synthesis import netlist
from bittern.gen.compile import compile_network
from bittern.gen.design import Design
from bittern.gen.importers import read
from bittern.gen.rtlil import to_rtlil
from bittern.sim import netlist as gates
from bittern.sim.vectors import Vectors

FOLDER = Path(__file__).parents[1] / "examples" / "digits"
MODEL = FOLDER / "digits.onnx"
IMAGES = 20


@pytest.fixture(scope="module")
def model():
    return onnx.load(MODEL)


@pytest.fixture(scope="module")
def held_out():
    test = np.load(FOLDER / "test.npz")
    return test["x"], test["labels"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("digits_train", FOLDER / "train.py")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up, so it has to be registered while it runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_the_held_out_images_are_pixels_with_labels(held_out):
    x, labels = held_out
    assert x.dtype == np.float32
    assert labels.dtype == np.int64
    assert x.shape == (len(labels), 1, 8, 8)
    assert len(labels) >= 400
    assert np.array_equal(x, np.clip(np.rint(x), 0, 16))
    assert set(labels.tolist()) == set(range(10))


def test_the_file_is_in_the_form_that_brevitas_exports(model):
    onnx.checker.check_model(model)
    assert model.ir_version <= 9
    assert {o.domain: o.version for o in model.opset_import} == {
        "": 11, "qonnx.custom_op.general": 1}
    (i,), (o,) = model.graph.input, model.graph.output
    assert i.name == "global_in"
    assert o.name == "global_out"
    assert [d.dim_value for d in i.type.tensor_type.shape.dim] == [1, 1, 8, 8]
    assert [d.dim_value for d in o.type.tensor_type.shape.dim] == [1, 10]
    assert Counter(n.op_type for n in model.graph.node) == {
        "Flatten": 1, "Quant": 7, "MatMul": 3, "BatchNormalization": 2, "Relu": 2, "Add": 1}
    assert all(n.domain == "qonnx.custom_op.general"
               for n in model.graph.node if n.op_type == "Quant")
    names = [n.name for n in model.graph.node]
    assert len(set(names)) == len(names)


def test_the_weights_are_ternary_and_all_scales_are_powers_of_two(model):
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    count = 0
    for i in (1, 2, 3):
        scale = constants[f"fc{i}_weight_quant.scale"]
        weight = np.rint(constants[f"fc{i}.weight"] / scale)
        assert set(np.unique(weight)) == {-1, 0, 1}
        assert constants[f"fc{i}_weight_quant.bit_width"] == 2
        count += weight.size
    assert count == 3392
    scales = [v for k, v in constants.items() if k.endswith(".scale")]
    assert len(scales) == 7
    assert all(np.frexp(scale)[0] == 0.5 for scale in scales)


def test_a_numpy_evaluation_reads_the_held_out_images(script, model, held_out):
    x, labels = held_out
    assert script.accuracy(script.run(model, x), labels) >= 0.96


def test_the_importer_reads_the_held_out_images_and_equals_numpy_bit_for_bit(script, model,
                                                                             held_out):
    x, labels = held_out
    network = read(MODEL)
    y = network.decode(network.graph.golden(network.encode(x)))
    assert script.accuracy(y, labels) >= 0.96
    assert np.array_equal(y, script.run(model, x))


@pytest.mark.filterwarnings("default")
def test_the_qonnx_executor_computes_the_same_outputs(script, model, held_out):
    pytest.importorskip("qonnx", reason="the reference of QONNX is not installed")
    from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415
    from qonnx.core.onnx_exec import execute_onnx  # noqa: PLC0415

    x = held_out[0][:IMAGES]
    wrapper = ModelWrapper(str(MODEL))
    reference = np.concatenate([execute_onnx(wrapper, {"global_in": image[None]})["global_out"]
                                for image in x])
    assert np.array_equal(script.run(model, x), reference)


def test_its_netlist_is_exact_and_takes_the_predicted_cycles(held_out, tmp_path):
    network, target = read(MODEL), board("icebreaker")
    plan = compile_network(network, target.target())
    q = network.encode(held_out[0][:8])
    verilog = netlist(to_rtlil(Design(plan)), target.family)
    vectors = Vectors(plan.input, plan.output, q, network.graph.golden(q))
    found = gates.run(verilog, target.family.name.lower(), vectors, tmp_path, seed=8)
    assert found.exact, found.mismatch
    assert found.latency_cycles == plan.timing.latency
    assert found.cycles_per_inference == plan.timing.interval
