"""Constant matrices and whole networks as wiring, on the cases of other generators.

    python benchmarks/hardened.py [--device NAME] [--only WORDS] [--steps N] [--seconds S]
                                  [--counts] [--seeds N] [--placers NAMES]

The cases are `bench/cases/*.npz` of the folder that `BITTERN_SHARED` names. Each is searched for,
checked in Verilator on the vectors of the case, synthesized, placed and routed by itself on a
device, and written to `benchmarks/results/hardened.json`. `--counts` leaves placing out.
Exit code 1 if a result is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from common import (
    ECP5_85F,
    GW2A,
    HX8K,
    ROOT,
    load,
    network,
    row,
    save,
    say,
    shared,
    table,
    versions,
)

from bittern.boards.measure import count_all, measure
from bittern.boards.routing import PACKAGES, PLACERS, WAYS
from bittern.gen.compile import compile_network
from bittern.gen.design import Design
from bittern.gen.importers import read
from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.hw.family import Family
from bittern.hw.hardened.search import search
from bittern.hw.ints import shape_of
from bittern.hw.operators import ConstantMatrix, Maximum
from bittern.hw.pipeline import Stages, draft
from bittern.hw.saturation import clipped
from bittern.jobs import NO_BOARD
from bittern.sim import compiled
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from amaranth import Shape, Value

    from bittern.boards.board import Device
    from bittern.hw.hardened.graph import Graph
    from bittern.hw.ints import Ints

PAGE = ROOT / "docs" / "hardened.md"
MHZ = {Family.ECP5: 150, Family.ICE40: 100, Family.GOWIN: 100}
DEVICES = {"ecp5": ECP5_85F, "ice40": HX8K, "gowin": GW2A}
CLIP_NS = 2.3
"""Of a clip to few bits: two levels of LUTs."""
FAR_NS = 2.0
"""From the registers of one layer to the adders of the next: they stand apart."""
TEXT = """\
# Weights as wiring, measured

<!-- Made by benchmarks/hardened.py of benchmarks/results/hardened.json. -->

By `python benchmarks/hardened.py` ({tools}): each case by itself, a vector a cycle, with registers
at its inputs, between adders for the clock below, and at its outputs; these count. LUT4 are sites
of 4-input LUTs in the netlist, two for each carry cell of the ECP5. No multipliers, no memory.
*MHz* and *ns* are those of a routed design, of the first seed and placer of nextpnr (`heap`;
`heap40` and `heap80`, which are `heap` with `--placer-heap-timingweight` 40 or 80; `static`;
`sparse`, which is `heap40` and leaves every other row of slices free) that reach the clock, or of
the fastest tried; a case without was only counted. *Expected*
is what the search counts with, the clock that of its adders. *Exact*: Verilator gave what the case
says for each of its 64 vectors, and in as many cycles as expected.

`mv16` are 16x16 matrices of 4 and 8 bits times int8, `tern64` and `bin64` 64x64 ones of -1, 0, 1
and of -1, 1 times bits (`a1`) or int8 (`a8`); `jet` is the whole 16-64-32-32-5 network of 6 bits
with its activations, `jet_fast` the same with a register behind each adder, `cnn_digits` a 3x3
convolution of 8 channels on 8x8 pixels, a pool and a dense layer, all of it unrolled.{more}

## ECP5 85F, for 150 MHz

{ecp5}
Geometric mean of the ratios: {mean:.2f}. The others are the smallest result of da4ml, alkaid,
twn-generator, NNgen, FINN's RTL and plain Verilog that the same flow gave, combinational ones
included; their FF and MHz are those of the smallest pipelined one. *da4ml here*: what
`python benchmarks/peers.py` counts for da4ml 0.6.0, combinational or pipelined, whichever is less.
{others}{networks}"""
WHOLE = """
## Whole networks from files

