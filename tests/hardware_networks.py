# amaranth: UnusedElaboratable=no
"""Random networks of each importer as hardware, several in one design, in Verilator.

Building a simulation takes far longer than running it, so networks share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_networks
import qonnx_networks
import tflite_networks
from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.compile import optimize, specialize
from bittern.gen.design import Design
from bittern.gen.plan import Plan
from bittern.gen.search import fold_to
from bittern.gen.verilog import to_verilog
from bittern.hw.stream import transfers
from bittern.jobs import NO_BOARD
from bittern.sim import compiled
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from bittern.gen.ir import Graph
    from bittern.gen.port import Port

LUTS, CYCLES = 2000, 20_000
"""What a network may take, estimated, and for a frame: others would take long."""
SETTLED = 1000
"""Cycles after which the interval is what it stays: that is what plans assume."""


def tflite(seed):
    kind = "INT16" if seed % 4 == 3 else "INT8"
    return tflite_networks.Random(seed, kind, steps=2 + seed % 4).model.network()


def onnx(seed):
    return onnx_networks.random_model(seed)[0].network()


def qonnx(seed):
    return qonnx_networks.RandomModel(seed).network()


IMPORTERS = {"tflite": tflite, "onnx": onnx, "qonnx": qonnx}
"""Functions of a seed that return a network, or raise :exc:`ValueError` if it is refused."""


@dataclass(frozen=True)
class Case:
    """A network of an importer, and its plan."""

    name: str
    seed: int
    graph: Graph
    plan: Plan

    def __str__(self):
        return f"{self.name}, seed {self.seed}"


def cases(name, seeds):
    """Yield the networks of an importer that are small enough to be simulated."""
    for seed in seeds:
        try:
            network = IMPORTERS[name](seed)
        except ValueError: # refused
            continue
        if not network.graph.nodes:
            continue
        rng = np.random.default_rng(seed)
        graph = specialize(optimize(network.graph), NO_BOARD)
        plan = (folded, planned)[rng.integers(2)](graph, rng)
        if plan.cost.lut4 <= LUTS and plan.steps <= CYCLES:
            yield Case(name, seed, network.graph, plan)


def planned(graph, rng):
    """Return the plan for a random rate."""
    return fold_to(graph, int(graph.input.size * rng.choice([1, 2, 5])) + 1, NO_BOARD)


def folded(graph, rng):
    """Return a plan in which each layer has any of its folds that is not too large."""
    types, folds = graph.types(), {}
    for node in graph.nodes:
        xs = [types[edge] for edge in node.inputs]
        every = node.layer.folds(*xs)
        few = [every[k] for k in rng.permutation(len(every))[:12]]
        sites = {fold: node.layer.cost(fold, *xs).on(NO_BOARD).lut4 for fold in few}
        folds[node.name] = next((f for f in few if sites[f] <= LUTS / 4), min(few, key=sites.get))
    return Plan(graph, folds, NO_BOARD)


class Bundle(wiring.Component):
    """Several designs, of which one is used: the top byte of the first transfer says which."""

    def __init__(self, plans):
        self.plans = plans
        self.bytes = [1 + max(-(-port.bits // 8) for port in ports) for ports in (
            [plan.input for plan in plans], [plan.output for plan in plans])]
        super().__init__({side: flow(stream.Signature(8 * count)) for side, flow, count in zip(
            "io", (In, Out), self.bytes, strict=True)})

    def elaborate(self, _platform):
        m = Module()
        begun, first, which = Signal(), Signal(8), Signal(8)
        m.d.comb += which.eq(Mux(begun, first, self.i.payload[-8:]))
        with m.If(self.i.valid & ~begun):
            m.d.sync += [begun.eq(1), first.eq(which)]
        for k, plan in enumerate(self.plans):
            m.submodules[f"design_{k}"] = design = Design(plan)
            m.d.comb += design.i.payload.as_value().eq(self.i.payload)
            with m.If((which == k) & (begun | self.i.valid)):
                m.d.comb += [design.i.valid.eq(self.i.valid), self.i.ready.eq(design.i.ready),
                             self.o.valid.eq(design.o.valid), design.o.ready.eq(self.o.ready),
                             self.o.payload.eq(design.o.payload.as_value().as_unsigned())]
        return m


@dataclass(frozen=True)
class Part:
    """A port of one design of several: its payload, filled up with zeros, and which it is."""

    port: Port
    bytes: int
    which: int

    @property
    def bits(self):
        return 8 * self.bytes

    @property
    def transfers(self):
        return self.port.transfers

    @property
    def masks(self):
        return self.port.masks

    def to_bytes(self, x):
        own = self.port.to_bytes(x)
        filled = np.zeros((len(own), self.bytes), np.uint8)
        filled[:, :own.shape[1]], filled[:, -1] = own, self.which
        return filled

    def from_bytes(self, payloads):
        return self.port.from_bytes(payloads)


def frames(case):
    """Return frames back to back: the lowest integers, the highest, and random ones."""
    rng, x = np.random.default_rng(case.seed), case.graph.input
    count = max(5, transfers(SETTLED, case.plan.steps))
    data = rng.integers(x.lo, x.hi + 1, (count, *x.shape))
    data[0], data[1] = x.lo, x.hi
    return data


class Simulation:
    """Cases in one design, compiled by Verilator in `folder`."""

    def __init__(self, together, folder):
        self.cases, self.folder = together, folder
        self.bundle = Bundle([case.plan for case in together])
        self.program = compiled.build(to_verilog(self.bundle), folder)

    def differences(self, seed):
        """Yield how each case differs from its golden model and its plan, or ``""``.

        All frames go through twice: as fast as they are taken, and with both sides stalling at
        random.
        """
        print(f"stalls of seed {seed}")
        for k, case in enumerate(self.cases):
            x, timing = frames(case), case.plan.timing
            i, o = (Part(port, count, k) for port, count in zip(
                (case.plan.input, case.plan.output), self.bundle.bytes, strict=True))
            vectors = Vectors(i, o, x, case.graph.golden(x), limit=10 * timing.latency + 1000)
            try:
                found = compiled.simulate(self.program, vectors, self.folder, seed=seed + k)
            except AssertionError as error: # it stopped, or broke the protocol
                yield str(error)
                continue
            differ = [] if found.exact else [str(found.mismatch)]
            differ += [f"{what} {is_} and not {said} cycles" for what, is_, said in (
                ("latency", found.latency_cycles, timing.latency),
                ("interval", found.cycles_per_inference, timing.interval)) if is_ != said]
            yield "; ".join(differ)
