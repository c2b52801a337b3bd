# amaranth: UnusedElaboratable=no
"""The bench takes right components and catches wrong ones."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.sim.bench import decode, run_stream, run_streams

if TYPE_CHECKING:
    from amaranth.hdl import ShapeLike


class Stage(wiring.Component):
    """A register stage; the faults of its subclasses are what the bench must see."""

    fault = ""

    def __init__(self, i: ShapeLike = 8, o: ShapeLike = 10) -> None:
        super().__init__({"i": In(stream.Signature(i)), "o": Out(stream.Signature(o))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        valid, count = Signal(), Signal(8)
        m.d.comb += [self.o.valid.eq(valid), self.i.ready.eq(self.o.ready | ~valid)]
        with m.If(self.i.ready):
            m.d.sync += valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [self.o.payload.eq(self.result(m)), count.eq(count + 1)]
        match self.fault:
            case "payload":
                with m.If(valid & ~self.o.ready):
                    m.d.sync += self.o.payload[0].eq(~self.o.payload[0])
            case "valid":
                with m.If(valid & ~self.o.ready):
                    m.d.sync += valid.eq(0)
            case "drop":
                with m.If((count == 5) & self.o.ready):
                    m.d.sync += [valid.eq(0), count.eq(6)]
            case "extra":
                with m.If((count == 20) & self.o.ready):
                    m.d.sync += [valid.eq(1), count.eq(0)]
            case "deaf":
                with m.If(count == 5):
                    m.d.comb += self.i.ready.eq(0)
                    m.d.sync += valid.eq(valid & ~self.o.ready)
            case "impatient":
                m.d.comb += self.o.valid.eq(valid & self.o.ready)
        return m

    def result(self, m: Module) -> Any:
        if self.fault == "leak":  # should be the payload times 3
            previous = Signal(8)
            m.d.sync += previous.eq(self.i.payload)
            return self.i.payload * 3 + (previous == 7)
        return self.i.payload * 3


class Negate(Stage):
    """Negates arrays of signed integers."""

    def __init__(self) -> None:
        super().__init__(data.ArrayLayout(signed(5), 3), data.ArrayLayout(signed(6), 3))

    def result(self, _m: Module) -> Any:
        return Cat((-x)[:6] for x in self.i.payload)


class Add(wiring.Component):
    """Adds two streams, without a register; a second output says which sums are odd."""

    def __init__(self) -> None:
        super().__init__({"i0": In(stream.Signature(8)), "i1": In(stream.Signature(signed(8))),
                          "o": Out(stream.Signature(signed(10)))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i0.payload + self.i1.payload),
            self.o.valid.eq(self.i0.valid & self.i1.valid),
            self.i0.ready.eq(self.o.ready & self.i1.valid),
            self.i1.ready.eq(self.o.ready & self.i0.valid),
        ]
        return m


class Fork(wiring.Component):
    """Gives each input to both of two outputs."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o0": Out(stream.Signature(8)),
                          "o1": Out(stream.Signature(8))})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        done = [Signal(name=f"done{k}") for k in range(2)]
        outputs = [self.o0, self.o1]
        over = [d | o.ready for d, o in zip(done, outputs, strict=True)]
        m.d.comb += self.i.ready.eq(over[0] & over[1])
        for d, o in zip(done, outputs, strict=True):
            m.d.comb += [o.payload.eq(self.i.payload), o.valid.eq(self.i.valid & ~d)]
            m.d.sync += d.eq(self.i.valid & ~self.i.ready & (d | o.ready))
        return m


INPUTS = random.Random(1).choices(range(8), k=40)
EXPECTED = [3 * x for x in INPUTS]


@pytest.mark.parametrize("stall", [0, 0.3, 0.8])
def test_a_stage_multiplies_under_stalls(stall: float) -> None:
    outputs, stamps = run_stream(Stage(), INPUTS, outputs=40, seed=3, stall=stall)
    assert outputs == EXPECTED
    if not stall:
        assert stamps == list(range(1, 41))


def test_equal_seeds_give_equal_stalls() -> None:
    runs = [run_stream(Stage(), INPUTS, outputs=40, seed=seed) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[1].stamps != runs[2].stamps


def test_lanes_are_lists_of_signed_integers() -> None:
    outputs, _ = run_stream(Negate(), [[1, -16, 0], [15, -1, 7]] * 4, outputs=8, seed=0)
    assert outputs == [[-1, 16, 0], [-15, 1, -7]] * 4


def test_several_inputs_stall_independently() -> None:
    x, y = list(range(30)), list(range(-30, 0))
    outputs, _ = run_stream(Add(), {"i0": x, "i1": y}, outputs=30, seed=0)
    assert outputs == [a + b for a, b in zip(x, y, strict=True)]


def test_several_outputs_stall_independently() -> None:
    runs = run_streams(Fork(), {"i": INPUTS}, {"o0": 40, "o1": 40}, seed=0)
    assert runs["o0"].outputs == runs["o1"].outputs == INPUTS
    assert runs["o0"].stamps != runs["o1"].stamps


@pytest.mark.parametrize(("fault", "message"), [
    ("payload", "payload changed while stalled"),
    ("valid", "valid withdrawn while stalled"),
    ("drop", "no transfer on i, o for 200 cycles .* waiting: o to give 1 of 40"),
    ("extra", "after all 40 transfers"),
    ("deaf", "waiting: i to take 35 of 40 transfers, o to give 35 of 40"),
    ("impatient", "o to give 40 of 40"),
])
def test_a_broken_protocol_is_caught(fault: str, message: str) -> None:
    broken = Stage()
    broken.fault = fault
    with pytest.raises(AssertionError, match=message):
        run_stream(broken, INPUTS, outputs=40, seed=0, limit=200)


def test_a_leak_shows_in_the_outputs() -> None:
    broken = Stage()
    broken.fault = "leak"
    assert run_stream(broken, INPUTS, outputs=40, seed=0).outputs != EXPECTED


def test_arrays_of_arrays_decode() -> None:
    shape = data.ArrayLayout(data.ArrayLayout(signed(4), 2), 2)
    assert decode(shape, 0xF17A) == [[-6, 7], [1, -1]]