`bittern generate MODEL -o DIR --clock {mhz} --fps {mhz}e6 --format '*=hardened'` makes designs of
these, a frame a clock, with streams around each layer. Here is what Yosys maps them to on the ECP5,
without a host link; the 85F has 83,640 LUTs.

{networks}"""
FORMS = ("combinational", "pipelined")
OTHER = """
## {title}, for {mhz} MHz

{rows}"""
# The smallest of any generator that was measured, in 4-input LUTs; FF and MHz of the smallest
# pipelined one.
PEERS = {
    "mv16_w4a8": ("da4ml 0.6.0", 2436, 1661, 140.9),
    "mv16_w8a8": ("da4ml 0.6.0", 4686, 3011, 129.8),
    "tern64_a1": ("da4ml 0.6.0", 4945, 2512, 147.4),
    "tern64_a8": ("twn-generator 0.1.5", 14986, 19561, None),
    "bin64_a1": ("twn-generator 0.1.5", 8286, 11024, None),
    "jet": ("da4ml 0.6.0", 36041, 15219, None),
    "cnn_digits": ("da4ml 0.6.0", 31903, 10821, None),
}
LARGE_TEXT = (" `mv64_w8a8` is a 64x64 matrix of 8 bits; its search stops after {seconds} s, when\n"
              "the greedy run that is on has ended.")
LARGE = ("mv64_w8a8",)
"""Cases that nobody has measured, which are searched for shortly and only counted."""
LARGE_SECONDS = 50
NETWORKS = ("digits", "jet_tagging_w6a6", "tfc_w2a2", "tfc_w1a1")
FAST = {"jet_fast": "jet"}
"""Cases once more, with more registers than their best peer has."""
ENDLESS = replace(NO_BOARD, lut4=10**6, ff=10**6, clock_mhz=100)
"""A device of which there is always enough."""


@dataclass(frozen=True)
class Recipe:
    """How a case is made."""

    margin: float = 1.03
    """Registers are placed for a clock that is faster by this, for wires that become long."""
    blocks: tuple[int, ...] = ()
    """Into how many the columns of each layer are cut at the least."""
    placers: tuple[str, ...] = ("heap40", "static")


SPARSE = Recipe(1.2, (2,), ("sparse",))
"""A register behind each adder, where there may be so many, for more wires than fit densely."""
RECIPES = {"tern64_a8": SPARSE, "jet_fast": replace(SPARSE, blocks=(1, 2, 2, 1))}


@dataclass(frozen=True, eq=False)
class Layer:
    """``clip((matrix @ x + bias) >> shift)``, and then the greatest of each group of results."""

    matrix: Ints
    bias: Ints
    shift: int = 0
    clip: tuple[int, int] | None = None
    pools: tuple[tuple[int, ...], ...] = ()

    @property
    def tail(self) -> float:
        """Nanoseconds from the sums to the next register: a pool has one before it clips."""
        return CLIP_NS if self.clip and not self.pools else 0

    def __call__(self, x: Ints) -> Ints:
        """Return the results for vectors `x`, ``(vectors, inputs)``."""
        y: Ints = x @ self.matrix.T + self.bias >> self.shift
        if self.clip:
            y = y.clip(*self.clip)
        return np.stack([y[:, group].max(axis=1) for group in map(list, self.pools)], axis=1) \
            if self.pools else y


def heads(layers: Sequence[Layer]) -> list[float]:
    """Return the nanoseconds that the operands of each layer take from their registers."""
    return [0.0] + [FAR_NS] * (len(layers) - 1)


class Hardened(wiring.Component):
    """Layers as wiring, between registers: a vector a cycle, with nothing that could stop it."""

    x: Any
    y: Any

    def __init__(self, layers: Sequence[Layer], graphs: Sequence[Graph], x: Shape,
                 y: Shape, family: Family, *, mhz: float) -> None:
        self.layers, self.graphs = layers, graphs
        self.operators = [ConstantMatrix(graph, family, mhz, layer.tail, head)
                          for graph, layer, head in zip(graphs, layers, heads(layers), strict=True)]
        self.outputs = len(layers[-1].pools) or len(layers[-1].matrix)
        super().__init__({"x": In(data.ArrayLayout(x, layers[0].matrix.shape[1])),
                          "y": Out(data.ArrayLayout(y, self.outputs))})

    @cached_property
    def stages(self) -> Stages:
        """The registers, of which there is one at each end."""
        return draft(lambda stages: self._lay(stages, [
            Signal(self.x.shape().elem_shape) for _ in range(len(self.x))]))

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        values = self._lay(Stages(m), [self.x[k] for k in range(len(self.x))])
        m.d.comb += [self.y[k].eq(v) for k, v in enumerate(values)]
        return m

    def _lay(self, stages: Stages, values: list[Value]) -> list[Value]:
        values = stages.stage(values, "x")
        for k, (layer, operator) in enumerate(zip(self.layers, self.operators, strict=True)):
            values = list(operator.gates(stages, *values))
            values = [v >> layer.shift for v in values]
            if layer.pools:
                # the clip behind the registers inverts for free
                turned = operator.graph.inverted
                values = _turn(stages.stage(_turn(values, turned), f"sums_{k}"), turned)
                values = _pool(stages, values, layer, k)
                continue
            if layer.clip:
                values = [clipped(stages, v, *layer.clip) for v in values]
            values = stages.stage(values, f"layer_{k}")
        return values


def _turn(values: Sequence[Value], which: Collection[int]) -> list[Value]:
    """Return `values`, of which some are inverted."""
    return [~v if k in which else v for k, v in enumerate(values)]


def _pool(stages: Stages, values: list[Value], layer: Layer, k: int) -> list[Value]:
    """Return the greatest of each four, clipped, in two steps."""
    assert layer.clip
    two = Maximum(shape_of(*layer.clip), 2)
    values = [clipped(stages, v, *layer.clip) for v in values]

    def halve(groups: list[list[Value]], name: str) -> list[list[Value]]:
        halves = [two.gates(stages, *group[j:j + 2])[0] if len(group[j:j + 2]) > 1 else group[j]
                  for group in groups for j in range(0, len(group), 2)]
        held = iter(stages.stage(halves, name))
        return [[next(held) for _ in range(0, len(group), 2)] for group in groups]

    groups = [[values[j] for j in group] for group in layer.pools]
    for step in range(2):
        groups = halve(groups, f"pool_{k}_{step}")
    return [value for group in groups for value in group]


class Streamed(wiring.Component):
    """`Hardened` with the streams that the test bench drives; its output is always taken."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, inner: Hardened) -> None:
        self.inner = inner
        super().__init__({"i": In(stream.Signature(inner.x.shape())),
                          "o": Out(stream.Signature(inner.y.shape()))})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        m.submodules.inner = inner = self.inner
        valid = Signal(inner.stages.latency)
        m.d.sync += valid.eq(valid << 1 | self.i.valid)
        m.d.comb += [inner.x.eq(self.i.payload), self.o.payload.eq(inner.y),
                     self.o.valid.eq(valid[-1]), self.i.ready.eq(1)]
        return m


