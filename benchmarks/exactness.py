"""Every stage computes the same bits: reference, golden model, RTL, netlist.

    python benchmarks/exactness.py [golden|rtl|netlist ...]

`golden`: all inputs of each network, against what its reference runtime gave. `rtl`: the
Verilog in Verilator through cocotb, without and with random stalls. `netlist`: what synthesis made
of the shipped network. Exit code 1 if any of them differs in a bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import JETS, TFCS, TINY, bittern, network, save, say, versions
from speed import POINTS

from bittern import jobs
from bittern.boards import board
from bittern.boards.synthesis import netlist
from bittern.console import show, table
from bittern.gen.compile import compile_network
from bittern.gen.design import Design
from bittern.gen.importers import read
from bittern.gen.rtlil import to_rtlil
from bittern.sim import netlist as gates
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from bittern.gen.network import Network

PARTS = ("golden", "rtl", "netlist")
RTL = {"tfc_w1a1": (100, ["--board", "ulx3s_85f", "--fps", "1430000"]),
       "tfc_w2a2": (100, ["--board", "ulx3s_85f", "--fps", "1430000"]),
       JETS: (200, ["--board", "ulx3s_85f"]),
       **{POINTS[p].network + where: (count, POINTS[p].options()) for p, count, where in (
           ("kws", 20, ""), ("ic", 8, ""), ("ad", 20, ""), ("digits", 450, ""),
           ("tfc-w2a2-up5k", 100, " on the UP5K"), ("kws-up5k", 2, " on the UP5K"),
           ("digits-wired", 450, " as wiring"), ("jets-wired", 200, " as wiring"))}}
"""Frames and options, by the network and, behind a space, what is special about its weights."""
NETLIST_FRAMES = 64


def ratios(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what is left of logits behind a softmax: their differences to the first."""
    logs = np.log(y.astype(np.float64))
    return logs - logs[:, :1]


