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
from common import ECP5_85F, GW2A, HX8K, load, network, save, say, shared, versions
from hardened_page import (
    FAST,
    LARGE,
    LARGE_SECONDS,
    MHZ,
    NETWORKS,
    PAGE,
    PEERS,
    WHOLE_MHZ,
    mean_ratio,
    page,
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

DEVICES = {"ecp5": ECP5_85F, "ice40": HX8K, "gowin": GW2A}
CLIP_NS = 2.3
"""Of a clip to few bits: two levels of LUTs."""
FAR_NS = 2.0
"""From the registers of one layer to the adders of the next: they stand apart."""
ENDLESS = replace(NO_BOARD, lut4=10**6, ff=10**6, clock_mhz=WHOLE_MHZ)
"""A device of which there is always enough."""


@dataclass(frozen=True)
class Recipe:
    """How a case is made."""

    margin: float = 1.03
    """Registers are placed for a clock that is faster by this, for wires that become long."""
    blocks: tuple[int, ...] = ()
    """Into how many the columns of each layer are cut at the least."""
    placers: tuple[str, ...] = ("heap40", "static")
    steps: int = 4000


# with a register behind each adder there are more wires than fit in a dense placement
RECIPES = {"mv16_w4a8": Recipe(steps=12_000),
           "tern64_a8": Recipe(1.2, (2,), ("sparse",)),
           "jet_fast": Recipe(1.2, (1, 2, 2, 1), ("sparse",)),
           "cnn_digits": Recipe(placers=("heap80",))}


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
    steps = options.steps or recipe.steps
    begin = time.monotonic()
    graphs = []
    blocks = recipe.blocks or (1,) * len(case.layers)
    for layer, (lo, hi), head, cut in zip(case.layers, case.ranges(), heads(case.layers), blocks,
                                          strict=True):
        graphs.append(search(layer.matrix, layer.bias, [(lo, hi)] * layer.matrix.shape[1],
                             family, mhz=aimed, tail=layer.tail, head=head,
                             inverts=layer.clip is not None, blocks=cut,
                             steps=steps, seconds=limit / len(case.layers)))
    seconds = time.monotonic() - begin
    ends = np.array([graph.ranges[node] for graph in graphs[-1:] for node, _ in graph.outputs])
    shifts = np.array([shift for _, shift in graphs[-1].outputs])[:, None]
    y = shape_of(int((ends << shifts).min()), int((ends << shifts).max()))
    inner = Hardened(case.layers, graphs, shape_of(case.lo, case.hi), y, family, mhz=aimed)
    found: dict[str, Any] = {
        "steps": steps, "search_s": round(seconds, 1),
        "adders": sum(len(graph.adds) for graph in graphs),
        "adder_bits": sum(sum(graph.widths[len(graph.inputs):]) for graph in graphs),
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
                    "wires_ns": round(measured.wires_ns, 2), "placer": placer, "seed": seed,
                    "latency_ns": round(ns, 1)}
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


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=DEVICES, default="ecp5")
    parser.add_argument("--only", default="", help="cases whose names contain one of these words")
    parser.add_argument("--steps", type=int, help="of the search, instead of those of the case")
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