@dataclass(frozen=True, eq=False)
class Case:
    """A matrix or a network, the range of its inputs, and vectors for it."""

    layers: list[Layer]
    lo: int
    hi: int
    x: Ints
    y: Ints

    @classmethod
    def read(cls, path: Path) -> Case:
        """Return the case of a file; its layers are checked against its vectors."""
        with np.load(path, allow_pickle=False) as file:
            z: dict[str, Any] = {k: v.item() if v.ndim == 0 else v for k, v in file.items()}
        layers = _convolution(z) if z["kind"] == "cnn" else [
            _layer(z, k) for k in range(z["n_layers"])]
        case = cls(layers, z["in_lo"], z["in_hi"], z["x_test"].astype(np.int64),
                   z["y_test"].astype(np.int64))
        y = case.x
        for layer in layers:
            y = layer(y)
        if (y != case.y).any():
            raise ValueError(f"{path.name}: the layers do not give its y_test")
        return case

    def ranges(self) -> list[tuple[int, int]]:
        """Return the range of the inputs of each layer."""
        return [(self.lo, self.hi), *(layer.clip or (0, 0) for layer in self.layers[:-1])]


def _layer(z: dict[str, Any], k: int) -> Layer:
    matrix = z[f"W{k}"].astype(np.int64)
    if z[f"act{k}"] == "none":
        return Layer(matrix, np.zeros(len(matrix), np.int64))
    if z[f"act{k}"] != "shift":
        raise ValueError(f"activation {z[f'act{k}']!r} is none of: none, shift")
    last = k == z["n_layers"] - 1
    return Layer(matrix, z[f"B{k}"].astype(np.int64), z[f"s{k}"],
                 None if last else (z[f"lo{k}"], z[f"hi{k}"]))


