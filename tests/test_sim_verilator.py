# amaranth: UnusedElaboratable=no
"""Both benches on Verilator take a right design and catch every fault, and they agree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.sim import compiled, verilator
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from bittern.sim.vectors import Results

I, O = Port(3, 2, 11, signed=False), Port(3, 2, 10, signed=False)  # noqa: E741
FAULTS = ["", "payload", "valid", "drop", "extra", "deaf", "impatient", "leak"]


class Triple(wiring.Component):
    """Triples integers; bits 8 to 10 of the first one say how it misbehaves, from then on."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(11, 2))),
                          "o": Out(stream.Signature(data.ArrayLayout(10, 2)))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        valid, second, count, fault = Signal(), Signal(), Signal(8), Signal(3)

        def has(name: str) -> Any:
            return fault == FAULTS.index(name)

        m.d.comb += [
            self.o.valid.eq(valid & (self.o.ready | ~has("impatient"))),
            self.i.ready.eq((self.o.ready | ~valid) & ~(has("deaf") & (count == 5))),
        ]
        with m.If(self.o.ready | ~valid):
            m.d.sync += valid.eq(self.i.valid & self.i.ready)
        with m.If(self.i.ready & self.i.valid):
            lanes = [(x[:8] * 3 + (has("leak") & (count == 8)))[:10] for x in self.i.payload]
            # what stands in the unused lane differs from frame to frame
            with m.If(second):
                m.d.sync += self.o.payload.eq(Cat(lanes[0], count))
            with m.Else():
                m.d.sync += self.o.payload.eq(Cat(lanes))
            m.d.sync += [second.eq(~second), count.eq(count + 1)]
            with m.If(count == 0):
                m.d.sync += fault.eq(self.i.payload[0][8:])
        with m.If(valid & ~self.o.ready):
            with m.If(has("payload")):
                m.d.sync += self.o.payload[0][0].eq(~self.o.payload[0][0])
            with m.If(has("valid")):
                m.d.sync += valid.eq(0)
        with m.If(has("drop") & (count == 5) & self.o.ready):
            m.d.sync += [valid.eq(0), count.eq(6)]
        with m.If(has("extra") & (count == 20) & self.o.ready):
            m.d.sync += [valid.eq(1), count.eq(1)]
        return m


def vectors(fault: str = "", frames: int = 10, **options: Any) -> Vectors:
    x = np.random.default_rng(2).integers(0, 256, (frames, 3))
    flagged = x.copy()
    flagged[0, 0] += FAULTS.index(fault) << 8
    return Vectors(I, O, flagged, 3 * x, **{"limit": 100, **options})


@pytest.fixture(scope="module", params=[verilator, compiled], ids=["cocotb", "compiled"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that simulates, on a design that is compiled once."""
    module: ModuleType = request.param
    folder: Path = tmp_path_factory.mktemp(request.param.__name__)
    before = dict(os.environ)
    program = module.build(to_verilog(Triple()), folder)

    def simulate(given: Vectors, seed: int = 1, **options: Any) -> Results:
        result: Results = module.simulate(program, given, folder, seed=seed, **options)
        return result

    yield simulate
    assert {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"} == \
        {k: v for k, v in before.items() if k != "PYTEST_CURRENT_TEST"}


def test_a_right_design_is_exact(engine: Any) -> None:
    reports: list[tuple[str, float]] = []
    given = vectors(frames=100)
    results = engine(given, progress=lambda *report: reports.append(report))
    assert results.exact
    np.testing.assert_array_equal(results.y, given.y)
    assert (results.latency_cycles, results.cycles_per_inference) == (2, 2)
    assert results.cycles > 400
    parts = [part for step, part in reports if step == "simulate"]
    assert parts == sorted(parts[:len(parts) // 2 + 1]) + sorted(parts[len(parts) // 2 + 1:])
    assert engine(given).cycles == results.cycles
    assert engine(given, seed=2).cycles != results.cycles


def test_one_frame_has_no_interval(engine: Any) -> None:
    results = engine(vectors(frames=1))
    assert results.exact
    assert results.cycles_per_inference is None


def test_without_an_expectation_the_passes_are_compared(engine: Any) -> None:
    given = vectors()
    results = engine(Vectors(I, O, given.x))
    assert results.exact
    np.testing.assert_array_equal(results.y, given.y)


@pytest.mark.parametrize(("fault", "message"), [
    ("payload", "transfer 0, cycle .*: payload changed while stalled"),
    ("valid", "valid withdrawn while stalled"),
    ("drop", "for 100 cycles: 20 of 20 input .* 19 of 20 output transfers"),
    ("extra", "output transfer 20, cycle .*: comes after all transfers expected"),
    ("deaf", "5 of 20 input transfers were taken, 5 of 20 output"),
    ("impatient", "1 of 20 input transfers were taken, 0 of 20 output"),
])
def test_a_broken_protocol_is_caught(engine: Any, fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as error:
        engine(vectors(fault))
    assert "simulation.log" in str(error.value)


def test_a_leak_between_frames_is_located(engine: Any) -> None:
    results = engine(vectors("leak"))
    assert not results.exact
    wrong = results.mismatch
    assert (wrong.frame, wrong.transfer, wrong.stall) == (4, 0, 0)
    assert int(wrong.found, 16) - int(wrong.expected, 16) == 1 + (1 << 10)
    assert str(wrong).startswith("frame 4, transfer 0, without stalls: expected ")


def test_verilog_that_does_not_compile_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="syntax error"):
        compiled.build("module top(input clk;", tmp_path)


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"needs make, .* install it"):
        compiled.build("module top; endmodule", tmp_path)


def test_vectors_must_fit_together() -> None:
    x = np.zeros((2, 3), np.int64)
    with pytest.raises(ValueError, match="2 input frames but 1 output frames"):
        Vectors(I, O, x, x[:1])
    with pytest.raises(ValueError, match="not 1"):
        Vectors(I, O, x, x, stall=1)