def lattice(net: Network, seen: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return scale and offset of each output, found by decoding integers."""
    types = net.graph.types()[net.graph.output]
    n, span = types.size, max(abs(types.lo), abs(types.hi))
    zeros = np.zeros((1, n), np.int64)
    offset = seen(net.decode(zeros))[0].astype(np.float64)
    if seen is ratios: # relative to the first, whose own scale is that of the last
        ends = np.array([seen(net.decode(zeros + span * np.eye(n, dtype=np.int64)[k]))[0]
                         for k in range(1, n)])
        scale = (ends.diagonal(offset=1) - offset[1:]) / span
        return np.concatenate([scale[-1:], scale]), offset
    return (seen(net.decode(zeros + span))[0].astype(np.float64) - offset) / span, offset


def golden(name: str) -> dict[str, Any] | None:
    """Compare the golden model's integers with the reference's floats, on all inputs."""
    if (files := network(name)) is None:
        return None
    net, data = read(files[0]), np.load(files[1])
    q = jobs.golden(net, net.encode(data["x"]), lambda *_: None)
    y, reference = net.decode(q), data["y"]
    if reference.dtype.kind == "i":
        return integers(y, data)
    softmax = name == JETS
    seen = ratios if softmax else (lambda v: v)
    scale, offset = lattice(net, seen)
    steps = (seen(reference).astype(np.float64) - offset) / scale
    ours = q - q[:, :1] if softmax else q
    found = {
        "inputs": len(q),
        "integers": int(q.size),
        "integers_equal": int((np.rint(steps) == ours).sum()),
        "residual": float(np.abs(steps - ours).max()),
        "top_1_equal": int((y.argmax(1) == reference.argmax(1)).sum()),
        "floats_equal": int((y.view(np.int32) == reference.view(np.int32)).sum()),
        "float_difference": float(np.abs(y - reference).max()),
        "compared": "log-ratios of the probabilities" if softmax else "outputs",
    }
    if "labels" in data:
        found["accuracy"] = float((y.argmax(1) == data["labels"]).mean())
    if softmax:
        found["before_softmax"] = before_softmax(files[0], data["x"], q, net)
    found["exact"] = (found["integers_equal"] == found["integers"] and found["residual"] < 0.5
                      and found["top_1_equal"] == found["inputs"])
    return found


def integers(y: np.ndarray[Any, Any], data: Any) -> dict[str, Any]:
    """Compare integers with those of the reference."""
    reference = data["y"]
    equal, top_1 = int((y == reference).sum()), y.argmax(1) == reference.argmax(1)
    found = {"inputs": len(y), "integers": int(y.size), "integers_equal": equal, "residual": 0.0,
             "top_1_equal": int(top_1.sum()), "compared": "outputs", "exact": equal == y.size}
    if len(data.get("labels", ())) == len(y):
        found["accuracy"] = float((y.argmax(1) == data["labels"]).mean())
    return found


def before_softmax(model: Path, x: Any, q: Any, net: Network) -> dict[str, Any] | str:
    """Run the reference and look at what goes into its softmax: every logit, bit for bit."""
    try:
        from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415
        from qonnx.core.onnx_exec import execute_onnx  # noqa: PLC0415
    except ImportError:
        return "qonnx is not installed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # of renamed domains and shapes
        whole = ModelWrapper(str(model))
        (last,) = [node for node in whole.graph.node if node.op_type == "Softmax"]
        start = whole.graph.input[0].name
        shape = whole.get_tensor_shape(start)
        reference = np.concatenate([
            execute_onnx(whole, {start: frame.reshape(shape)}, True)[last.input[0]] for frame in x])
    scale = float(net.formats[net.graph.output].split(" * ")[0])
    steps = reference.astype(np.float64) / scale
    offset = np.rint(steps[0] - q[0]) # of the last bias, which the host adds
    return {"inputs": len(x), "logits": int(q.size),
            "logits_equal": int((steps == q + offset).sum()),
            "residual": float(np.abs(steps - q - offset).max())}


def rtl(name: str) -> dict[str, Any] | None:
    """Simulate the Verilog."""
    if (files := network(name.split(maxsplit=1)[0])) is None:
        return None
    count, options = RTL[name]
    model, data = files
    with tempfile.TemporaryDirectory() as folder:
        arrays = np.load(data)
        if len(arrays.get("labels", arrays["x"])) != len(arrays["x"]): # only some have one
            data = Path(folder, f"{model.stem}.npy")
            np.save(data, arrays["x"])
        found, command = bittern("simulate", model, "--input", data, "--count", str(count),
                                 *options)
    return found | {"command": command}


def post_synthesis() -> dict[str, Any]:
    """Simulate the netlist of the shipped network, with the models of the device's cells."""
    files = network("digits")
    assert files is not None
    net, target = read(files[0]), board("icebreaker")
    plan = compile_network(net, target.target())
    say("synthesizing digits for the icebreaker")
    verilog = netlist(to_rtlil(Design(plan)), target.family)
    x = net.encode(np.load(files[1])["x"][:NETLIST_FRAMES])
    say("simulating its netlist")
    with tempfile.TemporaryDirectory() as folder:
        found = gates.run(verilog, target.family.name.lower(),
                          Vectors(plan.input, plan.output, x, net.graph.golden(x),
                                  load=plan.load), Path(folder),
                          seed=1)
    timing = plan.timing
    return {"exact": found.exact, "frames": len(x), "seed": found.seed, "device": target.device,
            "compared": 2 * len(x) * plan.output.features,
            "mismatch": str(found.mismatch) if found.mismatch else None,
            "cycles_per_inference": found.cycles_per_inference,
            "latency_cycles": found.latency_cycles,
            "as_predicted": (found.latency_cycles, found.cycles_per_inference) ==
                            (timing.latency, timing.interval)}


def tell(results: dict[str, Any]) -> None:
    """Print tables."""
    if found := results.get("golden"):
        show(table("golden model = reference",
                   ("network", "inputs", "integers equal", "largest residual", "top-1 equal",
                    "floats equal"),
                   [(name, r["inputs"], f"{r['integers_equal']:,} of {r['integers']:,}",
                     f"{r['residual']:.2g}", r["top_1_equal"],
                     f"{r['floats_equal']:,} of {r['integers']:,}" if "floats_equal" in r else "")
                    for name, r in found.items()]))
        for name, r in found.items():
            if isinstance(cut := r.get("before_softmax"), dict):
                show(f"{name} before its softmax, executor: {cut['logits_equal']:,} of "
                     f"{cut['logits']:,} logits equal, residual {cut['residual']:g}")
    rows = [(f"{stage} {name}", r) for stage in ("rtl", "netlist")
            for name, r in results.get(stage, {}).items()]
    if rows:
        show(table("hardware = golden model", ("what", "frames", "integers compared", "exact",
                                               "cycles", "latency", "as predicted"),
                   [(name, r["frames"], r["compared"], "yes" if r["exact"] else "NO",
                     r["cycles_per_inference"], r["latency_cycles"],
                     "yes" if r["as_predicted"] else "NO") for name, r in rows]))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n")[2])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; "
                        "without any: all")
    parts = parser.parse_args().parts or PARTS
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    results: dict[str, Any] = {}
    if "golden" in parts:
        results["golden"] = {n: r for n in (*TFCS, JETS, *TINY) if (r := golden(n))}
    if "rtl" in parts:
        results["rtl"] = {n: r for n in RTL if (r := rtl(n))}
    if "netlist" in parts:
        results["netlist"] = {"digits": post_synthesis()}
    results["versions"] = versions("bittern", "amaranth", "numpy", "pyosys", "verilator", "cocotb")
    save("exactness", results)
    tell(results)
    fine = all(r["exact"] and r.get("as_predicted", True)
               for part in PARTS for r in results.get(part, {}).values())
    sys.exit(not fine)


if __name__ == "__main__":
    main()