def _convolution(z: dict[str, Any]) -> list[Layer]:
    """Return a convolution, a pool and a dense layer: the former as a matrix."""
    kernel, side = z["Wc"].astype(np.int64), z["img"]
    places, channels = side - 2, len(kernel)
    matrix = np.zeros((places, places, channels, side, side), np.int64)
    for r in range(places):
        for c in range(places):
            matrix[r, c, :, r:r + 3, c:c + 3] = kernel
    index = np.arange(places * places * channels).reshape(places // 2, 2, places // 2, 2, channels)
    pools = index.transpose(0, 2, 4, 1, 3).reshape(-1, 4)
    first = Layer(matrix.reshape(-1, side * side),
                  np.tile(z["Bc"].astype(np.int64), places * places), z["sc"], (0, z["hic"]),
                  tuple(tuple(int(k) for k in group) for group in pools))
    return [first, Layer(z["Wd"].astype(np.int64), z["Bd"].astype(np.int64))]


def exact(inner: Hardened, case: Case) -> bool:
    """Return whether Verilator finds what the case says, for every vector of it."""
    ports = [Port(len(v), len(v), s.width, s.signed) for v, s in (
        (inner.x, inner.x.shape().elem_shape), (inner.y, inner.y.shape().elem_shape))]
    with tempfile.TemporaryDirectory() as folder:
        results = compiled.run(to_verilog(Streamed(inner)),
                               Vectors(*ports, case.x, case.y, stall=0), Path(folder), seed=1)
    return results.exact and results.latency_cycles == inner.stages.latency


def keep(device: Device, name: str, found: dict[str, Any]) -> None:
    """Store the result of a case."""
    kept = load("hardened")
    cases = kept.get(device.title, {}) | {name: found}
    save("hardened", {device.title: cases, "versions": kept.get("versions", {}) | versions(
        "amaranth", "pyosys", PACKAGES[device.family].replace("_", "-"))})


def run(name: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a case takes."""
    case, device = Case.read(path), DEVICES[options.device]
    family, mhz = device.family, MHZ[device.family]
    recipe = RECIPES.get(name, Recipe())
    aimed = recipe.margin * mhz
    limit = LARGE_SECONDS if name in LARGE else options.seconds
    begin = time.monotonic()
    graphs = []
    blocks = recipe.blocks or (1,) * len(case.layers)
    for layer, (lo, hi), head, cut in zip(case.layers, case.ranges(), heads(case.layers), blocks,
                                          strict=True):
        graphs.append(search(layer.matrix, layer.bias, [(lo, hi)] * layer.matrix.shape[1],
                             family, mhz=aimed, tail=layer.tail, head=head,
                             inverts=layer.clip is not None, blocks=cut,
                             steps=options.steps, seconds=limit / len(case.layers)))
    seconds = time.monotonic() - begin
    ends = np.array([graph.ranges[node] for graph in graphs[-1:] for node, _ in graph.outputs])
    shifts = np.array([shift for _, shift in graphs[-1].outputs])[:, None]
    y = shape_of(int((ends << shifts).min()), int((ends << shifts).max()))
    inner = Hardened(case.layers, graphs, shape_of(case.lo, case.hi), y, family, mhz=aimed)
    found: dict[str, Any] = {
        "steps": options.steps, "search_s": round(seconds, 1),
        "adders": sum(len(graph.adds) for graph in graphs),
        "estimate_lut4": sum(graph.lut4(family) for graph in graphs),
        "estimate_ff": inner.stages.ff,
        "estimate_mhz": round(min(operator.schedule.mhz(family, operator.tail, operator.head)
                                  for operator in inner.operators), 1),
        "latency_cycles": inner.stages.latency, "correct": exact(inner, case)}
    usage = count_all([inner], family, dsp=False)[0]
    found |= {"lut4": usage.lut4, "ff": usage.ff}
    say(f"{name}: {found}")
    keep(device, name, found)
    best: dict[str, Any] = {}
    if options.counts or name in LARGE or usage.lut4 > device.resources.lut4:
        return found
    placers = options.placers.split(",") if options.placers else recipe.placers
    for seed, placer in product(range(1, options.seeds + 1), placers):
        measured = measure(inner, device, clock_mhz=mhz, seed=seed, dsp=False,
                           ways=[(placer, router) for _, router in WAYS])
        say(f"{name}, {placer}, seed {seed}: {measured}")
        if not best or measured.fmax_mhz > best["mhz"]:
            ns = 1000 * inner.stages.latency / measured.fmax_mhz
            best = {"placed_lut4": measured.placed.lut4, "mhz": round(measured.fmax_mhz, 1),
                    "placer": placer, "seed": seed, "latency_ns": round(ns, 1)}
            keep(device, name, found | best)
        if best["mhz"] >= mhz:
            break
    return found | best


def whole(name: str) -> dict[str, Any] | None:
    """Return what a whole network takes, all of its layers at a vector a cycle; none without it."""
    files = network(name)
    if files is None:
        return None
    begin = time.monotonic()
    plan = compile_network(read(files[0]), ENDLESS, 1e6 * ENDLESS.clock_mhz, {"*": "hardened"})
    planned = time.monotonic()
    usage = count_all([Design(plan)], Family.ECP5)[0]
    found = {"lut4": usage.lut4, "ff": usage.ff, "bram": usage.bram, "dsp": usage.dsp,
             "latency_cycles": plan.timing.latency, "estimate_lut4": plan.cost.lut4,
             "estimate_ff": plan.cost.ff, "plan_s": round(planned - begin, 1)}
    say(f"{name}: {found}")
    save("hardened", {"networks": load("hardened").get("networks", {}) | {name: found}})
    return found


def mean_ratio(cases: dict[str, dict[str, Any]]) -> float:
    """Return the geometric mean of our LUTs over those of the best of the others."""
    return float(np.exp(np.mean([np.log(cases[name]["lut4"] / lut4)
                                 for name, (_, lut4, *_) in PEERS.items() if name in cases])))


def page(found: dict[str, Any]) -> str:
    """Return the page of the results."""
    def own(c: dict[str, Any]) -> list[object]:
        return [c["latency_cycles"], c.get("latency_ns", ""), f"{c['estimate_lut4']:,}",
                f"{c['estimate_ff']:,}", c["estimate_mhz"], c["adders"], f"{c['search_s']:.0f}",
                "yes" if c["correct"] else "no"]

    def here(name: str) -> str:
        forms = found.get("da4ml", {}).get(name)
        return f"{min(forms[form]['lut4'] for form in FORMS):,}" if forms else ""

    ends = ("latency, cycles", "ns", "LUT4 expected", "FF expected",
            "MHz expected", "adders", "search, s", "exact")
    cases = found.get(ECP5_85F.title, {})
    ecp5 = table("case", "LUT4", "best of others", "da4ml here", "ratio", "FF", "FF of others",
                 "MHz", "MHz of others", *ends)
    ecp5 += "".join(
        row(name, f"{c['lut4']:,}", f"{lut4:,} ({peer})", here(of), f"{c['lut4'] / lut4:.2f}",
            f"{c['ff']:,}", f"{ff:,}", c.get("mhz", ""), mhz or "", *own(c))
        for name, of in (*zip(PEERS, PEERS, strict=True), *FAST.items()) if (c := cases.get(name))
        for peer, lut4, ff, mhz in [PEERS[of]])
    ecp5 += "".join(row(name, f"{c['lut4']:,}", *[""] * 3, f"{c['ff']:,}", *[""] * 3, *own(c))
                    for name in LARGE if (c := cases.get(name)))
    others = "".join(OTHER.format(
        title=device.title, mhz=MHZ[device.family],
        rows=table("case", "LUT4", "FF", "MHz", *ends) + "".join(
            row(name, f"{c['lut4']:,}{large(c, device)}", f"{c['ff']:,}", c.get("mhz", ""),
                *own(c))
            for name in (*PEERS, *FAST, *LARGE) if (c := found[device.title].get(name))))
        for device in (HX8K, GW2A) if device.title in found)
    more = LARGE_TEXT.format(seconds=LARGE_SECONDS) if set(LARGE) & cases.keys() else ""
    made = found.get("networks", {})
    networks = WHOLE.format(mhz=ENDLESS.clock_mhz, networks=table(
        "network", "LUT4", "FF", "memories", "DSPs", "latency, cycles",
        "LUT4 expected", "FF expected", "plan, s") + "".join(
        row(f"`{name}`", f"{n['lut4']:,}", f"{n['ff']:,}", n["bram"], n["dsp"], n["latency_cycles"],
            f"{n['estimate_lut4']:,}", f"{n['estimate_ff']:,}", f"{n['plan_s']:.0f}")
        for name in NETWORKS if (n := made.get(name)))) if made else ""
    tools = ", ".join(f"{tool} {version}" for tool, version in found["versions"].items())
    return TEXT.format(ecp5=ecp5, others=others, networks=networks, mean=mean_ratio(cases),
                       tools=tools, more=more)


def large(case: dict[str, Any], device: Device) -> str:
    """Return a remark on a case that does not fit."""
    return f" of {has:,}" if case["lut4"] > (has := device.resources.lut4) else ""


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=DEVICES, default="ecp5")
    parser.add_argument("--only", default="", help="cases whose names contain one of these words")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=600, help="limit for the search of a case")
    parser.add_argument("--seeds", type=int, default=3, help="placements to try for the clock")
    parser.add_argument("--placers", default="", help="tried in this order, instead of those of "
                        f"the case: {', '.join(PLACERS)}")
    parser.add_argument("--counts", action="store_true", help="do not place")
    parser.add_argument("--networks", action="store_true", help="whole networks, and not cases")
    options = parser.parse_args()
    words = options.only.replace(",", " ").split()
    folder = shared() / "bench" / "cases"
    wrong = False
    for name in NETWORKS if options.networks else ():
        if not words or any(word in name for word in words):
            whole(name)
    for name in () if options.networks else (*PEERS, *FAST, *LARGE):
        path = folder / f"{FAST.get(name, name)}.npz"
        if words and not any(word in name for word in words):
            continue
        if not path.is_file():
            say(f"skipped {name}: {path} is not there")
            continue
        found = run(name, path, options)
        wrong |= not found["correct"]
    stored = load("hardened")
    if not stored:
        return int(wrong)
    PAGE.write_text(page(stored))
    cases = stored.get(DEVICES[options.device].title, {})
    for name, case in cases.items():
        print(f"{name:12} {case}")
    if DEVICES[options.device] is ECP5_85F:
        print(f"geometric mean: {mean_ratio(cases):.3f} of the best peer")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
