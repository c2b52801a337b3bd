# amaranth: UnusedElaboratable=no
"""The compiled harness handles ports of every C++ type, at volume."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.sim import compiled, verilator
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


class Total(wiring.Component):
    """Gives one transfer per frame: in each lane, the sum over the transfers of a frame."""

    def __init__(self, port: Port) -> None:
        self.port = port
        payload = data.ArrayLayout(signed(port.width) if port.signed else port.width, port.lanes)
        super().__init__({"i": In(stream.Signature(payload)), "o": Out(stream.Signature(payload))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        k = Signal(range(self.port.transfers + 1))
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            last = k == self.port.transfers - 1
            sums = [Signal.like(x, name=f"sum{n}") for n, x in enumerate(self.i.payload)]
            totals = [(s + x)[:self.port.width] for s, x in zip(sums, self.i.payload, strict=True)]
            with m.If(last):
                m.d.sync += [self.o.payload.eq(Cat(totals)), self.o.valid.eq(1), k.eq(0)]
                m.d.sync += [s.eq(0) for s in sums]
            with m.Else():
                m.d.sync += [s.eq(t) for s, t in zip(sums, totals, strict=True)]
                m.d.sync += k.eq(k + 1)
        return m


def total(port: Port, frames: int) -> tuple[Total, Vectors]:
    limit = 1 << max(port.width - 4, 0)
    x = np.random.default_rng(3).integers(-limit if port.signed else 0, limit,
                                          (frames, port.features))
    y = x.reshape(frames, port.transfers, port.lanes).sum(axis=1)
    if not port.signed:
        y &= (1 << port.width) - 1
    return Total(port), Vectors(port, Port(port.lanes, port.lanes, port.width, port.signed), x, y)


@pytest.mark.parametrize(("lanes", "width", "sign"), [
    (1, 1, False), (1, 8, True), (3, 5, True), (4, 8, False), (3, 11, True), (4, 16, False),
    (13, 5, True), (100, 8, True)])
def test_ports_of_every_width(lanes: int, width: int, sign: bool, tmp_path: Path) -> None:
    design, vectors = total(Port(7 * lanes, lanes, width, sign), 50)
    results = compiled.run(to_verilog(design), vectors, tmp_path, seed=0)
    assert results.exact
    np.testing.assert_array_equal(results.y, vectors.y)
    assert (results.latency_cycles, results.cycles_per_inference) == (7, 7)


def test_cocotb_finds_the_same_cycles_and_bits(tmp_path: Path) -> None:
    design, vectors = total(Port(75, 25, 8, True), 20)
    both = [engine.run(to_verilog(design), vectors, tmp_path / name, seed=0)
            for name, engine in (("cocotb", verilator), ("compiled", compiled))]
    assert all(results.exact for results in both)
    assert {(r.latency_cycles, r.cycles_per_inference) for r in both} == {(3, 3)}
    np.testing.assert_array_equal(both[0].y, both[1].y)


def test_a_million_cycles_take_seconds(tmp_path: Path) -> None:
    design, vectors = total(Port(32, 8, 8, True), 100_000)
    program = compiled.build(to_verilog(design), tmp_path)
    start = time.perf_counter()
    results = compiled.simulate(program, vectors, tmp_path, seed=0)
    assert results.exact
    assert results.cycles > 900_000
    assert time.perf_counter() - start < 60 # some 1 s where nothing else runs
